"""Two regions on one database, each with an engine of its own: bytes live where they were written, and are copied where they are read."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import postgres as pg
from harness.clients import put_multipart, read, refused, s3
from harness.data import MIB, content
from harness.engine import BUCKET
from harness.faults import Fault
from harness.proxy import CountingProxy
from harness.shadowed import Shadowed
from harness.umbra import Umbra
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")


def copied(region, count):
    """Waits until the node of a region has made so many copies."""
    until(f"{count} copies are in {region.name}", lambda: region.metric("umbra_placement_copies_total") >= count)


def ended(node):
    """Starts a node that is refused; what it said."""
    node.start(ready=False)
    until("it ends", lambda: not node.process.running(), seconds=60)
    return node.all_text()


def test_a_read_elsewhere_fetches_across_once(regions):
    """The bytes are in the region of the write; the first read in the other one brings them there, the second costs the first region nothing."""
    fra, iad = regions
    here, there = fra.client(), iad.client()
    here.create_bucket(Bucket="bucket")
    bodies = {"one": content(2 * MIB, 1), "large": content(20 * MIB, 2)}
    for key, body in bodies.items():
        here.put_object(Bucket="bucket", Key=key, Body=body)
    parts = [content(5 * MIB, 3), content(MIB, 4)]
    put_multipart(here, "bucket", "parts", parts)
    bodies["parts"] = b"".join(parts)
    assert fra.kept() and not iad.kept()
    blobs = len(fra.kept())
    regions.forget()
    for key, body in bodies.items():
        assert read(there, "bucket", key) == body
    copied(iad, blobs)
    assert fra.gets() == blobs == len(iad.kept())
    assert iad.metric("umbra_placement_fetched_bytes_total") == sum(len(body) for body in bodies.values())
    regions.forget()
    for key, body in bodies.items():
        assert read(there, "bucket", key) == body
        assert read(there, "bucket", key, Range="bytes=1000-99999") == body[1000:100_000]
    assert fra.proxy.exchanges == [] and iad.gets() > 0
    # What is written there stays there, and its region reads nothing across.
    there.put_object(Bucket="bucket", Key="of-iad", Body=bodies["one"])
    assert len(fra.kept()) == blobs == len(iad.kept()) - 1
    regions.forget()
    assert read(there, "bucket", "of-iad") == bodies["one"]
    assert fra.proxy.exchanges == []
    assert read(here, "bucket", "of-iad") == bodies["one"]


def test_who_makes_a_bucket_is_told_to_use_the_region_that_was_asked(regions):
    for region in regions:
        made = region.node.storage("create", "-n", f"in-{region.name}", "-o", "tests", "-y").values()
        assert (made["AWS_ENDPOINT_URL_S3"], made["AWS_REGION"]) == (region.node.endpoint, region.name)


def test_beside_a_range_the_whole_is_brought(regions):
    fra, iad = regions
    fra.client().create_bucket(Bucket="bucket")
    body = content(6 * MIB, 5)
    fra.client().put_object(Bucket="bucket", Key="k", Body=body)
    assert read(iad.client(), "bucket", "k", Range="bytes=1000000-1000999") == body[1_000_000:1_001_000]
    copied(iad, 1)
    regions.forget()
    assert read(iad.client(), "bucket", "k", Range="bytes=5000000-") == body[5_000_000:]
    assert fra.proxy.exchanges == []


def test_a_region_that_is_down(regions):
    """What has a copy elsewhere stays readable there; what has none is 503, never absent; everything else goes on, and so does that when it is back."""
    fra, iad = regions
    here, there = fra.client(), iad.client()
    here.create_bucket(Bucket="bucket")
    seen, unseen = content(2 * MIB, 1), content(2 * MIB, 2)
    here.put_object(Bucket="bucket", Key="seen", Body=seen)
    here.put_object(Bucket="bucket", Key="unseen", Body=unseen)
    assert read(there, "bucket", "seen") == seen
    copied(iad, 1)
    fra.proxy.stop()
    for _ in range(2):
        assert read(there, "bucket", "seen") == seen
        assert refused(read, there, "bucket", "unseen").status == 503
    assert there.head_object(Bucket="bucket", Key="unseen")["ContentLength"] == len(unseen)
    there.put_object(Bucket="bucket", Key="new", Body=seen)
    assert read(there, "bucket", "new") == seen
    # Nodes start while the other region is away, too.
    iad.node.restart()
    there = iad.client()
    assert read(there, "bucket", "seen") == seen
    there.delete_object(Bucket="bucket", Key="unseen")
    assert refused(read, there, "bucket", "unseen").code == "NoSuchKey"
    fra.proxy.start()
    assert read(here, "bucket", "new") == seen
    for key in ("seen", "new"):
        here.delete_object(Bucket="bucket", Key=key)
    until("all of it is reclaimed", lambda: not fra.kept() and not iad.kept(), seconds=120)


def test_a_region_whose_engine_swallows_requests(regions):
    """Who reads there is answered from elsewhere before the client gives up: what has a copy there, and what is brought across."""
    fra, iad = regions
    fra.client().create_bucket(Bucket="bucket")
    bodies = {"seen": content(2 * MIB, 1), "new": content(MIB, 2), "large": content(20 * MIB, 3)}
    for key, body in bodies.items():
        fra.client().put_object(Bucket="bucket", Key=key, Body=body)
    assert read(iad.client(), "bucket", "seen") == bodies["seen"]
    copied(iad, 1)
    iad.proxy.rule(Fault(hold_request=True))
    for key, body in bodies.items():
        assert read(iad.client(), "bucket", key) == body


def test_overwrites_and_deletes_hold_in_all_regions(regions):
    """A read in any region sees them at once, whoever wrote; and no region keeps what they replaced."""
    fra, iad = regions
    here, there = fra.client(), iad.client()
    here.create_bucket(Bucket="bucket")
    for n in range(8):
        writer, reader = (here, there) if n % 2 else (there, here)
        body = content(MIB + n, n)
        writer.put_object(Bucket="bucket", Key="k", Body=body)
        assert read(reader, "bucket", "k") == body == read(writer, "bucket", "k")
    copied(iad, 1)
    until("one copy of one object is left", lambda: len(fra.kept()) == len(iad.kept()) == 1, seconds=60)
    there.delete_object(Bucket="bucket", Key="k")
    for client in (here, there):
        assert refused(read, client, "bucket", "k").code == "NoSuchKey"
    until("nothing is left anywhere", lambda: not fra.kept() and not iad.kept(), seconds=60)


def test_a_cold_object_leaves_the_origin_once(regions, seaweed):
    """And lives in the region that asked first, though the node that leads brings it in: the second read there costs neither the origin nor another region."""
    fra, iad = regions
    pair = Shadowed(iad.node, seaweed).create()
    try:
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        here, there = (s3(region.node.endpoint, *keys, retries=True) for region in (iad, fra))
        bodies = {"cold": content(3 * MIB, 7), "large": content(24 * MIB, 8), "range": content(20 * MIB, 9)}
        for key, body in bodies.items():
            pair.put_there(key, body)
        assert read(here, pair.name, "cold") == bodies["cold"] and read(here, pair.name, "large") == bodies["large"]
        assert read(here, pair.name, "range", Range="bytes=10000000-10000999") == bodies["range"][10_000_000:10_001_000]
        until("all is here", lambda: not any(pair.is_cold(key) for key in bodies), seconds=60)
        assert iad.kept() and not fra.kept()
        regions.forget()
        before = pair.proxy.body_bytes()
        for key, body in bodies.items():
            assert read(here, pair.name, key) == body
        assert fra.proxy.exchanges == [] and iad.gets() > 0
        # What is read elsewhere leaves its copy there, and the origin is asked no more.
        for key, body in bodies.items():
            assert read(there, pair.name, key) == body
        until("copies are there", lambda: len(fra.kept()) == len(iad.kept()), seconds=60)
        assert pair.proxy.body_bytes() == before
        assert all(pair.proxy.body_bytes(key) == len(body) for key, body in bodies.items())
    finally:
        pair.close()


def test_readers_in_two_regions_pull_a_cold_object_once(regions, seaweed):
    """At the same time: one transfer, and the bytes live in one of them."""
    fra, iad = regions
    pair = Shadowed(iad.node, seaweed).create()
    try:
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        body = content(6 * MIB, 3)
        pair.put_there("cold", body)
        held = pair.fault(method="GET", key="cold", times=1, hold_at=MIB)
        got = []
        readers = [threading.Thread(target=lambda c=s3(r.node.endpoint, *keys): got.append(read(c, pair.name, "cold"))) for r in (iad, fra)]
        readers[0].start()
        until("the origin is asked", lambda: held.hits)
        readers[1].start()
        held.release()
        [reader.join() for reader in readers]
        assert got == [body] * 2
        until("it is here", lambda: not pair.is_cold("cold"))
        assert pair.proxy.body_bytes("cold") == len(body) and iad.kept()
        assert read(s3(iad.node.endpoint, *keys), pair.name, "cold") == body
        assert pair.proxy.body_bytes("cold") == len(body)
    finally:
        pair.close()


def test_what_is_written_through_lives_where_it_was_taken(regions, seaweed):
    """Whole, in parts and as a copy; what a backfill brings lives in the region of the node that leads."""
    fra, iad = regions
    pair = Shadowed(iad.node, seaweed).create(write_through=True)
    try:
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        here = s3(iad.node.endpoint, *keys, retries=True)
        bodies = {"whole": content(2 * MIB, 1), "copied": content(2 * MIB, 2)}
        here.put_object(Bucket=pair.name, Key="whole", Body=bodies["whole"])
        put_multipart(here, pair.name, "parts", parts := [content(5 * MIB, 3), content(MIB, 4)])
        bodies["parts"] = b"".join(parts)
        pair.put_there("source", bodies["copied"])
        here.copy_object(Bucket=pair.name, Key="copied", CopySource={"Bucket": pair.name, "Key": "source"})
        assert iad.kept() and not fra.kept()
        regions.forget()
        for key, body in bodies.items():
            assert read(here, pair.name, key) == body == pair.read_there(key)
        assert fra.proxy.exchanges == [] and iad.gets() > 0
        pair.put_there("rest", content(2 * MIB, 5))
        iad.node.storage("migrate", pair.name, "--wait")
        assert len(fra.kept()) == 1
    finally:
        pair.close()


def test_regions_are_listed(regions):
    fra, iad = regions

    def listed(node):
        return [(r["name"], r["nodes"], r["is_own"]) for r in node.run("region", "list", "--json", check=True).json()["regions"]]

    until("each knows the other", lambda: listed(fra.node) == [("fra", 1, True), ("iad", 1, False)])
    until("each knows the other", lambda: listed(iad.node) == [("fra", 1, False), ("iad", 1, True)])
    shown = iad.node.run("region", "list", check=True).out
    assert fra.prefix in shown and iad.prefix in shown
    assert [line.split()[:3] for line in shown.splitlines()] == [["NAME", "NODES", "ASKED"], ["fra", "1", f"s3://{BUCKET}/{fra.prefix}"], ["iad", "1", "yes"]]


def test_nodes_with_other_regions_are_refused(regions):
    """Without the other regions, or with another place for one of them."""
    fra, iad = regions

    assert "region-blobs" in ended(regions.make(fra, with_others=False, name="alone")).replace("_", "-")
    prefix, fra.prefix = fra.prefix, "elsewhere"
    told = f"the contents of region fra are kept at s3://{BUCKET}/{prefix}, and the setting %s has them at s3://{BUCKET}/elsewhere: give it"
    try:
        assert told % "region_blobs" in ended(regions.make(iad, name="wrong"))
        assert told % "blobs" in ended(regions.make(fra, name="wrong"))
    finally:
        fra.prefix = prefix
    # One that was refused is bound to nothing.
    regions.make(fra, name="wrong").start().stop()


def test_a_data_directory_stays_in_its_region(regions):
    """That of a node in one region is refused in another, and it says what to do."""
    fra, iad = regions
    assert fra.node.stop() == 0
    # The same directory.
    said = ended(regions.make(iad, name="fra"))
    assert "start with an empty data directory" in said, said


def test_a_mistyped_bucket_of_another_region_binds_nothing(unstarted_regions):
    """It is told, not remembered as that region's for ever; one that does not answer yet is no reason not to start, and binds nothing either."""
    fra, iad = unstarted_regions

    def mistype():
        fra.node.flags = [flag.replace(f"s3://{BUCKET}/{iad.prefix}", f"s3://mistyped/{iad.prefix}") for flag in fra.node.flags]

    mistype()
    said = ended(fra.node)
    assert "setting region_blobs names the bucket mistyped for iad, which is not at" in said, said
    iad.proxy.stop()
    fra.node.start()
    assert "it cannot be told yet whether the contents of a region are the store's" in fra.node.all_text()
    iad.proxy.start()
    fra.node.stop()
    fra.node = unstarted_regions.make(fra)
    iad.proxy.stop()
    fra.node.start()
    assert iad.engine.badges(iad.prefix) == []
    iad.proxy.start()
    iad.node.start()
    assert len(iad.engine.badges(iad.prefix)) == 1
    # What could not be told is found out when it is needed.
    fra.client().create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "iad"})
    fra.client(retries=True).put_object(Bucket="there", Key="k", Body=content(MIB, 1))
    assert len(iad.kept()) == 1 and len(iad.engine.badges(iad.prefix)) == 1
    assert read(iad.client(), "there", "k") == content(MIB, 1)


