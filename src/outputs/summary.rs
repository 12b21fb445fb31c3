//! The summary of the step in GitHub Actions, Gitea and Forgejo: a table in Markdown, in
//! the file that `GITHUB_STEP_SUMMARY` names.

use std::time::Duration;

use indicatif::{DecimalBytes, HumanCount};

use super::{Cache, Command, Done, Kind};

/// What a table shows of one cache.
struct Row(Vec<String>);

/// The table of a run; none of a lookup, which has done nothing.
pub(crate) fn text(done: &Done) -> Option<String> {
    let (columns, row): (&[&str], fn(&Cache) -> Row) = match done.command {
        Command::Restore => (&RESTORED, restored),
        Command::Save => (&SAVED, saved),
        Command::Lookup => return None,
    };
    let mut rows: Vec<Row> = done.caches.iter().map(row).collect();
    if rows.len() > 1 {
        rows.push(total(done));
    }
    let has_names = done.caches.iter().any(|cache| cache.name.is_some());
    // What comes before or after may be another table.
    let mut text = format!("\n#### larder {}\n\n", done.command.name());
    let skipped = usize::from(!has_names);
    let is_number = |at: usize| at > 2;
    let rule = (0..columns.len()).map(|at| if is_number(at) { "--:" } else { "---" });
    let rule: Vec<String> = rule.map(str::to_owned).collect();
    let head: Vec<String> = columns.iter().map(|&column| column.to_owned()).collect();
    for cells in [head, rule].iter().chain(rows.iter().map(|Row(cells)| cells)) {
        text.push_str(&format!("| {} |\n", cells[skipped..].join(" | ")));
    }
    text.push('\n');
    Some(text)
}

const RESTORED: [&str; 9] =
    ["cache", "hit", "key", "size", "fetched", "local cache", "in place", "avoided", "time"];

fn restored(cache: &Cache) -> Row {
    let found = cache.found();
    let mut cells = vec![name(cache), found.kind.name().to_owned()];
    cells.push(code(found.key.as_ref().unwrap_or(&cache.key)));
    let amounts = cache.amounts();
    let is_there = found.kind > Kind::Miss;
    let numbers =
        [amounts.files, amounts.fetched, amounts.local, amounts.in_place, amounts.avoided];
    cells.extend(numbers.map(|number| if is_there { bytes(number) } else { String::new() }));
    cells.push(seconds(cache.took));
    Row(cells)
}

const SAVED: [&str; 8] =
    ["cache", "result", "key", "size", "uploaded", "new chunks", "reused chunks", "time"];

fn saved(cache: &Cache) -> Row {
    let saved = cache.saved();
    Row(vec![
        name(cache),
        saved.result.name().to_owned(),
        code(&cache.key),
        bytes(saved.files),
        bytes(saved.uploaded),
        HumanCount(saved.new_chunks).to_string(),
        HumanCount(saved.reused_chunks).to_string(),
        seconds(cache.took),
    ])
}

fn total(done: &Done) -> Row {
    let mut cells = vec!["all".to_owned(), String::new(), String::new()];
    if done.command == Command::Save {
        let saved = done.saved();
        cells.extend([bytes(saved.files), bytes(saved.uploaded)]);
        cells.extend(
            [saved.new_chunks, saved.reused_chunks].map(|number| HumanCount(number).to_string()),
        );
    } else {
        let amounts = done.amounts();
        let numbers =
            [amounts.files, amounts.fetched, amounts.local, amounts.in_place, amounts.avoided];
        cells.extend(numbers.map(bytes));
    }
    cells.push(seconds(done.took));
    Row(cells)
}

fn name(cache: &Cache) -> String {
    escaped(cache.name.as_deref().unwrap_or_default())
}

fn bytes(count: u64) -> String {
    DecimalBytes(count).to_string()
}

fn seconds(took: Duration) -> String {
    format!("{:.2} s", took.as_secs_f64())
}

fn code(key: &str) -> String {
    format!("<code>{}</code>", escaped(key))
}

/// Text in which Markdown and HTML find nothing: no end of a cell, no tag, no link, no
/// name of a person.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '-' | '.' | '/' | ' ' => escaped.push(c),
            c if c.is_alphanumeric() => escaped.push(c),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::testing::{restored, saved};
    use super::*;

    #[test]
    fn one_key_is_one_row() {
        let done = restored(&[(None, "npm-2", Some((Kind::Prefix, "npm-1")))]);
        insta::assert_snapshot!(text(&done).unwrap(), @"

        #### larder restore

        | hit | key | size | fetched | local cache | in place | avoided | time |
        | --- | --- | --: | --: | --: | --: | --: | --: |
        | prefix | <code>npm-1</code> | 1.00 kB | 100 B | 20 B | 300 B | 400 B | 1.50 s |
        ");
    }

    #[test]
    fn several_have_a_row_for_all() {
        let done = restored(&[
            (Some("npm"), "npm-2", Some((Kind::Exact, "npm-2"))),
            (Some("go"), "go-1", Some((Kind::Miss, ""))),
            (Some("a_b"), "tools", None),
        ]);
        insta::assert_snapshot!(text(&done).unwrap(), @"

        #### larder restore

        | cache | hit | key | size | fetched | local cache | in place | avoided | time |
        | --- | --- | --- | --: | --: | --: | --: | --: | --: |
        | npm | exact | <code>npm-2</code> | 1.00 kB | 100 B | 20 B | 300 B | 400 B | 1.50 s |
        | go | miss | <code>go-1</code> |  |  |  |  |  | 1.50 s |
        | a&#95;b | failed | <code>tools</code> |  |  |  |  |  | 1.50 s |
        | all |  |  | 1.00 kB | 100 B | 20 B | 300 B | 400 B | 4.00 s |
        ");
        let done = saved(&[("npm", "npm-2", true), ("tools", "t", true)]);
        insta::assert_snapshot!(text(&done).unwrap(), @"

        #### larder save

        | cache | result | key | size | uploaded | new chunks | reused chunks | time |
        | --- | --- | --- | --: | --: | --: | --: | --: |
        | npm | saved | <code>npm-2</code> | 1.00 kB | 70 B | 2 | 5 | 1.50 s |
        | tools | saved | <code>t</code> | 1.00 kB | 70 B | 2 | 5 | 1.50 s |
        | all |  |  | 2.00 kB | 140 B | 4 | 10 | 4.00 s |
        ");
    }

    #[test]
    fn keys_end_no_cell_and_are_no_markup() {
        let key = "a|b `c` <img src=x> *d* _e_ [f](g) @h #1 :i: \\| &lt; \u{85}é";
        insta::assert_snapshot!(escaped(key), @"a&#124;b &#96;c&#96; &#60;img src&#61;x&#62; &#42;d&#42; &#95;e&#95; &#91;f&#93;&#40;g&#41; &#64;h &#35;1 &#58;i&#58; &#92;&#124; &#38;lt&#59;  é");
        let done = restored(&[(Some("n"), key, Some((Kind::Exact, key)))]);
        let text = text(&done).unwrap();
        let row = text.lines().nth(5).unwrap();
        assert_eq!(row.matches('|').count(), RESTORED.len() + 1, "{row}");
        assert!(!row.contains('`') && row.matches('<').count() == 2, "{row}");
    }
}
