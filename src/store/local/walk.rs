//! Listing: a walk that yields keys in the order of their bytes.
//!
//! S3 orders whole keys, and `-` and `.` come before `/`: `a-b`, `a.b`, `a/b`.
//! Sorting a directory's entries with a `/` after the names of directories
//! gives just that order when directories are entered where they stand.
//!
//! `prefix` and `after` keep the walk out of directories that cannot matter,
//! and only objects that a page returns are asked for their metadata.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::{ObjectKey, ObjectMeta, Page, StoreErrorKind};
use super::{failure, object_meta, sys};

/// A directory unchanged for this long is read once. More than the coarsest
/// modification time, FAT's two seconds.
const QUIET: Duration = Duration::from_secs(3);

/// How often a directory that never comes to rest is read. If every second
/// reading missed a name that is replaced all the time, one listing in 65,536
/// would.
const READINGS: u32 = 16;

/// How a directory was while it was read.
enum Rest {
    /// Unchanged, and for long enough before that its time would tell.
    Long,
    /// Unchanged, as far as its time tells.
    Brief,
    /// It was changed.
    None,
}

/// One page in the making.
pub(super) struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: &'a str,
    limit: usize,
    page: Page,
}

impl<'a> Walk<'a> {
    /// A page of a listing; see [`Store::list`](super::super::Store::list).
    pub(super) fn page(
        root: &'a Path,
        prefix: &'a str,
        after: Option<&'a ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreErrorKind> {
        let mut walk = Walk {
            root,
            prefix,
            after: after.map_or("", ObjectKey::as_str),
            limit,
            page: Page::default(),
        };
        match prefix.rsplit_once('/') {
            None => walk.enter("")?,
            // Whatever is no key leads nowhere, and above all not out of the
            // root: `../` is not a prefix of any object.
            Some((dir, _)) if ObjectKey::new(dir).is_ok() => walk.enter(&format!("{dir}/"))?,
            Some(_) => {}
        }
        Ok(walk.page)
    }

    /// Visits the directory whose keys begin with `base`.
    fn enter(&mut self, base: &str) -> Result<(), StoreErrorKind> {
        for name in self.entries(base)? {
            if name.ends_with('/') {
                self.enter(&name)?;
            } else if self.page.objects.len() < self.limit {
                self.page.objects.extend(self.object(&name)?);
            } else {
                self.page.more = true;
            }
            if self.page.more {
                break;
            }
        }
        Ok(())
    }

    /// The keys in a directory, and the directories in it with a `/`, in order.
    ///
    /// File systems promise to show each name that stays, but tmpfs, for one,
    /// moves a name that is *replaced* to where a reader does not look any more.
    /// So a directory that is being changed is read again until nothing new
    /// turns up: an object that is overwritten during the listing must not be
    /// missed, or garbage collection would take what it refers to.
    fn entries(&self, base: &str) -> Result<BTreeSet<String>, StoreErrorKind> {
        let dir = self.root.join(base);
        let mut names = BTreeSet::new();
        for reading in 0..READINGS {
            let known = names.len();
            match self.read_into(&mut names, &dir, base) {
                Ok(Rest::Long) => break,
                Ok(Rest::Brief) if reading > 0 && names.len() == known => break,
                Ok(_) => {}
                Err(error) if sys::means_absent(&error) => break,
                Err(error) => return Err(failure(&dir, error)),
            }
        }
        Ok(names)
    }

    /// Reads a directory once.
    fn read_into(&self, names: &mut BTreeSet<String>, dir: &Path, base: &str) -> io::Result<Rest> {
        let before = sys::modified(&fs::metadata(dir)?);
        for entry in sys::read_dir(dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is in no key.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let key = format!("{base}{name}");
            if ObjectKey::new(key.as_str()).is_err() {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_file() => names.extend(self.wants_file(&key).then_some(key)),
                Ok(kind) if kind.is_dir() => {
                    let dir = key + "/";
                    names.extend(self.wants_dir(&dir).then_some(dir));
                }
                Ok(_) => {}
                Err(error) if sys::means_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let after = sys::modified(&fs::metadata(dir)?);
        let age = SystemTime::now().duration_since(after);
        Ok(match (before == after, age) {
            (true, Ok(age)) if age > QUIET => Rest::Long,
            (true, _) => Rest::Brief,
            (false, _) => Rest::None,
        })
    }
}

impl Walk<'_> {
    fn wants_file(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && key > self.after
    }

    /// Whether any key that begins with `dir` can be wanted.
    fn wants_dir(&self, dir: &str) -> bool {
        (dir.starts_with(self.prefix) || self.prefix.starts_with(dir))
            && (dir > self.after || self.after.starts_with(dir))
    }

    /// The object of this key, if it is still there.
    fn object(&self, key: &str) -> Result<Option<ObjectMeta>, StoreErrorKind> {
        let path = self.root.join(key);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                Ok(ObjectKey::new(key).ok().map(|key| object_meta(key, &metadata)))
            }
            Ok(_) => Ok(None),
            Err(error) if sys::means_absent(&error) => Ok(None),
            Err(error) => Err(failure(&path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(prefix: &str, after: &str) -> impl Fn(&str) -> bool {
        move |dir| {
            let walk = Walk { root: Path::new(""), prefix, after, limit: 1, page: Page::default() };
            walk.wants_dir(dir)
        }
    }

    #[test]
    fn directories_that_cannot_matter_are_not_entered() {
        let all = ["a-/", "a/", "aa/", "b/"];
        let check = |prefix, after, entered: &[&str]| {
            let wants = wants(prefix, after);
            let found: Vec<_> = all.into_iter().filter(|dir| wants(dir)).collect();
            assert_eq!(found, entered, "prefix {prefix:?} after {after:?}");
        };
        check("", "", &all);
        check("a", "", &["a-/", "a/", "aa/"]);
        check("a/", "", &["a/"]);
        check("a/x", "", &["a/"]);
        check("", "a/x", &["a/", "aa/", "b/"]);
        check("", "a0", &["aa/", "b/"]);
        check("a", "b", &[]);
        check("c", "", &[]);
    }
}
