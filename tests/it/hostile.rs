//! Caches that an attacker wrote: sound by their checksums, with anything inside.
//!
//! They are built by the library's own types, and where those refuse, by changing bytes
//! inside of a manifest and sealing it again.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use larder::error::Error;
use larder::format::{
    Anchor, Annotation, ChunkTable, FileData, Hole, Kind, Layout, Location, Manifest,
    ManifestFacts, NewEntry, PackBuilder, Timestamp, TreeBuilder,
};
use larder::ids::{ChunkId, PackId};
use larder::records::Records;
use larder::relpath::RelPath;
use larder::repository::Repository;
use larder::restore::{RestoreReport, RestoreRequest, restore};
use larder::store::{Fsync, LocalStore, MemoryStore, PutMode, Store};

use crate::faults::with_context;
use crate::support::{
    Noise, Run, Sandbox, assert_same, chmod, contents, ctimes, run, stage_areas, write,
};

/// The parts of a hostile cache.
struct Evil {
    builder: TreeBuilder,
    /// What the stream is made of, and how often each is in it.
    chunks: Vec<(Vec<u8>, usize)>,
    at: u64,
    key: &'static str,
    writer: &'static str,
}

impl Evil {
    fn new() -> Self {
        Self { builder: TreeBuilder::default(), chunks: vec![], at: 0, key: "k", writer: "evil" }
    }

    fn mount(mut self, anchor: Anchor, path: &str) -> Self {
        self.builder.begin_mount(anchor, RelPath::new(path).unwrap()).unwrap();
        self
    }

    fn push(mut self, depth: usize, name: &str, kind: Kind, target: &str) -> Self {
        let mtime = Timestamp { secs: 1_000_000_000, nanos: 0 };
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let (name, target) = (name.as_bytes(), target.as_bytes());
        self.builder.push(depth, NewEntry { name, kind, target, mode, mtime }).unwrap();
        self
    }

    fn dir(self, depth: usize, name: &str) -> Self {
        self.push(depth, name, Kind::Directory, "")
    }

    fn link(self, depth: usize, name: &str, target: &str) -> Self {
        self.push(depth, name, Kind::Symlink, target)
    }

    /// A file with these contents so many times.
    fn file(mut self, depth: usize, name: &str, text: &[u8], times: usize) -> Self {
        let size = (text.len() * times) as u64;
        let at = self.at;
        if !text.is_empty() {
            self.chunks.push((text.to_vec(), times));
        }
        self.at += size;
        self.push(depth, name, Kind::File(FileData { size, at }), "")
    }

    /// A file of nothing but a hole.
    fn hole(self, depth: usize, name: &str, size: u64) -> Self {
        let mut evil = self;
        let mtime = Timestamp::default();
        let kind = Kind::File(FileData { size, at: 0 });
        let new = NewEntry { name: name.as_bytes(), kind, target: b"", mode: 0o644, mtime };
        let index = evil.builder.push(depth, new).unwrap();
        evil.builder.set_holes(index, vec![Hole { offset: 0, len: size }]).unwrap();
        evil
    }

    /// The pack and the manifest.
    fn seal(self) -> (PackId, Vec<u8>, Manifest) {
        let names = self.chunks.iter().map(|(text, _)| *ChunkId::of(text).as_bytes());
        let name = blake3::hash(&names.collect::<Vec<_>>().concat());
        let id = PackId::from_bytes(*name.as_bytes().first_chunk().unwrap());
        let mut pack = PackBuilder::new(id, 1 << 20);
        let (mut table, mut sequence) = (ChunkTable::default(), vec![]);
        for (text, times) in &self.chunks {
            let raw_len = u32::try_from(text.len()).unwrap();
            let stored = zstd::bulk::compress(text, 1).unwrap();
            let stored = if stored.len() < text.len() { &stored } else { text };
            let location: Location = pack.push(ChunkId::of(text), stored, raw_len);
            let row = table.push(ChunkId::of(text), location);
            sequence.extend(std::iter::repeat_n(row, *times));
        }
        let manifest = Manifest {
            sealed_by: None,
            signed_by: None,
            scope: "default".parse().unwrap(),
            key: self.key.parse().unwrap(),
            writer: self.writer.into(),
            created: i64::MAX,
            facts: ManifestFacts::default(),
            annotation: Annotation::default(),
            tree: self.builder.finish().unwrap(),
            sequence,
            chunks: table,
        };
        (id, pack.finish(), manifest)
    }

