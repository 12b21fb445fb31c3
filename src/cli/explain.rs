//! `--explain`: why a key was not found.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use larder::error::Error;
use larder::ids::Scope;
use larder::repository::Repository;
use larder::restore::Hit;

use super::args::Find;
use super::output::{age, things};
use super::session::Session;
use crate::explain::{Change, Difference, Explanation, Near, explain};
use crate::keys::Rendered;

/// Files that are named of a hash; of more, the number is told.
const NAMED: usize = 10;

/// Why the key was not found, if that is asked for. That it cannot be told is no
/// reason to fail.
pub(super) fn of_hit(
    session: &Session,
    find: &Find,
    hit: Hit,
    open: impl FnOnce() -> Result<Option<Repository>, Error>,
    wanted: Option<&Rendered>,
) -> Option<Explanation> {
    let wanted = wanted.filter(|_| find.explain && hit != Hit::Exact)?;
    let told = open().and_then(|repository| explain(repository.as_ref(), &session.scope, wanted));
    told.map_err(|error| session.warn_that(format_args!("not explained: {error}"))).ok()
}

/// What a person is told.
pub(super) fn text(explanation: &Explanation) -> String {
    let Explanation { wanted, template, nearest, other_scopes } = explanation;
    let mut text = format!("looked for {wanted}");
    if let Some(template) = template {
        let _ = write!(text, ", which is {template}");
    }
    text.push('\n');
    for near in nearest {
        of_near(&mut text, near);
    }
    if nearest.is_empty() {
        text.push_str("  this scope has no caches\n");
        if !other_scopes.is_empty() {
            let names: Vec<&str> = other_scopes.iter().map(Scope::as_str).collect();
            let _ = writeln!(text, "  there are some in {}", names.join(", "));
        }
    }
    text
}

fn of_near(text: &mut String, near: &Near) {
    let Near { key, saved, is_noted, differences } = near;
    let saved = UNIX_EPOCH + Duration::from_secs(u64::try_from(*saved).unwrap_or(0));
    let _ = writeln!(text, "  near is {key}, saved {}:", age(saved));
    for difference in differences {
        of_difference(text, difference);
    }
    if !is_noted {
        text.push_str("    it does not tell how its key was made\n");
    } else if differences.is_empty() {
        text.push_str("    nothing that it notes of its key differs\n");
    }
}

fn of_difference(text: &mut String, difference: &Difference) {
    match difference {
        Difference::Template { there } => {
            let _ = writeln!(text, "    it was made by another template: {there}");
        }
        Difference::Value { source, here, there, files, unlisted } => {
            let _ = writeln!(text, "    {{{{ {source} }}}} was {there:?}, and is {here:?}");
            for file in files.iter().take(NAMED) {
                let change = match file.change {
                    Change::Added => "new",
                    Change::Changed => "changed",
                    Change::Removed => "gone",
                };
                let _ = writeln!(text, "      {change}: {}", file.path);
            }
            if files.len() > NAMED {
                let more = things((files.len() - NAMED) as u64, "more file");
                let _ = writeln!(text, "      and {more}");
            }
            if *unlisted > 0 {
                let unlisted = things(*unlisted, "more file");
                let _ = writeln!(text, "      of {unlisted} it is not known");
            }
        }
    }
}
