//! `larder verify`.

use larder::error::Error;
use larder::verify::{VerifyReport, VerifyRequest, verify};
use serde_json::json;

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, bytes, seconds, things};
use super::session::Session;

pub(super) fn run(session: &Session, arguments: &args::Verify) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let request = VerifyRequest {
        scope: (!arguments.scopes.all_scopes).then(|| session.scope.clone()),
        keys: arguments.keys.clone(),
        read_data: arguments.read_data,
    };
    let report = verify(store.clone(), &request, session.context())?;
    let took = session.done();
    if session.json {
        let damaged: Vec<_> = report
            .damaged
            .iter()
            .map(|(scope, key)| json!({ "scope": scope, "key": key }))
            .collect();
        output::json(&json!({
            "manifests": report.manifests,
            "packs": report.packs,
            "chunks": report.chunks,
            "read_bytes": report.read_bytes,
            "missing_keys": report.missing_keys,
            "problems": report.problems.iter().map(Error::to_string).collect::<Vec<_>>(),
            "damaged": damaged,
            "requests": RequestsJson::of(&store),
            "seconds": took.as_secs_f64(),
        }));
    } else {
        print(session, &report, &seconds(took));
    }
    Ok(if !report.problems.is_empty() {
        Exit::Damage
    } else if !report.missing_keys.is_empty() {
        Exit::Miss
    } else {
        Exit::Success
    })
}

fn print(session: &Session, report: &VerifyReport, took: &str) {
    for problem in &report.problems {
        output::line(problem);
    }
    for (scope, key) in &report.damaged {
        output::line(format_args!("damaged: {key} in scope {scope}"));
    }
    for key in &report.missing_keys {
        output::line(format_args!("not there: {key}"));
    }
    if session.quiet {
        return;
    }
    let read = match report.read_bytes {
        0 => String::new(),
        count => format!(", {} read", bytes(count)),
    };
    let verdict = match report.problems.len() {
        0 => "no problem found".to_owned(),
        number => format!("{} found", things(number as u64, "problem")),
    };
    output::line(format_args!(
        "checked {}, {}, {}{read}, {took}: {verdict}",
        things(report.manifests, "cache"),
        things(report.packs, "pack"),
        things(report.chunks, "chunk"),
    ));
}
