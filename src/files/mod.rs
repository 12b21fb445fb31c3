//! Directories and files on this machine: walking, reading and writing them.
//!
//! Everything goes through directory handles, one name at a time and never
//! through a symbolic link: so paths may be longer than the system's limit,
//! and nothing outside a mount is ever touched, whoever swaps what meanwhile.
//! [`OpenFile`] alone takes a path as it is: what it reads is in no mount.

mod area;
mod cursor;
mod directory;
mod error;
mod opened;
mod read;
mod stat;
mod sys;
mod walk;
mod write;

pub use area::{AREA_PREFIX, StageArea, remove_stale_areas};
pub use cursor::{DirCursor, Places};
pub use directory::{
    free_bytes, hard_link, look_at, make_directory, make_writable, open_directory,
    open_directory_at, open_directory_following, os_name, remove, rename,
};
pub use error::FileError;
pub(crate) use error::shown;
pub use opened::OpenFile;
pub use read::{LargeReader, ReadOutcome, Seen, read_part, read_small};
pub use stat::{FileStat, FileType, clock_granularity, now};
pub use sys::raise_open_file_limit;
pub use walk::{Excludes, Skipped, WalkOptions, WalkSource, Walked, excludes, walk, walk_at};
pub use write::{At, LargeFile, Metadata, copy_file, set_metadata, small_file, symlink};
