"""The multipart family.

Holds "Where this page is silent, do what Amazon S3 does".
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.checksums import checksum, composite
from harness.clients import headers, keys_of, put_multipart, read, refused, walk_v2
from harness.data import KIB, MIB, content, etag, multipart_etag
from harness.organizations import Org
from harness.shadowed import name

PARTS = [content(5 * MIB, 1), content(6 * MIB, 2), content(7, 3)]


def _begin(c, bucket, key="k", **options):
    return c.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]


def _part(c, bucket, upload, number, body, key="k", **options):
    return c.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **options)["ETag"]


def _complete(c, bucket, upload, parts, key="k", **options):
    listed = [{"PartNumber": n, "ETag": tag} for n, tag in parts]
    return c.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": listed}, **options)


def test_whole_life(c, bucket):
    """Parts become one object, in order of their numbers, with S3's ETag, the metadata of the beginning, and readable parts."""
    answer = put_multipart(c, bucket, "k", PARTS, ContentType="text/x", Metadata={"m": "1"}, Tagging="t=1", CacheControl="no-store")
    assert answer["ETag"] == multipart_etag(PARTS) and answer["Bucket"] == bucket and answer["Key"] == "k"
    whole = b"".join(PARTS)
    assert read(c, bucket, "k") == whole
    head = c.head_object(Bucket=bucket, Key="k")
    assert head["ETag"] == multipart_etag(PARTS) and head["ContentType"] == "text/x" and head["Metadata"] == {"m": "1"} and head["CacheControl"] == "no-store"
    assert c.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
    border = len(PARTS[0])
    assert read(c, bucket, "k", Range=f"bytes={border - 10}-{border + 9}") == whole[border - 10 : border + 10]
    for number, part in enumerate(PARTS, 1):
        answer = c.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert answer["Body"].read() == part and answer["PartsCount"] == 3 and answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert c.head_object(Bucket=bucket, Key="k", PartNumber=number)["ContentLength"] == len(part)
    assert refused(c.get_object, Bucket=bucket, Key="k", PartNumber=4).status == 416
    attributes = c.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts", "ETag", "ObjectSize"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 3 and attributes["ObjectSize"] == len(whole)


def test_part_numbers_have_gaps_and_any_order(c, bucket):
    """Part numbers need not be consecutive and parts come in any order; a part put again replaces the earlier."""
    upload = _begin(c, bucket)
    tags = {n: _part(c, bucket, upload, n, content(5 * MIB, n)) for n in (10000, 7, 300)}
    tags[7] = _part(c, bucket, upload, 7, content(5 * MIB, 77))
    _complete(c, bucket, upload, sorted(tags.items()))
    assert read(c, bucket, "k") == content(5 * MIB, 77) + content(5 * MIB, 300) + content(5 * MIB, 10000)
    for number, seed in ((7, 77), (300, 300), (10000, 10000)):
        part = c.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206 and part["PartsCount"] == 3
        assert part["Body"].read() == content(5 * MIB, seed)
    for number in (1, 8, 9999):
        assert refused(c.get_object, Bucket=bucket, Key="k", PartNumber=number).status == 416
        assert refused(c.head_object, Bucket=bucket, Key="k", PartNumber=number).status == 416


def test_parts_at_once(c, bucket):
    """Parts may be sent in parallel."""
    parts = [content(5 * MIB, n) for n in range(8)]
    upload = _begin(c, bucket)
    with ThreadPoolExecutor(8) as pool:
        tags = list(pool.map(lambda n: _part(c, bucket, upload, n + 1, parts[n]), range(8)))
    _complete(c, bucket, upload, list(enumerate(tags, 1)))
    assert read(c, bucket, "k") == b"".join(parts)


def test_parts_left_out_are_dropped(c, bucket):
    """The completion names the parts; others are dropped."""
    upload = _begin(c, bucket)
    tags = [_part(c, bucket, upload, n, content(5 * MIB, n)) for n in (1, 2, 3)]
    _complete(c, bucket, upload, [(1, tags[0]), (3, tags[2])])
    assert read(c, bucket, "k") == content(5 * MIB, 1) + content(5 * MIB, 3)


def test_completion_is_validated(c, bucket):
    """A wrong ETag, an absent part, a wrong order, a small part, an empty list: each with its code, and the upload stays."""
    upload = _begin(c, bucket)
    first, small, last = (_part(c, bucket, upload, n, body) for n, body in ((1, PARTS[0]), (2, b"small"), (3, PARTS[0])))
    cases = [
        ([(1, '"00000000000000000000000000000000"')], "InvalidPart"),
        ([(1, first), (4, first)], "InvalidPart"),
        ([(3, last), (1, first)], "InvalidPartOrder"),
        ([(1, first), (1, first)], "InvalidPartOrder"),
        ([(1, first), (2, small), (3, last)], "EntityTooSmall"),
        ([], "MalformedXML"),
    ]
    for parts, code in cases:
        error = refused(_complete, c, bucket, upload, parts)
        assert (error.status, error.code) == (400, code), parts
    assert refused(c.head_object, Bucket=bucket, Key="k").status == 404
    _complete(c, bucket, upload, [(1, first), (2, small)])
    assert read(c, bucket, "k") == PARTS[0] + b"small"


