//! Which part of a cache is wanted.

use super::{RestoreRequest, Selection};
use crate::error::Error;
use crate::format::{EntryIndex, Manifest, Mount, Tree};
use crate::progress::{Context, Warning};
use crate::relpath::RelPath;

/// The part of the tree that is wanted, and for each entry of it whether all
/// that the cache holds below it is.
pub(super) fn select(
    manifest: &Manifest,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<(Tree, Vec<bool>), Error> {
    let tree = &manifest.tree;
    let whole = || (tree.clone(), vec![true; tree.entries().len()]);
    if request.paths.is_empty() {
        return Ok(whole());
    }
    let (roots, matched) = roots(tree, &request.paths);
    if request.paths_are_bounds {
        warn_of_others(tree, &roots, context);
    } else if matched.contains(&false) {
        let missing = request.paths.iter().zip(&matched).filter(|(_, matched)| !**matched);
        return Err(Error::NotInCache {
            key: manifest.key.to_string(),
            paths: missing.map(|(selection, _)| selection.given.clone()).collect(),
            mounts: tree.mounts().iter().map(Mount::to_string).collect(),
        });
    }
    if tree.mounts().iter().all(|mount| roots.binary_search(&mount.entries.start).is_ok()) {
        return Ok(whole());
    }
    let mut wanted = vec![false; tree.entries().len()];
    roots.iter().for_each(|&root| wanted[root as usize] = true);
    // Everything below what is wanted is wanted too...
    for index in tree.indexes() {
        if let Some(parent) = tree.entry(index).parent {
            wanted[index as usize] |= wanted[parent as usize];
        }
    }
    // ... and so are the directories above, though not all that they hold.
    let mut kept = wanted.clone();
    for index in tree.indexes().rev() {
        if let Some(parent) = tree.entry(index).parent {
            kept[parent as usize] |= kept[index as usize];
        }
    }
    let (part, origins) = tree.select(|index| kept[index as usize]);
    let complete = origins.iter().map(|&origin| wanted[origin as usize]).collect();
    Ok((part, complete))
}

/// The entries that the paths name, in order, and for each path whether it names any.
fn roots(tree: &Tree, paths: &[Selection]) -> (Vec<EntryIndex>, Vec<bool>) {
    let mut roots = vec![];
    let mut matched = vec![false; paths.len()];
    for mount in tree.mounts() {
        for (selection, matched) in paths.iter().zip(&mut matched) {
            if selection.anchor != mount.anchor {
                continue;
            }
            let root = if mount.path.below(&selection.path).is_some() {
                Some(mount.entries.start)
            } else {
                let below = selection.path.below(&mount.path);
                below.and_then(|below| descend(tree, mount.entries.start, &below))
            };
            *matched |= root.is_some();
            roots.extend(root);
        }
    }
    roots.sort_unstable();
    (roots, matched)
}

/// Mounts that are named of those that are left out; of more, the number is told.
const NAMED: usize = 10;

/// Tells of the mounts of which nothing is wanted. The roots are sorted.
fn warn_of_others(tree: &Tree, roots: &[EntryIndex], context: Context<'_>) {
    let is_out = |mount: &&Mount| {
        let first = roots.partition_point(|&root| root < mount.entries.start);
        roots.get(first).is_none_or(|&root| root >= mount.entries.end)
    };
    let others: Vec<&Mount> = tree.mounts().iter().filter(is_out).collect();
    let rest = others.len().saturating_sub(NAMED);
    for (number, mount) in others.into_iter().take(NAMED).enumerate() {
        let more = if number + 1 == NAMED { rest as u64 } else { 0 };
        context.progress.warn(Warning::OutOfBounds { path: mount.to_string(), more });
    }
}

fn descend(tree: &Tree, root: EntryIndex, path: &RelPath) -> Option<EntryIndex> {
    let mut at = root;
    for name in path.names() {
        // Children come after their directory, and before what is beside it.
        at = (at + 1..tree.mount_of(at).entries.end)
            .take_while(|&index| tree.entry(index).parent.is_some_and(|parent| parent >= at))
            .find(|&index| tree.entry(index).parent == Some(at) && tree.name(index) == name)?;
    }
    Some(at)
}
