//! Objects that are put, read, copied and deleted.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, MetadataDirective};

use super::{BUCKET, Server, code};
use crate::support::Noise;

/// In hex, as an entity tag has it.
fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    let digest = md5::Md5::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn objects_come_back_as_they_were_put() {
    let server = Server::start();
    let client = server.client();
    // Nothing, one block of the server, and several that end anywhere.
    for (number, len) in [0, 1, 100_000, 5_000_001].into_iter().enumerate() {
        let key = format!("a b/ü+{number}%:");
        let bytes = Noise(len as u64).bytes(len);
        let put = client.put_object().bucket(BUCKET).key(&key).body(bytes.clone().into());
        let put = server.wait(put.content_type("text/plain").metadata("Who", "möbius").send());
        assert_eq!(put.unwrap().e_tag.unwrap(), format!("\"{}\"", md5(&bytes)));
        let get = client.get_object().bucket(BUCKET).key(&key).checksum_mode(ChecksumMode::Enabled);
        let found = server.wait(get.send()).unwrap();
        assert_eq!(found.content_length, Some(len as i64));
        assert_eq!(found.content_type.as_deref(), Some("text/plain"));
        // In the form that headers have for it (RFC 2047), as Amazon gives it.
        assert_eq!(found.metadata.unwrap()["who"], "=?UTF-8?B?bcO2Yml1cw==?=");
        // The SDK sends one unasked, and compares it with what it reads.
        assert!(found.checksum_crc32.is_some() && found.last_modified.is_some());
        assert!(server.wait(found.body.collect()).unwrap().to_vec() == bytes);
        let head = client.head_object().bucket(BUCKET).key(&key).send();
        let head = server.wait(head).unwrap();
        assert_eq!((head.content_length, head.checksum_crc32), (Some(len as i64), None));
    }
    // Another process has them, too.
    let server = Server::on(server.kill(), &[]);
    assert!(server.get("a b/ü+3%:").unwrap() == Noise(5_000_001).bytes(5_000_001));
}

/// The SDK sends files in the framing `aws-chunked`, with their checksum behind.
#[test]
fn streams_are_checked_by_what_follows_them() {
    let server = Server::start();
    let bytes = Noise(7).bytes(3 << 20);
    let path = server.sandbox.path("body");
    std::fs::write(&path, &bytes).unwrap();
    for algorithm in
        [ChecksumAlgorithm::Crc32C, ChecksumAlgorithm::Crc64Nvme, ChecksumAlgorithm::Sha1]
    {
        let body = server.wait(ByteStream::from_path(&path)).unwrap();
        let put = server.client().put_object().bucket(BUCKET).key("streamed").body(body);
        server.wait(put.checksum_algorithm(algorithm).content_encoding("gzip").send()).unwrap();
        let get = server.client().get_object().bucket(BUCKET).key("streamed");
        let found = server.wait(get.checksum_mode(ChecksumMode::Enabled).send()).unwrap();
        assert_eq!(found.content_encoding.as_deref(), Some("gzip"));
        assert!(server.wait(found.body.collect()).unwrap().to_vec() == bytes);
    }
}

#[test]
fn reads_have_ranges_and_conditions() {
    let server = Server::start();
    let bytes = Noise(1).bytes(3_000_000);
    server.put("k", &bytes);
    let client = server.client();
    let get = || client.get_object().bucket(BUCKET).key("k");
    let ranges = [
        ("bytes=0-0", 0..1),
        ("bytes=1000000-", 1_000_000..3_000_000),
        ("bytes=2999999-9999999", 2_999_999..3_000_000),
        ("bytes=-10", 2_999_990..3_000_000),
    ];
    for (asked, range) in ranges {
        let found = server.wait(get().range(asked).send()).unwrap();
        let expected = format!("bytes {}-{}/3000000", range.start, range.end - 1);
        assert_eq!(found.content_range.as_deref(), Some(&*expected));
        assert!(server.wait(found.body.collect()).unwrap().to_vec() == bytes[range]);
    }
    let error = server.wait(get().range("bytes=3000000-").send()).unwrap_err();
    assert_eq!(code(&error), (416, "InvalidRange"));

    let etag = md5(&bytes);
    assert!(server.wait(get().if_match(&etag).send()).is_ok());
    let error = server.wait(get().if_match("other").send()).unwrap_err();
    assert_eq!(code(&error), (412, "PreconditionFailed"));
    let error = server.wait(get().if_none_match(format!("\"{etag}\"")).send()).unwrap_err();
    assert_eq!(code(&error).0, 304);
    let at = server.wait(get().send()).unwrap().last_modified.unwrap();
    let error = server.wait(get().if_modified_since(at).send()).unwrap_err();
    assert_eq!(code(&error).0, 304);
    assert!(server.wait(get().if_unmodified_since(at).send()).is_ok());

    let other = get().response_content_type("text/css").response_cache_control("no-store").send();
    let other = server.wait(other).unwrap();
    assert_eq!(other.content_type.as_deref(), Some("text/css"));
    assert_eq!(other.cache_control.as_deref(), Some("no-store"));

    assert_eq!(server.get("none"), None);
    let error = server.wait(client.head_object().bucket(BUCKET).key("none").send()).unwrap_err();
    assert!(error.as_service_error().unwrap().is_not_found());
    let long = "x".repeat(513);
    let error = server.wait(client.get_object().bucket(BUCKET).key(long).send()).unwrap_err();
    assert_eq!(code(&error), (400, "KeyTooLongError"));
}

