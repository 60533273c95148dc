"""Every limit of S3, on both sides of it.

Holds "Where this page is silent, do what Amazon S3 does". Where only a length is announced, nothing of that length is sent.
"""

import json

import pytest

from harness.clients import headers, put_multipart, read, refused
from harness.data import KIB, MIB, content
from harness.organizations import Org
from harness.raw import is_error, request, send
from harness.shadowed import name
from harness.umbra import Umbra

GIB = 1024 * MIB


def test_parts_are_numbered_to_ten_thousand(c, bucket):
    """Part numbers are 1 to 10,000: InvalidArgument beyond."""
    upload = c.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    tag = c.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=10_000, Body=b"x")["ETag"]
    for number in (0, 10_001, -1):
        error = refused(c.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"x")
        assert (error.status, error.code) == (400, "InvalidArgument"), number
    c.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 10_000, "ETag": tag}]})
    assert read(c, bucket, "k", PartNumber=10_000) == b"x"
    error = refused(c.get_object, Bucket=bucket, Key="k", PartNumber=1)
    assert (error.status, error.code) == (416, "InvalidPartNumber")


def test_parts_have_five_mebibytes(c, bucket):
    """All parts but the last have at least 5 MiB: EntityTooSmall, and the upload goes on."""
    put_multipart(c, bucket, "exact", [content(5 * MIB), b"x"])
    upload = c.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    tags = [c.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=n, Body=b)["ETag"] for n, b in ((1, content(5 * MIB - 1)), (2, b"x"))]
    parts = [{"PartNumber": n, "ETag": t} for n, t in enumerate(tags, 1)]
    error = refused(c.complete_multipart_upload, Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert (error.status, error.code) == (400, "EntityTooSmall")
    c.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts[:1]})


@pytest.mark.parametrize("query", ["", "partNumber=1&uploadId=UPLOAD"])
def test_uploads_of_five_gibibytes(wire, c, query):
    """One PUT or part has at most 5 GiB: EntityTooLarge for what announces more, before a byte is read."""
    upload = c.create_multipart_upload(Bucket=wire.bucket, Key="k")["UploadId"]
    query = query.replace("UPLOAD", upload)
    path = f"/{wire.bucket}/k"
    signed = wire.signer().headers("PUT", wire.umbra.listen, path, query, payload_hash="UNSIGNED-PAYLOAD")
    target = path + (f"?{query}" if query else "")
    is_error(send(wire.umbra.address, request("PUT", target, {**signed, "content-length": 5 * GIB + 1}, b"x")), 400, "EntityTooLarge")
    answer = send(wire.umbra.address, request("PUT", target, {**signed, "content-length": 5 * GIB, "expect": "100-continue"}), seconds=5)
    assert answer.status == 100, "exactly 5 GiB is asked for"


def test_lists_have_a_thousand_entries(c, bucket):
    """More than 1,000 is taken for 1,000, of keys, parts, uploads; DeleteObjects refuses it."""
    for size in (0, 1, 1000, 1001, 100_000):
        page = c.list_objects_v2(Bucket=bucket, MaxKeys=size)
        assert page["MaxKeys"] == min(size, 1000)
    upload = c.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    assert c.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=5000)["MaxParts"] == 1000
    assert c.list_multipart_uploads(Bucket=bucket, MaxUploads=5000)["MaxUploads"] == 1000
    keys = [{"Key": f"k{n}"} for n in range(1001)]
    assert len(c.delete_objects(Bucket=bucket, Delete={"Objects": keys[:1000]})["Deleted"]) == 1000
    error = refused(c.delete_objects, Bucket=bucket, Delete={"Objects": keys})
    assert (error.status, error.code) == (400, "MalformedXML")


def test_buckets_are_listed_by_ten_thousand(wire):
    """max-buckets is 1 to 10,000."""
    for size in (1, 10_000):
        assert wire.call("GET", "/", f"max-buckets={size}").status == 200
    for size in ("0", "10001", "-1", "many"):
        is_error(wire.call("GET", "/", f"max-buckets={size}"), 400, "InvalidArgument")


def test_keys_have_1024_bytes(c, bucket):
    """Bytes of UTF-8, not characters: KeyTooLongError."""
    for key in ("k" * 1024, "ü" * 512):
        c.put_object(Bucket=bucket, Key=key, Body=b"x")
        assert c.head_object(Bucket=bucket, Key=key)["ContentLength"] == 1
    for key in ("k" * 1025, "ü" * 512 + "k"):
        for call, options in ((c.put_object, {"Body": b"x"}), (c.create_multipart_upload, {}), (c.get_object, {})):
            error = refused(call, Bucket=bucket, Key=key, **options)
            assert (error.status, error.code) == (400, "KeyTooLongError")
        assert refused(c.copy_object, Bucket=bucket, Key=key, CopySource=f"{bucket}/k").code == "KeyTooLongError"


