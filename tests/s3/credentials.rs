//! Every way in which people give credentials, with the services behind them
//! faked on loopback: what is asked of them, and that the requests to S3 are
//! signed with what they gave.

use std::process::Command;
use std::time::Duration;

use crate::fakes::{CONTAINER_TOKEN, Fakes, GITHUB_BEARER, IDENTITY, SESSION};
use crate::proxy::Entry;
use crate::sandbox::{Run, write};
use crate::support::{Job, lines};

const ROLE: &str = "arn:aws:iam::123456789012:role/ci-cache";
const HOUR: Duration = Duration::from_secs(3600);

/// A job, and services that give out what the server takes for so long.
fn job(lifetime: Duration) -> Option<(Job, Fakes)> {
    let job = Job::new()?;
    write(job.tree().join("a"), "some bytes");
    let fakes = Fakes::new(&job.bucket.server.keys, lifetime);
    Some((job, fakes))
}

/// Saves with the words in the location and the variables given, and no other
/// credentials.
#[track_caller]
fn save(job: &Job, words: &str, variables: &[(&str, &str)]) -> Run {
    job.run(&mut with(job, words, variables, &["save", "--key", "k", "tree"]))
}

fn with(job: &Job, words: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = job.bare(arguments);
    command.env("LARDER_STORE", job.location() + words).envs(variables.iter().copied());
    command
}

/// Fails unless something was sent, and everything with this session token.
#[track_caller]
fn assert_signed(log: &[Entry], session: Option<&str>) {
    assert!(!log.is_empty());
    for entry in log {
        let token = entry.request.header("x-amz-security-token");
        assert_eq!(token, session, "{}", lines(log));
        assert!(entry.request.header("authorization").is_some(), "{}", lines(log));
    }
}

#[test]
fn from_the_location_before_the_environment() {
    let Some((job, _)) = job(HOUR) else { return };
    let keys = &job.bucket.server.keys;
    let words = format!("&access_key_id={}&secret_access_key={}", keys.access_key, keys.secret_key);
    let others = [("AWS_ACCESS_KEY_ID", "nobody"), ("AWS_SECRET_ACCESS_KEY", "nothing")];
    save(&job, &words, &others).ok();
    assert_signed(&job.proxy.take_log(), None);
}

#[test]
fn from_the_environment_with_a_session_token() {
    let Some((job, _)) = job(HOUR) else { return };
    let keys = &job.bucket.server.keys;
    let variables = [
        ("AWS_ACCESS_KEY_ID", &*keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
        ("AWS_SESSION_TOKEN", SESSION),
    ];
    save(&job, "", &variables).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
}

/// The shared files of the home directory, with a profile that has keys and one
/// that takes on a role with them.
fn profiles(job: &Job) {
    let keys = &job.bucket.server.keys;
    let (access_key, secret_key) = (&keys.access_key, &keys.secret_key);
    let home = job.sandbox.path("home/.aws");
    let credentials =
        format!("[ci]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n");
    write(home.join("credentials"), credentials);
    let config = format!(
        "[profile deploy]\nrole_arn = {ROLE}\nsource_profile = ci\nrole_session_name = deploys\n"
    );
    write(home.join("config"), config);
}

#[test]
fn from_a_profile_with_keys() {
    let Some((job, _)) = job(HOUR) else { return };
    profiles(&job);
    save(&job, "", &[("AWS_PROFILE", "ci")]).ok();
    save(&job, "&profile=ci", &[]).ok();
    assert_signed(&job.proxy.take_log(), None);
    save(&job, "", &[]).exits(8).says("no credentials were found");
    save(&job, "&profile=nobody", &[]).exits(8);
}

#[test]
fn from_a_profile_that_takes_on_a_role() {
    let Some((job, fakes)) = job(HOUR) else { return };
    profiles(&job);
    let (name, url) = fakes.sts_variable();
    save(&job, "&profile=deploy", &[(name, &url)]).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
    let calls = fakes.sts("AssumeRole");
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!((calls[0].field("RoleArn"), calls[0].field("RoleSessionName")), (ROLE, "deploys"));
}

#[test]
fn by_taking_on_a_role_from_the_location() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let keys = &job.bucket.server.keys;
    let (name, url) = fakes.sts_variable();
    let variables = [
        ("AWS_ACCESS_KEY_ID", &*keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
        (name, &url),
    ];
    let words = format!("&role_arn={ROLE}&external_id=tenant-7&role_session_name=nightly");
    save(&job, &words, &variables).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
    let calls = fakes.sts("AssumeRole");
    assert_eq!(calls.len(), 1, "good for an hour: asked for once: {calls:?}");
    let fields = ["RoleArn", "ExternalId", "RoleSessionName"].map(|name| calls[0].field(name));
    assert_eq!(fields, [ROLE, "tenant-7", "nightly"]);
}

#[test]
fn a_role_is_taken_on_for_as_long_as_the_location_says() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let keys = &job.bucket.server.keys;
    let (name, url) = fakes.sts_variable();
    let with_keys = [
        ("AWS_ACCESS_KEY_ID", &*keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
        (name, &url),
    ];
    let words = format!("&role_arn={ROLE}&role_session_duration=20m");
    save(&job, &words, &with_keys).ok();
    assert_eq!(fakes.sts("AssumeRole")[0].field("DurationSeconds"), "1200");
    save(&job, &words, &borrowed(&github(&fakes))).ok();
    let calls = fakes.sts("AssumeRoleWithWebIdentity");
    assert_eq!(calls[0].field("DurationSeconds"), "1200");
    let run = save(&job, &format!("&role_arn={ROLE}&role_session_duration=5m"), &with_keys);
    run.exits(2).says("from 15m to 12h");
}

#[test]
fn a_role_is_taken_on_again_before_its_credentials_expire() {
    let Some((job, fakes)) = job(Duration::from_secs(5)) else { return };
    let keys = &job.bucket.server.keys;
    let (name, url) = fakes.sts_variable();
    let variables = [
        ("AWS_ACCESS_KEY_ID", &*keys.access_key),
        ("AWS_SECRET_ACCESS_KEY", &keys.secret_key),
        (name, &url),
    ];
    save(&job, &format!("&role_arn={ROLE}"), &variables).ok();
    let requests = job.proxy.take_log();
    assert_signed(&requests, Some(SESSION));
    // Five seconds are too few to begin a request with.
    let calls = fakes.sts("AssumeRole");
    assert!(calls.len() > 1, "{} calls for {} requests", calls.len(), requests.len());
}

#[test]
fn a_role_that_is_refused() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let (name, url) = fakes.sts_variable();
    let variables =
        [("AWS_ACCESS_KEY_ID", "AKIANOBODY"), ("AWS_SECRET_ACCESS_KEY", "nothing"), (name, &url)];
    let run = save(&job, &format!("&role_arn={ROLE}"), &variables).exits(8);
    run.says("AccessDenied").says("hint: ");
    assert!(job.proxy.take_log().is_empty(), "nothing is sent unsigned");
}

