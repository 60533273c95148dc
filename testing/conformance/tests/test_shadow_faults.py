"""An origin that fails in every way: never a wrong byte, never a false absence."""

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness.clients import put_multipart, refused
from harness.data import KIB, MIB, SIZES, content, etag
from harness.threads import Background, at_once
from harness.wait import stays, until


def never_here(pair, key):
    """The key is still cold, or away: no part of a failed transfer is stored."""
    stays(f"{key} is not here", lambda: pair.is_cold(key))


def reads_whole_or_fails(pair, key, *bodies):
    """A read that must end in an error or in one whole, right body."""
    try:
        assert pair.read(key) in bodies, "a wrong body was served as a whole one"
        return True
    except (ClientError, BotoCoreError):
        return False


def recovers(pair, key, body, tag=None):
    """Once the origin is well again, the object is read whole and becomes ours."""
    pair.proxy.clear_rules()
    until(f"{key} to be readable", lambda: reads_whole_or_fails(pair, key, body))
    until(f"{key} to be hydrated", lambda: not pair.is_cold(key))
    assert pair.read(key) == body and pair.head(key)["ETag"] == (tag or etag(body))


# -- no answer -------------------------------------------------------------------------------------------------


def test_stopped_before_a_get(pair):
    """Holds "an origin that cannot answer,": 503, never 404, for GET, HEAD, ranges and copies, of keys the origin has and of keys it has not."""
    pair.put_there("k", b"x")
    pair.create()
    pair.proxy.stop()
    for key in ("k", "absent"):
        for call in (lambda: pair.get(key), lambda: pair.head(key), lambda: pair.get(key, Range="bytes=0-0"), lambda: pair.get(key, IfNoneMatch='"x"'),
                     lambda: pair.here.copy_object(Bucket=pair.name, Key="t", CopySource={"Bucket": pair.name, "Key": key}),
                     lambda: pair.here.get_object_attributes(Bucket=pair.name, Key=key, ObjectAttributes=["ETag"])):
            assert refused(call).status == 503
    pair.proxy.start()
    assert pair.read("k") == b"x" and refused(pair.get, "absent").status == 404


@pytest.mark.parametrize("status, code", [(403, "AccessDenied"), (403, "SignatureDoesNotMatch"), (403, "InvalidAccessKeyId"), (401, "Unauthorized"), (503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests"),
                                          (404, "NoSuchBucket"), (301, "PermanentRedirect"), (400, "InvalidRequest"), (400, "AuthorizationHeaderMalformed"),
                                          (501, "NotImplemented"), (405, "MethodNotAllowed")])
def test_refusing_or_throttling(shadowed, status, code):
    """Holds "throttles, or refuses our credentials gives 503 with a reason, never 404 and never a silently shorter listing."."""
    shadowed.put_there("k", b"x")
    rule = shadowed.fault("GET", status=status, code=code)
    head = shadowed.fault("HEAD", status=status, code=code)
    error = refused(shadowed.get, "k")
    assert error.status == 503 and error.code and error.message, error
    assert rule.hits + head.hits
    for call in (lambda: shadowed.get("absent"), lambda: shadowed.get("k", Range="bytes=0-0"), lambda: shadowed.here.list_objects_v2(Bucket=shadowed.name),
                 lambda: shadowed.here.copy_object(Bucket=shadowed.name, Key="t", CopySource={"Bucket": shadowed.name, "Key": "k"})):
        assert refused(call).status == 503
    if status != 404:  # a bare 404 to HEAD does not tell a bucket from a key
        assert refused(shadowed.head, "k").status == 503
    recovers(shadowed, "k", b"x")


def test_connections_that_break_unanswered(shadowed):
    """A connection that breaks without an answer is a failure of the origin: 503."""
    shadowed.put_there("k", b"x")
    rule = shadowed.fault(refuse=True)
    for call in (lambda: shadowed.get("k"), lambda: shadowed.head("k"), lambda: shadowed.here.list_objects_v2(Bucket=shadowed.name)):
        assert refused(call).status == 503
    assert rule.hits >= 3
    recovers(shadowed, "k", b"x")


def test_hydrated_objects_need_no_origin(pair):
    """What is here is served whatever becomes of the origin."""
    body = content(MIB)
    pair.put_there("k", body)
    pair.create()
    pair.read("k")
    until("hydration", lambda: not pair.is_cold("k"))
    pair.proxy.stop()
    assert pair.read("k") == body and pair.read("k", Range="bytes=5-9") == body[5:10]
    assert refused(pair.get, "k", IfNoneMatch=etag(body)).status == 304


# -- broken bodies ---------------------------------------------------------------------------------------------

# What can break in the middle: the larger sizes of the issue, and an upload in three parts.
BROKEN = {**{k: v for k, v in SIZES.items() if v >= 100 * KIB}, "3parts": [content(5 * MIB, 1), content(6 * MIB, 2), content(7, 3)]}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN)
def cold(request, pair):
    """A cold object `k`; its content and ETag."""
    if isinstance(request.param, list):
        tag = put_multipart(pair.there, pair.origin_name, "k", request.param)["ETag"]
        body = b"".join(request.param)
    else:
        body = content(request.param)
        tag = pair.put_there("k", body)["ETag"]
    pair.create()
    return body, tag


