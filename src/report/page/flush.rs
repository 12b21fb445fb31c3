//! What a flush would remove and free.

use std::fmt::Write as _;

use larder::flush::{FlushReport, FlushRequest, Policy, Reason, Scopes};
use minijinja::{Value, context};

use super::{MOST_OTHER_ROWS, card};
use crate::report::Report;
use crate::report::outlook::{Fate, Outlook};
use crate::report::units::{bytes, count, date, duration, minute, things};

impl Report {
    /// The section as the template takes it.
    pub(super) fn flush_section(&self) -> Value {
        let command = command(&self.flush);
        let told = match &self.outlook {
            Outlook::Damaged(error) => {
                let trouble = format!(
                    "A flush would stop: {error}. What that refers to cannot be told from \
                     garbage; larder verify --repair removes it."
                );
                return context! { command, trouble };
            }
            Outlook::Told(told) => told,
        };
        if let Some(claim) = told.busy {
            let since = minute(claim.at);
            let trouble = format!("Another flush has been at work since {since} UTC.");
            return context! { command, trouble };
        }
        let broken = told.broken.iter().take(MOST_OTHER_ROWS);
        let removed = told.removed.iter().take(MOST_OTHER_ROWS).map(|gone| {
            context! {
                key => gone.key.as_str(),
                scope => gone.scope.as_str(),
                why => reason(gone.reason),
                at => gone.last_used.unix(),
                used => date(gone.last_used),
            }
        });
        context! {
            command,
            trouble => (),
            cards => flush_cards(told, self.flush.policy.max_size),
            broken => broken.map(|(scope, key)| format!("{key} in scope {scope}")).collect::<Vec<_>>(),
            when => self.when(),
            removed => removed.collect::<Vec<_>>(),
            removed_left => told.removed.len().saturating_sub(MOST_OTHER_ROWS),
        }
    }

    /// How many caches go when.
    fn when(&self) -> Vec<Value> {
        const ROWS: [&str; 8] = [
            "now",
            "within a day",
            "within 3 days",
            "within a week",
            "within two weeks",
            "later",
            "not, as one of the last of its scope",
            "not: it is pinned",
        ];
        let mut sums = [(0u64, 0u64); ROWS.len()];
        for (key, fate) in self.stats.keys.iter().zip(&self.fates) {
            let number = match fate {
                Fate::Now(_) => 0,
                Fate::At(time) => match time.since(self.now).as_secs() / 86_400 {
                    0 => 1,
                    1..3 => 2,
                    3..7 => 3,
                    7..14 => 4,
                    _ => 5,
                },
                Fate::Last => 6,
                Fate::Pinned => 7,
                Fate::Unknown => continue,
            };
            sums[number].0 += 1;
            sums[number].1 += key.only_here_bytes;
        }
        let rows = ROWS.iter().zip(sums).filter(|(_, (caches, _))| *caches > 0);
        rows.map(|(when, (caches, alone))| {
            context! { when => *when, caches => count(caches), alone => bytes(alone) }
        })
        .collect()
    }
}

/// What becomes of a cache, and a number to sort by.
pub(super) fn fate(fate: Fate) -> (String, i64) {
    match fate {
        Fate::Now(Reason::Age) => ("now: age".to_owned(), 0),
        Fate::Now(Reason::Ttl) => ("now: lifetime".to_owned(), 0),
        Fate::Now(Reason::Size) => ("now: size".to_owned(), 0),
        Fate::At(time) => (date(time), time.unix()),
        Fate::Last => ("not: a last one".to_owned(), i64::MAX - 1),
        Fate::Pinned => ("not: pinned".to_owned(), i64::MAX),
        Fate::Unknown => ("?".to_owned(), i64::MAX),
    }
}

/// Why a cache is removed.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Age => "not used for longer than --age",
        Reason::Ttl => "not used for longer than its --ttl",
        Reason::Size => "above --max-size",
    }
}

/// A word as a shell takes it: whoever copies the command gets no other from a scope
/// that somebody chose.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The flush that is foretold, as it is called.
fn command(request: &FlushRequest) -> String {
    let Policy { scopes, key_ages, pins, keep_last, max_size, .. } = &request.policy;
    let mut command = "larder flush --dry-run".to_owned();
    match scopes {
        Scopes::All => command.push_str(" --all-scopes"),
        Scopes::One(scope) | Scopes::Below(scope) => {
            let _ = write!(command, " --scope {}", quoted(scope.as_str()));
        }
    }
    let _ = write!(command, " --age {}", duration(request.policy.age));
    for (glob, key_age) in key_ages {
        let _ = write!(
            command,
            " --key-age {}",
            quoted(&format!("{}={}", glob.glob(), duration(*key_age)))
        );
    }
    for pin in pins {
        let _ = write!(command, " --pin {}", quoted(&pin.glob().to_string()));
    }
    if *keep_last > 0 {
        let _ = write!(command, " --keep-last {keep_last}");
    }
    if let Some(max_size) = max_size {
        let _ = write!(command, " --max-size {max_size}B");
    }
    let _ = write!(command, " --grace {}", duration(request.grace));
    command
}

fn flush_cards(told: &FlushReport, max_size: Option<u64>) -> Vec<Value> {
    let packs = |packs: usize| things(packs as u64, "pack");
    let kept = told.manifests - told.removed.len() as u64;
    let mut cards = vec![
        card(
            "Caches removed",
            count(told.removed.len() as u64),
            format!("{} of the whole store stay", count(kept)),
        ),
        card("Freed now", bytes(told.deleted.bytes), packs(told.deleted.packs.len())),
        card(
            "Held for the grace period",
            bytes(told.held.bytes),
            format!("{} that nothing uses", packs(told.held.packs.len())),
        ),
        card(
            "Dead in packs in use",
            bytes(told.dead_bytes),
            format!("of {}; only repacking frees it", bytes(told.used_bytes)),
        ),
    ];
    if max_size.is_some() {
        let note = "may not be removed: pinned, kept or of other scopes";
        cards.push(card("Above --max-size", bytes(told.over_budget), note.to_owned()));
    }
    cards
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use globset::Glob;

    use super::*;

    #[test]
    fn the_command_is_one_for_a_shell() {
        let scopes = Scopes::One("o/r'; rm -rf ~; '".parse().unwrap());
        let glob = |text: &str| Glob::new(text).unwrap().compile_matcher();
        let policy = Policy {
            key_ages: vec![(glob("pr-*"), Duration::from_secs(5_400))],
            pins: vec![glob("it's")],
            keep_last: 2,
            max_size: Some(500),
            ..Policy::new(scopes, Duration::from_secs(14 * 86_400))
        };
        let words = command(&FlushRequest::new(policy)).replace(" --", "\n--");
        insta::assert_snapshot!(words, @r#"
        larder flush
        --dry-run
        --scope 'o/r'\''; rm -rf ~; '\'''
        --age 14d
        --key-age 'pr-*=90m'
        --pin 'it'\''s'
        --keep-last 2
        --max-size 500B
        --grace 1d
        "#);
    }
}
