"""Reading through to the origin: what a client sees, and what leaves the origin."""

import hashlib
import threading
from datetime import timedelta

import pytest

from harness.clients import headers, keys_of, put_multipart, read, refused, walk_v2
from harness.data import KIB, MIB, SIZES, content, etag, multipart_etag, odd_keys
from harness.shadowed import name
from harness.threads import Background, at_once
from harness.wait import stays, until

PARTS = [content(5 * MIB, 1), content(6 * MIB, 2), content(7, 3)]


def hydrated(pair, key):
    """Waits until a key is here."""
    until(f"{key!r} to be hydrated", lambda: not pair.is_cold(key), 30)


def cost(pair, key, size):
    """Asserts that one transfer moved the object, and at most a hundredth more than its size."""
    moved = pair.proxy.body_bytes(key)
    assert moved <= size * 1.01 + 1, f"{moved} bytes left the origin for {size}:\n{pair.proxy.story()}"


# -- GET -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_get(pair, size):
    """Holds "GET: here first. On a miss: the origin, streamed to the client as it arrives while the same bytes are stored here."."""
    body = content(size)
    pair.put_there("k", body)
    pair.create()
    first = pair.get("k")
    assert first["Body"].read() == body
    assert headers(first)["x-tigris-read-source"] == "block_shadow"
    assert first["ContentLength"] == size and first["ETag"] == etag(body)
    hydrated(pair, "k")
    cost(pair, "k", size)
    pair.proxy.stop()
    again = pair.get("k")
    assert again["Body"].read() == body and headers(again).get("x-tigris-read-source") != "block_shadow"
    for field in ("ContentLength", "ETag", "LastModified", "ContentType"):
        assert first[field] == again[field], field


def test_get_of_an_upload_in_three_parts(pair):
    """Holds "A client cannot tell a hydrated object from the original: ETag, length, system headers,": multipart ETags are kept."""
    put_multipart(pair.there, pair.origin_name, "k", PARTS, Metadata={"m": "1"}, ContentType="text/x")
    pair.create()
    assert pair.read("k") == b"".join(PARTS)
    hydrated(pair, "k")
    pair.proxy.stop()
    head = pair.head("k")
    assert head["ETag"] == multipart_etag(PARTS) and head["Metadata"] == {"m": "1"} and head["ContentType"] == "text/x"
    assert pair.read("k") == b"".join(PARTS)


def test_part_numbers_of_a_hydrated_upload(pair):
    """Holds "`?partNumber=` and GetObjectAttributes work on hydrated multipart objects: part sizes are recovered from the origin"."""
    put_multipart(pair.there, pair.origin_name, "k", PARTS)
    pair.create()
    pair.read("k")
    hydrated(pair, "k")
    pair.proxy.stop()
    for number, part in enumerate(PARTS, 1):
        answer = pair.get("k", PartNumber=number)
        assert answer["Body"].read() == part and answer["PartsCount"] == 3
    attributes = pair.here.get_object_attributes(Bucket=pair.name, Key="k", ObjectAttributes=["ObjectParts", "ETag", "ObjectSize"])
    assert attributes["ObjectParts"]["TotalPartsCount"] == 3 and attributes["ETag"] == multipart_etag(PARTS).strip('"')


