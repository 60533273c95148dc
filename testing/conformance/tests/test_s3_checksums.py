"""Checksums of every algorithm: on writes, in parts, on reads of wholes and parts, and through copies.

Holds "Where this page is silent, do what Amazon S3 does".
"""

import base64
import hashlib

import pytest

from harness.checksums import ALGORITHMS, checksum, composite
from harness.clients import headers, refused
from harness.data import MIB, content
from harness.raw import Signer, request, send

PARTS = [content(5 * MIB, 1), content(11, 2)]
# The published values over nothing of what no library here computes.
OF_NOTHING = {
    "sha512": base64.b64encode(hashlib.sha512(b"").digest()).decode(),
    "md5": base64.b64encode(hashlib.md5(b"").digest()).decode(),
    "xxhash64": base64.b64encode(bytes.fromhex("ef46db3751d8e999")).decode(),
    "xxhash3": base64.b64encode(bytes.fromhex("2d06800538d394c2")).decode(),
    "xxhash128": base64.b64encode(bytes.fromhex("99aa06d3014798d86001c324468d497f")).decode(),
}


def field(algorithm):
    return f"Checksum{algorithm}"


def value(answer, algorithm):
    return answer.get(field(algorithm)), answer.get("ChecksumType")


def ask(umbra, method, path, extra=None, body=b""):
    """A request by hand, for algorithms that clients here do not know."""
    signer = Signer(umbra.access_key, umbra.secret_key)
    path, _, query = path.partition("?")
    sent = signer.headers(method, umbra.listen, path, query, hashlib.sha256(body).hexdigest(), extra)
    return send(umbra.address, request(method, f"{path}?{query}" if query else path, {**sent, "content-length": str(len(body))}, body))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_write(c, bucket, algorithm):
    """What a client sends is verified, kept, and told to readers who ask; a value that does not fit stores nothing."""
    body = content(70_000, 1)
    sum_ = checksum(algorithm, body)
    assert value(c.put_object(Bucket=bucket, Key="k", Body=body, **{field(algorithm): sum_}), algorithm) == (sum_, "FULL_OBJECT")
    for call in (c.get_object, c.head_object):
        assert value(call(Bucket=bucket, Key="k", ChecksumMode="ENABLED"), algorithm) == (sum_, "FULL_OBJECT")
        # The whole in one part is the whole; a range is not.
        assert value(call(Bucket=bucket, Key="k", ChecksumMode="ENABLED", PartNumber=1), algorithm) == (sum_, "FULL_OBJECT")
        assert field(algorithm) not in call(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-9")
    assert field(algorithm) not in c.head_object(Bucket=bucket, Key="k")
    told = c.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])["Checksum"]
    assert value(told, algorithm) == (sum_, "FULL_OBJECT")
    for wrong in (checksum(algorithm, b"other"), "AAAA", "no base64"):
        assert refused(c.put_object, Bucket=bucket, Key="wrong", Body=body, **{field(algorithm): wrong}).code == "BadDigest", wrong
    assert refused(c.head_object, Bucket=bucket, Key="wrong").status == 404


@pytest.mark.parametrize("name", OF_NOTHING)
def test_the_newer_algorithms(umbra, bucket, name):
    """SHA512, MD5 and the XXHASH family are verified, kept and told like the others."""
    header, sum_ = f"x-amz-checksum-{name}", OF_NOTHING[name]
    stored = ask(umbra, "PUT", f"/{bucket}/{name}", {header: sum_})
    assert stored.status == 200 and stored.headers[header] == sum_ and stored.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert ask(umbra, "HEAD", f"/{bucket}/{name}", {"x-amz-checksum-mode": "ENABLED"}).headers[header] == sum_
    told = ask(umbra, "GET", f"/{bucket}/{name}?attributes=", {"x-amz-object-attributes": "Checksum"}).body
    assert sum_.encode() in told and f"<Checksum{name.upper()}>".encode() in told
    refused_ = ask(umbra, "PUT", f"/{bucket}/other", {header: sum_}, b"something")
    assert (refused_.status, refused_.code) == (400, "BadDigest")
    begun = ask(umbra, "POST", f"/{bucket}/up?uploads=", {"x-amz-checksum-algorithm": name.upper()})
    assert begun.status == 200 and begun.headers["x-amz-checksum-type"] == "COMPOSITE"
    whole = {"x-amz-checksum-algorithm": name.upper(), "x-amz-checksum-type": "FULL_OBJECT"}
    assert ask(umbra, "POST", f"/{bucket}/up?uploads=", whole).status == 400


