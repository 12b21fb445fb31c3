//! Manifests and stat records: trees, and where their data lies.

use std::sync::OnceLock;

use super::object::{Form, decode, within};
use crate::format::fuzzing::{Sealed, declared_len, with_body};
use crate::format::{
    Annotation, ChunkTable, EntryIndex, Kind, Location, Manifest, ManifestFacts, References,
    SealedManifest, StatRecord, Stream, Tree, align, subtree_ends,
};
use crate::ids::{ChunkId, PackId};
use crate::relpath::RelPath;
use crate::secrets::{EncryptionKey, Keys, SigningKey};
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
    let (kind, rest) = super::choose(data, 4);
    let form = Form::of(rest);
    match kind {
        0 => form.object(Sealed::Manifest).into_iter().for_each(|it| check_manifest(&it, 0)),
        1 => form.payload().into_iter().for_each(|body| {
            check_manifest(&with_body(&base(&Keys::default()), &body, &Keys::default()), 0);
        }),
        2 => form.object(Sealed::Body).into_iter().for_each(|body| {
            let keys = keys();
            check_manifest(&with_body(&base(keys), &body, keys), declared_len(&body));
        }),
        _ => form.object(Sealed::StatRecord).into_iter().for_each(|it| check_record(&it)),
    }
}

/// Keys that encrypt and sign.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        Keys::new(&[EncryptionKey::generate()], Some(SigningKey::generate()), vec![])
    })
}

/// A manifest of no files and a few chunks, which bodies can speak of.
fn base(keys: &Keys) -> Manifest {
    let mut chunks = ChunkTable::default();
    for number in 0..5_u8 {
        let (pack, offset) = (PackId::from_bytes([number % 2; 16]), u64::from(number) << 20);
        let location = Location { pack, offset, stored_len: 50_000, raw_len: 70_000 };
        chunks.push(ChunkId::of(&[number]), location);
    }
    Manifest {
        scope: "s".parse().expect("it is a scope"),
        key: "k".parse().expect("it is a key"),
        writer: String::new(),
        created: 0,
        facts: ManifestFacts::default(),
        annotation: Annotation::default(),
        tree: Tree::default(),
        sequence: vec![],
        chunks,
        sealed_by: keys.sealing().key(),
        signed_by: None,
    }
}

/// Checks an object whose body, once it is decrypted, says that it unpacks to so many
/// bytes.
fn check_manifest(bytes: &[u8], encrypted_len: u64) {
    let references = decode(bytes, References::decode);
    let Some(sealed) = decode(bytes, SealedManifest::decode) else { return };
    let references = references.expect("a manifest says what it refers to");
    assert_eq!((&references.scope, &references.key), (&sealed.scope, &sealed.key));
    assert_eq!((&references.facts, &references.chunks), (&sealed.facts, &sealed.chunks));
    assert_eq!(
        sealed.encode(),
        SealedManifest::decode(&sealed.encode())
            .unwrap_or_else(|error| { panic!("what was decoded is encoded: {error}") })
            .encode()
    );

    let none = Keys::default();
    let keys = if encrypted_len > 0 { keys() } else { &none };
    let opened = within(declared_len(bytes) + encrypted_len, || sealed.open(keys));
    let Some(manifest) = opened else { return };
    let closed = SealedManifest::close(&manifest, keys).expect("the key is there").encode();
    let again = SealedManifest::decode(&closed).expect("what was decoded is encoded");
    let again = again.open(keys).expect("what was closed is opened");
    assert_eq!(again.encode(), manifest.encode());
    assert_eq!(again.sealed_by, manifest.sealed_by);
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
