//! A counterexample, told in requests.

use stateright::Path;

use crate::collection::{Action, FLUSHES, World};
use crate::flush::{Flush, FlushStep};

/// One line per request. The model sorts its flushes; here each run has its number.
pub(crate) fn tell(path: Path<World, Action>) -> Vec<String> {
    let steps = path.into_vec();
    let mut runs = [0; FLUSHES];
    let mut begun = 0;
    let mut lines = Vec::new();
    for (step, next) in steps.iter().zip(&steps[1..]) {
        let (before, action, after) = (&step.0, step.1.unwrap(), &next.0);
        lines.push(match action {
            Action::Saver(number, step) => format!("saver {}: {step:?}", number + 1),
            Action::Restorer(step) => format!("restorer: {step:?}"),
            Action::Delete(pack) => format!("a delete of {pack:?} arrives"),
            Action::Flush(place, step) => {
                if step == FlushStep::Begin {
                    begun += 1;
                    runs[place] = begun;
                }
                let run = runs[place];
                runs = follow(&before.flushes, &runs, place, &after.flushes);
                format!("flush {run}: {step:?}")
            }
        });
    }
    lines
}

/// Which run is where, after the flush at a place took a step.
fn follow(
    before: &[Flush; FLUSHES],
    runs: &[u8; FLUSHES],
    place: usize,
    after: &[Flush; FLUSHES],
) -> [u8; FLUSHES] {
    let mut others: Vec<usize> = (0..FLUSHES).filter(|&other| other != place).collect();
    after.map(|flush| match others.iter().position(|&other| before[other] == flush) {
        Some(at) => runs[others.remove(at)],
        None => runs[place],
    })
}
