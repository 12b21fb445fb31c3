//! What only a directory store can get wrong: other processes, killed ones,
//! other users, full disks, and whatever else lies in a directory.
//!
//! Where several processes are needed, this binary runs itself with a role in
//! its environment; the "test" that plays the roles does nothing otherwise.

// A test's helpers panic like the tests that call them; notices of skipped
// tests are for whoever reads the log.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::print_stderr)]
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use larder::store::{
    Fsync, LocalStore, MAX_BATCH, ObjectKey, Patience, PutMode, Store, StoreError, StoreErrorKind,
    StoreLocation, Version, list_all,
};

const ROLE: &str = "LARDER_TEST_ROLE";
const ROOT: &str = "LARDER_TEST_ROOT";
const NUMBER: &str = "LARDER_TEST_NUMBER";

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn open(root: &Path) -> LocalStore {
    LocalStore::open(root, Fsync::Never).unwrap()
}

fn put(store: &LocalStore, name: &str, body: impl Into<Bytes>) -> Result<(), StoreError> {
    let version = store.put(&key(name), body.into(), PutMode::Overwrite);
    version.map(|_| ())
}

fn names(store: &LocalStore) -> Vec<String> {
    let all = list_all(store, "").unwrap();
    all.into_iter().map(|meta| meta.key.to_string()).collect()
}

fn temps(root: &Path) -> usize {
    fs::read_dir(root.join("tmp#")).map_or(0, Iterator::count)
}

/// A command that runs this binary in a role.
fn role(role: &str, root: &Path, number: u32) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["plays_its_role", "--exact", "--nocapture"])
        .env(ROLE, role)
        .env(ROOT, root)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::null());
    command
}

#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let root = std::env::var_os(ROOT).unwrap();
    let number: u8 = std::env::var(NUMBER).unwrap().parse().unwrap();
    let store = LocalStore::open_existing(root.as_ref(), Fsync::Never).unwrap();
    match role.as_str() {
        "create" => create_rounds(&store, number),
        "count" => count(&store),
        "put" => put_forever(&store, number),
        "denied" => expect_denied(&store),
        other => panic!("{other}"),
    }
}

/// Waits for processes that were started together, each of which must succeed.
fn join(children: Vec<Child>) {
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

const CREATE_ROUNDS: usize = 100;

fn create_rounds(store: &LocalStore, number: u8) {
    for round in 0..CREATE_ROUNDS {
        let body = Bytes::from(vec![number; 3000]);
        match store.put(&key(&format!("d/{round}/x")), body, PutMode::Create) {
            Ok(_) => put(store, &format!("won/{round}-{number}"), "").unwrap(),
            Err(error) => assert!(matches!(error.kind, StoreErrorKind::AlreadyExists), "{error}"),
        }
    }
}

#[test]
fn of_processes_that_create_one_wins() {
    let root = tempfile::tempdir().unwrap();
    let start = |n| role("create", root.path(), n).spawn().unwrap();
    join((1..=4).map(start).collect());
    let store = open(root.path());
    let won = list_all(&store, "won/").unwrap();
    assert_eq!(won.len(), CREATE_ROUNDS);
    for meta in won {
        let name = meta.key.as_str().strip_prefix("won/").unwrap();
        let (round, number) = name.split_once('-').unwrap();
        let object = store.get(&key(&format!("d/{round}/x")), 9999).unwrap();
        assert_eq!(object.body, vec![number.parse().unwrap(); 3000]);
    }
    assert_eq!(temps(root.path()), 0);
}

const COUNTS: usize = 100;

fn count(store: &LocalStore) {
    let mut left = COUNTS;
    while left > 0 {
        let object = store.get(&key("count"), 9).unwrap();
        let count: usize = str::from_utf8(&object.body).unwrap().parse().unwrap();
        let body = (count + 1).to_string();
        match store.put(&key("count"), body.into(), PutMode::IfMatch(object.meta.version)) {
            Ok(_) => left -= 1,
            Err(error) => assert!(error.is_conflict(), "{error}"),
        }
    }
}

#[test]
fn processes_count_without_losing_one() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put(&store, "count", "0").unwrap();
    let start = |n| role("count", root.path(), n).spawn().unwrap();
    join((1..=4).map(start).collect());
    let object = store.get(&key("count"), 9).unwrap();
    assert_eq!(object.body, (4 * COUNTS).to_string());
}

