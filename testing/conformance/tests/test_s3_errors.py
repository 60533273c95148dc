"""Bad input, byte by byte over a socket: S3's code, and the server serves on.

Holds "where S3 is silent, fail early and clearly".
"""

import hashlib
import socket
import zlib
import base64
from datetime import datetime, timedelta, timezone

import pytest

from harness.clients import keys_of, read, refused, walk_v2
from harness.data import KIB, MIB, content
from harness.raw import EMPTY, Signer, is_error, receive, request, send
from harness.shadowed import name


# -- signatures ------------------------------------------------------------------------------------------------


def test_good_request(wire):
    """The hand itself signs right."""
    assert wire.call("PUT", "/BUCKET/k", body=b"hello").status == 200
    answer = wire.call("GET", "/BUCKET/k")
    assert (answer.status, answer.body) == (200, b"hello")


def test_wrong_signatures(wire):
    """A wrong secret, an unknown key, a stale date, a missing or mangled header: S3's code for each."""
    is_error(wire.call("GET", "/BUCKET", signer=wire.signer(secret_key="wrong")), 403, "SignatureDoesNotMatch")
    is_error(wire.call("GET", "/BUCKET", signer=wire.signer(access_key="UNKNOWNACCESSKEY0001")), 403, "InvalidAccessKeyId")
    for hours in (-2, 2):
        signer = wire.signer()
        signer.now = datetime.now(timezone.utc) + timedelta(hours=hours)
        is_error(wire.call("GET", "/BUCKET", signer=signer), 403, "RequestTimeTooSkewed")
    is_error(send(wire.umbra.address, request("GET", f"/{wire.bucket}", {"host": wire.umbra.listen})), 403, "AccessDenied")
    for mangled in ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "Basic dXNlcjpwYXNz", "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=zz"):
        answer = wire.call("GET", "/BUCKET", unsigned={"authorization": mangled})
        assert answer.status in (400, 403) and answer.code, (mangled, answer)


def test_a_signed_request_cannot_be_changed(wire):
    """Another path, query, header or body than was signed is refused."""
    signer = wire.signer()
    good = signer.headers("GET", wire.umbra.listen, f"/{wire.bucket}/a")
    is_error(send(wire.umbra.address, request("GET", f"/{wire.bucket}/b", good)), 403, "SignatureDoesNotMatch")
    is_error(send(wire.umbra.address, request("GET", f"/{wire.bucket}/a?tagging", good)), 403, "SignatureDoesNotMatch")
    is_error(send(wire.umbra.address, request("DELETE", f"/{wire.bucket}/a", good)), 403, "SignatureDoesNotMatch")
    put = wire.signer().headers("PUT", wire.umbra.listen, f"/{wire.bucket}/a", payload_hash=hashlib.sha256(b"true").hexdigest())
    answer = send(wire.umbra.address, request("PUT", f"/{wire.bucket}/a", {**put, "content-length": 4}, b"fake"))
    is_error(answer, 400, "XAmzContentSHA256Mismatch")
    assert wire.call("GET", "/BUCKET/a").status == 404


def test_unsigned_amz_headers_are_refused(wire):
    """An x-amz-* header added behind the signature's back is not honoured."""
    assert wire.call("PUT", "/BUCKET/secret", body=b"secret").status == 200
    for header, value in (("x-amz-copy-source", f"/{wire.bucket}/secret"), ("x-amz-acl", "public-read"), ("x-amz-meta-x", "y")):
        answer = wire.call("PUT", "/BUCKET/injected", unsigned={header: value})
        is_error(answer, 403, "AccessDenied", "SignatureDoesNotMatch")
    assert wire.call("GET", "/BUCKET/injected").status == 404


