"""A server that keeps its contents in a bucket of SeaweedFS, cached on its disk and not."""

import time

import pytest
from botocore.exceptions import ClientError

from harness.clients import put_multipart, read, refused
from harness.data import KIB, MIB, content, md5
from harness.engine import BUCKET
from harness.faults import Fault
from harness.load import Worker, check
from harness.proxy import CountingProxy
from harness.shadowed import Shadowed, name
from harness.umbra import Umbra
from harness.wait import until


class Remote:
    """A server whose contents are at the engine, with a proxy between them."""

    def __init__(self, directory, engine, cache):
        self.engine, self.prefix = engine, name("contents")
        self.proxy = CountingProxy(engine.seaweed.endpoint).start()
        url = engine.url(self.prefix, self.proxy.endpoint)
        flags = ["--blobs", url, "--blob-cache-bytes", str(cache), "--reclaim-grace", "1"]
        self.umbra = Umbra(directory, *flags, env=engine.env()).start()
        self.bucket = name("remote")
        self.client = self.umbra.client()
        self.client.create_bucket(Bucket=self.bucket)

    def put(self, key, body):
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def read(self, key, **options):
        return read(self.client, self.bucket, key, **options)

    def kept(self):
        return self.engine.keys(self.prefix)

    def gets(self):
        """How many contents were asked for since the proxy forgot."""
        return self.proxy.count("GET", when=lambda exchange: exchange.is_object)

    def close(self):
        self.umbra.remove()
        self.proxy.close()


@pytest.fixture(params=[0, 64 * MIB], ids=["uncached", "cached"])
def remote(request, tmp_path, engine):
    made = Remote(tmp_path / "umbra", engine, request.param)
    yield made
    made.close()


@pytest.fixture
def cached(tmp_path, engine):
    made = Remote(tmp_path / "umbra", engine, 64 * MIB)
    yield made
    made.close()


