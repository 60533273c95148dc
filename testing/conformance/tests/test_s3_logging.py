"""Access logs: every request to a bucket becomes a line, in S3's format, in an object of its target."""

import json
import re
import shlex
import urllib.error
import urllib.request

import pytest

from harness import raw
from harness.clients import anonymous, put_multipart, read, refused
from harness.organizations import Org
from harness.shadowed import Shadowed, name
from harness.umbra import ROOT_KEY, Umbra
from harness.wait import stays, until

FIELDS = (
    "owner bucket time remote requester id operation key uri status code sent size total turn_around referer agent version host_id "
    "signature cipher auth host tls access_point acl"
).split()


@pytest.fixture(scope="module")
def logging(tmp_path_factory):
    """A server that writes logs every second."""
    server = Umbra(tmp_path_factory.mktemp("logging"), "--access-log-interval", "1", "--allow-sigv2").start()
    yield server
    server.remove()


@pytest.fixture
def org(logging):
    return Org(logging, "logged")


@pytest.fixture
def c(org):
    return org.client()


@pytest.fixture
def target(c):
    made = name("logs")
    c.create_bucket(Bucket=made)
    let_in(c, made)
    return made


@pytest.fixture
def source(c, target):
    """A bucket whose log is under `log/` in the target."""
    made = name("source")
    c.create_bucket(Bucket=made)
    log_to(c, made, target)
    return made


def statement(target, resource=None, principal=None, effect="Allow", action="s3:PutObject", **condition):
    made = {
        "Effect": effect, "Principal": principal or {"Service": "logging.s3.amazonaws.com"}, "Action": action,
        "Resource": f"arn:aws:s3:::{target}/{'log/*' if resource is None else resource}",
    }
    return made | ({"Condition": condition} if condition else {})


def let_in(c, target, *statements):
    policy = {"Version": "2012-10-17", "Statement": list(statements) or [statement(target)]}
    c.put_bucket_policy(Bucket=target, Policy=json.dumps(policy))


def log_to(c, source, target, prefix="log/", **options):
    c.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **options}})


def lines(c, target, prefix="log/"):
    """Every line that is there, as a dict by field."""
    found = []
    for entry in c.list_objects_v2(Bucket=target, Prefix=prefix).get("Contents", []):
        for line in read(c, target, entry["Key"]).decode().splitlines():
            # Nothing in a line may look like more than it is.
            fields = shlex.split(re.sub(r"\[([^]]*)\]", r'"\1"', line, count=1))
            assert len(fields) == len(FIELDS), line
            found.append(dict(zip(FIELDS, fields)))
    return found


def logged(c, target, operation, count=1, prefix="log/", **fields):
    """Waits for so many lines of an operation."""
    def some():
        found = [line for line in lines(c, target, prefix) if line["operation"] == operation and all(line[k] == v for k, v in fields.items())]
        return found if len(found) >= count else None
    found = until(f"{count} lines of {operation}", some)
    assert len(found) == count
    return found


def test_a_line_tells_all(logging, org, c, source, target):
    """The fields of a GET, as S3 documents them; the line of its PUT."""
    c.put_object(Bucket=source, Key="a/b c+é", Body=b"0123456789")
    answer = c.get_object(Bucket=source, Key="a/b c+é", Range="bytes=2-5")
    assert answer["Body"].read() == b"2345"
    ids = answer["ResponseMetadata"]["HTTPHeaders"]
    [line] = logged(c, target, "REST.GET.OBJECT")
    [put] = logged(c, target, "REST.PUT.OBJECT")
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", line["time"])
    agent = line.pop("agent")
    assert agent.startswith("Boto3/") and line["total"].isdigit() and line["turn_around"].isdigit()
    expected = {
        "owner": org.name, "bucket": source, "remote": "127.0.0.1", "requester": f"arn:aws:iam::{org.name}:user/{c.key_id}",
        "id": ids["x-amz-request-id"], "key": "a/b%20c%2B%C3%A9", "uri": f"GET /{source}/a/b%20c%2B%C3%A9 HTTP/1.1", "status": "206", "code": "-",
        "sent": "4", "size": "10", "referer": "-", "version": "-", "host_id": ids["x-amz-id-2"], "signature": "SigV4", "cipher": "-",
        "auth": "AuthHeader", "host": logging.listen, "tls": "-", "access_point": "-", "acl": "-",
    }
    assert {key: line[key] for key in expected} == expected
    assert (put["size"], put["sent"], put["status"]) == ("10", "-", "200")


