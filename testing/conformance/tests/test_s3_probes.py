"""What no well-behaved client sends, and how Amazon S3 answers it: each probe found another store that answered wrongly.

Holds "where S3 is silent, fail early and clearly".
"""

import hashlib
import socket
from datetime import datetime, timedelta, timezone
from urllib.parse import quote, urlsplit

import pytest

from harness.clients import read, refused
from harness.data import KIB, content
from harness.raw import is_error, receive, request, send
from harness.shadowed import name


def presigned(wire, c, operation="get_object", **changes):
    """The path and query of a presigned URL, with parameters replaced behind the signature's back."""
    url = c.generate_presigned_url(operation, Params={"Bucket": wire.bucket, "Key": "k"}, ExpiresIn=600)
    parts = urlsplit(url)
    pairs = dict(pair.split("=", 1) for pair in parts.query.split("&"))
    pairs.update({k.replace("_", "-"): v for k, v in changes.items()})
    return f"{parts.path}?" + "&".join(f"{k}={v}" for k, v in pairs.items() if v is not None)


def get(wire, target, method="GET", **headers):
    return send(wire.umbra.address, request(method, target, {"host": wire.umbra.listen, **headers}))


# -- ids -------------------------------------------------------------------------------------------------------


def test_every_answer_has_its_id(wire, c):
    """Success or failure, with a body or without, each answer has an id of its own; errors repeat it in their document."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    etag = c.head_object(Bucket=wire.bucket, Key="k")["ETag"]
    answers = [
        wire.call("GET", "/"), wire.call("GET", "/BUCKET"), wire.call("HEAD", "/BUCKET"), wire.call("GET", "/BUCKET/k"), wire.call("HEAD", "/BUCKET/absent"),
        wire.call("GET", "/BUCKET/k", extra={"if-none-match": etag}), wire.call("DELETE", "/BUCKET/absent"), wire.call("PUT", "/BUCKET/k", body=b"y"),
        wire.call("OPTIONS", "/BUCKET/k"), wire.call("BREW", "/BUCKET/k"), wire.call("GET", "/BUCKET/%zz"), wire.call("GET", "/BUCKET", "futureThing="),
        get(wire, f"/{wire.bucket}/k"), wire.call("GET", "/no-such-bucket-anywhere/k"), wire.call("GET", "/BUCKET/k", signer=wire.signer(secret_key="wrong")),
    ]
    ids = [answer.headers["x-amz-request-id"] for answer in answers]
    assert len(set(ids)) == len(ids)
    for answer, id in zip(answers, ids):
        assert answer.headers["x-amz-id-2"] and answer.headers["date"] and answer.headers["server"]
        if answer.body.startswith(b"<?xml") and answer.status >= 400:
            assert f"<RequestId>{id}</RequestId><HostId>{answer.headers['x-amz-id-2']}</HostId>".encode() in answer.body
    assert {answer.status for answer in answers} >= {200, 204, 304, 400, 403, 404, 405, 501}


# -- presigned URLs --------------------------------------------------------------------------------------------


def test_presigned_urls_end(wire, c):
    """Expiry out of range, expired, in the future, malformed: S3's code for each."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    assert get(wire, presigned(wire, c)).status == 200
    bad = "AuthorizationQueryParametersError"
    for expires, expected in (("604801", (400, bad)), ("8640000000000", (400, bad)), ("abc", (400, bad)), ("", (400, bad)), (None, (400, bad)),
                              ("0", (403, "AccessDenied")), ("-7", (403, "AccessDenied")), ("604800", (403, "SignatureDoesNotMatch")), ("1", (403, "SignatureDoesNotMatch"))):
        is_error(get(wire, presigned(wire, c, X_Amz_Expires=expires)), *expected)
    day = timedelta(days=1)
    for at, expected in ((-2 * day, (403, "AccessDenied")), (day, (403, "RequestTimeTooSkewed"))):
        moment = datetime.now(timezone.utc) + at
        credential = quote(f"{wire.umbra.access_key}/{moment:%Y%m%d}/us-east-1/s3/aws4_request", safe="")
        is_error(get(wire, presigned(wire, c, X_Amz_Date=f"{moment:%Y%m%dT%H%M%SZ}", X_Amz_Credential=credential)), *expected)
    for changes in ({"X_Amz_Credential": None}, {"X_Amz_Date": None}, {"X_Amz_SignedHeaders": None}, {"X_Amz_Algorithm": None}, {"X_Amz_Date": "yesterday"}, {"X_Amz_Credential": "a"}):
        is_error(get(wire, presigned(wire, c, **changes)), 400, bad)
    assert get(wire, presigned(wire, c, X_Amz_Signature="00")).code == "SignatureDoesNotMatch"
    assert get(wire, presigned(wire, c, X_Amz_Signature=None)).status == 403, "without a signature it is anonymous"


