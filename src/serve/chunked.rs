//! The framing `aws-chunked`, in which S3 clients send bodies whose signatures or
//! checksums they tell as they go.
//!
//! ```text
//! 1000;chunk-signature=…\r\n  the length in hex, and what belongs to the chunk
//! …4096 bytes…\r\n
//! 0;chunk-signature=…\r\n     the last one
//! x-amz-checksum-crc32:…\r\n  trailers, if there are any
//! \r\n
//! ```
//!
//! Signatures are passed over: this is for a server without keys, which could not check
//! them. With keys, s3s reads the framing.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The longest line beside the data: a length with a signature, or a trailer.
const MAX_LINE_LEN: usize = 4 << 10;

/// The most trailers.
const MAX_TRAILERS: usize = 32;

/// What is wrong with the framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the line with a chunk's length.
    Length,
    /// So many bytes of the chunk are to come.
    Data(u64),
    /// At the line end after a chunk's data.
    DataEnd,
    /// Among the trailers.
    Trailers,
    /// At the end.
    End,
}

/// Takes the framing off, piece by piece.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    /// A line that is not whole yet.
    line: BytesMut,
    trailers: HeaderMap,
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { state: State::Length, line: BytesMut::new(), trailers: HeaderMap::new() }
    }

    /// The next run of data in `input`, which is advanced; `None` once all of it is used up.
    pub(super) fn decode(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        while !input.is_empty() {
            if let State::Data(left) = self.state {
                let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let data = input.split_to(len);
                self.state = match left - len as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
                return Ok(Some(data));
            }
            if self.state == State::End {
                return Err(Malformed("there are bytes after the last chunk"));
            }
            if let Some(line) = self.take_line(input)? {
                self.read_line(&line)?;
            }
        }
        Ok(None)
    }

    /// What came after the data.
    ///
    /// # Errors
    /// If the last chunk never came.
    pub(super) fn finish(self) -> Result<HeaderMap, Malformed> {
        match self.state {
            // Some clients leave out the last line end.
            State::Trailers | State::End => Ok(self.trailers),
            _ => Err(Malformed("it ends before its last chunk")),
        }
    }

    /// The line that ends in `input`, without its end.
    fn take_line(&mut self, input: &mut Bytes) -> Result<Option<BytesMut>, Malformed> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let len = end.map_or(input.len(), |at| at + 1);
        if self.line.len() + len > MAX_LINE_LEN {
            return Err(Malformed("a line is too long"));
        }
        self.line.extend_from_slice(&input[..len]);
        input.advance(len);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        if !line.ends_with(b"\r\n") {
            return Err(Malformed("a line does not end in CR LF"));
        }
        line.truncate(line.len() - 2);
        Ok(Some(line))
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Malformed> {
        self.state = match self.state {
            State::Length => match chunk_len(line)? {
                0 => State::Trailers,
                len => State::Data(len),
            },
            State::DataEnd if line.is_empty() => State::Length,
            State::DataEnd => return Err(Malformed("a chunk is longer than it says")),
            State::Trailers if line.is_empty() => State::End,
            State::Trailers => {
                self.read_trailer(line)?;
                State::Trailers
            }
            State::Data(_) | State::End => unreachable!("there are no lines"),
        };
        Ok(())
    }

    fn read_trailer(&mut self, line: &[u8]) -> Result<(), Malformed> {
        if self.trailers.len() == MAX_TRAILERS {
            return Err(Malformed("there are too many trailers"));
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let colon = colon.ok_or(Malformed("a trailer has no value"))?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name.trim_ascii());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) else {
            return Err(Malformed("a trailer cannot be read"));
        };
        self.trailers.insert(name, value);
        Ok(())
    }
}

/// The length that a chunk's first line tells.
fn chunk_len(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    // Signs are digits to the parser.
    if text.is_empty() || text.len() > 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Malformed("the length of a chunk cannot be read"));
    }
    u64::from_str_radix(text, 16).map_err(|_| Malformed("the length of a chunk cannot be read"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes what comes in these pieces.
    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap), Malformed> {
        let (mut decoder, mut data) = (Decoder::new(), vec![]);
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(run) = decoder.decode(&mut input)? {
                data.extend_from_slice(&run);
            }
        }
        Ok((data, decoder.finish()?))
    }

    fn encode(chunks: &[Vec<u8>], signature: &str, end: &str) -> Vec<u8> {
        let mut bytes = vec![];
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            bytes.extend_from_slice(format!("{:x}{signature}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("0{signature}\r\n{end}").as_bytes());
        bytes
    }

    proptest! {
        #[test]
        fn decoding_inverts_encoding_however_it_comes(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            is_signed in any::<bool>(),
            has_trailer in any::<bool>(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let signature = if is_signed { ";chunk-signature=0123456789abcdef" } else { "" };
            let end = if has_trailer { "x-amz-checksum-crc32: AAAAAA==\r\n\r\n" } else { "\r\n" };
            let bytes = encode(&chunks, signature, end);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let (data, trailers) = decode(&pieces).unwrap();
            prop_assert_eq!(data, chunks.concat());
            let found = trailers.get("x-amz-checksum-crc32").map(HeaderValue::as_bytes);
            prop_assert_eq!(found, has_trailer.then_some(b"AAAAAA==".as_slice()));
        }

        #[test]
        fn what_is_cut_off_is_not_taken_for_whole(
            chunk in prop::collection::vec(any::<u8>(), 1..40),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = encode(std::slice::from_ref(&chunk), "", "");
            let cut = &bytes[..cut.index(bytes.len())];
            prop_assert!(decode(&[cut]).is_err());
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&bytes]);
        }
    }

    #[test]
    fn mistakes_are_found() {
        let check = |bytes: &[u8], why: &str| assert_eq!(decode(&[bytes]).unwrap_err().0, why);
        check(b"x\r\n", "the length of a chunk cannot be read");
        check(b"-1\r\n", "the length of a chunk cannot be read");
        check(b"11111111111111111\r\n", "the length of a chunk cannot be read");
        check(b"1\nab", "a line does not end in CR LF");
        check(b"1\r\nab\r\n", "a chunk is longer than it says");
        check(b"0\r\n\r\nmore", "there are bytes after the last chunk");
        check(b"0\r\nno value\r\n", "a trailer has no value");
        check(b"", "it ends before its last chunk");
        check(&[b'1'; MAX_LINE_LEN + 1], "a line is too long");
        let many = format!("0\r\n{}", "".to_owned());
        let trailers: String = (0..=MAX_TRAILERS).map(|i| format!("x-{i}: 1\r\n")).collect();
        check(format!("{many}{trailers}").as_bytes(), "there are too many trailers");
    }
}
