//! What caches hold: a treemap of each of the largest, and a table of all.

use std::fmt::Write as _;

use larder::stats::KeyStats;
use minijinja::{Value, context};

use super::flush;
use crate::report::outlook::{self, Fate};
use crate::report::tiles::{Tile, TileKind};
use crate::report::units::{bytes, count, date, percent, things};
use crate::report::{CacheMap, Report};

/// Maps that are open at first.
const OPEN_MAPS: usize = 3;

/// Colours of the outermost tiles.
const COLOURS: usize = 8;

impl Report {
    /// A map as the template takes it.
    pub(super) fn map(&self, number: usize, map: &CacheMap, places: &mut Places) -> Value {
        let key = &self.stats.keys[map.cache];
        let largest = self.stats.keys.first().map_or(0, |key| key.stored_bytes);
        let shared = key.stored_bytes.saturating_sub(key.only_here_bytes);
        let tiles: Vec<Value> = map
            .tiles
            .iter()
            .enumerate()
            .map(|(number, tile)| {
                let colour = number % COLOURS;
                places.tile(tile, map.total.stored_bytes, &format!(" c{colour}"))
            })
            .collect();
        context! {
            open => number < OPEN_MAPS,
            key => key.key.as_str(),
            scope => key.scope.as_str(),
            raw => bytes(map.total.raw_bytes),
            files => things(map.total.files, "file"),
            stored => bytes(key.stored_bytes),
            alone => bytes(key.only_here_bytes),
            alone_width => width(key.only_here_bytes, largest),
            shared_width => width(shared, largest),
            tiles,
            caption => format!("{} in all.", bytes(map.total.stored_bytes)),
        }
    }
}

/// The rules that give tiles their places.
#[derive(Default)]
pub(super) struct Places {
    pub(super) rules: String,
    tiles: usize,
}

impl Places {
    fn tile(&mut self, tile: &Tile, whole: u64, colour: &str) -> Value {
        let id = format!("t{}", self.tiles);
        self.tiles += 1;
        let rect = tile.rect;
        let _ = write!(
            self.rules,
            "#{id}{{left:{:.3}%;top:{:.3}%;width:{:.3}%;height:{:.3}%}}",
            rect.x, rect.y, rect.width, rect.height
        );
        let inside: Vec<Value> =
            tile.inside.iter().map(|tile| self.tile(tile, whole, "")).collect();
        let kind = match tile.kind {
            _ if !inside.is_empty() => "dir",
            TileKind::Rest => "rest leaf",
            TileKind::Directory | TileKind::File => "leaf",
        };
        let size = tile.size;
        let files = match tile.kind {
            TileKind::File => String::new(),
            _ => format!(" in {}", things(size.files, "file")),
        };
        let stored = bytes(size.stored_bytes);
        context! {
            id,
            class => format!("{kind}{colour}"),
            name => tile.name.as_str(),
            title => format!(
                "{}: {stored} stored ({} of the cache), {}{files}",
                tile.path, percent(size.stored_bytes, whole), bytes(size.raw_bytes)
            ),
            size => stored,
            inside,
        }
    }
}

/// A part of the largest in percent, for a picture.
#[expect(clippy::cast_precision_loss, reason = "nobody sees less than a millionth")]
fn width(part: u64, largest: u64) -> String {
    format!("{:.3}", if largest == 0 { 0.0 } else { part as f64 / largest as f64 * 100.0 })
}

/// Which caches are drawn.
pub(super) fn drawn(maps: usize, caches: usize) -> String {
    if maps == 1 && caches > 1 {
        format!("The cache with the most stored bytes, of {}.", count(caches as u64))
    } else if maps < caches {
        format!("The {maps} caches with the most stored bytes, of {}.", count(caches as u64))
    } else {
        "The caches with the most stored bytes first.".to_owned()
    }
}

/// What is to be known of the table of all caches.
pub(super) fn rows_note(rows: usize, caches: usize) -> String {
    let left = match caches - rows {
        0 => String::new(),
        left => format!(
            " The {} with the most stored bytes; {} more are left out, and in larder stats.",
            count(rows as u64),
            count(left as u64)
        ),
    };
    format!("“Only here” is stored in no other cache of the store. Days are of UTC.{left}")
}

/// A cache's row in the table of all.
pub(super) fn row(key: &KeyStats, fate: Fate) -> Value {
    let (fate, fate_v) = flush::fate(fate);
    context! {
        key => key.key.as_str(),
        scope => key.scope.as_str(),
        files_v => key.files,
        files => count(key.files),
        raw_v => key.raw_bytes,
        raw => bytes(key.raw_bytes),
        stored_v => key.stored_bytes,
        stored => bytes(key.stored_bytes),
        alone_v => key.only_here_bytes,
        alone => bytes(key.only_here_bytes),
        saved_v => key.saved.unix(),
        saved => date(key.saved),
        used_v => key.last_used.unix(),
        used => date(key.last_used),
        lifetime => outlook::lifetime(key.lifetime),
        fate,
        fate_v,
    }
}
