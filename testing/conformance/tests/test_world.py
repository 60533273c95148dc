"""Three regions 80 ms from one another, in network namespaces: what crosses, what a region that is cut off still does, and what heals.

Bytes are counted on the links. What there is of metadata, heartbeats and retries is allowed for by `TALK`, which is far less than any content moved here.
"""

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness import namespaces
from harness import postgres as pg
from harness.clients import keys_of, put_multipart, read, refused, walk_v2
from harness.data import KIB, MIB, content
from harness.shadowed import name
from harness.threads import at_once
from harness.wait import until
from harness.world import World

pytestmark = [
    pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql"),
    pytest.mark.skipif(namespaces.why_not() != "", reason=namespaces.why_not()),
    pytest.mark.timeout(300),
]

TALK = 512 * KIB


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        yield world.start()
    finally:
        world.remove()


@pytest.fixture
def world(made):
    """All three regions, whole; healed again afterwards."""
    yield made
    made.revive()


@pytest.fixture
def bucket(world):
    made = name("world")
    next(iter(world)).client().create_bucket(Bucket=made)
    return made


def test_bytes_of_a_region_stay_there(world, bucket):
    """What is written and read in one region crosses to no other, whatever the size, in parts and as a copy."""
    fra, iad, syd = world
    client = iad.client()
    bodies = {"small": content(100 * KIB, 1), "large": content(9 * MIB, 2)}
    parts = [content(5 * MIB, 3), content(MIB, 4)]
    before, engines = [site.crossed() for site in world], [len(site.kept()) for site in (fra, syd)]
    for key, body in bodies.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    put_multipart(client, bucket, "parts", parts)
    client.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "large"})
    bodies |= {"parts": b"".join(parts), "copied": bodies["large"]}
    for key, body in bodies.items():
        assert read(client, bucket, key) == body
        assert read(client, bucket, key, Range="bytes=70000-80000") == body[70_000:80_001]
    assert all(site.crossed() - was < TALK for site, was in zip(world, before))
    assert [len(site.kept()) for site in (fra, syd)] == engines and iad.kept()


def test_a_far_object_crosses_once(world, bucket):
    """The first read elsewhere brings the bytes across, and all later ones are local."""
    fra, _, syd = world
    bodies = {f"k{n}": content(4 * MIB + n, n) for n in range(3)}
    for key, body in bodies.items():
        fra.client().put_object(Bucket=bucket, Key=key, Body=body)
    total, copies, before = sum(map(len, bodies.values())), syd.metric("umbra_placement_copies_total"), syd.crossed()
    for key, body in bodies.items():
        assert read(syd.client(), bucket, key) == body
    until("the copies are there", lambda: syd.metric("umbra_placement_copies_total") == copies + len(bodies))
    assert total < syd.crossed() - before < total * 1.1 + TALK
    before = syd.crossed()
    for key, body in bodies.items():
        assert read(syd.client(), bucket, key) == body
        assert read(syd.client(), bucket, key, Range="bytes=1000000-") == body[1_000_000:]
    assert syd.crossed() - before < TALK


@pytest.mark.slow
def test_two_regions_lose_sight_of_each_other(world, bucket):
    """Each serves what it has and what it reaches; what is in the other one alone is 503 and not absent; what is absent is, because the database says so."""
    _, iad, syd = world
    seen, unseen = content(2 * MIB, 1), content(2 * MIB, 2)
    far, here = iad.client(), syd.client()
    far.put_object(Bucket=bucket, Key="seen", Body=seen)
    far.put_object(Bucket=bucket, Key="unseen", Body=unseen)
    copies = syd.metric("umbra_placement_copies_total")
    assert read(here, bucket, "seen") == seen
    until("the copy is there", lambda: syd.metric("umbra_placement_copies_total") == copies + 1)
    world.part(iad, syd)
    for _ in range(2):
        assert read(here, bucket, "seen") == seen
        assert here.head_object(Bucket=bucket, Key="unseen")["ContentLength"] == len(unseen)
        assert refused(here.head_object, Bucket=bucket, Key="nothing").status == 404
    assert refused(read, here, bucket, "unseen").status == 503
    here.put_object(Bucket=bucket, Key="meanwhile", Body=unseen)
    far.put_object(Bucket=bucket, Key="seen", Body=unseen)
    assert read(here, bucket, "meanwhile") == unseen
    assert keys_of(walk_v2(here, bucket)) == ["meanwhile", "seen", "unseen"] == keys_of(walk_v2(far, bucket))
    # The copy is of what was replaced, and is not served for what replaced it.
    assert refused(read, here, bucket, "seen").status == 503
    world.heal()
    for client in (here, far):
        until("all is read again", lambda: all(_reads(client, bucket, key) == unseen for key in ("seen", "unseen", "meanwhile")), 60)


def _reads(client, bucket, key):
    """The content, or nothing while that cannot be known."""
    try:
        return read(client, bucket, key)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
    except BotoCoreError:
        pass
    return None


def _unknown(call, *args, **kwargs):
    """Whether an answer says that nobody can tell; none at all says so, too."""
    try:
        call(*args, **kwargs)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    except BotoCoreError:
        return True
    return False