def test_every_operation_has_its_name(c, source, target):
    """Of buckets, of objects, of uploads, of copies, of many deletes at once."""
    other = name("other")
    c.create_bucket(Bucket=other)
    c.put_object(Bucket=source, Key="k", Body=b"12345")
    c.head_object(Bucket=source, Key="k")
    put_multipart(c, source, "parts", [b"x"])
    c.copy_object(Bucket=source, Key="copy", CopySource={"Bucket": source, "Key": "k"})
    c.copy_object(Bucket=other, Key="away", CopySource={"Bucket": source, "Key": "k"})
    c.put_object_tagging(Bucket=source, Key="k", Tagging={"TagSet": []})
    c.list_objects_v2(Bucket=source)
    c.get_bucket_versioning(Bucket=source)
    c.delete_objects(Bucket=source, Delete={"Objects": [{"Key": "k"}, {"Key": "copy"}]})
    c.delete_object(Bucket=source, Key="parts")
    logged(c, target, "REST.DELETE.OBJECT", status="204", key="parts")
    seen = sorted((line["operation"], line["key"], line["status"], line["size"]) for line in lines(c, target))
    assert seen == sorted([
        ("REST.PUT.OBJECT", "k", "200", "5"), ("REST.HEAD.OBJECT", "k", "200", "5"), ("REST.POST.UPLOADS", "parts", "200", "-"),
        ("REST.PUT.PART", "parts", "200", "1"), ("REST.POST.UPLOAD", "parts", "200", "-"), ("REST.COPY.OBJECT", "copy", "200", "5"),
        ("REST.COPY.OBJECT_GET", "k", "200", "5"), ("REST.COPY.OBJECT_GET", "k", "200", "5"), ("REST.PUT.OBJECT_TAGGING", "k", "200", "-"),
        ("REST.GET.BUCKET", "-", "200", "-"), ("REST.GET.VERSIONING", "-", "200", "-"), ("REST.POST.MULTI_OBJECT_DELETE", "-", "200", "-"),
        ("BATCH.DELETE.OBJECT", "k", "204", "-"), ("BATCH.DELETE.OBJECT", "copy", "204", "-"), ("REST.DELETE.OBJECT", "parts", "204", "-"),
    ])


def test_refused_requests_are_logged(logging, c, source, target):
    """Without a key, with another's, with a wrong signature; what is absent; a HEAD, whose answer has no document, too."""
    theirs = Org(logging, "theirs").client()
    assert refused(anonymous(logging.endpoint).get_object, Bucket=source, Key="k").status == 403
    assert refused(theirs.put_object, Bucket=source, Key="k").status == 403
    assert refused(c.head_object, Bucket=source, Key="absent").status == 404
    forged = logging.client(c.key_id, "not the secret of this key")
    assert refused(forged.delete_object, Bucket=source, Key="k").code == "SignatureDoesNotMatch"
    [nobody] = logged(c, target, "REST.GET.OBJECT")
    assert (nobody["requester"], nobody["status"], nobody["code"], nobody["auth"], nobody["signature"]) == ("-", "403", "AccessDenied", "-", "-")
    [other] = logged(c, target, "REST.PUT.OBJECT")
    assert other["requester"].endswith(f":user/{theirs.key_id}") and other["code"] == "AccessDenied"
    [absent] = logged(c, target, "REST.HEAD.OBJECT")
    assert (absent["status"], absent["code"], absent["sent"]) == ("404", "NoSuchKey", "-")
    [wrong] = logged(c, target, "REST.DELETE.OBJECT")
    assert (wrong["requester"], wrong["code"], wrong["auth"]) == ("-", "SignatureDoesNotMatch", "AuthHeader")