#[test]
fn puts_have_conditions() {
    let server = Server::start();
    let client = server.client();
    let put = |body: &'static [u8]| {
        client.put_object().bucket(BUCKET).key("k").body(ByteStream::from_static(body))
    };
    server.wait(put(b"one").if_none_match("*").send()).unwrap();
    let error = server.wait(put(b"two").if_none_match("*").send()).unwrap_err();
    assert_eq!(code(&error), (412, "PreconditionFailed"));
    let error = server.wait(put(b"two").if_match("other").send()).unwrap_err();
    assert_eq!(code(&error), (412, "PreconditionFailed"));
    assert_eq!(server.get("k").unwrap(), b"one");
    server.wait(put(b"two").if_match(md5(b"one")).send()).unwrap();
    assert_eq!(server.get("k").unwrap(), b"two");
    let error =
        server.wait(put(b"three").content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send()).unwrap_err();
    assert_eq!(code(&error), (400, "BadDigest"));
    let error = server.wait(put(b"three").tagging("a=b").send()).unwrap_err();
    assert_eq!(code(&error), (501, "NotImplemented"));
    assert_eq!(server.get("k").unwrap(), b"two");
}

/// What BuildKit does to keep a blob from ageing, and others to rename.
#[test]
fn copies_move_no_data() {
    let server = Server::start();
    let client = server.client();
    let bytes = Noise(3).bytes(2_000_000);
    let (key, source) = ("blobs/sha256:00", format!("{BUCKET}/blobs/sha256:00"));
    let put = client.put_object().bucket(BUCKET).key(key).body(bytes.clone().into());
    server.wait(put.metadata("a", "1").send()).unwrap();
    let stored = || {
        let packs = server.sandbox.store().join("packs");
        crate::support::contents(&packs).values().map(Vec::len).sum::<usize>()
    };
    let before = stored();

    let touch = || client.copy_object().bucket(BUCKET).key(key).copy_source(&source);
    let error = server.wait(touch().send()).unwrap_err();
    assert_eq!(code(&error), (400, "InvalidRequest"));
    let touched = touch().metadata_directive(MetadataDirective::Replace).metadata("b", "2").send();
    let touched = server.wait(touched).unwrap().copy_object_result.unwrap();
    assert_eq!(touched.e_tag.unwrap(), format!("\"{}\"", md5(&bytes)));
    let head = server.wait(client.head_object().bucket(BUCKET).key(key).send()).unwrap();
    let metadata = head.metadata.unwrap();
    assert_eq!((metadata.get("a"), metadata.get("b").map(String::as_str)), (None, Some("2")));

    let copy = || client.copy_object().bucket("other").key("copied").copy_source(&source);
    let error = server.wait(copy().copy_source_if_match("other").send()).unwrap_err();
    assert_eq!(code(&error), (412, "PreconditionFailed"));
    server.wait(copy().copy_source_if_match(md5(&bytes)).send()).unwrap();
    let found = server.wait(client.get_object().bucket("other").key("copied").send()).unwrap();
    assert_eq!(found.metadata.unwrap()["b"], "2");
    assert!(server.wait(found.body.collect()).unwrap().to_vec() == bytes);
    assert_eq!(stored(), before);

    let gone = client.copy_object().bucket(BUCKET).key("x").copy_source("cache/none").send();
    assert_eq!(code(&server.wait(gone).unwrap_err()), (404, "NoSuchKey"));
}
