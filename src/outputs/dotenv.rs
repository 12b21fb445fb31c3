//! Files of variables, `NAME=value` a line: those of GitLab's `artifacts:reports:dotenv`
//! and of Drone's and Harness's `DRONE_OUTPUT`.
//!
//! There is no quoting that all readers know, and GitLab takes quotes for part of the
//! value: so values are written as they are, on one line.

use super::{Done, Extent, Names};

/// The variables of a run. Few of each cache: GitLab takes 20 unless told otherwise, and
/// refuses the file of a job that has more.
pub(crate) fn text(done: &Done) -> String {
    let values = done.values(Names::Environment, Extent::Totals);
    values.iter().map(|(name, value)| line(name, value)).collect()
}

/// A line of such a file.
pub(crate) fn line(name: &str, value: &str) -> String {
    let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{name}={value}\n")
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::testing::{restored, saved};
    use super::*;

    #[test]
    fn every_line_is_a_name_and_a_value() {
        let key = "a=b 'c' \"d\" $e #f %0A | `g`";
        let done = restored(&[(Some("npm.x"), key, Some((Kind::Exact, key)))]);
        let text = text(&done);
        for line in text.lines() {
            let (name, _) = line.split_once('=').unwrap();
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(is_name), "{line}");
        }
        assert!(text.contains(&format!("\nNPM_X_CACHE_MATCHED_KEY={key}\n")), "{text}");
        assert_eq!(line("N", "a\nB=c\r"), "N=a B=c \n");
    }

    #[test]
    fn a_restore_and_a_save_of_a_cache_fit_into_a_file_of_gitlab() {
        let restored = restored(&[(Some("npm"), "k", Some((Kind::Exact, "k")))]);
        let saved = saved(&[("npm", "k", true)]);
        assert!(text(&restored).lines().count() + text(&saved).lines().count() <= 20);
    }
}
