//! The caches beside S3, asked byte by byte.

use sha2::{Digest as _, Sha256};

use super::Server;
use super::wire::{Reply, request};
use crate::support::{Noise, Sandbox, chmod};

pub(super) const BOTH: &[&str] = &["--http-cache", "--turborepo"];

const KEYS: &str = r#"
    [[key]]
    access-key = "ci"
    secret-key = "the-secret-of-ci"
    [[key]]
    access-key = "reader"
    secret-key = "the secret of readers"
    buckets = ["bazel", "team_xY"]
    read-only = true
"#;

/// A server that asks for keys; those of `ci` may do everything.
pub(super) fn with_keys() -> Server {
    let sandbox = Sandbox::new();
    let path = sandbox.path("keys.toml");
    std::fs::write(&path, KEYS).unwrap();
    chmod(&path, 0o600);
    Server::on(sandbox, &[BOTH, &["--keys", path.to_str().unwrap()]].concat())
}

fn send(server: &Server, first: &str, headers: &[&str], body: &[u8]) -> Reply {
    let len = format!("content-length: {}", body.len());
    server.ask(&request(first, &[&[len.as_str()], headers].concat(), body))
}

/// The value of a header, in lower case.
fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut lines = reply.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_put_by_path_is_found_by_path() {
    let server = Server::with(&[BOTH, &["--max-body", "4MiB"]].concat());
    let body = Noise(11).bytes(3 << 20);
    let at = "/-/cache/bazel/ac/a%20b";
    let get = format!("GET {at}");
    server.ask_for(&get, &[]).is(404, "there is no such object\n");
    let put = send(&server, &format!("PUT {at}"), &["content-type: text/x"], &body);
    put.is(200, "");
    let found = server.ask_for(&get, &[]);
    assert!(found.status == 200 && found.body == body, "{}", found.head);
    assert_eq!(header(&found, "content-type"), Some("text/x"));
    assert_eq!(header(&found, "content-length"), Some("3145728"));
    let etag = header(&found, "etag").unwrap();
    assert_eq!(header(&put, "etag"), Some(etag));
    let head = server.ask_for(&format!("HEAD {at}"), &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(header(&head, "content-length"), Some("3145728"));
    let known = server.ask_for(&get, &[&format!("if-none-match: {etag}")]);
    assert_eq!((known.status, known.body.len()), (304, 0));

    // Other names are other caches, and buckets are others still.
    server.ask_for("GET /-/cache/gradle/ac/a%20b", &[]).is(404, "");
    server.ask_for("GET /bazel/ac/a%20b", &[]).is(404, "NoSuchKey");
    // Conditions hold or are refused, but never ignored.
    send(&server, &format!("PUT {at}"), &["if-none-match: *"], b"x").is(412, "");
    send(&server, &format!("PUT {at}"), &["if-match: \"x\""], b"x").is(501, "If-None-Match");
    let framed = ["transfer-encoding: chunked"];
    server.ask(&request("PUT /-/cache/bazel/k", &framed, b"3\r\nabc\r\n0\r\n\r\n")).is(200, "");
    server.ask_for("GET /-/cache/bazel/k", &[]).is(200, "abc");

    let long = Noise(12).bytes((4 << 20) + 1);
    send(&server, &format!("PUT {at}"), &[], &long).is(413, "4194304 bytes");
    let post = send(&server, &format!("POST {at}"), &[], b"x");
    post.is(405, "GET, HEAD, PUT, DELETE");
    assert_eq!(header(&post, "allow"), Some("get, head, put, delete"));
    send(&server, "PUT /-/cache/bazel/", &[], b"x").is(400, "it is empty");
    send(&server, "PUT /-/cache/No/k", &[], b"x").is(400, "invalid bucket name");
    server.ask_for("GET /-/", &[]).is(404, "no such page");
    server.ask_for(&get, &["origin: http://example.com"]).is(403, "Origin header\n");
    assert!(server.ask_for(&get, &[]).body == body);

    for _ in 0..2 {
        server.ask_for(&format!("DELETE {at}"), &[]).is(204, "");
        server.ask_for(&get, &[]).is(404, "");
    }
    let page = server.ask_for("GET /metrics", &[]).text();
    assert!(page.contains("{operation=\"CachePut\",status=\"2xx\"} 2"), "{page}");
    // To other commands it is a scope.
    let sandbox = server.stop();
    let listed = sandbox.larder(["--scope", "http:bazel", "list"]).ok();
    assert!(listed.stdout.contains('k') && !listed.stdout.contains("ac/"), "{}", listed.stdout);
}

#[test]
fn content_is_stored_under_its_hash_or_not_at_all() {
    let server = Server::with(&["--http-cache"]);
    let body = Noise(13).bytes(100_000);
    let right = format!("/-/cache/bazel/cas/{}", sha256(&body));
    let wrong = format!("/-/cache/bazel/cas/{}", sha256(b"other"));
    let empty = format!("/-/cache/bazel/cas/{}", sha256(b""));
    send(&server, &format!("PUT {wrong}"), &[], &body).is(400, "SHA-256");
    server.ask_for(&format!("GET {wrong}"), &[]).is(404, "");
    send(&server, &format!("PUT {right}"), &[], &body).is(200, "");
    assert!(server.ask_for(&format!("GET {right}"), &[]).body == body);
    send(&server, &format!("PUT {empty}"), &[], b"").is(200, "");
    let found = server.ask_for(&format!("GET {empty}"), &[]);
    assert_eq!((found.status, found.body.len()), (200, 0));
    // Who leaves early has stored nothing.
    let len = format!("content-length: {}", body.len() + 1);
    let half = request("PUT /-/cache/bazel/half", &[&len], &body);
    drop(std::io::Write::write_all(&mut server.connect(), &half));
    server.ask_for("GET /-/cache/bazel/half", &[]).is(404, "");
    // What was not asked for is not there.
    send(&server, "PUT /-/turbo/v8/artifacts/0a", &[], b"x").is(404, "without --turborepo");
}

#[test]
fn caches_ask_for_keys() {
    let server = with_keys();
    let body = Noise(14).bytes(3 << 20);
    // Basic: ci, and its secret.
    let ci = "authorization: Basic Y2k6dGhlLXNlY3JldC1vZi1jaQ==";
    let reader = "authorization: Bearer the secret of readers";
    let at = "/-/cache/bazel/k";
    // However much there is to send, the answer is read.
    let refused = send(&server, &format!("PUT {at}"), &[], &body);
    refused.is(401, "a key is needed");
    assert_eq!(header(&refused, "www-authenticate"), Some("basic realm=\"larder\""));
    send(&server, &format!("PUT {at}"), &["authorization: Bearer no"], b"x").is(401, "");
    let signed = "authorization: AWS4-HMAC-SHA256 Credential=ci";
    send(&server, &format!("PUT {at}"), &[signed], b"x").is(401, "");
    send(&server, &format!("PUT {at}"), &[reader], b"x").is(403, "only for reading");
    send(&server, &format!("PUT {at}"), &[ci], &body).is(200, "");
    assert!(server.ask_for(&format!("GET {at}"), &[reader]).body == body);
    server.ask_for("GET /-/cache/gradle/k", &[reader]).is(403, "not for gradle");
    server.ask_for(&format!("DELETE {at}"), &[reader]).is(403, "");
    server.ask_for(&format!("GET {at}"), &[]).is(401, "");

    let artifact = "/-/turbo/v8/artifacts/0a?teamId=team_xY";
    let pair = "authorization: Bearer ci:the-secret-of-ci";
    let refused = server.ask_for(&format!("GET {artifact}"), &[]);
    refused.is(401, "{\"error\":{\"code\":\"unauthorized\"");
    assert_eq!(header(&refused, "www-authenticate"), Some("bearer realm=\"larder\""));
    send(&server, &format!("PUT {artifact}"), &[pair], b"x").is(202, "urls");
    send(&server, &format!("PUT {artifact}"), &[reader], b"x").is(403, "\"forbidden\"");
    server.ask_for(&format!("GET {artifact}"), &[reader]).is(200, "x");
    server.ask_for("GET /-/turbo/v8/artifacts/0a?slug=other", &[reader]).is(403, "");
    assert!(!server.log().contains("the-secret"), "{}", server.log());
}

#[test]
fn turborepo_keeps_artifacts_by_team() {
    let server = Server::with(&["--turborepo"]);
    let at = "/-/turbo/v8/artifacts/0a1b?slug=my-team";
    let status = "GET /-/turbo/v8/artifacts/status?slug=my-team";
    server.ask_for(status, &[]).is(200, "{\"status\":\"enabled\"}");
    server.ask_for(&format!("GET {at}"), &[]).is(404, "\"not_found\"");
    let headers = ["x-artifact-duration: 1200", "x-artifact-tag: c2ln", "x-artifact-client-ci: X"];
    let put = send(&server, &format!("PUT {at}"), &headers, b"artifact");
    put.is(202, "{\"urls\":[\"/-/turbo/v8/artifacts/0a1b\"]}");
    for method in ["GET", "HEAD"] {
        let found = server.ask_for(&format!("{method} {at}"), &[]);
        assert_eq!(found.status, 200);
        assert_eq!(header(&found, "content-length"), Some("8"));
        assert_eq!(header(&found, "x-artifact-duration"), Some("1200"));
        assert_eq!(header(&found, "x-artifact-tag"), Some("c2ln"));
        assert_eq!(header(&found, "x-artifact-client-ci"), None);
        assert_eq!(found.text(), if method == "GET" { "artifact" } else { "" });
    }
    server.ask_for("GET /-/turbo/v8/artifacts/0a1b", &[]).is(404, "");
    let query =
        |body: &str| send(&server, "POST /-/turbo/v8/artifacts?slug=my-team", &[], body.as_bytes());
    query(r#"{"hashes":["0a1b","ffff"]}"#)
        .is(200, r#"{"0a1b":{"size":8,"tag":"c2ln","taskDurationMs":1200},"ffff":null}"#);
    query("[]").is(400, "hashes");
    let events = "POST /-/turbo/v8/artifacts/events?slug=my-team";
    send(&server, events, &[], b"[{\"event\":\"HIT\"}]").is(200, "");
    let preflight = server.ask_for(&format!("OPTIONS {at}"), &[]);
    assert_eq!(preflight.status, 204);
    let allowed = header(&preflight, "access-control-allow-headers").unwrap();
    assert!(allowed.starts_with("authorization, "), "{allowed}");
    send(&server, &format!("DELETE {at}"), &[], b"").is(405, "");
    server.ask_for("GET /-/cache/my-team/0a1b", &[]).is(404, "without --http-cache");
    let listed = server.stop().larder(["--scope", "turbo:my-team", "list"]).ok();
    assert!(listed.stdout.contains("0a1b"), "{}", listed.stdout);
}
