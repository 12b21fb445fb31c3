//! Which object lies under which key.
//!
//! ```text
//! format                         the format marker
//! manifests/<scope>/<key>        one per cache
//! packs/<2 hex>/<ulid>           chunks
//! index/deltas/<epoch>/<scope>/<ulid>
//!                                new chunks of one save
//! index/tables/<ulid>/filter     where all chunks are,
//! index/tables/<ulid>/rows       as of one flush
//! gc/state                       what garbage collection has decided
//! gc/marks                       what the last flush knew of manifests
//! ```
//! A scope or a key is one segment, whatever it holds: everything but letters,
//! digits, `-`, `.`, `_` is percent-encoded, `/` too. So `org/repo` is no
//! ancestor of anything, listing the keys of `app` cannot see those of `app2`,
//! and in a directory no object needs the name of another's parent. A segment
//! over 200 bytes is broken into several, all but the last ending in `+`, which
//! no encoded text holds: file systems take names up to 255 bytes.

use super::FormatError;
use crate::ids::{DeltaId, Key, PackId, Scope, TableId};
use crate::object_key::ObjectKey;

/// Builds and reads the keys of a store's objects.
#[derive(Debug)]
pub struct Layout;

/// A scope and key that together are too long for a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scope and key are too long together: {len} bytes encoded, {max} allowed")]
pub struct LayoutError {
    len: usize,
    max: usize,
}

/// Where an encoded segment is broken.
const BREAK_AT: usize = 200;

/// S3's limit on keys, less 124 bytes for the store's own prefix.
const MAX_KEY: usize = 900;

/// What an index delta's key has beside the scope: the prefix, an epoch, an id, and
/// a slash after epoch and scope.
const DELTA_BESIDE_SCOPE: usize = Layout::DELTAS.len() + 10 + 26 + 2;

/// The last epoch that has a name of ten digits. At a flush a second, it comes
/// after three centuries.
const MAX_EPOCH: u64 = 9_999_999_999;

impl Layout {
    /// The marker that makes a place a larder store.
    pub fn marker() -> ObjectKey {
        known("format".to_owned())
    }

    /// A cache's manifest.
    ///
    /// # Errors
    /// [`LayoutError`] if scope and key are too long together.
    pub fn manifest(scope: &Scope, key: &Key) -> Result<ObjectKey, LayoutError> {
        let path = Self::manifests_of(scope) + &encode(key.as_str());
        // What is saved under the key has an index delta, too.
        let of_delta = encode(scope.as_str()).len() + DELTA_BESIDE_SCOPE;
        match [path.len(), of_delta].into_iter().find(|len| *len > MAX_KEY) {
            Some(len) => Err(LayoutError { len, max: MAX_KEY }),
            None => Ok(known(path)),
        }
    }