@pytest.mark.parametrize("size", [0, 1, 4 * KIB, 4 * KIB + 1, 64 * KIB, 3 * MIB, 20 * MIB], ids=str)
def test_contents_come_back(remote, size):
    """Holds "Contents may be kept in a bucket of an S3-compatible engine instead of the disk.": whole, by ranges, copied, after a restart; and go when deleted."""
    body = content(size, seed=7)
    remote.put("k", body)
    assert remote.read("k") == body
    for first, last in [(0, 0), (size // 2, size // 2 + 10), (size // 3, size - 1)]:
        if first < size:
            assert remote.read("k", Range=f"bytes={first}-{last}") == body[first:last + 1]
    remote.client.copy_object(Bucket=remote.bucket, Key="copy", CopySource={"Bucket": remote.bucket, "Key": "k"})
    remote.umbra.restart()
    assert remote.read("k") == body and remote.read("copy") == body
    remote.client.delete_object(Bucket=remote.bucket, Key="k")
    assert refused(remote.read, "k").status == 404
    assert remote.read("copy") == body
    remote.client.delete_object(Bucket=remote.bucket, Key="copy")
    until("the engine is rid of it", lambda: remote.kept() == [], 30)


def test_multipart_contents(remote):
    """An upload in parts, read across them, and one that is given up."""
    parts = [content(5 * MIB, seed=1), content(6 * MIB, seed=2), content(17, seed=3)]
    put_multipart(remote.client, remote.bucket, "k", parts)
    whole = b"".join(parts)
    assert remote.read("k") == whole
    edge = 5 * MIB
    assert remote.read("k", Range=f"bytes={edge - 100}-{edge + 99}") == whole[edge - 100:edge + 100]
    assert remote.read("k", PartNumber=2) == parts[1]
    call = dict(Bucket=remote.bucket, Key="no", UploadId=remote.client.create_multipart_upload(Bucket=remote.bucket, Key="no")["UploadId"])
    remote.client.upload_part(**call, PartNumber=1, Body=parts[0])
    before = len(remote.kept())
    remote.client.abort_multipart_upload(**call)
    until("the part is gone", lambda: len(remote.kept()) == before - 1, 30)


@pytest.mark.timeout(240)
def test_kill_under_load(remote):
    """Holds "What was acknowledged is at the engine.": ten kills, every acknowledged object intact, no part of an unacknowledged one visible."""
    workers = [Worker(n, remote.bucket, 3) for n in range(4)]
    for worker in workers:
        worker.connect(remote.umbra.client())
        worker.start()
    try:
        for _ in range(10):
            goal = sum(w.acknowledged for w in workers) + 20
            deadline = time.monotonic() + 8
            until("some writes", lambda: sum(w.acknowledged for w in workers) >= goal or time.monotonic() > deadline, 20, 0.002)
            remote.umbra.kill()
            until("the workers to notice", lambda: not any(w.ready.is_set() for w in workers), 70)
            remote.umbra.start()
            check(remote.umbra.client(), remote.bucket, workers)
            assert not [w.wrong for w in workers if w.wrong]
            for worker in workers:
                worker.ready.set()
        assert sum(w.acknowledged for w in workers) >= 50
    finally:
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.join(70)
    assert "panicked" not in remote.umbra.log_path.read_text(errors="replace")


def test_another_engine_is_refused(tmp_path, engine, other_engine):
    """Holds "A bucket of the same name and prefix at another engine is not taken for that of the contents.": nothing is written there, until somebody says that it is the one."""
    prefix = name("contents")
    server = Umbra(tmp_path / "umbra", "--blobs", engine.url(prefix), env=engine.env()).start()
    server.client().create_bucket(Bucket="bucket")
    server.client().put_object(Bucket="bucket", Key="k", Body=content(MIB, 1))
    server.stop()
    [badge] = engine.badges(prefix)
    server.flags[1] = other_engine.url(prefix)
    server.env.update(other_engine.env())
    done = server.run("serve", *server.flags, "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", env=server.env)
    told = f"there is no object {badge} in s3://{BUCKET}/{prefix} at {other_engine.seaweed.endpoint}, by which this store knows its contents: mend the endpoint in the setting blobs"
    assert done.status == 1 and told in done.err and done.err.count("\n") == 1, repr(done)
    assert other_engine.all_keys(prefix) == []

    # The first engine is lost, say.
    other_engine.client().put_object(Bucket=BUCKET, Key=badge)
    server.start()
    assert refused(read, server.client(), "bucket", "k").status == 500
    server.client().put_object(Bucket="bucket", Key="k", Body=content(MIB, 2))
    server.restart()
    assert read(server.client(), "bucket", "k") == content(MIB, 2)
    assert other_engine.badges(prefix) == [badge]
    server.remove()


def test_cold_objects_move_there(remote, seaweed):
    """A cold GET brings its object to the engine, and the next one is answered from there."""
    pair = Shadowed(remote.umbra, seaweed).create()
    try:
        body = content(9 * MIB, seed=4)
        pair.put_there("k", body)
        assert pair.read("k") == body
        until("it has moved", lambda: remote.umbra.status(pair.name)["shadow"]["hydrated_objects"] == 1, 30)
        pair.proxy.forget()
        assert pair.read("k") == body
        assert pair.proxy.count("GET") == 0
        assert remote.kept()
    finally:
        pair.close()


def test_an_engine_that_is_down(remote):
    """Holds "While the engine does not answer, what needs it is 503, and nothing is said to be absent.": and what does not need it goes on."""
    body = content(2 * MIB, seed=5)
    remote.put("k", body)
    remote.umbra.restart()
    remote.proxy.rule(Fault(refuse=True))
    assert refused(remote.read, "k").status == 503
    assert refused(remote.put, "other", body).status == 503
    assert remote.client.head_object(Bucket=remote.bucket, Key="k")["ContentLength"] == len(body)
    remote.put("small", b"inline")
    assert remote.read("small") == b"inline"
    remote.proxy.clear_rules()
    assert remote.read("k") == body
    remote.put("other", body)
    assert remote.read("other") == body


def test_a_bucket_that_is_not_there_is_told_and_not_made(tmp_path, engine):
    """SeaweedFS makes a bucket with its first object: a mistyped name must not become the place of contents. A key that may not ask for the bucket will do."""
    mistyped = engine.url("p").replace(f"s3://{BUCKET}/", "s3://mistyped/")
    refused_one = Umbra(tmp_path / "umbra", "--blobs", mistyped, env=engine.env())
    done = refused_one.start(ready=False)
    until("it has ended", lambda: not done.process.running(), 30)
    said = refused_one.log_path.read_text()
    assert "there is no bucket mistyped at" in said and said.count("\n") == 1 and "panicked" not in said, said
    assert "mistyped" not in [b["Name"] for b in engine.client().list_buckets()["Buckets"]]
    proxy = CountingProxy(engine.seaweed.endpoint).start()
    asks = proxy.rule(Fault(status=403), "HEAD", when=lambda exchange: not exchange.is_object)
    # The same data directory: nothing has bound it.
    server = Umbra(tmp_path / "umbra", "--blobs", engine.url(name("forbidden"), proxy.endpoint), env=engine.env()).start()
    assert asks.hits == 1
    server.client().create_bucket(Bucket="bucket")
    server.client().put_object(Bucket="bucket", Key="k", Body=content(1 * MIB, 1))
    server.remove()
    proxy.close()


def test_damaged_contents(remote):
    """Bytes that are not what was written are never served: fetched again if damaged on their way, an error if they lie there so."""
    body = content(1 * MIB, seed=6)
    remote.put("k", body)
    [key] = remote.kept()
    remote.umbra.restart()
    remote.proxy.rule(Fault(damage_at=100_000), "GET", times=1)
    assert remote.read("k") == body
    remote.umbra.restart()
    there = remote.engine.client()
    kept = read(there, BUCKET, key)
    there.put_object(Bucket=BUCKET, Key=key, Body=kept[:300_000] + bytes([kept[300_000] ^ 1]) + kept[300_001:])
    with pytest.raises(Exception) as broken:
        remote.read("k")
    assert not isinstance(broken.value, AssertionError)
    if isinstance(broken.value, ClientError):
        assert refused(remote.read, "k").status == 500
    there.put_object(Bucket=BUCKET, Key=key, Body=kept)
    assert md5(remote.read("k")) == md5(body)


def test_the_cache_spares_the_engine(cached):
    """What was written or read is answered from the disk, by blocks; after a restart it is fetched once more."""
    body = content(12 * MIB, seed=8)
    cached.put("large", body)
    cached.put("small", body[:100_000])
    cached.proxy.forget()
    assert cached.read("small") == body[:100_000]
    assert cached.gets() == 0, "it was written here"
    assert cached.read("large", Range="bytes=5000000-5000099") == body[5_000_000:5_000_100]
    assert cached.proxy.body_bytes() < 2 * MIB, "a block, not the blob"
    assert cached.read("large") == body
    cached.proxy.forget()
    for _ in range(3):
        assert cached.read("large") == body
    assert cached.gets() == 0
    metrics = cached.umbra.metrics()
    assert 'umbra_blob_cache_reads_total{source="cache"}' in metrics
    cached.umbra.restart()
    assert cached.read("small") == body[:100_000]
    assert cached.gets() >= 1
