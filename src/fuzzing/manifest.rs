//! Manifests and stat records: trees, and where their data lies.

use super::object::{Form, decode};
use crate::format::fuzzing::Sealed;
use crate::format::{
    EntryIndex, Kind, Manifest, References, StatRecord, Stream, Tree, align, subtree_ends,
};
use crate::relpath::RelPath;
use crate::usage::Usage;

/// Entries whose whole paths are looked at: in a tree that is one long path, all of them
/// would take the square of their number.
const PATHS: usize = 64;

/// Pieces of the stream that are counted.
const PIECES: usize = 10_000;

/// Whatever is a manifest or a stat record is sound; nothing else is taken for one.
///
/// # Panics
/// If a promise is broken.
pub fn manifest(data: &[u8]) {
    match super::choose(data, 4) {
        (0..3, rest) => {
            Form::of(rest).object(Sealed::Manifest).into_iter().for_each(|it| check_manifest(&it));
        }
        (_, rest) => {
            Form::of(rest).object(Sealed::StatRecord).into_iter().for_each(|it| check_record(&it));
        }
    }
}

fn check_manifest(bytes: &[u8]) {
    let references = decode(bytes, References::decode);
    let Some(manifest) = decode(bytes, Manifest::decode) else { return };
    let references = references.expect("a sound manifest says what it refers to");
    assert_eq!((&references.scope, &references.key), (&manifest.scope, &manifest.key));
    assert_eq!((&references.facts, &references.chunks), (&manifest.facts, &manifest.chunks));

    let encoded = manifest.encode();
    let again = Manifest::decode(&encoded).expect("what was decoded is encoded");
    assert_eq!(again.encode(), encoded);
    assert!(again.same_contents(&manifest) && manifest.check().is_ok());
    assert_eq!(again.annotation, manifest.annotation);
    check_tree(&manifest.tree, &manifest.stream());

    // What others make of it by arithmetic.
    let stored_bytes = manifest.stored_bytes();
    let raw_bytes = manifest.tree.raw_bytes();
    let usage = Usage::of(manifest);
    assert_eq!((usage.total().stored_bytes, usage.total().raw_bytes), (stored_bytes, raw_bytes));
    usage.directories(3);
    usage.extensions();
}

fn check_record(bytes: &[u8]) {
    let Some(record) = decode(bytes, StatRecord::decode) else { return };
    let encoded = record.encode();
    let again = StatRecord::decode(&encoded).expect("what was decoded is encoded");
    assert_eq!(again.encode(), encoded);
    assert_eq!((&again.tree, &again.identities), (&record.tree, &record.identities));
    check_tree(&record.tree, &record.stream());
}

fn check_tree(tree: &Tree, stream: &Stream) {
    let mut pieces = 0;
    for index in tree.indexes() {
        check_place(tree, index);
        let len = tree.data_len(index);
        if let Kind::File(file) = tree.entry(index).kind
            && len > 0
            && pieces < PIECES
        {
            let found = stream.pieces(file.at, len).inspect(|_| pieces += 1).take(PIECES);
            let sum: u64 = found.map(|piece| u64::from(piece.len)).sum();
            assert!(sum == len || pieces >= PIECES, "a file's data lies in the stream");
        }
    }
    for index in tree.indexes().take(PATHS) {
        RelPath::new(tree.path(index)).expect("paths stay below their mounts");
    }
    for mount in tree.mounts() {
        let found = align(tree, mount, tree, mount);
        assert!(mount.entries.clone().map(Some).eq(found), "a tree is like itself");
        let ends = subtree_ends(tree, mount);
        assert_eq!(ends.first(), Some(&mount.entries.end));
    }
    let (all, origins) = tree.select(|_| true);
    assert_eq!(&all, tree);
    assert!(tree.indexes().eq(origins));
}

/// Checks where an entry is: in a directory before it, after its siblings.
fn check_place(tree: &Tree, index: EntryIndex) {
    let entry = tree.entry(index);
    assert!(entry.mode <= 0o7777 && entry.mtime.nanos < 1_000_000_000);
    if let Some(parent) = entry.parent {
        assert!(parent < index && tree.entry(parent).kind == Kind::Directory);
        assert!(crate::relpath::is_name(tree.name(index)));
    }
    if let Kind::HardLink { first } = entry.kind {
        assert!(first < index && matches!(tree.entry(first).kind, Kind::File(_)));
    }
    assert_eq!(entry.kind == Kind::Symlink, !tree.target(index).is_empty());
}
