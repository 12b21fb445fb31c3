//! Checksums of bodies: those that make entity tags, and those that clients send along.
//!
//! An entity tag is the MD5 of an object, or, of one that was uploaded in parts, the MD5
//! of their MD5s. Of the other algorithms, the ones that a client names are computed,
//! compared with what it says, kept, and told when it asks.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::{S3Result, s3_error};

/// The algorithms of S3 beside MD5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// As it is kept, and ends the names of headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Crc64Nvme => "crc64nvme",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of a checksum.
    fn len(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The checksum of something short.
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32 => Crc32::checksum(bytes).to_vec(),
            Self::Crc32c => Crc32c::checksum(bytes).to_vec(),
            Self::Crc64Nvme => Crc64Nvme::checksum(bytes).to_vec(),
            Self::Sha1 => Sha1::checksum(bytes).to_vec(),
            Self::Sha256 => Sha256::checksum(bytes).to_vec(),
        }
    }

    /// How checksums of parts can be joined, if they can.
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

/// Checksums in base64, by the names of their algorithms.
pub(super) type Checksums = BTreeMap<String, String>;

/// What a client says of a body.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    pub(super) md5: Option<String>,
    pub(super) checksums: Checksums,
    /// Algorithms whose checksums come after the body, or are only asked for.
    pub(super) announced: Vec<Algorithm>,
}

impl Declared {
    /// Those that have to be computed.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let named = self.checksums.keys().filter_map(|name| Algorithm::of_name(name));
        let mut all: Vec<Algorithm> = named.chain(self.announced.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Notes what the headers announce: checksums in trailers, by `x-amz-trailer`.
    pub(super) fn announce(&mut self, headers: &HeaderMap) {
        let trailers = headers.get_all("x-amz-trailer");
        let names = trailers.iter().filter_map(|value| value.to_str().ok());
        for name in names.flat_map(|names| names.split(',')) {
            self.announced.extend(of_header(name.trim()));
        }
    }

    /// Adds the checksums that came after the body.
    pub(super) fn add_trailers(&mut self, trailers: &HeaderMap) {
        for (name, value) in trailers {
            if let (Some(algorithm), Ok(value)) = (of_header(name.as_str()), value.to_str()) {
                self.checksums.insert(algorithm.name().to_owned(), value.to_owned());
            }
        }
    }

    /// Compares with what was computed.
    pub(super) fn check(&self, sums: &Sums) -> S3Result<()> {
        if let Some(declared) = &self.md5 {
            let Some(declared) = decoded(declared, 16) else {
                return Err(s3_error!(
                    InvalidDigest,
                    "The Content-MD5 you specified is not valid."
                ));
            };
            if declared != sums.md5 {
                return Err(s3_error!(
                    BadDigest,
                    "The Content-MD5 you specified did not match what we received."
                ));
            }
        }
        compare(&self.checksums, &sums.checksums)
    }
}

/// Compares what is declared with what was computed of the same algorithms.
pub(super) fn compare(declared: &Checksums, computed: &Checksums) -> S3Result<()> {
    for (name, declared) in declared {
        let (value, count) = match declared.split_once('-') {
            Some((value, count)) => (value, Some(count)),
            None => (declared.as_str(), None),
        };
        let len = Algorithm::of_name(name).map_or(0, Algorithm::len);
        let is_count = count.is_none_or(|count| count.parse::<u32>().is_ok());
        if decoded(value, len).is_none() || !is_count {
            return Err(s3_error!(
                InvalidRequest,
                "Value for x-amz-checksum-{name} header is invalid."
            ));
        }
        if computed.get(name).is_some_and(|computed| computed != declared) {
            return Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                name.to_ascii_uppercase()
            ));
        }
    }
    Ok(())
}

fn of_header(name: &str) -> Option<Algorithm> {
    Algorithm::of_name(name.to_ascii_lowercase().strip_prefix("x-amz-checksum-")?)
}

fn decoded(text: &str, len: usize) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok().filter(|bytes| bytes.len() == len)
}

/// Computes while a body comes in.
pub(super) struct Hasher {
    md5: Md5,
    others: ChecksumHasher,
}

/// What was computed.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    md5: [u8; 16],
    pub(super) checksums: Checksums,
}

