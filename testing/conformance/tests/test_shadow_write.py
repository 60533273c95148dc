"""Writing with a shadow attached: without write-through nothing leaves, with it both sides hold it."""

import http.client
import threading
import time
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness.clients import keys_of, put_multipart, refused, walk_v2
from harness.data import KIB, MIB, SIZES, content, etag, multipart_etag, odd_keys
from harness.threads import Background, at_once
from harness.wait import stays, until

PARTS = [content(5 * MIB, 1), content(6 * MIB, 2), content(7, 3)]
# What a hydration may carry: the sizes of the issue, and an upload in three parts.
RACES = {**SIZES, "3parts": PARTS}


def changes(pair):
    """What the proxy saw that could change the origin."""
    return [e for e in pair.proxy.seen() if e.method not in ("GET", "HEAD")]


# -- without write-through -------------------------------------------------------------------------------------


def test_the_origin_is_never_changed(shadowed):
    """Holds "Without write-through: PUT, DELETE, copies and multipart uploads touch only us."."""
    for key in ("a", "b", "c"):
        shadowed.put_there(key, b"there")
    shadowed.put("a", b"here")
    shadowed.delete("b")
    shadowed.here.delete_objects(Bucket=shadowed.name, Delete={"Objects": [{"Key": "c"}]})
    shadowed.here.copy_object(Bucket=shadowed.name, Key="d", CopySource={"Bucket": shadowed.name, "Key": "a"})
    put_multipart(shadowed.here, shadowed.name, "e", PARTS)
    upload = shadowed.here.create_multipart_upload(Bucket=shadowed.name, Key="f")["UploadId"]
    shadowed.here.abort_multipart_upload(Bucket=shadowed.name, Key="f", UploadId=upload)
    shadowed.here.put_object_tagging(Bucket=shadowed.name, Key="a", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]})
    assert changes(shadowed) == []
    assert [shadowed.read_there(k) for k in ("a", "b", "c")] == [b"there"] * 3
    assert shadowed.keys() == ["a", "d", "e"]


def test_tombstones(own_pair):
    """Holds "DELETE leaves a tombstone, so a cold"; also over a restart, and until a later PUT replaces it."""
    pair = own_pair
    for key in ("never-read", "hydrated", "kept"):
        pair.put_there(key, b"there")
    pair.create()
    pair.read("hydrated")
    until("hydration", lambda: not pair.is_cold("hydrated"))
    pair.delete("never-read")
    pair.delete("hydrated")
    for restart in (None, False, True):
        if restart is not None:
            pair.umbra.restart(kill=restart)
            pair.connect()
        for key in ("never-read", "hydrated"):
            assert refused(pair.get, key).code == "NoSuchKey"
            assert refused(pair.head, key).status == 404
            assert refused(pair.here.get_object_tagging, Bucket=pair.name, Key=key).code == "NoSuchKey"
        assert pair.keys() == ["kept"] and pair.keys(MaxKeys=1) == ["kept"]
    assert pair.is_there("never-read") and pair.is_there("hydrated")
    pair.put("never-read", b"again")
    assert pair.read("never-read") == b"again" and pair.keys() == ["kept", "never-read"]
    pair.delete("never-read")
    assert refused(pair.get, "never-read").status == 404
    pair.proxy.stop()
    assert refused(pair.get, "hydrated").status == 404, "a tombstone is authority enough, origin or no origin"


