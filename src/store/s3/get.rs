//! Asking for objects over the wire: their bytes, or what is known of them.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;

use super::failure::{Again, Failure, classify};
use super::{S3Store, time};
use crate::store::error::RemoteErrorKind;
use crate::store::{ObjectKey, ObjectMeta, Version};

/// The fewest bytes that must come within the time a server may be silent.
const LEAST_PROGRESS: usize = 16 << 10;

/// An answer with a body that has not come yet.
pub(super) struct Got {
    /// The object's length, whatever part of it was asked for.
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    pub(super) version: Version,
    /// Bytes that the body must have.
    expected: u64,
    body: ByteStream,
}

impl Got {
    /// Appends the body to `into`. What came before a failure stays there.
    pub(super) async fn read(
        &mut self,
        into: &mut Vec<u8>,
        read_timeout: Duration,
    ) -> Result<(), Failure> {
        let expected = usize::try_from(self.expected).unwrap_or(usize::MAX);
        let start = into.len();
        // The server's word alone does not reserve memory without bound.
        into.reserve(expected.min(64 << 20));
        let mut window = tokio::time::Instant::now() + read_timeout;
        let mut in_window = 0;
        loop {
            let next = tokio::time::timeout_at(window, self.body.next()).await;
            let now = tokio::time::Instant::now();
            match next {
                Ok(Some(Ok(bytes))) => {
                    in_window += bytes.len();
                    if into.len() - start + bytes.len() > expected {
                        return Err(Failure::broken_body("the answer is longer than announced"));
                    }
                    into.extend_from_slice(&bytes);
                }
                Ok(Some(Err(error))) => {
                    let why = format!("the answer broke off: {}", super::failure::causes(&error));
                    return Err(Failure::broken_body(why));
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if now >= window {
                if in_window < LEAST_PROGRESS {
                    let why = format!("the answer stalled for {} s", read_timeout.as_secs());
                    return Err(Failure::broken_body(why));
                }
                (window, in_window) = (now + read_timeout, 0);
            }
        }
        let len = into.len() - start;
        if len == expected {
            Ok(())
        } else {
            let why = format!("the answer ended after {len} of {expected} bytes");
            Err(Failure::broken_body(why))
        }
    }
}

/// What is known of an object.
pub(super) struct Looked {
    pub(super) len: u64,
    pub(super) version: Version,
    /// All else that was told.
    pub(super) told: HeadObjectOutput,
}

impl S3Store {
    /// Asks for an object or a part of it.
    pub(super) async fn send_get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Got, Failure> {
        let header = range.as_ref().map(|r| format!("bytes={}-{}", r.start, r.end - 1));
        let sending = self
            .client()
            .get_object()
            .bucket(&self.config.bucket)
            .key(self.name(key.as_str()))
            .set_range(header)
            .send();
        let answer = self.in_time(sending).await?.map_err(|error| classify(&error))?;
        let length = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(version), Some(length)) = (answer.e_tag(), length) else {
            return Err(not_s3());
        };
        let (len, expected) = match &range {
            None => (length, length),
            Some(range) => {
                // A server that ignores the range would send all of it.
                let (start, total) =
                    answer.content_range().and_then(content_range).ok_or_else(not_s3)?;
                if start != range.start {
                    let why = format!("bytes from {start} on came, not from {}", range.start);
                    return Err(Failure::broken_body(why));
                }
                (total, range.end.min(total) - range.start)
            }
        };
        Ok(Got {
            len,
            modified: time(answer.last_modified()),
            version: Version::new(version),
            expected,
            body: answer.body,
        })
    }

    pub(super) async fn send_head(&self, key: &ObjectKey) -> Result<ObjectMeta, Failure> {
        let Looked { len, version, told } = self.look(key.as_str()).await?;
        Ok(ObjectMeta { key: key.clone(), len, modified: time(told.last_modified()), version })
    }

    /// All that is known of an object.
    pub(super) async fn look(&self, key: &str) -> Result<Looked, Failure> {
        let sending =
            self.client().head_object().bucket(&self.config.bucket).key(self.name(key)).send();
        let told = self.in_time(sending).await?.map_err(|error| classify(&error))?;
        let len = told.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(version), Some(len)) = (told.e_tag().map(Version::new), len) else {
            return Err(not_s3());
        };
        Ok(Looked { len, version, told })
    }

    /// Waits for the beginning of an answer.
    pub(super) async fn in_time<T>(&self, sending: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout(self.config.read_timeout, sending).await.map_err(|_| {
            let detail = format!("no answer within {} s", self.config.read_timeout.as_secs());
            Failure::local(RemoteErrorKind::TimedOut, detail, Again::Yes)
        })
    }
}

/// First byte and whole length from `bytes 0-99/1234`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

/// Something answered with success, and not as S3 does.
pub(super) fn not_s3() -> Failure {
    let detail = "the endpoint's answer is not that of an S3 service";
    Failure::local(RemoteErrorKind::NotS3, detail, Again::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for odd in ["", "bytes */100", "bytes 5-9/*", "5-9/100", "bytes 5/100"] {
            assert_eq!(content_range(odd), None, "{odd}");
        }
    }
}
