//! `larder verify`.

use larder::error::Error;
use larder::flush::{RepairReport, RepairRequest, repair};
use larder::ids::PackId;
use larder::repository::Repository;
use larder::verify::{VerifyReport, VerifyRequest, verify};
use serde_json::{Value, json};

use super::colors::{BAD, GOOD, NOTABLE};
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, bytes, seconds, things};
use super::session::Session;
use super::{args, caches};

pub(super) fn run(session: &Session, arguments: &args::Verify) -> Result<Exit, Failure> {
    let store = if arguments.repair {
        session.store_for_writing()?
    } else {
        session.store_for_reading()?
    };
    let all_scopes = arguments.scopes.all_scopes || arguments.repair;
    let request = VerifyRequest {
        scope: (!all_scopes).then(|| session.scope.clone()),
        keys: arguments.keys.clone(),
        read_data: arguments.read_data,
    };
    let marker_reset = arguments.repair && Repository::mend_marker(store.clone())?;
    let mut report = verify(session.access(&store), &request, session.context())?;
    let repaired = if arguments.repair {
        if let Some(newer) = report.take_newer() {
            return Err(newer.into());
        }
        let request = RepairRequest {
            damaged: report.damaged.clone(),
            bad_packs: std::mem::take(&mut report.bad_packs),
            state_is_stale: report.state_is_stale,
            take_over: arguments.take_over,
            unfenced: arguments.unfenced,
        };
        let repaired = repair(session.access(&store), &request, session.context())?;
        Some(RepairReport { marker_reset, ..repaired })
    } else {
        None
    };
    let took = session.done();
    if session.json {
        let damaged: Vec<_> = report
            .damaged
            .iter()
            .map(|found| json!({ "scope": found.scope, "key": found.key }))
            .collect();
        output::json(&json!({
            "manifests": report.manifests,
            "packs": report.packs,
            "chunks": report.chunks,
            "read_bytes": report.read_bytes,
            "closed_manifests": report.closed,
            "closed_packs": report.closed_packs,
            "missing_keys": report.missing_keys,
            "problems": report.problems.iter().map(Error::to_string).collect::<Vec<_>>(),
            "damaged": damaged,
            "repaired": repaired.as_ref().map(repaired_json),
            "requests": RequestsJson::of(&store),
            "seconds": took.as_secs_f64(),
        }));
    } else {
        print(session, &report, &seconds(took));
        for key in &report.missing_keys {
            caches::hint_of_name(session, key);
        }
        if let Some(repaired) = &repaired {
            print_repaired(session, repaired);
        }
    }
    Ok(match repaired {
        Some(repaired) if repaired.is_busy => Exit::Failure,
        Some(_) => Exit::Success,
        None if report.problems.iter().any(Error::is_damage) => Exit::Damage,
        None if !report.problems.is_empty() => Exit::OtherStore,
        None if !report.missing_keys.is_empty() => Exit::Miss,
        None => Exit::Success,
    })
}

fn repaired_json(repaired: &RepairReport) -> Value {
    let dropped = repaired.dropped.iter().map(|(scope, key)| json!({ "scope": scope, "key": key }));
    let ids = |packs: &[PackId]| packs.iter().map(PackId::to_string).collect::<Vec<_>>();
    json!({
        "busy": repaired.is_busy,
        "marker_reset": repaired.marker_reset,
        "state_reset": repaired.state_reset,
        "dropped": dropped.collect::<Vec<_>>(),
        "saved_meanwhile": repaired.saved_meanwhile,
        "bad_packs": ids(&repaired.bad_packs),
        "moved_bytes": repaired.moved_bytes,
        "indexed_packs": repaired.indexed_packs,
        "orphans": ids(&repaired.orphans),
        "orphan_bytes": repaired.orphan_bytes,
        "foreign": repaired.foreign.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn print_repaired(session: &Session, repaired: &RepairReport) {
    if repaired.is_busy {
        output::line(
            "a flush of this store is at work; nothing was repaired (if it was killed: --take-over)",
        );
        return;
    }
    if repaired.marker_reset {
        output::line("the format marker was made anew");
    }
    if repaired.state_reset {
        output::line("the state of garbage collection was made anew");
    }
    for (scope, key) in &repaired.dropped {
        output::line(format_args!("removed: {key} in scope {scope}; the next save brings it back"));
    }
    for pack in &repaired.bad_packs {
        output::line(format_args!("not used any more: pack {pack}"));
    }
    for object in &repaired.foreign {
        output::line(format_args!("not larder's: {object}"));
    }
    if session.quiet {
        return;
    }
    for pack in &repaired.orphans {
        output::line(format_args!("orphan: pack {pack}"));
    }
    let mut did = vec![format!("made the index of {}", things(repaired.indexed_packs, "pack"))];
    if !repaired.dropped.is_empty() {
        did.push(format!("removed {}", things(repaired.dropped.len() as u64, "cache")));
    }
    if repaired.moved_bytes > 0 {
        did.push(format!("moved {} out of bad packs", bytes(repaired.moved_bytes)));
    }
    if !repaired.orphans.is_empty() {
        let packs = things(repaired.orphans.len() as u64, "pack");
        let size = bytes(repaired.orphan_bytes);
        did.push(format!("left {packs} without a cache ({size}) for flushes to delete"));
    }
    output::line(did.join(", "));
}

fn print(session: &Session, report: &VerifyReport, took: &str) {
    for problem in &report.problems {
        output::line(problem);
    }
    for found in &report.damaged {
        output::line(format_args!("{BAD}damaged:{BAD:#} {} in scope {}", found.key, found.scope));
    }
    for key in &report.missing_keys {
        output::line(format_args!("{NOTABLE}not there:{NOTABLE:#} {key}"));
    }
    if session.quiet {
        return;
    }
    let read = match report.read_bytes {
        0 => String::new(),
        count => format!(", {} read", bytes(count)),
    };
    let closed = match (report.closed, report.closed_packs) {
        (0, 0) => String::new(),
        (caches, packs) => {
            format!(", not opened: {} and {}", things(caches, "cache"), things(packs, "pack"))
        }
    };
    let verdict = match report.problems.len() {
        0 => format!("{GOOD}no problem found{GOOD:#}"),
        number => format!("{BAD}{} found{BAD:#}", things(number as u64, "problem")),
    };
    output::line(format_args!(
        "checked {}, {}, {}{read}{closed}, {took}: {verdict}",
        things(report.manifests, "cache"),
        things(report.packs, "pack"),
        things(report.chunks, "chunk"),
    ));
}
