//! Where bundles of small files end.
//!
//! Neighbouring small files become one chunk. Whether a bundle ends after a
//! file depends on that file's name and length and on where the next file
//! lies, and on nothing else, so that
//!
//! - a whole tree is planned from what the walk saw, before any file is read;
//! - an inserted or changed file moves only the borders next to it;
//! - equal subtrees, wherever they lie, are bundled alike.

/// The length that bundles are cut for, in bytes.
pub(super) const TARGET: u32 = 128 << 10;

/// Longest bundle, in bytes, so that one chunk stays quick to rewrite.
const MAX_LEN: u64 = 512 << 10;

/// What a file counts for beside its bytes: what its entry costs to restore.
/// It also bounds a bundle of tiny files to a thousand of them.
const FILE_WEIGHT: u64 = 512;

/// Where the next file lies, seen from the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// In the same directory or below it.
    Near,
    /// Elsewhere: the directory of the file before is finished.
    Elsewhere,
}

/// Decides where bundles end, file after file.
#[derive(Debug, Default)]
pub struct BundleCutter {
    weight: u64,
}

impl BundleCutter {
    /// Whether the bundle ends after this file of `len` bytes.
    pub fn ends_after(&mut self, name: &[u8], len: u64, next: Next) -> bool {
        let own = len + FILE_WEIGHT;
        self.weight += own;
        let likely = match next {
            Next::Near => own,
            Next::Elsewhere => own.saturating_mul(4),
        };
        // A file's hash is below the bound in `likely / TARGET` of all cases,
        // so bundles of any mixture of lengths average TARGET.
        let bound = (u128::from(likely) << 64) / u128::from(TARGET);
        let ends = u128::from(hash(name, len)) < bound || self.weight >= MAX_LEN;
        if ends {
            self.weight = 0;
        }
        ends
    }
}

/// The first eight bytes of the blake3 of the length, little-endian, and the
/// name.
fn hash(name: &[u8], len: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&len.to_le_bytes());
    hasher.update(name);
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}
