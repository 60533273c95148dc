"""Buckets and objects as everyday applications use them.

Holds "Where this page is silent, do what Amazon S3 does".
"""

import time
import urllib.request
from datetime import datetime, timedelta, timezone

import pytest

from harness import clients
from harness.checksums import ALGORITHMS, checksum
from harness.clients import headers, keys_of, read, refused, walk_v2
from harness.data import KIB, MIB, SIZES, content, etag, odd_keys
from harness.shadowed import name


# -- buckets ---------------------------------------------------------------------------------------------------


def test_bucket_life(c):
    """A bucket is created, found, listed, located, and deleted when empty."""
    bucket = name("life")
    assert refused(c.head_bucket, Bucket=bucket).status == 404
    assert c.create_bucket(Bucket=bucket)["Location"].endswith(bucket)
    c.head_bucket(Bucket=bucket)
    found = {b["Name"]: b["CreationDate"] for b in c.list_buckets()["Buckets"]}
    assert abs(found[bucket] - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert "LocationConstraint" in c.get_bucket_location(Bucket=bucket)
    c.create_bucket(Bucket=bucket)
    error = refused(c.create_bucket, Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert (error.status, error.code) == (409, "BucketAlreadyOwnedByYou")
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    error = refused(c.delete_bucket, Bucket=bucket)
    assert (error.status, error.code) == (409, "BucketNotEmpty")
    c.delete_object(Bucket=bucket, Key="k")
    c.delete_bucket(Bucket=bucket)
    assert refused(c.head_bucket, Bucket=bucket).status == 404
    assert refused(c.delete_bucket, Bucket=bucket).code == "NoSuchBucket"
    c.create_bucket(Bucket=bucket)
    assert keys_of(walk_v2(c, bucket)) == [], "a bucket of the same name begins empty"


def test_bucket_listing_is_sorted_and_paged(c):
    """ListBuckets is in order, and pages with max-buckets and a token."""
    made = sorted(name("paged") for _ in range(5))
    for bucket in made:
        c.create_bucket(Bucket=bucket)
    names = [b["Name"] for b in c.list_buckets()["Buckets"]]
    assert names == sorted(names) and set(made) <= set(names)
    walked, options = [], {}
    while True:
        page = c.list_buckets(MaxBuckets=2, **options)
        assert len(page["Buckets"]) <= 2
        walked += [b["Name"] for b in page["Buckets"]]
        if not page.get("ContinuationToken"):
            break
        options = dict(ContinuationToken=page["ContinuationToken"])
    assert walked == names


def test_location_constraint_is_accepted(c):
    """A LocationConstraint, `auto` included, creates a bucket."""
    for constraint in ("auto", "eu-west-1"):
        bucket = name("located")
        c.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": constraint})
        c.head_bucket(Bucket=bucket)


def test_missing_bucket(c):
    """Everything in a bucket that is not there answers NoSuchBucket."""
    calls = [
        (c.get_object, dict(Key="k")), (c.put_object, dict(Key="k", Body=b"x")), (c.delete_object, dict(Key="k")), (c.list_objects_v2, {}), (c.list_objects, {}),
        (c.create_multipart_upload, dict(Key="k")), (c.delete_objects, dict(Delete={"Objects": [{"Key": "k"}]})), (c.get_bucket_location, {}),
        (c.list_multipart_uploads, {}), (c.get_object_tagging, dict(Key="k")),
    ]
    for call, arguments in calls:
        error = refused(call, Bucket="no-such-bucket-here", **arguments)
        assert (error.status, error.code) == (404, "NoSuchBucket"), call


# -- objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_put_get_head(c, bucket, size):
    """What goes in comes out, with its length, MD5 as ETag, and type."""
    body = content(size)
    assert c.put_object(Bucket=bucket, Key="k", Body=body)["ETag"] == etag(body)
    answer = c.get_object(Bucket=bucket, Key="k")
    assert answer["Body"].read() == body
    head = c.head_object(Bucket=bucket, Key="k")
    for told in (answer, head):
        assert told["ContentLength"] == size and told["ETag"] == etag(body) and told["AcceptRanges"] == "bytes"
        assert told["ContentType"] == "binary/octet-stream"
        assert abs(told["LastModified"] - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert headers(head).get("x-tigris-read-source") != "block_shadow"
    assert c.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == size


def test_overwrite_and_delete(c, bucket):
    """The last write wins; a delete is 204 whether or not the key was there, and reads are 404 from then on."""
    for body in (b"one", content(5 * MIB), b"", b"three"):
        c.put_object(Bucket=bucket, Key="k", Body=body)
        assert read(c, bucket, "k") == body
    for _ in range(2):
        assert c.delete_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPStatusCode"] == 204
        error = refused(c.get_object, Bucket=bucket, Key="k")
        assert (error.status, error.code) == (404, "NoSuchKey")
        assert refused(c.head_object, Bucket=bucket, Key="k").status == 404


def test_metadata_and_system_headers(c, bucket):
    """User metadata and the headers S3 stores come back as they were put; a replacing PUT replaces them all."""
    expires = datetime(2031, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    stored = dict(
        ContentType="text/html; charset=utf-8", CacheControl="max-age=60, public", ContentDisposition='attachment; filename="a b.txt"', ContentEncoding="gzip",
        ContentLanguage="de, en", Expires=expires,
    )
    c.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"simple": "one", "With-Dash": "two words", "empty": ""}, **stored)
    for answer in (c.get_object(Bucket=bucket, Key="k"), c.head_object(Bucket=bucket, Key="k")):
        assert answer["Metadata"] == {"simple": "one", "with-dash": "two words", "empty": ""}
        for field, value in stored.items():
            assert answer[field] == value, field
    c.put_object(Bucket=bucket, Key="k", Body=b"y")
    answer = c.head_object(Bucket=bucket, Key="k")
    assert answer["Metadata"] == {} and "CacheControl" not in answer and "ContentEncoding" not in answer


def test_metadata_limit(c, bucket):
    """More than 2 KiB of user metadata is refused."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "v" * 2000})
    error = refused(c.put_object, Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "v" * 2100})
    assert (error.status, error.code) == (400, "MetadataTooLarge")


def test_ranges(c, bucket):
    """Single ranges of every shape; a range outside is 416; one that makes no sense is ignored."""
    body = content(300 * KIB)
    c.put_object(Bucket=bucket, Key="k", Body=body)
    size = len(body)
    cases = [
        ("bytes=0-0", body[:1]), ("bytes=5-9", body[5:10]), (f"bytes={size - 1}-", body[-1:]), ("bytes=-10", body[-10:]), (f"bytes=-{size * 2}", body),
        (f"bytes=0-{size * 2}", body), ("bytes=131070-131080", body[131070:131081]), ("bytes=0-", body),
    ]
    for wanted, expected in cases:
        answer = c.get_object(Bucket=bucket, Key="k", Range=wanted)
        assert answer["Body"].read() == expected, wanted
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206 and answer["ContentRange"].endswith(f"/{size}") and answer["ContentLength"] == len(expected)
    for wanted in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0"):
        error = refused(c.get_object, Bucket=bucket, Key="k", Range=wanted)
        assert (error.status, error.code) == (416, "InvalidRange"), wanted
    for wanted in ("bytes=9-5", "lines=1-2", "bytes=a-b"):
        answer = c.get_object(Bucket=bucket, Key="k", Range=wanted)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200 and len(answer["Body"].read()) == size, wanted
    c.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert refused(c.get_object, Bucket=bucket, Key="empty", Range="bytes=0-0").status == 416


def test_head_with_a_range(c, bucket):
    """HEAD judges a range as GET does."""
    c.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    answer = c.head_object(Bucket=bucket, Key="k", Range="bytes=2-4")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206 and answer["ContentLength"] == 3
    assert refused(c.head_object, Bucket=bucket, Key="k", Range="bytes=50-").status == 416


def test_response_overrides(c, bucket):
    """response-* parameters replace headers of the answer."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x", ContentType="text/plain")
    answer = c.get_object(
        Bucket=bucket, Key="k", ResponseContentType="application/json", ResponseCacheControl="no-cache", ResponseContentDisposition="attachment; filename=x",
        ResponseContentLanguage="fr", ResponseContentEncoding="br", ResponseExpires=datetime(2030, 1, 1, tzinfo=timezone.utc),
    )
    assert answer["ContentType"] == "application/json" and answer["CacheControl"] == "no-cache" and answer["ContentDisposition"] == "attachment; filename=x"
    assert answer["ContentLanguage"] == "fr" and answer["ContentEncoding"] == "br" and headers(answer)["expires"].startswith("Tue, 01 Jan 2030")
    assert c.head_object(Bucket=bucket, Key="k")["ContentType"] == "text/plain"


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_conditional_reads(c, bucket, operation):
    """The four conditions and the pairs in which one outranks the other (RFC 9110, 13.2.2)."""
    call = getattr(c, operation)
    tag = c.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    modified = c.head_object(Bucket=bucket, Key="k")["LastModified"]
    before, after = modified - timedelta(hours=1), modified + timedelta(hours=1)
    after = min(after, datetime.now(timezone.utc))
    time.sleep(max(0.0, (modified - datetime.now(timezone.utc)).total_seconds()))
    ok = [
        dict(IfMatch=tag), dict(IfMatch="*"), dict(IfNoneMatch='"other"'), dict(IfModifiedSince=before), dict(IfUnmodifiedSince=modified),
        dict(IfMatch=tag, IfUnmodifiedSince=before), dict(IfNoneMatch='"other"', IfModifiedSince=after), dict(IfMatch=f'"other", {tag}'),
    ]
    for conditions in ok:
        assert call(Bucket=bucket, Key="k", **conditions)["ETag"] == tag, conditions
    for conditions in (dict(IfNoneMatch=tag), dict(IfNoneMatch="*"), dict(IfModifiedSince=modified), dict(IfNoneMatch=tag, IfModifiedSince=before)):
        error = refused(call, Bucket=bucket, Key="k", **conditions)
        assert error.status == 304 and error.headers["etag"] == tag, conditions
    for conditions in (dict(IfMatch='"other"'), dict(IfUnmodifiedSince=before)):
        error = refused(call, Bucket=bucket, Key="k", **conditions)
        assert error.status == 412, conditions
        assert operation == "head_object" or error.code == "PreconditionFailed"


def test_conditional_writes(c, bucket):
    """If-None-Match: * creates once; If-Match replaces what is known."""
    tag = c.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    error = refused(c.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert (error.status, error.code) == (412, "PreconditionFailed")
    tag = c.put_object(Bucket=bucket, Key="k", Body=b"3", IfMatch=tag)["ETag"]
    assert refused(c.put_object, Bucket=bucket, Key="k", Body=b"4", IfMatch='"0123"').status == 412
    assert read(c, bucket, "k") == b"3"
    error = refused(c.put_object, Bucket=bucket, Key="absent", Body=b"5", IfMatch=tag)
    assert (error.status, error.code) == (404, "NoSuchKey")
    assert keys_of(walk_v2(c, bucket)) == ["k"]


def test_conditional_writes_race(umbra, c, bucket):
    """Of many that create the same key on condition that it is absent, exactly one wins."""
    from concurrent.futures import ThreadPoolExecutor

    def create(number):
        try:
            c.put_object(Bucket=bucket, Key="k", Body=str(number).encode(), IfNoneMatch="*")
            return number
        except c.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412), error
            return None

    with ThreadPoolExecutor(16) as pool:
        winners = [n for n in pool.map(create, range(32)) if n is not None]
    assert len(winners) == 1 and read(c, bucket, "k") == str(winners[0]).encode()


# -- keys ------------------------------------------------------------------------------------------------------


def test_odd_keys(c, bucket):
    """Two hundred keys that are no paths: put, read, listed in byte order, tagged, copied, deleted."""
    keys = odd_keys()
    assert len(keys) >= 200
    for key in keys:
        c.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert read(c, bucket, key) == key.encode(), repr(key)
        assert c.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(key.encode())
    expected = sorted(keys, key=str.encode)
    assert keys_of(walk_v2(c, bucket)) == expected
    assert keys_of(walk_v2(c, bucket, MaxKeys=7)) == expected
    assert keys_of(clients.walk_v1(c, bucket, MaxKeys=7)) == expected
    deleted = c.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys if all(ch >= " " for ch in k)]})
    assert "Errors" not in deleted
    for key in keys:
        c.delete_object(Bucket=bucket, Key=key)
    assert keys_of(walk_v2(c, bucket)) == []