def test_no_secret_is_logged(logging, c, source, target):
    """Signatures and what goes with them are taken out of queries, wherever they stand; a line cannot be forged."""
    c.put_object(Bucket=source, Key="k", Body=b"x")
    urls = [c.generate_presigned_url("get_object", Params={"Bucket": source, "Key": "k"}, ExpiresIn=60)]
    old = logging.client(signature="s3")
    urls.append(old.generate_presigned_url("get_object", Params={"Bucket": source, "Key": "k"}, ExpiresIn=60))
    for url in urls:
        request = urllib.request.Request(url, headers={"Referer": url, "User-Agent": 'x" 200 - "\\'})
        assert urllib.request.urlopen(request, timeout=10).read() == b"x"
    found = logged(c, target, "REST.GET.OBJECT", 2)
    assert sorted((line["signature"], line["auth"]) for line in found) == [("SigV2", "QueryString"), ("SigV4", "QueryString")]
    for line in found:
        for field in ("uri", "referer"):
            assert "REDACTED" in line[field] and "ignature=REDACTED" in line[field], line
        assert line["agent"] == "x%22 200 - %22%5C"
    text = b"".join(read(c, target, entry["Key"]) for entry in c.list_objects_v2(Bucket=target)["Contents"]).decode()
    for url in urls:
        for secret in re.findall(r"[&?](?:X-Amz-Signature|X-Amz-Credential|Signature)=([^&]+)", url):
            assert secret not in text


def test_what_only_an_acl_allows(logging, c, source, target):
    """`aclRequired` is `Yes` for a read that nothing but an ACL lets through; a version is told."""
    c.put_bucket_versioning(Bucket=source, VersioningConfiguration={"Status": "Enabled"})
    version = c.put_object(Bucket=source, Key="k", Body=b"x", ACL="public-read")["VersionId"]
    read(anonymous(logging.endpoint), source, "k")
    read(c, source, "k")
    found = logged(c, target, "REST.GET.OBJECT", 2)
    assert sorted((line["requester"] == "-", line["acl"], line["version"]) for line in found) == [(False, "-", version), (True, "Yes", version)]


def test_uploads_by_forms(logging, c, source, target):
    """A POST is logged with the key of the form."""
    c.put_bucket_acl(Bucket=source, ACL="public-read-write")
    body = b"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nformed\r\n--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc\r\n--x--\r\n"
    request = urllib.request.Request(f"{logging.endpoint}/{source}", data=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert urllib.request.urlopen(request, timeout=10).status == 204
    [line] = logged(c, target, "REST.POST.OBJECT")
    assert (line["key"], line["requester"], line["acl"]) == ("formed", "-", "Yes")


def test_a_reader_that_leaves(logging, c, source, target):
    """What was sent is told, though the rest was not wanted."""
    c.put_object(Bucket=source, Key="big", Body=b"x" * (32 << 20))
    body = c.get_object(Bucket=source, Key="big")["Body"]
    assert len(body.read(1000)) == 1000
    body.close()
    [line] = logged(c, target, "REST.GET.OBJECT")
    assert 1000 <= int(line["sent"]) < 32 << 20 and line["size"] == str(32 << 20)


@pytest.mark.parametrize("dates", ["EventTime", "DeliveryTime"])
def test_partitioned_keys(org, c, target, dates):
    """`[prefix][account]/[region]/[bucket]/[day]/[time]-[unique]`; by the time of the event the hour is left out."""
    source = name("source")
    c.create_bucket(Bucket=source)
    log_to(c, source, target, TargetObjectKeyFormat={"PartitionedPrefix": {"PartitionDateSource": dates}})
    c.list_objects_v2(Bucket=source)
    logged(c, target, "REST.GET.BUCKET")
    time = r"00-00-00" if dates == "EventTime" else r"\d\d-\d\d-\d\d"
    for entry in c.list_objects_v2(Bucket=target)["Contents"]:
        assert re.fullmatch(rf"log/{org.name}/auto/{source}/(\d{{4}})/(\d\d)/(\d\d)/\1-\2-\3-{time}-[0-9A-F]{{16}}", entry["Key"]), entry["Key"]


def test_simple_keys_and_what_logs_are(org, c, source, target):
    """Plain text of the target's owner, named by the time."""
    c.list_objects_v2(Bucket=source)
    logged(c, target, "REST.GET.BUCKET")
    for entry in c.list_objects_v2(Bucket=target)["Contents"]:
        assert re.fullmatch(r"log/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", entry["Key"])
        assert c.head_object(Bucket=target, Key=entry["Key"])["ContentType"] == "text/plain"
        assert c.get_object_acl(Bucket=target, Key=entry["Key"])["Owner"]["ID"] == org.name


def test_grants_on_logs(logging, org, c, target):
    """Others read logs as the configuration says; the owner's own grant adds nothing and is not kept."""
    auditor = Org(logging, "auditor")
    source, grantee = name("source"), {"Type": "CanonicalUser", "ID": auditor.name, "DisplayName": auditor.name}
    c.create_bucket(Bucket=source)
    own = {"Grantee": {"Type": "CanonicalUser", "ID": org.name}, "Permission": "FULL_CONTROL"}
    log_to(c, source, target, TargetGrants=[own, {"Grantee": grantee, "Permission": "READ"}])
    shown = c.get_bucket_logging(Bucket=source)["LoggingEnabled"]["TargetGrants"]
    assert shown == [{"Grantee": grantee, "Permission": "READ"}]
    c.list_objects_v2(Bucket=source)
    logged(c, target, "REST.GET.BUCKET")
    key = c.list_objects_v2(Bucket=target)["Contents"][0]["Key"]
    assert b"REST.GET" in read(auditor.client(), target, key)
    c.put_bucket_ownership_controls(Bucket=target, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]})
    error = refused(log_to, c, source, target, TargetGrants=[{"Grantee": grantee, "Permission": "READ"}])
    assert error.code == "AccessControlListNotSupported"
    log_to(c, source, target, TargetGrants=[own])


