//! Everything a tree can hold comes back as it was.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::os::unix::process::CommandExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use crate::support::{
    Noise, Sandbox, assert_same, assert_same_listing, chmod, plant, run, set_mtime, write,
};

/// Saves `tree` and restores it elsewhere.
fn round_trip(sandbox: &Sandbox) {
    round_trip_with(sandbox, &[]);
}

fn round_trip_with(sandbox: &Sandbox, more: &[&str]) {
    let report = sandbox.save(&[]);
    let restored = sandbox.restore_to("out", more);
    assert_eq!(report["files"], restored["files"]);
    assert_eq!(report["raw_bytes"], restored["raw_bytes"]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

#[test]
fn a_tree_of_packages() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 800, 1);
    round_trip(&sandbox);
}

#[test]
fn lengths_around_every_limit() {
    let sandbox = Sandbox::new();
    let mut noise = Noise(2);
    for base in [0usize, 1, 4096, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 4 << 20] {
        for len in [base, base + 1, base.saturating_sub(1)] {
            write(sandbox.work(format!("tree/{len}")), noise.bytes(len));
            write(sandbox.work(format!("tree/zeros/{len}")), vec![0; len]);
        }
    }
    round_trip(&sandbox);
}

#[test]
fn a_single_file_and_a_single_link_as_mounts() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree"), b"just a file");
    chmod(sandbox.work("tree"), 0o640);
    round_trip(&sandbox);
    fs::remove_file(sandbox.work("tree")).unwrap();
    symlink("nowhere", sandbox.work("tree")).unwrap();
    sandbox.larder(["save", "--key", "k", "tree"]).ok().says("is a symbolic link");
    sandbox.restore_to("out", &[]);
    assert_eq!(fs::read_link(sandbox.path("out/tree")).unwrap(), OsStr::new("nowhere"));
}

#[test]
fn links_of_both_kinds() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    write(tree.join("a/file"), b"one file, many names");
    write(tree.join("large"), Noise(3).bytes(2 << 20));
    fs::create_dir_all(tree.join("b/c")).unwrap();
    for (from, to) in [("a/file", "b/first"), ("a/file", "b/c/z"), ("large", "b/c/large")] {
        fs::hard_link(tree.join(from), tree.join(to)).unwrap();
    }
    write(tree.join("empty"), b"");
    fs::hard_link(tree.join("empty"), tree.join("empty2")).unwrap();
    let long = "x".repeat(4000);
    for (number, target) in
        ["nowhere", "a", "a/file", "/etc/hostname", "..", &long].iter().enumerate()
    {
        let link = tree.join(format!("link{number}"));
        symlink(target, &link).unwrap();
        set_mtime(&link, 1_000_000_000 + number as i64, 123_456_789);
    }
    symlink(OsStr::from_bytes(b"not \xff utf-8"), tree.join("link-bytes")).unwrap();
    round_trip(&sandbox);
    let of = |name: &str| fs::metadata(sandbox.path("out/tree").join(name)).unwrap().ino();
    assert_eq!(of("a/file"), of("b/c/z"));
    assert_ne!(of("a/file"), of("empty"));
}

#[test]
fn hard_links_between_mounts() {
    let sandbox = Sandbox::new();
    write(sandbox.work("one/file"), b"shared by two mounts");
    fs::create_dir(sandbox.work("two")).unwrap();
    fs::hard_link(sandbox.work("one/file"), sandbox.work("two/file")).unwrap();
    sandbox.larder(["save", "--key", "k", "one", "two"]).ok();
    sandbox.restore_to("out", &[]);
    let inode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().ino();
    assert_eq!(inode("out/one/file"), inode("out/two/file"));
    for mount in ["one", "two"] {
        assert_same(&sandbox.work(mount), &sandbox.path("out").join(mount));
    }
    // One of them alone takes the contents along.
    sandbox.restore_to("part", &["two"]);
    let text = fs::read(sandbox.path("part/two/file")).unwrap();
    assert_eq!(text, b"shared by two mounts");
    assert!(!sandbox.path("part/one").exists());
}

#[test]
fn every_permission_bit() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    for bits in (0..0o10000).step_by(37).chain([0, 0o7777, 0o4755, 0o2755, 0o1777, 0o400, 0o200]) {
        let file = tree.join(format!("files/{bits:04o}"));
        write(&file, format!("{bits}"));
        chmod(&file, bits);
    }
    for bits in [0o000, 0o111, 0o500, 0o555, 0o700, 0o1777, 0o2775, 0o3777, 0o4711] {
        let directory = tree.join(format!("dirs/{bits:04o}"));
        write(directory.join("inner/file"), b"x");
        chmod(directory.join("inner"), bits);
        chmod(&directory, bits);
    }
    round_trip_with(&sandbox, &["--setuid"]);
    // And over an intact tree nothing differs.
    let again = sandbox.restore_to("out", &["--setuid", "--no-stat-record"]);
    assert_eq!(again["files_unchanged"], again["files"]);
    assert_same(&tree, &sandbox.path("out/tree"));
}

