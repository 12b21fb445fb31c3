//! Listings, deletes and buckets.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::{Delete, EncodingType, ObjectIdentifier};

use super::{BUCKET, Server, code};

const KEYS: [&str; 6] = ["a", "d/1", "d/2", "d/e/3", "f g", "ü"];

fn server() -> Server {
    let server = Server::start();
    for key in KEYS {
        server.put(key, key.as_bytes());
    }
    server
}

#[test]
fn listings_have_pages() {
    let server = server();
    let client = server.client();
    let list = || client.list_objects_v2().bucket(BUCKET);
    let pages = list().into_paginator().page_size(2).send();
    let pages = server.wait(pages.try_collect()).unwrap();
    assert_eq!(pages.iter().map(|page| page.contents().len()).collect::<Vec<_>>(), [2, 2, 2]);
    let keys = pages.iter().flat_map(ListObjectsV2Output::contents).map(|one| one.key().unwrap());
    assert_eq!(keys.collect::<Vec<_>>(), KEYS);
    let sizes: Vec<_> =
        pages.iter().flat_map(ListObjectsV2Output::contents).map(|one| one.size).collect();
    assert_eq!(sizes[0], Some(1));
    assert!(pages[0].contents()[0].e_tag.is_some());

    let folded = list().delimiter("/").into_paginator().page_size(1).send();
    let folded = server.wait(folded.try_collect()).unwrap();
    let told = folded.iter().map(|page| {
        let prefix = page.common_prefixes().first().and_then(|one| one.prefix());
        prefix.or(page.contents().first().and_then(|one| one.key())).unwrap()
    });
    assert_eq!(told.collect::<Vec<_>>(), ["a", "d/", "f g", "ü"]);
    let below = server.wait(list().prefix("d/").delimiter("/").start_after("d/1").send()).unwrap();
    assert_eq!(below.contents()[0].key(), Some("d/2"));
    assert_eq!(below.common_prefixes()[0].prefix(), Some("d/e/"));
    let encoded = list().prefix("f").encoding_type(EncodingType::Url).send();
    assert_eq!(server.wait(encoded).unwrap().contents()[0].key(), Some("f%20g"));
    let error = server.wait(list().continuation_token("!").send()).unwrap_err();
    assert_eq!(code(&error), (400, "InvalidArgument"));

    let first = client.list_objects().bucket(BUCKET).delimiter("/").max_keys(2).send();
    let first = server.wait(first).unwrap();
    assert_eq!((first.is_truncated, first.next_marker()), (Some(true), Some("d/")));
    let rest = client.list_objects().bucket(BUCKET).delimiter("/").marker("d/").send();
    let rest = server.wait(rest).unwrap();
    assert_eq!((rest.is_truncated, rest.contents().len()), (Some(false), 2));
}

#[test]
fn objects_are_deleted_one_by_one_and_together() {
    let server = server();
    let client = server.client();
    let delete = |key: &str| client.delete_object().bucket(BUCKET).key(key);
    server.wait(delete("a").send()).unwrap();
    // That it is not there is what was wanted.
    server.wait(delete("a").send()).unwrap();
    let error = server.wait(delete("d/1").if_match("other").send()).unwrap_err();
    assert_eq!(code(&error), (412, "PreconditionFailed"));
    let object = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let objects = |quiet: bool| {
        let all = Delete::builder().objects(object("d/1")).objects(object("none")).quiet(quiet);
        client.delete_objects().bucket(BUCKET).delete(all.build().unwrap()).send()
    };
    let deleted = server.wait(objects(false)).unwrap();
    assert_eq!((deleted.deleted().len(), deleted.errors().len()), (2, 0));
    assert!(server.wait(objects(true)).unwrap().deleted().is_empty());
    assert_eq!((server.get("a"), server.get("d/1")), (None, None));
    assert!(server.get("d/2").is_some());
}

#[test]
fn buckets_are_there_when_they_are_used() {
    let server = server();
    let client = server.client();
    let names = || {
        let listed = server.wait(client.list_buckets().send()).unwrap();
        listed.buckets().iter().map(|one| one.name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), [BUCKET]);
    server.wait(client.create_bucket().bucket("made").send()).unwrap();
    server.wait(client.head_bucket().bucket("made").send()).unwrap();
    server.wait(client.delete_bucket().bucket("made").send()).unwrap();
    let error = server.wait(client.delete_bucket().bucket(BUCKET).send()).unwrap_err();
    assert_eq!(code(&error), (409, "BucketNotEmpty"));
    server.wait(client.get_bucket_location().bucket(BUCKET).send()).unwrap();
    let versioning = server.wait(client.get_bucket_versioning().bucket(BUCKET).send()).unwrap();
    assert_eq!(versioning.status, None);
    let error = server.wait(client.get_bucket_acl().bucket(BUCKET).send()).unwrap_err();
    assert_eq!(code(&error), (501, "NotImplemented"));

    let server = Server::on(server.stop(), &["--bucket", "one", "--bucket", "two"]);
    let client = server.client();
    let error = server.wait(client.list_objects_v2().bucket(BUCKET).send()).unwrap_err();
    assert_eq!(code(&error), (404, "NoSuchBucket"));
    let error = server.wait(client.create_bucket().bucket("three").send()).unwrap_err();
    assert_eq!(code(&error), (403, "AccessDenied"));
    let listed = server.wait(client.list_buckets().send()).unwrap();
    assert_eq!(listed.buckets().len(), 2);
}
