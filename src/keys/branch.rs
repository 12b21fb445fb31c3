//! The branch, as CI systems tell it: what they check out is a commit, and no branch.

/// What tells the branch, the first that is set: the variable, and whose it is.
/// Before the variable that has the branch a change is to go to, or a name made up
/// for the change, comes the one with the branch that it comes from. docs/keys.md has
/// this table, too.
pub(super) const VARIABLES: [(&str, &str); 14] = [
    ("GITHUB_HEAD_REF", "GitHub Actions, pull requests"),
    ("GITHUB_REF_NAME", "GitHub Actions"),
    ("CI_COMMIT_REF_NAME", "GitLab CI"),
    ("CIRCLE_BRANCH", "CircleCI"),
    ("BUILDKITE_BRANCH", "Buildkite"),
    ("DRONE_SOURCE_BRANCH", "Drone"),
    ("DRONE_BRANCH", "Drone"),
    ("CI_COMMIT_SOURCE_BRANCH", "Woodpecker, pull requests"),
    ("CI_COMMIT_BRANCH", "Woodpecker"),
    ("VELA_PULL_REQUEST_SOURCE", "Vela, pull requests"),
    ("VELA_BUILD_BRANCH", "Vela"),
    ("CHANGE_BRANCH", "Jenkins, pull requests"),
    ("BRANCH_NAME", "Jenkins"),
    ("BITBUCKET_BRANCH", "Bitbucket Pipelines"),
];

/// What the variables say, if they do.
pub(super) fn told<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Option<&'a str> {
    VARIABLES.iter().find_map(|(name, _)| variable(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(set: &[(&str, &str)], expected: Option<&str>) {
        let value = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| *value);
        assert_eq!(told(value), expected);
    }

    #[test]
    fn the_branch_that_a_change_comes_from_is_meant() {
        check(&[], None);
        check(&[("GITHUB_REF_NAME", "12/merge"), ("GITHUB_HEAD_REF", "fix")], Some("fix"));
        check(&[("GITHUB_REF_NAME", "main")], Some("main"));
        check(&[("DRONE_BRANCH", "main"), ("DRONE_SOURCE_BRANCH", "fix")], Some("fix"));
        check(&[("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_SOURCE_BRANCH", "fix")], Some("fix"));
        check(&[("VELA_BUILD_BRANCH", "main")], Some("main"));
        check(&[("BRANCH_NAME", "PR-3"), ("CHANGE_BRANCH", "fix")], Some("fix"));
    }

    #[test]
    fn the_page_has_the_same_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/keys.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows: Vec<(&str, &str)> = page
            .split("| variable | set by |\n| --- | --- |\n")
            .nth(1)
            .expect("the page has the table")
            .lines()
            .map_while(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
            .collect();
        assert_eq!(rows, VARIABLES);
    }
}
