//! What fuzzing begins with: small objects as larder makes them, and hostile ones.
//!
//! Written anew when a format changes, by
//! `cargo test --lib the_seeds_are_written -- --ignored`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::files::WalkSource;
use crate::flush::{FlushRequest, Policy, Scopes, flush};
use crate::format::fuzzing::{Sealed, body, payload, seal};
use crate::format::testing::{any_manifest, trees};
use crate::format::{Anchor, StatRecord};
use crate::progress::{Context, NoProgress};
use crate::relpath::RelPath;
use crate::save::{SaveRequest, save};
use crate::store::{MemoryStore, ObjectKey};

/// Trees of chance among the seeds.
const TREES: usize = 12;

#[test]
#[ignore = "it writes to tests/fuzz"]
fn the_seeds_are_written() {
    let mut runner = TestRunner::deterministic();
    let mut tree = || trees().new_tree(&mut runner).unwrap().current();
    for number in 0..TREES {
        let manifest = any_manifest(tree());
        write_manifest(&format!("tree-{number}"), &manifest.encode());
        let sequence = manifest.sequence.iter().map(|&row| manifest.chunks.get(row));
        let record = StatRecord {
            sealed_by: None,
            chunking: crate::chunking::parameters(),
            identities: manifest.tree.indexes().map(|_| None).collect(),
            sequence: sequence.map(|(id, at)| (id, at.raw_len)).collect(),
            tree: manifest.tree.clone(),
        };
        write_forms("manifest", &[3], &format!("record-{number}"), &record.encode());
    }
    for (object, body) in objects() {
        write_object(&object, &body);
    }
    hostile();
}

/// A store that was saved to and flushed.
fn objects() -> Vec<(ObjectKey, bytes::Bytes)> {
    let store = Arc::new(MemoryStore::new());
    let directory = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let context = Context { progress: &NoProgress, stop: &stop };
    let mut all = vec![];
    for round in 0..3_u32 {
        for number in 0..4_u32 {
            let path = directory.path().join(format!("d{}/f{}", number % 2, number + round));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("file {number} ").repeat(40)).unwrap();
        }
        let source = WalkSource {
            anchor: Anchor::WorkingDirectory,
            path: RelPath::new("tree").unwrap(),
            location: directory.path().to_owned(),
        };
        let key = format!("key-{round}").parse().unwrap();
        let request = SaveRequest::new("org/repo".parse().unwrap(), key, vec![source]);
        save(store.clone(), &request, context).unwrap();
        all.extend(store.contents());
        if round < 2 {
            store.advance_clock(Duration::from_secs(100_000));
            let policy = Policy::new(Scopes::All, Duration::from_secs(150_000));
            flush(store.clone(), &FlushRequest::new(policy), context).unwrap();
            all.extend(store.contents());
        }
    }
    all
}

fn write_object(object: &ObjectKey, body: &[u8]) {
    let name = object.as_str();
    write("marker", "name", &[&[1], name.as_bytes()].concat());
    let number = blake3::hash(body).to_string()[..8].to_owned();
    if name.starts_with("manifests/") {
        write_manifest(&number, body);
    } else if name.starts_with("packs/") {
        write("pack", &number, &[&[0], body].concat());
        let len = u32::from_le_bytes(*body[..body.len() - 4].last_chunk().unwrap()) as usize;
        write_forms("pack", &[1], &number, &body[body.len() - 8 - len..body.len() - 8]);
        write("pack", "stored", &[&[2, 9, 9, 0, 0], &body[8..body.len() - 8 - len]].concat());
        write("pack", "damage", &[&[3, 9, 9, 3, 2], &body[..body.len() - 8 - len]].concat());
    } else if name.starts_with("index/deltas/") {
        write_forms("index", &[0], &number, body);
    } else if name == "gc/state" {
        write_forms("index", &[2], &number, body);
    } else if name == "gc/marks" {
        write_forms("index", &[3], &number, body);
    } else if name.ends_with("/filter") {
        write_forms("index", &[1, 0], &number, body);
    } else if name.ends_with("/rows") {
        write_table(body);
    } else if name == "format" {
        write("marker", "marker", &[&[0], body].concat());
    }
}

/// A manifest, and its body alone: in the open, and as what is to be encrypted.
fn write_manifest(name: &str, object: &[u8]) {
    write_forms("manifest", &[0], name, object);
    for (form, bytes) in forms(&seal(Sealed::Body, &body(object))) {
        let choices = if form == 0 { &[2][..] } else { &[1, 2] };
        for choice in choices {
            write("manifest", name, &[&[*choice, form], &*bytes].concat());
        }
    }
}

/// A table of these rows and no others.
fn write_table(rows: &[u8]) {
    use crate::format::{IdPrefix, IndexRow, IndexTableWriter};
    use crate::ids::{ChunkId, PackId};
    let mut ids: Vec<_> = (0..7_u8).map(|number| ChunkId::of(&[number])).collect();
    ids.sort_by_key(IdPrefix::of);
    let mut writer = IndexTableWriter::new(0, ids.len());
    for id in &ids {
        let pack = PackId::from_bytes([3; 16]);
        writer.push(&IndexRow { chunk: IdPrefix::of(id), pack, pack_len: rows.len() as u64 });
    }
    let (filter, rows) = writer.finish();
    let count = u8::try_from(ids.len()).unwrap();
    for (form, filter) in forms(&filter) {
        write("index", "table", &[&[1, count, form], &*filter, &rows].concat());
    }
}