    /// Puts it into a store, with these bytes of the manifest replaced.
    fn put_with(self, store: &Arc<dyn Store>, from: &[u8], to: &[u8]) {
        let (pack, body, manifest) = self.seal();
        if Repository::open(store.clone()).unwrap().is_none() {
            Repository::create(store.clone()).unwrap();
        }
        store.put(&Layout::pack(pack), body.into(), PutMode::Overwrite).unwrap();
        let key = Layout::manifest(&manifest.scope, &manifest.key).unwrap();
        let bytes = changed(&manifest.encode(), from, to);
        store.put(&key, bytes.into(), PutMode::Overwrite).unwrap();
    }

    fn put(self, store: &Arc<dyn Store>) {
        self.put_with(store, b"", b"");
    }

    fn store(self) -> Arc<dyn Store> {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        self.put(&store);
        store
    }
}

/// Sealed envelopes, with some bytes of their payloads replaced, and their checksums
/// right again.
fn changed(mut sealed: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut all = vec![];
    let mut found = from.is_empty();
    while !sealed.is_empty() {
        let (header, frames) = sealed.split_at(48);
        let len = zstd::zstd_safe::find_frame_compressed_size(frames).unwrap();
        let mut payload = zstd::stream::decode_all(&frames[..len]).unwrap();
        let at = payload.windows(from.len().max(1)).position(|bytes| bytes == from);
        if let Some(at) = at {
            payload[at..at + to.len()].copy_from_slice(to);
            found = true;
        }
        all.extend_from_slice(&header[..16]);
        let hash = blake3::Hasher::new().update(&header[..16]).update(&payload).finalize();
        all.extend_from_slice(hash.as_bytes());
        all.extend_from_slice(&zstd::bulk::compress(&payload, 3).unwrap());
        sealed = &frames[len..];
    }
    assert!(found, "{from:?} is not in the manifest");
    all
}

fn request(to: &Path) -> RestoreRequest {
    crate::faults::restore_request(to)
}

fn bring(store: &Arc<dyn Store>, request: &RestoreRequest) -> Result<RestoreReport, Error> {
    with_context(|context| restore(store.clone(), request, context))
}

/// A directory to restore to, and beside it one with something in it that nothing may
/// change.
struct Place {
    sandbox: Sandbox,
    before: (Vec<String>, Vec<Vec<u8>>),
}

impl Place {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for name in ["outside/d/file", "outside/d/mine", "outside/file", "outside/d/sub/deep"] {
            write(sandbox.path(name), "mine");
            chmod(sandbox.path(name), 0o640);
        }
        symlink("/", sandbox.path("outside/link")).unwrap();
        fs::create_dir(sandbox.path("target")).unwrap();
        let mut place = Self { sandbox, before: Default::default() };
        place.before = place.outside();
        place
    }

    fn outside(&self) -> (Vec<String>, Vec<Vec<u8>>) {
        let outside = self.sandbox.path("outside");
        let states =
            ctimes(&outside).into_iter().map(|(path, state)| format!("{path:?} {state:?}"));
        (states.collect(), contents(&outside).into_values().collect())
    }

    fn target(&self) -> PathBuf {
        self.sandbox.path("target")
    }

    #[track_caller]
    fn check(&self, what: &str) {
        assert_eq!(self.outside(), self.before, "{what}");
        let mut names: Vec<_> = fs::read_dir(self.sandbox.path("."))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["home", "outside", "target", "work"], "{what}");
    }
}