impl Hasher {
    pub(super) fn new(algorithms: &[Algorithm]) -> Self {
        let mut others = ChecksumHasher::default();
        for algorithm in algorithms {
            match algorithm {
                Algorithm::Crc32 => others.crc32 = Some(Crc32::new()),
                Algorithm::Crc32c => others.crc32c = Some(Crc32c::new()),
                Algorithm::Crc64Nvme => others.crc64nvme = Some(Crc64Nvme::new()),
                Algorithm::Sha1 => others.sha1 = Some(Sha1::new()),
                Algorithm::Sha256 => others.sha256 = Some(Sha256::new()),
            }
        }
        Self { md5: Md5::new(), others }
    }

    pub(super) fn update(&mut self, block: &[u8]) {
        self.md5.update(block);
        self.others.update(block);
    }

    pub(super) fn finish(self) -> Sums {
        let found = self.others.finalize();
        let all = [
            (Algorithm::Crc32, found.checksum_crc32),
            (Algorithm::Crc32c, found.checksum_crc32c),
            (Algorithm::Crc64Nvme, found.checksum_crc64nvme),
            (Algorithm::Sha1, found.checksum_sha1),
            (Algorithm::Sha256, found.checksum_sha256),
        ];
        let named = all.into_iter().filter_map(|(one, sum)| Some((one.name().to_owned(), sum?)));
        Sums { md5: self.md5.finalize(), checksums: named.collect() }
    }
}

impl Sums {
    /// The entity tag of what was put whole.
    pub(super) fn etag(&self) -> String {
        hex(&self.md5)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The entity tag of an object that was uploaded in parts with these; `None` if one of
/// them is none of a part.
pub(super) fn etag_of_parts<'a>(etags: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let (mut md5, mut count) = (Md5::new(), 0_u32);
    for etag in etags {
        md5.update(&unhex(etag)?);
        count += 1;
    }
    Some(format!("{}-{count}", hex(&md5.finalize())))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

/// How the checksum of an object relates to those of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// It is that of the checksums of the parts.
    Composite,
    /// It is that of the whole.
    FullObject,
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Composite => "COMPOSITE",
            Self::FullObject => "FULL_OBJECT",
        }
    }

    pub(super) fn of_name(name: &str) -> Option<Self> {
        [Self::Composite, Self::FullObject].into_iter().find(|one| one.name() == name)
    }

    /// What a checksum of an object is, by how it looks.
    pub(super) fn of_checksum(text: &str) -> Self {
        if text.contains('-') { Self::Composite } else { Self::FullObject }
    }

    /// What is meant where nothing is said.
    pub(super) fn default_of(algorithm: Algorithm) -> Self {
        if algorithm == Algorithm::Crc64Nvme { Self::FullObject } else { Self::Composite }
    }

    /// Whether there is such a thing.
    pub(super) fn suits(self, algorithm: Algorithm) -> bool {
        match self {
            Self::Composite => algorithm != Algorithm::Crc64Nvme,
            Self::FullObject => algorithm.crc().is_some(),
        }
    }
}