def test_completion_may_be_repeated(c, bucket):
    """A completion repeated because its answer was lost succeeds and changes nothing."""
    upload = _begin(c, bucket)
    tag = _part(c, bucket, upload, 1, b"x")
    first = _complete(c, bucket, upload, [(1, tag)])
    again = _complete(c, bucket, upload, [(1, tag)])
    assert first["ETag"] == again["ETag"] and read(c, bucket, "k") == b"x"


def test_conditional_completion(c, bucket):
    """If-None-Match: * and If-Match are judged at completion."""
    tag = c.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]
    upload = _begin(c, bucket)
    part = _part(c, bucket, upload, 1, b"new")
    assert refused(_complete, c, bucket, upload, [(1, part)], IfNoneMatch="*").status == 412
    assert refused(_complete, c, bucket, upload, [(1, part)], IfMatch='"other"').status == 412
    assert read(c, bucket, "k") == b"old"
    _complete(c, bucket, upload, [(1, part)], IfMatch=tag)
    assert read(c, bucket, "k") == b"new"


def test_nothing_shows_before_completion(c, bucket):
    """An upload in progress hides nothing and shows nothing; an abort leaves no trace."""
    c.put_object(Bucket=bucket, Key="k", Body=b"old")
    upload = _begin(c, bucket)
    _part(c, bucket, upload, 1, PARTS[0])
    assert read(c, bucket, "k") == b"old" and c.list_objects_v2(Bucket=bucket)["Contents"][0]["Size"] == 3
    assert c.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert read(c, bucket, "k") == b"old"
    for call in (lambda: _part(c, bucket, upload, 1, b"x"), lambda: c.list_parts(Bucket=bucket, Key="k", UploadId=upload),
                 lambda: _complete(c, bucket, upload, [(1, etag(PARTS[0]))]), lambda: c.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)):
        error = refused(call)
        assert (error.status, error.code) == (404, "NoSuchUpload")


def test_uploads_of_one_key_are_apart(c, bucket):
    """Two uploads of one key do not mix; the later completion wins."""
    one, two = _begin(c, bucket), _begin(c, bucket)
    assert one != two
    tags = [_part(c, bucket, u, 1, body) for u, body in ((one, b"one"), (two, b"two"))]
    _complete(c, bucket, two, [(1, tags[1])])
    _complete(c, bucket, one, [(1, tags[0])])
    assert read(c, bucket, "k") == b"one"


def test_a_bucket_with_uploads_only_can_be_listed(c, bucket):
    """ListObjects shows no uploads."""
    _begin(c, bucket)
    assert keys_of(walk_v2(c, bucket)) == []


def test_list_parts(c, bucket):
    """Parts are listed by number, with sizes and ETags, a page at a time."""
    upload = _begin(c, bucket)
    bodies = {n: content(n * KIB, n) for n in (1, 2, 5, 9, 100)}
    for number, body in bodies.items():
        _part(c, bucket, upload, number, body)
    walked, marker = [], 0
    while True:
        page = c.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=2, PartNumberMarker=marker)
        assert len(page["Parts"]) <= 2
        walked += page["Parts"]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in walked] == [(n, len(b), etag(b)) for n, b in bodies.items()]