/// Bodies that tell whether they are whole: one byte, and a length it decides.
fn telling_body(n: u8) -> Vec<u8> {
    vec![n; 100_000 + 1000 * usize::from(n)]
}

fn put_forever(store: &LocalStore, number: u8) {
    for n in 0_u32.. {
        let body = Bytes::from(telling_body(n as u8));
        put(store, &format!("d/{}", n % 8), body.clone()).unwrap();
        let name = format!("new/{number}-{n}/x");
        store.put(&key(&name), body, PutMode::Create).unwrap();
    }
}

#[test]
fn killed_writers_leave_no_half_objects() {
    let root = tempfile::tempdir().unwrap();
    let mut left = 0;
    for round in 0..40 {
        let mut child = role("put", root.path(), round).spawn().unwrap();
        let start = Instant::now();
        while temps(root.path()) <= left && start.elapsed() < Duration::from_secs(5) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 97 % 1500));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = LocalStore::open_existing(root.path(), Fsync::Never).unwrap();
        for name in names(&store) {
            let body = store.get(&key(&name), u64::MAX).unwrap().body;
            assert!(body == telling_body(body[0]), "{name} is a mixture");
        }
        left = temps(root.path());
        let created = list_all(&store, "new/").unwrap();
        let created: Vec<_> = created.into_iter().map(|meta| meta.key).collect();
        for batch in created.chunks(MAX_BATCH) {
            assert!(store.delete(batch).unwrap().is_empty());
        }
    }
    assert!(left > 0, "none was killed while it wrote");

    // All are too young to be judged by their locks yet.
    open(root.path());
    assert_eq!(temps(root.path()), left);
    for entry in fs::read_dir(root.path().join("tmp#")).unwrap() {
        age(&entry.unwrap().path());
    }
    open(root.path());
    assert_eq!(temps(root.path()), 0);
}

fn age(path: &Path) {
    let hours_ago = SystemTime::now() - Duration::from_secs(2 * 60 * 60);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(hours_ago).unwrap();
}

#[test]
fn the_temporary_file_of_a_slow_writer_stays() {
    let root = tempfile::tempdir().unwrap();
    put(&open(root.path()), "a", "x").unwrap();
    let path = root.path().join("tmp#").join("slow");
    let file = File::create(&path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    age(&path);
    open(root.path());
    assert_eq!(temps(root.path()), 1);
    drop(file);
    open(root.path());
    assert_eq!(temps(root.path()), 0);
}

#[test]
fn a_store_that_is_only_read_is_not_made() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("x/store");
    let store = LocalStore::open_existing(&root, Fsync::Always).unwrap();
    assert!(store.get(&key("a"), 9).unwrap_err().is_not_found());
    assert!(store.head(&key("a")).unwrap_err().is_not_found());
    assert!(names(&store).is_empty());
    assert!(store.delete(&[key("a")]).unwrap().is_empty());
    assert!(store.delete_if_match(&key("a"), &Version::new("x")).unwrap_err().is_conflict());
    store.now().unwrap();
    let error = put(&store, "a/b", "x").unwrap_err();
    assert!(!error.is_not_found() && !error.is_conflict(), "{error}");
    assert!(error.to_string().contains(root.to_str().unwrap()), "{error}");
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0, "no litter");

    put(&open(&root), "a/b", "x").unwrap();
    assert_eq!(store.get(&key("a/b"), 9).unwrap().body, "x");
    fs::remove_dir(root.join("tmp#")).unwrap();
    store.now().unwrap();
    assert!(!root.join("tmp#").exists());
    put(&store, "a/b", "y").unwrap();
}

#[test]
fn a_store_that_vanishes_does_not_come_back_empty() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("store");
    let store = open(&root);
    fs::remove_dir_all(&root).unwrap();
    put(&store, "a", "x").unwrap_err();
    store.now().unwrap_err();
    assert!(!root.exists());
}