def test_odd_keys_copied(c, bucket):
    """CopyObject takes any key as its source."""
    for key in odd_keys()[::5]:
        c.put_object(Bucket=bucket, Key=key, Body=key.encode())
        c.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
        assert read(c, bucket, "copy") == key.encode(), repr(key)


def test_key_too_long(c, bucket):
    """A key of 1,025 bytes is refused with KeyTooLongError."""
    for key in ("x" * 1025, "\u00e9" * 513):
        error = refused(c.put_object, Bucket=bucket, Key=key, Body=b"x")
        assert (error.status, error.code) == (400, "KeyTooLongError")


# -- many at once ----------------------------------------------------------------------------------------------


def test_delete_objects(c, bucket):
    """DeleteObjects deletes up to a thousand keys, names each unless quiet, and does not mind absent ones."""
    keys = [f"k{n:04d}" for n in range(1000)]
    for key in keys[:20]:
        c.put_object(Bucket=bucket, Key=key, Body=b"x")
    answer = c.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == keys and "Errors" not in answer
    c.put_object(Bucket=bucket, Key="q", Body=b"x")
    answer = c.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "q"}], "Quiet": True})
    assert "Deleted" not in answer and keys_of(walk_v2(c, bucket)) == []
    error = refused(c.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": f"k{n}"} for n in range(1001)]})
    assert (error.status, error.code) == (400, "MalformedXML")


# -- copies ----------------------------------------------------------------------------------------------------


def test_copy(c, bucket):
    """A copy takes content, metadata and tags along; REPLACE replaces them; the source stays."""
    other = name("copies")
    c.create_bucket(Bucket=other)
    body = content(6 * MIB)
    c.put_object(Bucket=bucket, Key="a/s", Body=body, ContentType="text/x", Metadata={"m": "1"}, Tagging="t=1")
    answer = c.copy_object(Bucket=other, Key="t", CopySource={"Bucket": bucket, "Key": "a/s"})
    assert answer["CopyObjectResult"]["ETag"] == etag(body)
    head = c.head_object(Bucket=other, Key="t")
    assert read(c, other, "t") == body and head["ContentType"] == "text/x" and head["Metadata"] == {"m": "1"}
    assert c.get_object_tagging(Bucket=other, Key="t")["TagSet"] == [{"Key": "t", "Value": "1"}]
    c.copy_object(
        Bucket=other, Key="u", CopySource={"Bucket": bucket, "Key": "a/s"}, MetadataDirective="REPLACE", Metadata={"n": "2"}, ContentType="text/y",
        TaggingDirective="REPLACE", Tagging="v=2",
    )
    head = c.head_object(Bucket=other, Key="u")
    assert head["ContentType"] == "text/y" and head["Metadata"] == {"n": "2"}
    assert c.get_object_tagging(Bucket=other, Key="u")["TagSet"] == [{"Key": "v", "Value": "2"}]
    assert read(c, bucket, "a/s") == body
    c.delete_object(Bucket=bucket, Key="a/s")
    assert read(c, other, "t") == body, "a copy outlives its source"


def test_copy_onto_itself(c, bucket):
    """A copy onto itself must change something."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"m": "1"})
    source = {"Bucket": bucket, "Key": "k"}
    error = refused(c.copy_object, Bucket=bucket, Key="k", CopySource=source)
    assert (error.status, error.code) == (400, "InvalidRequest")
    c.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"m": "2"})
    assert c.head_object(Bucket=bucket, Key="k")["Metadata"] == {"m": "2"} and read(c, bucket, "k") == b"x"


def test_copy_conditions_and_absences(c, bucket):
    """Conditions on the source are judged; what is absent is named."""
    tag = c.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    source = {"Bucket": bucket, "Key": "k"}
    c.copy_object(Bucket=bucket, Key="t", CopySource=source, CopySourceIfMatch=tag)
    for conditions in (dict(CopySourceIfMatch='"other"'), dict(CopySourceIfNoneMatch=tag)):
        assert refused(c.copy_object, Bucket=bucket, Key="t2", CopySource=source, **conditions).status == 412
    assert refused(c.copy_object, Bucket=bucket, Key="t", CopySource={"Bucket": bucket, "Key": "no"}).code == "NoSuchKey"
    assert refused(c.copy_object, Bucket=bucket, Key="t", CopySource={"Bucket": "no-such-bucket", "Key": "k"}).code == "NoSuchBucket"


# -- tags and attributes ---------------------------------------------------------------------------------------


def test_tagging(c, bucket):
    """Tags are put with the object or later, read, counted, removed, and limited."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="a=1&b=two%20words&%C3%A9=%2B")
    tags = c.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert sorted((t["Key"], t["Value"]) for t in tags) == [("a", "1"), ("b", "two words"), ("\u00e9", "+")]
    assert c.get_object(Bucket=bucket, Key="k")["TagCount"] == 3
    etag_before = c.head_object(Bucket=bucket, Key="k")["ETag"]
    c.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "z", "Value": ""}]})
    assert c.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "z", "Value": ""}]
    c.delete_object_tagging(Bucket=bucket, Key="k")
    assert c.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    assert c.head_object(Bucket=bucket, Key="k")["ETag"] == etag_before and read(c, bucket, "k") == b"x"
    for tags in ([{"Key": f"k{n}", "Value": "v"} for n in range(11)], [{"Key": "k" * 129, "Value": ""}], [{"Key": "k", "Value": "v" * 257}],
                 [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]):
        error = refused(c.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": tags})
        assert error.status == 400 and error.code in ("InvalidTag", "BadRequest"), error
    assert refused(c.get_object_tagging, Bucket=bucket, Key="absent").code == "NoSuchKey"
    assert refused(c.put_object_tagging, Bucket=bucket, Key="absent", Tagging={"TagSet": []}).code == "NoSuchKey"


def test_attributes(c, bucket):
    """GetObjectAttributes answers what is asked for and no more."""
    body = content(3 * KIB)
    c.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm="SHA256")
    answer = c.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ETag", "ObjectSize", "StorageClass", "Checksum"])
    assert answer["ETag"] == etag(body).strip('"') and answer["ObjectSize"] == len(body) and answer["StorageClass"] == "STANDARD"
    assert answer["Checksum"]["ChecksumSHA256"] == checksum("SHA256", body)
    answer = c.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    assert "ETag" not in answer and "Checksum" not in answer
    assert refused(c.get_object_attributes, Bucket=bucket, Key="absent", ObjectAttributes=["ETag"]).code == "NoSuchKey"