#[test]
fn nothing_is_written_outside_the_target() {
    let place = Place::new();
    // Names that no file system has are refused before anything is done.
    let names: [(&[u8], &[u8]); 11] = [
        (b"kkk\0zz\0", b"kkk\0..\0"),
        (b"kkk\0zz\0", b"kkk\0./\0"),
        (b"kkk\0zz\0", b"kkk\0/x\0"),
        (b"kkk\0zz\0", b"kkk\0x/\0"),
        (b"kkk\0zz\0", b"kkk\0\0z\0"),
        (b"kkk\0zz\0", b"../\0zz\0"),
        (b"mnt/zz", b"mnt/.."),
        (b"mnt/zz", b"/nt/zz"),
        (b"mnt/zz", b"mnt//z"),
        (b"mnt/zz", b"../../"),
        (b"mnt/zz", b"mnt\0zz"),
    ];
    for (from, to) in names {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let evil = Evil::new().mount(Anchor::WorkingDirectory, "mnt/zz").dir(0, "zz");
        let evil = evil.dir(1, "kkk").file(1, "zz", b"evil", 1);
        evil.put_with(&store, from, to);
        let what = to.escape_ascii().to_string();
        let error = bring(&store, &request(&place.target())).expect_err(&what);
        assert!(error.is_damage(), "{what}: {error}");
        assert_eq!(fs::read_dir(place.target()).unwrap().count(), 0, "{what}");
        place.check(&what);
    }
    // The same without a change is restored.
    let evil = Evil::new().mount(Anchor::WorkingDirectory, "mnt/zz").dir(0, "zz");
    let store = evil.dir(1, "kkk").file(1, "zz", b"evil", 1).store();
    bring(&store, &request(&place.target())).unwrap();
    assert_eq!(fs::read(place.target().join("mnt/zz/zz")).unwrap(), b"evil");
    place.check("sound");
}

/// A link that a cache brings, and what would lie behind it: in one cache, in one after
/// the other, and in the target before either.
#[test]
fn a_cache_cannot_write_through_links() {
    let place = Place::new();
    let outside = place.sandbox.path("outside");
    let outside = outside.to_str().unwrap();
    let link = |key| {
        let evil = Evil { key, ..Evil::new() };
        evil.mount(Anchor::WorkingDirectory, "a").link(0, "a", outside)
    };
    // Mounts with other anchors can nest where both go below one directory.
    let store = link("k").mount(Anchor::Root, "a/d").dir(0, "d").file(1, "file", b"evil", 1);
    let error = bring(&store.store(), &request(&place.target())).unwrap_err().to_string();
    assert!(error.contains("two mounts"), "{error}");
    place.check("nested mounts");

    let store = link("k").store();
    bring(&store, &request(&place.target())).unwrap();
    assert!(place.target().join("a").is_symlink());
    let evil = Evil::new().mount(Anchor::WorkingDirectory, "a/d").dir(0, "d");
    evil.file(1, "file", b"evil", 1).put(&store);
    let error = bring(&store, &request(&place.target())).unwrap_err().to_string();
    assert!(error.contains("symbolic link"), "{error}");
    place.check("a mount behind a link");

    // Where the cache has a directory, the link goes.
    let evil = Evil::new().mount(Anchor::WorkingDirectory, "a").dir(0, "a").dir(1, "d");
    evil.file(2, "file", b"evil", 1).put(&store);
    bring(&store, &request(&place.target())).unwrap();
    assert!(place.target().join("a").is_dir() && !place.target().join("a").is_symlink());
    place.check("a directory in the place of a link");

    // Files and hard links in the place of links; links in the place of directories.
    fs::remove_file(place.target().join("a/d/file")).unwrap();
    symlink(place.sandbox.path("outside/file"), place.target().join("a/d/file")).unwrap();
    symlink(outside, place.target().join("a/d/hard")).unwrap();
    let evil = Evil::new().mount(Anchor::WorkingDirectory, "a").dir(0, "a").dir(1, "d");
    let evil = evil.file(2, "file", b"evil", 1).push(2, "hard", Kind::HardLink { first: 2 }, "");
    evil.put(&store);
    bring(&store, &request(&place.target())).unwrap();
    assert_eq!(fs::read(place.target().join("a/d/hard")).unwrap(), b"evil");
    place.check("files in the place of links");
    let evil = Evil::new().mount(Anchor::WorkingDirectory, "a").dir(0, "a");
    evil.link(1, "d", outside).put(&store);
    bring(&store, &request(&place.target())).unwrap();
    assert!(place.target().join("a/d").is_symlink());
    place.check("a link in the place of a directory");
}

