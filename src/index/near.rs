//! The manifests that a save most likely shares chunks with.

use crate::error::Error;
use crate::ids::{Key, Scope};
use crate::progress::{Context, Warning};
use crate::repository::{ListedManifest, Repository, StoredManifest};

/// Manifests read beside that of the key itself.
const NEAR_MANIFESTS: usize = 1;

/// Keys of a scope that are looked through for near ones: three pages.
const MAX_LISTED: usize = 3000;

/// The manifests that a save under `key` most likely shares chunks with: its
/// own, if there is one, else those of the scope whose keys have the most in
/// common with it, and of these the newest; and in each of the other scopes that of
/// the same key, or else the nearest. A damaged one is left out with a warning.
pub(crate) fn near_manifests(
    repository: &Repository,
    own: Result<Option<StoredManifest>, Error>,
    (scope, key): (&Scope, &Key),
    fallbacks: &[Scope],
    context: Context<'_>,
) -> Result<(Option<StoredManifest>, Vec<StoredManifest>), Error> {
    match own {
        Ok(Some(own)) => return Ok((Some(own), vec![])),
        Ok(None) => {}
        Err(error) if error.is_unusable() => warn(context, &error),
        Err(error) => return Err(error),
    }
    let read = |scope: &Scope, key: &Key| match repository.manifest(scope, key) {
        Err(error) if error.is_unusable() => {
            warn(context, &error);
            Ok(None)
        }
        result => result,
    };
    let mut near = vec![];
    for found in nearest_keys(repository, &[scope], key, NEAR_MANIFESTS)? {
        near.extend(read(scope, &found.key)?);
    }
    for fallback in fallbacks {
        let same = read(fallback, key)?;
        if same.is_none() {
            for found in nearest_keys(repository, &[fallback], key, NEAR_MANIFESTS)? {
                near.extend(read(fallback, &found.key)?);
            }
        }
        near.extend(same);
    }
    Ok((None, near))
}

/// So many of the scopes' manifests whose keys have the most in common with this one,
/// which is not among them: the nearest first, and of those as near, the newest.
///
/// # Errors
/// Those of the store.
pub fn nearest_keys(
    repository: &Repository,
    scopes: &[&Scope],
    key: &Key,
    limit: usize,
) -> Result<Vec<ListedManifest>, Error> {
    let mut candidates = vec![];
    for scope in scopes {
        candidates.extend(repository.list_some_manifests(scope, MAX_LISTED)?);
    }
    candidates.retain(|found| found.key != *key);
    candidates.sort_by_key(|found| std::cmp::Reverse(nearness(found, key)));
    candidates.truncate(limit);
    Ok(candidates)
}

fn warn(context: Context<'_>, error: &Error) {
    let text = error.to_string();
    context.progress.warn(match error {
        Error::Distrusted { .. } => Warning::Distrusted { error: text },
        _ => Warning::IgnoredDamage { error: text },
    });
}

/// Keys are usually `<what>-<system>-<hash>`: what two have in common up to
/// a separator tells whether they are for the same thing; a hash that begins
/// with the same digits does not.
fn nearness(found: &ListedManifest, key: &Key) -> (usize, std::time::SystemTime) {
    let (a, b) = (found.key.as_str().as_bytes(), key.as_str().as_bytes());
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let shared = &a[..common];
    let to_separator = shared.iter().rposition(|byte| !byte.is_ascii_alphanumeric());
    (to_separator.map_or(0, |at| at + 1), found.modified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn nearness_goes_by_separators_then_by_age() {
        let found = |key: &str, age| ListedManifest {
            scope: "s".parse().unwrap(),
            key: key.parse().unwrap(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(age),
            len: 1,
            version: crate::store::Version::new("1"),
            object: crate::format::Layout::marker(),
        };
        let key: Key = "npm-linux-77aa".parse().unwrap();
        let mut all =
            [found("pip-linux-77aa", 9), found("npm-linux-77ff", 1), found("npm-linux-0000", 2)];
        all.sort_by_key(|found| std::cmp::Reverse(nearness(found, &key)));
        let keys: Vec<_> = all.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["npm-linux-0000", "npm-linux-77ff", "pip-linux-77aa"]);
    }
}
