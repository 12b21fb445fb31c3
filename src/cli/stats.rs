//! `larder stats`.

use larder::stats::{KeyStats, Stats, stats};
use serde_json::json;

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, bytes, count, things};
use super::session::Session;

pub(super) fn run(session: &Session, arguments: &args::Stats) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let scope = (!arguments.scopes.all_scopes).then_some(&session.scope);
    let found = stats(session.access(&store), scope, session.context())?;
    session.done();
    if session.json {
        let keys: Vec<_> = found.keys.iter().map(key_json).collect();
        output::json(&json!({
            "keys": keys,
            "raw_bytes": found.raw_bytes,
            "unique_bytes": found.unique_bytes,
            "stored_bytes": found.stored_bytes,
            "dedup_ratio": found.dedup_ratio(),
            "compression_ratio": found.compression_ratio(),
            "chunks": found.chunks,
            "packs": found.packs.len(),
            "pack_bytes": found.pack_bytes,
            "unreferenced_bytes": found.unreferenced_bytes,
            "damaged": found.damaged,
            "requests": RequestsJson::of(&store),
        }));
    } else {
        print(&found, arguments.scopes.all_scopes);
    }
    Ok(if found.damaged.is_empty() { Exit::Success } else { Exit::Damage })
}

fn key_json(key: &KeyStats) -> serde_json::Value {
    json!({
        "scope": key.scope,
        "key": key.key,
        "files": key.files,
        "raw_bytes": key.raw_bytes,
        "stored_bytes": key.stored_bytes,
        "only_here_bytes": key.only_here_bytes,
        "manifest_bytes": key.manifest_bytes,
    })
}

fn print(stats: &Stats, with_scope: bool) {
    if !stats.keys.is_empty() {
        output::line("        raw      stored   only here     files  key");
    }
    for key in &stats.keys {
        let scope = if with_scope { format!("{}  ", key.scope) } else { String::new() };
        output::line(format_args!(
            "{:>11} {:>11} {:>11} {:>9}  {scope}{}",
            bytes(key.raw_bytes).to_string(),
            bytes(key.stored_bytes).to_string(),
            bytes(key.only_here_bytes).to_string(),
            count(key.files).to_string(),
            key.key,
        ));
    }
    output::line(format_args!(
        "{}: {} in files, {} unique, {} stored",
        things(stats.keys.len() as u64, "cache"),
        bytes(stats.raw_bytes),
        bytes(stats.unique_bytes),
        bytes(stats.stored_bytes),
    ));
    output::line(format_args!(
        "deduplication {:.2}, compression {:.2}; {} with {}, of which {} unreferenced",
        stats.dedup_ratio(),
        stats.compression_ratio(),
        things(stats.packs.len() as u64, "pack"),
        bytes(stats.pack_bytes),
        bytes(stats.unreferenced_bytes),
    ));
    for key in &stats.damaged {
        output::line(format_args!("not counted, for its manifest is damaged: {key}"));
    }
}
