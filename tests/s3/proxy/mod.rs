//! A proxy between larder and the server that does, by a plan, what networks
//! and overloaded servers do, and keeps a log of all requests.
//!
//! It speaks HTTP/1.1 on loopback, a thread for each connection, and passes
//! heads on as they came: signatures cover the `Host` that the client knows,
//! which is the proxy's own.

pub(crate) mod plan;
mod tests;

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::http::{Body, Framing, Head};
use plan::{Fault, Rule};

/// A request that went through the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) request: Head,
    /// What was answered, if an answer began.
    pub(crate) status: Option<u16>,
    /// Bytes of the request's body that came.
    pub(crate) sent: u64,
    /// Bytes of the answer's body that went back.
    pub(crate) received: u64,
    /// What was done to it.
    pub(crate) fault: Option<Fault>,
}

impl Entry {
    pub(crate) fn is(&self, method: &str, target: &str) -> bool {
        self.request.method() == method && self.request.target().contains(target)
    }
}

/// A proxy that runs until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: SocketAddr,
    plan: Mutex<Vec<Rule>>,
    log: Mutex<Log>,
    ended: AtomicBool,
}

#[derive(Default)]
struct Log {
    /// How many were taken out before these.
    taken: usize,
    entries: Vec<Entry>,
}

impl Proxy {
    /// A proxy before a server. Of the rules, the first that strikes counts.
    pub(crate) fn new(upstream: SocketAddr, plan: impl Into<Vec<Rule>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            plan: Mutex::new(plan.into()),
            log: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                // Broken connections are what all this is about.
                thread::spawn(move || stream.and_then(|client| serve(&shared, client)));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn plan(&self, plan: impl Into<Vec<Rule>>) {
        *lock(&self.shared.plan) = plan.into();
    }

    /// Whether any request came since the log was last taken.
    #[allow(dead_code, reason = "not for the soak")]
    pub(crate) fn is_asked(&self) -> bool {
        !lock(&self.shared.log).entries.is_empty()
    }

    /// What happened since this was last asked, in the order in which requests
    /// came.
    pub(crate) fn take_log(&self) -> Vec<Entry> {
        let mut log = lock(&self.shared.log);
        log.taken += log.entries.len();
        std::mem::take(&mut log.entries)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Decides on a request, and begins its entry in the log.
    fn admit(&self, request: &Head) -> (usize, Option<Fault>) {
        let fault = lock(&self.plan).iter_mut().find_map(|rule| rule.strike(request));
        let (request, noted) = (request.clone(), fault.clone());
        let entry = Entry { request, status: None, sent: 0, received: 0, fault: noted };
        let mut log = lock(&self.log);
        log.entries.push(entry);
        (log.taken + log.entries.len() - 1, fault)
    }

    /// Changes an entry, unless the log was taken meanwhile.
    fn note(&self, entry: usize, change: impl FnOnce(&mut Entry)) {
        let mut log = lock(&self.log);
        let at = entry.checked_sub(log.taken);
        if let Some(entry) = at.and_then(|at| log.entries.get_mut(at)) {
            change(entry);
        }
    }
}

/// Both directions of one connection, with buffers.
struct Peer {
    from: BufReader<TcpStream>,
    to: BufWriter<TcpStream>,
}

impl Peer {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { from: BufReader::new(stream.try_clone()?), to: BufWriter::new(stream) })
    }

    /// Ends the connection so that the other side gets an error, not an end.
    fn reset(self) -> io::Result<()> {
        let (stream, _unsent) = self.to.into_parts();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        Ok(())
    }
}

/// Serves a client until one side ends the connection, or a fault does.
fn serve(shared: &Shared, client: TcpStream) -> io::Result<()> {
    let mut client = Peer::new(client)?;
    let mut server: Option<Peer> = None;
    while let Some(mut request) = Head::read(&mut client.from)? {
        // A client that takes this for its HTTP proxy names the server, too.
        if let Some((_, rest)) = request.target().split_once("://") {
            request.first[1] = rest.find('/').map_or("/", |path| &rest[path..]).to_owned();
        }
        let (entry, fault) = shared.admit(&request);
        if matches!(fault, Some(Fault::ResetBeforeRequest)) {
            return client.reset();
        }
        if request.header("expect").is_some() {
            client.to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            client.to.flush()?;
        }
        match fault {
            Some(Fault::Answer(answer)) => {
                let mut body = Body::new(&mut client.from, request.request_framing());
                let sent = io::copy(&mut body, &mut io::sink())?;
                shared.note(entry, |entry| {
                    (entry.sent, entry.status) = (sent, Some(answer.status));
                });
                answer.write(request.method(), &mut client.to)?;
            }
            Some(Fault::Hang) => {
                // Until the client has enough of it.
                io::copy(&mut client.from, &mut io::sink())?;
                return Ok(());
            }
            fault => {
                let peer = match server.take() {
                    Some(peer) => peer,
                    None => Peer::new(TcpStream::connect(shared.upstream)?)?,
                };
                let exchange = Exchange { shared, entry, request };
                server = match exchange.run(&mut client, peer, fault)? {
                    After::Next(server) => server,
                    After::Reset => return client.reset(),
                    After::End => return Ok(()),
                };
            }
        }
    }
    Ok(())
}

