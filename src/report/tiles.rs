//! Tiles: the directories and files of a cache as rectangles, one in the other.
//!
//! What is too small to be seen is one tile with all that is as small beside it, so
//! that the tiles in a directory are always the whole of it.

use std::collections::HashMap;

use larder::format::{EntryIndex, Kind, Mount, Tree};
use larder::relpath::{RelPath, display};
use larder::usage::{Size, Usage};

use super::treemap::{Rect, squarify};

/// Of a cache's stored bytes, what a tile has at least: on a map of a thousand by four
/// hundred points, less than 30 by 30.
const LEAST_SHARE: u64 = 500;

/// Tiles in tiles, at the most; deeper directories are drawn as files are.
const MAX_DEPTH: usize = 6;

/// How wide a map is by its height, where there is room.
const ASPECT: f64 = 2.4;

/// A directory or file of a cache, or several small ones.
#[derive(Debug)]
pub(super) struct Tile {
    /// Its name in the tile around it.
    pub(super) name: String,
    /// Its whole path.
    pub(super) path: String,
    pub(super) kind: TileKind,
    pub(super) size: Size,
    /// Where it lies in the tile around it, in percent of that.
    pub(super) rect: Rect,
    pub(super) inside: Vec<Tile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TileKind {
    Directory,
    File,
    /// Several that are too small for tiles of their own.
    Rest,
}

/// The tiles of a cache: those of its mounts, or, if there is only one, of what is in it.
pub(super) fn of_usage(usage: &Usage) -> Vec<Tile> {
    let tree = &usage.manifest.tree;
    let mounts: Vec<EntryIndex> = tree.mounts().iter().map(|mount| mount.entries.start).collect();
    let whole: u64 = mounts.iter().map(|&mount| usage.size(mount).stored_bytes).sum();
    let builder = Builder { usage, tree, inside: large(usage, (whole / LEAST_SHARE).max(1)) };
    let mut tiles: Vec<Tile> = mounts.iter().map(|&mount| builder.tile(mount, 0)).collect();
    tiles.retain(|tile| tile.size.stored_bytes > 0);
    if let [only] = tiles.as_mut_slice()
        && !only.inside.is_empty()
    {
        tiles = std::mem::take(&mut only.inside);
    }
    lay(&mut tiles, ASPECT);
    tiles
}

/// The entries with so many stored bytes or more, by the directory that they are in.
fn large(usage: &Usage, least: u64) -> HashMap<EntryIndex, Vec<EntryIndex>> {
    let tree = &usage.manifest.tree;
    let mut inside: HashMap<EntryIndex, Vec<EntryIndex>> = HashMap::new();
    for index in tree.indexes() {
        if let Some(parent) = tree.entry(index).parent
            && usage.size(index).stored_bytes >= least
        {
            inside.entry(parent).or_default().push(index);
        }
    }
    inside
}

struct Builder<'a> {
    usage: &'a Usage,
    tree: &'a Tree,
    /// The large entries, by the directory that they are in.
    inside: HashMap<EntryIndex, Vec<EntryIndex>>,
}

impl Builder<'_> {
    /// The tile of an entry; where it lies is told later.
    fn tile(&self, index: EntryIndex, depth: usize) -> Tile {
        let (name, last) = self.chain(index);
        let size = self.usage.size(index);
        let is_directory = self.tree.entry(last).kind == Kind::Directory;
        let mut inside = vec![];
        if is_directory && depth < MAX_DEPTH {
            let large = self.inside.get(&last).map_or(&[][..], Vec::as_slice);
            inside.extend(large.iter().map(|&index| self.tile(index, depth + 1)));
            inside.extend(rest(size, &inside, &name));
            // Nothing but a rest tells nothing.
            inside = if large.is_empty() { vec![] } else { inside };
        }
        let kind = if is_directory { TileKind::Directory } else { TileKind::File };
        Tile { name, path: self.place(last), kind, size, rect: Rect::default(), inside }
    }

    /// The name of an entry, and what it stands for: a directory with nothing but one
    /// other in it is drawn as that.
    fn chain(&self, index: EntryIndex) -> (String, EntryIndex) {
        let is_mount = self.tree.entry(index).parent.is_none();
        let mut last = index;
        let mut name =
            if is_mount { self.place(index) } else { display(self.tree.name(index)).into_owned() };
        while let Some(&[only]) = self.inside.get(&last).map(Vec::as_slice) {
            let is_all = self.usage.size(only) == self.usage.size(last);
            if !is_all || self.tree.entry(only).kind != Kind::Directory {
                break;
            }
            name = format!("{name}/{}", display(self.tree.name(only)));
            last = only;
        }
        (name, last)
    }

    /// Where an entry lies, by the anchor of its mount.
    fn place(&self, index: EntryIndex) -> String {
        let anchor = self.tree.mount_of(index).anchor;
        match RelPath::new(self.tree.path(index)) {
            Ok(path) => Mount { anchor, path, entries: 0..0 }.to_string(),
            Err(_) => display(&self.tree.path(index)).into_owned(),
        }
    }
}

/// What a directory holds beyond its large entries.
fn rest(whole: Size, large: &[Tile], directory: &str) -> Option<Tile> {
    let mut size = whole;
    for tile in large {
        size.files -= tile.size.files;
        size.raw_bytes = size.raw_bytes.saturating_sub(tile.size.raw_bytes);
        size.stored_bytes -= tile.size.stored_bytes;
    }
    let name = "smaller ones".to_owned();
    let path = format!("all that is smaller in {directory}");
    let (kind, rect, inside) = (TileKind::Rest, Rect::default(), vec![]);
    (size.stored_bytes > 0).then_some(Tile { name, path, kind, size, rect, inside })
}

/// Gives tiles their places in a rectangle, so wide by its height.
fn lay(tiles: &mut [Tile], aspect: f64) {
    tiles.sort_by_key(|tile| {
        (tile.kind == TileKind::Rest, std::cmp::Reverse(tile.size.stored_bytes))
    });
    #[expect(clippy::cast_precision_loss, reason = "nobody sees less than a millionth")]
    let weights: Vec<f64> = tiles.iter().map(|tile| tile.size.stored_bytes as f64).collect();
    let within = Rect { x: 0.0, y: 0.0, width: aspect, height: 1.0 };
    for (tile, rect) in tiles.iter_mut().zip(squarify(&weights, within)) {
        lay(&mut tile.inside, rect.width / rect.height);
        let (wide, high) = (100.0 / aspect, 100.0);
        let (x, width) = (rect.x * wide, rect.width * wide);
        tile.rect = Rect { x, y: rect.y * high, width, height: rect.height * high };
    }
}