    /// The prefix of all manifests.
    pub fn manifests() -> &'static str {
        "manifests/"
    }

    /// The prefix of a scope's manifests.
    pub fn manifests_of(scope: &Scope) -> String {
        format!("manifests/{}/", encode(scope.as_str()))
    }

    /// The prefix of the manifests of all scopes that begin with `prefix`, which is
    /// shorter than a break.
    pub fn manifests_of_scopes(prefix: &str) -> String {
        format!("{}{}", Self::manifests(), percent_encode(prefix))
    }

    /// A key that all manifests of a scope come before, and all others that do after those
    /// come after.
    pub fn after_manifests_of(scope: &Scope) -> ObjectKey {
        // Of what is in encoded text, nothing sorts after it.
        known(format!("{}~", Self::manifests_of(scope)))
    }

    /// A prefix of the manifests whose keys begin with `prefix`. Broken names
    /// can make it match others too: compare what [`Layout::parse_manifest`]
    /// gives.
    pub fn manifests_with(scope: &Scope, prefix: &str) -> String {
        // Dots alone are written in another way than before more.
        let encoded = if is_dots(prefix) { String::new() } else { percent_encode(prefix) };
        // Only up to the first break: a longer prefix may be broken elsewhere.
        let cut = encoded.len().min(BREAK_AT);
        format!("{}{}", Self::manifests_of(scope), &encoded[..cut])
    }

    /// The scope and key whose manifest lies there, if any does.
    pub fn parse_manifest(object: &ObjectKey) -> Option<(Scope, Key)> {
        let mut segments = object.as_str().strip_prefix("manifests/")?.split('/');
        let scope = decode(&mut segments)?.parse().ok()?;
        let key = decode(&mut segments)?.parse().ok()?;
        segments.next().is_none().then_some((scope, key))
    }

    /// A pack. The two digits spread packs over prefixes (S3 scales by prefix)
    /// and directories.
    pub fn pack(id: PackId) -> ObjectKey {
        let random = id.to_bytes()[15];
        known(format!("packs/{random:02x}/{id}"))
    }

    /// The prefix of all packs.
    pub fn packs() -> &'static str {
        "packs/"
    }

    /// A key that all packs of these and later first digits come after, and no
    /// others.
    pub fn before_packs_of(digits: u8) -> ObjectKey {
        known(format!("{}{digits:02x}", Self::packs()))
    }

    /// The pack that lies there, if one does.
    pub fn parse_pack(object: &ObjectKey) -> Option<PackId> {
        let id: PackId = object.as_str().rsplit('/').next()?.parse().ok()?;
        (Self::pack(id) == *object).then_some(id)
    }

    /// Whether an object of this name is one of larder's.
    pub fn is_known(object: &ObjectKey) -> bool {
        let single = [Self::marker(), Self::gc_state(), Self::gc_marks()];
        single.contains(object)
            || Self::parse_pack(object).is_some()
            || Self::parse_manifest(object).is_some()
            || Self::parse_delta(object).is_some()
            || Self::parse_table(object).is_some()
    }

    /// The state of garbage collection.
    pub fn gc_state() -> ObjectKey {
        known("gc/state".to_owned())
    }

    /// What the last flush read of manifests, so that the next one need not.
    pub fn gc_marks() -> ObjectKey {
        known("gc/marks".to_owned())
    }

    const DELTAS: &str = "index/deltas/";

    /// An index delta. Ten digits, so that the order of names is that of epochs; and
    /// in each the saver's scope, so that a policy can tell who may write it.
    pub fn delta(epoch: u64, scope: &Scope, id: DeltaId) -> ObjectKey {
        known(Self::delta_path(epoch, scope, id))
    }

    fn delta_path(epoch: u64, scope: &Scope, id: DeltaId) -> String {
        format!("{}{epoch:010}/{}/{id}", Self::DELTAS, encode(scope.as_str()))
    }

    /// The prefix of all index deltas.
    pub fn deltas() -> &'static str {
        Self::DELTAS
    }

    /// A key that all index deltas of this and later epochs come after, and no
    /// others.
    pub fn before_deltas_of(epoch: u64) -> ObjectKey {
        known(format!("{}{epoch:010}", Self::deltas()))
    }

    /// The index delta that lies there, if one does: its epoch, the scope of the save
    /// that left it, and its id.
    pub fn parse_delta(object: &ObjectKey) -> Option<(u64, Scope, DeltaId)> {
        let mut segments = object.as_str().strip_prefix(Self::DELTAS)?.split('/');
        let epoch = segments.next()?.parse().ok().filter(|epoch| *epoch <= MAX_EPOCH)?;
        let scope: Scope = decode(&mut segments)?.parse().ok()?;
        let id = segments.next()?.parse().ok()?;
        // One name for each: that epochs have ten digits is what policies go by.
        let is_named_so = Self::delta_path(epoch, &scope, id) == object.as_str();
        is_named_so.then_some((epoch, scope, id))
    }

    /// The filter of an index table.
    pub fn table_filter(id: TableId) -> ObjectKey {
        known(format!("{}{id}/filter", Self::tables()))
    }

    /// The rows of an index table.
    pub fn table_rows(id: TableId) -> ObjectKey {
        known(format!("{}{id}/rows", Self::tables()))
    }

    /// The prefix of all index tables.
    pub fn tables() -> &'static str {
        "index/tables/"
    }

    /// The index table of which a part lies there, if one does.
    pub fn parse_table(object: &ObjectKey) -> Option<TableId> {
        let (id, part) = object.as_str().strip_prefix(Self::tables())?.split_once('/')?;
        if matches!(part, "filter" | "rows") { id.parse().ok() } else { None }
    }
}