def test_a_region_that_answers_late_at_a_wrong_endpoint_is_given_nothing(regions):
    """It was away when the node started; what answers there later is another region's engine. A write that may be nowhere else is refused, and none is lost."""
    fra, iad = regions
    iad.client().create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "iad"})
    iad.client().put_object(Bucket="there", Key="k", Body=content(MIB, 1))
    late = CountingProxy(fra.engine.seaweed.endpoint).start()
    late.stop()
    try:
        fra.node.stop()
        right = fra.node.flags
        fra.node.flags = [flag.replace(iad.proxy.endpoint, late.endpoint) for flag in right]
        fra.node.start()
        late.start()
        for call in (lambda c: c.put_object(Bucket="there", Key="new", Body=content(MIB, 2)), lambda c: read(c, "there", "k")):
            assert refused(call, fra.client()).status == 503
        until("it is told", lambda: f"there is no object {iad.engine.badges(iad.prefix)[0]} in" in fra.node.all_text())
        assert fra.engine.all_keys(iad.prefix) == []
        fra.node.stop()
        fra.node.flags = right
        fra.node.start()
        fra.client().put_object(Bucket="there", Key="new", Body=content(MIB, 2))
        assert read(iad.client(), "there", "new") == content(MIB, 2) and read(fra.client(), "there", "k") == content(MIB, 1)
    finally:
        late.close()