#[test]
fn from_a_web_identity_token_in_a_file() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let token = job.sandbox.path("token");
    write(&token, IDENTITY);
    let (name, url) = fakes.sts_variable();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_ROLE_SESSION_NAME", "pod"),
        (name, &url),
    ];
    save(&job, "", &variables).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
    let calls = fakes.sts("AssumeRoleWithWebIdentity");
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!((calls[0].field("RoleArn"), calls[0].field("RoleSessionName")), (ROLE, "pod"));
    assert!(calls[0].request.header("authorization").is_none(), "there is nothing to sign with");

    write(&token, "somebody-elses-token");
    let run = save(&job, "", &variables).exits(8);
    assert!(!run.stderr.contains("somebody-elses-token"), "{}", run.stderr);
}

/// The variables that a job of GitHub Actions has if it may ask for a token.
fn github(fakes: &Fakes) -> [(&'static str, String); 3] {
    [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", fakes.url("/github?api-version=2.0")),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", GITHUB_BEARER.to_owned()),
        fakes.sts_variable(),
    ]
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, &**value)).collect()
}

#[test]
fn from_the_identity_of_a_github_job() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let variables = github(&fakes);
    save(&job, &format!("&role_arn={ROLE}"), &borrowed(&variables)).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
    assert_eq!(fakes.calls("/github").len(), 1);
    let calls = fakes.sts("AssumeRoleWithWebIdentity");
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert_eq!((calls[0].field("RoleArn"), calls[0].field("WebIdentityToken")), (ROLE, IDENTITY));
}

#[test]
fn a_github_job_asks_again_before_its_credentials_expire() {
    let Some((job, fakes)) = job(Duration::from_secs(5)) else { return };
    let variables = github(&fakes);
    save(&job, &format!("&role_arn={ROLE}"), &borrowed(&variables)).ok();
    let calls = fakes.sts("AssumeRoleWithWebIdentity").len();
    assert!(calls > 1, "{calls}");
    assert_eq!(fakes.calls("/github").len(), calls, "identities do not last either");
}

#[test]
fn a_github_job_whose_token_is_refused() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let mut variables = github(&fakes);
    variables[1].1 = "not-this-jobs-request-token".to_owned();
    let run = save(&job, &format!("&role_arn={ROLE}"), &borrowed(&variables)).exits(8);
    assert!(!run.stderr.contains("not-this-jobs-request-token"), "{}", run.stderr);
    run.says("GitHub").says("401").says("hint: ");
}

#[test]
fn from_a_container() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let url = fakes.url("/container");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*url),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
    ];
    save(&job, "", &variables).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
    assert_eq!(fakes.calls("/container").len(), 1);
}

#[test]
fn from_an_instance() {
    let Some((job, fakes)) = job(HOUR) else { return };
    let url = fakes.url("");
    let variables =
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*url), ("AWS_EC2_METADATA_DISABLED", "false")];
    save(&job, "", &variables).ok();
    assert_signed(&job.proxy.take_log(), Some(SESSION));
    let keys = fakes.calls("/latest/meta-data/iam/security-credentials/instance-role");
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(keys[0].status, 200, "with the token that was asked for before");
}

#[test]
fn none_for_a_public_bucket() {
    let Some((job, _)) = job(HOUR) else { return };
    if !job.bucket.server.is_strict() {
        return;
    }
    job.larder(["save", "--key", "k", "tree"]).ok();
    job.bucket.policy("Allow", &["s3:GetObject", "s3:ListBucket"]);
    let out = job.sandbox.path("out");
    let restore = ["restore", "--key", "k", "--fail-on-miss", "--to", out.to_str().unwrap()];
    job.proxy.take_log();
    job.run(&mut with(&job, "&anonymous=true", &[], &restore)).ok();
    assert_eq!(std::fs::read(out.join("tree/a")).unwrap(), b"some bytes");
    let log = job.proxy.take_log();
    assert!(log.iter().all(|entry| entry.request.header("authorization").is_none()));

    write(job.tree().join("b"), "more");
    save(&job, "&anonymous=true", &[]).exits(7).says("permission denied");
}
