//! HTTP byte by byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::Server;

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn read(mut from: impl Read) -> Self {
        let mut bytes = vec![];
        // An end that comes early is an answer, too, if there is one.
        let _ = from.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end =
            end.unwrap_or_else(|| panic!("no answer: {:?}", bytes.escape_ascii().to_string()));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails unless the status is this, and the body has this in it.
    #[track_caller]
    pub(super) fn is(&self, status: u16, text: &str) {
        let found = self.text();
        assert!(self.status == status && found.contains(text), "{} {found}", self.head);
    }
}

/// A request with these lines after the first; the connection ends with its answer.
pub(super) fn request(first: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{first} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    let mut bytes = (text + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl Server {
    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        // Nothing waits so long; a test that hangs is to say where.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// What the server answers to these bytes.
    pub(super) fn ask(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // It may have answered before it took all.
        let _ = stream.write_all(bytes);
        Reply::read(stream)
    }

    /// The same of a request without a body.
    pub(super) fn ask_for(&self, first: &str, headers: &[&str]) -> Reply {
        self.ask(&request(first, headers, b""))
    }
}

/// What is answered at a Unix socket.
pub(super) fn ask_at(socket: &Path, bytes: &[u8]) -> Reply {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(bytes).unwrap();
    Reply::read(stream)
}

/// The rest of the answer on a connection.
pub(super) fn reply(stream: TcpStream) -> Reply {
    Reply::read(stream)
}
