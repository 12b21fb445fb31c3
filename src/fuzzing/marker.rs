//! What a store is told by: its marker, and the names of its objects.

use crate::chunking;
use crate::format::{FormatMarker, Layout};
use crate::ids::{Key, Scope};
use crate::object_key::ObjectKey;

/// A marker is larder's or it is not; an object's name means one thing or nothing.
///
/// # Panics
/// If a promise is broken.
pub fn marker(data: &[u8]) {
    match super::choose(data, 3) {
        (0, rest) => check_marker(rest),
        (1, rest) => check_listed(rest),
        (_, rest) => check_names(rest),
    }
}

fn check_marker(bytes: &[u8]) {
    let ours = chunking::parameters();
    match FormatMarker::decode(bytes, &ours) {
        Ok(marker) => assert_eq!(FormatMarker::decode(&marker.encode(), &ours), Ok(marker)),
        Err(error) => super::check_message(&format!("{error} {}", error.hint())),
    }
}

/// An object that a listing has.
fn check_listed(name: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else { return };
    let Ok(object) = ObjectKey::new(name) else { return };
    assert_eq!(object.to_string(), name);
    if let Some((scope, key)) = Layout::parse_manifest(&object) {
        // Two objects of one key would each be listed, and one of them read.
        assert_eq!(Layout::manifest(&scope, &key).as_ref(), Ok(&object));
    }
    if let Some(pack) = Layout::parse_pack(&object) {
        assert_eq!(Layout::pack(pack), object);
    }
    if let Some((epoch, scope, delta)) = Layout::parse_delta(&object) {
        assert_eq!(Layout::delta(epoch, &scope, delta), object);
    }
    if let Some(table) = Layout::parse_table(&object) {
        assert!([Layout::table_filter(table), Layout::table_rows(table)].contains(&object));
    }
}

/// A scope and a key, in two lines.
fn check_names(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (scope, key) = text.split_once('\n').unwrap_or(("s", text));
    let scope = match scope.parse::<Scope>() {
        Ok(scope) => scope,
        Err(error) => return super::check_message(&error.to_string()),
    };
    let key = match key.parse::<Key>() {
        Ok(key) => key,
        Err(error) => return super::check_message(&error.to_string()),
    };
    let Ok(object) = Layout::manifest(&scope, &key) else { return };
    assert_eq!(Layout::parse_manifest(&object), Some((scope.clone(), key.clone())));
    assert!(Layout::is_known(&object));
    // A listing by any beginning of the key has it.
    for (len, _) in key.as_str().char_indices() {
        let prefix = Layout::manifests_with(&scope, &key.as_str()[..len]);
        assert!(object.as_str().starts_with(&prefix), "{prefix} is not before {object}");
    }
}