def test_metadata_has_two_kibibytes(c, bucket):
    """Names and values together: MetadataTooLarge."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x", Metadata={"a": "v" * 2047})
    for call, options in ((c.put_object, {"Body": b"y"}), (c.create_multipart_upload, {}), (c.copy_object, {"CopySource": f"{bucket}/k", "MetadataDirective": "REPLACE"})):
        error = refused(call, Bucket=bucket, Key="k", Metadata={"a": "v" * 2048}, **options)
        assert (error.status, error.code) == (400, "MetadataTooLarge"), call
    assert read(c, bucket, "k") == b"x"


def test_heads_of_requests(wire, c):
    """A head of 8 KB is taken; one without end is refused by name."""
    assert wire.call("GET", "/BUCKET", extra={"x-long": "v" * 7 * KIB}).status == 200
    is_error(wire.call("GET", "/BUCKET", unsigned={"x-long": "v" * 40 * KIB}), 400, "RequestHeaderSectionTooLarge")


def test_tags(c, bucket):
    """Ten tags, names of 128 and values of 256 characters, no name twice: InvalidTag or BadRequest."""

    def tags(*pairs):
        return {"TagSet": [{"Key": k, "Value": v} for k, v in pairs]}

    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    c.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags(*((f"k{n}", "v" * 256) for n in range(10))))
    c.put_object_tagging(Bucket=bucket, Key="k", Tagging=tags(("k" * 128, "")))
    for bad, code in (
        (tags(*((f"k{n}", "") for n in range(11))), "BadRequest"), (tags(("k" * 129, "")), "InvalidTag"), (tags(("k", "v" * 257)), "InvalidTag"),
        (tags(("k", "1"), ("k", "2")), "InvalidTag"),
    ):
        error = refused(c.put_object_tagging, Bucket=bucket, Key="k", Tagging=bad)
        assert error.status == 400 and error.code in (code, "InvalidTag"), (bad, error)
    for bad in ("&".join(f"k{n}=v" for n in range(11)), "k" * 129 + "=v", "k=1&k=2"):
        assert refused(c.put_object, Bucket=bucket, Key="other", Body=b"x", Tagging=bad).status == 400


@pytest.mark.parametrize("good", ["abc", "a" * 63, "1bucket", "a.b-c.d", "123"])
def test_bucket_names(c, good):
    """3 to 63 characters, letters, digits, dots and dashes."""
    c.create_bucket(Bucket=good)
    c.delete_bucket(Bucket=good)


def test_many_buckets(c):
    """There is no limit on buckets that S3 would not have: more than its 100 of old."""
    made = [f"{name('many')}-{n}" for n in range(120)]
    for bucket in made:
        c.create_bucket(Bucket=bucket)
    listed = {b["Name"] for b in c.list_buckets()["Buckets"]}
    assert listed >= set(made)
    for bucket in made:
        c.delete_bucket(Bucket=bucket)


def test_conditions_name_one_etag(c, bucket):
    """If-None-Match on writes takes * alone, If-Match one ETag."""
    tag = c.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    assert refused(c.put_object, Bucket=bucket, Key="k", Body=b"y", IfNoneMatch="*").status == 412
    assert refused(c.put_object, Bucket=bucket, Key="k", Body=b"y", IfMatch='"other"').status == 412
    assert headers(c.put_object(Bucket=bucket, Key="k", Body=b"y", IfMatch=tag))["etag"] != tag
    assert refused(c.put_object, Bucket=bucket, Key="absent", Body=b"y", IfMatch=tag).status == 404


def _tags(count):
    return {"TagSet": [{"Key": f"k{n}", "Value": "v"} for n in range(count)]}


def _rule(n):
    return {"ID": f"r{n}", "Status": "Enabled", "Filter": {"Prefix": f"{n}/"}, "Expiration": {"Days": 1}}


def _cors(count):
    return {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": [f"http://{n}.example"]} for n in range(count)]}


def _routes(count):
    return [{"Condition": {"KeyPrefixEquals": f"{n}/"}, "Redirect": {"ReplaceKeyPrefixWith": "x/"}} for n in range(count)]


def _policy(bucket, size):
    """A policy of exactly `size` bytes."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": [f"arn:aws:s3:::{bucket}/*"]}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    resources = []
    while size - len(text) > 1000:
        resources.append(f"arn:aws:s3:::{bucket}/{len(resources):02}{'p' * 500}")
        text = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Resource": resources}]})
    resources.append(f"arn:aws:s3:::{bucket}/")
    text = json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Resource": resources}]})
    resources[-1] += "q" * (size - len(text))
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Resource": resources}]})


