//! What larder says when the store cannot be used: each cause in words of its
//! own, with a hint, and without secrets.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;

use crate::proxy::plan::{Fault, Rule};
use crate::sandbox::Run;
use crate::support::{Job, PREFIX, lines};

/// A wrong secret, which is one nevertheless.
const WRONG: &str = "wrongsecretwrongsecretwrongsecret0123456";

/// Runs a save and a restore that cannot work; both must say so in the same
/// words, with a hint, and both must be a warning where that is wanted.
#[track_caller]
fn refused(
    job: &Job,
    location: &str,
    prepare: impl Fn(&mut Command),
    code: i32,
    [error, hint]: [&str; 2],
) -> String {
    let run = |arguments: &[&str], more: &str| -> Run {
        let mut command = job.command(arguments);
        prepare(command.env("LARDER_STORE", format!("{location}{more}")));
        let run = job.run(&mut command);
        assert!(!format!("{run:?}").contains(WRONG), "a secret is printed: {run:?}");
        run
    };
    let save = ["-v", "save", "--key", "k", "tree"];
    let restore = ["-v", "restore", "--key", "k", "--fail-on-miss"];
    let mut told = String::new();
    for arguments in [&save[..], &restore] {
        let ended = run(arguments, "").exits(code);
        let line = |name: &str| {
            let line = ended.stderr.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("no {name:?} in {}", ended.stderr)).to_owned()
        };
        told = line("error[");
        assert!(told.contains(error), "{told}");
        let advice = line("hint: ");
        assert!(advice.contains(hint), "{advice}");
        let json = run(&[&["--json"], arguments].concat(), "").exits(code).json();
        assert_eq!(json["exit_code"], code);
        assert!(json["error"].as_str().unwrap().contains(error), "{json}");
        assert!(json["hint"].as_str().unwrap().contains(hint), "{json}");

        let warned = run(arguments, "&ignore-error=true").exits(0);
        assert!(warned.stderr.contains("warning"), "{}", warned.stderr);
        assert!(warned.stderr.contains(error), "{}", warned.stderr);
        assert!(!warned.stderr.starts_with("error"), "{}", warned.stderr);
        assert!(!warned.stderr.contains("\nerror["), "{}", warned.stderr);
    }
    told
}

fn nothing(_: &mut Command) {}

#[test]
fn no_bucket() {
    let Some(job) = Job::with_tree() else { return };
    let location = job.location().replace(&job.bucket.name, "nobody-made-this-one");
    let told =
        refused(&job, &location, nothing, 6, ["there is no such bucket", "create the bucket"]);
    // The one that the error is about, and no object in it.
    assert!(told.contains("s3://nobody-made-this-one"), "{told}");
}

#[test]
fn a_wrong_secret() {
    let Some(job) = Job::with_tree() else { return };
    if !job.bucket.server.is_strict() {
        return;
    }
    let wrong = |command: &mut Command| {
        command.env("AWS_SECRET_ACCESS_KEY", WRONG);
    };
    let told = refused(
        &job,
        &job.location(),
        wrong,
        8,
        ["the credentials are refused", "check the access key"],
    );
    assert!(told.contains("SignatureDoesNotMatch"), "{told}");
}

#[test]
fn an_unknown_access_key() {
    let Some(job) = Job::with_tree() else { return };
    if !job.bucket.server.is_strict() {
        return;
    }
    let unknown = |command: &mut Command| {
        command.env("AWS_ACCESS_KEY_ID", "AKIANOBODYKNOWSTHIS0");
    };
    let told = refused(
        &job,
        &job.location(),
        unknown,
        8,
        ["the credentials are refused", "check the access key"],
    );
    assert!(told.contains("InvalidAccessKeyId"), "{told}");
}

#[test]
fn no_credentials() {
    let Some(job) = Job::with_tree() else { return };
    let none = |command: &mut Command| {
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    };
    refused(&job, &job.location(), none, 8, ["no credentials were found", "AWS_PROFILE"]);
    let log = job.proxy.take_log();
    assert!(log.is_empty(), "nothing is sent unsigned: {}", lines(&log));
}

