"""Server-side encryption: what clients see of it, and what lies on the disk.

Holds "Where this page is silent, do what Amazon S3 does".
"""

import base64
import hashlib

import pytest

from harness.clients import headers, put_multipart, read, refused
from harness.data import KIB, MIB, content
from harness.raw import Signer, request, send
from harness.shadowed import Shadowed, name
from harness.umbra import Umbra

SSE = "x-amz-server-side-encryption"
# What is looked for on the disk: longer than a coincidence.
MARK = b"the quick brown fox of this test jumps over nobody. "


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with two named keys."""
    made = Umbra(tmp_path_factory.mktemp("encrypting"), "--kms-key", "one", "--kms-key", "two").start()
    yield made
    made.remove()


@pytest.fixture
def c(server):
    return server.client()


@pytest.fixture
def bucket(c):
    made = name("sealed")
    c.create_bucket(Bucket=made)
    return made


def customer(byte, source=False):
    """The arguments of a customer's key, spelled out: boto3 completes them for some operations only."""
    prefix, key = ("CopySource" if source else ""), base64.b64encode(bytes([byte]) * 32).decode()
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key, f"{prefix}SSECustomerKeyMD5": key_md5(byte)}


def key_md5(byte):
    return base64.b64encode(hashlib.md5(bytes([byte]) * 32).digest()).decode()


def marked(size):
    """Content that is easy to find."""
    return (MARK * (size // len(MARK) + 1))[:size]


MODES = {
    "managed": ({"ServerSideEncryption": "AES256"}, {}),
    "kms": ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "one"}, {}),
    "customer": (customer(7), customer(7)),
}


def shown(answer):
    """What an answer says of encryption."""
    return {k[len(SSE):]: v for k, v in headers(answer).items() if k.startswith(SSE)}


EXPECTED = {
    "managed": {"": "AES256"},
    "kms": {"": "aws:kms", "-aws-kms-key-id": "one"},
    "customer": {"-customer-algorithm": "AES256", "-customer-key-md5": key_md5(7)},
}


def on_disk(server):
    """Everything in the data directory, once what is in memory is written."""
    return b"\0".join(path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [0, 1, 3000, 100 * KIB, 3 * MIB])
def test_objects_are_told_and_read(c, bucket, mode, size):
    """An object says how it is encrypted when it is written and when it is read; its size is that of its content."""
    writes, reads = MODES[mode]
    body = content(size, 1)
    assert shown(c.put_object(Bucket=bucket, Key="k", Body=body, **writes)) == EXPECTED[mode]
    got = c.get_object(Bucket=bucket, Key="k", **reads)
    assert got["Body"].read() == body and shown(got) == EXPECTED[mode]
    head = c.head_object(Bucket=bucket, Key="k", **reads)
    assert head["ContentLength"] == size and shown(head) == EXPECTED[mode]
    assert c.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == size
    md5 = f'"{hashlib.md5(body).hexdigest()}"'
    assert (head["ETag"] == md5) == (mode == "managed")


@pytest.mark.parametrize("mode", MODES)
def test_ranges_of_all_kinds(c, bucket, mode):
    """Ranges are read right at the borders of segments and within them."""
    writes, reads = MODES[mode]
    body, segment = content(400 * KIB, 2), 65520
    c.put_object(Bucket=bucket, Key="k", Body=body, **writes)
    for first, last in [(0, 0), (0, segment - 1), (segment - 1, segment), (segment, 2 * segment - 1), (70_000, 300_000), (len(body) - 1, len(body) - 1)]:
        answer = c.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}", **reads)
        assert answer["Body"].read() == body[first : last + 1], (first, last)
        assert answer["ContentRange"] == f"bytes {first}-{last}/{len(body)}"
    assert read(c, bucket, "k", Range="bytes=-10", **reads) == body[-10:]