#[test]
fn a_file_is_no_store() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("file");
    fs::write(&root, "").unwrap();
    let path = root.display().to_string();
    for root in [&root, &root.join("below")] {
        let error = LocalStore::open(root, Fsync::Always).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("open {path}")), "{text}");
        assert!(text.contains("ot a directory"), "{text}");
    }
    LocalStore::open_existing(&root, Fsync::Always).unwrap_err();
    assert_eq!(fs::read(&root).unwrap(), b"");
}

/// Larder's layout never has an object's key as the directory of another. Were
/// it so, the second would be refused, and the first stay as it was.
#[test]
fn an_object_and_a_directory_cannot_have_one_name() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put(&store, "x", "object").unwrap();
    put(&store, "y/z", "object").unwrap();
    for mode in [PutMode::Create, PutMode::Overwrite] {
        for name in ["x/y", "x/y/z", "y"] {
            let error = store.put(&key(name), "other".into(), mode.clone()).unwrap_err();
            assert!(matches!(error.kind, StoreErrorKind::Io(_)), "{error}");
        }
    }
    assert!(store.delete(&[key("y"), key("x/y")]).unwrap().is_empty());
    assert_eq!(names(&store), ["x", "y/z"]);
    for name in ["x", "y/z"] {
        assert_eq!(store.get(&key(name), 9).unwrap().body, "object");
    }
    assert_eq!(temps(root.path()), 0);
}

/// Neither symbolic links nor pipes are objects, and names that are no keys are
/// passed over.
#[test]
fn strange_files_are_no_objects() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put(&store, "d/a", "x").unwrap();
    fs::write(root.path().join("d/not a key"), "").unwrap();
    symlink("/etc/passwd", root.path().join("d/link")).unwrap();
    symlink(".", root.path().join("d/loop")).unwrap();
    let made = Command::new("mkfifo").arg(root.path().join("d/pipe")).status();
    assert!(made.unwrap().success());
    assert_eq!(names(&store), ["d/a"]);
    for name in ["d/link", "d/pipe", "d/loop", "d"] {
        assert!(store.get(&key(name), 9).unwrap_err().is_not_found(), "{name}");
        assert!(store.head(&key(name)).unwrap_err().is_not_found(), "{name}");
    }
    put(&store, "d/link", "x").unwrap_err();
}

#[test]
fn an_object_that_someone_cut_off_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put(&store, "a", vec![7; 1 << 20]).unwrap();
    let path = root.path().join("a");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..300 {
                let len = if round % 2 == 0 { 10 } else { 1 << 20 };
                File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
            }
        });
        for _ in 0..300 {
            // Whatever is read, it is all that was asked for.
            match store.get_range(&key("a"), 5..1 << 20) {
                Ok(bytes) => assert_eq!(bytes.len(), (1 << 20) - 5),
                Err(error) => assert!(!error.is_not_found(), "{error}"),
            }
            if let Ok(object) = store.get(&key("a"), 1 << 20) {
                assert_eq!(object.body.len() as u64, object.meta.len);
            }
        }
    });
}

/// Without this, an object that gets a freed inode in the same tick of the clock
/// would have the version of the one that had it before, and a conditional put
/// would take the one for the other.
#[test]
fn times_of_a_key_rise_whatever_the_clock_does() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let path = root.path().join("a");
    let modified = || store.head(&key("a")).unwrap().modified;
    let set = |ahead: u64| {
        let time = SystemTime::now() + Duration::from_secs(ahead);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        time
    };
    for mode in [PutMode::Overwrite, PutMode::Create] {
        put(&store, "a", "x").unwrap();
        let ahead = set(5);
        put(&store, "a", "x").unwrap();
        assert!(modified() > ahead);
        let ahead = set(7);
        store.delete(&[key("a")]).unwrap();
        store.put(&key("a"), "x".into(), mode).unwrap();
        assert!(modified() > ahead);
        store.delete(&[key("a")]).unwrap();
    }
    // But a clock that was a day ahead must not keep the object young.
    put(&store, "a", "x").unwrap();
    set(24 * 60 * 60);
    put(&store, "a", "x").unwrap();
    assert!(modified() < SystemTime::now() + Duration::from_secs(60));
    set(24 * 60 * 60);
    store.delete(&[key("a")]).unwrap();
    put(&store, "a", "x").unwrap();
    assert!(modified() < SystemTime::now() + Duration::from_secs(60));
}