/// The object itself, its payload, and that as JSON.
fn forms(object: &[u8]) -> [(u8, Vec<u8>); 3] {
    let payload = payload(object);
    let value: Loose = rmp_serde::from_slice(&payload).unwrap();
    let json = serde_json::to_vec(&value.0).unwrap();
    [(0, object.to_vec()), (1, payload), (2, json)]
}

fn write_forms(target: &str, choices: &[u8], name: &str, object: &[u8]) {
    for (form, bytes) in forms(object) {
        write(target, name, &[choices, &[form], &*bytes].concat());
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    write_to("corpus", target, name, bytes);
}

fn write_to(kind: &str, target: &str, name: &str, bytes: &[u8]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz").join(kind);
    let directory = directory.join(target);
    fs::create_dir_all(&directory).unwrap();
    let hash = blake3::hash(bytes).to_string();
    fs::write(directory.join(format!("{name}-{}", &hash[..8])), bytes).unwrap();
}

/// Objects that somebody made who means harm. They are kept whatever they reach.
fn hostile() {
    let write = |target: &str, name: &str, choices: &[u8], bytes: &[u8]| {
        write_to("regressions", target, name, &[choices, bytes].concat());
    };
    let targets: [(&str, &[u8], Sealed); 8] = [
        ("manifest", &[0], Sealed::Manifest),
        ("manifest", &[2], Sealed::Body),
        ("manifest", &[3], Sealed::StatRecord),
        ("pack", &[1], Sealed::PackFooter),
        ("index", &[0], Sealed::IndexDelta),
        ("index", &[1, 0], Sealed::IndexFilter),
        ("index", &[2], Sealed::GcState),
        ("index", &[3], Sealed::GcMarks),
    ];
    for (target, choices, kind) in targets {
        let sound = seal(kind, &[0x80]);
        let name = |what: &str| format!("{what}-{kind:?}");
        let objects = [choices, &[0]].concat();
        let payloads = [choices, &[1]].concat();
        // A frame of zeros a thousand times its length, and one that claims to be that.
        write(target, &name("bomb"), &objects, &seal(kind, &vec![0; 16 << 20]));
        let mut claims = sound.clone();
        claims[8..16].copy_from_slice(&(1_u64 << 29).to_le_bytes());
        write(target, &name("claims"), &objects, &claims);
        write(target, &name("cut"), &objects, &sound[..sound.len() / 2]);
        // A window of 2 GiB, for no bytes at all.
        let wide = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xa8, 1, 0, 0];
        write(target, &name("window"), &objects, &[&sound[..48], &wide].concat());
        // Lists in lists, and a list of all that there is room for.
        write(target, &name("deep"), &payloads, &[0x91; 8_000]);
        write(target, &name("long"), &payloads, &[0xdd, 0xff, 0xff, 0xff, 0xff, 0]);
    }
    let packs = r#"{"ids":[],"stored_len":[1],"raw_len":[1]}"#;
    write("pack", "columns", &[1, 2], packs.as_bytes());
    write("pack", "trailer", &[0], b"larderP\x01\xff\xff\xff\xffLRDR");
    write("pack", "short", &[0], b"LRDR");
    for (name, key) in [("files", "entries"), ("depth", "depth")] {
        let text =
            format!(r#"{{"tree":{{"mounts":[{{"anchor":0,"path":"","{key}":4294967295}}]}}}}"#);
        write("manifest", name, &[0, 2], text.as_bytes());
    }
    for name in ["manifests/s/a+/b", "manifests/s/%2e", "packs/00/", "index/deltas/99999999999/"] {
        write("marker", "name", &[1], name.as_bytes());
    }
    for key in [format!("{}..", "x".repeat(200)), ".npmrc".to_owned(), "..".to_owned()] {
        write("marker", "key", &[2], format!("s\n{key}").as_bytes());
    }
}

/// Any msgpack as JSON: bytes that are text as text, others as numbers.
struct Loose(Value);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Loose;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("anything")
            }

            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose(Value::Null))
            }

            fn visit_bool<E>(self, it: bool) -> Result<Loose, E> {
                Ok(Loose(it.into()))
            }

            fn visit_u64<E>(self, it: u64) -> Result<Loose, E> {
                Ok(Loose(it.into()))
            }

            fn visit_i64<E>(self, it: i64) -> Result<Loose, E> {
                Ok(Loose(it.into()))
            }

            fn visit_str<E>(self, it: &str) -> Result<Loose, E> {
                Ok(Loose(it.into()))
            }

            fn visit_bytes<E>(self, it: &[u8]) -> Result<Loose, E> {
                Ok(Loose(match std::str::from_utf8(it) {
                    Ok(text) => text.into(),
                    Err(_) => it.to_vec().into(),
                }))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut it: A) -> Result<Loose, A::Error> {
                let mut list = vec![];
                while let Some(Loose(value)) = it.next_element()? {
                    list.push(value);
                }
                Ok(Loose(list.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut it: A) -> Result<Loose, A::Error> {
                let mut map = serde_json::Map::new();
                while let Some((name, Loose(value))) = it.next_entry()? {
                    map.insert(name, value);
                }
                Ok(Loose(map.into()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
