//! What the plugin says of an environment, without a store.

use crate::sandbox::{Sandbox, run};

#[track_caller]
fn plugin(variables: &[(&str, &str)], arguments: &[&str]) -> crate::sandbox::Run {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["plugin"].iter().chain(arguments));
    run(command.env_remove("LARDER_STORE").envs(variables.iter().copied()))
}

#[test]
fn a_dry_run_tells_what_would_be_done() {
    let drone = [
        ("PLUGIN_BUCKET", "ci-cache"),
        ("PLUGIN_REGION", "eu-west-3"),
        ("PLUGIN_CACHE", "a,b"),
        ("PLUGIN_REBUILD", "true"),
        ("PLUGIN_FLUSH", "true"),
        ("PLUGIN_AWS_ACCESS_KEY_ID", "AKIAKEY"),
        ("PLUGIN_AWS_SECRET_ACCESS_KEY", "hush"),
        ("DRONE_REPO", "octo/app"),
    ];
    let told = plugin(&drone, &["--dry-run"]).ok();
    assert_eq!(
        told.stdout,
        "system: drone\nstore: s3://ci-cache/larder?region=eu-west-3\nscope: octo/app\n\
         save a: a, what is there of it\nsave b: b, what is there of it\n\
         flush what was not used for 30days\n"
    );
    assert!(!told.stderr.contains("hush"));
    // What is said elsewhere wins, and shows.
    let elsewhere = [
        ("LARDER_SCOPE", "shared"),
        ("LARDER_STORE", "/srv/larder"),
        ("LARDER_TIMEOUT", "5m"),
        ("PLUGIN_CACHE", "a"),
        ("PLUGIN_RESTORE", "true"),
    ];
    let told = plugin(&elsewhere, &["--dry-run"]).ok();
    assert_eq!(
        told.stdout,
        "system: drone\nstore: /srv/larder\nscope: shared\ntimeout: 5m\nrestore a\n"
    );
    // Nothing is as unset: that is how CI systems say "none".
    let empty = ["LARDER_SCOPE", "LARDER_STORE", "LARDER_TIMEOUT", "LARDER_IGNORE_ERROR"];
    let with_empty: Vec<_> = drone.into_iter().chain(empty.map(|name| (name, ""))).collect();
    plugin(&with_empty, &["--dry-run"]).ok().prints("scope: octo/app");
    let truth = [("LARDER_IGNORE_ERROR", "1"), ("LARDER_SKIP_UNREADABLE", "yes")];
    let with_truth: Vec<_> = drone.into_iter().chain(truth).collect();
    plugin(&with_truth, &["--dry-run"]).ok();
    let assets = [("PACKAGE_ASSETS_BUCKET", "assets"), ("CODE_HASH_FIND_FILTER", "a/** b")];
    let told = plugin(&assets, &["check", "--dry-run"]).ok();
    told.prints("system: assets\nstore: s3://assets/larder\nscope: assets\ncheck /")
        .prints("/work/packages, and plain objects\nrepository: ./repo\nfilter: a/** b\n");
}

/// Errors name the setting, its value and what it takes; secrets stay hidden.
#[test]
fn mistakes_are_told() {
    let check = |variables: &[(&str, &str)], error: &str, hint: &str| {
        plugin(variables, &[])
            .exits(2)
            .says(&format!("]: {error}\n"))
            .says(&format!("hint: {hint}"));
    };
    check(&[], "no settings of a CI system are in the environment", "Drone and Woodpecker set");
    check(
        &[("PLUGIN_BUCKET", "b"), ("PARAMETER_ACTION", "flush")],
        "the environment has settings of several systems: drone, vela",
        "say which with LARDER_PLUGIN",
    );
    check(
        &[("LARDER_PLUGIN", "circle")],
        "LARDER_PLUGIN is \"circle\", which is no system",
        "it is one of",
    );
    check(
        &[("PLUGIN_BUKCET", "b")],
        "unknown setting PLUGIN_BUKCET (it is \"b\")",
        "did you mean PLUGIN_BUCKET?",
    );
    check(
        &[("PARAMETER_ACTION", "clean")],
        "\"clean\" is no value of PARAMETER_ACTION",
        "it takes restore, rebuild or flush",
    );
    let json = plugin(&[("PLUGIN_X", "1")], &["--json"]).exits(2).json();
    assert_eq!(
        (json["error"].as_str(), json["exit_code"].as_u64()),
        (Some("unknown setting PLUGIN_X (it is ***)"), Some(2))
    );
}
