//! CircleCI: the file that `BASH_ENV` names, which the shell of each later step reads.

use super::{Done, Extent, Names};

/// `export NAME='value'`, one a line.
pub(crate) fn text(done: &Done) -> String {
    let values = done.values(Names::Environment, Extent::Totals);
    values.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect()
}

/// A word of which the shell changes nothing.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::Kind;
    use super::super::testing::restored;
    use super::*;

    #[test]
    fn a_shell_reads_what_was_meant() {
        let key = "a'b'; exit 1 #$(exit 2)`exit 3`\\ \"$HOME\" %s | <<EOF";
        let done = restored(&[(Some("7.zip"), key, Some((Kind::Prefix, key)))]);
        let script = text(&done) + "printf '%s\\n' \"$CACHE_HIT\" \"$_7_ZIP_CACHE_MATCHED_KEY\"";
        let output = Command::new("sh").args(["-e", "-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("false\n{key}\n"));
        assert!(output.status.success());
    }
}