/// The checksum of an object by the lengths and checksums of its parts; `None` if one is
/// missing.
pub(super) fn of_parts<'a>(
    algorithm: Algorithm,
    kind: Type,
    parts: impl IntoIterator<Item = (u64, Option<&'a str>)>,
) -> Option<String> {
    let (mut all, mut count) = (vec![], 0_u32);
    let mut joined: Option<u64> = None;
    for (len, text) in parts {
        let bytes = decoded(text?, algorithm.len())?;
        count += 1;
        match kind {
            Type::Composite => all.extend_from_slice(&bytes),
            Type::FullObject => {
                let part = bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
                joined = Some(match joined {
                    None => part,
                    Some(before) => checksum_combine(algorithm.crc()?, before, part, len),
                });
            }
        }
    }
    match kind {
        Type::Composite => Some(format!("{}-{count}", BASE64_STANDARD.encode(algorithm.of(&all)))),
        Type::FullObject => {
            let bytes = joined?.to_be_bytes();
            Some(BASE64_STANDARD.encode(&bytes[8 - algorithm.len()..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s3s::S3ErrorCode;

    use super::*;

    fn sums(algorithms: &[Algorithm], blocks: &[&[u8]]) -> Sums {
        let mut hasher = Hasher::new(algorithms);
        blocks.iter().for_each(|block| hasher.update(block));
        hasher.finish()
    }

    #[test]
    fn known_values_come_out() {
        let sums = sums(&Algorithm::ALL, &[b"1234", b"56789"]);
        assert_eq!(sums.etag(), "25f9e794323b453885f5181f1b624d0b");
        // The check values of the catalogue of CRCs, and of FIPS 180.
        assert_eq!(sums.checksums["crc32"], BASE64_STANDARD.encode([0xcb, 0xf4, 0x39, 0x26]));
        assert_eq!(sums.checksums["crc32c"], BASE64_STANDARD.encode([0xe3, 0x06, 0x92, 0x83]));
        let crc64 = 0xae8b_1486_0a79_9888_u64.to_be_bytes();
        assert_eq!(sums.checksums["crc64nvme"], BASE64_STANDARD.encode(crc64));
        assert_eq!(sums.checksums["sha1"], "98O8HYCOBHMq32eZZczDTKeuNEE=");
        assert_eq!(sums.checksums["sha256"], "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=");
    }

    #[test]
    fn what_is_declared_is_checked() {
        let sums = sums(&[Algorithm::Crc32], &[b"123456789"]);
        let check = |md5: Option<&str>, crc32: Option<&str>| {
            let checksums = crc32.map(|sum| ("crc32".to_owned(), sum.to_owned()));
            let declared = Declared {
                md5: md5.map(str::to_owned),
                checksums: checksums.into_iter().collect(),
                announced: vec![],
            };
            declared.check(&sums).map_err(|error| error.code().clone())
        };
        assert_eq!(check(None, None), Ok(()));
        assert_eq!(check(Some("JfnnlDI7RTiF9RgfG2JNCw=="), Some("y/Q5Jg==")), Ok(()));
        assert_eq!(check(Some("AAAAAAAAAAAAAAAAAAAAAA=="), None), Err(S3ErrorCode::BadDigest));
        assert_eq!(check(Some("AAAA"), None), Err(S3ErrorCode::InvalidDigest));
        assert_eq!(check(None, Some("AAAAAA==")), Err(S3ErrorCode::BadDigest));
        assert_eq!(check(None, Some("y/Q5")), Err(S3ErrorCode::InvalidRequest));
    }

    #[test]
    fn trailers_are_announced_and_declared() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-trailer", "x-amz-checksum-crc32c, x-other".parse().unwrap());
        let mut declared = Declared::default();
        declared.announce(&headers);
        assert_eq!(declared.algorithms(), [Algorithm::Crc32c]);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-amz-checksum-crc32c", "AAAAAA==".parse().unwrap());
        declared.add_trailers(&trailers);
        let sums = sums(&declared.algorithms(), &[b"x"]);
        assert_eq!(declared.check(&sums).unwrap_err().code(), &S3ErrorCode::BadDigest);
    }

    #[test]
    fn entity_tags_of_parts_are_as_amazon_makes_them() {
        let whole = sums(&[], &[b"a"]).etag();
        let joined = etag_of_parts([whole.as_str(), whole.as_str()]).unwrap();
        // md5(md5("a") + md5("a"))
        let bytes = [unhex(&whole).unwrap(), unhex(&whole).unwrap()].concat();
        assert_eq!(joined, format!("{}-2", sums(&[], &[&bytes]).etag()));
        assert_eq!(etag_of_parts(["no tag"]), None);
    }

    proptest! {
        #[test]
        fn joined_checksums_are_those_of_the_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..5),
        ) {
            let whole = sums(&Algorithm::ALL, &[&parts.concat()]);
            let of: Vec<(u64, Sums)> = parts
                .iter()
                .map(|part| (part.len() as u64, sums(&Algorithm::ALL, &[part])))
                .collect();
            for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
                let each = of.iter().map(|(len, sums)| {
                    (*len, sums.checksums.get(algorithm.name()).map(String::as_str))
                });
                let joined = of_parts(algorithm, Type::FullObject, each);
                prop_assert_eq!(joined.as_ref(), whole.checksums.get(algorithm.name()));
            }
        }
    }

    #[test]
    fn composite_checksums_tell_the_count() {
        let parts = [(1, Some("y/Q5Jg==")), (1, Some("y/Q5Jg=="))];
        let composite = of_parts(Algorithm::Crc32, Type::Composite, parts).unwrap();
        assert!(composite.ends_with("-2") && Type::of_checksum(&composite) == Type::Composite);
        let lacking = [(1, Some("y/Q5Jg==")), (1, None)];
        assert_eq!(of_parts(Algorithm::Crc32, Type::Composite, lacking), None);
        assert!(!Type::FullObject.suits(Algorithm::Sha256));
        assert!(!Type::Composite.suits(Algorithm::Crc64Nvme));
    }
}