/// What becomes of the client's connection.
enum After {
    /// Another request may come, on this connection to the server.
    Next(Option<Peer>),
    Reset,
    End,
}

/// A request that reaches the server.
struct Exchange<'a> {
    shared: &'a Shared,
    entry: usize,
    request: Head,
}

impl Exchange<'_> {
    fn run(&self, client: &mut Peer, mut server: Peer, fault: Option<Fault>) -> io::Result<After> {
        if matches!(fault, Some(Fault::ResetInRequest)) {
            self.forward(client, &mut server, true)?;
            server.reset()?;
            return Ok(After::Reset);
        }
        self.forward(client, &mut server, false)?;
        let answer = loop {
            match Head::read(&mut server.from)? {
                None => return Ok(After::Reset),
                Some(head) if head.status() / 100 == 1 => {}
                Some(head) => break head,
            }
        };
        let framing = answer.answer_framing(self.request.method());
        if let Some(Fault::Delay(delay)) = fault {
            thread::sleep(delay);
        }
        match fault {
            None | Some(Fault::Delay(_)) => self.pass(client, &mut server, &answer, framing)?,
            Some(fault) => {
                let body = Body::new(&mut server.from, framing).collect()?;
                return self.spoil(client, answer, body, &fault);
            }
        }
        let reusable = framing != Framing::ToEnd && !answer.wants_to_close();
        match framing {
            Framing::ToEnd => Ok(After::End),
            _ => Ok(After::Next(reusable.then_some(server))),
        }
    }

    /// Passes the request on; half of its body only, if so wanted.
    fn forward(&self, client: &mut Peer, server: &mut Peer, half: bool) -> io::Result<()> {
        self.request.write(&mut server.to)?;
        let framing = self.request.request_framing();
        let most = match framing {
            Framing::Length(len) if half => len / 2,
            _ => u64::MAX,
        };
        let body = Body::new(&mut client.from, framing).take(most);
        self.relay(body, &mut server.to, framing, |entry, count| entry.sent += count)
    }

    /// Passes the answer on as it comes.
    fn pass(
        &self,
        client: &mut Peer,
        server: &mut Peer,
        answer: &Head,
        framing: Framing,
    ) -> io::Result<()> {
        self.shared.note(self.entry, |entry| entry.status = Some(answer.status()));
        answer.write(&mut client.to)?;
        let body = Body::new(&mut server.from, framing);
        self.relay(body, &mut client.to, framing, |entry, count| entry.received += count)
    }

    /// Copies a body, framed as it was. What is counted is counted before the
    /// receiver can have it: who has all of an answer may look into the log.
    ///
    /// A receiver that has heard enough (a server may refuse a put from its
    /// head) does not keep the sender from ending its part.
    fn relay(
        &self,
        mut body: impl Read,
        to: &mut impl Write,
        framing: Framing,
        count: impl Fn(&mut Entry, u64),
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let mut listens = true;
        loop {
            let read = body.read(&mut buffer)?;
            self.shared.note(self.entry, |entry| count(entry, read as u64));
            listens = listens && write_piece(to, &buffer[..read], framing).is_ok();
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Answers as the server did, but for what the fault does to it.
    fn spoil(
        &self,
        client: &mut Peer,
        mut answer: Head,
        mut body: Vec<u8>,
        fault: &Fault,
    ) -> io::Result<After> {
        if matches!(fault, Fault::LoseAnswer) {
            return Ok(After::Reset);
        }
        let (len, half) = (body.len(), body.len() / 2);
        if answer.header("transfer-encoding").is_some() {
            answer.remove("transfer-encoding");
            answer.set("content-length", &len);
        }
        let sent = match fault {
            Fault::ResetInAnswer | Fault::TruncateAnswer => half,
            _ => len,
        };
        if let (Fault::CorruptAnswer, Some(byte)) = (fault, body.get_mut(half)) {
            *byte ^= 0x10;
        }
        self.shared.note(self.entry, |entry| {
            (entry.status, entry.received) = (Some(answer.status()), sent as u64);
        });
        answer.write(&mut client.to)?;
        if let Fault::DripAnswer(pause) = fault {
            for byte in &body {
                client.to.write_all(&[*byte])?;
                client.to.flush()?;
                thread::sleep(*pause);
            }
        } else {
            client.to.write_all(&body[..sent])?;
        }
        client.to.flush()?;
        match fault {
            Fault::ResetInAnswer => Ok(After::Reset),
            Fault::TruncateAnswer => Ok(After::End),
            _ => Ok(After::Next(None)),
        }
    }
}

/// Writes a piece of a body; an empty one ends it.
fn write_piece(to: &mut impl Write, piece: &[u8], framing: Framing) -> io::Result<()> {
    if framing == Framing::Chunked {
        write!(to, "{:x}\r\n", piece.len())?;
        to.write_all(piece)?;
        to.write_all(b"\r\n")?;
    } else {
        to.write_all(piece)?;
    }
    to.flush()
}
