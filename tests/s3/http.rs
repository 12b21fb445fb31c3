//! Just enough of HTTP/1.1 to stand between a client and a server: where a
//! message begins, where it ends, and what its first lines say.

use std::io::{self, BufRead, Read, Write};

/// The first line of a message and its headers, as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// The three words of the first line.
    pub(crate) first: [String; 3],
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The next head on a connection; none if it ended before one began.
    pub(crate) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.trim_end().splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let mut head = Self { first: [word(), word(), word()], headers: vec![] };
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => head.headers.push((name.into(), value.trim().into())),
                None => return Ok(Some(head)),
            }
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn set(&mut self, name: &str, value: &impl ToString) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_string()));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Of a request: `GET`.
    pub(crate) fn method(&self) -> &str {
        &self.first[0]
    }

    /// Of a request: path and query.
    pub(crate) fn target(&self) -> &str {
        &self.first[1]
    }

    /// Of an answer: 200.
    pub(crate) fn status(&self) -> u16 {
        self.first[1].parse().unwrap_or_default()
    }

    pub(crate) fn wants_to_close(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub(crate) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut text = self.first.join(" ") + "\r\n";
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        to.write_all((text + "\r\n").as_bytes())
    }

    /// How the body that follows is delimited, in a request.
    pub(crate) fn request_framing(&self) -> Framing {
        self.framing().unwrap_or(Framing::Length(0))
    }

    /// The same, in an answer to a request by this method.
    pub(crate) fn answer_framing(&self, method: &str) -> Framing {
        match self.status() {
            204 | 304 | 100..200 => Framing::Length(0),
            _ if method == "HEAD" => Framing::Length(0),
            _ => self.framing().unwrap_or(Framing::ToEnd),
        }
    }

    fn framing(&self) -> Option<Framing> {
        let coding = self.header("transfer-encoding");
        if coding.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Some(Framing::Chunked);
        }
        self.header("content-length")?.parse().ok().map(Framing::Length)
    }
}

/// What says where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    /// The end of the connection.
    ToEnd,
}

/// A body's bytes, piece by piece, without its framing.
pub(crate) struct Body<'a, R> {
    from: &'a mut R,
    framing: Framing,
    /// Of the length, or of this chunk.
    left: u64,
    ended: bool,
}

impl<'a, R: BufRead> Body<'a, R> {
    pub(crate) fn new(from: &'a mut R, framing: Framing) -> Self {
        let (left, ended) = match framing {
            Framing::Length(len) => (len, len == 0),
            Framing::Chunked | Framing::ToEnd => (0, false),
        };
        Self { from, framing, left, ended }
    }

    /// The whole rest.
    pub(crate) fn collect(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![];
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Whether another chunk follows; after the last one come trailers.
    fn next_chunk(&mut self) -> io::Result<bool> {
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let digits = line.trim_end().split(';').next().unwrap_or_default();
        self.left = u64::from_str_radix(digits, 16)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no length of a chunk"))?;
        if self.left > 0 {
            return Ok(true);
        }
        loop {
            line.clear();
            if self.from.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
                return Ok(false);
            }
        }
    }
}

impl<R: BufRead> Read for Body<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.framing == Framing::ToEnd {
            return self.from.read(into);
        }
        if !self.ended && self.left == 0 {
            self.ended = !self.next_chunk()?;
        }
        if self.ended {
            return Ok(0);
        }
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.from.read(&mut into[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        if self.left == 0 {
            match self.framing {
                Framing::Chunked => self.from.read_exact(&mut [0; 2])?,
                Framing::Length(_) | Framing::ToEnd => self.ended = true,
            }
        }
        Ok(read)
    }
}

/// An answer that a fake gives, or a proxy in the server's place.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<String>) -> Self {
        Self { status, headers: vec![("Content-Type", kind.to_owned())], body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Sends it; as an answer to a HEAD without its body.
    pub(crate) fn write(&self, method: &str, to: &mut impl Write) -> io::Result<()> {
        let first = ["HTTP/1.1".into(), self.status.to_string(), "Chosen by a test".into()];
        let mut head = Head { first, headers: vec![] };
        for (name, value) in &self.headers {
            head.set(name, value);
        }
        head.set("Content-Length", &self.body.len());
        head.write(to)?;
        if method != "HEAD" {
            to.write_all(self.body.as_bytes())?;
        }
        to.flush()
    }
}