#[test]
fn deletion_does_not_go_through_links() {
    let place = Place::new();
    let outside = place.sandbox.path("outside");
    let store = Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m").dir(1, "d").store();
    for name in ["m/link", "m/d/link", "m/x/y/link"] {
        let link = place.target().join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&outside, link).unwrap();
    }
    let report = bring(&store, &request(&place.target())).unwrap();
    assert_eq!(report.removed, 3);
    assert_eq!(contents(&place.target()).len(), 0);
    place.check("extra links");
    // The link is in the place of a directory of the cache.
    fs::remove_dir(place.target().join("m/d")).unwrap();
    symlink(&outside, place.target().join("m/d")).unwrap();
    bring(&store, &request(&place.target())).unwrap();
    assert!(!place.target().join("m/d").is_symlink());
    place.check("a link in the place of a directory");
}

/// Restores while another process swaps directories of the target, and stage areas, for
/// links to outside. `LARDER_RACES` says how many.
#[test]
fn no_race_leads_a_restore_outside() {
    let races = std::env::var("LARDER_RACES").ok().and_then(|text| text.parse().ok());
    let place = Place::new();
    let (target, outside) = (place.target(), place.sandbox.path("outside"));
    // Both have what lies outside, under the same names: all that is done to the one
    // could be done to the other.
    let stores = [b"one", b"two"].map(|text| {
        let evil = Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m").dir(1, "d");
        let evil = evil.file(2, "file", text, 1).link(2, &format!("l{}", text[0]), "x");
        let evil = evil.dir(2, "sub").file(3, "deep", b"same", 1).file(3, "mode", text, 3);
        evil.push(3, "name", Kind::HardLink { first: 2 }, "").store()
    });
    let stop = AtomicBool::new(false);
    let swap = |path: &Path, away: &Path| {
        if fs::rename(path, away).is_ok() {
            let _ = symlink(&outside, path);
            std::thread::yield_now();
            let _ = fs::remove_file(path);
            let _ = fs::rename(away, path);
        }
    };
    let done = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                swap(&target.join("m/d"), &target.join("m/away"));
                swap(&target.join("m/d/sub"), &target.join("m/d/away"));
                for area in fs::read_dir(target.join("m")).into_iter().flatten().flatten() {
                    if area.file_name().to_string_lossy().starts_with(".larder-tmp-") {
                        swap(&area.path(), &target.join("m/area"));
                    }
                }
            }
        });
        let mut done = 0;
        for number in 0..races.unwrap_or(60) {
            let store = &stores[number % 2];
            done += usize::from(bring(store, &request(&target)).is_ok());
            let _ =
                fs::set_permissions(target.join("m/d/sub/deep"), PermissionsExt::from_mode(0o600));
        }
        stop.store(true, Ordering::Relaxed);
        done
    });
    place.check("a race");
    // What is left of it all is mended by the next restore.
    bring(&stores[0], &request(&target)).unwrap();
    assert_eq!(fs::read(target.join("m/d/file")).unwrap(), b"one", "{done} went well");
    place.check("the restore after it");
}

