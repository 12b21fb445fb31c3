//! A restorer: rule R2. What it reads of packs changes nothing, and whether they
//! are there long enough (R1) is a matter of clocks, which the model has not.

use crate::setting::Setting;
use crate::store::{Manifest, Store};
use crate::weakening::Weakening;

/// The key that is restored.
const KEY: usize = 0;

/// Where a restorer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Restorer {
    Starting,
    /// It has read the manifest.
    Read(Manifest),
    Ended,
}

/// One request of a restorer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum RestorerStep {
    ReadManifest,
    /// Puts the manifest again, as it was or with another version.
    Refresh {
        changes: bool,
    },
}

impl Restorer {
    pub(crate) fn steps(self, store: &Store, mut may: impl FnMut(RestorerStep)) {
        match self {
            Self::Starting if store.manifests[KEY].is_some() => may(RestorerStep::ReadManifest),
            Self::Read(_) => {
                may(RestorerStep::Refresh { changes: false });
                may(RestorerStep::Refresh { changes: true });
            }
            Self::Starting | Self::Ended => {}
        }
    }

    pub(crate) fn step(self, setting: &Setting, store: &mut Store, step: RestorerStep) -> Self {
        match (self, step) {
            (Self::Read(read), RestorerStep::Refresh { changes }) => {
                if store.manifests[KEY] == Some(read) || setting.is(Weakening::RefreshAnyVersion) {
                    let refreshed = read.refreshed + u8::from(changes);
                    store.manifests[KEY] = Some(Manifest { refreshed, ..read });
                }
                Self::Ended
            }
            _ => Self::Read(store.manifests[KEY].unwrap()),
        }
    }
}
