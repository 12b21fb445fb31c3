//! `larder diff`.

use larder::diff::{
    Aspects, Change, ChunkSum, Compared, Contents, Diff, DiffRequest, EntrySum, diff,
};
use larder::format::{EntryIndex, Kind, Tree};
use larder::relpath::display;
use serde_json::{Value, json};

use super::colors::{BAD, GOOD, NOTABLE};
use super::entries::{letter, place, size};
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::output::{self, RequestsJson, bytes, things};
use super::session::Session;
use super::{args, caches};

pub(super) fn run(session: &Session, arguments: args::Diff) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let request = DiffRequest {
        scope: session.scope.clone(),
        first: arguments.first,
        second: arguments.second,
        times: arguments.times,
        read_data: arguments.read_data,
    };
    let compared = diff(session.access(&store), &request, session.context())?;
    session.done();
    let found = match compared {
        Compared::Found(found) => found,
        Compared::Absent(keys) => {
            if session.json {
                output::json(&json!({ "scope": session.scope, "missing_keys": keys }));
            } else {
                for key in keys {
                    log::info(None, format_args!("there is no cache for {key}"), &Fields::Note);
                    caches::hint_of_name(session, &key);
                }
            }
            return Ok(Exit::Miss);
        }
    };
    if session.json {
        let mut value = as_json(&found, arguments.stat);
        value["requests"] = json!(RequestsJson::of(&store));
        output::json(&value);
    } else if arguments.stat {
        print_totals(&found);
    } else {
        for change in &found.changes {
            output::line(describe(&found, change));
        }
    }
    let differ = !found.changes.is_empty();
    Ok(if differ && arguments.exit_code { Exit::Failure } else { Exit::Success })
}

/// One path on one line.
fn describe(diff: &Diff, change: &Change) -> String {
    let (first, second) = (&diff.first.tree, &diff.second.tree);
    let line = |sign: char, tree: &Tree, index: EntryIndex| {
        let color = match sign {
            '+' => GOOD,
            '-' => BAD,
            _ => NOTABLE,
        };
        format!("{color}{sign}{color:#} {:>12} {}", size(tree, index), place(tree, index))
    };
    match *change {
        Change::Added(index) => line('+', second, index),
        Change::Removed(index) => line('-', first, index),
        Change::Changed { before, after, what } => {
            let sign = if what.is_unsure() { '?' } else { 'M' };
            let how = how(diff, before, after, what);
            format!("{} ({how})", line(sign, second, after))
        }
    }
}

/// In what an entry differs, in words.
fn how(diff: &Diff, before: EntryIndex, after: EntryIndex, what: Aspects) -> String {
    let (first, second) = (&diff.first.tree, &diff.second.tree);
    let (a, b) = (first.entry(before), second.entry(after));
    let (size_before, size_after) = (size(first, before), size(second, after));
    let mut words = vec![];
    if what.kind {
        words.push(format!("kind {} -> {}", letter(a), letter(b)));
    }
    match what.contents {
        Contents::Same => {}
        Contents::Differ if size_before == size_after => words.push("contents".to_owned()),
        Contents::Differ => words.push(format!("contents, {size_before} -> {size_after}")),
        Contents::Unknown => words.push("perhaps contents".to_owned()),
    }
    if what.mode {
        words.push(format!("mode {:04o} -> {:04o}", a.mode, b.mode));
    }
    if what.target {
        let targets = target(first, before).zip(target(second, after));
        words.extend(targets.map(|(a, b)| format!("target {a} -> {b}")));
    }
    if what.owner {
        let owners = first.owner(before).zip(second.owner(after));
        words.extend(
            owners.map(|(a, b)| format!("owner {}:{} -> {}:{}", a.uid, a.gid, b.uid, b.gid)),
        );
    }
    if what.xattrs {
        words.push("attributes".to_owned());
    }
    if what.time {
        words.push("time".to_owned());
    }
    words.join(", ")
}