def test_a_key_that_is_refused_by_a_region_never_reached_is_told(unstarted_regions, tmp_path):
    """By the start, which goes on, by what needs the region, and by the status of a bucket: each says what its engine answered. Nothing is left there."""
    fra, iad = unstarted_regions
    right = fra.node.flags
    fra.node.flags = [*right, *wrong_key(tmp_path, "iad")]
    fra.node.start()
    reason = "the bucket for contents answered 403 InvalidAccessKeyId"
    [told] = [line for line in fra.node.all_text().splitlines() if "WARN" in line]
    assert "it cannot be told yet whether the contents of a region are the store's" in told and reason in told and iad.proxy.endpoint in told, told
    assert iad.engine.all_keys(iad.prefix) == []

    fra.client().create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "iad"})
    assert refused(fra.client().put_object, Bucket="there", Key="k", Body=content(MIB, 1)).status == 503
    cannot = f"cannot tell whether s3://{BUCKET}/{iad.prefix} at {iad.proxy.endpoint} has the contents of this store, by the object "
    told = next(line for line in fra.node.all_text().splitlines() if cannot in line)
    assert f": the blob store cannot put a badge at the contents: {reason}" in told, told

    fra.client().create_bucket(Bucket="both")
    fra.node.storage("update", "both", "--location", "dual:fra,iad")
    fra.client().put_object(Bucket="both", Key="k", Body=content(MIB, 2))
    until("the status tells why", lambda: reason in fra.node.storage("status", "both").out, seconds=60)
    assert iad.engine.all_keys(iad.prefix) == []

    fra.node.stop()
    fra.node.flags = right
    fra.node.start()
    fra.client().put_object(Bucket="there", Key="k", Body=content(MIB, 1))
    assert read(fra.client(), "there", "k") == content(MIB, 1) and len(iad.engine.badges(iad.prefix)) == 1


