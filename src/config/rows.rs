//! The settings of a configuration file, and how each is written. The page
//! `docs/config.md` explains them.

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// A value, as TOML has it.
    pub(super) example: &'static str,
}

const fn row(name: &'static str, example: &'static str) -> Row {
    Row { name, example }
}

pub(super) const STORE: Row = row("store", r#""s3://bucket/prefix?region=eu-west-1""#);
pub(super) const SCOPE: Row = row("scope", r#""org/repo""#);
pub(super) const FALLBACK_SCOPES: Row = row("fallback-scopes", r#"["main"]"#);
pub(super) const TRUSTED_SCOPES: Row = row("trusted-scopes", r#"["main", "release/*"]"#);
pub(super) const LOCAL_CACHE: Row = row("local-cache", r#""~/larder-chunks:20GB""#);
pub(super) const THREADS: Row = row("threads", "4");
pub(super) const TIMEOUT: Row = row("timeout", r#""10m""#);
pub(super) const IGNORE_ERROR: Row = row("ignore-error", "true");

pub(super) const REQUIRE_SIGNATURE: Row = row(
    "require-signature",
    r#"["larder-public-key-1-11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURrTURRM"]"#,
);

/// Those of the file itself, above its caches.
pub(super) const OF_THE_FILE: [Row; 9] = [
    STORE,
    SCOPE,
    FALLBACK_SCOPES,
    TRUSTED_SCOPES,
    REQUIRE_SIGNATURE,
    LOCAL_CACHE,
    THREADS,
    TIMEOUT,
    IGNORE_ERROR,
];

pub(super) const KEY: Row = row("key", r#"'npm-{{ os }}-{{ hash("**/package-lock.json") }}'"#);
pub(super) const RESTORE_KEYS: Row = row("restore-keys", "['npm-{{ os }}-']");
pub(super) const PATHS: Row = row("paths", r#"["node_modules"]"#);
pub(super) const EXCLUDE: Row = row("exclude", r#"["*.log"]"#);
pub(super) const TTL: Row = row("ttl", r#""14d""#);
pub(super) const PIN: Row = row("pin", "true");
pub(super) const COMPRESSION_LEVEL: Row = row("compression-level", "3");
pub(super) const IF_ABSENT: Row = row("if-absent", "true");
pub(super) const ALLOW_MISSING: Row = row("allow-missing", "true");
pub(super) const SKIP_UNREADABLE: Row = row("skip-unreadable", "true");
pub(super) const CHECK_PACKS: Row = row("check-packs", "true");
pub(super) const OWNER: Row = row("owner", "true");
pub(super) const XATTRS: Row = row("xattrs", "true");
pub(super) const SETUID: Row = row("setuid", "true");
pub(super) const DELETE_EXTRA: Row = row("delete-extra", "true");

/// Those of one cache.
pub(super) const OF_CACHES: [Row; 15] = [
    KEY,
    RESTORE_KEYS,
    PATHS,
    EXCLUDE,
    TTL,
    PIN,
    COMPRESSION_LEVEL,
    IF_ABSENT,
    ALLOW_MISSING,
    SKIP_UNREADABLE,
    CHECK_PACKS,
    OWNER,
    XATTRS,
    SETUID,
    DELETE_EXTRA,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The first cells of the page's tables, below a heading.
    fn cells(page: &str, heading: &str) -> BTreeSet<String> {
        let (_, section) = page.split_once(heading).expect("the page has the heading");
        let section = section.split("\n## ").next().unwrap_or_default();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        cells.map(str::to_owned).collect()
    }

    #[test]
    fn the_page_has_every_setting_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
        let page = std::fs::read_to_string(path).unwrap();
        let check = |heading: &str, rows: &[Row]| {
            let names: BTreeSet<String> = rows.iter().map(|row| row.name.to_owned()).collect();
            assert_eq!(cells(&page, heading), names, "{heading}");
        };
        check("\n## The file's settings\n", &OF_THE_FILE);
        check("\n## A cache's settings\n", &OF_CACHES);
    }

    #[test]
    fn every_example_is_a_value() {
        for row in OF_THE_FILE {
            let text = format!("{} = {}\n", row.name, row.example);
            super::super::tests::read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        for row in OF_CACHES.iter().filter(|row| ![KEY, PATHS].contains(row)) {
            let text = format!(
                "[cache.a]\nkey = {}\npaths = {}\n{} = {}\n",
                KEY.example, PATHS.example, row.name, row.example
            );
            super::super::tests::read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}