/// Of processes that delete one version, one does, and nobody deletes another.
#[test]
fn conditional_deletes_hold_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let stores = [open(root.path()), open(root.path())];
    for _ in 0..200 {
        let version = stores[0].put(&key("d/a"), "x".into(), PutMode::Create).unwrap();
        let [first, second] = std::thread::scope(|threads| {
            let deletes = stores
                .each_ref()
                .map(|store| threads.spawn(|| store.delete_if_match(&key("d/a"), &version)));
            deletes.map(|delete| delete.join().unwrap())
        });
        assert_ne!(first.is_ok(), second.is_ok());
    }
    // What comes back in the same tick, with the same length and perhaps the
    // same inode, is another version.
    let old = stores[0].put(&key("d/a"), "x".into(), PutMode::Create).unwrap();
    stores[0].delete_if_match(&key("d/a"), &old).unwrap();
    stores[1].put(&key("d/a"), "x".into(), PutMode::Create).unwrap();
    assert!(stores[0].delete_if_match(&key("d/a"), &old).unwrap_err().is_conflict());
    assert_eq!(names(&stores[0]), ["d/a"]);
}

/// The store's time is that of new files, and is not raised by objects whose
/// times were: they are from the future, and as good as new.
#[test]
fn the_time_is_that_of_the_file_system() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    for _ in 0..50 {
        let before = store.now().unwrap();
        fs::write(root.path().join("file#"), "").unwrap();
        let written = fs::metadata(root.path().join("file#")).unwrap().modified().unwrap();
        let after = store.now().unwrap();
        assert!(before <= written && written <= after);
    }
    assert_eq!(temps(root.path()), 0);
}

/// The umask decides who may read: nothing is hidden from a group that shares
/// the store, as files of `mkstemp` would be.
#[test]
fn objects_have_ordinary_modes() {
    let root = tempfile::tempdir().unwrap();
    let ordinary = root.path().join("ordinary");
    fs::write(&ordinary, "").unwrap();
    fs::create_dir(root.path().join("dir")).unwrap();
    let store = open(&root.path().join("store"));
    put(&store, "a/b", "x").unwrap();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().mode();
    assert_eq!(mode("store/a/b"), mode("ordinary"));
    for name in ["store", "store/a", "store/tmp#", "store/lock#"] {
        assert_eq!(mode(name), mode("dir"), "{name}");
    }
}