def wrong_key(directory, region):
    """The flags by which a node has a key for a region that no engine knows."""
    key = directory / "key.json"
    key.write_text(json.dumps({"access_key": "nobody", "secret_key": "nothing"}))
    key.chmod(0o600)
    return ["--region-blobs-key-file", f"{region}={key}"]


def test_a_region_whose_engine_says_nothing_of_use_holds_up_no_start(regions, tmp_path):
    """A proxy that answers 404 for an engine that is down, and a key that is refused, say nothing of the contents: they are not used, and everything else goes on."""
    fra, iad = regions
    iad.client().create_bucket(Bucket="there", CreateBucketConfiguration={"LocationConstraint": "iad"})
    fra.client().create_bucket(Bucket="bucket")
    web = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    right = fra.node.flags
    try:
        for wrong in ([flag.replace(iad.proxy.endpoint, f"http://127.0.0.1:{web.server_port}") for flag in right], [*right, *wrong_key(tmp_path, "iad")]):
            fra.node.stop()
            fra.node.flags = wrong
            fra.node.start()
            fra.client().put_object(Bucket="bucket", Key="k", Body=content(MIB, 1))
            assert read(fra.client(), "bucket", "k") == content(MIB, 1)
            assert refused(fra.client().put_object, Bucket="there", Key="k", Body=content(MIB, 1)).status == 503
    finally:
        web.shutdown()
        web.server_close()