def test_stopped_in_the_middle_of_a_get(pair, cold):
    """Holds "nothing mixed is ever served or stored: the client gets an error or a"; the origin stops mid-GET and comes back."""
    body, tag = cold
    rule = pair.fault("GET", "k", times=1, hold_at=min(len(body) // 2, 8 * MIB))
    reader = Background(reads_whole_or_fails, pair, "k", body)
    rule.await_reached()
    pair.proxy.stop()
    rule.release()
    assert reader.result(60) is False, "half an object cannot have been a whole one"
    assert refused(pair.get, "k").status == 503
    pair.proxy.start()
    recovers(pair, "k", body, tag)


def test_truncated_bodies(pair, cold):
    """The same for a body that ends early while the origin cannot answer any more, and for one that does so once."""
    body, tag = cold
    pair.fault("GET", "k", status=503)
    rule = pair.fault("GET", "k", times=1, cut_at=min(len(body) // 3, 5 * MIB))
    assert not reads_whole_or_fails(pair, "k")
    assert rule.hits
    never_here(pair, "k")
    pair.proxy.clear_rules()
    pair.fault("GET", "k", times=1, cut_at=min(len(body) // 3, 5 * MIB))
    assert reads_whole_or_fails(pair, "k", body), "it is asked for again from where it broke off"
    recovers(pair, "k", body, tag)


@pytest.mark.parametrize("delta", [-1000, -1, 1, 1000])
def test_wrong_lengths(pair, delta):
    """The same for a Content-Length that lies: shorter or longer than the object, nothing wrong is stored."""
    body = content(200 * KIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", length_delta=delta)
    try:
        assert pair.read("k") in (body, body[:delta] if delta < 0 else body)
    except (ClientError, BotoCoreError):
        pass
    assert rule.hits
    never_here(pair, "k")
    recovers(pair, "k", body)


def test_changed_bytes(pair):
    """A body whose MD5 is not its ETag is not stored."""
    pair.put_there("k", content(KIB))
    pair.create()
    rule = pair.fault("GET", "k", response_headers={"ETag": etag(b"something else")})
    pair.fault("HEAD", "k", response_headers={"ETag": etag(b"something else")})
    reads_whole_or_fails(pair, "k", content(KIB))
    assert rule.hits
    never_here(pair, "k")
    pair.proxy.clear_rules()
    until("the right object", lambda: reads_whole_or_fails(pair, "k", content(KIB)))
    assert pair.head("k")["ETag"] == etag(content(KIB))


def test_a_pause_does_not_fail(pair):
    """A slow origin is waited for; other keys are served meanwhile."""
    body = content(2 * MIB)
    pair.put_there("slow", body)
    pair.put_there("quick", b"x")
    pair.create()
    rule = pair.fault("GET", "slow", hold_at=MIB)
    reader = Background(pair.read, "slow")
    rule.await_reached()
    assert pair.read("quick") == b"x" and pair.keys() == ["quick", "slow"]
    rule.release()
    assert reader.result() == body


def test_a_failed_transfer_fails_all_who_share_it(pair):
    """Readers of one transfer that breaks all get an error, and the next reader begins a new one."""
    body = content(4 * MIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", times=1, hold_at=MIB, cut_at=2 * MIB)
    readers = [Background(reads_whole_or_fails, pair, "k", body) for _ in range(8)]
    rule.await_reached()
    # Nor does the origin give the rest when it is asked for that alone.
    pair.fault("GET", "k", status=500)
    rule.release()
    assert [r.result() for r in readers] == [False] * 8
    never_here(pair, "k")
    recovers(pair, "k", body)


# -- the origin changes under us -------------------------------------------------------------------------------


def test_the_object_changes_under_a_transfer(pair):
    """Holds "If the origin's object changes under a transfer, nothing mixed is ever served or stored:"."""
    old, new = content(8 * MIB, "old"), content(8 * MIB, "new")
    pair.put_there("k", old)
    pair.create()
    rule = pair.fault("GET", "k", times=1, hold_at=4 * MIB, cut_at=5 * MIB)
    reader = Background(reads_whole_or_fails, pair, "k", old, new)
    rule.await_reached()
    pair.put_there("k", new)
    rule.release()
    reader.result()
    until("the new object", lambda: reads_whole_or_fails(pair, "k", new))
    until("hydration", lambda: not pair.is_cold("k"))
    assert pair.read("k") == new and pair.head("k")["ETag"] == etag(new)


def test_the_object_changes_between_ranges(pair):
    """The same for readers of ranges: whatever is here in the end is one object."""
    old, new = content(8 * MIB, "old"), content(8 * MIB, "new")
    pair.put_there("k", old)
    pair.create()
    held = pair.fault("GET", "k", when=lambda e: e.headers.get("range") is None, times=1, hold_at=MIB, cut_at=2 * MIB)
    first = pair.read("k", Range="bytes=0-999")
    assert first == old[:1000]
    pair.put_there("k", new)
    held.release()
    until("one whole object", lambda: reads_whole_or_fails(pair, "k", new, old))
    until("hydration", lambda: not pair.is_cold("k"))
    whole = pair.read("k")
    assert whole in (old, new) and pair.head("k")["ETag"] == etag(whole)


def test_the_object_vanishes_under_a_transfer(pair):
    """An object deleted at the origin during its transfer: an error or the old object whole, then 404 or the whole object."""
    body = content(4 * MIB)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", times=1, hold_at=MIB, cut_at=2 * MIB)
    reader = Background(reads_whole_or_fails, pair, "k", body)
    rule.await_reached()
    pair.there.delete_object(Bucket=pair.origin_name, Key="k")
    rule.release()
    reader.result()
    until("404", lambda: not pair.is_here("k"))
    assert refused(pair.get, "k").code == "NoSuchKey" and pair.keys() == []


def test_status_tells_the_origins_errors(shadowed):
    """Holds "pending repairs, last errors of the origin, health."."""
    shadowed.put_there("k", b"x")
    shadowed.fault("GET", status=403, code="AccessDenied")
    shadowed.fault("HEAD", status=403, code="AccessDenied")
    refused(shadowed.get, "k")
    told = shadowed.umbra.storage("status", shadowed.name, "--json").out
    assert "AccessDenied" in told or "403" in told or "refuse" in told.lower(), told


# -- lost acknowledgements and repairs -------------------------------------------------------------------------


def settled(pair):
    """Waits until no repair is pending."""
    until("the repairs to be done", lambda: pending(pair) == 0, 40, 0.1)


def pending(pair):
    """How many repairs the status names as pending."""
    return len(pair.umbra.status(pair.name)["shadow"]["pending_repairs"])


@pytest.mark.parametrize("before", [None, b"before"], ids=["fresh", "replacing"])
def test_a_lost_acknowledgement_of_a_put(written, before):
    """Holds "we fail: the client gets a 5xx, and a journal entry written before the origin was touched makes the key read through the"."""
    if before:
        written.put("k", before)
    rule = written.fault("PUT", "k", drop_answer=True)
    body = content(100 * KIB)
    try:
        answered = refused(written.put, "k", body).status
    except BotoCoreError:
        answered = 500
    except AssertionError:
        answered = 200  # Umbra asked the origin again and then acknowledged: both hold it
    assert rule.hits and written.read_there("k") == body
    if answered != 200:
        assert answered >= 500
    assert written.read("k") == body, "reads as the origin has it"
    assert written.keys() == ["k"]
    written.proxy.clear_rules()
    settled(written)
    written.proxy.stop()
    assert written.read("k") == body, "repaired: the object is here"


def test_a_lost_acknowledgement_of_a_delete(written):
    """The same for a DELETE."""
    written.put("k", b"x")
    rule = written.fault("DELETE", "k", drop_answer=True)
    try:
        refused(written.delete, "k")
    except (AssertionError, BotoCoreError):
        pass
    assert rule.hits and not written.is_there("k")
    assert not written.is_here("k") and written.keys() == []
    written.proxy.clear_rules()
    settled(written)
    assert not written.is_here("k")


def test_detaching_waits_for_repairs(written):
    """Holds "It refuses while cold objects remain or repairs are pending, naming how many, unless forced;"."""
    written.put("k", b"before")
    written.fault("PUT", "k", drop_answer=True)
    # Nor is it repaired before the origin is away.
    written.fault("HEAD", "k", status=503)
    try:
        refused(written.put, "k", b"after")
    except (BotoCoreError, AssertionError):
        pass
    written.proxy.stop()
    written.proxy.clear_rules()
    if pending(written) == 0:
        pytest.fail("no repair is pending after a lost acknowledgement with the origin away")
    done = written.update("--clear-shadow", check=False)
    assert done.status == 1 and done.err.strip(), done
    written.proxy.start()
    settled(written)
    written.update("--clear-shadow")
    assert written.read("k") == b"after"


def kill_between_the_sides(pair, key, act, **fault):
    """Kills the server when the origin has accepted and we have not; starts it again."""
    rule = pair.fault(key=key, times=1, **fault)
    client = Background(act)
    rule.await_reached()
    pair.umbra.kill()
    rule.release()
    assert client.error() is not None, "not acknowledged"
    pair.umbra.start()
    pair.connect()


@pytest.mark.parametrize("size", [0, 1, 100 * KIB, 8 * MIB])
@pytest.mark.parametrize("before", [None, b"before"], ids=["fresh", "replacing"])
def test_killed_between_the_two_sides_of_a_put(own_pair, before, size):
    """Holds "origin until repaired, across crashes.": after `kill -9` the key reads as the origin has it, and is repaired."""
    pair = own_pair
    pair.create(write_through=True)
    if before:
        pair.put("k", before)
    body = content(size, "after")
    kill_between_the_sides(pair, "k", lambda: pair.put("k", body), method="PUT", hold_answer=True)
    assert pair.read_there("k") == body
    assert pair.read("k") == body, "reads as the origin has it"
    assert pair.head("k")["ETag"] == etag(body) and pair.keys() == ["k"]
    settled(pair)
    pair.proxy.stop()
    assert pair.read("k") == body, "repaired"


def test_killed_before_the_origin_accepted(own_pair):
    """The same when the origin had not accepted yet: the key is as before, on both sides."""
    pair = own_pair
    pair.create(write_through=True)
    pair.put("k", b"before")
    kill_between_the_sides(pair, "k", lambda: pair.put("k", content(4 * MIB)), method="PUT", hold_body_at=2 * MIB)
    assert pair.read("k") == b"before"
    settled(pair)
    assert pair.read("k") == b"before" == pair.read_there("k")


def test_killed_between_the_two_sides_of_a_delete(own_pair):
    """The same for a DELETE: the key stays gone."""
    pair = own_pair
    pair.create(write_through=True)
    pair.put("k", b"before")
    pair.put("l", b"other")
    kill_between_the_sides(pair, "k", lambda: pair.delete("k"), method="DELETE", hold_answer=True)
    assert not pair.is_there("k")
    assert not pair.is_here("k") and pair.keys() == ["l"]
    settled(pair)
    pair.proxy.stop()
    assert pair.read("l") == b"other"


def test_killed_between_the_two_sides_of_a_completion(own_pair):
    """The same for the completion of an upload."""
    pair = own_pair
    pair.create(write_through=True)
    pair.put("k", b"before")
    parts = [content(5 * MIB, 1), content(KIB, 2)]
    upload = pair.here.create_multipart_upload(Bucket=pair.name, Key="k")["UploadId"]
    tags = [pair.here.upload_part(Bucket=pair.name, Key="k", UploadId=upload, PartNumber=n, Body=b)["ETag"] for n, b in enumerate(parts, 1)]
    listed = {"Parts": [{"PartNumber": n, "ETag": t} for n, t in enumerate(tags, 1)]}
    act = lambda: pair.here.complete_multipart_upload(Bucket=pair.name, Key="k", UploadId=upload, MultipartUpload=listed)  # noqa: E731
    kill_between_the_sides(pair, "k", act, method="POST", when=lambda e: "uploadId" in e.query, hold_answer=True)
    assert pair.read_there("k") == b"".join(parts) == pair.read("k")
    settled(pair)
    pair.proxy.stop()
    assert pair.read("k") == b"".join(parts)


def kill_in_an_upload(pair, **fault):
    """Begins an upload of `k`, kills the server while part 2 is on its way, and starts it again: the call of the upload and part 1's ETag."""
    pair.create(write_through=True)
    upload = pair.here.create_multipart_upload(Bucket=pair.name, Key="k")["UploadId"]
    call = dict(Bucket=pair.name, Key="k", UploadId=upload)
    first = pair.here.upload_part(PartNumber=1, Body=content(5 * MIB, 1), **call)["ETag"]
    part = lambda: pair.here.upload_part(PartNumber=2, Body=content(6 * MIB, 2), **call)  # noqa: E731
    kill_between_the_sides(pair, "k", part, method="PUT", when=lambda e: "partNumber=2" in e.query, **fault)
    return call, first


def uploads_there(pair):
    return pair.there.list_multipart_uploads(Bucket=pair.origin_name).get("Uploads", [])


@pytest.mark.parametrize("fault", [dict(hold_body_at=3 * MIB), dict(hold_answer=True)], ids=["mid-part", "between-the-sides"])
def test_killed_in_the_middle_of_a_mirrored_upload(own_pair, fault):
    """An upload survives `kill -9`: what was acknowledged is on both sides, the rest is sent again, and both end with the same ETag."""
    pair = own_pair
    call, first = kill_in_an_upload(pair, **fault)
    assert [p["ETag"] for p in pair.here.list_parts(**call)["Parts"]] == [first]
    assert len(uploads_there(pair)) == 1
    second = pair.here.upload_part(PartNumber=2, Body=content(6 * MIB, 3), **call)["ETag"]
    listed = {"Parts": [{"PartNumber": n, "ETag": t} for n, t in enumerate((first, second), 1)]}
    answer = pair.here.complete_multipart_upload(MultipartUpload=listed, **call)
    assert answer["ETag"] == pair.there.head_object(Bucket=pair.origin_name, Key="k")["ETag"]
    assert pair.read("k") == content(5 * MIB, 1) + content(6 * MIB, 3) == pair.read_there("k")
    assert uploads_there(pair) == []


def test_a_part_replaced_on_one_side_by_a_crash(own_pair):
    """A part that a crash left replaced at the origin alone is sent there again, as the client knows it, when the upload is completed."""
    pair = own_pair
    call, first = kill_in_an_upload(pair, hold_answer=True)
    act = lambda: pair.here.upload_part(PartNumber=1, Body=content(5 * MIB, 9), **call)  # noqa: E731
    kill_between_the_sides(pair, "k", act, method="PUT", when=lambda e: "partNumber=1" in e.query, hold_answer=True)
    listed = {"Parts": [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in pair.here.list_parts(**call)["Parts"]]}
    assert [p["ETag"] for p in listed["Parts"]] == [first]
    pair.here.complete_multipart_upload(MultipartUpload=listed, **call)
    assert pair.read("k") == content(5 * MIB, 1) == pair.read_there("k")


def test_a_mirrored_upload_is_aborted_after_a_crash(own_pair):
    """After `kill -9` an abort aborts both."""
    pair = own_pair
    call, _ = kill_in_an_upload(pair, hold_body_at=3 * MIB)
    pair.here.abort_multipart_upload(**call)
    assert uploads_there(pair) == [] and not pair.here.list_multipart_uploads(Bucket=pair.name).get("Uploads")
    assert not pair.is_here("k") and not pair.is_there("k")


def test_a_write_after_a_crash_wins(own_pair):
    """A newer write to a key under repair is what both sides end with."""
    pair = own_pair
    pair.create(write_through=True)
    kill_between_the_sides(pair, "k", lambda: pair.put("k", b"half-done"), method="PUT", hold_answer=True)
    pair.put("k", b"newer")
    settled(pair)
    stays("the newer", lambda: pair.read("k") == b"newer" == pair.read_there("k"))


def test_the_origin_is_away_during_repair(own_pair):
    """A key under repair is 503 while the origin is away, never the older object, and is repaired when it is back."""
    pair = own_pair
    pair.create(write_through=True)
    pair.put("k", b"before")
    rule = pair.fault("PUT", "k", times=1, hold_answer=True)
    client = Background(pair.put, "k", b"after")
    rule.await_reached()
    pair.umbra.kill()
    pair.proxy.stop()
    rule.release()
    client.error()
    pair.umbra.start()
    pair.connect()
    assert refused(pair.get, "k").status == 503
    assert refused(pair.head, "k").status == 503
    assert pending(pair) == 1
    repair = until("an attempt that failed", lambda: next((r for r in pair.umbra.status(pair.name)["shadow"]["pending_repairs"] if r["attempts"]), None))
    assert (repair["key"], repair["operation"]) == ("k", "put") and repair["since"] and repair["last_error"] and repair["next_attempt"]
    assert "k (put since" in pair.umbra.storage("status", pair.name).out
    pair.proxy.start()
    settled(pair)
    assert pair.read("k") == b"after"


def test_many_faults_at_once(written):
    """A hundred writers and readers while the origin fails at random: both sides agree in the end."""
    import random

    rng = random.Random(5)
    faults = [dict(status=503), dict(refuse=True), dict(drop_answer=True), dict(status=500)]
    for fault in faults:
        written.proxy.rule(_fault(**fault), when=lambda e, r=rng: e.is_object and r.random() < 0.12)
    keys = [f"k{n}" for n in range(8)]

    def work(n):
        local = random.Random(n)
        for step in range(12):
            key = local.choice(keys)
            try:
                lot = local.random()
                if lot < 0.5:
                    written.put(key, content(2000 + local.randint(0, 3000), f"{n}/{step}"))
                elif lot < 0.7:
                    written.delete(key)
                else:
                    written.read(key)
            except (ClientError, BotoCoreError):
                pass

    at_once(10, work)
    written.proxy.clear_rules()
    settled(written)
    for key in keys:
        here = written.read(key) if written.is_here(key) else None
        there = written.read_there(key) if written.is_there(key) else None
        assert here == there, key
    assert written.keys() == [k for k in keys if written.is_there(k)]


def _fault(**fields):
    from harness.faults import Fault

    return Fault(**fields)
