//! What the file system says of a file, and of the time.

use std::time::Duration;

use rustix::fs::{self, Stat};

use crate::format::{FileIdentity, Owner, Timestamp};

/// What kind of thing a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A socket, fifo or device, with the word for it.
    Other(&'static str),
}

/// What larder wants to know of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// What it is.
    pub file_type: FileType,
    /// Permission bits, set-id and sticky bits included.
    pub mode: u16,
    /// Length in bytes.
    pub size: u64,
    /// Last change of its contents.
    pub mtime: Timestamp,
    /// File system, number there, and last change of any kind.
    pub identity: FileIdentity,
    /// Owner and group.
    pub owner: Owner,
    /// How many names it has.
    pub links: u64,
    /// Bytes it takes on disk.
    pub allocated: u64,
}

impl FileStat {
    /// Whether contents read between two calls that gave these are those of
    /// one state of the file: same file, length and times.
    pub fn same_state(&self, other: &Self) -> bool {
        self.identity == other.identity && self.size == other.size && self.mtime == other.mtime
    }
}

// The fields of `stat` differ in width between systems.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation)]
impl From<Stat> for FileStat {
    fn from(stat: Stat) -> Self {
        use fs::FileType as Type;
        let timestamp =
            |secs: i64, nanos: i64| Timestamp { secs, nanos: u32::try_from(nanos).unwrap_or(0) };
        Self {
            file_type: match Type::from_raw_mode(stat.st_mode) {
                Type::RegularFile => FileType::Regular,
                Type::Directory => FileType::Directory,
                Type::Symlink => FileType::Symlink,
                Type::Fifo => FileType::Other("fifo"),
                Type::Socket => FileType::Other("socket"),
                Type::CharacterDevice | Type::BlockDevice => FileType::Other("device"),
                _ => FileType::Other("unknown kind of file"),
            },
            mode: (stat.st_mode & 0o7777) as u16,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: timestamp(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            identity: FileIdentity {
                device: stat.st_dev as u64,
                inode: stat.st_ino as u64,
                ctime: timestamp(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            },
            owner: Owner { uid: stat.st_uid, gid: stat.st_gid },
            links: stat.st_nlink as u64,
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        }
    }
}

/// The time that a file changed at this moment would get on a local file system.
pub fn now() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp { secs: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or(0) }
}

/// How far apart two changes may be and still get the same time: the kernel's
/// tick, at most 10 ms on Linux (`CONFIG_HZ` is 100 or more), doubled for the
/// reader's own tick. File systems that keep whole seconds (or two, FAT) show
/// it by times without nanoseconds.
pub fn clock_granularity(sample: Timestamp) -> Duration {
    if sample.nanos == 0 { Duration::from_secs(2) } else { Duration::from_millis(20) }
}

impl Timestamp {
    /// This time less a duration.
    pub fn minus(self, duration: Duration) -> Self {
        let mut secs = self.secs.saturating_sub_unsigned(duration.as_secs());
        let mut nanos = self.nanos;
        if nanos < duration.subsec_nanos() {
            secs = secs.saturating_sub(1);
            nanos += 1_000_000_000;
        }
        Self { secs, nanos: nanos - duration.subsec_nanos() }
    }
}
