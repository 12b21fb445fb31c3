//! `larder doctor`.

use larder::doctor::{Report, Verdict, examine};
use larder::store::Store as _;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson};
use super::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    store: String,
    works: bool,
    #[serde(flatten)]
    report: &'a Report,
    requests: RequestsJson,
    seconds: f64,
}

pub(super) fn run(session: &Session) -> Result<Exit, Failure> {
    let store = session.store_for_writing()?;
    let mut report = examine(&store, session.context())?;
    let took = session.done();
    if session.json {
        output::json(&Json {
            store: store.location(),
            works: report.works(),
            report: &report,
            requests: RequestsJson::of(&store),
            seconds: took.as_secs_f64(),
        });
    } else {
        print(&store.location(), &report);
    }
    session.tell_requests(&store);
    match report.failure.take() {
        None => Ok(Exit::Success),
        // Its hint and exit code are those of the failure itself.
        Some(error) => {
            let failure = Failure::from(larder::error::Error::from(error));
            failure.report(false, false);
            Ok(failure.exit())
        }
    }
}

fn print(location: &str, report: &Report) {
    output::line(format_args!("store    {location}"));
    for finding in &report.findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Lacking => "lacking",
            Verdict::Failed => "FAILED",
        };
        output::line(format_args!("{verdict:<8} {}: {}", finding.ability, finding.detail));
        if let Some(cost) = finding.cost {
            output::line(format_args!("         without it: {cost}"));
        }
    }
    if let Some(latency) = report.latency_seconds {
        output::line(format_args!("latency  {:.1} ms for a small request", latency * 1e3));
    }
    output::line(if report.works() {
        "caches can be saved and restored here"
    } else {
        "caches cannot be saved and restored here"
    });
}
