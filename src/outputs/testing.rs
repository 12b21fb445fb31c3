//! Runs for tests to tell of.

use std::time::Duration;

use super::facts::{Amounts, Cache, Command, Done, Fact, Found, Kind, SaveResult, Saved};

const TOOK: Duration = Duration::from_millis(1500);
const ALL_TOOK: Duration = Duration::from_secs(4);

/// A cache's name and key, and what was found, if it did not fail.
type Sought<'a> = (Option<&'a str>, &'a str, Option<(Kind, &'a str)>);

/// A restore of caches.
pub(super) fn restored(caches: &[Sought<'_>]) -> Done {
    let caches = caches.iter().map(|(name, key, found)| Cache {
        name: name.map(str::to_owned),
        key: (*key).to_owned(),
        fact: found.map(|(kind, key)| Fact::Restored {
            found: Found {
                kind,
                key: (kind > Kind::Miss).then(|| key.to_owned()),
                scope: (kind > Kind::Miss).then(|| "org/app".to_owned()),
            },
            amounts: match kind {
                Kind::Failed | Kind::Miss => Amounts::default(),
                Kind::Prefix | Kind::Exact => {
                    Amounts { files: 1000, fetched: 100, local: 20, in_place: 300, avoided: 400 }
                }
            },
        }),
        took: TOOK,
    });
    done(Command::Restore, caches.collect())
}

/// A save of caches: name, key, and whether it went well.
pub(super) fn saved(caches: &[(&str, &str, bool)]) -> Done {
    let saved = Saved {
        result: SaveResult::Saved,
        files: 1000,
        uploaded: 70,
        new_chunks: 2,
        reused_chunks: 5,
    };
    let caches = caches.iter().map(|(name, key, is_saved)| Cache {
        name: Some((*name).to_owned()),
        key: (*key).to_owned(),
        fact: is_saved.then_some(Fact::Saved(saved)),
        took: TOOK,
    });
    done(Command::Save, caches.collect())
}

fn done(command: Command, caches: Vec<Cache>) -> Done {
    Done { command, caches, tells_scopes: false, took: ALL_TOOK }
}
