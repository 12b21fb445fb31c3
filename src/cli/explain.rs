//! `--explain`: why a key was not found.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use larder::error::Error;
use larder::ids::Scope;
use larder::relpath::display;
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
    let told =
        open().and_then(|repository| explain(repository.as_ref(), &session.scopes(), wanted));
    told.map_err(|error| session.warn_that(format_args!("not explained: {error}"))).ok()
}

/// What a person is told.
pub(super) fn text(explanation: &Explanation) -> String {
    let Explanation { wanted, template, scopes, nearest, other_scopes } = explanation;
    let mut text = format!("looked for {wanted}");
    if scopes.len() > 1 {
        let _ = write!(text, " in {}", names(scopes));
    }
    if let Some(template) = template {
        let _ = write!(text, ", which is {}", plain(template));
    }
    text.push('\n');
    for near in nearest {
        of_near(&mut text, near, scopes);
    }
    if nearest.is_empty() {
        let which = if scopes.len() > 1 { "these scopes have" } else { "this scope has" };
        let _ = writeln!(text, "  {which} no caches");
        if !other_scopes.is_empty() {
            let _ = writeln!(text, "  there are some in {}", names(other_scopes));
        }
    }
    text
}

fn names(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(", ")
}

/// What somebody noted, without what could move the cursor or begin a line of its own.
fn plain(noted: &str) -> std::borrow::Cow<'_, str> {
    display(noted.as_bytes())
}

fn of_near(text: &mut String, near: &Near, scopes: &[Scope]) {
    let Near { key, scope, saved, is_noted, differences } = near;
    // Where it is not the one that was looked in first.
    let is_own = scopes.first().is_none_or(|own| own == scope);
    let place = if is_own { String::new() } else { format!(" of {scope}") };
    let saved = UNIX_EPOCH + Duration::from_secs(u64::try_from(*saved).unwrap_or(0));
    let _ = writeln!(text, "  near is {key}{place}, saved {}:", age(saved));
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
            let _ = writeln!(text, "    it was made by another template: {}", plain(there));
        }
        Difference::Value { source, here, there, files, unlisted } => {
            let _ =
                writeln!(text, "    {{{{ {} }}}} was {there:?}, and is {here:?}", plain(source));
            for file in files.iter().take(NAMED) {
                let change = match file.change {
                    Change::Added => "new",
                    Change::Changed => "changed",
                    Change::Removed => "gone",
                };
                let _ = writeln!(text, "      {change}: {}", plain(&file.path));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::FileDifference;

    #[test]
    fn what_was_noted_stays_in_its_line() {
        let hostile = "\x1b[2J\n::error::x".to_owned();
        let files = vec![FileDifference { path: hostile.clone(), change: Change::Removed }];
        let differences = vec![
            Difference::Template { there: hostile.clone() },
            Difference::Value {
                source: hostile.clone(),
                here: hostile.clone(),
                there: hostile,
                files,
                unlisted: 0,
            },
        ];
        let (key, scope) = ("k".parse().unwrap(), "s".parse().unwrap());
        let near = Near { key, scope, saved: 0, is_noted: true, differences };
        let mut text = String::new();
        of_near(&mut text, &near, &[]);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }
}
