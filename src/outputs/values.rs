//! Facts as values with names, which is what most systems take.
//!
//! Names are those of `actions/cache` where it has one, and begin with `cache-`. What
//! is said of one of several caches begins with its name instead.

use std::time::Duration;

use super::facts::{Amounts, Cache, Command, Done, Found, Kind, Saved};
use super::names::Names;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Everything of everything.
    All,
    /// Everything of all caches together, and of each what steps decide by: for systems
    /// that take few values.
    Totals,
    /// What steps decide by, and nothing else: where each value costs a request.
    Decisions,
}

/// A value, before it has its whole name.
struct Value {
    name: &'static str,
    text: String,
    /// Whether steps decide by it.
    decides: bool,
}

impl Value {
    fn new(name: &'static str, text: &(impl ToString + ?Sized)) -> Self {
        Self { name, text: text.to_string(), decides: false }
    }

    fn deciding(name: &'static str, text: &(impl ToString + ?Sized)) -> Self {
        Self { decides: true, ..Self::new(name, text) }
    }
}

impl Done {
    /// Names and values, in order: first of all caches together, then of each that has
    /// a name. Keys are told of one cache only.
    pub(crate) fn values(&self, names: Names, extent: Extent) -> Vec<(String, String)> {
        let wanted = |value: &Value, is_total: bool| match extent {
            Extent::All => true,
            Extent::Totals => is_total || value.decides,
            Extent::Decisions => value.decides,
        };
        let mut values = vec![];
        for value in self.totals().into_iter().filter(|value| wanted(value, true)) {
            values.push((names.plain(value.name), value.text));
        }
        let named: Vec<(&str, &Cache)> =
            self.caches.iter().filter_map(|cache| Some((cache.name.as_deref()?, cache))).collect();
        let prefixes = names.prefixes(named.iter().map(|(name, _)| *name));
        for (prefix, (_, cache)) in prefixes.iter().zip(named) {
            for value in self.of(cache).into_iter().filter(|value| wanted(value, false)) {
                values.push((names.prefixed(prefix, value.name), value.text));
            }
        }
        values
    }

    fn totals(&self) -> Vec<Value> {
        if let [cache] = self.caches.as_slice() {
            return self.of(cache);
        }
        match self.command {
            Command::Save => saved(self.saved(), None, self.took),
            Command::Lookup => found(self.kind(), None),
            Command::Restore => {
                let mut values = found(self.kind(), None);
                values.extend(moved(self.amounts(), self.took));
                values
            }
        }
    }

    fn of(&self, cache: &Cache) -> Vec<Value> {
        let Found { kind, key, scope } = cache.found();
        let scope = self.tells_scopes.then(|| scope.unwrap_or_default());
        let matched = (key.unwrap_or_default(), scope);
        let keys = Some((cache.key.as_str(), matched));
        match self.command {
            Command::Save => saved(cache.saved(), Some(&cache.key), cache.took),
            Command::Lookup => found(kind, keys),
            Command::Restore => {
                let mut values = found(kind, keys);
                values.extend(moved(cache.amounts(), cache.took));
                values
            }
        }
    }
}

/// How a key was found; of one cache also the key that was looked for first, and key and
/// scope that were found.
fn found(kind: Kind, keys: Option<(&str, (String, Option<String>))>) -> Vec<Value> {
    let mut values = vec![
        Value::deciding("cache-hit", &(kind == Kind::Exact)),
        Value::deciding("cache-hit-kind", kind.name()),
    ];
    if let Some((primary, (key, scope))) = keys {
        values.push(Value::new("cache-primary-key", primary));
        values.push(Value::deciding("cache-matched-key", &key));
        values.extend(scope.map(|scope| Value::new("cache-matched-scope", &scope)));
    }
    values
}

fn moved(amounts: Amounts, took: Duration) -> Vec<Value> {
    vec![
        Value::new("cache-bytes", &amounts.files),
        Value::new("cache-fetched-bytes", &amounts.fetched),
        Value::new("cache-local-bytes", &amounts.local),
        Value::new("cache-in-place-bytes", &amounts.in_place),
        Value::new("cache-avoided-bytes", &amounts.avoided),
        Value::new("cache-seconds", &seconds(took)),
    ]
}

fn saved(saved: Saved, key: Option<&str>, took: Duration) -> Vec<Value> {
    let mut values = vec![Value::deciding("cache-save-result", saved.result.name())];
    values.extend(key.map(|key| Value::new("cache-saved-key", key)));
    values.extend([
        Value::new("cache-uploaded-bytes", &saved.uploaded),
        Value::new("cache-new-chunks", &saved.new_chunks),
        Value::new("cache-reused-chunks", &saved.reused_chunks),
        Value::new("cache-save-seconds", &seconds(took)),
    ]);
    values
}