#[test]
fn credentials_that_expired() {
    let Some(job) = Job::with_tree() else { return };
    let message = "The provided token has expired.";
    job.proxy.plan([Rule::always(Fault::refusal(400, "ExpiredToken", message))]);
    refused(&job, &job.location(), nothing, 8, ["the credentials have expired", "aws sso login"]);
    one_attempt_each(&job);
}

#[test]
fn a_clock_that_is_wrong() {
    let Some(job) = Job::with_tree() else { return };
    let message = "The difference between the request time and the current time is too large.";
    job.proxy.plan([Rule::always(Fault::refusal(403, "RequestTimeTooSkewed", message))]);
    refused(&job, &job.location(), nothing, 5, ["the clocks differ", "clock"]);
    one_attempt_each(&job);
}

#[test]
fn a_bucket_in_another_region() {
    let Some(job) = Job::with_tree() else { return };
    let body = "<Error><Code>PermanentRedirect</Code><Message>Use another endpoint.</Message>\
                <Endpoint>bucket.s3.eu-west-3.amazonaws.com</Endpoint></Error>";
    let answer = crate::http::Answer::new(301, "application/xml", body)
        .with("x-amz-bucket-region", &"eu-west-3");
    job.proxy.plan([Rule::always(Fault::Answer(answer))]);
    refused(&job, &job.location(), nothing, 9, ["region eu-west-3", "region=eu-west-3"]);
    one_attempt_each(&job);

    let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region 'us-east-1' \
                is wrong; expecting 'eu-west-3'</Message><Region>eu-west-3</Region></Error>";
    let answer = crate::http::Answer::new(400, "application/xml", body);
    job.proxy.plan([Rule::always(Fault::Answer(answer))]);
    refused(&job, &job.location(), nothing, 9, ["region eu-west-3", "region=eu-west-3"]);
}

#[test]
fn an_endpoint_that_answers_with_a_web_page() {
    let Some(job) = Job::with_tree() else { return };
    // A login page, a console, a proxy that refuses.
    for (status, error) in [
        (200, "not that of an S3 service"),
        (403, "web page (HTTP 403)"),
        (404, "web page (HTTP 404)"),
    ] {
        job.proxy.plan([Rule::always(Fault::html(status))]);
        refused(&job, &job.location(), nothing, 10, [error, "check the endpoint_url"]);
    }
}

#[test]
fn a_port_where_nobody_listens() {
    let Some(job) = Job::with_tree() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let location = job.bucket.location(&url, PREFIX);
    refused(&job, &location, nothing, 5, ["the connection failed", "check the endpoint_url"]);
}

#[test]
fn a_name_that_leads_nowhere() {
    let Some(job) = Job::with_tree() else { return };
    let location = job.bucket.location("http://no-such-host.invalid", PREFIX);
    refused(&job, &location, nothing, 5, ["the connection failed", "check the endpoint_url"]);
}

#[test]
fn a_prefix_that_holds_something_else() {
    let Some(job) = Job::with_tree() else { return };
    job.bucket.put(&format!("{PREFIX}/site/index.html"), "<html>");
    let before = job.bucket.objects();
    let run = job.larder(["save", "--key", "k", "tree"]).exits(11);
    let name = &job.bucket.name;
    let run = run.says(&format!("s3://{name}/{PREFIX}")).says("is not a larder store");
    run.says("site/index.html").says("hint: choose an empty or new place");
    assert_eq!(job.bucket.objects(), before, "nothing was put there");
    // There is no cache in it either, which is no error.
    job.larder(["restore", "--key", "k"]).ok();
    job.larder(["lookup", "--key", "k"]).exits(3);
}

#[test]
fn a_format_that_is_not_ours() {
    let Some(job) = Job::with_tree() else { return };
    job.bucket.put(&format!("{PREFIX}/format"), "{\"format\": 99}");
    let before = job.bucket.objects();
    refused(&job, &job.location(), nothing, 11, ["format", ""]);
    assert_eq!(job.bucket.objects(), before, "nothing was put there");
}