/// Package managers leave read-only trees (Go's module cache, for one), and a
/// user that is not root must be able to save them, restore them, and restore
/// over them.
#[test]
fn read_only_trees_as_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let sandbox = Sandbox::new();
    let top = sandbox.path("");
    let user = |script: &str| {
        let command = sandbox.command(["list"]);
        let mut shell = std::process::Command::new("sh");
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        shell.args(["-c", script]).env("LARDER", env!("CARGO_BIN_EXE_larder"));
        shell.current_dir(sandbox.path("work")).uid(65534).gid(65534).env("TOP", &top);
        run(&mut shell)
    };
    for name in ["work", "home"] {
        chmod(sandbox.path(name), 0o777);
    }
    // The binary may lie where only root gets.
    let reachable = user("test -x \"$LARDER\"").code == Some(0);
    if !reachable {
        eprintln!("skipped: another user cannot reach the binary");
        return;
    }
    let make = "mkdir -p tree/mod/sub && echo text > tree/mod/file && echo key > tree/mod/sub/k \
                && head -c 2000000 /dev/urandom > tree/mod/big && ln tree/mod/big tree/mod/big2 \
                && chmod 0400 tree/mod/sub/k && chmod 0444 tree/mod/file tree/mod/big \
                && chmod 0555 tree/mod/sub tree/mod tree";
    user(make).ok();
    user("\"$LARDER\" save --key k tree && \"$LARDER\" restore --key k --to $TOP/home/out").ok();
    assert_same(&sandbox.work("tree"), &sandbox.path("home/out/tree"));
    // A file changed and one is gone, deep in what is read-only.
    user("cp -a tree good; cd tree && chmod 0755 . mod mod/sub && rm -f mod/sub/k && chmod 0644 mod/big \
          && echo other > mod/file2 && printf x >> mod/big && chmod 0444 mod/big \
          && chmod 0555 mod/sub mod .")
        .ok();
    user("\"$LARDER\" restore --key k --delete-extra").ok();
    assert_same(&sandbox.path("home/out/tree"), &sandbox.work("tree"));
    user("\"$LARDER\" restore --key k --delete-extra --no-stat-record").ok();
    assert_same(&sandbox.path("home/out/tree"), &sandbox.work("tree"));
    // What cannot be read is an error that names it, or left out if asked.
    user("chmod 0755 tree tree/mod && chmod 0000 tree/mod/file").ok();
    user("\"$LARDER\" save --key k2 tree").exits(1).says("tree/mod/file").says("--skip-unreadable");
    user("\"$LARDER\" save --key k2 --skip-unreadable tree").ok().says("tree/mod/file");
    // An unwritable target is an error that changes nothing.
    user("mkdir closed; chmod 0555 closed").ok();
    user("\"$LARDER\" restore --key k --to closed/in").exits(1).says("closed");
    user("chmod -R u+rwx *").ok();
}

#[test]
fn times() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    let times = [
        (0, 0),
        (0, 1),
        (-1, 999_999_999),
        (-1_000_000_000, 5),
        (1_700_000_000, 123_456_789),
        (2_147_483_648, 1),
        (4_294_967_296, 987_654_321),
        (8_000_000_000, 0),
    ];
    for (number, (secs, nanos)) in times.into_iter().enumerate() {
        let file = tree.join(format!("d{number}/f"));
        write(&file, b"x");
        set_mtime(&file, secs, nanos);
        let link = tree.join(format!("d{number}/l"));
        symlink("f", &link).unwrap();
        set_mtime(&link, secs, nanos);
        set_mtime(tree.join(format!("d{number}")), secs, nanos);
    }
    set_mtime(&tree, -5, 7);
    round_trip(&sandbox);
}

#[test]
fn any_name() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    let longest = [b'n'; 255];
    let names: [&[u8]; 14] = [
        b"\xff\xfe",
        b" ",
        b"\n",
        b"\\",
        b"\x1b[2J",
        b"-rf",
        b"a\tb",
        "ä".as_bytes(),
        b"*",
        b"~",
        b"...",
        b"a.",
        b"%2F",
        &longest,
    ];
    for name in names {
        write(tree.join(OsStr::from_bytes(name)), name);
        write(tree.join("d").join(OsStr::from_bytes(name)).join("f"), name);
    }
    // Beside each other, these sort otherwise as paths than as names.
    for name in ["s/x", "s-/x", "s!", "S", "s.d/x"] {
        write(tree.join(name), name);
    }
    round_trip(&sandbox);
    let shown = sandbox.larder(["show", "k", "--files"]).ok();
    assert!(!shown.stdout.contains('\x1b'), "a name must not move the cursor");
}

