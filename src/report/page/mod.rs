//! The page: a report as HTML, all in one file.
//!
//! Keys, scopes and paths are whatever somebody saved. They reach the page through the
//! template alone, which escapes all that is not marked as safe; marked so are the style,
//! the script, places of tiles and charts, which have no text from the store in them.
//! Should that ever fail, the page's policy lets nothing run but what is known by its
//! hash, and nothing load.

mod caches;
mod flush;
mod growth;
mod hits;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder::harmless;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context, escape_formatter};
use sha2::{Digest as _, Sha256};

use super::Report;
use super::outlook::Outlook;
use super::units::{bytes, count, factor, minute, things};
use caches::Places;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Rows of the table of all caches: more make a browser slow.
const MOST_ROWS: usize = 2_000;

/// Rows of the other tables.
const MOST_OTHER_ROWS: usize = 200;

impl Report {
    /// The page.
    pub(crate) fn page(&self) -> String {
        let mut environment = Environment::empty();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(|output, state, value| match value.as_str() {
            Some(text) if !value.is_safe() => {
                escape_formatter(output, state, &Value::from(&*harmless::text(text)))
            }
            _ => escape_formatter(output, state, value),
        });
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let template = environment.template_from_str(include_str!("page.html"));
        // Tests render it; the data decides on nothing that could fail.
        let template = template.expect("the template is sound");
        template.render(self.context()).expect("the template fits the report")
    }

    fn context(&self) -> Value {
        let all_scopes = self.scope.is_none();
        let mut places = Places::default();
        let maps: Vec<Value> = self
            .maps
            .iter()
            .enumerate()
            .map(|(number, map)| self.map(number, map, &mut places))
            .collect();
        let shown = self.stats.keys.iter().zip(&self.fates).take(MOST_ROWS);
        let rows: Vec<Value> = shown.map(|(key, fate)| caches::row(key, *fate)).collect();
        let damaged: Vec<String> =
            self.stats.damaged.iter().take(MOST_OTHER_ROWS).map(ToString::to_string).collect();
        let damaged_count = self.stats.damaged.len() as u64;
        context! {
            policy => policy(&[STYLE, &places.rules], SCRIPT),
            style => Value::from_safe_string(STYLE.to_owned()),
            places => Value::from_safe_string(places.rules),
            script => Value::from_safe_string(SCRIPT.to_owned()),
            location => self.location.as_str(),
            scope => self.scope.as_ref().map_or("All scopes".to_owned(), |scope| format!("Scope {scope}")),
            all_scopes,
            now => minute(self.now),
            version => env!("CARGO_PKG_VERSION"),
            totals => self.totals(),
            damaged,
            damaged_count => things(damaged_count, "manifest"),
            damaged_are => if damaged_count == 1 { "is" } else { "are" },
            drawn => caches::drawn(maps.len(), self.stats.keys.len()),
            maps,
            caches => self.stats.keys.len(),
            growth => (!self.history.periods.is_empty()).then(|| growth::section(&self.history)),
            flush => self.flush_section(),
            runs => self.runs.as_ref().map(hits::section),
            rows_note => caches::rows_note(rows.len(), self.stats.keys.len()),
            rows,
        }
    }

    fn totals(&self) -> Vec<Value> {
        let stats = &self.stats;
        let caches = stats.keys.len() as u64;
        let in_scopes = match self.scope {
            Some(_) => "in this scope".to_owned(),
            None => format!("in {}", things(self.scopes, "scope")),
        };
        vec![
            card("Caches", count(caches), in_scopes),
            card("In files", bytes(stats.raw_bytes), "what restores of all would write".into()),
            card("Stored", bytes(stats.stored_bytes), "chunks of these caches, each once".into()),
            card(
                "Files to stored",
                factor(stats.raw_bytes, stats.stored_bytes),
                "by deduplication and compression".into(),
            ),
            card(
                "Deduplication",
                factor(stats.raw_bytes, stats.unique_bytes),
                format!("{} of different chunks", bytes(stats.unique_bytes)),
            ),
            card(
                "Compression",
                factor(stats.unique_bytes, stats.stored_bytes),
                things(stats.chunks, "chunk"),
            ),
            card(
                "Packs",
                bytes(stats.pack_bytes),
                format!(
                    "{} of the whole store, {} in no use",
                    things(stats.packs.len() as u64, "pack"),
                    bytes(stats.unreferenced_bytes)
                ),
            ),
            match &self.outlook {
                Outlook::Told(told) if told.busy.is_none() => card(
                    "Flush would free",
                    bytes(told.deleted.bytes),
                    format!("now; {} wait for the grace period", bytes(told.held.bytes)),
                ),
                _ => card("Flush would free", "?".into(), "see below".into()),
            },
        ]
    }
}

/// What the page may do: apply these styles, run this script, and nothing else.
fn policy(styles: &[&str], script: &str) -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let styles: Vec<String> = styles.iter().map(|style| hash(style)).collect();
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        styles.join(" "),
        hash(script)
    )
}

fn card(name: &str, value: String, note: String) -> Value {
    context! { name, value, note }
}
