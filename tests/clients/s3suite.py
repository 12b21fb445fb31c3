"""A plugin of pytest for the suite that s3suite.sh runs: which cases, and how it cleans up."""

from pathlib import Path

import pytest

MUST_PASS = Path(__file__).with_name("s3suite.txt")
# What larder has no calls for, as the suite's markers say it.
LEFT_OUT = {
    "appendobject",
    "auth_aws2",
    "bucket_encryption",
    "bucket_logging",
    "bucket_logging_cleanup",
    "bucket_policy",
    "cloud_restore",
    "cloud_transition",
    "delete_marker",
    "encryption",
    "fails_without_logging_rollover",
    "lifecycle",
    "lifecycle_expiration",
    "lifecycle_transition",
    "object_lock",
    "object_ownership",
    "s3website",
    "sse_s3",
    "storage_class",
    "tagging",
    "versioning",
}
# The same for cases that have no such marker.
LEFT_OUT_WORDS = (
    "acl",
    "attributes",
    "cors",
    "grant",
    "logging",
    "object_lock",
    "policy",
    "post_object",
    "public_block",
    "tagging",
    "torrent",
    "version",
)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="not only the cases that have to pass")


def pytest_collection_modifyitems(config, items):
    """Leave out what larder does not offer, and, unless told otherwise, what may fail."""
    listed = set(MUST_PASS.read_text().split()) if MUST_PASS.exists() else set()
    kept = [item for item in items if _is_offered(item)]
    if not config.getoption("--all") and not config.getoption("keyword"):
        kept = [item for item in kept if item.name in listed]
        missing = listed - {item.name for item in kept}
        if missing:
            raise pytest.UsageError(f"not in the suite: {', '.join(sorted(missing))}")
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _is_offered(item):
    marked = {mark.name for mark in item.iter_markers()}
    return not marked & LEFT_OUT and not any(word in item.name for word in LEFT_OUT_WORDS)


def pytest_collection_finish(session):
    """Empty buckets without listing versions, which larder does not have."""
    import s3tests.functional as suite

    def nuke_bucket(client, bucket):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
        uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        for upload in uploads:
            client.abort_multipart_upload(
                Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    suite.nuke_bucket = nuke_bucket