def test_delete_objects_leaves_tombstones(shadowed):
    """The same for DeleteObjects, on cold, hydrated, local and absent keys alike."""
    for key in ("cold", "hydrated"):
        shadowed.put_there(key, b"x")
    shadowed.read("hydrated")
    shadowed.put("local", b"x")
    keys = ["absent", "cold", "hydrated", "local"]
    answer = shadowed.here.delete_objects(Bucket=shadowed.name, Delete={"Objects": [{"Key": k} for k in keys]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == keys
    for key in keys:
        assert refused(shadowed.get, key).status == 404
    assert shadowed.keys() == []


def test_writes_need_no_origin(shadowed):
    """Without write-through an origin that is away stops no write, no delete, and no read of what is here."""
    shadowed.put_there("cold", b"x")
    shadowed.proxy.stop()
    shadowed.put("k", b"here")
    assert shadowed.read("k") == b"here"
    shadowed.delete("cold")
    put_multipart(shadowed.here, shadowed.name, "m", PARTS)
    assert shadowed.head("m")["ETag"] == multipart_etag(PARTS)
    shadowed.proxy.start()
    assert refused(shadowed.get, "cold").status == 404


# -- races -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=RACES.values(), ids=RACES)
def old(request, either):
    """An object at the origin, to be hydrated slowly; its content."""
    if isinstance(request.param, list):
        put_multipart(either.there, either.origin_name, "k", request.param)
        return b"".join(request.param)
    body = content(request.param, "old")
    either.put_there("k", body)
    return body


def test_a_put_beats_a_slow_hydration(either, old):
    """Holds "A newer PUT or DELETE always wins, and the copy is thrown away."."""
    new = content(len(old) // 2 + 1, "new")
    rule = _slow(either, len(old))
    reader = Background(either.read, "k")
    rule.await_reached()
    either.put("k", new)
    assert either.read("k") == new, "while the old is still arriving"
    rule.release()
    # An empty object is asked for once more, as a whole, and may be the new one by then.
    _saw_one_or_failed(reader, *([old] if old else [old, new]))
    rule.finished.wait(20)
    stays("the newer write", lambda: either.read("k") == new)
    assert either.head("k")["ETag"] == etag(new)
    assert either.here.list_objects_v2(Bucket=either.name)["Contents"][0]["Size"] == len(new)
    if either.write_through:
        assert either.read_there("k") == new


def test_a_delete_beats_a_slow_hydration(either, old):
    """The same for a DELETE: the key does not come back."""
    rule = _slow(either, len(old))
    reader = Background(either.read, "k")
    rule.await_reached()
    either.delete("k")
    assert refused(either.get, "k").status == 404, "while the old is still arriving"
    rule.release()
    _saw_one_or_failed(reader, old)
    rule.finished.wait(20)
    stays("gone", lambda: not either.is_here("k") and either.keys() == [])
    assert either.is_there("k") is not either.write_through


def _slow(pair, size):
    """Holds the hydration halfway, or before its first byte when there is no half."""
    if size < 100 * KIB:
        return pair.fault("GET", "k", times=1, hold_answer=True)
    return pair.fault("GET", "k", times=1, hold_at=min(size // 2, 8 * MIB))


def _saw_one_or_failed(reader, *objects):
    """The reader that came first: one object whole, or an error; never a mixture."""
    try:
        assert reader.result(100) in objects
    except (ClientError, BotoCoreError):
        pass


def test_put_then_delete_beat_a_slow_hydration(shadowed):
    """A PUT and then a DELETE during one transfer: the copy finds no gap to slip in."""
    old = content(4 * MIB)
    shadowed.put_there("k", old)
    rule = shadowed.fault("GET", "k", times=1, hold_at=MIB)
    reader = Background(shadowed.read, "k")
    rule.await_reached()
    shadowed.put("k", b"new")
    shadowed.delete("k")
    rule.release()
    _saw_one_or_failed(reader, old)
    rule.finished.wait(20)
    stays("gone", lambda: not shadowed.is_here("k"))


def test_a_put_beats_a_copy_from_cold(shadowed):
    """An older body never lands over a newer one, whatever brings it."""
    shadowed.put_there("s", content(2 * MIB, "s"))
    rule = shadowed.fault("GET", "s", times=1, hold_at=MIB)
    copy = Background(shadowed.here.copy_object, Bucket=shadowed.name, Key="t", CopySource={"Bucket": shadowed.name, "Key": "s"})
    rule.await_reached()
    shadowed.put("s", b"newer")
    rule.release()
    copy.error(60)
    stays("the newer source", lambda: shadowed.read("s") == b"newer")


# -- conditions ------------------------------------------------------------------------------------------------


def test_conditional_put_sees_cold_objects(either):
    """Holds "`If-None-Match: *` and `If-Match` on PUT see a cold object as existing."."""
    cold = content(KIB)
    for key in ("k1", "k2", "k3"):
        either.put_there(key, cold)
    assert refused(either.put, "k1", b"new", IfNoneMatch="*").status == 412
    assert refused(either.put, "k1", b"new", IfMatch='"other"').status == 412
    assert either.read("k1") == cold and either.read_there("k1") == cold
    either.put("k2", b"new", IfMatch=etag(cold))
    assert either.read("k2") == b"new"
    either.put("fresh", b"new", IfNoneMatch="*")
    either.delete("k3")
    either.put("k3", b"back", IfNoneMatch="*")
    assert either.read("k3") == b"back"


def test_conditional_put_needs_the_origin(shadowed):
    """Absence is never guessed: a conditional PUT of a key that may be cold is 503 while the origin cannot answer."""
    shadowed.put_there("k", b"x")
    shadowed.proxy.stop()
    assert refused(shadowed.put, "k", b"new", IfNoneMatch="*").status == 503
    shadowed.proxy.start()
    assert shadowed.read("k") == b"x"


def test_tags_put_on_a_cold_key(shadowed):
    """PutObjectTagging on a cold key keeps its content, and the tags are here."""
    body = content(MIB)
    shadowed.put_there("k", body, Tagging="old=1")
    shadowed.here.put_object_tagging(Bucket=shadowed.name, Key="k", Tagging={"TagSet": [{"Key": "new", "Value": "2"}]})
    assert shadowed.here.get_object_tagging(Bucket=shadowed.name, Key="k")["TagSet"] == [{"Key": "new", "Value": "2"}]
    assert shadowed.read("k") == body
    assert shadowed.there.get_object_tagging(Bucket=shadowed.origin_name, Key="k")["TagSet"] == [{"Key": "old", "Value": "1"}]


# -- with write-through ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_write_through(written, size):
    """Holds "With write-through: the origin first, then here, acknowledged when both hold it."."""
    body = content(size)
    assert written.put("k", body)["ETag"] == etag(body)
    assert written.read_there("k") == body
    written.proxy.stop()
    assert written.read("k") == body
    assert written.head("k")["ETag"] == etag(body)


def test_write_through_metadata(written):
    """Both sides hold the same headers, metadata, tags and ETag."""
    stored = dict(ContentType="text/x", CacheControl="no-store", ContentDisposition="inline", ContentEncoding="gzip", ContentLanguage="de", Metadata={"a": "1", "b-c": "two words"})
    written.put("k", b"x", Tagging="t=1&u=two", **stored)
    there = written.there.head_object(Bucket=written.origin_name, Key="k")
    here = written.head("k")
    for field, value in stored.items():
        assert there[field] == here[field] == value, field
    assert there["ETag"] == here["ETag"]
    for client, bucket in ((written.there, written.origin_name), (written.here, written.name)):
        tags = client.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
        assert sorted((t["Key"], t["Value"]) for t in tags) == [("t", "1"), ("u", "two")]


def test_write_through_is_acknowledged_by_both(written):
    """The same: no acknowledgement before the origin's."""
    rule = written.fault("PUT", "k", hold_answer=True)
    writer = Background(written.put, "k", b"x")
    rule.await_reached()
    stays("unacknowledged", lambda: writer.running)
    rule.release()
    writer.result()
    assert written.read("k") == b"x"


def _presigned_put(client, bucket, key):
    """An open PUT whose body the caller streams: (connection, answer getter)."""
    url = urlsplit(client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key}))
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.putrequest("PUT", f"{url.path}?{url.query}", skip_accept_encoding=True)
    return connection


def test_the_body_streams_to_both_at_once(written):
    """Holds "The body streams to both at once;"."""
    body = content(24 * MIB)
    connection = _presigned_put(written.here, written.name, "k")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders()
    connection.send(body[: 16 * MIB])
    until("the origin to receive before the client is done", lambda: any(e.sent_body > MIB for e in written.proxy.seen("PUT", "k")))
    connection.send(body[16 * MIB :])
    assert connection.getresponse().status == 200
    assert written.read_there("k") == body == written.read("k")


def test_an_upload_that_breaks_off_changes_nothing(written):
    """A client that leaves mid-body leaves both sides as they were."""
    written.put("k", b"before")
    connection = _presigned_put(written.here, written.name, "k")
    connection.putheader("content-length", str(8 * MIB))
    connection.endheaders()
    connection.send(content(4 * MIB))
    until("the origin to receive", lambda: any(e.sent_body for e in written.proxy.seen("PUT", "k")[1:]))
    connection.close()
    written.proxy.seen("PUT", "k")[-1].done.wait(20)
    stays("as before", lambda: written.read("k") == b"before" and written.read_there("k") == b"before")


def test_an_upload_that_breaks_off_before_its_first_byte(written):
    """The same when not a byte came: SeaweedFS would store an empty object if the PUT had been begun there."""
    written.put("k", b"before")
    written.proxy.forget()
    connection = _presigned_put(written.here, written.name, "k")
    connection.putheader("content-length", str(8 * MIB))
    connection.endheaders()
    stays("the connection is open", lambda: connection.sock is not None, 0.3)
    connection.close()
    stays("as before", lambda: written.read("k") == b"before" and written.read_there("k") == b"before", 1.5)


def test_the_origin_refuses_a_write(written):
    """Holds "The origin refuses or fails: the client gets that failure and nothing changes here."."""
    written.put("k", b"before")
    for status in (403, 500, 503):
        for key in ("k", "fresh"):
            rule = written.fault("PUT", key, status=status)
            assert refused(written.put, key, b"after").status >= 403
            assert rule.hits >= 1
    written.proxy.clear_rules()
    assert written.read("k") == b"before" and written.read_there("k") == b"before"
    assert refused(written.get, "fresh").status == 404 and written.keys() == ["k"]


def test_the_origin_is_away(written):
    """The same when nobody listens: 503, for PUT, DELETE, copies and uploads."""
    written.put("k", b"before")
    written.proxy.stop()
    calls = [
        lambda: written.put("k", b"after"), lambda: written.put("fresh", content(MIB)), lambda: written.delete("k"),
        lambda: written.here.copy_object(Bucket=written.name, Key="t", CopySource={"Bucket": written.name, "Key": "k"}),
        lambda: written.here.create_multipart_upload(Bucket=written.name, Key="m"),
    ]
    for call in calls:
        assert refused(call).status == 503
    assert written.read("k") == b"before"
    written.proxy.start()
    assert written.keys() == ["k"] and written.read_there("k") == b"before"


def test_a_breaking_origin_mid_body(written):
    """The origin breaks while a large body streams to it: the client gets an error and nothing changes here."""
    written.put("k", b"before")
    written.fault("PUT", "k", drop_body_at=4 * MIB)
    with pytest.raises((ClientError, BotoCoreError)) as caught:
        written.put("k", content(16 * MIB))
    if isinstance(caught.value, ClientError):
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
    written.proxy.clear_rules()
    assert written.read("k") == b"before" and written.read_there("k") == b"before"


def test_write_through_of_odd_keys(umbra_pair):
    """Any key is written through under its own name."""
    pair = umbra_pair.create(write_through=True)
    keys = odd_keys()
    for key in keys:
        pair.put(key, key.encode())
    assert keys_of(walk_v2(pair.there, pair.origin_name)) == sorted(keys, key=str.encode) == pair.keys()
    for key in keys[::4]:
        assert pair.read_there(key) == key.encode()
    for key in keys:
        pair.delete(key)
    assert keys_of(walk_v2(pair.there, pair.origin_name)) == [] == pair.keys()


def test_copies_are_written_through(written):
    """A copy reaches the origin, whether its source is here or cold."""
    body = content(6 * MIB)
    written.put_there("cold", body, Metadata={"m": "1"})
    written.put("local", body, Metadata={"m": "2"})
    for source, value in (("cold", "1"), ("local", "2")):
        written.here.copy_object(Bucket=written.name, Key=f"of-{source}", CopySource={"Bucket": written.name, "Key": source})
        assert written.read(f"of-{source}") == body == written.read_there(f"of-{source}")
        assert written.there.head_object(Bucket=written.origin_name, Key=f"of-{source}")["Metadata"] == {"m": value}


def test_tags_are_written_through(written):
    """PutObjectTagging and DeleteObjectTagging reach the origin."""
    written.put("k", b"x")
    written.here.put_object_tagging(Bucket=written.name, Key="k", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]})
    assert written.there.get_object_tagging(Bucket=written.origin_name, Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]
    written.here.delete_object_tagging(Bucket=written.name, Key="k")
    assert written.there.get_object_tagging(Bucket=written.origin_name, Key="k")["TagSet"] == []


def test_deletes_are_written_through(written):
    """Holds "DELETE and DeleteObjects go to the origin first, then here;": cold, hydrated and local keys alike."""
    for key in ("cold", "hydrated", "cold2"):
        written.put_there(key, b"x")
    written.read("hydrated")
    for key in ("local", "local2"):
        written.put(key, b"x")
    for key in ("cold", "hydrated", "local", "absent"):
        written.delete(key)
        assert not written.is_there(key) and refused(written.get, key).status == 404
    answer = written.here.delete_objects(Bucket=written.name, Delete={"Objects": [{"Key": k} for k in ("cold2", "local2", "absent")]})
    assert sorted(d["Key"] for d in answer["Deleted"]) == ["absent", "cold2", "local2"]
    assert written.keys() == [] == keys_of(walk_v2(written.there, written.origin_name))


def test_deletes_tell_failures_per_key(written):
    """Holds "when the origin fails the client is told, per key."."""
    for key in ("a", "b", "c"):
        written.put(key, b"x")
    for fault in (dict(status=503), dict(status=403), dict(refuse=True)):
        written.fault(when=lambda e: e.method in ("DELETE", "POST"), **fault)
        answer = written.here.delete_objects(Bucket=written.name, Delete={"Objects": [{"Key": k} for k in ("a", "b", "c")]})
        assert sorted(e["Key"] for e in answer["Errors"]) == ["a", "b", "c"] and not answer.get("Deleted"), answer
        assert all(e["Code"] and e["Code"] != "NoSuchKey" for e in answer["Errors"])
        assert refused(written.delete, "a").status >= 403
        written.proxy.clear_rules()
        assert written.keys() == ["a", "b", "c"] and [written.read(k) for k in "abc"] == [b"x"] * 3


def test_a_thousand_deletes(umbra_pair):
    """DeleteObjects of 1,000 keys: a bounded number at a time, and those that fail are told by key while the others go."""
    pair = umbra_pair.create(write_through=True)
    keys = [f"k{n:04d}" for n in range(1000)]
    at_once(8, lambda n: [pair.put(key, b"x") for key in keys[n::8]])
    bad = {key for key in keys if key.endswith("7")}
    rule = pair.fault("DELETE", when=lambda e: e.key in bad, status=403)
    busy, most, lock = [0], [0], threading.Lock()

    def enter():
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.01)
        with lock:
            busy[0] -= 1

    pair.fault("DELETE", when=lambda e: e.key not in bad, before=enter)
    answer = pair.here.delete_objects(Bucket=pair.name, Delete={"Objects": [{"Key": key} for key in keys]})
    assert {e["Key"] for e in answer["Errors"]} == bad and rule.hits >= len(bad)
    assert {d["Key"] for d in answer["Deleted"]} == set(keys) - bad
    assert 2 <= most[0] <= 16, most[0]
    pair.proxy.clear_rules()
    assert pair.keys() == sorted(bad) == keys_of(walk_v2(pair.there, pair.origin_name))