fn known(path: String) -> ObjectKey {
    ObjectKey::new(path).expect("the layout makes only valid keys")
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether a segment means a directory, and no name in one.
fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn encode(text: &str) -> String {
    let encoded = percent_encode(text);
    let mut segments = encoded.as_bytes().chunks(BREAK_AT).peekable();
    let mut broken = String::with_capacity(encoded.len() + 8);
    while let Some(segment) = segments.next() {
        let segment: String = segment.iter().map(|&byte| char::from(byte)).collect();
        if segments.peek().is_some() {
            broken.push_str(&segment);
            broken.push_str("+/");
        } else if is_dots(&segment) {
            broken.push_str(&segment.replace('.', "%2E"));
        } else {
            broken.push_str(&segment);
        }
    }
    broken
}

/// Takes one encoded text off the front of `segments`.
fn decode<'a>(segments: &mut impl Iterator<Item = &'a str>) -> Option<String> {
    let (mut encoded, mut given) = (String::new(), String::new());
    loop {
        let segment = segments.next()?;
        given.push_str(segment);
        match segment.strip_suffix('+') {
            Some(part) => {
                encoded.push_str(part);
                given.push('/');
            }
            None => {
                encoded.push_str(segment);
                break;
            }
        }
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain if is_plain(plain) => plain,
            _ => return None,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    // One spelling per name: what larder would not write is not larder's.
    (encode(&text) == given).then_some(text)
}

impl From<LayoutError> for FormatError {
    fn from(_: LayoutError) -> Self {
        Self::Inconsistent("scope and key are too long together")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(scope: &str, key: &str) -> ObjectKey {
        Layout::manifest(&scope.parse().unwrap(), &key.parse().unwrap()).unwrap()
    }

    /// Found by fuzzing: where a long name was broken before its last dots, these were
    /// taken for the directory, and the program ended in a panic.
    #[test]
    fn dots_are_a_name_wherever_they_stand() {
        for key in [".", "..", "...", ".npmrc"] {
            for before in [0, 199, 200, 400] {
                let key = format!("{}{key}", "x".repeat(before));
                let object = manifest("s", &key);
                let (_, parsed) = Layout::parse_manifest(&object).unwrap();
                assert_eq!(parsed.as_str(), key);
            }
        }
    }

    /// Found by fuzzing: the dot was looked for as the key `.` is written.
    #[test]
    fn keys_are_found_by_their_first_dots() {
        let scope = "s".parse().unwrap();
        for (prefix, key) in [(".", ".npmrc"), ("..", "..x"), (".", "."), (".", "..")] {
            let listed = Layout::manifests_with(&scope, prefix);
            assert!(manifest("s", key).as_str().starts_with(&listed), "{key} by {prefix}");
        }
    }

    /// Found by fuzzing: a name that is broken where it need not be was taken for the
    /// key, which was listed twice then.
    #[test]
    fn two_objects_are_never_one_key() {
        let long = "x".repeat(250);
        let whole = format!("manifests/s/{}+/{}", &long[..200], &long[200..]);
        let parse = |text: &str| Layout::parse_manifest(&ObjectKey::new(text).unwrap());
        assert_eq!(parse(&whole).unwrap().1.as_str(), long);
        for other in ["manifests/s/a+/b", "manifests/a+/b/c", "manifests/s/%2e", "manifests/s/a%2E"]
        {
            assert_eq!(parse(other), None, "{other}");
        }
        let elsewhere = format!("manifests/s/{}+/{}", &long[..199], &long[199..]);
        assert_eq!(parse(&elsewhere), None);
    }

    #[test]
    fn keys_are_one_segment() {
        assert_eq!(manifest("org/repo", "npm-1.2_x").as_str(), "manifests/org%2Frepo/npm-1.2_x");
        assert_eq!(manifest("..", "a b+é").as_str(), "manifests/%2E%2E/a%20b%2B%C3%A9");
    }

    #[test]
    fn manifests_are_found_again() {
        let long = "k/".repeat(120);
        for (scope, key) in [("default", "k"), ("..", "."), ("a/b", "%"), ("s", &long), ("é", "~+")]
        {
            let object = manifest(scope, key);
            let (s, k) = Layout::parse_manifest(&object).unwrap();
            assert_eq!((s.as_str(), k.as_str()), (scope, key));
            for cut in (0..=key.len()).filter(|&cut| key.is_char_boundary(cut)) {
                let prefix = Layout::manifests_with(&s, &key[..cut]);
                assert!(object.as_str().starts_with(&prefix), "{object} {prefix}");
            }
        }
    }

    #[test]
    fn siblings_do_not_match() {
        let app = Layout::manifests_of(&"app".parse().unwrap());
        assert!(!manifest("app2", "k").as_str().starts_with(&app));
    }

    #[test]
    fn foreign_objects_are_not_manifests() {
        for text in
            ["manifests/a", "manifests/a/b/c", "manifests/a/%2f", "manifests/a/%41", "x/a/b"]
        {
            assert_eq!(Layout::parse_manifest(&ObjectKey::new(text).unwrap()), None, "{text}");
        }
    }

    #[test]
    fn too_long_names_are_refused() {
        let key: Key = "/".repeat(400).parse().unwrap();
        assert!(Layout::manifest(&"s".parse().unwrap(), &key).is_err());
        // Where the key of the manifest would do, that of the delta may not.
        let (id, key): (_, Key) = (DeltaId::generate(), "k".parse().unwrap());
        for slashes in 0..=256 {
            let scope = format!("{}{}", "/".repeat(slashes), "a".repeat(512 - slashes));
            let scope: Scope = scope.parse().unwrap();
            let fits = Layout::delta_path(7, &scope, id).len() <= MAX_KEY;
            assert_eq!(Layout::manifest(&scope, &key).is_ok(), fits, "{slashes} slashes");
        }
    }

    /// Whoever may write `index/deltas/??????????/pr-*/*`, however much a star stands
    /// for, can leave no delta in the name of a scope that begins otherwise.
    #[test]
    fn a_delta_is_of_the_scope_that_a_policy_sees() {
        let id = DeltaId::generate();
        let long = "a".repeat(200);
        for between in ["0000000007", "000007/s+a", "00007/aaa+"] {
            assert_eq!(between.len(), 10);
            for rest in [String::new(), "x/main".to_owned(), format!("{long}+/main")] {
                let text = format!("index/deltas/{between}/pr-{rest}/{id}");
                let found = Layout::parse_delta(&ObjectKey::new(text.clone()).unwrap());
                let scope = found.map(|(_, scope, _)| scope);
                assert!(scope.is_none_or(|scope| scope.as_str().starts_with("pr-")), "{text}");
            }
        }
    }

    #[test]
    fn packs_are_found_again() {
        let pack = PackId::generate();
        assert_eq!(Layout::parse_pack(&Layout::pack(pack)), Some(pack));
        let other = ObjectKey::new(format!("packs/zz/{pack}")).unwrap();
        assert_eq!(Layout::parse_pack(&other), None);
    }

    #[test]
    fn parts_of_the_index_are_found_again() {
        let id = DeltaId::generate();
        let long = "r/".repeat(120);
        for scope in ["s", "org/repo", "..", &long] {
            let scope: Scope = scope.parse().unwrap();
            for epoch in [0, 7, MAX_EPOCH] {
                let delta = Layout::delta(epoch, &scope, id);
                assert_eq!(Layout::parse_delta(&delta), Some((epoch, scope.clone(), id)));
                let before = Layout::before_deltas_of(epoch);
                assert!(before < delta);
                assert!(epoch == 0 || Layout::delta(epoch - 1, &scope, id) < before);
            }
        }
        let none = |text: String| {
            assert_eq!(Layout::parse_delta(&ObjectKey::new(text.clone()).unwrap()), None, "{text}");
        };
        none(format!("index/deltas/{id}"));
        none(format!("index/deltas/0000000007/{id}"));
        none(format!("index/deltas/7/s/{id}"));
        none(format!("index/deltas/+000000007/s/{id}"));
        none(format!("index/deltas/00000000007/s/{id}"));
        none(format!("index/deltas/10000000000/s/{id}"));
        none(format!("index/deltas/0000000007/s/t/{id}"));
        none(format!("index/deltas/0000000007/s/{id}/x"));
        // A key could be that long, but not with the ten digits that it would need.
        none(format!("index/deltas/7/{}/{id}", encode(&"/".repeat(323))));
        let table = TableId::generate();
        assert_eq!(Layout::parse_table(&Layout::table_filter(table)), Some(table));
        assert_eq!(Layout::parse_table(&Layout::table_rows(table)), Some(table));
        let other = ObjectKey::new(format!("index/tables/{table}/other")).unwrap();
        assert_eq!(Layout::parse_table(&other), None);
    }
}
