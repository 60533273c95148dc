"""Three regions on one database, each with an engine of its own behind a proxy that counts: bytes are where their bucket and their writer want
them, and nowhere else."""

import pytest

from harness import postgres as pg
from harness.clients import headers, put_multipart, read, refused, s3
from harness.data import MIB, content
from harness.shadowed import Shadowed
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")

REGIONS = ("fra", "ams", "iad")
FLAGS = ["--geography", "atlantic=iad,ams"]


def kept(regions):
    """How many contents each region has: at home there, or as copies."""
    return tuple(len(region.kept()) for region in regions)


def create(regions, location, bucket="bucket"):
    """A bucket by the command line, which all regions know of when it is answered; the clients of all regions."""
    next(iter(regions)).node.run("storage", "create", "-n", bucket, "-o", "tests", "--location", location, "-y", check=True)
    return [region.client() for region in regions]


def narrowing(client, places):
    """Has a client say where what it writes is to live."""
    for operation in ("PutObject", "CreateMultipartUpload", "CopyObject"):
        client.meta.events.register(f"before-sign.s3.{operation}", lambda request, **_: request.headers.add_header("X-Tigris-Regions", places))
    return client


def read_everywhere(clients, bodies, bucket="bucket"):
    """Reads all objects through all regions, whole and in part, twice."""
    for _ in range(2):
        for client in clients:
            for key, body in bodies.items():
                assert read(client, bucket, key) == body
                if len(body) > 200:
                    assert read(client, bucket, key, Range="bytes=100-199") == body[100:200]


def written(client, bucket="bucket"):
    """Objects of all kinds, written through one region: of a few bytes, of one and of several requests to an engine, in parts, by a copy."""
    bodies = {"small": b"small", "one": content(2 * MIB, 1), "large": content(12 * MIB, 2)}
    for key, body in bodies.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    parts = [content(5 * MIB, 3), content(MIB, 4)]
    put_multipart(client, bucket, "parts", parts)
    client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "one"})
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    # Six contents: one for each object but the empty one, and two for the parts.
    return {**bodies, "parts": b"".join(parts), "copy": bodies["one"], "empty": b""}


def settled(regions):
    """Waits until no node makes a copy, as far as its counts tell."""
    counts = lambda: [(region.metric("umbra_placement_copies_total"), len(region.kept())) for region in regions]
    seen = []

    def same():
        seen.append(counts())
        return len(seen) > 3 and seen[-1] == seen[-2] == seen[-3]

    until("nothing is copied any more", same, seconds=60)


def test_single_is_in_its_region_only(regions):
    """Written through another region and read in all of them: no other region is ever given a byte of it."""
    fra, ams, iad = regions
    clients = create(regions, "single:fra")
    bodies = written(clients[2])
    assert kept(regions) == (6, 0, 0)
    read_everywhere(clients, bodies)
    settled(regions)
    assert kept(regions) == (6, 0, 0)
    assert ams.proxy.count("PUT") == iad.proxy.count("PUT") == 0
    for key in bodies:
        clients[1].delete_object(Bucket="bucket", Key=key)
    until("nothing is left", lambda: kept(regions) == (0, 0, 0), seconds=60)


def test_dual_is_in_both_and_nowhere_else(regions):
    """At home where it was written if that is one of them, else in the first; read elsewhere without a copy."""
    fra, ams, iad = regions
    clients = create(regions, "dual:fra,iad")
    clients[2].put_object(Bucket="bucket", Key="there", Body=content(MIB, 1))
    assert len(iad.kept()) == 1
    clients[1].put_object(Bucket="bucket", Key="elsewhere", Body=content(MIB, 2))
    assert fra.kept()
    read_everywhere(clients, {"there": content(MIB, 1), "elsewhere": content(MIB, 2)})
    until("both have both", lambda: kept(regions) == (2, 0, 2), seconds=60)
    settled(regions)
    assert kept(regions) == (2, 0, 2) and ams.proxy.count("PUT") == 0


def test_multi_is_within_its_geography(regions):
    """Geographies are those that are known and those that settings name."""
    fra, ams, iad = regions
    clients = create(regions, "multi:eur")
    for n, client in enumerate(clients):
        client.put_object(Bucket="bucket", Key=f"k{n}", Body=content(MIB, n))
    read_everywhere(clients, {f"k{n}": content(MIB, n) for n in range(3)})
    until("both of eur have all", lambda: kept(regions) == (3, 3, 0), seconds=60)
    settled(regions)
    assert kept(regions) == (3, 3, 0) and iad.proxy.count("PUT") == 0
    create(regions, "multi:atlantic", "ocean")
    clients[0].put_object(Bucket="ocean", Key="k", Body=content(MIB, 9))
    assert len(iad.kept()) == 1, "the first of the geography, for fra is not in it"