def test_conditions_reach_the_origin(umbra_pair):
    """A conditional PUT of a key that only the origin could hold is judged there too: its 412 is the client's, and nothing changes."""
    pair = umbra_pair.create(write_through=True)
    tag = pair.put_there("cold", b"old")["ETag"]
    for key, condition in (("new", dict(IfNoneMatch="*")), ("cold", dict(IfMatch=tag))):
        rule = pair.fault("PUT", key, when=lambda e: e.headers.get("x-amz-copy-source") is None, times=1, hold_request=True)
        writer = Background(refused, pair.put, key, b"ours", **condition)
        rule.await_reached()
        pair.put_there(key, b"theirs")
        rule.release()
        assert writer.result().status == 412
        assert pair.read_there(key) == b"theirs" == pair.read(key)
    assert pair.umbra.status(pair.name)["shadow"]["pending_repairs"] == []


def test_writes_to_one_key_keep_their_order(written):
    """Holds "Writes to one key are applied to the origin in the order in which they are applied here."."""
    for round_ in range(4):
        bodies = {n: content(50 * KIB + n, f"{round_}/{n}") for n in range(12)}

        def write(n):
            if n % 5 == 4:
                written.delete("k")
            else:
                written.put("k", bodies[n])

        at_once(12, write)
        here = written.read("k") if written.is_here("k") else None
        there = written.read_there("k") if written.is_there("k") else None
        assert here == there and (here is None or here in bodies.values())


