//! What can be named in a template, and what was meant by a name that cannot.

use larder::store::nearest;

use super::split::{Role, Word};

/// Values.
pub(super) const VALUES: [&str; 6] = ["arch", "branch", "commit", "date", "os", "week"];

/// Functions, and how they are called.
pub(super) const FUNCTIONS: [(&str, &str); 2] =
    [("env", "env(\"NAME\")"), ("hash", "hash(\"**/package-lock.json\")")];

/// Filters.
pub(super) const FILTERS: [&str; 6] = ["default", "lower", "replace", "slug", "trim", "upper"];

/// Arguments that are given by name, of any function or filter.
const ARGUMENTS: [&str; 3] = ["boolean", "default", "length"];

/// What other programs' templates call what has another name here.
const ELSEWHERE: [(&str, &str); 12] = [
    ("Arch", "arch"),
    ("Branch", "branch"),
    ("checksum", "hash"),
    ("epoch", "date"),
    ("github", "env"),
    ("hashFiles", "hash"),
    ("hash_files", "hash"),
    ("matrix", "env"),
    ("Revision", "commit"),
    ("runner", "os"),
    ("sha", "commit"),
    ("Environment", "env"),
];

/// What is wrong with a name.
pub(super) struct Misnomer {
    pub(super) why: String,
    pub(super) hint: String,
}

/// What is wrong with a word, if anything is. A function that is not called would put
/// its own description into the key.
pub(super) fn check(word: &Word<'_>) -> Option<Misnomer> {
    let function = FUNCTIONS.iter().find(|(name, _)| *name == word.text);
    match function.filter(|_| word.role == Role::Name && !word.is_called) {
        Some((name, call)) => {
            Some(Misnomer { why: format!("{name} is a function"), hint: format!("write {call}") })
        }
        None => unknown(word.text, word.role),
    }
}

/// What there is to say of a word in this role, if it is not known.
fn unknown(text: &str, role: Role) -> Option<Misnomer> {
    let functions = FUNCTIONS.iter().map(|(name, _)| *name);
    let (what, known): (_, Vec<&str>) = match role {
        Role::Name => ("name", VALUES.iter().copied().chain(functions).collect()),
        Role::Filter => ("filter", FILTERS.to_vec()),
        Role::Argument => ("argument", ARGUMENTS.to_vec()),
        Role::Test => ("test", vec![]),
        Role::Attribute => return None,
    };
    if known.contains(&text) {
        return None;
    }
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == text).map(|(_, meant)| *meant);
    let meant = elsewhere.filter(|meant| known.contains(meant)).or_else(|| nearest(text, &known));
    let hint = match meant {
        Some(meant) => format!("did you mean {}?", written(meant)),
        None if role == Role::Name && is_variable(text) => {
            format!("an environment variable is written env(\"{text}\")")
        }
        None if role == Role::Test => "compare by == or in".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    Some(Misnomer { why: format!("unknown {what} {text:?}"), hint })
}

/// Whether a name is one as environment variables have.
fn is_variable(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// How a name is used.
pub(super) fn written(name: &str) -> &str {
    FUNCTIONS.iter().find(|(function, _)| *function == name).map_or(name, |(_, call)| call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_all_of_them() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
        let page = std::fs::read_to_string(path).unwrap();
        let cells: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
            .flat_map(|cell| cell.split(", "))
            .filter_map(|cell| cell.trim_matches('`').split('(').next())
            .collect();
        let functions = FUNCTIONS.iter().map(|(name, _)| name);
        for name in VALUES.iter().chain(&FILTERS).chain(functions) {
            assert!(cells.contains(name), "docs/keys.md does not have {name}");
        }
    }

    #[test]
    fn words_from_elsewhere_mean_something_here() {
        for (name, meant) in ELSEWHERE {
            let hint = unknown(name, Role::Name).expect("it is not known here").hint;
            assert_eq!(hint, format!("did you mean {}?", written(meant)), "{name}");
        }
    }
}