#[test]
fn set_id_bits_come_back_only_when_asked_for() {
    let sandbox = Sandbox::new();
    let modes = [("tree/file", 0o4755), ("tree/shared", 0o2775), ("tree/tmp", 0o1777)];
    write(sandbox.work("tree/file"), "x");
    write(sandbox.work("tree/plain"), "y");
    for (name, mode) in modes {
        if name != "tree/file" {
            fs::create_dir(sandbox.work(name)).unwrap();
        }
        chmod(sandbox.work(name), mode);
    }
    sandbox.save(&[]);
    assert_eq!(sandbox.save(&[])["unchanged"], true);
    let mode = |name: &str| fs::metadata(sandbox.path("out").join(name)).unwrap().mode() & 0o7777;
    let to = sandbox.path("out");
    let restore = |more: &[&str]| -> Run {
        let arguments = ["--json", "restore", "--key", "k", "--to", to.to_str().unwrap()];
        sandbox.larder(arguments.iter().chain(more)).ok()
    };
    let run = restore(&[]);
    assert_eq!(run.stderr.matches("warning:").count(), 1, "{}", run.stderr);
    run.says("restored 3 entries without their set-user-ID");
    for (name, bits) in modes {
        assert_eq!(mode(name), bits & 0o777, "{name}");
    }
    // That they are not there is no difference, with a record and without.
    for more in [&[][..], &["--no-stat-record"]] {
        let before = ctimes(&to);
        let run = restore(more);
        assert_eq!((&*run.stderr, ctimes(&to) == before), ("", true));
        assert_eq!(run.json()["files_unchanged"], run.json()["files"]);
    }
    let run = restore(&["--setuid"]);
    assert_eq!(run.stderr, "");
    for (name, bits) in modes {
        assert_eq!(mode(name), bits, "{name}");
    }
    // Those that are there are the user's.
    write(to.join("tree/plain"), "other");
    restore(&[]);
    assert_eq!(mode("tree/shared"), 0o2775);
}

/// `security.capability` is a set-id bit by another name.
#[test]
fn attributes_of_the_system_come_back_only_when_asked_for() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/file"), "x");
    let set = |name: &str| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(sandbox.work("tree/file"), name, b"v", flags).is_ok()
    };
    if !set("user.own") || !set("trusted.larder") {
        eprintln!("skipped: only root has trusted attributes, and not on every file system");
        return;
    }
    let has = |name: &str| {
        let mut value = [0; 8];
        rustix::fs::getxattr(sandbox.path("out/tree/file"), name, &mut value[..]).is_ok()
    };
    sandbox.save(&["--xattrs"]);
    let to = sandbox.path("out");
    let arguments = ["restore", "--key", "k", "--xattrs", "--to", to.to_str().unwrap()];
    sandbox.larder(arguments).ok().says("1 entry without attributes that are the system's");
    assert_eq!((has("user.own"), has("trusted.larder")), (true, false));
    assert_eq!(sandbox.larder(arguments).ok().stderr, "");
    sandbox.larder(arguments.iter().chain(&["--setuid"])).ok();
    assert_eq!((has("user.own"), has("trusted.larder")), (true, true));
}

/// The format has no words for them.
#[test]
fn devices_fifos_and_sockets_are_told_of_and_left_out() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/file"), "x");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, sandbox.work("tree/fifo"), fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(sandbox.work("tree/socket")).unwrap();
    let saved = sandbox.larder(["save", "--key", "k", "tree"]).ok();
    saved.says("tree/fifo is left out: it is a fifo").says("tree/socket is left out");
    sandbox.restore_to("out", &[]);
    let names: Vec<_> = fs::read_dir(sandbox.path("out/tree")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

/// One chunk, claimed a million times: a stream of terabytes in an object of a kilobyte.
#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let place = Place::new();
    let evil = Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m");
    let store = evil.file(1, "a", b"small", 1).file(1, "bomb", &vec![0; 16 << 20], 1_000_000);
    let store = store.store();
    let object = Layout::manifest(&"default".parse().unwrap(), &"k".parse().unwrap()).unwrap();
    let len = store.get(&object, u64::MAX).unwrap().body.len();
    assert!(len < 2_000, "{len}");
    let free = rustix::fs::statvfs(place.target()).unwrap();
    if free.f_blocks == 0 || free.f_bfree.saturating_mul(free.f_frsize) > 16 << 40 {
        eprintln!("skipped: there is room for it");
        return;
    }
    match bring(&store, &request(&place.target())) {
        Err(Error::NoRoom { needed, .. }) => assert_eq!(needed, (16 << 20) * 1_000_000 + 5),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 0);
    place.check("a bomb");
}