class Nothing(BaseHTTPRequestHandler):
    """A web server that has nothing."""

    def do_GET(self):
        self.send_error(404)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *_):
        pass


def test_a_region_at_the_engine_of_another_is_refused(regions):
    """Bucket and prefix are right, the endpoint is not: what a node wrote there nobody else would find. Of its own region's contents and of another's."""
    fra, iad = regions
    [badge] = fra.engine.badges(fra.prefix)
    told = f"there is no object {badge} in s3://{BUCKET}/{fra.prefix} at {iad.proxy.endpoint}, by which this store knows its contents: mend the endpoint in the setting %s;"
    for region, setting in ((iad, "region_blobs"), (fra, "blobs")):
        wrong = regions.make(region, name="wrong")
        wrong.flags = [flag.replace(fra.proxy.endpoint, iad.proxy.endpoint) for flag in wrong.flags]
        assert told % setting in ended(wrong)
    # What is tried is taken back, and one that was refused is bound to nothing.
    assert iad.engine.all_keys(fra.prefix) == []
    regions.make(fra, name="wrong").start().stop()


def test_who_begins_a_store_with_a_wrong_endpoint_is_told_from_the_others(unstarted_regions):
    """The first node has another region at its own engine: that region's own node does not start beside it, so that nothing is written which nobody finds."""
    fra, iad = unstarted_regions
    fra.node.flags = [flag.replace(iad.proxy.endpoint, fra.proxy.endpoint) for flag in fra.node.flags]
    fra.node.start()
    [badge] = fra.engine.badges(iad.prefix)
    assert f"there is no object {badge} in s3://{BUCKET}/{iad.prefix} at {iad.proxy.endpoint}" in ended(iad.node)
    # It was the first who was wrong.
    iad.engine.client().put_object(Bucket=BUCKET, Key=badge)
    fra.node.stop()
    fra.node = unstarted_regions.make(fra)
    unstarted_regions.start()
    fra.client().create_bucket(Bucket="bucket")
    iad.client().put_object(Bucket="bucket", Key="k", Body=content(MIB, 1))
    assert read(fra.client(), "bucket", "k") == content(MIB, 1)
    assert len(iad.kept()) == 1