def test_reads_follow_written_through_writes(written):
    """A read that begins after an acknowledgement sees it, here and at the origin."""
    for number in range(20):
        body = content(10 * KIB, number)
        written.put("k", body)
        assert written.read("k") == body == written.read_there("k")


# -- mirrored uploads ------------------------------------------------------------------------------------------


def test_mirrored_uploads(written):
    """Holds "Multipart uploads are mirrored part by part with the same boundaries, so both sides end with the same ETag;"."""
    answer = put_multipart(written.here, written.name, "k", PARTS, Metadata={"m": "1"}, ContentType="text/x")
    assert answer["ETag"] == multipart_etag(PARTS)
    there = written.there.head_object(Bucket=written.origin_name, Key="k")
    assert there["ETag"] == multipart_etag(PARTS) == written.head("k")["ETag"]
    assert there["Metadata"] == {"m": "1"} and there["ContentType"] == "text/x"
    assert written.read_there("k") == b"".join(PARTS)
    parts = [e for e in written.proxy.seen("PUT", "k") if "partNumber" in e.query]
    assert sorted(e.sent_body for e in parts if e.status == 200)[-3:] == sorted(map(len, PARTS))
    written.proxy.stop()
    assert written.read("k") == b"".join(PARTS)
    assert written.get("k", PartNumber=2)["Body"].read() == PARTS[1]


