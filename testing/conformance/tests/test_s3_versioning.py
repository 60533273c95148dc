"""Versions and object lock: what S3 promises of both, with boto3."""

import datetime

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def versioned(c, bucket):
    """A bucket whose versioning is enabled."""
    c.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def refused(call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["ResponseMetadata"]["HTTPHeaders"]


def listed(c, bucket, **arguments):
    page = c.list_object_versions(Bucket=bucket, **arguments)
    objects = [(v["Key"], v["VersionId"], v["IsLatest"]) for v in page.get("Versions", [])]
    markers = [(v["Key"], v["VersionId"], v["IsLatest"]) for v in page.get("DeleteMarkers", [])]
    return objects, markers


def test_versions_are_kept_and_come_back(c, versioned):
    first, second = (c.put_object(Bucket=versioned, Key="k", Body=body)["VersionId"] for body in (b"one", b"two"))
    assert first != second
    read = c.get_object(Bucket=versioned, Key="k", VersionId=first)
    assert (read["Body"].read(), read["VersionId"]) == (b"one", first)
    assert c.head_object(Bucket=versioned, Key="k")["VersionId"] == second
    assert listed(c, versioned) == ([("k", second, True), ("k", first, False)], [])
    c.delete_object(Bucket=versioned, Key="k", VersionId=second)
    assert c.get_object(Bucket=versioned, Key="k")["Body"].read() == b"one"
    status, code, _ = refused(c.get_object, Bucket=versioned, Key="k", VersionId=second)
    assert (status, code) == (404, "NoSuchVersion")
    status, code, _ = refused(c.get_object, Bucket=versioned, Key="k", VersionId="nonsense")
    assert (status, code) == (400, "InvalidArgument")


def test_a_delete_marker_hides_and_is_told(c, versioned):
    version = c.put_object(Bucket=versioned, Key="k", Body=b"content")["VersionId"]
    deleted = c.delete_object(Bucket=versioned, Key="k")
    assert deleted["DeleteMarker"] is True
    status, code, headers = refused(c.get_object, Bucket=versioned, Key="k")
    assert (status, code, headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == (404, "NoSuchKey", "true", deleted["VersionId"])
    status, code, headers = refused(c.get_object, Bucket=versioned, Key="k", VersionId=deleted["VersionId"])
    assert (status, code, headers["x-amz-delete-marker"]) == (405, "MethodNotAllowed", "true")
    assert "Contents" not in c.list_objects_v2(Bucket=versioned)
    assert listed(c, versioned) == ([("k", version, False)], [("k", deleted["VersionId"], True)])
    assert c.delete_object(Bucket=versioned, Key="k", VersionId=deleted["VersionId"])["DeleteMarker"] is True
    assert c.get_object(Bucket=versioned, Key="k")["Body"].read() == b"content"


def test_the_null_version_is_replaced_while_suspended(c, bucket):
    c.put_object(Bucket=bucket, Key="k", Body=b"before")
    c.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    named = c.put_object(Bucket=bucket, Key="k", Body=b"named")["VersionId"]
    assert listed(c, bucket)[0] == [("k", named, True), ("k", "null", False)]
    c.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert "VersionId" not in c.put_object(Bucket=bucket, Key="k", Body=b"suspended")
    assert listed(c, bucket)[0] == [("k", "null", True), ("k", named, False)]
    assert c.delete_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    assert listed(c, bucket) == ([("k", named, False)], [("k", "null", True)])


def test_pages_go_on_within_a_key(c, versioned):
    for key in ("a", "b/1", "b/2", "c"):
        for body in (b"1", b"2", b"3"):
            c.put_object(Bucket=versioned, Key=key, Body=body)
    everything, _ = listed(c, versioned)
    pages = c.get_paginator("list_object_versions").paginate(Bucket=versioned, PaginationConfig={"PageSize": 2})
    assert [(v["Key"], v["VersionId"], v["IsLatest"]) for page in pages for v in page.get("Versions", [])] == everything
    rolled = c.list_object_versions(Bucket=versioned, Delimiter="/")
    assert [p["Prefix"] for p in rolled["CommonPrefixes"]] == ["b/"] and len(rolled["Versions"]) == 6


def test_many_versions_are_deleted_at_once(c, versioned):
    versions = [c.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"] for _ in range(3)]
    answer = c.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k", "VersionId": v} for v in versions]})
    assert sorted(d["VersionId"] for d in answer["Deleted"]) == sorted(versions) and "Errors" not in answer
    assert listed(c, versioned) == ([], [])


def test_a_bucket_with_versions_alone_is_not_empty(c, versioned):
    version = c.put_object(Bucket=versioned, Key="k", Body=b"x")["VersionId"]
    marker = c.delete_object(Bucket=versioned, Key="k")["VersionId"]
    assert refused(c.delete_bucket, Bucket=versioned)[:2] == (409, "BucketNotEmpty")
    for gone in (version, marker):
        c.delete_object(Bucket=versioned, Key="k", VersionId=gone)
    assert listed(c, versioned) == ([], [])


def test_what_is_locked_is_kept(c, versioned):
    until = datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc)
    assert refused(c.get_object_lock_configuration, Bucket=versioned)[1] == "ObjectLockConfigurationNotFoundError"
    assert refused(c.put_object_legal_hold, Bucket=versioned, Key="k", LegalHold={"Status": "ON"})[1] == "InvalidRequest"
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    lock = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    c.put_object_lock_configuration(Bucket=versioned, ObjectLockConfiguration=lock)
    assert c.get_object_lock_configuration(Bucket=versioned)["ObjectLockConfiguration"] == lock
    suspended = refused(c.put_bucket_versioning, Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    assert suspended[:2] == (409, "InvalidBucketState")

    version = c.put_object(Bucket=versioned, Key="k", Body=b"kept")["VersionId"]
    assert c.head_object(Bucket=versioned, Key="k")["ObjectLockMode"] == "GOVERNANCE"
    assert refused(c.delete_object, Bucket=versioned, Key="k", VersionId=version)[:2] == (403, "AccessDenied")
    c.put_object_retention(Bucket=versioned, Key="k", VersionId=version, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until})
    assert c.get_object_retention(Bucket=versioned, Key="k")["Retention"]["RetainUntilDate"] == until
    sooner = {"Mode": "GOVERNANCE", "RetainUntilDate": until - datetime.timedelta(days=1)}
    assert refused(c.put_object_retention, Bucket=versioned, Key="k", Retention=sooner)[:2] == (403, "AccessDenied")
    past = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)}
    assert refused(c.put_object_retention, Bucket=versioned, Key="k", Retention=past)[:2] == (400, "InvalidArgument")
    c.put_object_legal_hold(Bucket=versioned, Key="k", LegalHold={"Status": "ON"})
    bypassed = refused(c.delete_object, Bucket=versioned, Key="k", VersionId=version, BypassGovernanceRetention=True)
    assert bypassed[:2] == (403, "AccessDenied")
    c.put_object_legal_hold(Bucket=versioned, Key="k", LegalHold={"Status": "OFF"})
    c.delete_object(Bucket=versioned, Key="k", VersionId=version, BypassGovernanceRetention=True)
    assert listed(c, versioned) == ([], [])
