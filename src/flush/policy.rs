//! Which caches have had their time: ages, lifetimes, pins, and a budget.
//!
//! Nothing here asks the store: what is known of the manifests goes in, and
//! which of them are to be removed, and why, comes out.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use globset::GlobMatcher;

use super::marks::Marked;
use crate::format::Lifetime;
use crate::ids::{Key, PackId, Scope};
use crate::store_time::StoreTime;

/// Some of the scopes of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scopes {
    /// All of them.
    All,
    /// One.
    One(Scope),
    /// One, and all whose names go on after it with a slash.
    Below(Scope),
}

impl Scopes {
    /// Whether a scope is among them.
    pub fn contain(&self, scope: &Scope) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => scope == one,
            Self::Below(top) => match scope.as_str().strip_prefix(top.as_str()) {
                Some(rest) => rest.is_empty() || rest.starts_with('/'),
                None => false,
            },
        }
    }
}

/// What is kept, and for how long.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The scopes whose caches may be removed.
    pub scopes: Scopes,
    /// How long a cache is kept after its last use.
    pub age: Duration,
    /// Other ages for keys that match; the first that does counts.
    pub key_ages: Vec<(GlobMatcher, Duration)>,
    /// Keys that match are kept whatever their age.
    pub pins: Vec<GlobMatcher>,
    /// So many of each scope's caches, the last used ones, are kept whatever
    /// their age.
    pub keep_last: usize,
    /// The most bytes that the packs in use may have together.
    pub max_size: Option<u64>,
}

impl Policy {
    /// The caches of these scopes by their age, and no other rule.
    pub fn new(scopes: Scopes, age: Duration) -> Self {
        Self { scopes, age, key_ages: vec![], pins: vec![], keep_last: 0, max_size: None }
    }
}

/// Why a cache is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was not used for longer than its age allows.
    Age,
    /// It was not used for longer than was said when it was saved.
    Ttl,
    /// The packs in use have more bytes than are allowed, and this one was used
    /// longest ago.
    Size,
}

/// For each manifest, by its number, why it is to be removed, if it is.
pub(super) fn judge(
    marked: &[Marked],
    lens: &HashMap<PackId, u64>,
    policy: &Policy,
    now: StoreTime,
) -> Vec<Option<Reason>> {
    let kept = kept_whatever(marked, policy);
    let mut verdicts: Vec<Option<Reason>> = marked
        .iter()
        .zip(&kept)
        .map(|(manifest, kept)| if *kept { None } else { policy.expired(manifest, now) })
        .collect();
    if let Some(max_size) = policy.max_size {
        evict(marked, lens, &kept, max_size, &mut verdicts);
    }
    verdicts
}

/// Manifests that neither age nor budget may remove.
fn kept_whatever(marked: &[Marked], policy: &Policy) -> Vec<bool> {
    let mut kept: Vec<bool> = marked.iter().map(|manifest| !policy.may_remove(manifest)).collect();
    let mut by_use: Vec<usize> = (0..marked.len()).collect();
    by_use.sort_by_key(|&number| (Reverse(marked[number].last_used()), &marked[number].listed.key));
    let mut of_scope: HashMap<&Scope, usize> = HashMap::new();
    for number in by_use {
        let count = of_scope.entry(&marked[number].listed.scope).or_default();
        if *count < policy.keep_last {
            kept[number] = true;
        }
        *count += 1;
    }
    kept
}

impl Policy {
    /// How long after its last use a cache is removed, and by which rule; `None` if
    /// neither age nor budget may remove it. What `keep_last` keeps is not seen here.
    pub fn term(&self, scope: &Scope, key: &Key, lifetime: Lifetime) -> Option<(Duration, Reason)> {
        let key = key.as_str();
        if !self.scopes.contain(scope) || self.pins.iter().any(|pin| pin.is_match(key)) {
            return None;
        }
        let by_key = || self.key_ages.iter().find(|(glob, _)| glob.is_match(key));
        match lifetime {
            Lifetime::Pinned => None,
            Lifetime::For(ttl) => Some((ttl, Reason::Ttl)),
            Lifetime::ByPolicy => Some((by_key().map_or(self.age, |(_, age)| *age), Reason::Age)),
        }
    }

    fn term_of(&self, manifest: &Marked) -> Option<(Duration, Reason)> {
        let listed = &manifest.listed;
        self.term(&listed.scope, &listed.key, manifest.mark.facts.lifetime)
    }

    fn may_remove(&self, manifest: &Marked) -> bool {
        self.term_of(manifest).is_some()
    }

    fn expired(&self, manifest: &Marked, now: StoreTime) -> Option<Reason> {
        let (age, reason) = self.term_of(manifest)?;
        (now.since(manifest.last_used()) > age).then_some(reason)
    }
}