def test_what_is_here_is_read_without_a_word_to_others(world, bucket):
    """With a standby of the database in the region, reads and listings there ask nobody elsewhere."""
    _, _, syd = world
    body, here = content(50_000, 1), syd.client()
    for n in range(20):
        here.put_object(Bucket=bucket, Key=f"k{n:02d}", Body=body)
    before = _reads_of_the_database(syd)
    for n in range(20):
        assert read(here, bucket, f"k{n:02d}") == body
        assert here.head_object(Bucket=bucket, Key=f"k{n:02d}")["ContentLength"] == len(body)
        assert len(keys_of(walk_v2(here, bucket))) == 20
    asked = {source: count - before[source] for source, count in _reads_of_the_database(syd).items()}
    assert asked["replica"] >= 60 and asked["primary"] < 10, asked


def _reads_of_the_database(site):
    """How many reads of metadata which database answered."""
    return {source: site.metric(f'umbra_metadata_replica_reads_total{{source="{source}"}}') for source in ("replica", "primary")}


@pytest.mark.slow
def test_regions_without_the_database(world, bucket):
    """Two that are cut off from everything: the one with a standby serves what that says is there. Beyond that both say 503, never 404, and acknowledge
    nothing; the third goes on. When they are back they know what it did."""
    fra, iad, syd = world
    old, new, there = content(MIB, 1), content(MIB, 2), fra.client()
    for key in ("changed", "deleted", "kept"):
        syd.client().put_object(Bucket=bucket, Key=key, Body=old)
    assert read(syd.client(), bucket, "kept") == old
    for site in (iad, syd):
        world.isolate(site)
    there.put_object(Bucket=bucket, Key="changed", Body=new)
    there.put_object(Bucket=bucket, Key="made", Body=new)
    there.delete_object(Bucket=bucket, Key="deleted")
    calls = [
        lambda c: c.put_object(Bucket=bucket, Key="lost", Body=old), lambda c: c.delete_object(Bucket=bucket, Key="kept"),
        lambda c: c.head_object(Bucket=bucket, Key="nothing"), lambda c: c.list_objects_v2(Bucket=bucket), lambda c: c.head_object(Bucket=bucket, Key="made"),
    ]
    told = at_once(2 * len(calls), lambda n: _unknown(calls[n // 2], (iad, syd)[n % 2].client(read_timeout=40)))
    assert all(told), told
    assert _unknown(read, iad.client(read_timeout=40), bucket, "kept")
    for _ in range(3):
        assert read(syd.client(), bucket, "kept") == old
    assert _reads(syd.client(), bucket, "changed") in (None, old)
    assert there.head_object(Bucket=bucket, Key="kept")["ContentLength"] == len(old)
    world.heal()
    for site in (iad, syd):
        here = site.client()
        until("it knows again", lambda: _is_served(site, here, bucket, "changed", new), 90)
        assert read(here, bucket, "made") == new and read(here, bucket, "kept") == old
        until("it is gone here, too", lambda: _is_gone(here, bucket, "deleted"), 20)
        # What was not acknowledged may be there, and is then the same everywhere.
        until("all list the same", lambda: keys_of(walk_v2(here, bucket)) == keys_of(walk_v2(there, bucket)), 20)


def _is_served(site, client, bucket, key, body):
    """Whether it reads so. A node that was silent for long was shut out, ends once it learns that, and is started again."""
    if not site.node.process.running():
        site.start()
    return _reads(client, bucket, key) == body


def _is_gone(client, bucket, key):
    try:
        client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    return False


@pytest.mark.slow
def test_the_leader_is_cut_off(world):
    """Another follows it, in a region that has the database; a cold object leaves the origin once all the same; nothing acknowledged is lost."""
    fra, iad, syd = world
    # The region of the database is not to be the one that leads.
    fra.node.kill()
    until("another leads", lambda: world.leader() is not fra, 90)
    former = world.leader()
    fra.start()
    other = next(site for site in (iad, syd) if site is not former)
    body = content(3 * MIB, 1)
    for n in range(4):
        world.there().put_object(Bucket="origin", Key=f"cold{n}", Body=body)
    keys = world.shadow(former, "--shadow-write-through")
    cold = {site.name: site.client(keys, retries=True) for site in world}
    assert read(cold[other.name], "shadowed", "cold0") == body
    cold[former.name].put_object(Bucket="shadowed", Key="written", Body=body)
    world.isolate(former)
    until("it ends by itself", lambda: not former.node.process.running(), 60)
    until("another leads", lambda: world.leader() is not former, 90)
    # Where its bytes are is for the region to say that has them.
    assert _reads(other.client(keys), "shadowed", "cold0") in (None, body)
    for key in ("cold1", "cold2"):
        assert at_once(4, lambda n, key=key: read(cold[(fra, other)[n % 2].name], "shadowed", key)) == [body] * 4
    cold[fra.name].put_object(Bucket="shadowed", Key="written", Body=body + b"!")
    world.heal()
    former.start()
    late = former.client(keys, retries=True)
    assert read(late, "shadowed", "cold3") == body == read(late, "shadowed", "cold1")
    assert all(read(site.client(keys, retries=True), "shadowed", "written") == body + b"!" for site in world)
    assert {key: world.proxy.body_bytes(key) for key in ("cold0", "cold1", "cold2", "cold3")} == {f"cold{n}": len(body) for n in range(4)}
