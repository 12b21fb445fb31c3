//! Buildkite: meta-data of the build.
//!
//! All jobs of a build share it, so keys begin with the key of the step, if it has one.

use super::{Done, Extent, Names};

/// What to set, each a request to Buildkite: keys and values. Values may not be empty.
pub(crate) fn meta_data(done: &Done, step: Option<&str>) -> Vec<(String, String)> {
    let values = done.values(Names::Hyphened, Extent::Decisions).into_iter();
    let values = values.filter(|(_, value)| !value.trim().is_empty());
    let key = |name: String| match step {
        Some(step) => format!("{step}:{name}"),
        None => name,
    };
    values.map(|(name, value)| (key(name), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::testing::restored;
    use super::*;

    #[test]
    fn keys_say_whose_step_it_was() {
        let done = restored(&[(Some("npm"), "k", Some((Kind::Miss, "")))]);
        let keys = |step| {
            let set = meta_data(&done, step).into_iter();
            set.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        insta::assert_snapshot!(keys(None), @"cache-hit=false cache-hit-kind=miss npm-cache-hit=false npm-cache-hit-kind=miss");
        insta::assert_snapshot!(keys(Some("test")), @"test:cache-hit=false test:cache-hit-kind=miss test:npm-cache-hit=false test:npm-cache-hit-kind=miss");
    }
}