/// Holes take no space: how long they may be is for the file system to say, and it does
/// so before the target is changed.
#[test]
fn holes_take_no_space() {
    let place = Place::new();
    for size in [1u64 << 40, 1 << 60, i64::MAX as u64] {
        let evil = Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m");
        let store = evil.file(1, "a", b"small", 1).hole(1, "hole", size).store();
        match bring(&store, &request(&place.target())) {
            Ok(_) => {
                let found = fs::metadata(place.target().join("m/hole")).unwrap();
                assert_eq!(found.len(), size);
                assert!(found.blocks() < 1_000, "{} blocks", found.blocks());
            }
            Err(Error::File(error)) => assert!(error.path.ends_with("m/hole"), "{error}"),
            Err(error) => panic!("{size}: {error}"),
        }
        assert!(stage_areas(&place.target()).is_empty());
    }
}

/// Many mounts, and trees as deep as the format allows.
#[test]
fn the_deepest_and_the_widest_trees_come_and_go() {
    larder::files::raise_open_file_limit();
    let place = Place::new();
    let mut evil = Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m");
    let depth = 2_000;
    for level in 1..=depth {
        evil = evil.dir(level, "d");
    }
    let store = evil.file(depth + 1, "f", b"deep", 1).store();
    let larder = || bring(&store, &request(&place.target())).map(|report| report.files);
    assert_eq!((larder().unwrap(), larder().unwrap()), (1, 1));
    Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m").put(&store);
    assert_eq!(bring(&store, &request(&place.target())).unwrap().removed, 1);
    let mut evil = Evil::new();
    for number in 0..200 {
        let name = format!("{number:03}");
        evil = evil.mount(Anchor::WorkingDirectory, &name).dir(0, &name);
    }
    evil.put(&store);
    bring(&store, &request(&place.target())).unwrap();
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 201);
}

/// What a cache holds says nothing of where a step of a pipeline may write.
#[test]
fn plugins_write_to_the_paths_of_their_settings_alone() {
    let sandbox = Sandbox::new();
    write(sandbox.work("vendor/a"), "a");
    write(sandbox.work("src/main.rs"), "evil");
    write(sandbox.path("home/.profile"), "evil");
    write(sandbox.path("abs/x"), "evil");
    let absolute = sandbox.path("abs");
    let paths = ["vendor", "src", "~/.profile", absolute.to_str().unwrap()];
    for (key, scope) in [("vendor", "octo/app"), ("archive.tgz", "octo/app")] {
        let arguments = ["save", "--scope", scope, "--key", key];
        sandbox.larder(arguments.iter().chain(&paths)).ok();
    }
    let reset = || {
        fs::remove_dir_all(sandbox.work("vendor")).unwrap();
        for path in [sandbox.work("src/main.rs"), sandbox.path("home/.profile"), absolute.join("x")]
        {
            write(path, "mine");
        }
    };
    let mine = |path: PathBuf| fs::read_to_string(path).unwrap() == "mine";
    let mine = || {
        [sandbox.work("src/main.rs"), sandbox.path("home/.profile"), absolute.join("x")].map(mine)
    };
    let plugin = |variables: &[(&str, &str)]| {
        reset();
        let run = run(sandbox.command(["plugin"]).envs(variables.iter().copied())).ok();
        assert!(sandbox.work("vendor/a").exists(), "{}", run.stderr);
        run
    };
    let drone =
        [("PLUGIN_RESTORE", "true"), ("PLUGIN_CACHE", "vendor"), ("DRONE_REPO", "octo/app")];
    let told = plugin(&drone).says("~/.profile of the cache is left out");
    told.says("src of the cache is left out: the settings do not name it");
    assert_eq!(mine(), [true; 3]);

    let vela = [
        ("PARAMETER_ACTION", "restore"),
        ("VELA_REPO_ORG", "octo"),
        ("VELA_REPO_NAME", "app"),
        ("PARAMETER_MOUNT", "./vendor"),
    ];
    plugin(&vela).says("~/.profile of the cache is left out");
    assert_eq!(mine(), [true; 3]);
    // Without a mount, as pipelines have it: to the workspace and the home directory.
    plugin(&vela[..3]).says("/abs of the cache is left out");
    assert_eq!(mine(), [false, false, true]);
}

