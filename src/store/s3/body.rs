//! What is put: bytes in memory, a file of this machine, or another object of
//! the bucket.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::copy::Source;
use super::failure::{Again, Failure};
use super::request::Asked;
use crate::files::OpenFile;
use crate::store::error::StoreErrorKind;

/// Objects longer than this are put in parts, in bytes: far above a pack, so
/// that a pack is one request, and below what one connection may be trusted
/// with.
const LONGEST_AT_ONCE: u64 = 64 << 20;

/// Length of parts, in bytes. Files are put in parts from there on: so what is
/// in memory of them is a part for each request at once.
const PART: u64 = 16 << 20;

/// S3's limit on the parts of an object.
const MAX_PARTS: u64 = 10_000;

/// What an object is to consist of.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// What is sent from here.
    Sent(Contents),
    /// What the server takes from another object.
    Copied(Box<Source>),
}

/// What is sent from here.
#[derive(Clone, Debug)]
pub(super) enum Contents {
    Bytes(Bytes),
    /// Read when it is sent, and as often as it is.
    File(Arc<OpenFile>),
}

impl Body {
    /// In bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Sent(Contents::Bytes(bytes)) => bytes.len() as u64,
            Self::Sent(Contents::File(file)) => file.size(),
            Self::Copied(source) => source.len(),
        }
    }

    /// Whether it is put in parts.
    pub(super) fn is_long(&self) -> bool {
        match self {
            Self::Sent(Contents::Bytes(_)) => self.len() > LONGEST_AT_ONCE,
            Self::Sent(Contents::File(_)) => self.len() > PART,
            Self::Copied(source) => source.is_long(),
        }
    }

    /// The parts that it is put in.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let (len, part) = match self {
            Self::Sent(_) => (self.len(), PART.max(self.len().div_ceil(MAX_PARTS))),
            Self::Copied(source) => (source.len(), source.part()),
        };
        (0..len.div_ceil(part)).map(move |index| index * part..len.min((index + 1) * part))
    }

    /// What a request is that puts so many bytes of it.
    pub(super) fn asked(&self, len: u64) -> Asked {
        match self {
            Self::Sent(_) => Asked::Put(len),
            Self::Copied(_) => Asked::Copy(len),
        }
    }
}

impl Contents {
    /// Fails if a file is not as long any more as when it was opened: then what
    /// was sent is of no state that it ever had.
    pub(super) fn check(&self) -> Result<(), StoreErrorKind> {
        match self {
            Self::File(file) => file.check_len().map_err(StoreErrorKind::File),
            Self::Bytes(_) => Ok(()),
        }
    }

    /// These bytes of it.
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        match self {
            Self::Bytes(bytes) => {
                let at = |at| usize::try_from(at).unwrap_or(usize::MAX);
                Ok(bytes.slice(at(range.start)..at(range.end)))
            }
            Self::File(file) => {
                let file = Arc::clone(file);
                // Disks may be slow: threads that drive sockets do not wait for them.
                let reading = tokio::task::spawn_blocking(move || file.read(range));
                let read = reading.await.expect("reading does not panic");
                let read =
                    read.map_err(|error| StoreErrorKind::File(error).into_failure(Again::No));
                read.map(Bytes::from)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_few_as_the_server_takes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let parts = |len: u64| {
            file.as_file().set_len(len).unwrap();
            let opened = OpenFile::open(file.path()).unwrap();
            let body = Body::Sent(Contents::File(Arc::new(opened)));
            let parts: Vec<_> = body.parts().collect();
            assert_eq!(parts.iter().map(|part| part.end - part.start).sum::<u64>(), len);
            parts.len() as u64
        };
        assert_eq!(parts(PART), 1);
        assert_eq!(parts(PART + 1), 2);
        assert_eq!(parts(PART * MAX_PARTS), MAX_PARTS);
        assert_eq!(parts(PART * MAX_PARTS + 1), MAX_PARTS);
        assert!(parts(1 << 43) <= MAX_PARTS);
    }
}