@pytest.mark.parametrize("most, code, put", [
    (50, "InvalidTag", lambda c, b, n: c.put_bucket_tagging(Bucket=b, Tagging=_tags(n))),
    (1000, "MalformedXML", lambda c, b, n: c.put_bucket_lifecycle_configuration(Bucket=b, LifecycleConfiguration={"Rules": [_rule(r) for r in range(n)]})),
    (100, "InvalidRequest", lambda c, b, n: c.put_bucket_cors(Bucket=b, CORSConfiguration=_cors(n))),
    (50, "InvalidRequest", lambda c, b, n: c.put_bucket_website(
        Bucket=b, WebsiteConfiguration={"IndexDocument": {"Suffix": "i"}, "RoutingRules": _routes(n)})),
    (20 * KIB, "MalformedPolicy", lambda c, b, n: c.put_bucket_policy(Bucket=b, Policy=_policy(b, n))),
], ids=["tags of a bucket", "lifecycle rules", "CORS rules", "routing rules", "bytes of a policy"])
def test_settings_of_a_bucket(c, bucket, most, code, put):
    """As many as S3 takes, and one more."""
    put(c, bucket, most)
    error = refused(put, c, bucket, most + 1)
    assert (error.status, error.code) == (400, code)


def test_acls_have_a_hundred_grants(umbra, bucket):
    """On buckets and on objects: MalformedACLError."""
    made = Org(umbra)
    theirs, c = name("grants"), made.client()
    c.create_bucket(Bucket=theirs)
    c.put_object(Bucket=theirs, Key="k", Body=b"x")

    def policy(count):
        grant = {"Grantee": {"Type": "CanonicalUser", "ID": made.name}, "Permission": "READ"}
        return {"Owner": {"ID": made.name}, "Grants": [grant] * count}

    for put in (lambda acl: c.put_bucket_acl(Bucket=theirs, AccessControlPolicy=acl), lambda acl: c.put_object_acl(Bucket=theirs, Key="k", AccessControlPolicy=acl)):
        put(policy(100))
        error = refused(put, policy(101))
        assert (error.status, error.code) == (400, "MalformedACLError")


def test_a_bucket_tells_a_hundred(tmp_path):
    """Notification configurations of one bucket: InvalidArgument."""
    server = Umbra(tmp_path / "telling", "--webhook", "one=http://127.0.0.1:9/").start()
    try:
        c = server.client()
        c.create_bucket(Bucket="telling")

        def put(count):
            hooks = [{"Id": f"q{n}", "QueueArn": "arn:umbra:sqs::one:webhook", "Events": ["s3:ObjectCreated:*"], "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": f"{n:03}/"}]}}} for n in range(count)]
            c.put_bucket_notification_configuration(Bucket="telling", NotificationConfiguration={"QueueConfigurations": hooks}, SkipDestinationValidation=True)

        put(100)
        error = refused(put, 101)
        assert (error.status, error.code) == (400, "InvalidArgument")
        assert len(c.get_bucket_notification_configuration(Bucket="telling")["QueueConfigurations"]) == 100
    finally:
        server.remove()


def test_objects_are_kept_for_a_hundred_years(c):
    """Default retention: 36,500 days or 100 years."""
    made = name("kept")
    c.create_bucket(Bucket=made, ObjectLockEnabledForBucket=True)

    def put(**period):
        rule = {"DefaultRetention": {"Mode": "GOVERNANCE", **period}}
        c.put_object_lock_configuration(Bucket=made, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})

    for good, bad in (({"Days": 36_500}, {"Days": 36_501}), ({"Years": 100}, {"Years": 101}), ({"Days": 1}, {"Days": 0})):
        put(**good)
        error = refused(put, **bad)
        assert error.status == 400 and error.code in ("InvalidArgument", "InvalidRetentionPeriod"), (bad, error)


def test_presigned_urls_last_a_week(c, bucket):
    """604,800 seconds: AuthorizationQueryParametersError beyond."""
    import requests

    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    options = {"Params": {"Bucket": bucket, "Key": "k"}}
    assert requests.get(c.generate_presigned_url("get_object", ExpiresIn=604_800, **options)).content == b"x"
    answer = requests.get(c.generate_presigned_url("get_object", ExpiresIn=604_801, **options))
    assert answer.status_code == 400 and "AuthorizationQueryParametersError" in answer.text


def test_urls_of_eight_kibibytes(wire, c):
    """A query of 8 KiB is taken; one that is much longer is refused by name."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    assert wire.call("GET", "/BUCKET/k", "response-content-type=" + "a" * 8 * KIB).status == 200
    is_error(wire.call("GET", "/BUCKET/k", "response-content-type=" + "a" * 20 * KIB), 414, "InvalidURI")
