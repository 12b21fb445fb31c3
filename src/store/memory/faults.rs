//! Which operations of a memory store fail, and how.

use super::super::Operation;

/// When an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before it took effect: nothing happened.
    Before,
    /// After it took effect: it took place, but the caller sees an error. An
    /// operation that fails by itself gives its own error.
    After,
}

/// The faults a store still has in stock.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Each strikes once, after so many other operations.
    counted: Vec<(u64, When)>,
    /// Each strikes whenever it fits.
    lasting: Vec<Lasting>,
    /// The asker is dead after so many operations more.
    life: Option<u64>,
}

#[derive(Debug)]
struct Lasting {
    operation: Option<Operation>,
    pattern: String,
    when: When,
}

impl Faults {
    pub(super) fn fail_nth(&mut self, skip: u64, when: When) {
        self.counted.push((skip, when));
    }

    pub(super) fn fail_all(&mut self, operation: Option<Operation>, pattern: &str, when: When) {
        self.lasting.push(Lasting { operation, pattern: pattern.to_owned(), when });
    }

    pub(super) fn die_after(&mut self, life: u64) {
        self.life = Some(life);
    }

    /// How the operation that comes now fails.
    pub(super) fn next(&mut self, operation: Operation, objects: &[String]) -> Option<When> {
        let mut strikes = None;
        self.counted.retain_mut(|(skip, when)| match skip {
            0 => {
                strikes.get_or_insert(*when);
                false
            }
            _ => {
                *skip -= 1;
                true
            }
        });
        if let Some(life) = &mut self.life {
            match life.checked_sub(1) {
                Some(left) => *life = left,
                None => return Some(When::Before),
            }
        }
        let fits = |fault: &&Lasting| {
            fault.operation.is_none_or(|kind| kind == operation)
                && objects.iter().any(|object| object.contains(&fault.pattern))
        };
        strikes.or_else(|| self.lasting.iter().find(fits).map(|fault| fault.when))
    }
}