/// Paths past PATH_MAX can be reached only name by name.
#[test]
fn paths_past_path_max() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.work("tree")).unwrap();
    let name = CString::new(vec![b'p'; 200]).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let descend = |top: &std::path::Path, make: bool| -> OwnedFd {
        let mut at: OwnedFd = File::open(top).unwrap().into();
        for _ in 0..30 {
            if make {
                rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
            }
            at = rustix::fs::openat(&at, &name, flags, Mode::empty()).unwrap();
        }
        at
    };
    let deepest = descend(&sandbox.work("tree"), true);
    let create = OFlags::CREATE | OFlags::WRONLY;
    let file = rustix::fs::openat(&deepest, "file", create, Mode::from_raw_mode(0o644)).unwrap();
    File::from(file).write_all(b"deep down").unwrap();
    rustix::fs::symlinkat("up", &deepest, "link").unwrap();
    rustix::fs::linkat(&deepest, "file", &deepest, "hard", AtFlags::empty()).unwrap();

    sandbox.save(&[]);
    sandbox.restore_to("out", &[]);
    assert_same_listing(&sandbox.work("tree"), &sandbox.path("out/tree"));
    let read = |top: &std::path::Path| {
        let deepest = descend(top, false);
        let file = rustix::fs::openat(deepest.as_fd(), "file", OFlags::RDONLY, Mode::empty());
        let mut text = String::new();
        File::from(file.unwrap()).read_to_string(&mut text).unwrap();
        text
    };
    assert_eq!(read(&sandbox.path("out/tree")), "deep down");

    // Delta restore and deletion get there too.
    let again = sandbox.restore_to("out", &["--no-stat-record"]);
    assert_eq!(again["files_unchanged"], 2);
    let deepest = descend(&sandbox.path("out/tree"), false);
    rustix::fs::openat(&deepest, "extra", create, Mode::from_raw_mode(0o644)).unwrap();
    rustix::fs::unlinkat(&deepest, "file", AtFlags::empty()).unwrap();
    drop(deepest);
    let mended = sandbox.restore_to("out", &["--delete-extra"]);
    assert_eq!(mended["removed"], 1);
    assert_same_listing(&sandbox.work("tree"), &sandbox.path("out/tree"));
    // `std` cannot remove what it cannot name.
    for top in ["work/tree", "out"] {
        let removed = std::process::Command::new("rm").arg("-rf").arg(sandbox.path(top)).status();
        assert!(removed.unwrap().success());
    }
}

#[test]
fn sparse_files_stay_sparse() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    fs::create_dir(&tree).unwrap();
    let file = |name: &str, len: u64, data: &[(u64, usize)]| {
        let file = File::create(tree.join(name)).unwrap();
        file.set_len(len).unwrap();
        for &(at, len) in data {
            file.write_all_at(&Noise(at).bytes(len), at).unwrap();
        }
    };
    file("all-hole", 10 << 20, &[]);
    file("head", 8 << 20, &[(0, 5000)]);
    file("tail", (8 << 20) + 17, &[((8 << 20) - 3, 20)]);
    file("middle", 8 << 20, &[(1 << 20, 70_000), (5 << 20, 1 << 20)]);
    file("small", 70_000, &[(69_000, 10)]);
    // Zeros that take space are data.
    write(tree.join("zeros"), vec![0; 1 << 20]);
    round_trip(&sandbox);
    let blocks =
        |top: &str, name: &str| fs::metadata(sandbox.path(top).join(name)).unwrap().blocks();
    for name in ["all-hole", "head", "tail", "middle"] {
        let (before, after) = (blocks("work/tree", name), blocks("out/tree", name));
        assert!(after <= before + 16, "{name}: {before} blocks became {after}");
    }
    let again = sandbox.restore_to("out", &["--no-stat-record"]);
    assert_eq!((&again["files_unchanged"], &again["fetched_bytes"]), (&again["files"], &0.into()));
}