def test_presigned_limits(wire, c):
    """A presigned URL lasts at most seven days, and takes no injected copy source."""
    url = c.generate_presigned_url("get_object", Params={"Bucket": wire.bucket, "Key": "k"}, ExpiresIn=8 * 86400)
    target = url.removeprefix(wire.umbra.endpoint)
    answer = send(wire.umbra.address, request("GET", target, {"host": wire.umbra.listen}))
    assert answer.status in (400, 403) and answer.code in ("AuthorizationQueryParametersError", "AccessDenied"), answer
    wire.call("PUT", "/BUCKET/secret", body=b"secret")
    url = c.generate_presigned_url("put_object", Params={"Bucket": wire.bucket, "Key": "mine"})
    headers = {"host": wire.umbra.listen, "content-length": 0, "x-amz-copy-source": f"/{wire.bucket}/secret"}
    answer = send(wire.umbra.address, request("PUT", url.removeprefix(wire.umbra.endpoint), headers))
    assert answer.status == 403, answer
    assert wire.call("GET", "/BUCKET/mine").status == 404


# -- XML -------------------------------------------------------------------------------------------------------

MALFORMED = [b"<", b"not xml", b"<Delete>", b"<Delete><Object></Delete>", b"<Delete></Delete>", b"\xff\xfe\x00", b"<Other><Object><Key>k</Key></Object></Other>",
             b'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>', b"<a>" * 20000]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_malformed_xml(wire, number):
    """XML that is not well formed, or of another shape, is MalformedXML."""
    body = MALFORMED[number]
    md5 = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    is_error(wire.call("POST", "/BUCKET", "delete=", body, extra=md5), 400, "MalformedXML")


def test_malformed_xml_elsewhere(wire, c):
    """The same where an upload is completed, tags are put, and a bucket is created."""
    upload = c.create_multipart_upload(Bucket=wire.bucket, Key="k")["UploadId"]
    md5 = {"content-md5": base64.b64encode(hashlib.md5(b"<oops").digest()).decode()}
    is_error(wire.call("POST", "/BUCKET/k", f"uploadId={upload}", b"<oops"), 400, "MalformedXML")
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    is_error(wire.call("PUT", "/BUCKET/k", "tagging=", b"<oops", extra=md5), 400, "MalformedXML")
    is_error(wire.call("PUT", "/" + name("oops"), "", b"<oops"), 400, "MalformedXML")