/// Removes manifests, the least recently used first, until the packs that the
/// others refer to fit the budget.
fn evict(
    marked: &[Marked],
    lens: &HashMap<PackId, u64>,
    kept: &[bool],
    max_size: u64,
    verdicts: &mut [Option<Reason>],
) {
    let mut users: HashMap<PackId, u32> = HashMap::new();
    let staying = marked.iter().zip(verdicts.iter()).filter(|(_, verdict)| verdict.is_none());
    for pack in staying.flat_map(|(manifest, _)| manifest.mark.packs.packs()) {
        *users.entry(pack).or_default() += 1;
    }
    let len = |pack: &PackId| lens.get(pack).copied().unwrap_or(0);
    let mut total: u64 = users.keys().map(len).sum();
    let mut by_use: Vec<usize> =
        (0..marked.len()).filter(|&number| !kept[number] && verdicts[number].is_none()).collect();
    by_use.sort_by_key(|&number| (marked[number].last_used(), &marked[number].listed.key));
    for number in by_use {
        if total <= max_size {
            return;
        }
        verdicts[number] = Some(Reason::Size);
        for pack in marked[number].mark.packs.packs() {
            if let Some(count) = users.get_mut(&pack) {
                *count -= 1;
                if *count == 0 {
                    total -= len(&pack);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{glob, marked, pack};
    use super::*;

    const DAY: u64 = 86_400;

    fn policy() -> Policy {
        Policy {
            scopes: Scopes::All,
            age: Duration::from_secs(14 * DAY),
            key_ages: vec![],
            pins: vec![],
            keep_last: 0,
            max_size: None,
        }
    }

    /// Judges caches given as key and days since the last use; each has a pack
    /// of its own, and shares one with all others.
    fn check(policy: &Policy, caches: &[(&str, u64)], expected: &[(&str, Reason)]) {
        let now = StoreTime::from_unix(1_000 * DAY as i64);
        let all: Vec<Marked> = caches
            .iter()
            .zip(1..)
            .map(|(&(key, days), number)| {
                let used = now.unix() - (days * DAY) as i64;
                marked(key, used, &[pack(0), pack(number)])
            })
            .collect();
        let lens = (0..9).map(|number| (pack(number), 100)).collect();
        let verdicts = judge(&all, &lens, policy, now);
        let removed: Vec<_> = caches
            .iter()
            .zip(verdicts)
            .filter_map(|((key, _), verdict)| Some((*key, verdict?)))
            .collect();
        assert_eq!(removed, expected);
    }

    #[test]
    fn age_counts_from_the_last_use() {
        let caches = [("a", 0), ("b", 14), ("c", 15)];
        check(&policy(), &caches, &[("c", Reason::Age)]);
    }

    #[test]
    fn keys_have_ages_of_their_own() {
        let day = Duration::from_secs(DAY);
        let key_ages = vec![(glob("pr-*"), day), (glob("*-x"), 90 * day)];
        let caches = [("pr-1", 2), ("pr-1/x-x", 2), ("main-x", 80), ("main", 80)];
        let expected = [("pr-1", Reason::Age), ("pr-1/x-x", Reason::Age), ("main", Reason::Age)];
        check(&Policy { key_ages, ..policy() }, &caches, &expected);
    }

    #[test]
    fn pins_and_the_last_ones_stay() {
        let pins = vec![glob("rel*")];
        let caches = [("release", 900), ("a", 30), ("b", 20), ("c", 40)];
        let removed = [("a", Reason::Age), ("c", Reason::Age)];
        check(&Policy { pins: pins.clone(), keep_last: 1, ..policy() }, &caches, &removed);
        let max_size = Some(0);
        let expected = [("a", Reason::Age), ("b", Reason::Age), ("c", Reason::Age)];
        check(&Policy { pins, max_size, ..policy() }, &caches, &expected);
    }

    #[test]
    fn the_budget_takes_the_least_recently_used() {
        // 100 shared, and 100 of each.
        let caches = [("a", 3), ("b", 1), ("c", 2)];
        let with = |max_size| Policy { max_size: Some(max_size), ..policy() };
        check(&with(400), &caches, &[]);
        check(&with(399), &caches, &[("a", Reason::Size)]);
        check(&with(200), &caches, &[("a", Reason::Size), ("c", Reason::Size)]);
        let all = [("a", Reason::Size), ("b", Reason::Size), ("c", Reason::Size)];
        check(&with(199), &caches, &all);
        // What goes by age makes room first.
        check(&with(300), &[("a", 30), ("b", 1), ("c", 2)], &[("a", Reason::Age)]);
    }

    #[test]
    fn what_a_save_said_counts_more() {
        let now = StoreTime::from_unix(1_000 * DAY as i64);
        let with = |lifetime, days: i64| {
            let mut one = marked("k", now.unix() - days * DAY as i64, &[]);
            one.mark.facts.lifetime = lifetime;
            judge(&[one], &HashMap::new(), &policy(), now)[0]
        };
        let three = Lifetime::For(Duration::from_secs(3 * DAY));
        assert_eq!(with(three, 4), Some(Reason::Ttl));
        assert_eq!(with(three, 3), None);
        assert_eq!(with(Lifetime::For(Duration::from_secs(90 * DAY)), 80), None);
        assert_eq!(with(Lifetime::Pinned, 900), None);
    }

    #[test]
    fn a_scope_has_those_below_it_and_not_those_beside() {
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        let below = Scopes::Below(scope("ci/org/repo"));
        for (text, is_in) in [
            ("ci/org/repo", true),
            ("ci/org/repo/main", true),
            ("ci/org/repo-2", false),
            ("ci/org", false),
            ("org/repo", false),
        ] {
            assert_eq!(below.contain(&scope(text)), is_in, "{text}");
            assert!(Scopes::All.contain(&scope(text)));
            let one = Scopes::One(scope("ci/org/repo"));
            assert_eq!(one.contain(&scope(text)), text == "ci/org/repo");
        }
    }

    #[test]
    fn other_scopes_are_left_alone() {
        let now = StoreTime::from_unix(1_000 * DAY as i64);
        let old = marked("k", 0, &[]);
        let scopes = Scopes::One("another".parse().unwrap());
        let verdict =
            |policy: &Policy| judge(std::slice::from_ref(&old), &HashMap::new(), policy, now)[0];
        assert_eq!(verdict(&policy()), Some(Reason::Age));
        assert_eq!(verdict(&Policy { scopes, ..policy() }), None);
    }
}
