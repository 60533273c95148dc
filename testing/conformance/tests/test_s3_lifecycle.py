"""Lifecycle: rules as S3 takes and shows them, and what the server does by them when a day is a second long."""

import base64
import hashlib
import json
import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest

from harness import raw
from harness.clients import headers, keys_of, put_multipart, refused, walk_v2
from harness.data import MIB, content
from harness.shadowed import Shadowed, name
from harness.umbra import Umbra
from harness.wait import stays, until


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A server whose lifecycle days last a second."""
    server = Umbra(tmp_path_factory.mktemp("quick"), "--lifecycle-day", "1").start()
    yield server
    server.remove()


@pytest.fixture
def short(quick):
    """A bucket there: its client and its name."""
    client, made = quick.client(), name("aging")
    client.create_bucket(Bucket=made)
    return client, made


def rule(id="r", days=1, status="Enabled", **members):
    made = {"ID": id, "Status": status, **members}
    if not {"Filter", "Prefix"} & set(made):
        made["Filter"] = {"Prefix": ""}
    if days:
        made["Expiration"] = {"Days": days}
    return made


def set_rules(client, bucket, *rules, **options):
    return client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)}, **options)


def keys(client, bucket):
    return keys_of(walk_v2(client, bucket))


def await_keys(client, bucket, expected):
    until(f"{expected} to be left", lambda: keys(client, bucket) == expected)


# -- the configuration -------------------------------------------------------------------------------------------------


def test_rules_come_back_as_they_were_written(c, bucket):
    """Every member that S3 knows survives, and a change replaces all."""
    assert refused(c.get_bucket_lifecycle_configuration, Bucket=bucket).code == "NoSuchLifecycleConfiguration"
    midnight = datetime(2040, 1, 31, tzinfo=timezone.utc)
    rules = [
        rule("days", 365, Prefix="old/form/"),
        rule("date", None, Filter={}, Expiration={"Date": midnight}, Transitions=[{"Date": midnight - timedelta(1), "StorageClass": "GLACIER"}]),
        rule("markers", None, Filter={"Prefix": "m/"}, Expiration={"ExpiredObjectDeleteMarker": True}),
        rule("tag", 3, Filter={"Tag": {"Key": "k", "Value": "v"}}, status="Disabled"),
        rule("size", 3, Filter={"ObjectSizeGreaterThan": 10}),
        rule("and", 90, Filter={"And": {"Prefix": "p/", "ObjectSizeLessThan": 9, "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]}},
             Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "DEEP_ARCHIVE"}]),
        rule("versions", None, Filter={"Prefix": "v/"}, NoncurrentVersionExpiration={"NoncurrentDays": 40, "NewerNoncurrentVersions": 5},
             NoncurrentVersionTransitions=[{"NoncurrentDays": 30, "StorageClass": "ONEZONE_IA"}]),
        rule("uploads", None, Filter={"Prefix": "u/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}),
    ]
    set_rules(c, bucket, *rules)
    shown = c.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert shown["Rules"] == rules
    assert shown["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    set_rules(c, bucket, rules[0], TransitionDefaultMinimumObjectSize="varies_by_storage_class")
    shown = c.get_bucket_lifecycle_configuration(Bucket=bucket)
    assert shown["Rules"] == rules[:1] and shown["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    for _ in range(2):
        assert c.delete_bucket_lifecycle(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(c.get_bucket_lifecycle_configuration, Bucket=bucket).code == "NoSuchLifecycleConfiguration"


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([rule(days=0, Expiration={"Days": 0})], "InvalidArgument"),
        ([rule(), rule()], "InvalidArgument"),
        ([rule("a" * 256)], "InvalidArgument"),
        ([rule(status="enabled")], "MalformedXML"),
        ([rule(days=None)], "InvalidRequest"),
        ([rule(Prefix="a", Filter={})], "MalformedXML"),
        ([rule(days=None, Expiration={"Date": datetime(2030, 1, 1, 1, tzinfo=timezone.utc)})], "InvalidArgument"),
        ([rule(days=None, Transitions=[{"Days": 1, "StorageClass": "STANDARD_IA"}])], "InvalidArgument"),
        ([rule(days=1, Transitions=[{"Days": 1, "StorageClass": "GLACIER"}])], "InvalidArgument"),
        ([rule(days=None, NoncurrentVersionExpiration={"NoncurrentDays": 0})], "InvalidArgument"),
        ([rule(days=None, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 0})], "InvalidArgument"),
        ([rule(days=None, Filter={"Tag": {"Key": "a", "Value": "b"}}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})], "InvalidRequest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_s3_refuses(c, bucket, rules, code):
    """Refused with S3's code, and nothing is set."""
    error = refused(set_rules, c, bucket, *rules)
    assert (error.status, error.code) == (400, code), error
    assert refused(c.get_bucket_lifecycle_configuration, Bucket=bucket).code == "NoSuchLifecycleConfiguration"