def test_mirrored_uploads_streamed_by_the_transfer_manager(written, tmp_path):
    """The same with boto3's parallel parts."""
    path = tmp_path / "f"
    path.write_bytes(content(40 * MIB))
    written.here.upload_file(str(path), written.name, "k")
    assert written.head("k")["ETag"] == written.there.head_object(Bucket=written.origin_name, Key="k")["ETag"]
    assert written.read_there("k") == content(40 * MIB) == written.read("k")


def _uploads_there(pair):
    return pair.there.list_multipart_uploads(Bucket=pair.origin_name).get("Uploads", [])


def test_abort_aborts_both(written):
    """Holds "completion"; "abort aborts both."."""
    upload = written.here.create_multipart_upload(Bucket=written.name, Key="k")["UploadId"]
    written.here.upload_part(Bucket=written.name, Key="k", UploadId=upload, PartNumber=1, Body=PARTS[0])
    assert len(_uploads_there(written)) == 1
    written.here.abort_multipart_upload(Bucket=written.name, Key="k", UploadId=upload)
    assert _uploads_there(written) == []
    assert not written.here.list_multipart_uploads(Bucket=written.name).get("Uploads")
    assert refused(written.here.list_parts, Bucket=written.name, Key="k", UploadId=upload).code == "NoSuchUpload"


