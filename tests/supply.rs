//! What larder is made of: licences, sources and versions of crates are as `deny.toml`
//! has them, and unsafe code is where `docs/architecture.md` says.
//!
//! `cargo deny` checks the same and more, but takes minutes to install. This asks cargo.

#![allow(clippy::unwrap_used, reason = "helpers of tests panic like the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use toml::de::{DeTable, DeValue};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The crates that are compiled for this machine, tests and benches included, but larder.
fn crates() -> Vec<Value> {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--locked", "--format-version", "1", "--filter-platform", host]);
    let output = command.current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let used: BTreeSet<String> = nodes.iter().map(|node| text(&node["id"]).to_owned()).collect();
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    let is_meant =
        |package: &Value| used.contains(text(&package["id"])) && package["name"] != "larder";
    let crates: Vec<Value> = packages.into_iter().filter(is_meant).collect();
    assert!(crates.len() > 200, "only {} crates", crates.len());
    crates
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The texts of a list in `deny.toml`, or of one field of the tables in it.
fn listed(section: &str, list: &str, field: Option<&str>) -> BTreeSet<String> {
    let page = read("deny.toml");
    let page = DeTable::parse(&page).unwrap().into_inner();
    let list = page[section].get_ref().get(list).unwrap().get_ref().as_array().unwrap();
    let item = |item: &DeValue<'_>| {
        let item = field.map_or(Some(item), |field| Some(item.get(field)?.get_ref()));
        item.unwrap().as_str().unwrap().to_owned()
    };
    list.iter().map(|value| item(value.get_ref())).collect()
}

#[test]
fn licences_are_allowed_and_all_of_these_are_needed() {
    let allowed = listed("licenses", "allow", None);
    let is_allowed = |licence: &spdx::LicenseReq, without: &str| {
        let name = licence.license.id().map(|id| id.name).unwrap_or_default();
        name != without && allowed.contains(name) && licence.addition.is_none()
    };
    let expressions: Vec<(String, spdx::Expression)> = crates()
        .iter()
        .map(|package| {
            let said = text(&package["license"]);
            let parsed = spdx::Expression::parse_mode(said, spdx::ParseMode::LAX);
            (text(&package["name"]).to_owned(), parsed.unwrap_or_else(|error| panic!("{error}")))
        })
        .collect();
    for (name, expression) in &expressions {
        let is_fine = expression.evaluate(|licence| is_allowed(licence, ""));
        assert!(is_fine, "{name} is licensed by {expression}, which deny.toml does not allow");
    }
    for licence in &allowed {
        let mut all = expressions.iter();
        let is_needed = !all.all(|(_, it)| it.evaluate(|found| is_allowed(found, licence)));
        assert!(is_needed, "no crate needs {licence}");
    }
}

#[test]
fn all_sources_are_listed() {
    let registries = listed("sources", "allow-registry", None);
    for package in crates() {
        let source = text(&package["source"]).strip_prefix("registry+").unwrap_or_default();
        assert!(registries.contains(source), "{} is of {source:?}", package["name"]);
    }
}

/// Each crate is there once, but for the versions that are skipped, with the reason.
#[test]
#[cfg(target_os = "linux")]
fn crates_in_two_versions_are_listed() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in crates() {
        let of_name = versions.entry(text(&package["name"]).to_owned()).or_default();
        of_name.insert(text(&package["version"]).to_owned());
    }
    let skipped = listed("bans", "skip", Some("crate"));
    assert_eq!(listed("bans", "skip", Some("reason")).is_empty(), skipped.is_empty());
    for skipped in &skipped {
        let (name, version) = skipped.split_once('@').unwrap();
        let of_name = versions.get_mut(name).unwrap_or_else(|| panic!("there is no {name}"));
        let is_meant = |found: &String| found.starts_with(&format!("{version}."));
        assert!(of_name.len() > 1, "{name} is there in one version");
        assert!(of_name.extract_if(.., is_meant).count() == 1, "there is no {skipped}");
    }
    let twice: Vec<_> = versions.iter().filter(|(_, versions)| versions.len() > 1).collect();
    assert!(twice.is_empty(), "deny.toml does not say why: {twice:?}");
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The library and the program forbid it. Elsewhere the lint denies it, and a file that
/// allows it is one of a list. That each block says why is a lint, too.
#[test]
fn nothing_is_unsafe_but_what_is_listed() {
    let product = "#![cfg_attr(not(any(test, fuzzing)), forbid(unsafe_code))]";
    for (root, forbids) in [("src/lib.rs", product), ("src/main.rs", "#![forbid(unsafe_code)]")] {
        assert!(read(root).contains(&format!("\n{forbids}\n")), "{root}");
    }
    let mut files = vec![repository().join("build.rs")];
    for directory in ["src", "tests", "benches"] {
        sources(&repository().join(directory), &mut files);
    }
    let lint = ["unsafe", "_code"].concat();
    let allows = |text: &str| {
        let found = [format!("allow({lint}"), format!("expect({lint}")];
        found.iter().any(|attribute| text.contains(attribute.as_str()))
    };
    files.retain(|path| allows(&fs::read_to_string(path).unwrap()));
    let page = read("docs/architecture.md");
    let section = page.split("## Unsafe code").nth(1).unwrap().split("\n## ").next().unwrap();
    for file in &files {
        let name = file.strip_prefix(repository()).unwrap().to_str().unwrap();
        assert!(section.contains(&format!("- `{name}`: ")), "{name} is not in the list");
    }
    let listed = section.lines().filter(|line| line.starts_with("- `")).count();
    assert_eq!(listed, files.len(), "the list has more than there is");
}