def test_a_store_is_given_regions(unstarted_regions):
    """What was written before is read afterwards, in the region that has it and in the other one."""
    fra, iad = unstarted_regions
    body = content(2 * MIB, 9)
    before = unstarted_regions.make(fra, with_others=False, name="fra").start()
    client = s3(before.endpoint, before.access_key, before.secret_key)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="old", Body=body)
    # Not beside a node that does not know of them: it would find nothing of what is in another region.
    assert "stop all nodes" in ended(iad.node)
    assert before.stop() == 0
    unstarted_regions.start()
    assert read(iad.client(), "bucket", "old") == body == read(fra.client(), "bucket", "old")
    copied(iad, 1)
    fra.proxy.stop()
    assert read(iad.client(), "bucket", "old") == body
    fra.proxy.start()
    iad.client().delete_object(Bucket="bucket", Key="old")
    until("nothing is left anywhere", lambda: not fra.kept() and not iad.kept(), seconds=60)


def test_a_store_is_given_regions_as_its_metadata_move(unstarted_regions, tmp_path):
    """What one server wrote before its metadata moved to the database is found by the first start, which is one with regions."""
    fra, iad = unstarted_regions
    before = Umbra(tmp_path / "before", "--blobs", fra.url, env={**fra.engine.env(), "UMBRA_MASTER_KEY": unstarted_regions.master_key})
    before.env.pop("UMBRA_METADATA", None)
    before.start()
    client, body = before.client(), content(2 * MIB, 9)
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="old", Body=body)
    before.stop()
    dump = tmp_path / "dump"
    before.run("metadata", "export", dump, env={"UMBRA_DATA_DIR": str(before.data_dir)}, check=True)
    before.run("metadata", "import", dump, env={"UMBRA_METADATA": unstarted_regions.database}, check=True)

    # With another place there is nothing to find, with regions or without; and the data directory is not bound to that place.
    prefix, fra.prefix = fra.prefix, "mistyped"
    said = ended(unstarted_regions.make(fra, with_others=False))
    assert f"kept at s3://{BUCKET}/{prefix}, and this server would keep them at s3://{BUCKET}/mistyped: give `blobs`" in said, said
    said = ended(unstarted_regions.make(fra))
    assert f"is at s3://{BUCKET}/{prefix}: one of the regions" in said, said
    fra.prefix = prefix
    # Nor at another engine: by what the contents are known goes with the metadata, and into the region that has them.
    [badge] = fra.engine.badges(fra.prefix)
    wrong = unstarted_regions.make(fra)
    wrong.flags[3] = fra.engine.url(fra.prefix, iad.engine.seaweed.endpoint)
    assert f"there is no object {badge} in s3://{BUCKET}/{fra.prefix} at" in ended(wrong)
    unstarted_regions.start()
    assert fra.engine.badges(fra.prefix) == [badge]
    assert read(iad.client(), "bucket", "old") == body == read(fra.client(), "bucket", "old")


def test_a_store_with_regions_stays_in_a_database(regions, tmp_path):
    """A data directory could serve what one of its regions has, and is not filled with it."""
    fra, _ = regions
    dump, there = tmp_path / "dump", tmp_path / "there"
    fra.node.run("metadata", "export", dump, env={"UMBRA_METADATA": regions.database}, check=True)
    done = fra.node.run("metadata", "import", dump, env={"UMBRA_DATA_DIR": str(there)})
    told = f"cannot fill the store: it has contents in region fra, at s3://{BUCKET}/{fra.prefix}, and a store with regions needs a database\n"
    assert done.status == 1 and done.err.endswith(told) and done.err.count("\n") == 1, repr(done)
    assert list((there / "meta").iterdir()) == [] and not (there / "contents").exists()