/// As root, who is denied nothing, a child without privileges does the asking.
#[test]
fn refusals_are_told_as_such() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    put(&store, "d/a", "x").unwrap();
    put(&store, "secret/a", "x").unwrap();
    let chmod = |name: &str, mode| {
        let path = root.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["tmp#", "lock#", "d", ""] {
        chmod(name, 0o555);
    }
    chmod("d/a", 0o444);
    chmod("secret", 0o000);
    let mut command = role("denied", root.path(), 0);
    // The binary may lie where only root can go.
    let exe = tempfile::tempdir().unwrap();
    if rustix::process::geteuid().is_root() {
        let copy = exe.path().join("exe");
        fs::copy(command.get_program(), &copy).unwrap();
        fs::set_permissions(exe.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let plain = command;
        command = Command::new(&copy);
        command.args(plain.get_args()).uid(65534).gid(65534).current_dir("/");
        for (name, value) in plain.get_envs() {
            command.env(name, value.unwrap());
        }
    }
    let Output { status, stderr, .. } = command.output().unwrap();
    for name in ["", "d", "secret", "tmp#", "lock#"] {
        chmod(name, 0o755);
    }
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(names(&store), ["d/a", "secret/a"]);
}

fn expect_denied(store: &LocalStore) {
    let denied = |error: StoreError| {
        assert!(matches!(error.kind, StoreErrorKind::Denied(_)), "{error}");
        assert!(error.hint().is_some());
        error.to_string()
    };
    assert_eq!(store.get(&key("d/a"), 9).unwrap().body, "x");
    let text = denied(put(store, "d/a", "y").unwrap_err());
    assert!(text.starts_with("put d/a: permission denied: /"), "{text}");
    denied(store.put(&key("d/b"), "y".into(), PutMode::Create).unwrap_err());
    for error in store.delete(&[key("d/a")]).unwrap() {
        denied(error);
    }
    let version = store.head(&key("d/a")).unwrap().version;
    denied(store.delete_if_match(&key("d/a"), &version).unwrap_err());
    store.now().unwrap();
    denied(store.get(&key("secret/a"), 9).unwrap_err());
    denied(store.head(&key("secret/a")).unwrap_err());
    // A directory that cannot be read must not pass for an empty one.
    denied(store.list("", None, 9).unwrap_err());
    assert_eq!(store.list("d/", None, 9).unwrap().objects.len(), 1);
    let root = store.location();
    denied(LocalStore::open(&Path::new(&root).join("new"), Fsync::Never).unwrap_err());
}

/// A file system of its own, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn tmpfs(options: &str) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let Output { status, stderr, .. } = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .output()?;
        match status.success() {
            true => Ok(Self(dir)),
            false => Err(io::Error::other(String::from_utf8_lossy(&stderr).into_owned())),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_is_told_as_such_and_harms_nothing() {
    let disk = match Mounted::tmpfs("size=1m") {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("skipped: a small file system cannot be mounted here: {error}");
            return;
        }
    };
    let root = disk.0.path();
    let store = LocalStore::open(root, Fsync::Always).unwrap();
    put(&store, "old", vec![1; 300_000]).unwrap();
    let full = |name: &str| {
        let error = put(&store, name, vec![2; 900_000]).unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::NoSpace(_)), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("free space")));
    };
    full("old");
    full("new/x");
    assert_eq!(names(&store), ["old"]);
    assert_eq!(store.get(&key("old"), 1 << 20).unwrap().body, vec![1; 300_000]);
    assert_eq!(temps(root), 0, "a body that did not fit takes no space");

    // Deleting must work where nothing can be written, or nothing ever will.
    let mut n = 0;
    while put(&store, &format!("fill/{n}"), vec![3; 4096]).is_ok() {
        n += 1;
    }
    store.now().unwrap();
    assert!(store.delete(&[key("old")]).unwrap().is_empty());
    put(&store, "new/x", vec![2; 200_000]).unwrap();
}

#[test]
fn a_read_only_disk_can_be_read() {
    let disk = match Mounted::tmpfs("size=1m") {
        Ok(disk) => disk,
        Err(error) => {
            eprintln!("skipped: a small file system cannot be mounted here: {error}");
            return;
        }
    };
    let root = disk.0.path();
    put(&open(root), "d/a", "x").unwrap();
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,ro"]).arg(root);
    assert!(remount.status().unwrap().success());
    for store in [open(root), LocalStore::open_existing(root, Fsync::Always).unwrap()] {
        assert_eq!(store.get(&key("d/a"), 9).unwrap().body, "x");
        assert_eq!(names(&store), ["d/a"]);
        let error = put(&store, "d/b", "y").unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::Denied(_)), "{error}");
        store.now().unwrap();
    }
}

#[test]
fn locations_open_stores() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("a b");
    let location = format!("file://{}/a%20b?sync=never", above.path().display());
    let parsed: StoreLocation = location.parse().unwrap();
    let reading = parsed.open_for_reading(&Patience::default()).unwrap();
    assert!(!root.exists());
    let writing = larder::store::open(&location).unwrap();
    assert_eq!(writing.location(), location);
    writing.put(&key("a"), "x".into(), PutMode::Create).unwrap();
    assert_eq!(reading.get(&key("a"), 9).unwrap().body, "x");
    let kept: BTreeSet<_> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(kept, BTreeSet::from(["a".into(), "lock#".into(), "tmp#".into()]));
}