@pytest.mark.parametrize("mode", MODES)
def test_uploads_in_parts(c, bucket, mode):
    """Every part has a key of its own; the object is read across their borders, and part by part."""
    writes, reads = MODES[mode]
    parts = [content(5 * MIB, 1), content(5 * MIB + 1, 2), content(7, 3)]
    upload = c.create_multipart_upload(Bucket=bucket, Key="k", **writes)
    assert shown(upload) == EXPECTED[mode]
    named = []
    for number, body in enumerate(parts, 1):
        answer = c.upload_part(Bucket=bucket, Key="k", UploadId=upload["UploadId"], PartNumber=number, Body=body, **reads)
        assert shown(answer) == EXPECTED[mode]
        # Sent once more, as a client does that did not hear the answer: the same part.
        again = c.upload_part(Bucket=bucket, Key="k", UploadId=upload["UploadId"], PartNumber=number, Body=body, **reads)
        assert again["ETag"] == answer["ETag"]
        named.append({"PartNumber": number, "ETag": answer["ETag"]})
    done = c.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload["UploadId"], MultipartUpload={"Parts": named}, **reads)
    assert shown(done) == EXPECTED[mode]
    whole, border = b"".join(parts), len(parts[0])
    assert read(c, bucket, "k", **reads) == whole
    assert read(c, bucket, "k", Range=f"bytes={border - 5}-{border + 5}", **reads) == whole[border - 5 : border + 6]
    for number, body in enumerate(parts, 1):
        assert read(c, bucket, "k", PartNumber=number, **reads) == body


def test_nothing_of_the_content_lies_on_the_disk(server, c, bucket):
    """Small objects, large ones and parts are encrypted on the disk; without encryption they are not."""
    for mode, (writes, reads) in MODES.items():
        c.put_object(Bucket=bucket, Key=f"{mode}/small", Body=marked(1000), **writes)
        c.put_object(Bucket=bucket, Key=f"{mode}/large", Body=marked(300 * KIB), **writes)
        c.put_object(Bucket=bucket, Key=f"{mode}/streamed", Body=marked(9 * MIB), **writes)
        upload = c.create_multipart_upload(Bucket=bucket, Key=f"{mode}/parts", **writes)["UploadId"]
        c.upload_part(Bucket=bucket, Key=f"{mode}/parts", UploadId=upload, PartNumber=1, Body=marked(MIB), **reads)
    server.restart()
    assert MARK not in on_disk(server)
    client = server.client()
    for mode, (_, reads) in MODES.items():
        assert read(client, bucket, f"{mode}/streamed", **reads) == marked(9 * MIB)
    for size in (1000, 300 * KIB):
        client.put_object(Bucket=bucket, Key="plain", Body=marked(size))
        server.restart()
        assert MARK in on_disk(server), "the search finds what is there"
        client = server.client()


def test_a_customers_key_is_in_no_file_and_no_log(server, c, bucket):
    """Neither the key itself nor its base64 is kept anywhere, not when it is refused either."""
    key = hashlib.sha256(b"a secret of this test").digest()
    given = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    c.put_object(Bucket=bucket, Key="k", Body=b"x" * 100_000, **given)
    assert read(c, bucket, "k", **given) == b"x" * 100_000
    refused(c.get_object, Bucket=bucket, Key="k", **customer(1))
    wrong = {**given, "SSECustomerKey": base64.b64encode(key).decode(), "SSECustomerKeyMD5": key_md5(1)}
    assert refused(c.put_object, Bucket=bucket, Key="k", Body=b"", **wrong).code == "InvalidArgument"
    server.restart()
    kept = on_disk(server) + server.log_path.read_bytes()
    for form in (key, base64.b64encode(key), key.hex().encode()):
        assert form not in kept


def test_the_customers_key_must_come_and_fit(c, bucket):
    """Without the key, with another, or with a key for an object that has none, reads are refused with 400."""
    c.put_object(Bucket=bucket, Key="theirs", Body=b"body", **customer(7))
    c.put_object(Bucket=bucket, Key="plain", Body=b"body")
    attributes = dict(ObjectAttributes=["ObjectSize"])
    for call, more in ((c.get_object, {}), (c.head_object, {}), (c.get_object_attributes, attributes)):
        assert refused(call, Bucket=bucket, Key="theirs", **more).status == 400
        assert refused(call, Bucket=bucket, Key="theirs", **customer(8), **more).status == 400
        assert refused(call, Bucket=bucket, Key="plain", **customer(7), **more).status == 400
        assert call(Bucket=bucket, Key="theirs", **customer(7), **more)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert refused(c.get_object, Bucket=bucket, Key="theirs").code == "InvalidRequest"
    # What needs no content needs no key.
    assert c.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    c.delete_object(Bucket=bucket, Key="theirs")