def test_an_object_is_narrowed(regions):
    """PUT, upload and copy with X-Tigris-Regions: kept, told, and held to, also by those who read."""
    fra, ams, iad = regions
    clients = create(regions, "global")
    writer = narrowing(fra.client(), "iad")
    bodies = written(writer)
    assert kept(regions) == (0, 0, 6)
    read_everywhere(clients, bodies)
    settled(regions)
    assert kept(regions) == (0, 0, 6)
    for client in clients:
        for key in bodies:
            assert headers(client.head_object(Bucket="bucket", Key=key))["x-tigris-regions"] == "iad"
            assert headers(client.get_object(Bucket="bucket", Key=key))["x-tigris-regions"] == "iad"
    # An overwrite without it is where the bucket says.
    clients[1].put_object(Bucket="bucket", Key="one", Body=content(MIB, 5))
    assert len(ams.kept()) == 1 and "x-tigris-regions" not in headers(clients[0].head_object(Bucket="bucket", Key="one"))
    for places in ("moon", "fra,moon", "fra,fra"):
        error = refused(narrowing(fra.client(), places).put_object, Bucket="bucket", Key="bad", Body=b"x")
        assert (error.status, error.code) == (400, "InvalidArgument"), places
    assert refused(clients[0].head_object, Bucket="bucket", Key="bad").status == 404
    create(regions, "dual:fra,iad", "two")
    assert refused(narrowing(fra.client(), "ams").put_object, Bucket="two", Key="k", Body=b"x").code == "InvalidArgument"


def test_locations_that_are_not_there_are_refused(regions):
    """By the command line, by S3 and by Tigris's clients; nothing is created or changed."""
    fra, ams, iad = regions
    for location, told in (("single:moon", "moon"), ("dual:fra,moon", "moon"), ("multi:asia", "asia"), ("multi:usa", "iad"), ("somewhere", "no such location")):
        done = fra.node.run("storage", "create", "-n", "refused", "-o", "tests", "--location", location, "-y")
        assert done.status != 0 and told in done.err, done.err
    assert refused(fra.client().head_bucket, Bucket="refused").status == 404
    clients = create(regions, "single:iad")
    done = fra.node.run("storage", "update", "bucket", "--location", "single:moon")
    assert done.status != 0 and "fra" in done.err and "moon" in done.err, done.err
    creator = fra.client()
    creator.meta.events.register("before-sign.s3.CreateBucket", lambda request, **_: request.headers.add_header("X-Tigris-Regions", "moon"))
    assert refused(creator.create_bucket, Bucket="refused").code == "InvalidArgument"
    clients[0].put_object(Bucket="bucket", Key="k", Body=content(MIB, 1))
    assert kept(regions) == (0, 0, 1)
    fra.node.run("storage", "update", "bucket", "--location", "single:ams", check=True)
    clients[0].put_object(Bucket="bucket", Key="k2", Body=content(MIB, 2))
    assert len(ams.kept()) >= 1
    assert read(clients[0], "bucket", "k") == content(MIB, 1)