# -- what clients are told ---------------------------------------------------------------------------------------------


def told(answer):
    """The date and the rule of `x-amz-expiration`."""
    header = headers(answer).get("x-amz-expiration")
    found = header and re.fullmatch(r'expiry-date="(.+)", rule-id="(.+)"', header)
    return (parsedate_to_datetime(found[1]), found[2]) if found else None


def test_expiry_is_told(c, bucket):
    """PUT, GET, HEAD, copy and completion tell the midnight behind the last day, and the rule; tags count as they are now."""
    set_rules(c, bucket, rule("by prefix é", 3, Filter={"Prefix": "p/"}), rule("by-tag", 10, Filter={"Tag": {"Key": "k", "Value": "v"}}))
    before = datetime.now(timezone.utc)
    answers = [
        c.put_object(Bucket=bucket, Key="p/a", Body=b"x"),
        c.get_object(Bucket=bucket, Key="p/a"),
        c.head_object(Bucket=bucket, Key="p/a"),
        c.copy_object(Bucket=bucket, Key="p/b", CopySource={"Bucket": bucket, "Key": "p/a"}),
        put_multipart(c, bucket, "p/c", [b"x"]),
    ]
    for answer in answers:
        date, id = told(answer)
        assert id == "by%20prefix%20%C3%A9"
        assert (date.hour, date.minute, date.second) == (0, 0, 0) and timedelta(days=3) < date - before < timedelta(days=4, minutes=5)
    assert told(c.put_object(Bucket=bucket, Key="t", Body=b"x")) is None
    assert told(c.put_object(Bucket=bucket, Key="t", Body=b"x", Tagging="k=v"))[1] == "by-tag"
    assert told(c.head_object(Bucket=bucket, Key="t"))[1] == "by-tag"
    c.put_object_tagging(Bucket=bucket, Key="t", Tagging={"TagSet": [{"Key": "k", "Value": "other"}]})
    assert told(c.head_object(Bucket=bucket, Key="t")) is None


def test_expiry_is_told_of_what_a_customers_key_encrypts(c, bucket):
    """A copy and a completed upload tell it: it takes no key to look at what is recorded."""
    set_rules(c, bucket, rule("r", 3))
    key = base64.b64encode(bytes([7]) * 32).decode()
    md5 = base64.b64encode(hashlib.md5(bytes([7]) * 32).digest()).decode()
    customer = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key, "SSECustomerKeyMD5": md5}
    c.put_object(Bucket=bucket, Key="plain", Body=b"x")
    assert told(c.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "plain"}, **customer))[1] == "r"
    upload = {"Bucket": bucket, "Key": "parts", "UploadId": c.create_multipart_upload(Bucket=bucket, Key="parts", **customer)["UploadId"]}
    part = c.upload_part(**upload, PartNumber=1, Body=b"x", **customer)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert told(c.complete_multipart_upload(**upload, MultipartUpload=parts, **customer))[1] == "r"
    assert refused(c.head_object, Bucket=bucket, Key="parts").status == 400


