//! Azure Pipelines: variables for the later steps of the job, by lines in its log.

use super::{Done, Extent, Names};

/// A command of the log for each variable, one a line.
pub(crate) fn text(done: &Done) -> String {
    let values = done.values(Names::Environment, Extent::Totals);
    let line = |(name, value): &(String, String)| {
        format!("##vso[task.setvariable variable={name}]{}\n", escaped(value))
    };
    values.iter().map(line).collect()
}

/// A value that the agent decodes to what it was: it stays on its line, and so cannot
/// be another command.
fn escaped(value: &str) -> String {
    value.replace('%', "%AZP25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::testing::restored;
    use super::*;

    #[test]
    fn every_variable_is_a_line_of_its_own() {
        let key = "a;b]c%0Ad ##vso[task.complete result=Failed]";
        let done = restored(&[(None, key, Some((Kind::Exact, key)))]);
        let text = text(&done);
        insta::assert_snapshot!(text.lines().take(4).collect::<Vec<_>>().join("\n"), @"
        ##vso[task.setvariable variable=CACHE_HIT]true
        ##vso[task.setvariable variable=CACHE_HIT_KIND]exact
        ##vso[task.setvariable variable=CACHE_PRIMARY_KEY]a;b]c%AZP250Ad ##vso[task.complete result=Failed]
        ##vso[task.setvariable variable=CACHE_MATCHED_KEY]a;b]c%AZP250Ad ##vso[task.complete result=Failed]
        ");
        assert!(text.lines().all(|line| line.starts_with("##vso[task.setvariable variable=")));
        assert_eq!(escaped("a\r\n##vso[x]"), "a%0D%0A##vso[x]");
    }
}
