//! `larder flush`.

use larder::flush::{
    FlushReport, FlushRequest, Policy, Reason, RepackReport, Scopes, Tally, flush,
};
use larder::ids::PackId;
use serde_json::{Value, json};

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, ago, bytes, seconds, things};
use super::session::Session;

pub(super) fn run(session: &Session, arguments: args::Flush) -> Result<Exit, Failure> {
    let (grace, longest_save) = (arguments.policy.grace, arguments.longest_save);
    if grace < longest_save {
        return Err(Failure::ShortGrace { grace, longest_save });
    }
    carry_out(session, &request(session, arguments)).map(|_| Exit::Success)
}

/// Flushes, and tells what came of it.
pub(super) fn carry_out(session: &Session, request: &FlushRequest) -> Result<FlushReport, Failure> {
    let store =
        if request.dry_run { session.store_for_reading()? } else { session.store_for_writing()? };
    let report = flush(session.access(&store), request, session.context())?;
    let took = session.done();
    if session.json {
        let mut printed = as_json(&report);
        printed["requests"] = json!(RequestsJson::of(&store));
        printed["seconds"] = json!(took.as_secs_f64());
        output::json(&printed);
    } else if !session.quiet {
        print(&report, &seconds(took));
    }
    session.tell_requests(&store);
    Ok(report)
}

fn request(session: &Session, arguments: args::Flush) -> FlushRequest {
    FlushRequest {
        repack: arguments.repack,
        dry_run: arguments.dry_run,
        take_over: arguments.take_over,
        unfenced: arguments.unfenced,
        ..by_policy(session, arguments.policy, &arguments.scopes)
    }
}

/// A flush that goes by these flags.
pub(super) fn by_policy(
    session: &Session,
    policy: args::Policy,
    scopes: &args::AllScopes,
) -> FlushRequest {
    let key_ages = policy.key_age.into_iter().map(|age| (age.pattern, age.age));
    let keep = Policy {
        scopes: match scopes.all_scopes {
            true => Scopes::All,
            false => Scopes::One(session.scope.clone()),
        },
        age: policy.age,
        key_ages: key_ages.collect(),
        pins: policy.pin,
        keep_last: policy.keep_last,
        max_size: policy.max_size,
    };
    FlushRequest { grace: policy.grace, ..FlushRequest::new(keep) }
}

fn as_json(report: &FlushReport) -> Value {
    let ids = |packs: &[PackId]| packs.iter().map(PackId::to_string).collect::<Vec<_>>();
    let tally = |tally: &Tally| json!({ "packs": ids(&tally.packs), "bytes": tally.bytes });
    let removed: Vec<Value> = report
        .removed
        .iter()
        .map(|removed| {
            json!({
                "scope": removed.scope,
                "key": removed.key,
                "reason": removed.reason,
                "last_used": removed.last_used.unix(),
            })
        })
        .collect();
    let broken = report.broken.iter().map(|(scope, key)| json!({ "scope": scope, "key": key }));
    let repacked = report.repacked.as_ref().map(|repacked| {
        json!({
            "packs": repacked.packs,
            "moved_bytes": repacked.moved_bytes,
            "dead_bytes": repacked.dead_bytes,
            "packs_written": repacked.packs_written,
            "manifests": repacked.manifests,
            "manifests_changed": repacked.manifests_changed,
        })
    });
    json!({
        "dry_run": report.dry_run,
        "busy_since": report.busy.map(|claim| claim.at.unix()),
        "store_time": report.now.unix(),
        "manifests": report.manifests,
        "manifests_read": report.manifests_read,
        "removed": removed,
        "used_packs": report.used_packs,
        "used_bytes": report.used_bytes,
        "dead_bytes": report.dead_bytes,
        "condemned": tally(&report.condemned),
        "pardoned": tally(&report.pardoned),
        "deleted": tally(&report.deleted),
        "held": tally(&report.held),
        "over_budget_bytes": report.over_budget,
        "deltas_merged": report.deltas_merged,
        "broken": broken.collect::<Vec<_>>(),
        "repacked": repacked,
    })
}

fn print(report: &FlushReport, took: &str) {
    if let Some(claim) = report.busy {
        let since = ago(report.now.since(claim.at));
        output::line(format_args!(
            "another flush of this store began {since}; nothing was done (if it was killed: \
             --take-over)"
        ));
        return;
    }
    let would = if report.dry_run { "would be " } else { "" };
    for removed in &report.removed {
        let reason = match removed.reason {
            Reason::Age => "",
            Reason::Ttl => ", longer than its --ttl",
            Reason::Size => ", and room is needed",
        };
        output::line(format_args!(
            "{would}removed: {} in scope {}, last used {}{reason}",
            removed.key,
            removed.scope,
            ago(report.now.since(removed.last_used)),
        ));
    }
    let removed = things(report.removed.len() as u64, "cache");
    let kept = report.manifests - report.removed.len() as u64;
    output::line(format_args!("{removed} {would}removed, {} kept", output::count(kept)));
    line_of("deleted", would, &report.deleted);
    line_of("condemned", would, &report.condemned);
    line_of("pardoned", would, &report.pardoned);
    if let Some(repacked) = &report.repacked {
        print_repacked(repacked, would);
    }
    if report.over_budget > 0 {
        output::line(format_args!(
            "{} above --max-size: what is left is pinned, kept by --keep-last, or in other scopes",
            bytes(report.over_budget)
        ));
    }
    output::line(format_args!(
        "in use: {} in {}, of which {} are dead; waiting to be freed: {} in {} ({took})",
        bytes(report.used_bytes),
        things(report.used_packs, "pack"),
        bytes(report.dead_bytes),
        bytes(report.held.bytes),
        things(report.held.packs.len() as u64, "pack"),
    ));
}

fn line_of(verb: &str, would: &str, tally: &Tally) {
    let packs = things(tally.packs.len() as u64, "pack");
    if !tally.packs.is_empty() {
        output::line(format_args!("{packs} {would}{verb}, {}", bytes(tally.bytes)));
    }
}

fn print_repacked(repacked: &RepackReport, would: &str) {
    output::line(format_args!(
        "{} {would}repacked into {}: {} moved, {} become free",
        things(repacked.packs, "pack"),
        output::count(repacked.packs_written),
        bytes(repacked.moved_bytes),
        bytes(repacked.dead_bytes),
    ));
}