def test_too_much_xml(wire):
    """A document without end is refused, not read into memory."""
    peak = wire.umbra.process.rss_bytes()
    key = b"<Object><Key>" + b"k" * 1000 + b"</Key></Object>"
    body = b"<Delete>" + key * (64 * MIB // len(key)) + b"</Delete>"
    answer = wire.call("POST", "/BUCKET", "delete=", body, payload_hash="UNSIGNED-PAYLOAD")
    assert answer.status in (0, 400, 413), answer
    assert wire.umbra.process.rss_bytes() - peak < 200 * MIB


# -- HTTP ------------------------------------------------------------------------------------------------------


def test_oversized_headers(wire):
    """Headers without end are refused."""
    answer = wire.call("GET", "/BUCKET/k", unsigned={"x-long": "v" * (2 * MIB)})
    assert answer.status in (0, 400, 431), answer
    answer = wire.call("GET", "/BUCKET/k", unsigned={f"x-many-{n}": "v" for n in range(5000)})
    assert answer.status in (0, 400, 431), answer
    answer = wire.call("GET", "/BUCKET/" + "k" * (1 * MIB))
    assert answer.status in (0, 400, 414, 431), answer


def test_no_http_at_all(wire):
    """Bytes that are no HTTP request are answered 400 or with a closed connection."""
    for data in (b"\x16\x03\x01\x02\x00\x01\x00", b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET\r\n\r\n", b"\x00" * 1000, b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
                 b"GET /%zz HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
                 b"PUT /b/k HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"):
        answer = send(wire.umbra.address, data, close_write=True)
        assert answer.status in (0, 505) or 400 <= answer.status < 500, (data, answer)


def test_no_length(wire):
    """A PUT that tells no length is MissingContentLength."""
    headers = wire.signer().headers("PUT", wire.umbra.listen, f"/{wire.bucket}/k", payload_hash="UNSIGNED-PAYLOAD")
    is_error(send(wire.umbra.address, request("PUT", f"/{wire.bucket}/k", {**headers, "transfer-encoding": "chunked"}, b"1\r\nx\r\n0\r\n\r\n")), 411, "MissingContentLength")


def test_truncated_body(wire, c):
    """A body that ends before its length changes nothing."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"before")
    for size in (10, 200 * KIB, 3 * MIB):
        headers = wire.signer().headers("PUT", wire.umbra.listen, f"/{wire.bucket}/k", payload_hash="UNSIGNED-PAYLOAD")
        answer = send(wire.umbra.address, request("PUT", f"/{wire.bucket}/k", {**headers, "content-length": size}, b"x" * (size // 2)), close_write=True)
        assert answer.status in (0, 400), answer
        assert answer.status == 0 or answer.code in ("IncompleteBody", "RequestTimeout"), answer
        assert read(c, wire.bucket, "k") == b"before"


def test_too_large(wire):
    """More than 5 GiB in one PUT is EntityTooLarge, before a byte is read."""
    headers = wire.signer().headers("PUT", wire.umbra.listen, f"/{wire.bucket}/k", payload_hash="UNSIGNED-PAYLOAD")
    answer = send(wire.umbra.address, request("PUT", f"/{wire.bucket}/k", {**headers, "content-length": 5 * 1024**3 + 1}, b"x"))
    is_error(answer, 400, "EntityTooLarge")


def test_expect_continue(wire):
    """Expect: 100-continue is answered, so that a client sends its body; a bad signature is refused before it."""
    path = f"/{wire.bucket}/k"
    headers = wire.signer().headers("PUT", wire.umbra.listen, path, payload_hash="UNSIGNED-PAYLOAD")
    with socket.create_connection(wire.umbra.address, 10) as sock:
        sock.sendall(request("PUT", path, {**headers, "content-length": 5, "expect": "100-continue"}))
        assert receive(sock).status == 100
        sock.sendall(b"hello")
        assert receive(sock).status == 200
    headers = wire.signer(secret_key="wrong").headers("PUT", wire.umbra.listen, path, payload_hash="UNSIGNED-PAYLOAD")
    answer = send(wire.umbra.address, request("PUT", path, {**headers, "content-length": 5, "expect": "100-continue"}))
    assert answer.status == 403, answer


def test_expect_continue_answered_at_once(wire):
    """A final answer in the place of 100 Continue ends the connection: botocore misreads the next answer on it otherwise."""
    path = f"/{wire.bucket}/k"
    for signer, status in ((wire.signer(), 200), (wire.signer(secret_key="wrong"), 403)):
        size = 0 if status == 200 else 5
        headers = signer.headers("PUT", wire.umbra.listen, path, payload_hash="UNSIGNED-PAYLOAD")
        with socket.create_connection(wire.umbra.address, 10) as sock:
            sock.sendall(request("PUT", path, {**headers, "content-length": size, "expect": "100-continue"}))
            answer = receive(sock)
            if answer.status == 100:
                sock.sendall(b"x" * size)
                answer = receive(sock)
            else:
                assert answer.headers.get("connection", "").lower() == "close", answer
            assert answer.status == status


# -- aws-chunked -----------------------------------------------------------------------------------------------


def signed_chunks(wire, chunks, decoded=None, spoil=None, final=True, key="k"):
    """A PUT in signed chunks, with what `spoil` does to the framing."""
    path = f"/{wire.bucket}/{key}"
    size = sum(map(len, chunks)) if decoded is None else decoded
    signer = wire.signer()
    extra = {"x-amz-decoded-content-length": str(size), "content-encoding": "aws-chunked"}
    headers = signer.headers("PUT", wire.umbra.listen, path, payload_hash="STREAMING-AWS4-HMAC-SHA256-PAYLOAD", extra=extra)
    body, previous = b"", signer.signature
    for chunk in [*chunks, b""] if final else chunks:
        previous = signer.chunk_signature(previous, chunk)
        body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + b"\r\n"
    if spoil:
        body = spoil(body)
    return send(wire.umbra.address, request("PUT", path, {**headers, "content-length": len(body)}, body))


def test_signed_chunks(wire, c):
    """A body in signed chunks is stored without its framing, and without aws-chunked as its encoding."""
    chunks = [content(64 * KIB, 1), content(64 * KIB, 2), b"tail"]
    assert signed_chunks(wire, chunks).status == 200
    assert read(c, wire.bucket, "k") == b"".join(chunks)
    assert "aws-chunked" not in c.head_object(Bucket=wire.bucket, Key="k").get("ContentEncoding", "")


def test_bad_chunks(wire, c):
    """A wrong chunk signature, a wrong length, no end, no framing: refused, and nothing stored."""
    chunks = [content(64 * KIB, 1), b"tail"]
    cases = [
        (dict(spoil=lambda b: b.replace(b"chunk-signature=", b"chunk-signature=0", 1)), ("SignatureDoesNotMatch", "InvalidRequest", "IncompleteBody")),
        (dict(spoil=lambda b: b.replace(b"tail", b"tale")), ("SignatureDoesNotMatch",)),
        (dict(decoded=3), ()), (dict(decoded=10 * MIB), ("IncompleteBody",)), (dict(final=False), ("IncompleteBody",)),
        (dict(spoil=lambda b: b"zz" + b[2:]), ()), (dict(spoil=lambda b: b.replace(b"\r\n", b"\n")), ()), (dict(spoil=lambda b: b"plain body"), ()),
        (dict(spoil=lambda b: b"ffffffffffffffff;chunk-signature=" + b"0" * 64 + b"\r\n" + b), ()), (dict(spoil=lambda b: b"1" * 100000), ()),
    ]
    for number, (options, codes) in enumerate(cases):
        answer = signed_chunks(wire, chunks, key=f"bad-{number}", **options)
        assert answer.status in (400, 403) and answer.code and answer.code != "InternalError", (number, answer)
        assert not codes or answer.code in codes, (number, answer)
    assert keys_of(walk_v2(c, wire.bucket)) == []


def trailer_chunks(wire, body, trailer, key="k", decoded=None, final=b"0\r\n", chunk=None):
    """A PUT in unsigned chunks with a checksum behind them."""
    path = f"/{wire.bucket}/{key}"
    extra = {"x-amz-decoded-content-length": str(len(body) if decoded is None else decoded), "content-encoding": "aws-chunked",
             "x-amz-trailer": trailer.split(":")[0], "x-amz-sdk-checksum-algorithm": "CRC32"}
    headers = wire.signer().headers("PUT", wire.umbra.listen, path, payload_hash="STREAMING-UNSIGNED-PAYLOAD-TRAILER", extra=extra)
    framed = b""
    step = chunk or len(body) or 1
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        framed += f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    framed += final + trailer.encode() + b"\r\n\r\n"
    return send(wire.umbra.address, request("PUT", path, {**headers, "content-length": len(framed)}, framed))


def crc(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def test_trailers(wire, c):
    """A checksum in a trailer is verified and kept, in one chunk or many."""
    body = content(300 * KIB)
    for chunk in (None, 64 * KIB, 7777):
        assert trailer_chunks(wire, body, f"x-amz-checksum-crc32:{crc(body)}", chunk=chunk).status == 200
        assert read(c, wire.bucket, "k") == body
        assert c.head_object(Bucket=wire.bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc(body)
    assert trailer_chunks(wire, b"", f"x-amz-checksum-crc32:{crc(b'')}", key="empty").status == 200


def test_bad_trailers(wire, c):
    """A wrong checksum is BadDigest; a wrong decoded length or a missing end is refused."""
    body = content(100 * KIB)
    is_error(trailer_chunks(wire, body, f"x-amz-checksum-crc32:{crc(b'other')}"), 400, "BadDigest")
    for options in (dict(decoded=3), dict(decoded=len(body) + 89), dict(final=b"")):
        answer = trailer_chunks(wire, body, f"x-amz-checksum-crc32:{crc(body)}", **options)
        assert answer.status == 400 and answer.code, (options, answer)
    answer = trailer_chunks(wire, body, "x-amz-checksum-crc32:nonsense")
    assert answer.status == 400 and answer.code, answer
    assert keys_of(walk_v2(c, wire.bucket)) == []


def signed_trailer(wire, body, trailer, spoil=None, key="k"):
    """A PUT in one signed chunk with a signed checksum behind it."""
    path = f"/{wire.bucket}/{key}"
    name, value = trailer
    signer = wire.signer()
    extra = {"x-amz-decoded-content-length": str(len(body)), "content-encoding": "aws-chunked", "x-amz-trailer": name}
    headers = signer.headers("PUT", wire.umbra.listen, path, payload_hash="STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", extra=extra)
    first = signer.chunk_signature(signer.signature, body)
    last = signer.chunk_signature(first, b"")
    framed = f"{len(body):x};chunk-signature={first}\r\n".encode() + body + f"\r\n0;chunk-signature={last}\r\n".encode()
    framed += f"{name}:{value}\r\nx-amz-trailer-signature:{signer.trailer_signature(last, name, spoil or value)}\r\n\r\n".encode()
    return send(wire.umbra.address, request("PUT", path, {**headers, "content-length": len(framed)}, framed))


def test_signed_trailers(wire, c):
    """A trailer may be signed; a wrong signature or checksum refuses the object."""
    body = content(70 * KIB)
    assert signed_trailer(wire, body, ("x-amz-checksum-crc32", crc(body))).status == 200
    assert read(c, wire.bucket, "k") == body
    is_error(signed_trailer(wire, body, ("x-amz-checksum-crc32", crc(body)), spoil="other", key="bad"), 403, "SignatureDoesNotMatch")
    is_error(signed_trailer(wire, body, ("x-amz-checksum-crc32", crc(b"other")), key="bad"), 400, "BadDigest")
    assert keys_of(walk_v2(c, wire.bucket)) == ["k"]


def test_one_huge_chunk_is_not_kept_in_memory(wire, c):
    """An unsigned chunk streams, however long it says it is."""
    body = content(MIB) * 256
    wire.umbra.process.reset_rss_peak()
    before = wire.umbra.process.rss_bytes()
    assert trailer_chunks(wire, body, f"x-amz-checksum-crc32:{crc(body)}").status == 200
    assert wire.umbra.process.rss_peak_bytes() - before < 128 * MIB
    assert c.head_object(Bucket=wire.bucket, Key="k")["ContentLength"] == len(body)


# -- names and arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["ab", "a" * 64, "Upper", "under_score", "-dash", "dash-", "dot..dot", "a.-b", "a-.b", ".dot", "192.168.1.1", "sp%20ace", "xn--puny", "name-s3alias", "%00", "..", "%2e%2e"])
def test_invalid_bucket_names(wire, bad):
    """A bucket name outside S3's rules is InvalidBucketName."""
    is_error(wire.call("PUT", f"/{bad}"), 400, "InvalidBucketName")


def test_unknown_subresources_touch_nothing(wire, c):
    """A sub-resource nobody knows never falls through to the operation without it."""
    c.put_object(Bucket=wire.bucket, Key="k", Body=b"x")
    for method, path, query in (
        ("DELETE", "/BUCKET", "metadataConfiguration="), ("DELETE", "/BUCKET", "futureThing="), ("DELETE", "/BUCKET/k", "futureThing="),
        ("PUT", "/BUCKET/k", "futureThing="), ("PUT", "/BUCKET", "futureThing="), ("GET", "/BUCKET/k", "futureThing="),
    ):
        answer = wire.call(method, path, query)
        assert answer.status in (400, 405, 501), (method, query, answer)
    c.head_bucket(Bucket=wire.bucket)
    assert read(c, wire.bucket, "k") == b"x"


def test_unsupported_operations_say_so(wire, c):
    """What is not done answers NotImplemented, not something else's success."""
    for query in ("website=", "replication=", "analytics=&id=x", "inventory=&id=x", "accelerate="):
        answer = wire.call("PUT", "/BUCKET", query, b"<x/>")
        assert answer.status in (400, 501) and answer.code, (query, answer)
    assert c.head_bucket(Bucket=wire.bucket)


def test_wrong_methods(wire):
    """A method S3 does not know is MethodNotAllowed or the like."""
    for method in ("PATCH", "TRACE", "BREW"):
        answer = wire.call(method, "/BUCKET/k")
        assert answer.status in (400, 403, 405, 501), (method, answer)


def test_bad_arguments(wire, c):
    """Arguments that cannot be are InvalidArgument."""
    for query in ("max-keys=abc", "max-keys=-1", "list-type=2&max-keys=1.5", "list-type=2&encoding-type=base64", "max-keys=99999999999999999999"):
        answer = wire.call("GET", "/BUCKET", query)
        assert answer.status == 400 and answer.code, (query, answer)
    is_error(wire.call("GET", "/BUCKET", "list-type=7"), 400, "InvalidArgument")
    for query in ("partNumber=0", "partNumber=abc", "partNumber=10001"):
        answer = wire.call("GET", "/BUCKET/k", query)
        assert answer.status in (400, 404), (query, answer)


def test_errors_name_the_resource(wire):
    """An error tells code, message, request and resource."""
    answer = wire.call("GET", "/BUCKET/absent")
    is_error(answer, 404, "NoSuchKey")
    assert b"<Message>" in answer.body and f"<Resource>/{wire.bucket}/absent</Resource>".encode() in answer.body
    assert answer.body.startswith(b"<?xml")


def test_head_errors_have_no_body(wire):
    """A refused HEAD has a status and no body."""
    answer = wire.call("HEAD", "/BUCKET/absent")
    assert answer.status == 404 and answer.body == b""


def test_a_client_that_stalls_is_let_go_of_nothing(wire, c):
    """Connections that stall in a head or a body keep nobody else waiting."""
    held = []
    headers = wire.signer().headers("PUT", wire.umbra.listen, f"/{wire.bucket}/stalled", payload_hash="UNSIGNED-PAYLOAD")
    for number in range(40):
        sock = socket.create_connection(wire.umbra.address, 5)
        sock.sendall(b"GET / HTTP/1.1\r\nhost:" if number % 2 else request("PUT", f"/{wire.bucket}/stalled", {**headers, "content-length": 1000}, b"x"))
        held.append(sock)
    for number in range(20):
        c.put_object(Bucket=wire.bucket, Key=f"k{number}", Body=b"x")
    assert len(keys_of(walk_v2(c, wire.bucket))) == 20
    for sock in held:
        sock.close()


def test_missing_digest_of_delete(wire):
    """DeleteObjects without Content-MD5 or a checksum is refused or verified by its signed hash alone."""
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    answer = wire.call("POST", "/BUCKET", "delete=", body)
    assert answer.status in (200, 400), answer
    wrong = {"content-md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}
    is_error(wire.call("POST", "/BUCKET", "delete=", body, extra=wrong), 400, "BadDigest")
    assert EMPTY == hashlib.sha256(b"").hexdigest()


def test_copy_source_is_checked(wire, c):
    """A copy source that is none is InvalidArgument."""
    for source in ("nothing", "/", "%zz/%zz", wire.bucket):
        error = wire.call("PUT", "/BUCKET/t", extra={"x-amz-copy-source": source})
        assert error.status in (400, 404) and error.code, (source, error)
    assert refused(c.head_object, Bucket=wire.bucket, Key="t").status == 404
