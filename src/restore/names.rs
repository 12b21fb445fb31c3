//! Names that are one where letter case or Unicode form does not count.
//!
//! On such a file system the second of two names would take the place of the first. Which
//! names those are differs between file systems, versions of Unicode, and even directories:
//! so names that may be meant are found by generous rules, and the file system itself has
//! the last word.

use std::borrow::Cow;
use std::collections::HashMap;

use icu_normalizer::DecomposingNormalizerBorrowed;

use crate::format::{Anchor, EntryIndex, Tree};

/// Pairs of entries of one directory whose names may be one, in the order of the second.
/// Mounts count as entries of what they are relative to.
pub fn same_names(tree: &Tree) -> Vec<(EntryIndex, EntryIndex)> {
    let mut seen: HashMap<(Option<EntryIndex>, Cow<'_, [u8]>), EntryIndex> = HashMap::new();
    let mut roots: HashMap<(Anchor, Vec<u8>), EntryIndex> = HashMap::new();
    let mut pairs = vec![];
    for entry in tree.indexes() {
        let first = match tree.entry(entry).parent {
            Some(parent) => *seen.entry((Some(parent), folded(tree.name(entry)))).or_insert(entry),
            None => {
                let mount = tree.mount_of(entry);
                let path = folded(mount.path.as_bytes()).into_owned();
                *roots.entry((mount.anchor, path)).or_insert(entry)
            }
        };
        if first != entry {
            pairs.push((first, entry));
        }
    }
    pairs
}

/// A name without what some file system makes no difference of: case, Unicode form, and
/// characters that show nothing. Bytes that are no text are what they are.
pub(super) fn folded(name: &[u8]) -> Cow<'_, [u8]> {
    if name.is_ascii() {
        return match name.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(name.to_ascii_lowercase()),
            false => Cow::Borrowed(name),
        };
    }
    let Ok(text) = std::str::from_utf8(name) else { return Cow::Borrowed(name) };
    let seen: String = text.chars().filter(|&c| !is_ignored(c)).collect();
    // There and back: some letters have several small ones, or a large one that is two.
    let large: String = seen.chars().flat_map(char::to_uppercase).collect();
    let small: String = large.chars().flat_map(char::to_lowercase).collect();
    let normalizer = const { DecomposingNormalizerBorrowed::new_nfd() };
    Cow::Owned(normalizer.normalize(&small).into_owned().into_bytes())
}

/// What HFS+ and casefolding file systems of Linux leave out of a comparison, and some
/// more.
fn is_ignored(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{FileData, Kind, NewEntry, Timestamp, TreeBuilder};
    use crate::relpath::RelPath;

    fn same(names: &[&str]) -> Vec<(String, String)> {
        let mut names: Vec<&str> = names.to_vec();
        names.sort_unstable();
        let mut builder = TreeBuilder::default();
        builder.begin_mount(Anchor::WorkingDirectory, RelPath::new("m").unwrap()).unwrap();
        let mut push = |depth, name: &str, kind| {
            let (target, mode, mtime) = (&b""[..], 0o755, Timestamp::default());
            let new = NewEntry { name: name.as_bytes(), kind, target, mode, mtime };
            builder.push(depth, new).unwrap();
        };
        push(0, "m", Kind::Directory);
        for name in names {
            push(1, name, Kind::File(FileData { size: 0, at: 0 }));
        }
        let tree = builder.finish().unwrap();
        let name = |entry| String::from_utf8_lossy(tree.name(entry)).into_owned();
        same_names(&tree).into_iter().map(|(a, b)| (name(a), name(b))).collect()
    }

    #[test]
    fn names_that_differ_in_case_or_form_alone_are_found() {
        for (first, second) in [
            ("A", "a"),
            ("README.md", "ReadMe.md"),
            ("e\u{301}", "\u{e9}"),
            ("E\u{301}", "\u{e9}"),
            ("STRASSE", "stra\u{df}e"),
            ("\u{3a3}", "\u{3c2}"),
            (".git", ".g\u{200c}it"),
            ("K", "\u{212a}"),
        ] {
            assert_eq!(same(&[first, second]), [(first.to_owned(), second.to_owned())]);
        }
        assert_eq!(same(&["a", "b", "a.b", "\u{e9}", "e", "\u{fffd}", "\u{e8}"]), []);
        assert_eq!(folded(b"A\xff"), &b"A\xff"[..]);
    }
}