def test_streamed_as_it_arrives(pair):
    """The first bytes reach the client while the last are still at the origin."""
    body = content(8 * MIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", hold_at=2 * MIB)
    stream = pair.get("k")["Body"]
    assert stream.read(MIB) == body[:MIB]
    rule.await_reached()
    assert pair.is_cold("k"), "half an object is not here"
    rule.release()
    assert stream.read() == body[MIB:]
    hydrated(pair, "k")


def test_absent_on_both_sides(shadowed):
    """Holds "404 only when here *and* the origin say so with authority;"."""
    error = refused(shadowed.get, "absent")
    assert (error.status, error.code) == (404, "NoSuchKey")
    assert refused(shadowed.head, "absent").status == 404
    assert shadowed.proxy.count(key="absent") >= 1, "the origin was asked"
    shadowed.put_there("absent", b"now there")
    assert shadowed.read("absent") == b"now there", "an absence is not remembered"


def test_local_objects_do_not_ask_the_origin(shadowed):
    """Holds "GET: here first."."""
    shadowed.put("k", b"here")
    shadowed.put_there("k", b"there")
    shadowed.proxy.forget()
    assert shadowed.read("k") == b"here"
    shadowed.head("k")
    assert shadowed.proxy.count() == 0, shadowed.proxy.story()


# -- fidelity --------------------------------------------------------------------------------------------------


def test_metadata_headers_tags_and_dates(pair):
    """Holds "A client cannot tell a hydrated object from the original: ETag, length, system headers, user metadata, tags,"."""
    stored = dict(
        ContentType="text/html; charset=utf-8", CacheControl="max-age=60, public", ContentDisposition='attachment; filename="a.txt"', ContentEncoding="gzip", ContentLanguage="de",
    )
    pair.put_there("k", content(KIB), Metadata={"one": "1", "two-words": "a b"}, Tagging="t=1&u=two", **stored)
    original = pair.there.head_object(Bucket=pair.origin_name, Key="k", ChecksumMode="ENABLED")
    pair.create()

    def alike(answer):
        for field in (*stored, "Metadata", "ETag", "ContentLength", "LastModified", "AcceptRanges"):
            assert answer[field] == original[field], field
        tags = pair.here.get_object_tagging(Bucket=pair.name, Key="k")["TagSet"]
        assert sorted((t["Key"], t["Value"]) for t in tags) == [("t", "1"), ("u", "two")]

    alike(pair.head("k"))
    answer = pair.get("k")
    assert answer["Body"].read() == content(KIB)
    alike(answer)
    hydrated(pair, "k")
    pair.proxy.stop()
    alike(pair.head("k"))
    alike(pair.get("k"))


def test_checksums_are_kept(pair):
    """The same, for "checksums": what the origin tells of them is told here."""
    pair.put_there("k", content(KIB), ChecksumAlgorithm="CRC32")
    original = pair.there.head_object(Bucket=pair.origin_name, Key="k", ChecksumMode="ENABLED")
    assert "ChecksumCRC32" in original
    pair.create()
    pair.read("k")
    hydrated(pair, "k")
    pair.proxy.stop()
    assert pair.head("k", ChecksumMode="ENABLED").get("ChecksumCRC32") == original["ChecksumCRC32"]


def test_tags_of_a_cold_key(pair):
    """Holds "GetObjectTagging on a cold key asks the origin."."""
    pair.put_there("k", b"x", Tagging="a=1")
    pair.create()
    assert pair.here.get_object_tagging(Bucket=pair.name, Key="k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert pair.is_cold("k")
    assert refused(pair.here.get_object_tagging, Bucket=pair.name, Key="absent").code == "NoSuchKey"
    pair.proxy.stop()
    assert refused(pair.here.get_object_tagging, Bucket=pair.name, Key="k").status == 503


def test_listing_entries_are_the_origins(pair):
    """The same, in listings: size, ETag and date of a cold key are the origin's, and stay when it is hydrated."""
    pair.put_there("k", content(KIB))
    pair.create()
    fields = ("Key", "Size", "ETag", "LastModified", "StorageClass")
    there = {f: pair.there.list_objects_v2(Bucket=pair.origin_name)["Contents"][0][f] for f in fields}
    seconds = lambda e: {**e, "LastModified": e["LastModified"].replace(microsecond=0)}  # noqa: E731
    entry = lambda: {f: pair.here.list_objects_v2(Bucket=pair.name)["Contents"][0][f] for f in fields}  # noqa: E731
    assert seconds(entry()) == seconds(there)
    pair.read("k")
    hydrated(pair, "k")
    assert seconds(entry()) == seconds(there)


# -- one transfer ----------------------------------------------------------------------------------------------


def test_fifty_readers_cost_one_transfer(pair):
    """Holds "All concurrent readers of a cold object share one transfer, in every node of a deployment."."""
    size = 64 * MIB
    body = content(size)
    expected = hashlib.md5(body).hexdigest()
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", hold_at=2 * MIB)
    begun = threading.Barrier(51, timeout=90)

    def reader(_):
        digest, count = hashlib.md5(), 0
        stream = pair.get("k")["Body"]
        first = stream.read(64 * KIB)
        begun.wait()
        digest.update(first)
        while piece := stream.read(256 * KIB):
            digest.update(piece)
            count += len(piece)
        return digest.hexdigest(), count + len(first)

    readers = [Background(reader, n) for n in range(50)]
    begun.wait()
    rule.release()
    assert {r.result(110) for r in readers} == {(expected, size)}
    assert pair.proxy.body_bytes("k") == size, pair.proxy.story()
    hydrated(pair, "k")
    assert pair.read("k") == body
    assert pair.proxy.body_bytes("k") == size


def test_a_late_reader_joins(pair):
    """Holds "a reader that comes late reads what has arrived and follows the rest."."""
    body = content(8 * MIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", hold_at=6 * MIB)
    early = pair.get("k")["Body"]
    assert early.read(5 * MIB) == body[: 5 * MIB]
    rule.await_reached()
    late = pair.get("k")["Body"]
    assert late.read(5 * MIB) == body[: 5 * MIB], "what has arrived"
    rule.release()
    assert late.read() == body[5 * MIB :] == early.read()
    assert len(pair.proxy.transfers("k")) == 1, pair.proxy.story()
    cost(pair, "k", len(body))


def test_a_slow_reader_holds_up_nobody(pair):
    """A reader that does not read keeps neither the transfer nor another reader waiting."""
    body = content(48 * MIB)
    pair.put_there("k", body)
    pair.create()
    slow = pair.get("k")["Body"]
    slow.read(1)
    assert pair.read("k") == body
    hydrated(pair, "k")
    cost(pair, "k", len(body))
    assert slow.read() == body[1:]


def test_a_reader_that_leaves_does_not_stop_the_transfer(pair):
    """Holds "A reader that leaves does not"."""
    body = content(32 * MIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", hold_at=4 * MIB)
    stream = pair.get("k")["Body"]
    stream.read(MIB)
    rule.await_reached()
    stream.close()
    rule.release()
    hydrated(pair, "k")
    pair.proxy.stop()
    assert pair.read("k") == body
    cost(pair, "k", len(body))


def test_many_cold_keys_at_once(pair):
    """Different cold keys are read at once, each for one transfer."""
    bodies = {f"k{n:02d}": content(MIB, n) for n in range(24)}
    for key, body in bodies.items():
        pair.put_there(key, body)
    pair.create()
    keys = sorted(bodies)
    assert at_once(48, lambda n: pair.read(keys[n % 24]) == bodies[keys[n % 24]]) == [True] * 48
    for key in keys:
        hydrated(pair, key)
        cost(pair, key, MIB)


# -- HEAD and conditions ---------------------------------------------------------------------------------------


def test_head_moves_no_body(pair):
    """Holds "HEAD on a cold object answers from the origin's headers and moves no body."."""
    body = content(MIB)
    pair.put_there("k", body, Metadata={"m": "1"})
    pair.create()
    for _ in range(3):
        head = pair.head("k")
        assert head["ContentLength"] == MIB and head["ETag"] == etag(body) and head["Metadata"] == {"m": "1"}
        assert headers(head)["x-tigris-read-source"] == "block_shadow"
    stays("cold, and no body moved", lambda: pair.is_cold("k") and pair.proxy.body_bytes("k") == 0)


@pytest.mark.parametrize("operation", ["get_object", "head_object"])
def test_conditions_on_cold_keys(pair, operation):
    """Holds "Conditional GET and HEAD are judged against the origin's ETag and date for cold keys."."""
    pair.put_there("k", content(MIB))
    pair.create()
    call = getattr(pair.here, operation)
    tag = etag(content(MIB))
    modified = pair.head("k")["LastModified"]
    before = modified - timedelta(hours=1)
    for conditions in (dict(IfNoneMatch=tag), dict(IfModifiedSince=modified), dict(IfNoneMatch="*")):
        assert refused(call, Bucket=pair.name, Key="k", **conditions).status == 304, conditions
    for conditions in (dict(IfMatch='"other"'), dict(IfUnmodifiedSince=before)):
        assert refused(call, Bucket=pair.name, Key="k", **conditions).status == 412, conditions
    assert pair.proxy.body_bytes("k") == 0, "no body moved for a refusal:\n" + pair.proxy.story()
    assert pair.is_cold("k")
    for conditions in (dict(IfMatch=tag), dict(IfNoneMatch='"other"'), dict(IfModifiedSince=before), dict(IfUnmodifiedSince=modified)):
        answer = call(Bucket=pair.name, Key="k", **conditions)
        assert answer["ETag"] == tag, conditions
        if operation == "get_object":
            assert answer["Body"].read() == content(MIB)


# -- ranges ----------------------------------------------------------------------------------------------------


def test_ranges_of_a_cold_key(pair):
    """Holds "Range GET on a cold object: the wanted range comes first, and every byte fetched is kept."."""
    body = content(3 * MIB)
    for number in range(6):
        pair.put_there(f"k{number}", body)
    pair.create()
    size = len(body)
    wanted = [("bytes=0-0", body[:1]), (f"bytes={MIB}-{MIB + 9}", body[MIB : MIB + 10]), (f"bytes={size - 1}-", body[-1:]), ("bytes=-100", body[-100:]), (f"bytes=10-{size * 2}", body[10:])]
    for number, (asked, expected) in enumerate(wanted):
        answer = pair.get(f"k{number}", Range=asked)
        assert answer["Body"].read() == expected and answer["ResponseMetadata"]["HTTPStatusCode"] == 206, asked
        assert answer["ContentRange"].endswith(f"/{size}") and answer["ETag"] == etag(body)
        hydrated(pair, f"k{number}")
        assert pair.proxy.body_bytes(f"k{number}") <= size + len(expected) + size // 100
        assert pair.read(f"k{number}") == body
    error = refused(pair.get, "k5", Range=f"bytes={size}-")
    assert (error.status, error.code) == (416, "InvalidRange")


def test_the_wanted_range_comes_first(pair):
    """The same: the end of a large object is served at once, while the whole has hardly begun to arrive."""
    body = content(100 * MIB)
    pair.put_there("k", body)
    pair.create()
    whole = pair.fault("GET", "k", when=lambda e: e.headers.get("range") is None, hold_at=MIB)
    answer = pair.get("k", Range="bytes=-1000")
    assert answer["Body"].read() == body[-1000:]
    whole.release()
    hydrated(pair, "k")
    assert pair.read("k", Range=f"bytes={50 * MIB}-{50 * MIB + 99}") == body[50 * MIB : 50 * MIB + 100]
    assert pair.proxy.body_bytes("k") <= len(body) * 1.01 + 1000


def test_many_ranges_at_once(pair):
    """Readers of many ranges of one cold object are all served, and the object ends up here whole."""
    body = content(24 * MIB)
    pair.put_there("k", body)
    pair.create()
    step = len(body) // 12

    def part(n):
        return pair.read("k", Range=f"bytes={n * step}-{(n + 1) * step - 1}")

    assert b"".join(at_once(12, part)) == body
    pair.read("k")
    hydrated(pair, "k")
    pair.proxy.stop()
    assert pair.read("k") == body


def test_the_aws_transfer_manager_on_a_cold_key(pair, tmp_path):
    """boto3's parallel download of a cold object gets every byte right."""
    body = content(40 * MIB)
    pair.put_there("k", body)
    pair.create()
    pair.here.download_file(pair.name, "k", str(tmp_path / "k"))
    assert (tmp_path / "k").read_bytes() == body
    hydrated(pair, "k")


# -- copies from cold ------------------------------------------------------------------------------------------


def test_copy_from_a_cold_source(pair):
    """Holds "CopyObject and UploadPartCopy from a cold source hydrate it, or stream it, once."."""
    body = content(6 * MIB)
    pair.put_there("s", body, Metadata={"m": "1"}, ContentType="text/x", Tagging="t=1")
    pair.create()
    pair.here.copy_object(Bucket=pair.name, Key="t", CopySource={"Bucket": pair.name, "Key": "s"})
    assert pair.read("t") == body
    head = pair.head("t")
    assert head["Metadata"] == {"m": "1"} and head["ContentType"] == "text/x" and not pair.is_cold("t")
    assert pair.here.get_object_tagging(Bucket=pair.name, Key="t")["TagSet"] == [{"Key": "t", "Value": "1"}]
    assert pair.read("s") == body
    hydrated(pair, "s")
    assert pair.proxy.body_bytes("s") <= len(body) * 2.02, "streamed once and hydrated once at most"


def test_copy_from_a_cold_source_to_another_bucket(pair):
    """The same between buckets."""
    body = content(MIB)
    pair.put_there("s", body)
    pair.create()
    other = name("target")
    root = pair.umbra.client()
    pair.umbra.storage("create", "-n", other, "-o", pair.org, "-y")
    root.copy_object(Bucket=other, Key="t", CopySource={"Bucket": pair.name, "Key": "s"})
    assert read(root, other, "t") == body
    cost(pair, "s", len(body))


def test_part_copy_from_a_cold_source(pair):
    """The same for UploadPartCopy, whole and by range."""
    body = content(12 * MIB)
    pair.put_there("s", body)
    pair.create()
    upload = pair.here.create_multipart_upload(Bucket=pair.name, Key="t")["UploadId"]
    parts = []
    for number, wanted in enumerate((f"bytes=0-{6 * MIB - 1}", f"bytes={6 * MIB}-{12 * MIB - 1}"), 1):
        answer = pair.here.upload_part_copy(
            Bucket=pair.name, Key="t", UploadId=upload, PartNumber=number, CopySource={"Bucket": pair.name, "Key": "s"}, CopySourceRange=wanted,
        )
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    pair.here.complete_multipart_upload(Bucket=pair.name, Key="t", UploadId=upload, MultipartUpload={"Parts": parts})
    assert pair.read("t") == body
    assert pair.proxy.body_bytes("s") <= len(body) * 2.02


# -- odd keys and archives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["umbra", "moto"])
def test_odd_keys_of_the_origin(request, kind):
    """Two hundred odd keys cold at the origin: each is read, listed in byte order, and becomes the same object here."""
    pair = request.getfixturevalue("umbra_pair" if kind == "umbra" else "moto_pair")
    keys = [k for k in odd_keys() if kind == "umbra" or "\n" not in k]
    for key in keys:
        pair.put_there(key, key.encode())
    pair.create()
    assert pair.keys() == sorted(keys, key=str.encode)
    assert pair.keys(MaxKeys=13) == sorted(keys, key=str.encode)
    for key in keys:
        assert pair.read(key) == key.encode(), repr(key)
    for key in keys:
        hydrated(pair, key)
    pair.proxy.stop()
    for key in keys:
        assert pair.read(key) == key.encode(), repr(key)
    pair.proxy.start()
    assert pair.keys() == sorted(keys, key=str.encode)
    for key in keys[::3]:
        pair.delete(key)
    assert pair.keys() == sorted(set(keys) - set(keys[::3]), key=str.encode)
    assert keys_of(walk_v2(pair.there, pair.origin_name)) == sorted(keys, key=str.encode), "the origin is as it was"


def test_archived_objects(pair):
    """Holds "Archived origin objects (GLACIER and the like) answer as S3 does: InvalidObjectState;"."""
    pair.put_there("k", b"x")
    pair.create()
    pair.fault("HEAD", "k", response_headers={"x-amz-storage-class": "GLACIER"})
    pair.fault("GET", "k", status=403, code="InvalidObjectState")
    error = refused(pair.get, "k")
    assert (error.status, error.code) == (403, "InvalidObjectState")
    assert pair.head("k")["StorageClass"] == "GLACIER"


def test_overrides_on_a_cold_key(pair):
    """response-* parameters work on cold keys, and are not kept."""
    pair.put_there("k", b"x", ContentType="text/plain")
    pair.create()
    assert pair.get("k", ResponseContentType="text/x")["ContentType"] == "text/x"
    hydrated(pair, "k")
    assert pair.head("k")["ContentType"] == "text/plain"


def test_an_origin_that_tells_no_length(pair):
    """Holds "An origin that ignores Range or sends no length is handled."."""
    body = content(3 * MIB)
    for key in ("whole", "part"):
        pair.put_there(key, body)
    pair.create()
    rule = pair.fault("GET", when=lambda e: e.is_object, no_length=True)
    assert pair.read("whole") == body
    assert pair.read("part", Range="bytes=100-199") == body[100:200]
    assert rule.hits >= 2
    pair.proxy.clear_rules()
    for key in ("whole", "part"):
        pair.read(key)
        hydrated(pair, key)
        assert pair.read(key) == body


def test_an_origin_that_ignores_ranges(moto_pair):
    """The same, for Range."""
    pair = moto_pair
    body = content(3 * MIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", request_headers={"range": None})
    answer = pair.get("k", Range="bytes=1000000-1000099")
    assert rule.hits
    assert answer["Body"].read() == body[1000000:1000100] and answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    hydrated(pair, "k")
    assert pair.read("k") == body


def test_a_restart_keeps_what_is_hydrated(own_pair):
    """A hydrated object is here after a restart; one whose transfer was cut short by it is cold, and whole when read again."""
    pair = own_pair
    done, half = content(MIB, 1), content(16 * MIB, 2)
    pair.put_there("done", done)
    pair.put_there("half", half)
    pair.create()
    pair.read("done")
    hydrated(pair, "done")
    rule = pair.fault("GET", "half", hold_at=4 * MIB)
    stream = pair.get("half")["Body"]
    stream.read(MIB)
    rule.await_reached()
    pair.umbra.kill()
    rule.release()
    pair.umbra.start()
    pair.connect()
    pair.proxy.clear_rules()
    pair.proxy.forget()
    assert pair.read("done") == done and pair.proxy.count("GET", "done") == 0
    assert pair.read("half") == half
    hydrated(pair, "half")


def test_the_key_arrives_at_the_origin_unchanged(pair):
    """Keys with spaces, percents and pluses are asked for at the origin under their own name."""
    keys = ["a b", "a+b", "a%2Fb", "\u00e9/\u65e5", "x=1&y=2"]
    for key in keys:
        pair.put_there(key, key.encode())
    pair.create()
    for key in keys:
        assert pair.read(key) == key.encode()
    assert {e.key for e in pair.proxy.seen("GET") if e.is_object} == set(keys)
