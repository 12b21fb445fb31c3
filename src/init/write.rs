//! The text of a new larder.toml.

use std::collections::BTreeSet;

use super::ecosystems::{Ecosystem, Place};
use super::search::Found;
use crate::config::FILE_NAME;

const HEAD: &str = "\
# What larder keeps for the jobs of this repository: `larder restore` before a job's work,
# `larder save` after it. `larder config` shows what counts, and where it comes from.

# Where it is kept. Without it, in the user's cache directory; LARDER_STORE and --store win.
# store = \"s3://bucket/prefix?region=eu-west-1\"
";

const EXAMPLE: &str = "\
# Nothing was found here that larder knows. A cache is written so:
#
# [cache.npm]
# key = 'npm-{{ os }}-{{ arch }}-{{ hash(\"**/package-lock.json\") }}'
# restore-keys = ['npm-{{ os }}-{{ arch }}-']
# paths = [\"~/.npm\"]
";

/// The file for what was found.
pub(super) fn text(scope: Option<&str>, found: &[Found]) -> String {
    let mut text = HEAD.to_owned();
    text.push_str(&match scope {
        Some(scope) => format!("\n# The namespace of this repository's keys.\nscope = {scope:?}\n"),
        None => "\n# The namespace of this repository's keys.\n# scope = \"org/repo\"\n".to_owned(),
    });
    if found.is_empty() {
        text.push('\n');
        text.push_str(EXAMPLE);
    }
    for found in found {
        text.push('\n');
        text.push_str(&cache(found));
    }
    debug_assert!(!text.contains('\t'), "{FILE_NAME} is indented by spaces");
    text
}

fn cache(found: &Found) -> String {
    let Ecosystem { name, about, hashed, places, excludes, notes, .. } = found.ecosystem;
    let mut lines = vec![format!("# {name}: {about}.")];
    lines.extend(notes.iter().map(|note| format!("# {note}")));
    lines.push(format!("[cache.{name}]"));
    let globs: Vec<String> = match hashed {
        [] => found.markers.iter().map(|marker| format!("\"**/{marker}\"")).collect(),
        hashed => hashed.iter().map(|glob| format!("\"{glob}\"")).collect(),
    };
    let stem = format!("{name}-{{{{ os }}}}-{{{{ arch }}}}-");
    lines.push(format!("key = '{stem}{{{{ hash({}) }}}}'", globs.join(", ")));
    lines.push(format!("restore-keys = ['{stem}']"));
    let mut paths: Vec<String> = vec![];
    for place in *places {
        if place.is_beside_marker {
            paths.extend(beside(place, &found.directories));
        } else {
            paths.push(literal(&template(place)));
        }
    }
    lines.push(list("paths", &paths));
    if !excludes.is_empty() {
        let globs: Vec<String> = excludes.iter().map(|glob| literal(glob)).collect();
        lines.push(list("exclude", &globs));
    }
    // Not each version of a tool has all of them, and not each job uses each tool.
    lines.push("allow-missing = true".to_owned());
    lines.join("\n") + "\n"
}

/// A place beside each marker. The variable that moves it moves all of them to one.
fn beside(place: &Place, directories: &BTreeSet<String>) -> Vec<String> {
    let joined = directories.iter().map(|directory| match directory.as_str() {
        "" => place.default.to_owned(),
        directory => format!("{directory}/{}", place.default),
    });
    match (place.variable, joined.collect::<Vec<String>>().as_slice()) {
        (Some(variable), [only]) => {
            vec![literal(&format!("{{{{ env(\"{variable}\", default=\"{only}\") }}}}"))]
        }
        (_, all) => all.iter().map(|path| literal(path)).collect(),
    }
}

/// Where a place is, by its variables and the system.
fn template(place: &Place) -> String {
    let Place { variable, second, below, default, macos, .. } = place;
    let Some(variable) = variable else {
        return match macos {
            Some(macos) => format!("{{{{ {} }}}}{below}", choice(macos, default)),
            None => format!("{default}{below}"),
        };
    };
    let default = match macos {
        Some(macos) => format!("({})", choice(macos, default)),
        None => format!("\"{default}\""),
    };
    let default = match second {
        Some((variable, "")) => format!("env(\"{variable}\", default={default})"),
        Some((variable, tail)) => format!("env(\"{variable}\", default={default}) ~ \"{tail}\""),
        None => default,
    };
    format!("{{{{ env(\"{variable}\", default={default}) }}}}{below}")
}

fn choice(macos: &str, linux: &str) -> String {
    format!("\"{macos}\" if os == \"macos\" else \"{linux}\"")
}

/// A text as TOML has it, in the quotes that need no escapes.
fn literal(text: &str) -> String {
    match text {
        text if text.contains('\'') => format!("{text:?}"),
        text if text.contains('"') => format!("'{text}'"),
        text => format!("\"{text}\""),
    }
}

/// A list in one line, or, if that is long, in one for each.
fn list(name: &str, items: &[String]) -> String {
    let line = format!("{name} = [{}]", items.join(", "));
    if line.chars().count() <= 100 {
        return line;
    }
    format!(
        "{name} = [\n{}]",
        items.iter().map(|item| format!("    {item},\n")).collect::<String>()
    )
}
