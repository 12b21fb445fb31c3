//! Small things that tests of a flush are made of.

use std::time::{Duration, UNIX_EPOCH};

use globset::{GlobBuilder, GlobMatcher};

use super::marks::Marked;
use crate::format::{Layout, Location, ManifestFacts, Mark, Parts};
use crate::ids::PackId;
use crate::repository::ListedManifest;
use crate::store::Version;

pub(super) fn glob(pattern: &str) -> GlobMatcher {
    GlobBuilder::new(pattern).build().unwrap().compile_matcher()
}

pub(super) fn pack(number: u8) -> PackId {
    PackId::from_bytes([number; 16])
}

/// A manifest that was last put at a time and refers to a few packs.
pub(super) fn marked(key: &str, used: i64, packs: &[PackId]) -> Marked {
    let (scope, key) = ("default".parse().unwrap(), key.parse().unwrap());
    let object = Layout::manifest(&scope, &key).unwrap();
    let at = |&pack| Location { pack, offset: 8, stored_len: 10, raw_len: 10 };
    Marked {
        mark: Mark {
            version: "1".to_owned(),
            facts: ManifestFacts::default(),
            packs: Parts::of(packs.iter().map(at)),
        },
        listed: ListedManifest {
            scope,
            key,
            modified: UNIX_EPOCH + Duration::from_secs(used as u64),
            len: 100,
            version: Version::new("1"),
            object,
        },
    }
}