#[test]
fn files_over_four_gib() {
    const LEN: u64 = (5 << 30) + 12_345;
    const MIDDLE: u64 = (4 << 30) + 999;
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    fs::create_dir(&tree).unwrap();
    let file = File::create(tree.join("huge")).unwrap();
    file.set_len(LEN).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(&Noise(9).bytes(300_000), MIDDLE).unwrap();
    file.write_all_at(b"end", LEN - 3).unwrap();
    sandbox.save(&[]);
    let restored = sandbox.restore_to("out", &[]);
    assert_eq!(restored["raw_bytes"], LEN);
    assert_same_listing(&tree, &sandbox.path("out/tree"));
    let mut copy = File::open(sandbox.path("out/tree/huge")).unwrap();
    let mut part = |at: u64, len: usize| {
        let mut bytes = vec![0; len];
        copy.seek(SeekFrom::Start(at)).unwrap();
        copy.read_exact(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(part(0, 6), b"begin\0");
    assert_eq!(part(MIDDLE, 300_000), Noise(9).bytes(300_000));
    assert_eq!(part(LEN - 4, 4), b"\0end");
    let blocks = fs::metadata(sandbox.path("out/tree/huge")).unwrap().blocks();
    assert!(blocks < 4096, "{blocks} blocks");
}

#[test]
fn special_files_are_left_out_with_a_warning() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    write(tree.join("file"), b"x");
    let mode = Mode::from_raw_mode(0o600);
    let at = |name: &str| tree.join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("sock")).unwrap();
    let saved = sandbox.larder(["save", "--key", "k", "tree"]).ok();
    let saved = saved.says("tree/pipe is left out").says("tree/sock is left out");
    assert!(!saved.stdout.contains("pipe"));
    sandbox.restore_to("out", &[]);
    let names: Vec<_> = fs::read_dir(sandbox.path("out/tree")).unwrap().collect();
    assert_eq!(names.len(), 1);
    // Restoring over them leaves them alone.
    sandbox.restore(&["--delete-extra"]);
    assert!(at("pipe").exists() && at("sock").exists());
}

#[test]
fn extended_attributes_by_option() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    write(tree.join("file"), b"x");
    let set = |path: &str, value: &[u8]| {
        rustix::fs::setxattr(
            sandbox.path(path),
            "user.larder.test",
            value,
            rustix::fs::XattrFlags::empty(),
        )
    };
    if set("work/tree/file", b"value \xff\0").is_err() {
        eprintln!("skipped: the file system of {} has no user xattrs", tree.display());
        return;
    }
    set("work/tree", b"of a directory").unwrap();
    let get = |path: &str| {
        let mut buffer = [0; 64];
        let len = rustix::fs::getxattr(sandbox.path(path), "user.larder.test", &mut buffer[..]);
        len.ok().map(|len| buffer[..len].to_vec())
    };
    sandbox.save(&["--xattrs"]);
    sandbox.restore_to("out", &["--xattrs"]);
    assert_eq!(get("out/tree/file").unwrap(), b"value \xff\0");
    assert_eq!(get("out/tree").unwrap(), b"of a directory");
    sandbox.restore_to("without", &[]);
    assert_eq!(get("without/tree/file"), None);
    // Attributes alone differ: with the record and without it they are mended.
    for option in [&["--xattrs"][..], &["--xattrs", "--no-stat-record"]] {
        set("out/tree/file", b"other").unwrap();
        sandbox.restore_to("out", option);
        assert_eq!(get("out/tree/file").unwrap(), b"value \xff\0", "{option:?}");
    }
}

#[test]
fn owners_by_option() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    write(tree.join("d/file"), b"x");
    write(tree.join("d/setuid"), b"x");
    symlink("file", tree.join("d/link")).unwrap();
    for (name, uid) in [("d/file", 1234), ("d/link", 1235), ("d/setuid", 1236), ("d", 1237)] {
        std::os::unix::fs::lchown(tree.join(name), Some(uid), Some(uid + 1)).unwrap();
    }
    // A change of owner clears the bit, so it must come back after it.
    chmod(tree.join("d/setuid"), 0o4755);
    sandbox.save(&["--owner"]);
    let owner = |path: &str| {
        let metadata = fs::symlink_metadata(sandbox.path(path)).unwrap();
        (metadata.uid(), metadata.gid())
    };
    sandbox.restore_to("out", &["--owner", "--setuid"]);
    assert_same(&tree, &sandbox.path("out/tree"));
    for name in ["d", "d/file", "d/link", "d/setuid"] {
        assert_eq!(owner(&format!("out/tree/{name}")), owner(&format!("work/tree/{name}")));
    }
    sandbox.restore_to("without", &[]);
    assert_eq!(owner("without/tree/d/file"), (0, 0));
    for option in [&["--owner"][..], &["--owner", "--no-stat-record"]] {
        std::os::unix::fs::lchown(sandbox.path("out/tree/d/file"), Some(7), Some(7)).unwrap();
        sandbox.restore_to("out", option);
        assert_eq!(owner("out/tree/d/file"), (1234, 1235), "{option:?}");
    }
}
