//! buildx's page on its S3 cache: larder takes the store in its words.

use super::{Runner, blocks};
use crate::sandbox::{assert_same, plant};

const PAGE: &str = include_str!("pages/buildx-s3.md");

/// The options in the page's table, each with a value that it takes.
fn options(runner: &Runner) -> Vec<(String, String)> {
    let keys = &runner.job.bucket.server.keys;
    let endpoint = runner.job.proxy.url();
    let value = |option: &str| match option {
        "region" => "us-east-1".to_owned(),
        "bucket" => runner.bucket().to_owned(),
        "name" => "main;release".to_owned(),
        "endpoint_url" => endpoint.clone(),
        "blobs_prefix" => "blobs/".to_owned(),
        "manifests_prefix" => "manifests/".to_owned(),
        "use_path_style" | "ignore-error" => "true".to_owned(),
        "access_key_id" => keys.access_key.clone(),
        "secret_access_key" => keys.secret_key.clone(),
        "session_token" => String::new(),
        "mode" => "min".to_owned(),
        other => panic!("the page has the option {other}, which this test does not know"),
    };
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    rows.map(|option| (option.to_owned(), value(option))).collect()
}

/// The synopsis, with what stands in angle brackets filled in.
#[test]
fn the_synopsis() {
    let Some(runner) = Runner::new() else { return };
    let synopsis = blocks(PAGE, &["console"]).concat();
    let location = |flag: &str| {
        let given = synopsis.split_whitespace().skip_while(|word| *word != flag).nth(1).unwrap();
        given
            .replace("<region>", "us-east-1")
            .replace("<bucket>", runner.bucket())
            .replace("<cache-image>", "main")
            .replace("[,parameters...]", ",prefix=larder")
    };
    let tree = runner.sandbox().work("tree");
    plant(&tree, 10, 1);
    let to = location("--cache-to");
    let save = ["save", "--store", &to, "tree"];
    runner.run(&mut runner.entrypoint_with_keys(&save)).ok().prints("saved main: ");
    let next = runner.another();
    let from = format!("{},prefix=larder", location("--cache-from"));
    next.run(&mut next.entrypoint_with_keys(&["restore", "--store", &from])).ok();
    assert_same(&tree, &next.sandbox().work("tree"));
}

/// All options of the page at once: each is taken, and means what it says.
#[test]
fn every_option() {
    let Some(runner) = Runner::new() else { return };
    let options = options(&runner);
    assert_eq!(options.len(), 12, "{options:?}");
    let words: Vec<String> =
        options.iter().map(|(word, value)| format!("{word}={value}")).collect();
    let location = format!("type=s3,{}", words.join(","));
    let tree = runner.sandbox().work("tree");
    plant(&tree, 10, 1);
    // No variable says anything of the server.
    let command = |runner: &Runner, arguments: &[&str]| {
        let mut command = runner.entrypoint(arguments);
        command.env_remove("AWS_ENDPOINT_URL").env("LARDER_STORE", &location);
        command
    };
    runner
        .run(&mut command(&runner, &["save", "tree"]))
        .ok()
        .says("manifests_prefix in --store has no effect")
        .says("blobs_prefix in --store has no effect");
    for key in ["main", "release"] {
        let next = runner.another();
        let hit = next.run(&mut command(&next, &["--json", "restore", "--key", key])).ok().json();
        assert_eq!(hit["hit"], "exact");
        assert_same(&tree, &next.sandbox().work("tree"));
    }
    // One that does not exist is told with the nearest that does.
    let wrong = location.replace("use_path_style", "use_pathstyle");
    let mut command = runner.entrypoint(&["save", "--store", &wrong, "tree"]);
    runner.run(&mut command).exits(2).says("did you mean \"use_path_style\"?");
}