/// What another cache says of chunks is used to save less: where it lies, that must not
/// make a cache of what was saved honestly that cannot be restored.
#[test]
fn honest_saves_do_not_believe_manifests_that_lie_about_lengths() {
    let place = Place::new();
    let tree = place.sandbox.work("tree");
    write(tree.join("a/small"), "small");
    write(tree.join("large"), Noise(1).bytes(3 << 20));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let save = || {
        let request = crate::faults::save_request(&tree);
        with_context(|context| larder::save::save(store.clone(), &request, context)).unwrap()
    };
    save();
    let key = Layout::manifest(&"default".parse().unwrap(), &"k".parse().unwrap()).unwrap();
    let sound = Manifest::decode(&store.get(&key, u64::MAX).unwrap().body).unwrap();
    let mut chunks = ChunkTable::default();
    for &(id, at) in sound.chunks.rows() {
        chunks.push(id, Location { raw_len: at.raw_len + 1, ..at });
    }
    let lie = Manifest { chunks, ..sound };
    store.put(&key, lie.encode().into(), PutMode::Overwrite).unwrap();
    assert!(bring(&store, &request(&place.target())).is_err());
    write(tree.join("a/new"), "new");
    assert!(save().new_chunks > 2);
    bring(&store, &request(&place.target())).unwrap();
    assert_same(&tree, &place.target().join("tree"));
}

/// Two restores to one place wait for each other, and leave what one of them brings.
#[test]
fn two_restores_to_one_place_take_turns() {
    let place = Place::new();
    let records = Records::new(place.sandbox.path("home/records"));
    let cache = |text: &[u8]| {
        let mut evil = Evil::new().mount(Anchor::WorkingDirectory, "m").dir(0, "m");
        for number in 0..20 {
            evil = evil.file(1, &format!("{number:02}"), &[text, &[number]].concat(), 1000);
        }
        evil.file(1, &format!("x-{}", text[0]), text, 1).store()
    };
    let stores = [cache(b"one"), cache(b"other")];
    let is_whole = |target: &Path, loose: bool| {
        let found = contents(&target.join("m"));
        let of_first = |bytes: &Vec<u8>| bytes.starts_with(b"one");
        let first = found.values().filter(|bytes| of_first(bytes)).count();
        let sound = found.values().all(|bytes| {
            bytes.starts_with(b"one") && bytes.len() <= 4000 || bytes.starts_with(b"other")
        });
        sound && (loose || (first == 0 || first == found.len()) && found.len() == 21)
    };
    for has_records in [true, false] {
        for _ in 0..10 {
            let mut request = request(&place.target());
            request.records = has_records.then(|| records.clone());
            let ended = std::thread::scope(|threads| {
                let both = stores.each_ref().map(|store| threads.spawn(|| bring(store, &request)));
                both.map(|thread| thread.join().unwrap())
            });
            if has_records {
                ended.into_iter().for_each(|ended| drop(ended.unwrap()));
            }
            assert!(is_whole(&place.target(), !has_records));
        }
    }
}

