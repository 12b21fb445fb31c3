//! What web pages cannot do to a server without keys, and its own pages.

use super::Server;
use super::wire::request;

#[test]
fn pages_of_others_are_refused() {
    let server = Server::start();
    server.put("k", b"private");
    server.ask_for("GET /cache/k", &[]).is(200, "private");
    server.ask_for("GET /cache/k", &["origin: http://example.com"]).is(403, "AccessDenied");
    let rebound = request("GET /cache/k", &[], b"");
    let rebound = String::from_utf8(rebound).unwrap().replace("localhost", "example.com:9440");
    server.ask(rebound.as_bytes()).is(403, "AccessDenied");
    let form = ["content-type: multipart/form-data; boundary=x", "content-length: 0"];
    server.ask_for("POST /cache", &form).is(501, "NotImplemented");
    let put = request("PUT /cache/k", &["origin: null", "content-length: 1"], b"x");
    server.ask(&put).is(403, "AccessDenied");
    assert_eq!(server.get("k").unwrap(), b"private");
}

#[test]
fn the_own_pages_tell_how_it_is() {
    let server = Server::start();
    server.ask_for("GET /healthz", &[]).is(200, "ok");
    server.put("k", &[7; 1000]);
    server.put("again", &[7; 1000]);
    let page = server.ask_for("GET /metrics", &[]).text();
    for line in [
        "larder_requests_total{operation=\"PutObject\",status=\"2xx\"} 2",
        "larder_chunk_bytes_total{state=\"new\"} 1000",
        "larder_chunk_bytes_total{state=\"reused\"} 1000",
        "larder_received_bytes_total 2",
        "larder_request_duration_seconds_count{operation=\"PutObject\"} 2",
        "larder_store_requests_total{kind=\"put\"}",
        "larder_requests_in_flight 1",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    // Buckets may have these names, too.
    let put = ["content-length: 1"];
    server.ask(&request("PUT /healthz/k", &put, b"x")).is(200, "");
    server.ask_for("GET /healthz/k", &[]).is(200, "x");
    server
        .ask_for("GET /healthz?list-type=2", &["authorization: AWS4-HMAC-SHA256"])
        .is(200, "<Key>k");
    // The store is gone.
    std::fs::rename(server.sandbox.store(), server.sandbox.path("elsewhere")).unwrap();
    let is_ill = || server.ask_for("GET /healthz", &[]).status == 503;
    // What is known of it counts for a second.
    let found = (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        is_ill()
    });
    assert!(found, "the store is gone, and nobody notices");
    std::fs::rename(server.sandbox.path("elsewhere"), server.sandbox.store()).unwrap();
}

#[test]
fn the_own_pages_can_be_elsewhere() {
    let sandbox = crate::support::Sandbox::new();
    let socket = sandbox.path("admin");
    let server = Server::on(sandbox, &["--admin", &format!("unix:{}", socket.display())]);
    let health = request("GET /healthz", &[], b"");
    super::wire::ask_at(&socket, &health).is(200, "ok");
    super::wire::ask_at(&socket, &request("GET /cache", &[], b"")).is(404, "");
    // A bucket that nobody has put anything into.
    server.ask(&health).is(200, "<ListBucketResult");
}
