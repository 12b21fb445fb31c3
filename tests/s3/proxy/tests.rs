//! The proxy before a server of a few lines, seen by a client of a few more.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::plan::{Fault, Rule, When, Which};
use super::{Peer, Proxy};
use crate::http::{Answer, Body, Head};
use crate::sandbox::Noise;

/// A server that answers with what it was sent, or to a GET with 100 kB.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut peer = Peer::new(stream.unwrap()).unwrap();
            thread::spawn(move || -> io::Result<()> {
                while let Some(head) = Head::read(&mut peer.from)? {
                    let framing = head.request_framing();
                    let body = Body::new(&mut peer.from, framing).collect()?;
                    let body = match head.method() {
                        "GET" => "0123456789".repeat(10_000),
                        _ => String::from_utf8(body).unwrap(),
                    };
                    let host = head.header("host").unwrap_or_default();
                    let answer = Answer::new(200, "text/plain", body).with("Seen-Host", &host);
                    answer.write(head.method(), &mut peer.to)?;
                }
                Ok(())
            });
        }
    });
    address
}

/// One connection of a client.
struct Client(Peer);

impl Client {
    fn new(proxy: &Proxy) -> Self {
        Self(Peer::new(TcpStream::connect(proxy.address).unwrap()).unwrap())
    }

    fn ask(&mut self, request: &str) -> io::Result<(Head, Vec<u8>)> {
        let Peer { from, to } = &mut self.0;
        to.write_all(request.as_bytes())?;
        to.flush()?;
        let method = request.split(' ').next().unwrap();
        let head = Head::read(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let framing = head.answer_framing(method);
        let body = Body::new(from, framing).collect()?;
        Ok((head, body))
    }
}

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: example\r\n\r\n";
const PUT: &str = "PUT /a HTTP/1.1\r\nHost: example\r\nContent-Length: 5\r\n\r\nhello";

fn proxy(plan: impl Into<Vec<Rule>>) -> (Proxy, Client) {
    let proxy = Proxy::new(echo(), plan);
    let client = Client::new(&proxy);
    (proxy, client)
}

#[test]
fn passes_all_kinds_of_messages_on_one_connection() {
    let (proxy, mut client) = proxy([]);
    let (head, body) = client.ask(GET).unwrap();
    assert_eq!((head.status(), body.len()), (200, 100_000));
    assert_eq!(head.header("seen-host"), Some("example"), "what a signature covers is kept");
    assert_eq!(client.ask(PUT).unwrap().1, b"hello");
    let chunked = "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n";
    assert_eq!(client.ask(chunked).unwrap().1, b"hello world");
    let head = "HEAD /a HTTP/1.1\r\n\r\n";
    assert_eq!(client.ask(head).unwrap().1, b"");
    assert_eq!(client.ask(GET).unwrap().1.len(), 100_000);

    let log = proxy.take_log();
    let counted: Vec<_> = log.iter().map(|e| (e.request.method(), e.sent, e.received)).collect();
    let wanted =
        [("GET", 0, 100_000), ("PUT", 5, 5), ("PUT", 11, 11), ("HEAD", 0, 0), ("GET", 0, 100_000)];
    assert_eq!(counted, wanted);
    assert!(log.iter().all(|entry| entry.status == Some(200) && entry.fault.is_none()));
    assert!(log[0].is("GET", "b=c"));
    assert!(proxy.take_log().is_empty());
}

#[test]
fn a_client_that_waits_to_be_told_to_go_on_is_told_so() {
    let (_proxy, mut client) = proxy([]);
    let head = "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(client.ask(head).unwrap().0.status(), 100);
    assert_eq!(client.ask("hello").unwrap().1, b"hello");
}

#[test]
fn answers_in_the_servers_place() {
    let which = Which { method: "PUT", target: "/a" };
    let rules = [
        Rule::new(which, When::Nth(1), Fault::slow_down()),
        Rule::new(which, When::Nth(1), Fault::conflict()),
    ];
    let (proxy, mut client) = proxy(rules);
    let statuses: Vec<u16> =
        [PUT, GET, PUT, PUT, PUT].map(|ask| client.ask(ask).unwrap().0.status()).to_vec();
    // Rules count what comes to them: the second one's requests are those
    // that the first let pass.
    assert_eq!(statuses, [200, 200, 503, 409, 200]);
    let log = proxy.take_log();
    assert_eq!((log[2].status, log[2].sent), (Some(503), 5));
    assert!(matches!(log[2].fault, Some(Fault::Answer(_))));
}

#[test]
fn resets_are_errors_and_the_next_connection_works() {
    for fault in
        [Fault::ResetBeforeRequest, Fault::ResetInRequest, Fault::LoseAnswer, Fault::ResetInAnswer]
    {
        let name = format!("{fault:?}");
        let (proxy, mut client) = proxy([Rule::new(Which::default(), When::First(1), fault)]);
        let error = client.ask(PUT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{name}");
        assert_eq!(Client::new(&proxy).ask(PUT).unwrap().1, b"hello", "{name}");
    }
}

#[test]
fn bodies_are_cut_bent_and_dripped() {
    let plan = [
        Rule::new(Which::default(), When::Nth(0), Fault::CorruptAnswer),
        Rule::new(Which::default(), When::Nth(0), Fault::DripAnswer(Duration::ZERO)),
        Rule::new(Which::default(), When::Nth(0), Fault::TruncateAnswer),
    ];
    let (proxy, mut client) = proxy(plan);
    let whole = "0123456789".repeat(10_000).into_bytes();
    let (_, bent) = client.ask(GET).unwrap();
    let differing = whole.iter().zip(&bent).filter(|(a, b)| a != b).count();
    assert_eq!((differing, bent.len()), (1, whole.len()));
    assert_eq!(client.ask(PUT).unwrap().1, b"hello");
    let error = client.ask(GET).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(proxy.take_log()[2].received, 50_000);
}

#[test]
fn chance_is_the_same_each_time() {
    let run = || {
        let rare = When::Percent(20, Noise(7));
        let (proxy, mut client) = proxy([Rule::new(Which::default(), rare, Fault::slow_down())]);
        for _ in 0..50 {
            client.ask(PUT).unwrap();
        }
        proxy.take_log().iter().map(|entry| entry.status.unwrap()).collect::<Vec<_>>()
    };
    let first = run();
    assert_eq!(first, run());
    let struck = first.iter().filter(|status| **status == 503).count();
    assert!((5..16).contains(&struck), "{struck}");
}

#[test]
fn a_request_that_hangs_hangs() {
    let (_proxy, mut client) = proxy([Rule::always(Fault::Hang)]);
    client.0.to.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = client.ask(GET).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}
