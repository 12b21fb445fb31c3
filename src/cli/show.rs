//! `larder show`.

use larder::format::{Kind, Lifetime, Manifest, Mount, Tree};
use larder::relpath::display;
use larder::repository::Repository;
use serde_json::{Value, json};

use super::entries::{letter, place, size};
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::output::{self, bytes, things};
use super::session::Session;
use super::{args, caches};

pub(super) fn run(session: &Session, arguments: &args::Show) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let stored = match Repository::open(session.access(&store))? {
        Some(repository) => repository.manifest(&session.scope, &arguments.key)?,
        None => None,
    };
    session.done();
    let Some(stored) = stored else {
        if session.json {
            output::json(&json!({ "hit": "miss", "key": arguments.key, "scope": session.scope }));
        } else {
            log::info(None, format_args!("there is no cache for {}", arguments.key), &Fields::Note);
            caches::hint_of_name(session, &arguments.key);
        }
        return Ok(Exit::Miss);
    };
    let manifest = stored.manifest;
    if session.json {
        output::json(&as_json(&manifest, arguments.files));
    } else {
        print(&manifest, arguments.files);
    }
    Ok(Exit::Success)
}

/// Pairs that are told; more say no more.
const MOST_PAIRS: usize = 10;

/// Entries whose names are one where letter case or Unicode form does not count.
fn same_names(tree: &Tree) -> Vec<[String; 2]> {
    let pairs = larder::restore::same_names(tree).into_iter().take(MOST_PAIRS);
    pairs.map(|(first, second)| [place(tree, first), place(tree, second)]).collect()
}

fn print(manifest: &Manifest, files: bool) {
    let tree = &manifest.tree;
    output::line(format_args!("key       {}", manifest.key));
    output::line(format_args!("scope     {}", manifest.scope));
    output::line(format_args!("writer    {}", display(manifest.writer.as_bytes())));
    output::line(format_args!(
        "contents  {}, {}",
        things(tree.file_count(), "file"),
        bytes(tree.raw_bytes())
    ));
    output::line(format_args!(
        "stored    {} in {} of {}",
        bytes(manifest.stored_bytes()),
        things(manifest.chunks.rows().len() as u64, "chunk"),
        things(manifest.chunks.packs().len() as u64, "pack")
    ));
    if let Some(key) = manifest.sealed_by {
        output::line(format_args!("encrypted with the key {key}"));
    }
    if let Some(key) = manifest.signed_by {
        output::line(format_args!("signed by {key}"));
    }
    for mount in tree.mounts() {
        let entries = u64::from(mount.entries.end - mount.entries.start);
        output::line(format_args!("mount     {mount} ({})", things(entries, "entry")));
        if files {
            for index in mount.entries.clone() {
                output::line(describe(tree, mount, index));
            }
        }
    }
    for [first, second] in same_names(tree) {
        output::line(format_args!("one name  {first} and {second}, where case does not count"));
    }
}

/// One entry as `ls` might show it.
fn describe(tree: &Tree, mount: &Mount, index: u32) -> String {
    let entry = tree.entry(index);
    let path = if entry.parent.is_none() {
        mount.path.to_string()
    } else {
        display(&tree.path(index)).into_owned()
    };
    let target = match entry.kind {
        Kind::Symlink => format!(" -> {}", display(tree.target(index))),
        Kind::HardLink { first } => format!(" = {}", display(&tree.path(first))),
        _ => String::new(),
    };
    format!("{} {:04o} {:>12} {path}{target}", letter(entry), entry.mode, size(tree, index))
}

fn as_json(manifest: &Manifest, files: bool) -> Value {
    let tree = &manifest.tree;
    let mounts: Vec<String> = tree.mounts().iter().map(ToString::to_string).collect();
    let packs: Vec<String> = manifest.chunks.packs().iter().map(ToString::to_string).collect();
    let ttl = match manifest.facts.lifetime {
        Lifetime::For(ttl) => Some(ttl.as_secs()),
        Lifetime::ByPolicy | Lifetime::Pinned => None,
    };
    let mut value = json!({
        "hit": "exact",
        "key": manifest.key,
        "scope": manifest.scope,
        "writer": manifest.writer,
        "created": manifest.created,
        "saved": manifest.facts.saved.unix(),
        "ttl": ttl,
        "pinned": manifest.facts.lifetime == Lifetime::Pinned,
        "mounts": mounts,
        "entries": tree.entries().len(),
        "files": tree.file_count(),
        "raw_bytes": tree.raw_bytes(),
        "stored_bytes": manifest.stored_bytes(),
        "chunks": manifest.chunks.rows().len(),
        "encryption_key": manifest.sealed_by.map(|key| key.to_string()),
        "signed_by": manifest.signed_by.map(|key| key.to_string()),
        "packs": packs,
        "same_names": same_names(tree),
    });
    if files {
        let entry = |index: u32| {
            let entry = tree.entry(index);
            json!({
                "path": display(&tree.path(index)),
                "mount": tree.mount_of(index).to_string(),
                "kind": letter(entry).to_string(),
                "mode": format!("{:04o}", entry.mode),
                "size": size(tree, index),
                "mtime": entry.mtime.secs,
                "mtime_nanos": entry.mtime.nanos,
            })
        };
        value["tree"] = tree.indexes().map(entry).collect();
    }
    value
}
