//! What stands between larder and the server on purpose: TLS with certificates
//! of one's own, proxies that the environment names.

use crate::sandbox::assert_same;
use crate::support::{Job, PREFIX};

#[test]
fn tls_with_a_certificate_of_ones_own() {
    let Some(job) = Job::with_tree() else { return };
    let Some((url, ca)) = job.bucket.server.tls() else { return };
    let location = job.bucket.location(&url, PREFIX);
    let save = |location: &str| {
        let mut command = job.command(["save", "--key", "k", "tree"]);
        command.env("LARDER_STORE", location);
        command
    };
    // Not known to the system: nothing is sent.
    let run = job.run(&mut save(&location)).exits(5);
    run.says("certificate").says("ca_file");
    assert!(job.bucket.objects().is_empty());

    job.run(&mut save(&format!("{location}&ca_file={ca}"))).ok();
    job.run(save(&location).env("AWS_CA_BUNDLE", &ca)).ok();
    job.run(save(&location).env("SSL_CERT_FILE", &ca)).ok();
    job.assert_restorable("k");

    let run = job.run(&mut save(&format!("{location}&ca_file=/no/such/file")));
    run.exits(5).says("/no/such/file");
}

#[test]
fn proxies_that_the_environment_names() {
    let Some(job) = Job::with_tree() else { return };
    let location = job.bucket.location(&job.bucket.server.endpoint, PREFIX);
    let mut save = job.command(["save", "--key", "k", "tree"]);
    save.env("LARDER_STORE", &location).env("HTTP_PROXY", job.proxy.url());
    job.run(&mut save).ok();
    let log = job.proxy.take_log();
    assert!(!log.is_empty() && log.iter().all(|entry| entry.status.is_some()));

    let out = job.sandbox.path("out");
    let mut restore = job.command(["restore", "--key", "k", "--to", out.to_str().unwrap()]);
    restore.env("LARDER_STORE", &location).env("HTTP_PROXY", job.proxy.url());
    job.run(restore.env("NO_PROXY", "127.0.0.1")).ok();
    assert!(job.proxy.take_log().is_empty());
    assert_same(&job.tree(), &out.join("tree"));
}