/// Names that are one elsewhere are no matter here, and can be asked for.
#[test]
fn names_that_fold_elsewhere_make_no_noise() {
    let sandbox = Sandbox::new();
    let composed = ["tree/A", "tree/a", "tree/e\u{301}", "tree/\u{e9}", "tree/b"];
    composed.iter().for_each(|name| write(sandbox.work(name), name));
    if fs::read_dir(sandbox.work("tree")).unwrap().count() < composed.len() {
        eprintln!("skipped: they are one here");
        return;
    }
    assert_eq!(sandbox.larder(["save", "--key", "k", "tree"]).ok().stderr, "");
    let to = sandbox.path("out");
    let restored = sandbox.larder(["restore", "--key", "k", "--to", to.to_str().unwrap()]).ok();
    assert_eq!(restored.stderr, "");
    assert_eq!(contents(&to).len(), composed.len());
    let shown = sandbox.larder(["show", "k"]).ok().stdout;
    assert!(shown.contains("one name  tree/A and tree/a, where case"), "{shown}");
    let pairs = sandbox.larder(["show", "k", "--json"]).ok().json()["same_names"].clone();
    assert_eq!(pairs, serde_json::json!([["tree/A", "tree/a"], ["tree/e\u{301}", "tree/\u{e9}"]]));
}

/// Whatever a store says, it moves no cursor, turns no letters round, and gives no CI
/// system a command.
#[test]
fn what_a_store_says_is_printed_harmlessly() {
    const EVIL: &str = "##vso[task.complete]\u{202e}::error::";
    let sandbox = Sandbox::new();
    let store: Arc<dyn Store> = Arc::new(LocalStore::open(&sandbox.store(), Fsync::Never).unwrap());
    let nasty = "\x1b[2J\x1b]0;t\x07\r\n##[error]x\n::error::y\u{202e}\u{2066}z";
    for key in ["##vso[x]y\u{202e}-1", "##vso[x]y\u{202e}-2"] {
        let evil = Evil { key, writer: nasty, ..Evil::new() };
        let evil = evil.mount(Anchor::WorkingDirectory, nasty).dir(0, nasty);
        let text = format!("{EVIL}{key}");
        evil.link(1, nasty, key).file(1, &format!("a.{nasty}"), text.as_bytes(), 1).put(&store);
    }
    let html = sandbox.path("report.html");
    let out = sandbox.path("out");
    let (html, out) = (html.to_str().unwrap(), out.to_str().unwrap());
    let (one, two) = ("##vso[x]y\u{202e}-1", "##vso[x]y\u{202e}-2");
    let commands: [&[&str]; 16] = [
        &["list"],
        &["show", one, "--files"],
        &["du", one, "--by", "file"],
        &["du", one, "--by", "extension"],
        &["diff", one, two],
        &["diff", one, two, "--stat"],
        &["stats"],
        &["verify", "--read-data"],
        &["lookup", "--key", "#", "--restore-key", "##vso[x"],
        &["lookup", "--key", "##vso[x]y\u{202e}-3", "--explain"],
        &["restore", "--key", one, "--to", out],
        &["restore", "--key", one, "--to", out, "\u{202e}##[nothing"],
        &["restore", "--restore-key", "##vso", "--key", "none", "--to", out],
        &["report", "--html", html],
        &["flush", "--age", "0s", "--dry-run"],
        &["delete", "--prefix", "##"],
    ];
    for command in commands {
        for more in [&[][..], &["--json", "--log-format", "json"]] {
            if command[0] == "delete" && !more.is_empty() {
                continue;
            }
            let mut larder = sandbox.command(command.iter().chain(more));
            let told = run(larder.env("TF_BUILD", "True").env("GITHUB_ACTIONS", "true"));
            for line in format!("{}\n{}", told.stdout, told.stderr).lines() {
                let own = line.starts_with("##vso[task.setvariable variable=CACHE_");
                let is_bad = |c: char| c.is_control() || "\u{202e}\u{2066}".contains(c);
                let shown = line.escape_debug();
                assert!(own || !line.contains("##"), "{command:?}: {shown}");
                assert!(own || !line.contains(is_bad), "{command:?}: {shown}");
                assert!(!line.trim_start().starts_with("::error::"), "{command:?}: {shown}");
            }
            assert!(told.code.is_some_and(|code| code < 10), "{command:?}: {told:?}");
        }
    }
    let page = fs::read_to_string(html).unwrap();
    assert!(!page.contains(['\u{202e}', '\u{2066}', '\x1b']), "the report");
}
