//! GitHub Actions, Gitea and Forgejo: outputs of the step, in the file that
//! `GITHUB_OUTPUT` names.

use super::{Done, Extent, Names};

/// `name=value`, one a line. Values that are not plain stand between two lines with the
/// delimiter, which must be one that nobody could foresee.
pub(crate) fn text(done: &Done, delimiter: &str) -> String {
    let values = done.values(Names::Hyphened, Extent::All);
    values.iter().map(|(name, value)| line(name, value, delimiter)).collect()
}

fn line(name: &str, value: &str, delimiter: &str) -> String {
    if is_plain(value) {
        format!("{name}={value}\n")
    } else {
        format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
    }
}

/// Whether no reader of such files takes it for anything but what it is.
fn is_plain(value: &str) -> bool {
    value.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:@+,".contains(c))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::testing::restored;
    use super::*;

    #[test]
    fn odd_keys_stand_between_delimiters() {
        let key = "a=b <<larder-x |`%0A`<img>";
        let done = restored(&[(None, key, Some((Kind::Exact, key)))]);
        let text = text(&done, "larder-RANDOM");
        let lines: Vec<&str> = text.lines().take(9).collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        cache-hit=true
        cache-hit-kind=exact
        cache-primary-key<<larder-RANDOM
        a=b <<larder-x |`%0A`<img>
        larder-RANDOM
        cache-matched-key<<larder-RANDOM
        a=b <<larder-x |`%0A`<img>
        larder-RANDOM
        cache-bytes=1000
        ");
        assert!(text.ends_with("cache-seconds=1.50\n"));
    }

    #[test]
    fn a_value_of_several_lines_stays_one() {
        assert_eq!(line("n", "a\nm=b", "D"), "n<<D\na\nm=b\nD\n");
        assert_eq!(line("n", "", "D"), "n=\n");
        assert_eq!(line("n", " a", "D"), "n<<D\n a\nD\n");
    }
}