def test_presigned_urls_cannot_be_changed(wire, c):
    """Another method, key or parameter than was signed, or a header that would mean something, is refused."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    target = presigned(wire, c)
    for method in ("PUT", "DELETE", "HEAD", "POST"):
        assert get(wire, target, method).status == 403, method
    assert get(wire, target.replace("/k?", "/l?")).code == "SignatureDoesNotMatch"
    assert get(wire, target + "&versionId=null").code == "SignatureDoesNotMatch"
    assert get(wire, target + "&response-content-type=text/html").code == "SignatureDoesNotMatch"
    upload = presigned(wire, c, "put_object")
    for header, value in (("x-amz-copy-source", f"/{wire.bucket}/k"), ("x-amz-acl", "public-read"), ("x-amz-storage-class", "GLACIER"), ("x-amz-tagging", "a=b")):
        answer = get(wire, upload, "PUT", **{"content-length": 0, header: value})
        assert (answer.status, answer.code) == (403, "AccessDenied"), (header, answer)
    assert read(c, wire.bucket, "k") == b"x"


# -- who and where ---------------------------------------------------------------------------------------------


def test_credential_scopes(wire):
    """A scope for another service, day or ending is refused; the region may be any, as the documentation says."""
    path = f"/{wire.bucket}"
    for scope, status in (("{day}/us-east-1/s3/aws4_request", 200), ("{day}/nowhere-9/s3/aws4_request", 200), ("{day}/us-east-1/iam/aws4_request", 0),
                          ("20200101/us-east-1/s3/aws4_request", 0), ("{day}/us-east-1/s3/aws5_request", 0), ("{day}/us-east-1/s3", 0)):
        signer = wire.signer()
        scope = scope.format(day=f"{signer.now:%Y%m%d}")
        if status:
            signer.region = scope.split("/")[1]
        headers = signer.headers("GET", wire.umbra.listen, path)
        headers["authorization"] = headers["authorization"].replace(signer.scope, scope)
        answer = send(wire.umbra.address, request("GET", path, headers))
        assert answer.status == 200 if status else answer.status in (400, 403, 501) and answer.code, (scope, answer)


def test_hosts(wire, c):
    """The host may be given in the target, in capitals, or with any port: what was signed is what counts."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    path = f"/{wire.bucket}/k"
    for host in ("LOCALHOST", "localhost:1234", "bucket.example.com", "[::1]:9000", f"{wire.bucket}.example.com"):
        headers = wire.signer().headers("GET", host, path)
        assert send(wire.umbra.address, request("GET", path, headers)).body == b"x", host
    headers = wire.signer().headers("GET", wire.umbra.listen, path)
    assert send(wire.umbra.address, request("GET", f"http://{wire.umbra.listen}{path}", headers)).body == b"x"
    other = {**headers, "host": "elsewhere"}
    assert send(wire.umbra.address, request("GET", path, other)).code == "SignatureDoesNotMatch"


