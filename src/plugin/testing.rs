//! What the tests of all systems need.

use std::collections::BTreeMap;

use super::InvalidSetting;
use super::environment::Environment;
use super::setting::Setting;

/// An environment of these variables; of two values of one, the last counts.
pub(super) fn environment(variables: &[(&str, &str)]) -> Environment {
    // Where nobody has files of Vela's.
    let nowhere = ("LARDER_PLUGIN_FILES", "/nonexistent");
    let all = std::iter::once(&nowhere).chain(variables);
    let map: BTreeMap<String, String> =
        all.map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Environment::new(map)
}

/// An error and its hint, as they are told.
pub(super) fn told(error: &InvalidSetting) -> String {
    format!("{error}; {}", error.hint().unwrap_or_default())
}

/// Every row of a table is in the page, as it is now, and no other.
pub(super) fn check_page(page: &str, table: &[&Setting]) {
    let rows: Vec<String> = table.iter().map(ToString::to_string).collect();
    let documented: Vec<&str> = page
        .lines()
        .skip_while(|line| *line != "<!-- settings -->")
        .skip_while(|line| !line.starts_with("| ---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(
        documented.join("\n"),
        rows.join("\n"),
        "write the table anew:\n{}",
        rows.join("\n")
    );
}