/// Where a link leads, of either sort.
fn target(tree: &Tree, index: EntryIndex) -> Option<String> {
    match tree.entry(index).kind {
        Kind::Symlink => Some(display(tree.target(index)).into_owned()),
        Kind::HardLink { first } => Some(place(tree, first)),
        Kind::Directory | Kind::File(_) => None,
    }
}

fn print_totals(diff: &Diff) {
    let totals = diff.totals();
    let sums = [
        ("added", totals.added),
        ("removed", totals.removed),
        ("changed", totals.changed),
        ("perhaps", totals.unsure),
    ];
    for (name, sum) in sums {
        if name != "perhaps" || sum.entries > 0 {
            output::line(format_args!("{name:<9} {}", entries(sum)));
        }
    }
    let sums = [("shared", diff.shared), ("gone", diff.only_first), ("new", diff.only_second)];
    for (name, sum) in sums {
        let (chunks, stored) = (things(sum.chunks, "chunk"), bytes(sum.stored_bytes));
        output::line(format_args!("{name:<9} {chunks}, {stored} stored"));
    }
}

fn entries(sum: EntrySum) -> String {
    let others = match sum.entries - sum.files {
        0 => String::new(),
        others => format!(" and {}", things(others, "other")),
    };
    format!("{}{others}, {}", things(sum.files, "file"), bytes(sum.bytes))
}

fn as_json(diff: &Diff, only_totals: bool) -> Value {
    let totals = diff.totals();
    let mut value = json!({
        "first": diff.first.key,
        "second": diff.second.key,
        "scope": diff.second.scope,
        "same": diff.changes.is_empty(),
        "added": entries_json(totals.added),
        "removed": entries_json(totals.removed),
        "changed": entries_json(totals.changed),
        "unsure": entries_json(totals.unsure),
        "shared_chunks": chunks_json(diff.shared),
        "gone_chunks": chunks_json(diff.only_first),
        "new_chunks": chunks_json(diff.only_second),
    });
    if !only_totals {
        value["changes"] = diff.changes.iter().map(|change| change_json(diff, change)).collect();
    }
    value
}

fn entries_json(sum: EntrySum) -> Value {
    json!({ "entries": sum.entries, "files": sum.files, "raw_bytes": sum.bytes })
}

fn chunks_json(sum: ChunkSum) -> Value {
    json!({ "chunks": sum.chunks, "stored_bytes": sum.stored_bytes })
}

fn change_json(diff: &Diff, change: &Change) -> Value {
    let (first, second) = (&diff.first.tree, &diff.second.tree);
    let (name, before, after, what) = match *change {
        Change::Added(index) => ("added", None, Some(index), Aspects::default()),
        Change::Removed(index) => ("removed", Some(index), None, Aspects::default()),
        Change::Changed { before, after, what } => {
            let name = if what.is_unsure() { "unsure" } else { "changed" };
            (name, Some(before), Some(after), what)
        }
    };
    let path = after.map(|index| place(second, index));
    json!({
        "path": path.or_else(|| before.map(|index| place(first, index))),
        "change": name,
        "what": aspects_json(what),
        "before": before.map(|index| entry_json(first, index)),
        "after": after.map(|index| entry_json(second, index)),
    })
}

fn aspects_json(what: Aspects) -> Vec<&'static str> {
    let aspects = [
        (what.kind, "kind"),
        (what.contents == Contents::Differ, "contents"),
        (what.contents == Contents::Unknown, "perhaps contents"),
        (what.mode, "mode"),
        (what.target, "target"),
        (what.owner, "owner"),
        (what.xattrs, "attributes"),
        (what.time, "time"),
    ];
    aspects.into_iter().filter_map(|(differs, name)| differs.then_some(name)).collect()
}

fn entry_json(tree: &Tree, index: EntryIndex) -> Value {
    let entry = tree.entry(index);
    json!({
        "kind": letter(entry).to_string(),
        "mode": format!("{:04o}", entry.mode),
        "size": size(tree, index),
        "target": target(tree, index),
    })
}