# -- checksums -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksum_in_a_header(c, bucket, algorithm):
    """Each of the five checksums is verified and kept; a wrong one is BadDigest and stores nothing."""
    body = content(100 * KIB)
    value = checksum(algorithm, body)
    field = f"Checksum{algorithm}"
    assert c.put_object(Bucket=bucket, Key="k", Body=body, **{field: value})[field] == value
    head = c.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[field] == value and head["ChecksumType"] == "FULL_OBJECT"
    assert field not in c.head_object(Bucket=bucket, Key="k")
    error = refused(c.put_object, Bucket=bucket, Key="wrong", Body=body, **{field: checksum(algorithm, b"other")})
    assert error.status == 400 and error.code == "BadDigest"
    assert refused(c.head_object, Bucket=bucket, Key="wrong").status == 404
    copied = c.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert copied["CopyObjectResult"][field] == value


def test_content_md5(umbra, c, bucket):
    """Content-MD5 is verified: BadDigest when it differs, InvalidDigest when it is none."""
    import base64
    import hashlib

    good = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    c.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=good)
    for value, code in ((base64.b64encode(hashlib.md5(b"y").digest()).decode(), "BadDigest"), ("short", "InvalidDigest")):
        error = refused(c.put_object, Bucket=bucket, Key="bad", Body=b"x", ContentMD5=value)
        assert (error.status, error.code) == (400, code)
    assert refused(c.head_object, Bucket=bucket, Key="bad").status == 404


