"""Verify and rollback, as a person runs them, with SeaweedFS as the origin."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.clients import keys_of, put_multipart, walk_v2
from harness.data import KIB, MIB, content
from harness.threads import Background
from harness.wait import until

PARTS = [content(5 * MIB, 1), content(5 * MIB, 2), content(700, 3)]
LABELS = dict(ContentType="text/plain", CacheControl="no-cache", ContentDisposition="inline", Metadata={"a": "b", "c": "d e"}, Tagging="x=y&z=1")


def verify(pair, *flags, place=None, status=0):
    """Runs a verification; what it told as JSON, the kind of difference by key."""
    done = pair.umbra.storage("verify", place or pair.name, *flags, "--json", check=False, timeout=100)
    assert done.status == status, repr(done)
    told = done.json()
    return told, {d["key"]: d["kind"] for d in told["differences"]}


def rollback(pair, *flags, status=0):
    done = pair.umbra.storage("rollback", pair.name, *flags, "--json", check=False, timeout=100)
    assert done.status == status, repr(done)
    return done.json()


def tallies(told):
    return {t["name"]: t["objects"] for t in told["job"]["tallies"]}


def hydrate(pair, *keys):
    for key in keys:
        pair.read(key)
    until("the hydrations", lambda: not any(pair.is_cold(k) for k in keys))


def take_stock(pair):
    """Has the origin listed, by asking to let go of it while something is only there: what is written over from then on is known."""
    refusal = pair.update("--clear-shadow", check=False)
    assert refusal.status == 1 and "still only at the origin" in refusal.err, repr(refusal)


def looks(client, bucket, key):
    """All that a client can tell of an object."""
    answer = client.get_object(Bucket=bucket, Key=key)
    tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    named = ("ETag", "ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Metadata", "ContentLength")
    return {n: answer.get(n) for n in named} | {"Tags": sorted((t["Key"], t["Value"]) for t in tags), "Body": answer["Body"].read()}


def assert_equal(pair):
    """The origin alone equals the bucket."""
    keys = pair.keys()
    assert keys_of(walk_v2(pair.there, pair.origin_name)) == keys
    for key in keys:
        here, there = looks(pair.here, pair.name, key), looks(pair.there, pair.origin_name, key)
        if here["ContentType"] == "binary/octet-stream":
            # Stored without one: each side says what it says by default.
            here["ContentType"] = there["ContentType"]
        assert here == there, key


# -- verify ----------------------------------------------------------------------------------------------------


def test_clean_after_hydration(pair):
    """Holds "*Verify* compares both sides: keys, sizes, ETags, metadata": all that was moved is the same, contents too, each byte read once."""
    bodies = {f"k{n}": content(n * 40 * KIB, n) for n in range(8)}
    for key, body in bodies.items():
        pair.put_there(key, body, **LABELS)
    put_multipart(pair.there, pair.origin_name, "parts", PARTS, ContentType="text/html", Metadata={"m": "1"})
    pair.create()
    hydrate(pair, *bodies, "parts")
    pair.proxy.forget()
    told, found = verify(pair)
    assert (told["job"]["objects_done"], found, told["job"]["bytes_egress"]) == (9, {}, 0)
    assert pair.proxy.body_bytes() == 0
    told, found = verify(pair, "--deep")
    whole = sum(map(len, bodies.values())) + sum(map(len, PARTS))
    assert (told["job"]["objects_done"], found, told["job"]["bytes_egress"]) == (9, {}, whole)
    assert pair.proxy.body_bytes() == whole
    assert not [e for e in pair.proxy.seen() if e.method not in ("GET", "HEAD")], "nothing is written"


def test_each_kind_of_difference_is_found(pair):
    """Every kind made on purpose; those that a migration explains leave the exit status 0."""
    for key in ("cold", "deleted", "overwritten", "retagged"):
        pair.put_there(key, b"there", **LABELS)
    pair.create()
    hydrate(pair, "overwritten", "retagged")
    pair.delete("deleted")
    pair.put("overwritten", b"here")
    pair.put("only", b"here")
    pair.here.put_object_tagging(Bucket=pair.name, Key="retagged", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]})
    told, found = verify(pair)
    explained = {"cold": "cold", "deleted": "deleted-here", "overwritten": "newer-here", "retagged": "newer-here", "only": "only-here"}
    assert found == explained and all(d["explained"] for d in told["differences"])

    for key in ("changed", "removed", "relabelled", "tagged"):
        pair.put_there(key, content(100, key), **LABELS)
    hydrate(pair, "changed", "removed", "relabelled", "tagged")
    pair.there.delete_object(Bucket=pair.origin_name, Key="removed")
    pair.there.put_object_tagging(Bucket=pair.origin_name, Key="tagged", Tagging={"TagSet": [{"Key": "t", "Value": "2"}]})
    until("another second at the origin", lambda: _rewritten(pair, "changed", content(100, "other")))
    until("another second at the origin", lambda: _rewritten(pair, "relabelled", content(100, "relabelled")))
    told, found = verify(pair, status=1)
    wrong = {"changed": "changed-at-origin", "removed": "deleted-at-origin", "relabelled": "changed-at-origin", "tagged": "metadata"}
    assert found == explained | wrong
    assert {d["key"] for d in told["differences"] if not d["explained"]} == set(wrong)
    fields = {d["key"]: [f["field"] for f in d["differences"]] for d in told["differences"]}
    assert fields["tagged"] == ["tags"] and {"etag", "last-modified"} <= set(fields["changed"])
    assert {"last-modified", "cache-control", "user-metadata"} <= set(fields["relabelled"]) and "etag" not in fields["relabelled"]


def _rewritten(pair, key, body):
    """Writes the key at the origin until its date there is another one."""
    before = pair.head(key)["LastModified"]
    pair.put_there(key, body, ContentType="text/plain")
    return pair.there.head_object(Bucket=pair.origin_name, Key=key)["LastModified"] != before


def test_with_write_through_the_origin_must_have_it(pair):
    """What is newer here is to be expected only while writes stay here."""
    pair.create()
    pair.put("before", b"x")
    verify(pair)
    pair.update("--shadow-write-through")
    pair.put("after", b"x", **LABELS)
    assert verify(pair, status=1)[1] == {"before": "only-here"}


@pytest.mark.parametrize("size", [1, 100 * KIB, 9 * MIB])
def test_deep_finds_a_changed_byte(pair, size):
    """Holds "`--deep` compares contents.": of the same size, ETag and date."""
    pair.put_there("k", content(size))
    pair.put_there("other", b"x")
    pair.create()
    hydrate(pair, "k", "other")
    pair.fault("GET", "k", damage_at=size - 1)
    assert verify(pair)[1] == {}
    told, found = verify(pair, "--deep", status=1)
    assert found == {"k": "content"} and f"from byte {size - 1} on" in told["differences"][0]["detail"]


def test_deep_finds_a_damaged_copy(own_pair):
    """A copy whose bytes rotted here is found as well, and told apart."""
    pair = own_pair
    body = content(300 * KIB)
    pair.put_there("k", body)
    pair.create()
    hydrate(pair, "k")
    pair.umbra.stop()
    assert _flip(pair.umbra.data_dir / "blobs", body[1000:1100]), "the content is in a segment"
    pair.umbra.start()
    pair.connect()
    assert verify(pair)[1] == {}
    told, found = verify(pair, "--deep", status=1)
    assert found == {"k": "content"} and "cannot be read here" in told["differences"][0]["detail"]


def _flip(directory, needle):
    for path in directory.rglob("*"):
        if path.is_file() and needle in (data := path.read_bytes()):
            at = data.index(needle)
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(bytes([needle[0] ^ 1]))
            return True
    return False


def test_the_report_is_printed_written_and_kept(own_pair):
    """Holds "It prints and keeps a report of every difference."."""
    pair = own_pair
    keys = [f"d/{n:04d}" for n in range(1234)]
    pair.create()
    for key in keys:
        pair.put(key, b"x")
    path = pair.umbra.dir / "report.jsonl"
    done = pair.umbra.storage("verify", f"{pair.name}/d/", "--report", path)
    assert "d/0000" in done.out and "… and 1134 more" in done.out and "Only here" in done.out
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["key"] for line in lines] == keys
    assert {(line["kind"], line["explained"], line["size"]) for line in lines} == {("only-here", True, 1)}
    pair.umbra.restart(kill=True)
    again = pair.umbra.dir / "again.jsonl"
    last = pair.umbra.storage("verify", pair.name, "--last", "--report", again)
    assert last.out == done.out and again.read_text() == path.read_text()
    for wrong in (["verify"], ["verify", pair.name, "--last", "--deep"], ["rollback"]):
        assert pair.umbra.storage(*wrong, check=False).status == 2
    pair.umbra.run("storage", "create", "-n", "plain", "-o", "tests", "-y", check=True)
    for command in ("verify", "rollback"):
        done = pair.umbra.storage(command, "plain", check=False)
        assert done.status == 1 and done.err.startswith("error: ") and len(done.err.splitlines()) == 1, repr(done)


def branches():
    """Names that SeaweedFS, which keeps directories, lists in another order than that of their bytes; more than a page of them."""
    keys = [f"docs/{n:03d}" for n in range(450)] + [f"docs-old/{n:03d}" for n in range(450)] + [f"docs-{n:03d}" for n in range(200)]
    return keys + ["docs.txt", "docs!", "docs0", "photos/2024/a", "photos-2024", "photos/2024-old"]


def test_names_of_directories_and_their_neighbours(own_pair):
    """An origin that does not list in the order of bytes is compared all the same, and gets everything back, over a kill."""
    pair = own_pair
    keys = branches()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: pair.put_there(key, key.encode()), keys[::2]))
    pair.create()
    take_stock(pair)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: pair.put(key, b"here"), keys[1::4]))
        list(pool.map(pair.delete, keys[::10]))
    expected = {key: "cold" for key in keys[::2]} | {key: "only-here" for key in keys[1::4]} | {key: "deleted-here" for key in keys[::10]}
    told, found = verify(pair, "--report", pair.umbra.dir / "report.jsonl")
    lines = [json.loads(line) for line in (pair.umbra.dir / "report.jsonl").read_text().splitlines()]
    assert {line["key"]: line["kind"] for line in lines} == expected and len(lines) == told["job"]["objects_done"] == len(expected)
    rule = pair.fault("PUT", "docs-old/303", hold_request=True)
    running = Background(pair.umbra.storage, "rollback", pair.name, timeout=100)
    rule.await_reached(60)
    pair.umbra.kill()
    pair.proxy.clear_rules()
    pair.umbra.start()
    pair.connect()
    assert "The application can be pointed back" in running.result(100).out
    assert keys_of(walk_v2(pair.there, pair.origin_name)) != sorted(pair.keys()), "it does list in another order"
    assert sorted(keys_of(walk_v2(pair.there, pair.origin_name))) == pair.keys()
    assert set(verify(pair)[1].values()) == {"cold"}


def test_an_origin_that_is_away_is_waited_for(pair):
    """No difference is made up of silence."""
    for n in range(5):
        pair.put_there(f"k{n}", b"x")
    pair.create()
    hydrate(pair, *(f"k{n}" for n in range(5)))
    pair.proxy.stop()
    running = Background(verify, pair)
    until("the job to be held up", lambda: _job(pair, "verify").get("reason"))
    pair.proxy.start()
    assert running.result(60)[1] == {}


def test_a_verify_is_cancelled(pair):
    """It ends with its report so far, keeps it, and stands in the way neither of another run nor of letting the origin go."""
    bodies = {f"k{n}": content(KIB, n) for n in range(5)}
    for key, body in bodies.items():
        pair.put_there(key, body)
    pair.create()
    hydrate(pair, *bodies)
    rule = pair.fault("HEAD", "k3", hold_request=True)
    running = Background(pair.umbra.storage, "verify", pair.name, check=False, timeout=60)
    rule.await_reached(30)
    told, _ = verify(pair, "--cancel")
    assert told["job"]["state"] == "cancelled"
    followed = running.result(60)
    assert followed.status == 1 and "is cancelled: on request" in followed.err, followed
    pair.proxy.clear_rules()
    last = pair.umbra.storage("verify", pair.name, "--last", check=False)
    assert last.status == 1 and "the verify is cancelled: this report is not complete" in last.err, last
    told, found = verify(pair)
    assert (told["job"]["state"], told["job"]["objects_done"], found) == ("done", 5, {})
    assert verify(pair, "--cancel")[0]["job"]["state"] == "done", "what is over stays as it is"
    pair.update("--clear-shadow")
    assert pair.umbra.storage("verify", pair.name, "--cancel", check=False).status == 1, "there is none any more"


def _job(pair, kind):
    done = pair.umbra.storage(kind, pair.name, "--last", "--json", check=False)
    return done.json()["job"] if done.out else {}


# -- rollback --------------------------------------------------------------------------------------------------


def changed(pair):
    """A bucket of which everything imaginable was changed while writes stayed here."""
    for key in ("cold", "copy", "deleted", "overwritten", "relabelled", "retagged"):
        pair.put_there(key, content(1000, key), **LABELS)
    pair.create()
    take_stock(pair)
    hydrate(pair, "copy", "overwritten", "relabelled", "retagged")
    pair.put("overwritten", content(200 * KIB), **LABELS)
    pair.put("relabelled", content(1000, "relabelled"), ContentType="text/html", Metadata={"new": "1"})
    pair.put("new", content(9 * MIB, "new"), **LABELS)
    pair.put("empty", b"")
    put_multipart(pair.here, pair.name, "parts", PARTS, **LABELS)
    pair.here.put_object_tagging(Bucket=pair.name, Key="retagged", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]})
    pair.delete("deleted")
    pair.delete("never-there")
    pair.proxy.forget()
    return pair


def test_rollback_makes_the_origin_equal(pair):
    """Holds "Without, `rollback` first copies back what is newer here, then says the application can be pointed back."."""
    changed(pair)
    done = pair.umbra.storage("rollback", pair.name, timeout=100)
    assert f"The application can be pointed back to {pair.origin_name} at {pair.proxy.endpoint}." in done.out
    assert_equal(pair)
    assert pair.head("parts")["ETag"].endswith('-3"')
    assert pair.umbra.status(pair.name)["bucket"]["shadow"]["write_through"], "from now on writes go both ways"
    pair.put("later", b"x")
    pair.delete("copy")
    pair.proxy.forget()
    done = pair.umbra.storage("rollback", pair.name)
    assert "nothing had to be copied. The application can be pointed back" in done.out
    assert not [e for e in pair.proxy.seen() if e.method not in ("GET", "HEAD")] and pair.proxy.body_bytes() == 0
    assert_equal(pair)
    assert set(verify(pair, "--deep")[1]) <= {"cold"}


def test_a_dry_run_changes_nothing(pair):
    """It counts and lists what would be copied and deleted, and leaves both sides and the settings as they are."""
    changed(pair)
    there = {k: looks(pair.there, pair.origin_name, k) for k in keys_of(walk_v2(pair.there, pair.origin_name))}
    told = rollback(pair, "--dry-run")
    assert tallies(told) == {"copied": 5, "tagged": 1, "deleted": 1} and not told["can_point_back"]
    assert {k["key"] for k in told["keys"]} == {"overwritten", "relabelled", "new", "empty", "parts", "retagged", "deleted"}
    assert not [e for e in pair.proxy.seen() if e.method not in ("GET", "HEAD")] and pair.proxy.body_bytes() == 0
    assert {k: looks(pair.there, pair.origin_name, k) for k in keys_of(walk_v2(pair.there, pair.origin_name))} == there
    assert not pair.umbra.status(pair.name)["bucket"]["shadow"]["write_through"]


def test_with_write_through_the_origin_has_everything(written):
    """Holds "*Roll back*: with write-through the origin already has everything."."""
    for n in range(10):
        written.put(f"k{n}", content(n * KIB, n), **LABELS)
    put_multipart(written.here, written.name, "parts", PARTS, **LABELS)
    written.delete("k3")
    written.proxy.forget()
    told = rollback(written)
    # Nine objects and the upload; the deleted key is looked at as well.
    assert (tallies(told), told["job"]["objects_done"], told["can_point_back"]) == ({}, 11, True)
    assert not [e for e in written.proxy.seen() if e.method not in ("GET", "HEAD")] and written.proxy.body_bytes() == 0


def test_a_missing_right_stops_it_first(pair):
    """Without the right to write nothing is begun, and the reason is told in one line."""
    changed(pair)
    pair.fault("PUT", status=403)
    done = pair.umbra.storage("rollback", pair.name, check=False)
    assert done.status == 1 and "cannot write to the origin" in done.err and len(done.err.splitlines()) == 1, repr(done)
    assert not pair.umbra.status(pair.name)["bucket"]["shadow"]["write_through"]


def test_what_cannot_be_brought_back_stands_in_the_way(pair):
    """The rest goes; what fails is told with its reason; once it is mended the next run finishes."""
    changed(pair)
    rule = pair.fault("PUT", "overwritten", status=403)
    told = rollback(pair, status=1)
    assert told["job"]["objects_failed"] == 1 and not told["can_point_back"]
    (failed,) = [k for k in told["keys"] if k["finding"] is None]
    assert failed["key"] == "overwritten" and failed["attempts"] > 1 and "refuses" in failed["reason"]
    rule.left = 0
    assert tallies(rollback(pair)) == {"copied": 1}
    assert_equal(pair)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("key", ["k020", "parts"])
def test_killed_in_the_middle(own_pair, key):
    """Killed while a copy is under way, it goes on after the start, and leaves no upload behind at the origin."""
    pair = own_pair
    pair.create()
    for n in range(60):
        pair.put(f"k{n:03d}", content(70 * KIB + n, n), **LABELS)
    put_multipart(pair.here, pair.name, "parts", PARTS, **LABELS)
    for n in range(60, 70):
        pair.put_there(f"k{n:03d}", b"old")
    take_stock(pair)
    for n in range(60, 70):
        pair.delete(f"k{n:03d}")
    second = lambda e: e.method == "PUT" and e.key == key and (key != "parts" or "partNumber=2" in e.query)
    rule = pair.fault(when=second, hold_body_at=50 * KIB)
    running = Background(pair.umbra.storage, "rollback", pair.name, timeout=150)
    rule.await_reached(60)
    pair.umbra.kill()
    pair.proxy.clear_rules()
    pair.umbra.start()
    pair.connect()
    assert "The application can be pointed back" in running.result(150).out, "whoever waits for it waits on"
    told = rollback(pair)
    assert told["can_point_back"] and tallies(told) == {}, told
    assert_equal(pair)
    assert "Uploads" not in pair.there.list_multipart_uploads(Bucket=pair.origin_name)
    assert pair.umbra.status(pair.name)["shadow"]["pending_repairs"] == []


def test_what_others_changed_there_is_a_conflict(pair):
    """A key that was changed on both sides is left as it is on both, and told; whoever writes it once more says that ours is right."""
    for key in ("deleted", "overwritten", "retagged", "untouched"):
        pair.put_there(key, b"original")
    pair.create()
    hydrate(pair, "deleted", "overwritten", "retagged", "untouched")
    for key in ("overwritten", "untouched", "unknown"):
        pair.put(key, b"ours")
    pair.here.put_object_tagging(Bucket=pair.name, Key="retagged", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]})
    pair.delete("deleted")
    theirs = ("deleted", "overwritten", "retagged", "unknown")
    for key in theirs:
        pair.put_there(key, b"theirs")
    told = rollback(pair, status=1)
    assert tallies(told) == {"write-through-switched-on": 1, "conflict": 4, "copied": 1} and not told["can_point_back"]
    found = {k["key"]: k for k in told["keys"]}
    assert set(found) == set(theirs) and {k["finding"]["name"] for k in found.values()} == {"conflict"}
    assert "by somebody else" in found["overwritten"]["reason"] and "\n" not in found["overwritten"]["reason"]
    assert [pair.read_there(key) for key in theirs] == [b"theirs"] * 4 and pair.read_there("untouched") == b"ours"
    assert pair.read("overwritten") == b"ours" and not pair.is_here("deleted")
    done = pair.umbra.storage("rollback", pair.name, check=False)
    assert done.status == 1 and "4 keys could not be brought to the origin" in done.err and "In Conflict" in done.out, repr(done)
    for key in ("overwritten", "retagged", "unknown"):
        pair.put(key, b"ours")
    pair.delete("deleted")
    assert rollback(pair)["can_point_back"]
    assert_equal(pair)


@pytest.mark.timeout(200)
def test_writes_during_a_rollback_win(pair):
    """A user's write wins over the copy, whichever comes first, and both sides end alike."""
    pair.create()
    for n in range(80):
        pair.put(f"k{n:03d}", content(20 * KIB, n))
    put_multipart(pair.here, pair.name, "parts", PARTS)
    pair.update("--shadow-write-through")
    running = Background(rollback, pair)
    for n in range(160):
        key = "parts" if n % 40 == 0 else f"k{(n * 37) % 80:03d}"
        if n % 4 == 3:
            pair.delete(key)
        else:
            pair.put(key, content(3 * KIB, ("new", n)))
    assert running.result(100)["can_point_back"]
    assert_equal(pair)
    assert verify(pair, "--deep")[1] == {}


def test_a_rollback_is_cancelled(pair):
    """It ends with what it did so far; what it had under way is settled, and another run finishes; then the origin can be let go."""
    pair.create()
    for n in range(5):
        pair.put(f"k{n}", content(KIB, n), **LABELS)
    rule = pair.fault("PUT", "k3", hold_request=True)
    running = Background(pair.umbra.storage, "rollback", pair.name, check=False, timeout=60)
    rule.await_reached(30)
    told = rollback(pair, "--cancel")
    assert (told["job"]["state"], told["can_point_back"]) == ("cancelled", False)
    followed = running.result(60)
    assert followed.status == 1 and "is cancelled: on request" in followed.err, followed
    pair.proxy.clear_rules()
    assert rollback(pair)["can_point_back"]
    assert_equal(pair)
    assert rollback(pair, "--cancel")["can_point_back"], "what is over stays as it is"
    until("no repair to be pending", lambda: pair.umbra.status(pair.name)["shadow"]["pending_repairs"] == [])
    pair.update("--clear-shadow")
