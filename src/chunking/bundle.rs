//! Where bundles of small files end.
//!
//! Neighbouring small files become one chunk. Where a bundle ends follows from
//! names, lengths and directories, and never from contents or full paths, so
//! that
//!
//! - a whole tree is planned from what the walk saw, before any file is read;
//! - an inserted or changed file moves only the borders next to it;
//! - equal subtrees, wherever they lie, are bundled alike.
//!
//! `docs/design.md` has the measurements behind each constant.

/// The length that runs of small files are cut for, in bytes; directories end
/// most bundles earlier.
pub(super) const TARGET: u32 = 256 << 10;

/// A directory whose small files weigh this much together shares no bundle
/// with what is around it: a package that changes takes no neighbours along.
pub(super) const OWN_DIRECTORY: u64 = 64 << 10;

/// Below this weight, only a directory or a limit ends a bundle.
const MIN_WEIGHT: u64 = 64 << 10;

/// Longest bundle, in bytes.
const MAX_LEN: u64 = 512 << 10;

/// Most files of a bundle.
const MAX_FILES: u32 = 1024;

/// What a file counts for beside its bytes: it keeps bundles of many tiny
/// files from growing without bound.
const FILE_WEIGHT: u64 = 512;

/// What a small file of `len` bytes counts for.
pub(super) fn weight(len: u64) -> u64 {
    len + FILE_WEIGHT
}

/// Decides where bundles end, file after file.
#[derive(Debug, Default)]
pub(super) struct BundleCutter {
    len: u64,
    weight: u64,
    files: u32,
}

impl BundleCutter {
    /// Whether the open bundle has no room for a file of `len` bytes.
    pub(super) fn is_full_for(&self, len: u64) -> bool {
        self.files == MAX_FILES || (self.files > 0 && self.len + len > MAX_LEN)
    }

    /// Adds a file to the open bundle; says whether the bundle ends after it.
    pub(super) fn ends_after(&mut self, name: &[u8], len: u64) -> bool {
        self.len += len;
        self.weight += weight(len);
        self.files += 1;
        // Of all hashes, a share of weight / TARGET lies below the bound, so
        // bundles average TARGET whatever their files' lengths.
        let bound = (u128::from(weight(len)) << 64) / u128::from(TARGET);
        self.weight >= MIN_WEIGHT && u128::from(hash(name, len)) < bound
    }
}

/// The first eight bytes, little-endian, of the blake3 of the name, a NUL, and
/// the length as eight bytes, little-endian.
fn hash(name: &[u8], len: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name);
    hasher.update(&[0]);
    hasher.update(&len.to_le_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The format: this must never change.
    #[test]
    fn golden_hash() {
        assert_eq!(hash(b"package.json", 1234), GOLDEN);
    }
    const GOLDEN: u64 = 10_682_927_891_274_865_406;

    #[test]
    fn limits_end_bundles() {
        let mut cutter = BundleCutter::default();
        assert!(!cutter.is_full_for(600 << 10), "one file always fits");
        for _ in 0..1024 {
            assert!(!cutter.is_full_for(1));
            cutter.ends_after(b"x", 1);
        }
        assert!(cutter.is_full_for(1));
        let mut cutter = BundleCutter::default();
        cutter.ends_after(b"x", 500 << 10);
        assert!(cutter.is_full_for(13 << 10));
    }
}
