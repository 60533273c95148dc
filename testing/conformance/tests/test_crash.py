"""`kill -9` under load, again and again."""

import time

import pytest

from harness.clients import keys_of, refused, walk_v2
from harness.data import MIB, content
from harness.load import Worker, check
from harness.shadowed import Shadowed
from harness.wait import until

KILLS = 50


def run(server, bucket, client, kills, seed, every):
    """Kills the server `kills` times under load, each time after some writes, and checks after each start."""
    workers = [Worker(n, bucket, seed) for n in range(6)]
    checker = client()
    for worker in workers:
        worker.connect(client())
        worker.start()
    try:
        for kill in range(kills):
            goal = sum(w.acknowledged for w in workers) + every
            # Enough writes, or a while: a load of large objects acknowledges slowly.
            deadline = time.monotonic() + 5
            until("some writes", lambda: sum(w.acknowledged for w in workers) >= goal or time.monotonic() > deadline, 20, 0.002)
            server.kill()
            until("the workers to notice", lambda: not any(w.ready.is_set() for w in workers), 70)
            server.start()
            check(checker, bucket, workers)
            assert not [w.wrong for w in workers if w.wrong]
            for worker in workers:
                worker.ready.set()
        return sum(w.acknowledged for w in workers)
    finally:
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.join(70)


@pytest.mark.timeout(300)
def test_kill_under_load(own_umbra):
    """Holds "An acknowledged write is never lost, nor undone by a slower copy of something older.": fifty kills, every acknowledged object intact, no part of an unacknowledged one visible."""
    own_umbra.client().create_bucket(Bucket="crash")
    acknowledged = run(own_umbra, "crash", own_umbra.client, KILLS, seed=1, every=25)
    assert acknowledged >= 300, f"only {acknowledged} writes: too weak a load"
    assert "panicked" not in own_umbra.log_path.read_text(errors="replace")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_kill_under_load_with_write_through(own_umbra, second_umbra):
    """The same with write-through: after each crash the key reads as the origin has it, and both sides agree in the end.

    The origin is a second Umbra: SeaweedFS stores an empty object when a PUT breaks off before its first byte.
    """
    pair = Shadowed(own_umbra, second_umbra)
    try:
        pair.create(write_through=True)
        client = lambda: own_umbra.client(pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"])  # noqa: E731
        run(own_umbra, pair.name, client, 20, seed=2, every=15)
        pair.connect()
        keys = pair.keys()
        assert keys == keys_of(walk_v2(pair.there, pair.origin_name))
        for key in keys:
            assert pair.read(key) == pair.read_there(key)
    finally:
        pair.close()


def test_kill_during_an_upload(own_umbra):
    """An upload in parts goes on after a kill: acknowledged parts are there, and nothing shows before its completion."""
    client = own_umbra.client()
    client.create_bucket(Bucket="parts")
    call = dict(Bucket="parts", Key="k", UploadId=client.create_multipart_upload(Bucket="parts", Key="k")["UploadId"])
    tags = []
    for number in (1, 2, 3):
        body = content(5 * MIB, number)
        tags.append({"PartNumber": number, "ETag": own_umbra.client().upload_part(PartNumber=number, Body=body, **call)["ETag"]})
        own_umbra.restart(kill=True)
        assert refused(own_umbra.client().head_object, Bucket="parts", Key="k").status == 404
    client = own_umbra.client()
    assert [p["ETag"] for p in client.list_parts(**call)["Parts"]] == [t["ETag"] for t in tags]
    client.complete_multipart_upload(MultipartUpload={"Parts": tags}, **call)
    own_umbra.restart(kill=True)
    assert own_umbra.client().get_object(Bucket="parts", Key="k")["Body"].read() == b"".join(content(5 * MIB, n) for n in (1, 2, 3))


def test_kill_right_after_each_acknowledgement(own_umbra):
    """The last acknowledged write before a kill is there: buckets, objects, tags, deletes, keys and organizations."""
    client = own_umbra.client()
    client.create_bucket(Bucket="last")
    own_umbra.restart(kill=True)
    steps = [
        (lambda c: c.put_object(Bucket="last", Key="k", Body=b"1"), lambda c: c.get_object(Bucket="last", Key="k")["Body"].read() == b"1"),
        (lambda c: c.put_object(Bucket="last", Key="k", Body=content(9 * MIB)), lambda c: c.get_object(Bucket="last", Key="k")["Body"].read() == content(9 * MIB)),
        (lambda c: c.put_object_tagging(Bucket="last", Key="k", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]}), lambda c: c.get_object_tagging(Bucket="last", Key="k")["TagSet"] == [{"Key": "t", "Value": "1"}]),
        (lambda c: c.copy_object(Bucket="last", Key="l", CopySource={"Bucket": "last", "Key": "k"}), lambda c: c.head_object(Bucket="last", Key="l")["ContentLength"] == 9 * MIB),
        (lambda c: c.delete_object(Bucket="last", Key="k"), lambda c: refused(c.head_object, Bucket="last", Key="k").status == 404),
        (lambda c: own_umbra.storage("create", "-n", "made-by-cli", "-o", "newest", "-y"), lambda c: c.head_bucket(Bucket="made-by-cli")),
        (lambda c: c.delete_object(Bucket="last", Key="l"), lambda c: c.list_objects_v2(Bucket="last")["KeyCount"] == 0),
        (lambda c: c.delete_bucket(Bucket="last"), lambda c: refused(c.head_bucket, Bucket="last").status == 404),
    ]
    for act, holds in steps:
        act(own_umbra.client())
        own_umbra.restart(kill=True)
        assert holds(own_umbra.client())