# -- presigned -------------------------------------------------------------------------------------------------


def _fetch(url, method="GET", body=None, **more):
    request = urllib.request.Request(url, data=body, method=method, headers=more)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_presigned(c, bucket):
    """Presigned PUT, GET, HEAD and DELETE work; a changed one, an expired one and another method do not."""
    for key in ("k", "a b/\u00e9+%.txt"):
        options = dict(Params={"Bucket": bucket, "Key": key}, ExpiresIn=300)
        assert _fetch(c.generate_presigned_url("put_object", **options), "PUT", b"body")[0] == 200
        assert _fetch(c.generate_presigned_url("get_object", **options)) == (200, b"body")
        assert _fetch(c.generate_presigned_url("head_object", **options), "HEAD")[0] == 200
        url = c.generate_presigned_url("get_object", **options)
        status, body = _fetch(url[:-1] + ("0" if url[-1] != "0" else "1"))
        assert status == 403 and b"SignatureDoesNotMatch" in body
        assert _fetch(url, "DELETE")[0] == 403
        expired = c.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=0)
        status, body = _fetch(expired)
        assert status in (400, 403) and b"body" != body
        assert _fetch(c.generate_presigned_url("delete_object", **options), "DELETE")[0] == 204


def test_presigned_overrides(c, bucket):
    """response-* parameters are signed with the rest."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = c.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k", "ResponseContentType": "text/x"})
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.headers["content-type"] == "text/x"
    assert _fetch(url.replace("text%2Fx", "text%2Fhtml"))[0] == 403


# -- who may ---------------------------------------------------------------------------------------------------


def test_any_region_may_sign(umbra, bucket):
    """Any region name is accepted in the signature."""
    for region in ("auto", "eu-central-1", "fra"):
        client = clients.s3(umbra.endpoint, umbra.access_key, umbra.secret_key, region)
        client.put_object(Bucket=bucket, Key=region, Body=b"x")


def test_public_buckets(umbra):
    """Holds "Every request is authenticated (SigV4 header, query or signed chunks) unless a bucket was made public."."""
    public, private = name("public"), name("private")
    for bucket, flags in ((public, ["--public"]), (private, [])):
        made = umbra.storage("create", "-n", bucket, "-o", "tests", *flags, "-y").values()
        umbra.client(made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"]).put_object(Bucket=bucket, Key="k", Body=b"x")
    assert _fetch(f"{umbra.endpoint}/{public}/k") == (200, b"x")
    assert _fetch(f"{umbra.endpoint}/{private}/k")[0] == 403
    for method in ("PUT", "DELETE"):
        assert _fetch(f"{umbra.endpoint}/{public}/k", method, b"y" if method == "PUT" else None)[0] == 403
    umbra.storage("update", public, "--private")
    assert _fetch(f"{umbra.endpoint}/{public}/k")[0] == 403


def test_organizations_are_apart(umbra):
    """Holds "one organization cannot see, name or list another's buckets, keys, or shadows."."""
    mine, yours = name("mine"), name("yours")
    made = [umbra.storage("create", "-n", b, "-o", org, "-y").values() for b, org in ((mine, "org-one"), (yours, "org-two"))]
    me, you = (umbra.client(m["AWS_ACCESS_KEY_ID"], m["AWS_SECRET_ACCESS_KEY"]) for m in made)
    you.put_object(Bucket=yours, Key="secret", Body=b"x")
    calls = [
        lambda: me.get_object(Bucket=yours, Key="secret"), lambda: me.put_object(Bucket=yours, Key="k", Body=b"x"), lambda: me.list_objects_v2(Bucket=yours),
        lambda: me.delete_object(Bucket=yours, Key="secret"), lambda: me.head_bucket(Bucket=yours), lambda: me.delete_bucket(Bucket=yours),
        lambda: me.copy_object(Bucket=mine, Key="stolen", CopySource={"Bucket": yours, "Key": "secret"}),
        lambda: me.create_multipart_upload(Bucket=yours, Key="k"), lambda: me.get_object_tagging(Bucket=yours, Key="secret"),
    ]
    for call in calls:
        assert refused(call).status in (403, 404)
    assert yours not in [b["Name"] for b in me.list_buckets()["Buckets"]]
    mine_env = dict(UMBRA_ACCESS_KEY=made[0]["AWS_ACCESS_KEY_ID"], UMBRA_SECRET_KEY=made[0]["AWS_SECRET_ACCESS_KEY"])
    listed = umbra.run("storage", "list", "--json", env=mine_env)
    assert yours not in listed.out + listed.err
    assert umbra.run("storage", "status", yours, "--json", env=mine_env).status == 1
    assert umbra.run("storage", "destroy", yours, "-y", env=mine_env).status == 1
    assert read(you, yours, "secret") == b"x"


def test_a_bucket_key_reaches_its_bucket_only(umbra):
    """The key that `create` prints reaches that bucket and no other of its organization."""
    one, two = name("one"), name("two")
    made = umbra.storage("create", "-n", one, "-o", "tests", "-y").values()
    umbra.storage("create", "-n", two, "-o", "tests", "-y")
    client = umbra.client(made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"])
    client.put_object(Bucket=one, Key="k", Body=b"x")
    assert refused(client.put_object, Bucket=two, Key="k", Body=b"x").status in (403, 404)
    assert refused(client.list_objects_v2, Bucket=two).status in (403, 404)
