//! `larder du`.

use larder::format::Tree;
use larder::relpath::display;
use larder::usage::{EntryUsage, ExtensionUsage, Size, Usage, usage};
use serde_json::{Value, json};

use super::args::{self, By};
use super::caches;
use super::entries::place;
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::output::{self, RequestsJson, count, short_bytes};
use super::session::Session;

/// What is counted together, under the name that it is shown by.
struct Row {
    name: Option<String>,
    size: Size,
}

pub(super) fn run(session: &Session, arguments: &args::Du) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let found = usage(session.access(&store), &session.scope, &arguments.key, session.context())?;
    session.done();
    let Some(found) = found else {
        if session.json {
            output::json(&json!({ "hit": "miss", "key": arguments.key, "scope": session.scope }));
        } else {
            log::info(None, format_args!("there is no cache for {}", arguments.key), &Fields::Note);
            caches::hint_of_name(session, &arguments.key);
        }
        return Ok(Exit::Miss);
    };
    let (rows, in_all) = rows(&found, arguments);
    if session.json {
        let mut value = as_json(&found, arguments.by, &rows, in_all);
        value["requests"] = json!(RequestsJson::of(&store));
        output::json(&value);
    } else {
        print(&found, arguments.by, &rows, in_all);
    }
    Ok(Exit::Success)
}

/// The largest, and how many there are in all.
fn rows(usage: &Usage, arguments: &args::Du) -> (Vec<Row>, usize) {
    let tree = &usage.manifest.tree;
    let entry = |found: EntryUsage| entry_row(tree, found);
    match arguments.by {
        By::Directory => top(usage.directories(arguments.depth), arguments.top, entry),
        By::File => top(usage.files(), arguments.top, entry),
        By::Extension => top(usage.extensions(), arguments.top, extension_row),
    }
}

fn top<T>(found: Vec<T>, wanted: usize, row: impl Fn(T) -> Row) -> (Vec<Row>, usize) {
    let in_all = found.len();
    let shown = if wanted == 0 { in_all } else { wanted };
    (found.into_iter().take(shown).map(row).collect(), in_all)
}

fn entry_row(tree: &Tree, found: EntryUsage) -> Row {
    Row { name: Some(place(tree, found.index)), size: found.size }
}

fn extension_row(found: ExtensionUsage) -> Row {
    let name = found.extension.map(|extension| display(&extension).into_owned());
    Row { name, size: found.size }
}

/// The path comes last, and no column is wider than it must be: terminals in logs
/// of CI are narrow, and paths are long.
fn print(usage: &Usage, by: By, rows: &[Row], in_all: usize) {
    let title = match by {
        By::Directory | By::File => "path",
        By::Extension => "extension",
    };
    let total = match rows.len() {
        shown if shown < in_all => format!("total ({} of {} shown)", shown, count(in_all as u64)),
        _ => "total".to_owned(),
    };
    let mut lines = vec![["raw", "stored", "files", title].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let name = match (&row.name, by) {
            (Some(name), By::Extension) => format!(".{name}"),
            (Some(name), _) => name.clone(),
            (None, _) => "(none)".to_owned(),
        };
        columns(row.size, name)
    }));
    lines.push(columns(usage.total(), total));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    for [raw, stored, files, name] in &lines {
        let [a, b, c] = widths;
        output::line(format_args!("{raw:>a$}  {stored:>b$}  {files:>c$}  {name}"));
    }
}

fn columns(size: Size, name: String) -> [String; 4] {
    let (raw, stored) = (short_bytes(size.raw_bytes), short_bytes(size.stored_bytes));
    [raw, stored, count(size.files).to_string(), name]
}

fn as_json(usage: &Usage, by: By, rows: &[Row], in_all: usize) -> Value {
    let (by, name) = match by {
        By::Directory => ("directory", "path"),
        By::File => ("file", "path"),
        By::Extension => ("extension", "extension"),
    };
    let row = |row: &Row| {
        let mut value = size_json(row.size);
        value[name] = json!(row.name);
        value
    };
    let mut value = size_json(usage.total());
    value["hit"] = json!("exact");
    value["key"] = json!(usage.manifest.key);
    value["scope"] = json!(usage.manifest.scope);
    value["by"] = json!(by);
    value["rows"] = rows.iter().map(row).collect();
    value["rows_in_all"] = json!(in_all);
    value
}

fn size_json(size: Size) -> Value {
    json!({
        "files": size.files,
        "raw_bytes": size.raw_bytes,
        "stored_bytes": size.stored_bytes,
    })
}