def test_who_lets_logs_in(logging, org, c):
    """The target's policy, by the name of the service and for this source; or its ACL. Nothing else does, and a denial wins."""
    source, target = name("source"), name("logs")
    for bucket in (source, target):
        c.create_bucket(Bucket=bucket)
    arn = {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source}"}, "StringEquals": {"aws:SourceAccount": org.name}}
    error = refused(log_to, c, source, target)
    assert (error.status, error.code) == (403, "AccessDenied") and "logging.s3.amazonaws.com" in error.message
    for bad in (
        statement(target, principal={"AWS": "*"}), statement(target, principal={"Service": "logging.s3.amazonaws.comx"}), statement(target, action="s3:GetObject"),
        statement(target, "other/*"), statement(target, ArnLike={"aws:SourceArn": "arn:aws:s3:::another"}),
        statement(target, StringEquals={"aws:SourceAccount": "another"}),
    ):
        let_in(c, target, bad)
        assert refused(log_to, c, source, target).code == "AccessDenied", bad
    everyone = statement(target, "*", principal="*", effect="Deny", action="s3:*", Bool={"aws:SecureTransport": "false"})
    for good in ([statement(target, **arn)], [statement(target, "log/")], [statement(target, "*"), everyone]):
        let_in(c, target, *good)
        log_to(c, source, target)
    let_in(c, target, statement(target), statement(target, principal="*", effect="Deny"))
    assert refused(log_to, c, source, target).code == "AccessDenied"
    c.delete_bucket_policy(Bucket=target)
    c.put_bucket_acl(Bucket=target, ACL="log-delivery-write")
    log_to(c, source, target)
    c.list_objects_v2(Bucket=source)
    logged(c, target, "REST.GET.BUCKET")


def test_what_s3_refuses(logging, c, source, target):
    """A target that is absent, of another's or paid for by requesters; a prefix that is too long; a format that makes no sense."""
    theirs, other = Org(logging, "theirs").client(), name("theirs")
    theirs.create_bucket(Bucket=other)
    let_in(theirs, other)
    for bad in (other, "no-such-bucket-here"):
        assert refused(log_to, c, source, bad).code == "InvalidTargetBucketForLogging"
    assert refused(log_to, c, source, target, "x" * 1024).code == "InvalidArgument"
    assert refused(log_to, c, source, target, TargetObjectKeyFormat={"PartitionedPrefix": {"PartitionDateSource": "Never"}}).code == "MalformedXML"
    c.put_bucket_request_payment(Bucket=target, RequestPaymentConfiguration={"Payer": "Requester"})
    assert refused(log_to, c, source, target).code == "InvalidArgument"