def test_the_end_of_uploads_is_told(c, bucket):
    """CreateMultipartUpload and ListParts tell when an upload ends unless it is completed."""
    set_rules(c, bucket, rule("u", None, Filter={"Prefix": "u/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))
    begun = c.create_multipart_upload(Bucket=bucket, Key="u/k")
    assert begun["AbortRuleId"] == "u" and timedelta(days=2) < begun["AbortDate"] - datetime.now(timezone.utc) < timedelta(days=3)
    listed = c.list_parts(Bucket=bucket, Key="u/k", UploadId=begun["UploadId"])
    assert (listed["AbortRuleId"], listed["AbortDate"]) == ("u", begun["AbortDate"])
    assert "AbortDate" not in c.create_multipart_upload(Bucket=bucket, Key="other")


# -- what is done ------------------------------------------------------------------------------------------------------


def test_objects_end_by_the_rules_that_are_for_them(short):
    """By prefix, tag, size and date; what no rule is for stays."""
    c, bucket = short
    past, future = datetime(2015, 1, 1, tzinfo=timezone.utc), datetime(2100, 1, 1, tzinfo=timezone.utc)
    c.put_object(Bucket=bucket, Key="big/gone", Body=b"x" * 2001)
    c.put_object(Bucket=bucket, Key="big/stays", Body=b"x" * 2000)
    c.put_object(Bucket=bucket, Key="dated/gone", Body=b"x")
    c.put_object(Bucket=bucket, Key="dated/stays", Body=b"x")
    c.put_object(Bucket=bucket, Key="off/stays", Body=b"x")
    c.put_object(Bucket=bucket, Key="tagged/gone", Body=b"x", Tagging="k=v&l=w")
    c.put_object(Bucket=bucket, Key="tagged/stays", Body=b"x", Tagging="k=v")
    set_rules(
        c, bucket,
        rule("big", Filter={"And": {"Prefix": "big/", "ObjectSizeGreaterThan": 2000}}),
        rule("past", None, Filter={"Prefix": "dated/gone"}, Expiration={"Date": past}),
        rule("future", None, Filter={"Prefix": "dated/stays"}, Expiration={"Date": future}),
        rule("off", Filter={"Prefix": "off/"}, status="Disabled"),
        rule("tagged", Filter={"And": {"Prefix": "tagged/", "Tags": [{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}]}}),
    )
    await_keys(c, bucket, ["big/stays", "dated/stays", "off/stays", "tagged/stays"])
    # Several passes later they are still there.
    stays("what no rule is for", lambda: len(keys(c, bucket)) == 4, seconds=1.5)
    assert refused(c.get_object, Bucket=bucket, Key="big/gone").code == "NoSuchKey"


def test_an_object_ends_by_its_own_age(short):
    """One that is written again all the time does not end, though one of its key did not live as long as the rule."""
    c, bucket = short
    set_rules(c, bucket, rule(days=3))
    c.put_object(Bucket=bucket, Key="left", Body=b"x")

    def kept():
        c.put_object(Bucket=bucket, Key="kept", Body=b"x")
        return "left" not in keys(c, bucket)

    until("the other to end", kept, every=0.1)
    assert c.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"x"


def test_uploads_end(short):
    """Uploads that were not completed are aborted, with their parts; one of another prefix goes on."""
    c, bucket = short
    gone = c.create_multipart_upload(Bucket=bucket, Key="u/gone")["UploadId"]
    c.upload_part(Bucket=bucket, Key="u/gone", UploadId=gone, PartNumber=1, Body=content(MIB))
    other = c.create_multipart_upload(Bucket=bucket, Key="other")["UploadId"]
    set_rules(c, bucket, rule("u", None, Filter={"Prefix": "u/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1}))
    uploads = lambda: [u["UploadId"] for u in c.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    until("the upload to end", lambda: uploads() == [other])
    assert refused(c.list_parts, Bucket=bucket, Key="u/gone", UploadId=gone).code == "NoSuchUpload"


def test_objects_move_to_colder_classes(short):
    """A transition changes the class and nothing else; small objects stay where they are."""
    c, bucket = short
    body = content(200 * 1024)
    before = c.put_object(Bucket=bucket, Key="big", Body=body, Metadata={"m": "1"}, Tagging="t=1")
    c.put_object(Bucket=bucket, Key="cold", Body=body, StorageClass="DEEP_ARCHIVE")
    c.put_object(Bucket=bucket, Key="small", Body=b"x")
    since = c.head_object(Bucket=bucket, Key="big")["LastModified"]
    set_rules(c, bucket, rule(days=None, Transitions=[{"Days": 0, "StorageClass": "GLACIER_IR"}, {"Days": 1, "StorageClass": "GLACIER"}]))
    moved = until("the move", lambda: (found := c.head_object(Bucket=bucket, Key="big")).get("StorageClass") == "GLACIER" and found)
    assert (moved["ETag"], moved["LastModified"], moved["Metadata"]) == (before["ETag"], since, {"m": "1"})
    assert c.get_object(Bucket=bucket, Key="big")["Body"].read() == body
    classes = {o["Key"]: o["StorageClass"] for o in c.list_objects_v2(Bucket=bucket)["Contents"]}
    assert classes == {"big": "GLACIER", "cold": "DEEP_ARCHIVE", "small": "STANDARD"}


def test_many_objects_end(short):
    """More than a page of them, while others between them stay."""
    c, bucket = short
    names = [f"{number:03d}" for number in range(700)]
    for key in names:
        c.put_object(Bucket=bucket, Key=("keep/" if key.endswith("0") else "go/") + key, Body=b"x")
    set_rules(c, bucket, rule(Filter={"Prefix": "go/"}))
    await_keys(c, bucket, [f"keep/{key}" for key in names if key.endswith("0")])


def test_rules_survive_a_crash(tmp_path):
    """A server that is killed goes on with the rules it had."""
    server = Umbra(tmp_path / "crash", "--lifecycle-day", "1").start()
    try:
        c = server.client()
        c.create_bucket(Bucket="killed")
        for number in range(300):
            c.put_object(Bucket="killed", Key=f"go/{number:03d}", Body=b"x")
        c.put_object(Bucket="killed", Key="keep", Body=b"x")
        set_rules(c, "killed", rule(Filter={"Prefix": "go/"}))
        until("the first to end", lambda: len(keys(c, "killed")) < 301)
        server.restart(kill=True)
        await_keys(server.client(), "killed", ["keep"])
    finally:
        server.remove()


def patch(server, bucket, document):
    """Changes settings the way Tigris's clients do."""
    body = json.dumps(document).encode()
    signer = raw.Signer(server.access_key, server.secret_key)
    signed = signer.headers(
        "PATCH", server.listen, f"/{bucket}", payload_hash=hashlib.sha256(body).hexdigest(), extra={"content-type": "application/json"}
    )
    signed["content-length"] = str(len(body))
    answer = raw.send(server.address, raw.request("PATCH", f"/{bucket}", signed, body))
    assert answer.status == 200, answer


def test_rules_of_tigris_clients_are_carried_out(quick, short):
    """One set of rules, however it was set; what only S3 can say stays when Tigris's clients write theirs."""
    c, bucket = short
    c.put_object(Bucket=bucket, Key="go/a", Body=b"x")
    c.put_object(Bucket=bucket, Key="keep", Body=b"x")
    set_rules(c, bucket, rule("uploads", None, Filter={"Prefix": "u/"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 2}))
    document = {"lifecycle_rules": [{"id": "t", "status": 1, "expiration": {"days": 1, "enabled": True}, "filter": {"prefix": "go/"}}]}
    patch(quick, bucket, document)
    assert [r["ID"] for r in c.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]] == ["uploads", "t"]
    await_keys(c, bucket, ["keep"])


# -- with a shadow -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write_through", [False, True])
def test_with_a_shadow(quick, seaweed, write_through):
    """What is here ends, and does not come back from the origin; with write-through it ends there as well. What is cold is left alone."""
    pair = Shadowed(quick, seaweed)
    try:
        pair.create(write_through=write_through)
        pair.put_there("go/cold", b"there")
        pair.put_there("go/hydrated", b"there")
        pair.put("go/written", b"here")
        pair.put("keep", b"here")
        assert pair.read("go/hydrated") == b"there"
        set_rules(quick.client(), pair.name, rule(Filter={"Prefix": "go/"}))
        until("what is here to end", lambda: keys(pair.here, pair.name) == ["go/cold", "keep"])
        for key in ("go/hydrated", "go/written"):
            assert refused(pair.get, key).code == "NoSuchKey"
        there = [o["Key"] for o in pair.there.list_objects_v2(Bucket=pair.origin_name)["Contents"]]
        assert there == (["go/cold", "keep"] if write_through else ["go/cold", "go/hydrated"])
    finally:
        pair.close()


# -- versions ----------------------------------------------------------------------------------------------------------


def versions(client, bucket):
    """The versions and delete markers of a bucket: key, whether a marker, whether the newest."""
    listed = client.list_object_versions(Bucket=bucket)
    found = [(v["Key"], False, v["IsLatest"]) for v in listed.get("Versions", [])]
    return sorted(found + [(m["Key"], True, m["IsLatest"]) for m in listed.get("DeleteMarkers", [])])


def versioned(client, bucket):
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def test_an_expired_object_gets_a_delete_marker(short):
    """Where there are versions the object stays behind a marker, and the marker stays as long as it does."""
    c, bucket = short
    versioned(c, bucket)
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    set_rules(c, bucket, rule())
    until("the marker", lambda: versions(c, bucket) == [("k", False, False), ("k", True, True)])
    stays("the version behind it", lambda: len(versions(c, bucket)) == 2, seconds=1.5)


def test_old_versions_end_and_the_youngest_are_kept(short):
    """By the time they ceased to be current; the current one is nobody's business."""
    c, bucket = short
    versioned(c, bucket)
    for number in range(6):
        c.put_object(Bucket=bucket, Key="k", Body=str(number).encode())
    c.put_object(Bucket=bucket, Key="other", Body=b"x")
    set_rules(c, bucket, rule(days=None, NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}))
    until("the old ones to end", lambda: len(versions(c, bucket)) == 4)
    bodies = [c.get_object(Bucket=bucket, Key="k", VersionId=v["VersionId"])["Body"].read()
              for v in c.list_object_versions(Bucket=bucket, Prefix="k")["Versions"]]
    assert bodies == [b"5", b"4", b"3"]


def test_lone_markers_end(short):
    """Once the versions behind a marker are gone it goes as well."""
    c, bucket = short
    versioned(c, bucket)
    c.put_object(Bucket=bucket, Key="gone", Body=b"x")
    c.delete_object(Bucket=bucket, Key="gone")
    c.put_object(Bucket=bucket, Key="keep", Body=b"x")
    set_rules(c, bucket, rule(days=None, Expiration={"ExpiredObjectDeleteMarker": True}, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    until("version and marker to end", lambda: versions(c, bucket) == [("keep", False, True)])


def test_what_is_locked_does_not_end(quick):
    """A version under a legal hold outlives every rule, and ends once the hold does."""
    c, bucket = quick.client(), name("locked")
    c.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    held = c.put_object(Bucket=bucket, Key="k", Body=b"held", ObjectLockLegalHoldStatus="ON")["VersionId"]
    c.put_object(Bucket=bucket, Key="k", Body=b"free")
    c.put_object(Bucket=bucket, Key="k", Body=b"now")
    set_rules(c, bucket, rule(days=None, NoncurrentVersionExpiration={"NoncurrentDays": 1}))
    left = lambda: [v["VersionId"] for v in c.list_object_versions(Bucket=bucket)["Versions"]]
    until("the free one to end", lambda: len(left()) == 2)
    assert held in left()
    c.put_object_legal_hold(Bucket=bucket, Key="k", VersionId=held, LegalHold={"Status": "OFF"})
    until("the other to end", lambda: len(left()) == 1)
