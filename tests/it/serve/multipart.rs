//! Uploads in parts.

#![allow(clippy::result_large_err, reason = "the SDK's errors are, and each is looked at")]

use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};

use super::{BUCKET, Server, code};
use crate::support::Noise;

const PART: usize = 5 << 20;

fn part(number: i32, etag: &str) -> CompletedPart {
    CompletedPart::builder().part_number(number).e_tag(etag).build()
}

fn list(parts: impl IntoIterator<Item = CompletedPart>) -> CompletedMultipartUpload {
    let parts = Some(parts.into_iter().collect());
    CompletedMultipartUpload::builder().set_parts(parts).build()
}

#[test]
fn parts_become_an_object() {
    let server = Server::start();
    let client = server.client();
    let bytes = Noise(5).bytes(PART + 1000);
    let begin = client.create_multipart_upload().bucket(BUCKET).key("k").content_type("a/b");
    let begin = begin
        .checksum_algorithm(ChecksumAlgorithm::Crc64Nvme)
        .checksum_type(ChecksumType::FullObject);
    let id = server.wait(begin.send()).unwrap().upload_id.unwrap();
    let put = |number: i32, bytes: &[u8]| {
        let put = client.upload_part().bucket(BUCKET).key("k").upload_id(&id).part_number(number);
        let put = put.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).body(bytes.to_vec().into());
        server.wait(put.send()).unwrap().e_tag.unwrap()
    };
    // The last first, and one that is replaced.
    let second = put(2, &bytes[PART..]);
    put(1, b"not this");
    let first = put(1, &bytes[..PART]);
    // Neither an object nor a bucket yet, for those who look.
    assert_eq!(server.get("k"), None);
    let parts = client.list_parts().bucket(BUCKET).key("k").upload_id(&id);
    let listed = server.wait(parts.clone().max_parts(1).send()).unwrap();
    assert_eq!((listed.is_truncated, listed.parts().len()), (Some(true), 1));
    let listed = server.wait(parts.part_number_marker("1").send()).unwrap();
    assert_eq!(listed.parts()[0].e_tag.as_deref(), Some(&*second));
    assert_eq!((listed.is_truncated, listed.parts()[0].size), (Some(false), Some(1000)));
    let uploads = server.wait(client.list_multipart_uploads().bucket(BUCKET).send()).unwrap();
    assert_eq!(uploads.uploads()[0].upload_id.as_deref(), Some(&*id));

    let complete = |parts| {
        let complete = client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
        server.wait(complete.multipart_upload(list(parts)).send())
    };
    let error = complete([part(2, &second), part(1, &first)]).unwrap_err();
    assert_eq!(code(&error), (400, "InvalidPartOrder"));
    let error = complete([part(1, &first), part(3, &second)]).unwrap_err();
    assert_eq!(code(&error), (400, "InvalidPart"));
    let done = complete([part(1, &first), part(2, &second)]).unwrap();
    assert!(done.e_tag.as_ref().unwrap().ends_with("-2\""), "{done:?}");
    // An answer that was lost is asked for again.
    let again = complete([part(1, &first), part(2, &second)]).unwrap();
    assert_eq!(again.e_tag, done.e_tag);

    let get = client.get_object().bucket(BUCKET).key("k").checksum_mode(ChecksumMode::Enabled);
    let found = server.wait(get.send()).unwrap();
    assert_eq!(found.content_type.as_deref(), Some("a/b"));
    assert_eq!(found.checksum_crc64_nvme, done.checksum_crc64_nvme);
    assert!(found.checksum_crc64_nvme.is_some());
    // The SDK compares it with what it reads.
    assert!(server.wait(found.body.collect()).unwrap().to_vec() == bytes);
    let last = client.get_object().bucket(BUCKET).key("k").part_number(2).send();
    let last = server.wait(last).unwrap();
    assert_eq!((last.parts_count, last.content_length), (Some(2), Some(1000)));
    let uploads = server.wait(client.list_multipart_uploads().bucket(BUCKET).send()).unwrap();
    assert!(uploads.uploads().is_empty());
}

#[test]
fn parts_can_be_copied_and_uploads_aborted() {
    let server = Server::start();
    let client = server.client();
    let bytes = Noise(6).bytes(PART + 5);
    server.put("source", &bytes);
    let begin = client.create_multipart_upload().bucket(BUCKET).key("k");
    let id = server.wait(begin.send()).unwrap().upload_id.unwrap();
    let copy = |number: i32, range: &str| {
        let copy = client.upload_part_copy().bucket(BUCKET).key("k").upload_id(&id);
        let copy = copy.part_number(number).copy_source(format!("{BUCKET}/source"));
        server.wait(copy.copy_source_range(range).send())
    };
    let etag =
        |number, range| copy(number, range).unwrap().copy_part_result.unwrap().e_tag.unwrap();
    let range = format!("bytes=3-{}", PART + 2);
    let first = etag(1, &range);
    let short = etag(2, "bytes=0-2");
    let third = etag(3, "bytes=0-2");
    assert_eq!(code(&copy(4, "bytes=0-99999999").unwrap_err()), (400, "InvalidArgument"));
    let complete = |parts| {
        let complete = client.complete_multipart_upload().bucket(BUCKET).key("k").upload_id(&id);
        server.wait(complete.multipart_upload(list(parts)).send())
    };
    let error = complete(vec![part(1, &first), part(2, &short), part(3, &third)]).unwrap_err();
    assert_eq!(code(&error), (400, "EntityTooSmall"));
    complete(vec![part(1, &first), part(3, &third)]).unwrap();
    let expected = [&bytes[3..PART + 3], &bytes[..3]].concat();
    assert!(server.get("k").unwrap() == expected);

    let begin = client.create_multipart_upload().bucket(BUCKET).key("gone");
    let id = server.wait(begin.send()).unwrap().upload_id.unwrap();
    let abort = || client.abort_multipart_upload().bucket(BUCKET).key("gone").upload_id(&id);
    server.wait(abort().send()).unwrap();
    assert_eq!(code(&server.wait(abort().send()).unwrap_err()), (404, "NoSuchUpload"));
    let put = client.upload_part().bucket(BUCKET).key("gone").upload_id(&id).part_number(1);
    assert_eq!(code(&server.wait(put.send()).unwrap_err()), (404, "NoSuchUpload"));
}