def test_completion_goes_to_the_origin_first(written):
    """Holds "completion": when the origin refuses it, nothing changes here, and it can be repeated."""
    upload = written.here.create_multipart_upload(Bucket=written.name, Key="k")["UploadId"]
    parts = []
    for number, body in enumerate(PARTS, 1):
        tag = written.here.upload_part(Bucket=written.name, Key="k", UploadId=upload, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    complete = dict(Bucket=written.name, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    rule = written.fault("POST", "k", status=503)
    assert refused(written.here.complete_multipart_upload, **complete).status == 503 and rule.hits
    assert refused(written.get, "k").status == 404 and not written.is_there("k")
    written.proxy.clear_rules()
    assert written.here.complete_multipart_upload(**complete)["ETag"] == multipart_etag(PARTS)
    assert written.read("k") == b"".join(PARTS) == written.read_there("k")


def test_a_part_the_origin_refuses(written):
    """A part goes to both sides or to none, and can be sent again."""
    upload = written.here.create_multipart_upload(Bucket=written.name, Key="k")["UploadId"]
    call = dict(Bucket=written.name, Key="k", UploadId=upload)
    written.fault("PUT", "k", status=503)
    assert refused(written.here.upload_part, PartNumber=1, Body=PARTS[0], **call).status == 503
    written.proxy.clear_rules()
    assert not written.here.list_parts(**call).get("Parts")
    tag = written.here.upload_part(PartNumber=1, Body=PARTS[0], **call)["ETag"]
    answer = written.here.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **call)
    assert answer["ETag"] == multipart_etag(PARTS[:1]) == written.there.head_object(Bucket=written.origin_name, Key="k")["ETag"]


def test_an_upload_begun_before_write_through(shadowed):
    """An upload begun before write-through was turned on is mirrored when it is completed, with the same boundaries."""
    call = dict(Bucket=shadowed.name, Key="k", UploadId=shadowed.here.create_multipart_upload(Bucket=shadowed.name, Key="k", Metadata={"m": "1"})["UploadId"])
    tags = [shadowed.here.upload_part(PartNumber=1, Body=PARTS[0], **call)["ETag"]]
    shadowed.update("--shadow-write-through")
    tags += [shadowed.here.upload_part(PartNumber=n, Body=PARTS[n - 1], **call)["ETag"] for n in (2, 3)]
    parts = [{"PartNumber": n, "ETag": t} for n, t in enumerate(tags, 1)]
    rule = shadowed.fault("PUT", "k", status=503, times=1)
    assert refused(shadowed.here.complete_multipart_upload, MultipartUpload={"Parts": parts}, **call).status == 503 and rule.hits
    assert not shadowed.is_here("k") and not shadowed.is_there("k")
    answer = shadowed.here.complete_multipart_upload(MultipartUpload={"Parts": parts}, **call)
    there = shadowed.there.head_object(Bucket=shadowed.origin_name, Key="k")
    assert answer["ETag"] == multipart_etag(PARTS) == there["ETag"] and there["Metadata"] == {"m": "1"}
    assert shadowed.read("k") == b"".join(PARTS) == shadowed.read_there("k") and _uploads_there(shadowed) == []


def test_an_upload_that_vanished_at_the_origin(written):
    """An origin may end uploads by itself: that is said, and the upload can be aborted and begun anew."""
    call = dict(Bucket=written.name, Key="k", UploadId=written.here.create_multipart_upload(Bucket=written.name, Key="k")["UploadId"])
    tag = written.here.upload_part(PartNumber=1, Body=PARTS[0], **call)["ETag"]
    for upload in _uploads_there(written):
        written.there.abort_multipart_upload(Bucket=written.origin_name, Key="k", UploadId=upload["UploadId"])
    for attempt in (lambda: written.here.upload_part(PartNumber=2, Body=PARTS[1], **call),
                    lambda: written.here.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}, **call)):
        error = refused(attempt)
        assert error.code == "NoSuchUpload" and "at the origin" in error.message, error
    written.here.abort_multipart_upload(**call)
    put_multipart(written.here, written.name, "k", PARTS)
    assert written.read_there("k") == b"".join(PARTS)