#[test]
fn permissions_that_are_missing() {
    let Some(job) = Job::with_tree() else { return };
    if !job.bucket.server.is_strict() {
        return;
    }
    job.save("before");
    job.bucket.policy("Deny", &["s3:GetObject"]);
    refused(&job, &job.location(), nothing, 7, ["permission denied", "s3:GetObject"]);
    job.bucket.policy("Deny", &["s3:PutObject"]);
    let save = job.larder(["save", "--key", "k", "tree"]).exits(7).says("permission denied");
    save.says("s3:PutObject");
}

/// Each cause is told in words of its own: who reads the line knows which it is.
#[test]
fn causes_are_told_apart() {
    let Some(job) = Job::with_tree() else { return };
    let plans = [
        ("denied", Fault::refusal(403, "AccessDenied", "Access Denied.")),
        ("expired", Fault::refusal(400, "ExpiredToken", "The provided token has expired.")),
        ("clock", Fault::refusal(403, "RequestTimeTooSkewed", "Too large a difference.")),
        ("key", Fault::refusal(403, "InvalidAccessKeyId", "The key does not exist.")),
        ("bucket", Fault::refusal(404, "NoSuchBucket", "The bucket does not exist.")),
        ("page", Fault::html(200)),
        ("lacking", Fault::refusal(501, "NotImplemented", "This is not implemented.")),
        ("other", Fault::refusal(418, "Teapot", "Short and stout.")),
    ];
    let mut told = BTreeMap::new();
    for (name, fault) in plans {
        job.proxy.plan([Rule::always(fault)]);
        let run = job.larder(["restore", "--key", "k"]);
        assert!(run.code.is_some_and(|code| (5..=11).contains(&code)), "{run:?}");
        let error = run.stderr.lines().find(|line| line.starts_with("error[")).unwrap();
        // Without the names that S3 gives: our own words must do.
        let words = error.split(": ").nth(2).unwrap().to_owned();
        assert_eq!(told.insert(words, name), None, "{error}");
    }
}

#[test]
fn secrets_in_the_location_are_not_printed() {
    let Some(job) = Job::with_tree() else { return };
    let keys = &job.bucket.server.keys;
    let closed = job.bucket.location("http://127.0.0.1:9", PREFIX);
    let key = format!("&access_key_id={}", keys.access_key);
    let wrong = [
        // Refused by the server, or never sent.
        format!("{}{key}&secret_access_key={WRONG}&session_token={WRONG}", closed),
        // Words that are wrong, beside or around a secret.
        format!("{closed}&secret_access_key={WRONG}"),
        format!("{closed}{key}&secret_access_key={WRONG}&secret_access_key={WRONG}"),
        format!("{closed}{key}&secret_access_kye={WRONG}"),
        format!("{closed}{key}&secret_access_key={WRONG}&nonsense=1"),
        format!("{closed}{key}&secret_access_key={WRONG}&use_path_style=maybe"),
        format!("{closed}&sse_customer_key={WRONG}"),
        format!("type=s3,bucket=b,secret_access_key={WRONG}"),
        format!("type=s3,bucket=b,access_key_id=x,secret_access_key={WRONG},mode=medium"),
        format!("type=s3,bucket=b,\"secret_access_key={WRONG}"),
        format!("s3://AKIA:{WRONG}@bucket/prefix"),
        format!("s3://bucket?endpoint_url=http://user:{WRONG}@127.0.0.1:9"),
    ];
    for location in wrong {
        for verbosity in ["-v", "--json"] {
            let mut command = job.bare([verbosity, "save", "--key", "k", "tree"]);
            let run = job.run(command.env("LARDER_STORE", &location));
            assert!(matches!(run.code, Some(2 | 5 | 8)), "{location}: {run:?}");
            assert!(
                !format!("{run:?}").contains(WRONG),
                "{location}: a secret is printed: {run:?}"
            );
            assert!(run.stderr.contains("error["), "{run:?}");
        }
    }
}

/// What no second attempt can mend was tried once: two commands in JSON and not,
/// and with errors ignored, of which each asks for marker and manifest at once.
#[track_caller]
fn one_attempt_each(job: &Job) {
    let log = job.proxy.take_log();
    assert_eq!(log.len(), 12, "{}", lines(&log));
}
