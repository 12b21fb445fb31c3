//! Bodies that do not come whole, limits, and the end.

use std::io::{Read as _, Write as _};

use rustix::process::Signal;

use super::wire::{ask_at, reply, request};
use super::{Server, refused};
use crate::support::{Noise, Sandbox, wait};

#[test]
fn what_does_not_come_whole_is_not_there() {
    let server = Server::with(&["--body-timeout", "100ms"]);
    let body = Noise(4).bytes(3 << 20);
    let len = format!("content-length: {}", body.len() + 1);
    // The client leaves.
    drop(server.connect().write_all(&request("PUT /cache/left", &[&len], &body)));
    // It has nothing more to say, but stays.
    let mut stays = server.connect();
    stays.write_all(&request("PUT /cache/stays", &[&len], &body)).unwrap();
    reply(stays).is(408, "RequestTimeout");
    let wrong = ["content-length: 3", "x-amz-checksum-crc32: AAAAAA=="];
    server.ask(&request("PUT /cache/wrong", &wrong, b"abc")).is(400, "BadDigest");
    let framed = [
        "x-amz-content-sha256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer: x-amz-checksum-crc32",
        "x-amz-decoded-content-length: 3",
        "transfer-encoding: chunked",
    ];
    let framed = |text: &str| {
        let body = format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len());
        server.ask(&request("PUT /cache/framed", &framed, body.as_bytes()))
    };
    framed("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n").is(400, "BadDigest");
    framed("3\r\nabc\r\n").is(400, "InvalidRequest");
    framed("2\r\nab\r\n0\r\n\r\n").is(400, "IncompleteBody");
    for key in ["left", "stays", "wrong", "framed"] {
        assert_eq!(server.get(key), None, "{key}");
    }
    framed("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n").is(200, "");
    assert_eq!(server.get("framed").unwrap(), b"abc");
}

/// aws-cli puts an empty file and asks whether to go on. It was answered at once, for there
/// was nothing to go on with, and took the next answer on the connection for a part of it:
/// both waited for a minute.
#[test]
fn an_expectation_that_nothing_came_of_ends_the_connection() {
    let server = Server::with(&["--bucket", "cache"]);
    for (request, status) in [("PUT /cache/empty", 200), ("PUT /never/there", 404)] {
        let mut stream = server.connect();
        let head = "host: localhost\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(format!("{request} HTTP/1.1\r\n{head}").as_bytes()).unwrap();
        // It is read to its end, which there would be none of.
        let reply = reply(stream);
        assert_eq!(reply.status, status);
        assert!(reply.head.contains("connection: close"), "{}", reply.head);
    }
}

#[test]
fn there_are_limits() {
    let arguments = [
        "--max-body",
        "10B",
        "--max-header",
        "8KiB",
        "--max-headers",
        "20",
        "--max-connections",
        "1",
    ];
    let server = Server::with(&[&arguments[..], &["--header-timeout", "200ms"]].concat());
    let put = |len: usize| {
        let header = format!("content-length: {len}");
        server.ask(&request("PUT /cache/k", &[&header], &vec![0; len]))
    };
    put(10).is(200, "");
    put(11).is(400, "EntityTooLarge");
    let chunked = ["transfer-encoding: chunked"];
    let body = b"b\r\n12345678901\r\n0\r\n\r\n";
    server.ask(&request("PUT /cache/k", &chunked, body)).is(400, "EntityTooLarge");
    let long = format!("x-long: {}", "x".repeat(9 << 10));
    assert_eq!(server.ask_for("GET /cache/k", &[&long]).status, 431);
    assert_eq!(server.ask_for("GET /cache/k", &["x-a: 1"; 30]).status, 431);
    // One who says nothing is in the way of others, and not for long.
    let mut silent = server.connect();
    assert_eq!(server.ask_for("GET /cache/k", &[]).body, [0; 10]);
    assert_eq!(silent.read(&mut [0; 10]).unwrap_or(0), 0);
}

#[test]
fn a_request_may_have_an_end() {
    let server = Server::with(&["--request-timeout", "100ms"]);
    let mut stays = server.connect();
    stays.write_all(&request("PUT /cache/k", &["content-length: 9"], b"begin")).unwrap();
    reply(stays).is(400, "RequestTimeout");
    assert_eq!(server.get("k"), None);
}

#[test]
fn sockets_have_files_that_go_with_the_server() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path("s");
    let name = format!("unix:{}", socket.display());
    let server = Server::on(sandbox, &["--listen", &name]);
    assert_eq!(server.listening[1], name);
    let put = request("PUT /cache/k", &["content-length: 3"], b"abc");
    ask_at(&socket, &put).is(200, "");
    // There are no names to be rebound.
    let get = String::from_utf8(request("GET /cache/k", &[], b"")).unwrap();
    ask_at(&socket, get.replace("localhost", "example.com").as_bytes()).is(200, "abc");
    refused(&server.sandbox, &["--listen", &name]).exits(1).says("L0410");
    let server = Server::on(server.kill(), &["--listen", &name]);
    ask_at(&socket, get.as_bytes()).is(200, "abc");
    let _sandbox = server.stop();
    assert!(!socket.exists());
}

#[test]
fn what_is_under_way_is_finished() {
    let mut server = Server::start();
    // Who has asked for nothing is not waited for.
    let _silent = server.connect();
    let body = Noise(9).bytes(1 << 20);
    let len = format!("content-length: {}", body.len());
    let mut stream = server.connect();
    let bytes = request("PUT /cache/k", &[&len, "expect: 100-continue"], &[]);
    stream.write_all(&bytes).unwrap();
    // The server waits for the body: it is at work.
    let mut said = [0; 25];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.signal(Signal::TERM);
    // Nobody else is let in.
    while std::net::TcpStream::connect(server.address()).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    stream.write_all(&body).unwrap();
    reply(stream).is(200, "");
    assert_eq!(wait(&mut server.child), Some(0));
    assert!(!server.log().contains("cut off"), "{}", server.log());
    let server = Server::on(server.take(), &[]);
    assert!(server.get("k").unwrap() == body);
}

#[test]
fn who_does_not_finish_is_cut_off() {
    let mut server = Server::with(&["--shutdown-timeout", "100ms"]);
    let mut stream = server.connect();
    let bytes = request("PUT /cache/k", &["content-length: 9", "expect: 100-continue"], &[]);
    stream.write_all(&bytes).unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    server.signal(Signal::TERM);
    assert_eq!(wait(&mut server.child), Some(0));
    assert!(server.log().contains("cut off"), "{}", server.log());
    let server = Server::on(server.take(), &[]);
    assert_eq!(server.get("k"), None);
}