def test_a_bucket_may_log_to_itself(c, target):
    """What is written as a log is no request: nothing goes round in a circle."""
    log_to(c, target, target)
    c.put_object(Bucket=target, Key="k", Body=b"x")
    logged(c, target, "REST.PUT.OBJECT", key="k")
    count = lambda: sum(line["operation"].startswith("REST.PUT") for line in lines(c, target))
    stays("one line of a write", lambda: count() == 1, seconds=3)


def test_off_is_off(c, source, target):
    """Without the configuration nothing more is logged; what had gathered comes."""
    c.put_object(Bucket=source, Key="before", Body=b"x")
    c.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    c.put_object(Bucket=source, Key="after", Body=b"x")
    logged(c, target, "REST.PUT.OBJECT", key="before")
    logged(c, target, "REST.PUT.LOGGING_STATUS")
    stays("nothing more", lambda: not [line for line in lines(c, target) if line["key"] == "after"], seconds=2)


def test_what_cannot_be_delivered_is_counted(logging, c, source, target):
    """A target that lets nothing in any more costs no request anything; the lost lines are counted and said once."""
    dropped = lambda: int(re.search(r"^umbra_access_log_dropped_lines_total (\d+)$", logging.metrics(), re.M)[1])
    before = dropped()
    c.delete_bucket_policy(Bucket=target)
    c.put_object(Bucket=source, Key="k", Body=b"x")
    until("the lines to be given up", lambda: dropped() > before)
    assert not c.list_objects_v2(Bucket=target).get("Contents")
    until("the log to say so", lambda: "its lines are lost" in logging.log_path.read_text())


def test_a_stop_writes_what_has_gathered(tmp_path):
    """However long the interval, nothing is lost by a stop in order."""
    server = Umbra(tmp_path / "stopped", "--access-log-interval", "3600").start()
    try:
        c = server.client()
        for bucket in ("logs", "source"):
            c.create_bucket(Bucket=bucket)
        let_in(c, "logs")
        log_to(c, "source", "logs")
        for number in range(5):
            c.put_object(Bucket="source", Key=f"k{number}", Body=b"x")
        assert not c.list_objects_v2(Bucket="logs").get("Contents")
        server.restart()
        found = lines(server.client(), "logs")
        assert sorted(line["key"] for line in found) == [f"k{number}" for number in range(5)]
        assert {line["requester"] for line in found} == {ROOT_KEY}
    finally:
        server.remove()


def test_a_source_with_a_shadow(logging, seaweed):
    """Reads that go to the origin are lines like any other; what the shadow asks for itself is none."""
    pair = Shadowed(logging, seaweed)
    try:
        pair.put_there("cold", b"1234567")
        pair.create()
        root = logging.client()
        target = name("logs")
        logging.storage("create", "-n", target, "-o", pair.org, "-y")
        let_in(root, target)
        log_to(root, pair.name, target)
        assert pair.read("cold") == b"1234567"
        [line] = logged(root, target, "REST.GET.OBJECT")
        assert (line["key"], line["size"], line["sent"]) == ("cold", "7", "7")
        assert [line["operation"] for line in lines(root, target)] == ["REST.GET.OBJECT"]
    finally:
        pair.close()


def test_a_target_that_is_written_through(logging, seaweed):
    """Logs are on both sides; while the origin cannot be written they wait, and no request does."""
    pair = Shadowed(logging, seaweed)
    try:
        pair.create(write_through=True)
        root, source = logging.client(), name("source")
        logging.storage("create", "-n", source, "-o", pair.org, "-y")
        let_in(root, pair.name)
        log_to(root, source, pair.name)
        pair.fault("PUT", status=503)
        root.put_object(Bucket=source, Key="k", Body=b"x")
        until("a delivery to fail", lambda: "an access log cannot be delivered; trying again" in logging.log_path.read_text())
        pair.proxy.clear_rules()
        logged(root, pair.name, "REST.PUT.OBJECT", key="k")
        for entry in root.list_objects_v2(Bucket=pair.name)["Contents"]:
            assert pair.read_there(entry["Key"]) == read(root, pair.name, entry["Key"])
    finally:
        pair.close()