@pytest.mark.parametrize("algorithm,kind", [(a, "COMPOSITE") for a in ALGORITHMS if a != "CRC64NVME"] + [(a, "FULL_OBJECT") for a in ALGORITHMS if a.startswith("CRC")])
def test_uploads_in_parts(c, bucket, algorithm, kind):
    """Parts carry theirs; the whole has one of the kind that was chosen; a read of a part tells the part's, with the kind of the whole."""
    upload = c.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == (algorithm, kind)
    of = dict(Bucket=bucket, Key="k", UploadId=upload["UploadId"])
    named, sums = [], [checksum(algorithm, part) for part in PARTS]
    for number, (part, sum_) in enumerate(zip(PARTS, sums), 1):
        stored = c.upload_part(**of, PartNumber=number, Body=part, **{field(algorithm): sum_})
        assert stored[field(algorithm)] == sum_
        named.append({"PartNumber": number, "ETag": stored["ETag"], field(algorithm): sum_})
    assert refused(c.upload_part, **of, PartNumber=1, Body=PARTS[0], **{field(algorithm): checksum(algorithm, b"x")}).code == "BadDigest"
    assert [part[field(algorithm)] for part in c.list_parts(**of)["Parts"]] == sums
    whole = composite(algorithm, PARTS) if kind == "COMPOSITE" else checksum(algorithm, b"".join(PARTS))
    parts = {"Parts": named}
    assert refused(c.complete_multipart_upload, **of, MultipartUpload=parts, **{field(algorithm): checksum(algorithm, b"x")}).code == "BadDigest"
    wrong = {"Parts": [{**named[0], field(algorithm): sums[1]}, named[1]]}
    assert refused(c.complete_multipart_upload, **of, MultipartUpload=wrong).code == "InvalidPart"
    other = "COMPOSITE" if kind == "FULL_OBJECT" else "FULL_OBJECT"
    assert refused(c.complete_multipart_upload, **of, MultipartUpload=parts, ChecksumType=other).code == "InvalidRequest"
    done = c.complete_multipart_upload(**of, MultipartUpload=parts, ChecksumType=kind, **{field(algorithm): whole})
    assert value(done, algorithm) == (whole, kind)
    for call in (c.get_object, c.head_object):
        assert value(call(Bucket=bucket, Key="k", ChecksumMode="ENABLED"), algorithm) == (whole, kind)
        for number, sum_ in enumerate(sums, 1):
            assert value(call(Bucket=bucket, Key="k", ChecksumMode="ENABLED", PartNumber=number), algorithm) == (sum_, kind)
    told = c.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ObjectParts"])
    assert value(told["Checksum"], algorithm) == (whole, kind)
    assert [part[field(algorithm)] for part in told["ObjectParts"]["Parts"]] == sums


def test_kinds_that_s3_does_not_have(c, bucket):
    """A SHA over the whole of parts, a composite of CRC64NVME, a kind without an algorithm: 400."""
    begin = lambda **options: refused(c.create_multipart_upload, Bucket=bucket, Key="k", **options)
    assert begin(ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT").code == "InvalidRequest"
    assert begin(ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE").code == "InvalidRequest"
    assert begin(ChecksumType="COMPOSITE").code == "InvalidRequest"


def test_copies_with_another_algorithm(c, bucket):
    """A copy keeps its source's algorithm, or takes the one it asks for, over the whole."""
    body = content(6 * MIB, 3)
    c.put_object(Bucket=bucket, Key="from", Body=body, ChecksumSHA1=checksum("SHA1", body))
    place = {"Bucket": bucket, "Key": "from"}
    kept = c.copy_object(Bucket=bucket, Key="kept", CopySource=place)["CopyObjectResult"]
    assert value(kept, "SHA1") == (checksum("SHA1", body), "FULL_OBJECT")
    for algorithm in ("SHA256", "CRC32"):
        changed = c.copy_object(Bucket=bucket, Key="to", CopySource=place, ChecksumAlgorithm=algorithm)["CopyObjectResult"]
        assert value(changed, algorithm) == (checksum(algorithm, body), "FULL_OBJECT")
        assert value(c.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED"), algorithm) == (checksum(algorithm, body), "FULL_OBJECT")
    upload = c.create_multipart_upload(Bucket=bucket, Key="part", ChecksumAlgorithm="SHA256")["UploadId"]
    part = c.upload_part_copy(Bucket=bucket, Key="part", UploadId=upload, PartNumber=1, CopySource=place)["CopyPartResult"]
    assert part["ChecksumSHA256"] == checksum("SHA256", body)


@pytest.mark.parametrize("sse", [{"ServerSideEncryption": "AES256"}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"\7" * 32}])
def test_of_encrypted_objects_they_are_those_of_the_content(c, bucket, sse):
    """Checksums are taken before encryption: clients verify what they sent and what they get."""
    body = content(300_000, 5)
    sum_ = checksum("SHA256", body)
    assert c.put_object(Bucket=bucket, Key="k", Body=body, ChecksumSHA256=sum_, **sse)["ChecksumSHA256"] == sum_
    reads = {k: v for k, v in sse.items() if k.startswith("SSECustomer")}
    got = c.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **reads)
    assert got["Body"].read() == body and got["ChecksumSHA256"] == sum_
    assert headers(got)["x-amz-checksum-type"] == "FULL_OBJECT"