def test_the_end_of_a_shadow_ends_uploads_there(written):
    """What is open at the origin is aborted there before a shadow is cleared, and when write-through was switched off and ours ends."""
    uploads = [written.here.create_multipart_upload(Bucket=written.name, Key=key)["UploadId"] for key in ("k", "l")]
    assert len(_uploads_there(written)) == 2
    written.update("--shadow-write-through=false")
    written.here.abort_multipart_upload(Bucket=written.name, Key="k", UploadId=uploads[0])
    until("the origin's to be aborted", lambda: [u["Key"] for u in _uploads_there(written)] == ["l"])
    written.update("--clear-shadow", "--force")
    assert _uploads_there(written) == []
    tag = written.here.upload_part(Bucket=written.name, Key="l", UploadId=uploads[1], PartNumber=1, Body=b"x")["ETag"]
    written.here.complete_multipart_upload(Bucket=written.name, Key="l", UploadId=uploads[1], MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert written.read("l") == b"x" and not written.is_there("l")


def test_copied_parts_are_mirrored(written):
    """UploadPartCopy reaches the origin too."""
    body = content(12 * MIB)
    written.put("s", body)
    upload = written.here.create_multipart_upload(Bucket=written.name, Key="k")["UploadId"]
    answer = written.here.upload_part_copy(Bucket=written.name, Key="k", UploadId=upload, PartNumber=1, CopySource={"Bucket": written.name, "Key": "s"})
    parts = [{"PartNumber": 1, "ETag": answer["CopyPartResult"]["ETag"]}]
    written.here.complete_multipart_upload(Bucket=written.name, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert written.read_there("k") == body == written.read("k")


def test_a_thread_per_key(written):
    """Writers of different keys do not wait for each other."""
    rule = written.fault("PUT", "held", hold_answer=True)
    held = Background(written.put, "held", b"x")
    rule.await_reached()
    at_once(8, lambda n: written.put(f"k{n}", content(MIB, n)))
    assert held.running
    rule.release()
    held.result()
    assert len(written.keys()) == 9 and written.read_there("k3") == content(MIB, 3)