def test_expected_owners(wire, c):
    """A bucket that is somebody else's is AccessDenied, for the source of a copy too."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    owner = c.get_bucket_location  # The root key's buckets belong to the default organization.
    assert owner(Bucket=wire.bucket, ExpectedBucketOwner="default")
    for call, options in ((c.get_object, {"Key": "k"}), (c.put_object, {"Key": "k", "Body": b"y"}), (c.delete_object, {"Key": "k"}), (c.head_bucket, {}),
                          (c.list_objects_v2, {}), (c.delete_objects, {"Delete": {"Objects": [{"Key": "k"}]}}), (c.create_multipart_upload, {"Key": "k"})):
        call_is_refused = refused(call, Bucket=wire.bucket, ExpectedBucketOwner="123456789012", **options)
        assert call_is_refused.status == 403, call
    copy = {"Bucket": wire.bucket, "Key": "copied", "CopySource": f"{wire.bucket}/k"}
    assert refused(c.copy_object, **copy, ExpectedSourceBucketOwner="123456789012").code == "AccessDenied"
    c.copy_object(**copy, ExpectedSourceBucketOwner="default", ExpectedBucketOwner="default")
    assert read(c, wire.bucket, "copied") == b"x"


# -- keys and names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["%FF", "a%80", "%C3%28", "%zz", "%", "%2", "%ED%A0%80"])
def test_undecodable_keys(wire, key):
    """Bytes that are no UTF-8, and escapes that are none, are InvalidURI whatever the operation."""
    for method in ("GET", "PUT", "DELETE"):
        answer = wire.call(method, f"/BUCKET/{key}")
        is_error(answer, 400, "InvalidURI")
        assert b"Couldn&apos;t parse the specified URI." in answer.body
    assert wire.call("HEAD", f"/BUCKET/{key}").status == 400


def test_sources_of_copies(wire, c):
    """A copy source may be escaped or not, with a slash or without, and names what it names."""
    key = "dir/ü +%&?#=.txt"
    c.put_object(Bucket=wire.bucket, Key=key, Body=b"x")
    for source in (f"/{wire.bucket}/{quote(key)}", f"{wire.bucket}/{quote(key)}", f"{wire.bucket}/{quote(key, safe='')}", f"{wire.bucket}%2F{quote(key, safe='')}"):
        answer = wire.call("PUT", "/BUCKET/copied", extra={"x-amz-copy-source": source})
        assert answer.status == 200 and b"<CopyObjectResult" in answer.body, (source, answer)
    for source, expected in ((f"{wire.bucket}/absent", (404, "NoSuchKey")), (f"{name('absent')}/k", (404, "NoSuchBucket"))):
        is_error(wire.call("PUT", "/BUCKET/copied", extra={"x-amz-copy-source": source}), *expected)
    is_error(wire.call("PUT", "/BUCKET/" + quote(key), extra={"x-amz-copy-source": f"{wire.bucket}/{quote(key)}"}), 400, "InvalidRequest")


def test_unicode_metadata(wire, c):
    """Metadata beyond ASCII survives, and is answered as RFC 2047 has it."""
    value = "Grüße 東京"
    assert wire.call("PUT", "/BUCKET/k", extra={"x-amz-meta-a": value.encode().decode("latin-1")}, body=b"x").status in (200, 403)
    encoded = "=?UTF-8?B?R3LDvMOfZSDmnbHkuqw=?="
    assert wire.call("PUT", "/BUCKET/k", extra={"x-amz-meta-a": encoded}, body=b"x").status == 200
    answer = wire.call("GET", "/BUCKET/k").headers["x-amz-meta-a"]
    from email.header import decode_header, make_header

    assert str(make_header(decode_header(answer))) == value
    c.copy_object(Bucket=wire.bucket, Key="copied", CopySource=f"{wire.bucket}/k")
    assert wire.call("HEAD", "/BUCKET/copied").headers["x-amz-meta-a"] == answer


# -- framing ---------------------------------------------------------------------------------------------------


def test_refused_while_the_client_waits(wire):
    """Who asks first with Expect: 100-continue gets the refusal instead, and keeps the body."""
    path = f"/{wire.bucket}/k"
    for signer, target, code in ((wire.signer(secret_key="wrong"), path, "SignatureDoesNotMatch"), (wire.signer(), f"/{name('absent')}/k", "NoSuchBucket")):
        headers = signer.headers("PUT", wire.umbra.listen, target, payload_hash="UNSIGNED-PAYLOAD")
        with socket.create_connection(wire.umbra.address, 10) as sock:
            sock.sendall(request("PUT", target, {**headers, "content-length": 5 * KIB, "expect": "100-continue"}))
            answer = receive(sock)
            assert answer.status >= 400 and answer.code == code, answer
            assert answer.headers["connection"] == "close"


def test_a_decoded_length_that_lies(wire):
    """aws-chunked bodies have exactly the length they announce, and a last chunk."""
    from test_s3_errors import crc, trailer_chunks

    body = content(10)
    for options in ({"decoded": 99}, {"decoded": 3}, {"final": b""}):
        answer = trailer_chunks(wire, body, f"x-amz-checksum-crc32:{crc(body)}", **options)
        assert answer.status == 400 and answer.code in ("IncompleteBody", "InvalidRequest", "MalformedTrailerError", "BadDigest"), (options, answer)
    assert wire.call("HEAD", "/BUCKET/k").status == 404


def test_two_requests_in_one_packet(wire):
    """Requests that come together are answered in turn."""
    path = f"/{wire.bucket}/k"
    first = wire.signer().headers("PUT", wire.umbra.listen, path, payload_hash=hashlib.sha256(b"hello").hexdigest())
    second = wire.signer().headers("GET", wire.umbra.listen, path)
    with socket.create_connection(wire.umbra.address, 10) as sock:
        sock.sendall(request("PUT", path, {**first, "content-length": 5}, b"hello") + request("GET", path, {**second, "connection": "close"}))
        raw = b""
        while data := sock.recv(65536):
            raw += data
    assert raw.count(b"HTTP/1.1 200 OK") == 2 and raw.endswith(b"hello"), raw


def test_smuggled_lengths(wire):
    """A body with two lengths, or a length and chunks, never becomes a second request."""
    path = f"/{wire.bucket}/k"
    inner = request("DELETE", f"/{wire.bucket}", wire.signer().headers("DELETE", wire.umbra.listen, f"/{wire.bucket}"))
    headers = wire.signer().headers("PUT", wire.umbra.listen, path, payload_hash="UNSIGNED-PAYLOAD")
    for more in ({"content-length": 4, "transfer-encoding": "chunked"}, {"transfer-encoding": "identity, chunked", "content-length": 0}):
        send(wire.umbra.address, request("PUT", path, {**headers, **more}, b"0\r\n\r\n" + inner))
        assert wire.call("HEAD", "/BUCKET").status == 200