fn seconds(took: Duration) -> String {
    format!("{:.2}", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{restored, saved};
    use super::*;

    fn shown(done: &Done, names: Names, extent: Extent) -> String {
        let lines = done.values(names, extent).into_iter();
        lines.map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn one_cache_is_told_by_plain_names() {
        let done = restored(&[(None, "npm-2", Some((Kind::Prefix, "npm-1")))]);
        insta::assert_snapshot!(shown(&done, Names::Hyphened, Extent::All), @"
        cache-hit=false
        cache-hit-kind=prefix
        cache-primary-key=npm-2
        cache-matched-key=npm-1
        cache-bytes=1000
        cache-fetched-bytes=100
        cache-local-bytes=20
        cache-in-place-bytes=300
        cache-avoided-bytes=400
        cache-seconds=1.50
        ");
    }

    #[test]
    fn several_have_totals_and_their_own() {
        let done = restored(&[
            (Some("npm"), "npm-2", Some((Kind::Exact, "npm-2"))),
            (Some("a.b"), "tools", None),
        ]);
        insta::assert_snapshot!(shown(&done, Names::Environment, Extent::Totals), @"
        CACHE_HIT=false
        CACHE_HIT_KIND=failed
        CACHE_BYTES=1000
        CACHE_FETCHED_BYTES=100
        CACHE_LOCAL_BYTES=20
        CACHE_IN_PLACE_BYTES=300
        CACHE_AVOIDED_BYTES=400
        CACHE_SECONDS=4.00
        NPM_CACHE_HIT=true
        NPM_CACHE_HIT_KIND=exact
        NPM_CACHE_MATCHED_KEY=npm-2
        A_B_CACHE_HIT=false
        A_B_CACHE_HIT_KIND=failed
        A_B_CACHE_MATCHED_KEY=
        ");
        let decisions = shown(&done, Names::Hyphened, Extent::Decisions);
        insta::assert_snapshot!(decisions, @"
        cache-hit=false
        cache-hit-kind=failed
        npm-cache-hit=true
        npm-cache-hit-kind=exact
        npm-cache-matched-key=npm-2
        a-b-cache-hit=false
        a-b-cache-hit-kind=failed
        a-b-cache-matched-key=
        ");
        assert_eq!(done.values(Names::Hyphened, Extent::All).len(), 8 + 2 * 10);
    }

    #[test]
    fn all_are_hits_only_if_each_is_an_exact_one() {
        let check = |kinds: &[Kind], hit: &str, kind: &str| {
            let caches: Vec<_> =
                kinds.iter().map(|&kind| (Some("n"), "k", Some((kind, "k")))).collect();
            let values = restored(&caches).values(Names::Hyphened, Extent::All);
            let told = (values[0].1.as_str(), values[1].1.as_str());
            assert_eq!(told, (hit, kind), "{kinds:?}");
        };
        check(&[Kind::Exact, Kind::Exact], "true", "exact");
        check(&[Kind::Exact, Kind::Prefix], "false", "prefix");
        check(&[Kind::Miss, Kind::Exact, Kind::Prefix], "false", "miss");
    }

    #[test]
    fn saves_and_lookups_tell_what_they_know() {
        let done = saved(&[("npm", "npm-2", true), ("tools", "t", false)]);
        insta::assert_snapshot!(shown(&done, Names::Hyphened, Extent::All), @"
        cache-save-result=failed
        cache-uploaded-bytes=70
        cache-new-chunks=2
        cache-reused-chunks=5
        cache-save-seconds=4.00
        npm-cache-save-result=saved
        npm-cache-saved-key=npm-2
        npm-cache-uploaded-bytes=70
        npm-cache-new-chunks=2
        npm-cache-reused-chunks=5
        npm-cache-save-seconds=1.50
        tools-cache-save-result=failed
        tools-cache-saved-key=t
        tools-cache-uploaded-bytes=0
        tools-cache-new-chunks=0
        tools-cache-reused-chunks=0
        tools-cache-save-seconds=1.50
        ");
        let mut done = restored(&[(None, "k", None)]);
        done.command = Command::Lookup;
        assert_eq!(done.values(Names::Environment, Extent::All).len(), 4);
    }

    #[test]
    fn the_scope_is_told_where_there_are_several() {
        let mut done = restored(&[(None, "npm-2", Some((Kind::Prefix, "npm-1")))]);
        (done.command, done.tells_scopes) = (Command::Lookup, true);
        insta::assert_snapshot!(shown(&done, Names::Environment, Extent::Totals), @"
        CACHE_HIT=false
        CACHE_HIT_KIND=prefix
        CACHE_PRIMARY_KEY=npm-2
        CACHE_MATCHED_KEY=npm-1
        CACHE_MATCHED_SCOPE=org/app
        ");
    }
}