def test_a_location_constraint(regions):
    """Of S3's own clients: the bucket is in that region, which all regions tell and take signatures for; what names none says nothing."""
    fra, ams, iad = regions
    clients = [region.client() for region in regions]
    clients[0].create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "iad"})
    for region, client in zip(regions, clients):
        assert client.get_bucket_location(Bucket="bucket")["LocationConstraint"] == "iad"
        assert client.head_bucket(Bucket="bucket")["BucketRegion"] == "iad"
        there = s3(region.node.endpoint, fra.node.access_key, fra.node.secret_key, region="iad")
        there.put_object(Bucket="bucket", Key=region.name, Body=content(MIB, 1))
    read_everywhere(clients, {region.name: content(MIB, 1) for region in regions})
    settled(regions)
    assert kept(regions) == (0, 0, 3)
    clients[0].create_bucket(Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert [client.get_bucket_location(Bucket="elsewhere")["LocationConstraint"] for client in clients] == ["fra", "ams", "iad"]
    clients[1].put_object(Bucket="elsewhere", Key="k", Body=content(MIB, 2))
    assert kept(regions) == (0, 1, 3)


def test_a_home_that_is_down(regions):
    """The next region of the location takes what is written; where there is none it is refused, and goes nowhere else."""
    fra, ams, iad = regions
    clients = create(regions, "multi:eur")
    create(regions, "single:fra", "single")
    client = s3(iad.node.endpoint, iad.node.access_key, iad.node.secret_key)
    fra.proxy.stop()
    bodies = {"one": content(MIB, 1), "large": content(12 * MIB, 2)}
    for key, body in bodies.items():
        clients[0].put_object(Bucket="bucket", Key=key, Body=body)
        client.put_object(Bucket="bucket", Key=f"{key}-of-iad", Body=body)
    parts = [content(5 * MIB, 3), content(MIB, 4)]
    put_multipart(clients[0], "bucket", "parts", parts)
    assert len(ams.kept()) == 6 and not iad.kept() and not fra.kept()
    for key, body in bodies.items():
        assert read(client, "bucket", key) == body == read(client, "bucket", f"{key}-of-iad")
        assert refused(client.put_object, Bucket="single", Key=key, Body=body).status == 503
        assert refused(client.head_object, Bucket="single", Key=key).status == 404
    assert len(ams.kept()) == 6 and not iad.kept()
    fra.proxy.start()
    until("fra takes contents again", lambda: takes(clients[0], fra), seconds=60)
    for key, body in bodies.items():
        client.put_object(Bucket="single", Key=key, Body=body)
        assert read(clients[1], "single", key) == body
    assert not iad.kept()


def takes(client, region):
    """Whether what is written through a client comes to that region."""
    before = len(region.kept())
    client.put_object(Bucket="bucket", Key="again", Body=content(MIB, 7))
    return len(region.kept()) > before


@pytest.mark.parametrize("write_through", [False, True])
def test_what_is_hydrated_is_where_the_bucket_wants_it(regions, seaweed, write_through):
    fra, ams, iad = regions
    pair = Shadowed(fra.node, seaweed).create(write_through=write_through)
    try:
        pair.update("--location", "single:ams")
        cold, own = {"small": b"s" * 100, "cold": content(3 * MIB, 7), "large": content(20 * MIB, 8)}, content(2 * MIB, 9)
        for key, body in cold.items():
            pair.put_there(key, body)
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        clients = [s3(region.node.endpoint, *keys, retries=True) for region in regions]
        clients[0].put_object(Bucket=pair.name, Key="own", Body=own)
        read_everywhere(clients, {**cold, "own": own}, pair.name)
        until("all of it is here", lambda: not any(pair.is_cold(key) for key in cold), seconds=60)
        settled(regions)
        assert ams.kept() and not fra.kept() and not iad.kept()
        assert sum(pair.proxy.body_bytes(key) for key in cold) == sum(map(len, cold.values()))
    finally:
        pair.close()


@pytest.mark.parametrize("unstarted_regions", [[]], indirect=True, ids=["plain"])
def test_a_location_from_before_there_were_regions(unstarted_regions):
    """Kept without effect. When the store has regions and that is none of them, writes are refused with the reason until it is changed; reads go on."""
    regions = unstarted_regions
    fra, ams, iad = regions
    before = regions.make(fra, with_others=False, name="fra").start()
    before.run("storage", "create", "-n", "bucket", "-o", "tests", "--location", "single:moon", "-y", check=True)
    s3(before.endpoint, before.access_key, before.secret_key).put_object(Bucket="bucket", Key="old", Body=content(MIB, 1))
    before.run("storage", "create", "-n", "free", "-o", "tests", "-y", check=True)
    narrowed = narrowing(s3(before.endpoint, before.access_key, before.secret_key), "moon")
    narrowed.put_object(Bucket="free", Key="old", Body=content(MIB, 2))
    begun = narrowed.create_multipart_upload(Bucket="free", Key="new")["UploadId"]
    assert before.stop() == 0
    regions.start()
    client = iad.client()
    assert read(client, "bucket", "old") == content(MIB, 1)
    error = refused(client.put_object, Bucket="bucket", Key="new", Body=b"x")
    assert error.code == "InvalidRequest" and "single:moon" in error.message, error
    error = refused(put_multipart, client, "bucket", "new", [b"x"])
    assert error.code == "InvalidRequest" and "single:moon" in error.message, error
    # The same of an object that its writer narrowed: it is copied nowhere, and what was begun for there is not taken elsewhere.
    read_everywhere([client, ams.client()], {"old": content(MIB, 2)}, "free")
    error = refused(client.upload_part, Bucket="free", Key="new", UploadId=begun, PartNumber=1, Body=b"x")
    assert error.code == "InvalidRequest" and "moon" in error.message, error
    settled(regions)
    assert kept(regions) == (2, 0, 0)
    # Other settings can be changed meanwhile, and this one to what there is.
    ams.node.run("storage", "update", "bucket", "--public", check=True)
    ams.node.run("storage", "update", "bucket", "--location", "single:ams", check=True)
    client.put_object(Bucket="bucket", Key="new", Body=b"x")
    until("what was there before has moved, too", lambda: kept(regions) == (1, 2, 0), seconds=60)
    assert read(client, "bucket", "old") == content(MIB, 1)