def test_list_uploads(c, bucket):
    """Uploads are listed by key, with prefix, delimiter and markers."""
    made = [(key, _begin(c, bucket, key)) for key in ("a", "b/1", "b/2", "b/2", "c", "d/x/y")]
    walked, options = [], {}
    while True:
        page = c.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **options)
        assert len(page.get("Uploads", [])) <= 2
        walked += [(u["Key"], u["UploadId"]) for u in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        options = dict(KeyMarker=page["NextKeyMarker"], UploadIdMarker=page["NextUploadIdMarker"])
    assert sorted(walked) == sorted(made) and [k for k, _ in walked] == sorted(k for k, _ in made)
    page = c.list_multipart_uploads(Bucket=bucket, Prefix="b/")
    assert [u["Key"] for u in page["Uploads"]] == ["b/1", "b/2", "b/2"]
    page = c.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [u["Key"] for u in page["Uploads"]] == ["a", "c"] and [p["Prefix"] for p in page["CommonPrefixes"]] == ["b/", "d/"]


def test_copied_parts(c, bucket):
    """UploadPartCopy takes a whole object or a range of it."""
    source = content(12 * MIB)
    c.put_object(Bucket=bucket, Key="s", Body=source)
    upload = _begin(c, bucket)
    tags = []
    for number, wanted in enumerate(("bytes=0-5242879", "bytes=6291456-11534335", None), 1):
        options = {"CopySourceRange": wanted} if wanted else {}
        answer = c.upload_part_copy(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, CopySource={"Bucket": bucket, "Key": "s"}, **options)
        tags.append((number, answer["CopyPartResult"]["ETag"]))
    _complete(c, bucket, upload, tags)
    assert read(c, bucket, "k") == source[:5242880] + source[6291456:11534336] + source
    upload = _begin(c, bucket)
    call = dict(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1)
    for wanted in (f"bytes=0-{len(source)}", f"bytes={len(source)}-{len(source)}", f"bytes={2 * len(source)}-{3 * len(source)}", "bytes=5-4", "bytes=0-"):
        beyond = refused(c.upload_part_copy, CopySource={"Bucket": bucket, "Key": "s"}, CopySourceRange=wanted, **call)
        assert (beyond.status, beyond.code) == (400, "InvalidArgument"), wanted
    assert refused(c.upload_part_copy, CopySource={"Bucket": bucket, "Key": "absent"}, **call).code == "NoSuchKey"


def test_part_numbers_are_checked(c, bucket):
    """Part numbers go from 1 to 10,000."""
    upload = _begin(c, bucket)
    for number in (0, 10001):
        error = refused(_part, c, bucket, upload, number, b"x")
        assert (error.status, error.code) == (400, "InvalidArgument")
    error = refused(_part, c, bucket, "no-such-upload", 1, b"x")
    assert (error.status, error.code) == (404, "NoSuchUpload")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
def test_composite_checksums(c, bucket, algorithm):
    """A checksum of the parts' checksums is computed, told, and verified per part."""
    field = f"Checksum{algorithm}"
    parts = [content(5 * MIB, 1), content(100, 2)]
    upload = _begin(c, bucket, ChecksumAlgorithm=algorithm, ChecksumType="COMPOSITE")
    listed = []
    for number, body in enumerate(parts, 1):
        value = checksum(algorithm, body)
        answer = c.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body, **{field: value})
        assert answer[field] == value
        listed.append({"PartNumber": number, "ETag": answer["ETag"], field: value})
    error = refused(c.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=3, Body=b"x", **{field: checksum(algorithm, b"y")})
    assert error.code == "BadDigest"
    answer = c.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": listed})
    assert answer[field] == composite(algorithm, parts)
    head = c.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[field] == composite(algorithm, parts) and head["ChecksumType"] == "COMPOSITE"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_full_object_checksums(c, bucket, algorithm):
    """The three CRCs can be of the whole object; a wrong one refuses the completion."""
    field = f"Checksum{algorithm}"
    parts = [content(5 * MIB, 1), content(100, 2)]
    upload = _begin(c, bucket, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT")
    listed = []
    for number, body in enumerate(parts, 1):
        value = checksum(algorithm, body)
        tag = _part(c, bucket, upload, number, body, **{field: value})
        listed.append({"PartNumber": number, "ETag": tag, field: value})
    call = dict(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": listed}, ChecksumType="FULL_OBJECT")
    error = refused(c.complete_multipart_upload, **call, **{field: checksum(algorithm, b"other")})
    assert error.status == 400 and error.code == "BadDigest"
    whole = checksum(algorithm, b"".join(parts))
    assert c.complete_multipart_upload(**call, **{field: whole})[field] == whole
    head = c.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head[field] == whole and head["ChecksumType"] == "FULL_OBJECT"


def test_large_upload_with_the_transfer_manager(c, bucket, tmp_path):
    """boto3's own upload and download of 100 MiB in parallel parts."""
    path, back = tmp_path / "in", tmp_path / "out"
    path.write_bytes(content(100 * MIB))
    c.upload_file(str(path), bucket, "k")
    c.download_file(bucket, "k", str(back))
    assert back.read_bytes() == content(100 * MIB)
    assert headers(c.head_object(Bucket=bucket, Key="k"))["etag"].endswith('-13"')


def test_uploads_tell_who_began_them(umbra):
    """Initiator and owner in the lists of uploads and of parts; the owner's own and those of a stranger."""
    ours, theirs = Org(umbra), Org(umbra)
    c, stranger, made = ours.client(), theirs.client(), name("shared")
    c.create_bucket(Bucket=made)
    c.put_bucket_acl(Bucket=made, ACL="public-read-write")
    uploads = {key: client.create_multipart_upload(Bucket=made, Key=key)["UploadId"] for key, client in (("a", c), ("b", stranger))}

    def named(entry):
        return [entry[field][part] for field in ("Initiator", "Owner") for part in ("ID", "DisplayName")]

    for client in (c, stranger):
        listed = {upload["Key"]: named(upload) for upload in client.list_multipart_uploads(Bucket=made)["Uploads"]}
        assert listed == {"a": [ours.name] * 4, "b": [theirs.name] * 4}
    assert named(c.list_parts(Bucket=made, Key="b", UploadId=uploads["b"])) == [theirs.name] * 4
    assert named(c.list_parts(Bucket=made, Key="a", UploadId=uploads["a"])) == [ours.name] * 4
    c.put_bucket_ownership_controls(Bucket=made, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]})
    stranger.create_multipart_upload(Bucket=made, Key="c", ACL="bucket-owner-full-control")
    [given] = c.list_multipart_uploads(Bucket=made, Prefix="c")["Uploads"]
    assert named(given) == [theirs.name] * 2 + [ours.name] * 2, "who began it gives the object to the bucket's owner"
