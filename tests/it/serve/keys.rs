//! Servers with keys.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;

use super::wire::request;
use super::{BUCKET, Server, code, refused};
use crate::support::{Noise, Sandbox, chmod};

const KEYS: &str = r#"
    [[key]]
    access-key = "ci"
    secret-key = "the secret of ci"
    [[key]]
    access-key = "reader"
    secret-key = "the secret of readers"
    buckets = ["cache"]
    read-only = true
"#;

fn server() -> Server {
    let sandbox = Sandbox::new();
    let path = sandbox.path("keys.toml");
    std::fs::write(&path, KEYS).unwrap();
    chmod(&path, 0o600);
    Server::on(sandbox, &["--keys", path.to_str().unwrap()])
}

#[test]
fn only_who_has_a_key_is_served() {
    let server = server();
    let ci = server.client_with("ci", "the secret of ci");
    let bytes = Noise(8).bytes(300_000);
    let put = ci.put_object().bucket(BUCKET).key("a b:c").body(bytes.clone().into());
    server.wait(put.send()).unwrap();
    // What is streamed is signed, or its checksum is, as it goes.
    let path = server.sandbox.path("body");
    std::fs::write(&path, &bytes).unwrap();
    let body = server.wait(ByteStream::from_path(&path)).unwrap();
    let put = ci.put_object().bucket(BUCKET).key("streamed").body(body);
    server.wait(put.send()).unwrap();
    let found = server.wait(ci.get_object().bucket(BUCKET).key("streamed").send()).unwrap();
    assert!(server.wait(found.body.collect()).unwrap().to_vec() == bytes);

    let forger = server.client_with("ci", "another secret");
    let error = server.wait(forger.get_object().bucket(BUCKET).key("a b:c").send()).unwrap_err();
    assert_eq!(code(&error), (403, "SignatureDoesNotMatch"));
    let stranger = server.client_with("nobody", "the secret of ci");
    let error = server.wait(stranger.list_buckets().send()).unwrap_err();
    assert_eq!(code(&error), (403, "InvalidAccessKeyId"));
    server.ask_for("GET /cache/a%20b:c", &[]).is(403, "AccessDenied");
    let old = ["authorization: AWS ci:c2lnbmF0dXJl", "date: Thu, 01 Jan 2026 00:00:00 GMT"];
    server.ask_for("GET /cache/a%20b:c", &old).is(501, "AWS4-HMAC-SHA256");
    // Its own pages tell nothing of what is stored.
    server.ask_for("GET /healthz", &[]).is(200, "ok");
    assert!(!server.log().contains("the secret"), "{}", server.log());
}

#[test]
fn keys_have_their_buckets_and_may_be_for_reading() {
    let server = server();
    let ci = server.client_with("ci", "the secret of ci");
    let reader = server.client_with("reader", "the secret of readers");
    for bucket in [BUCKET, "other"] {
        let put = ci.put_object().bucket(bucket).key("k").body(ByteStream::from_static(b"x"));
        server.wait(put.send()).unwrap();
    }
    server.wait(reader.get_object().bucket(BUCKET).key("k").send()).unwrap();
    let error = server.wait(reader.get_object().bucket("other").key("k").send()).unwrap_err();
    assert_eq!(code(&error), (403, "AccessDenied"));
    let error = server.wait(reader.delete_object().bucket(BUCKET).key("k").send()).unwrap_err();
    assert_eq!(code(&error), (403, "AccessDenied"));
    let listed = server.wait(reader.list_buckets().send()).unwrap();
    assert_eq!(listed.buckets().len(), 1);
    let listed = server.wait(ci.list_buckets().send()).unwrap();
    assert_eq!(listed.buckets().len(), 2);
}

#[test]
fn signed_urls_are_checked() {
    let server = server();
    let ci = server.client_with("ci", "the secret of ci");
    let put = ci.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(b"shared"));
    server.wait(put.send()).unwrap();
    let hour = PresigningConfig::expires_in(Duration::from_secs(3600)).unwrap();
    let signed = ci.get_object().bucket(BUCKET).key("k").presigned(hour.clone());
    let signed = server.wait(signed).unwrap();
    let target = signed.uri().strip_prefix(server.url()).unwrap();
    let host = server.url().strip_prefix("http://").unwrap();
    let get = |target: &str| {
        let bytes = request(&format!("GET {target}"), &[], b"");
        let text =
            String::from_utf8(bytes).unwrap().replace("host: localhost", &format!("host: {host}"));
        server.ask(text.as_bytes())
    };
    get(target).is(200, "shared");
    get(&target.replace("/k?", "/other?")).is(403, "SignatureDoesNotMatch");
    // The log has no signature that others could use.
    assert!(!server.log().contains("X-Amz-Signature"), "{}", server.log());

    // Without keys, whatever is signed is taken.
    let server = Server::on(server.stop(), &[]);
    server.ask_for(&format!("GET {target}"), &[]).is(200, "shared");
}

#[test]
fn without_keys_only_this_machine_is_served() {
    let sandbox = Sandbox::new();
    let run = refused(&sandbox, &["--listen", "0.0.0.0:0"]).exits(2).says("error[L0119]");
    assert!(run.stdout.is_empty());
    refused(&sandbox, &["--listen", "127.0.0.1:0", "--admin", "[::]:0"]).exits(2).says("L0119");
    refused(&sandbox, &["--keys", "none.toml"]).exits(2).says("L0120");
    std::fs::write(sandbox.work("keys.toml"), "[[key]]\naccess-key = \"a\"\n").unwrap();
    let run = refused(&sandbox, &["--keys", "keys.toml"]).exits(2).says("L0120");
    assert!(run.stderr.contains("chmod 600"), "{}", run.stderr);
    let mut half = sandbox.command(["serve"]);
    half.env("LARDER_SERVE_ACCESS_KEY", "ci");
    crate::support::run(&mut half).exits(2).says("LARDER_SERVE_SECRET_KEY is not");
    assert!(!sandbox.store().exists());
}