def _raw(server, method, path, extra, body=b""):
    host = server.listen
    signer = Signer(server.access_key, server.secret_key)
    sent = signer.headers(method, host, path, payload_hash=hashlib.sha256(body).hexdigest(), extra=extra)
    return send(server.address, request(method, path, {**sent, "content-length": str(len(body))}, body))


def test_headers_that_contradict_each_other(server, c, bucket):
    """Half a key, a wrong MD5, two kinds at once, an unknown kind: 400, and nothing is stored."""
    key = {f"{SSE}-customer-algorithm": "AES256", f"{SSE}-customer-key": base64.b64encode(b"\7" * 32).decode(), f"{SSE}-customer-key-md5": key_md5(7)}
    without = lambda part: {k: v for k, v in key.items() if not k.endswith(part)}
    cases = [
        (without("-algorithm"), "InvalidArgument"),
        (without("-key"), "InvalidArgument"),
        (without("-md5"), "InvalidArgument"),
        ({**key, f"{SSE}-customer-key-md5": key_md5(8)}, "InvalidArgument"),
        ({**key, f"{SSE}-customer-algorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
        ({**key, SSE: "AES256"}, "InvalidArgument"),
        ({SSE: "AES192"}, "InvalidArgument"),
        ({SSE: "AES256", f"{SSE}-aws-kms-key-id": "one"}, "InvalidArgument"),
        ({f"{SSE}-aws-kms-key-id": "one"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-context": "not json"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "nobodys"}, "KMS.NotFoundException"),
    ]
    for extra, code in cases:
        answer = _raw(server, "PUT", f"/{bucket}/k", extra, b"body")
        assert (answer.status, answer.code) == (400, code), extra
    assert refused(c.head_object, Bucket=bucket, Key="k").status == 404
    c.put_object(Bucket=bucket, Key="k", Body=b"body")
    for method in ("GET", "HEAD"):
        assert _raw(server, method, f"/{bucket}/k", {SSE: "AES256"}).status == 400


def test_named_keys(c, bucket):
    """Keys are named plainly, by alias and by ARN, and shown as they were named; without a name it is the default key."""
    arn = "arn:aws:kms:us-east-1:111122223333:key/two"
    for key in ("two", "alias/two", arn):
        put = c.put_object(Bucket=bucket, Key="k", Body=b"body", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
        assert put["SSEKMSKeyId"] == key and read(c, bucket, "k") == b"body"
    put = c.put_object(Bucket=bucket, Key="k", Body=b"body", ServerSideEncryption="aws:kms")
    assert put["SSEKMSKeyId"] == "aws/s3" and read(c, bucket, "k") == b"body"
    put = c.put_object(Bucket=bucket, Key="k", Body=b"body", ServerSideEncryption="aws:kms:dsse", SSEKMSKeyId="one")
    assert put["ServerSideEncryption"] == "aws:kms:dsse"
    context = base64.b64encode(b'{"a": "b"}').decode()
    put = c.put_object(Bucket=bucket, Key="k", Body=b"b", ServerSideEncryption="aws:kms", SSEKMSEncryptionContext=context, BucketKeyEnabled=True)
    assert put["SSEKMSEncryptionContext"] == context and put["BucketKeyEnabled"]
    assert c.head_object(Bucket=bucket, Key="k")["BucketKeyEnabled"]
    assert refused(c.create_multipart_upload, Bucket=bucket, Key="k", ServerSideEncryption="aws:kms", SSEKMSKeyId="three").code == "KMS.NotFoundException"


def test_a_key_that_is_no_longer_listed(tmp_path):
    """What was encrypted with it is refused by name until the key is listed again; a key file takes part as long as it is the same."""
    key_file = tmp_path / "own.key"
    key_file.write_text("5a" * 32)
    key_file.chmod(0o600)
    server = Umbra(tmp_path / "server", "--kms-key", "one", "--kms-key", f"own={key_file}").start()
    try:
        client = server.client()
        client.create_bucket(Bucket="keys")
        for key in ("one", "own"):
            client.put_object(Bucket="keys", Key=key, Body=MARK, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
        flags, server.flags = server.flags, []
        server.restart()
        for key in ("one", "own"):
            assert refused(server.client().get_object, Bucket="keys", Key=key).code == "KMS.NotFoundException"
        server.flags = flags
        key_file.write_text("a5" * 32)
        server.restart()
        assert read(server.client(), "keys", "one") == MARK
        assert refused(server.client().get_object, Bucket="keys", Key="own").status == 500
        key_file.write_text("5a" * 32)
        server.restart()
        assert read(server.client(), "keys", "own") == MARK
    finally:
        server.remove()


def _default(c, bucket, algorithm, **more):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": algorithm, **more}}
    c.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def test_the_default_of_a_bucket(server, c, bucket):
    """What asks for nothing gets the bucket's default; what asks gets what it asks for; what is encrypted stays so."""
    assert refused(c.get_bucket_encryption, Bucket=bucket).code == "ServerSideEncryptionConfigurationNotFoundError"
    _default(c, bucket, "aws:kms", KMSMasterKeyID="two")
    rule = c.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "two"} and rule["BucketKeyEnabled"] is False
    assert shown(c.put_object(Bucket=bucket, Key="default", Body=marked(2000))) == {"": "aws:kms", "-aws-kms-key-id": "two"}
    assert shown(c.put_object(Bucket=bucket, Key="own", Body=marked(2000), ServerSideEncryption="AES256")) == {"": "AES256"}
    assert shown(c.put_object(Bucket=bucket, Key="theirs", Body=marked(2000), **customer(7)))["-customer-key-md5"] == key_md5(7)
    put_multipart(c, bucket, "parts", [marked(5 * MIB), marked(9)])
    assert shown(c.head_object(Bucket=bucket, Key="parts"))["-aws-kms-key-id"] == "two"
    copied = c.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "own"})
    assert shown(copied) == {"": "aws:kms", "-aws-kms-key-id": "two"}
    c.delete_bucket_encryption(Bucket=bucket)
    assert refused(c.get_bucket_encryption, Bucket=bucket).code == "ServerSideEncryptionConfigurationNotFoundError"
    assert read(c, bucket, "default") == marked(2000)
    assert shown(c.put_object(Bucket=bucket, Key="plain", Body=b"x")) == {}


def test_a_bucket_that_blocks_customers_keys(c, bucket):
    """Writes with a customer's key are refused; what was there before is still read."""
    c.put_object(Bucket=bucket, Key="before", Body=b"x", **customer(7))
    body = (
        b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
        b"</ApplyServerSideEncryptionByDefault><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>"
        b"</Rule></ServerSideEncryptionConfiguration>"
    )
    answer = c.meta.events
    answer.register_first("before-call.s3.PutBucketEncryption", lambda params, **_: params.update(body=body))
    _default(c, bucket, "AES256")
    assert refused(c.put_object, Bucket=bucket, Key="k", Body=b"x", **customer(7)).status == 403
    assert refused(c.create_multipart_upload, Bucket=bucket, Key="k", **customer(7)).status == 403
    assert read(c, bucket, "before", **customer(7)) == b"x"


def test_bad_defaults_are_refused(c, bucket):
    """No rule, two rules, an unknown algorithm, a key where none belongs: 400, and nothing changes."""
    put = lambda rules: refused(c.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    rule = lambda **default: {"ApplyServerSideEncryptionByDefault": default}
    aes = rule(SSEAlgorithm="AES256")
    for rules in ([], [aes, aes], [rule(SSEAlgorithm="ROT13")], [rule(SSEAlgorithm="AES256", KMSMasterKeyID="one")]):
        assert put(rules).status == 400
    assert refused(c.get_bucket_encryption, Bucket=bucket).status == 404


@pytest.mark.parametrize("to", ["plain", *MODES])
@pytest.mark.parametrize("source", ["plain", *MODES])
def test_copies_between_all_kinds(c, bucket, source, to):
    """A copy is encrypted as it asks, whatever its source was; a customer's key of the source must come along."""
    writes, reads = {**MODES, "plain": ({}, {})}[source]
    body = content(200 * KIB, 4)
    c.put_object(Bucket=bucket, Key="from", Body=body, **writes)
    asked, given = {**MODES, "plain": ({}, {}), "customer": (customer(9), customer(9))}[to]
    from_key = customer(7, source=True) if source == "customer" else {}
    place = {"Bucket": bucket, "Key": "from"}
    if from_key:
        assert refused(c.copy_object, Bucket=bucket, Key="to", CopySource=place, **asked).status == 400
    answer = c.copy_object(Bucket=bucket, Key="to", CopySource=place, **asked, **from_key)
    expected = {**EXPECTED, "plain": {}, "customer": {"-customer-algorithm": "AES256", "-customer-key-md5": key_md5(9)}}[to]
    assert shown(answer) == expected
    got = c.get_object(Bucket=bucket, Key="to", **given)
    assert got["Body"].read() == body and shown(got) == expected
    upload = c.create_multipart_upload(Bucket=bucket, Key="part", **asked)["UploadId"]
    part = c.upload_part_copy(
        Bucket=bucket, Key="part", UploadId=upload, PartNumber=1, CopySource=place, CopySourceRange="bytes=70000-140000", **given, **from_key
    )
    assert shown(part) == expected
    named = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    c.complete_multipart_upload(Bucket=bucket, Key="part", UploadId=upload, MultipartUpload={"Parts": named}, **given)
    assert read(c, bucket, "part", **given) == body[70000:140001]


def test_an_object_is_encrypted_by_a_copy_to_itself(c, bucket):
    """A change of encryption is a change: such a copy needs no other."""
    place = {"Bucket": bucket, "Key": "k"}
    c.put_object(Bucket=bucket, Key="k", Body=b"body", Metadata={"a": "b"})
    assert refused(c.copy_object, Bucket=bucket, Key="k", CopySource=place).code == "InvalidRequest"
    assert shown(c.copy_object(Bucket=bucket, Key="k", CopySource=place, ServerSideEncryption="AES256")) == {"": "AES256"}
    head = c.head_object(Bucket=bucket, Key="k")
    assert shown(head) == {"": "AES256"} and head["Metadata"] == {"a": "b"} and read(c, bucket, "k") == b"body"


def test_parts_come_with_the_key_of_their_upload(c, bucket):
    """A part without the customer's key, or with another, is refused; so is a completion that could tell."""
    upload = c.create_multipart_upload(Bucket=bucket, Key="k", **customer(7))["UploadId"]
    part = dict(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"body")
    assert refused(c.upload_part, **part).code == "InvalidRequest"
    assert refused(c.upload_part, **part, **customer(8)).code == "InvalidRequest"
    named = {"Parts": [{"PartNumber": 1, "ETag": c.upload_part(**part, **customer(7))["ETag"]}]}
    complete = dict(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=named)
    assert refused(c.complete_multipart_upload, **complete, **customer(8)).code == "InvalidRequest"
    assert refused(c.complete_multipart_upload, **complete).code == "InvalidRequest"
    c.complete_multipart_upload(**complete, **customer(7))
    plain = c.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    assert refused(c.upload_part, **{**part, "UploadId": plain}, **customer(7)).code == "InvalidRequest"


def test_presigned_urls_carry_encryption(server, c, bucket):
    """Signed headers of encryption work; moved into the query they are refused, never ignored."""
    import requests

    url = c.generate_presigned_url("put_object", Params=dict(Bucket=bucket, Key="k", ServerSideEncryption="AES256"))
    answer = requests.put(url, data=b"body", headers={SSE: "AES256"}, timeout=10)
    if SSE in url.lower() and "signedheaders=host&" in url.lower():
        assert answer.status_code == 501
    else:
        assert answer.status_code == 200 and shown(c.head_object(Bucket=bucket, Key="k")) == {"": "AES256"}


# -- with a shadow ---------------------------------------------------------------------------------------------


@pytest.fixture
def sealed_pair(server, seaweed):
    made = Shadowed(server, seaweed)
    yield made
    made.close()


@pytest.mark.parametrize("size", [1000, 200 * KIB, 12 * MIB])
def test_what_comes_in_is_encrypted_by_the_default(server, sealed_pair, size):
    """A copy of an origin's object is encrypted on the disk, piece by piece; before that it is read from the origin as it is."""
    pair = sealed_pair
    pair.put_there("k", marked(size), Metadata={"a": "b"})
    pair.create()
    _default(server.client(), pair.name, "AES256")
    assert pair.read("k") == marked(size)
    wait_until_here(pair, "k")
    head = pair.head("k")
    assert shown(head) == {"": "AES256"} and head["Metadata"] == {"a": "b"} and head["ETag"] == pair.there.head_object(Bucket=pair.origin_name, Key="k")["ETag"]
    assert pair.read("k", Range="bytes=500-700") == marked(size)[500:701]
    assert refused(pair.get, "k", **customer(7)).status == 400
    server.restart()
    pair.connect()
    assert pair.read("k") == marked(size)


def wait_until_here(pair, key):
    from harness.wait import until

    until(f"{key} is here", lambda: not pair.is_cold(key))


def test_pieces_on_their_way_in_are_encrypted(tmp_path, seaweed):
    """Nothing of an object that is half here lies on the disk as it is, nor once it is whole."""
    server = Umbra(tmp_path / "server").start()
    pair = Shadowed(server, seaweed)
    try:
        pair.put_there("k", marked(12 * MIB))
        pair.create()
        _default(server.client(), pair.name, "AES256")
        assert pair.read("k", Range=f"bytes={5 * MIB}-{6 * MIB}") == marked(12 * MIB)[5 * MIB : 6 * MIB + 1]
        server.restart()
        assert MARK not in on_disk(server)
        pair.connect()
        assert pair.read("k") == marked(12 * MIB)
        wait_until_here(pair, "k")
        server.restart()
        assert MARK not in on_disk(server)
    finally:
        pair.close()
        server.remove()


def test_a_default_that_comes_while_an_object_is_half_here(tmp_path, seaweed):
    """What was brought before stays as it is and what comes after is encrypted; the object is read whole, and does not claim to be encrypted."""
    server = Umbra(tmp_path / "server").start()
    pair = Shadowed(server, seaweed)
    try:
        body = content(8 * MIB, 9) + marked(8 * MIB)
        pair.put_there("k", body)
        pair.create()
        pair.fault("GET", "k", status=503, after=1)
        assert pair.read("k", Range=f"bytes={2 * MIB}-{3 * MIB}") == body[2 * MIB : 3 * MIB + 1]
        _default(server.client(), pair.name, "AES256")
        # Another transfer: the one under way goes by what its bucket was.
        server.restart()
        pair.proxy.clear_rules()
        pair.connect()
        assert pair.read("k") == body
        wait_until_here(pair, "k")
        assert shown(pair.head("k")) == {} and pair.read("k", Range=f"bytes={MIB}-{4 * MIB}") == body[MIB : 4 * MIB + 1]
        server.restart()
        kept = on_disk(server)
        for what, place in (("before", 2 * MIB), ("after", 12 * MIB)):
            assert (body[place : place + 100] in kept) == (what == "before"), what
        pair.connect()
        assert pair.read("k") == body
    finally:
        pair.close()
        server.remove()


def test_a_rollback_of_what_is_encrypted(server, sealed_pair):
    """What is encrypted with keys that are here goes back as it is; what is encrypted with a customer's key is named as left."""
    pair = sealed_pair.create()
    pair.put("ours", marked(100_000), ServerSideEncryption="AES256")
    pair.put("named", marked(1000), ServerSideEncryption="aws:kms", SSEKMSKeyId="one")
    pair.put("theirs", b"secret", **customer(7))
    done = server.storage("rollback", pair.name, "--json", check=False, timeout=100)
    told = done.json()
    assert done.status == 1 and not told["can_point_back"] and told["job"]["objects_failed"] == 1
    (failed,) = [k for k in told["keys"] if k["finding"] is None]
    assert failed["key"] == "theirs" and "server side encryption" in failed["reason"]
    assert pair.read_there("ours") == marked(100_000) and pair.read_there("named") == marked(1000) and not pair.is_there("theirs")
    found = server.storage("verify", pair.name, "--deep", "--json", check=False, timeout=100).json()
    assert {d["key"] for d in found["differences"]} == {"theirs"}


def test_write_through_and_encryption(server, sealed_pair):
    """The origin gets the content as it was sent, and its own say on encryption; a customer's key is refused before anything is sent."""
    pair = sealed_pair.create(write_through=True)
    assert shown(pair.put("k", marked(2000), ServerSideEncryption="AES256")) == {"": "AES256"}
    assert pair.read_there("k") == marked(2000) and pair.read("k") == marked(2000)
    assert shown(pair.head("k")) == {"": "AES256"}
    put_multipart(pair.here, pair.name, "parts", [marked(5 * MIB), marked(10)], ServerSideEncryption="aws:kms", SSEKMSKeyId="one")
    assert pair.read_there("parts") == marked(5 * MIB) + marked(10) == pair.read("parts")
    pair.proxy.forget()
    assert refused(pair.put, "theirs", b"secret", **customer(7)).code == "NotImplemented"
    assert refused(pair.here.create_multipart_upload, Bucket=pair.name, Key="theirs", **customer(7)).code == "NotImplemented"
    assert not pair.is_there("theirs")
