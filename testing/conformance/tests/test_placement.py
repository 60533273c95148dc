"""Three regions on one database: the copies that locations ask for are made, kept, repaired, moved and dropped, whoever dies meanwhile."""

import pytest

from harness import postgres as pg
from harness.clients import put_multipart, read
from harness.data import MIB, content
from harness.engine import BUCKET
from harness.faults import Fault
from harness.threads import Background
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")

REGIONS = ("fra", "ams", "iad")


def create(regions, name, location):
    """A bucket with a location, and clients of all regions."""
    fra = next(iter(regions))
    fra.client().create_bucket(Bucket=name)
    if location != "global":
        fra.node.run("storage", "update", name, "--location", location, check=True)
    return [region.client() for region in regions]


def kept(regions):
    """How many contents each region has."""
    return [len(region.kept()) for region in regions]


def become(regions, expected, seconds=90):
    seen = []

    def is_so():
        seen[:] = [kept(regions)]
        return seen[0] == expected

    try:
        until(f"the regions have {expected} contents", is_so, seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: they have {seen}") from error


def test_copies_are_made_before_anybody_reads(regions):
    """Of objects, of uploads by parts, and of each version; each costs its home one read, and is read when that is away."""
    fra, ams, iad = regions
    here, there, _ = create(regions, "bucket", "dual:fra,ams")
    bodies = {"small": content(9_000, 1), "one": content(2 * MIB, 2), "large": content(20 * MIB, 3)}
    regions.forget()
    for key, body in bodies.items():
        here.put_object(Bucket="bucket", Key=key, Body=body)
    parts = [content(5 * MIB, 4), content(MIB, 5)]
    put_multipart(here, "bucket", "parts", parts)
    bodies["parts"] = b"".join(parts)
    become(regions, [5, 5, 0])
    assert fra.gets() == 5
    fra.proxy.stop()
    for key, body in bodies.items():
        assert read(there, "bucket", key) == body
    fra.proxy.start()
    # What is replaced goes everywhere.
    there.put_object(Bucket="bucket", Key="one", Body=bodies["small"])
    become(regions, [5, 5, 0])
    for key in bodies:
        there.delete_object(Bucket="bucket", Key=key)
    become(regions, [0, 0, 0])


def test_a_region_that_is_away_gets_its_copies_later(regions):
    """Writes do not wait for it; what is deleted meanwhile never gets there."""
    fra, ams, iad = regions
    here, _, _ = create(regions, "bucket", "dual:fra,ams")
    ams.proxy.stop()
    for n in range(6):
        here.put_object(Bucket="bucket", Key=f"k{n}", Body=content(50_000, n))
    here.delete_object(Bucket="bucket", Key="k0")
    until("it is known that copies are due", lambda: ams.metric('umbra_placement_due_buckets{region="ams"}') == 1)
    ams.proxy.start()
    become(regions, [5, 5, 0])
    until("nothing is due any more", lambda: ams.metric('umbra_placement_due_buckets{region="ams"}') == 0, seconds=60)


@pytest.mark.timeout(300)
def test_a_home_that_swallows_requests(regions):
    """It takes reads and never answers: copies of what is at home elsewhere are made meanwhile, and its own once it answers."""
    fra, ams, iad = regions
    here, _, there = create(regions, "bucket", "dual:fra,ams")
    create(regions, "other", "dual:iad,ams")
    fra.proxy.rule(Fault(hold_request=True), method="GET")
    for n in range(24):
        here.put_object(Bucket="bucket", Key=f"k{n}", Body=content(20_000, n))
    until("it is known that copies are due", lambda: ams.metric('umbra_placement_due_buckets{region="ams"}') == 1)
    for n in range(6):
        there.put_object(Bucket="other", Key=f"k{n}", Body=content(20_000, n))
    become(regions, [24, 6, 6], seconds=60)
    fra.proxy.clear_rules()
    become(regions, [24, 30, 6], seconds=180)


@pytest.mark.timeout(240)
def test_a_node_that_is_killed_with_copies_due(regions):
    """The node that leads makes the copies of a region without nodes, once it is known to have none."""
    fra, ams, iad = regions
    here, _, _ = create(regions, "bucket", "dual:fra,ams")
    ams.proxy.stop()
    for n in range(5):
        here.put_object(Bucket="bucket", Key=f"k{n}", Body=content(200_000, n))
    until("it has tried", lambda: ams.metric('umbra_placement_due_buckets{region="ams"}') == 1)
    ams.node.kill()
    ams.proxy.start()
    become(regions, [5, 5, 0], seconds=150)


@pytest.mark.timeout(240)
def test_the_writer_is_killed_at_once(regions):
    """What was acknowledged has its copies made, whether or not the writer could tell anybody."""
    fra, ams, iad = regions
    clients = create(regions, "bucket", "dual:iad,ams")
    for n in range(20):
        clients[2].put_object(Bucket="bucket", Key=f"k{n}", Body=content(20_000, n))
    iad.node.kill()
    # The engine of its region goes on. Should no pointer be left, whoever leads looks at its start.
    fra.node.restart()
    become(regions, [0, 20, 20], seconds=150)


def placed(region, name, *flags):
    """What `umbra storage place` tells of a bucket."""
    return region.node.run("storage", "place", name, *flags, "--json", check=True, timeout=180).json()


def uses(placement):
    """Bytes at home and as copies, by region."""
    return {region["region"]: (region["home_bytes"], region["copy_bytes"]) for region in placement["regions"]}


def four_in_two(regions):
    """A bucket with four objects in fra, where they are at home, and in ams: its clients in both, and what was written."""
    here, there, _ = create(regions, "bucket", "dual:fra,ams")
    bodies = {f"k{n}": content(100_000 + n, n) for n in range(4)}
    for key, body in bodies.items():
        here.put_object(Bucket="bucket", Key=key, Body=body)
    become(regions, [4, 4, 0])
    return here, there, bodies


def test_copies_that_are_lost_are_made_again(regions):
    """Contents that somebody deletes at the engine are found missing, and brought from where they are."""
    fra, ams, iad = regions
    here, there, bodies = four_in_two(regions)
    for key in ams.kept()[:3]:
        ams.engine.client().delete_object(Bucket=BUCKET, Key=key)
    assert kept(regions) == [4, 1, 0]
    assert placed(fra, "bucket", "--wait")["settled"]
    become(regions, [4, 4, 0])
    fra.proxy.stop()
    for key, body in bodies.items():
        assert read(there, "bucket", key) == body
    fra.proxy.start()
    size = sum(map(len, bodies.values()))
    assert uses(placed(iad, "bucket", "--wait")) == {"fra": (size, 0), "ams": (0, size)}
    shown = iad.node.run("storage", "status", "bucket", check=True).out
    assert "Placement" in shown and "everything is where it has to be" in shown and "at home" in shown


@pytest.mark.timeout(240)
def test_homes_that_are_lost_are_made_again(regions):
    """Contents that somebody deletes at their home are brought back from a copy; what is nowhere is told, and left."""
    fra, ams, iad = regions
    here, there, bodies = four_in_two(regions)
    for key in fra.kept()[:3]:
        fra.engine.client().delete_object(Bucket=BUCKET, Key=key)
    assert kept(regions) == [1, 4, 0]
    found = placed(iad, "bucket", "--wait")
    assert found["settled"] and found["audit"]["gone"] == 0
    become(regions, [4, 4, 0])
    ams.proxy.stop()
    for key, body in bodies.items():
        assert read(here, "bucket", key) == body
    ams.proxy.start()
    # One object is lost in both; the one beside it is not.
    create(regions, "lonely", "single:iad")
    for key in ("lost", "there"):
        here.put_object(Bucket="lonely", Key=key, Body=content(70_000, 1))
        if key == "lost":
            iad.engine.client().delete_object(Bucket=BUCKET, Key=iad.kept()[0])
    told = ams.node.run("storage", "place", "lonely", "--wait", timeout=180)
    assert told.status == 1 and "1 content is lost" in told.out and "log" in told.err, told
    assert fra.metric("umbra_placement_gone_contents_total") == 1
    lines = [line for line in fra.node.log_path.read_text().splitlines() if "has lost its bytes" in line and "ERROR" in line]
    assert len(lines) == 1 and "lonely" in lines[0] and "lost" in lines[0]
    assert read(here, "lonely", "there") == content(70_000, 1)
    assert {entry["Key"] for entry in here.list_objects_v2(Bucket="lonely")["Contents"]} == {"lost", "there"}


@pytest.mark.timeout(240)
def test_who_waits_is_told_what_is_there_then(regions):
    """Not what was there when copies were asked for; and meanwhile what is in the way."""
    fra, ams, iad = regions
    here, _, _ = create(regions, "bucket", "global")
    for n in range(70):
        here.put_object(Bucket="bucket", Key=f"k{n}", Body=content(5_000, n))
    fra.node.run("storage", "update", "bucket", "--location", "dual:ams,iad", check=True)
    assert uses(placed(fra, "bucket", "--wait")) == {"ams": (350_000, 0), "iad": (0, 350_000)}
    become(regions, [0, 70, 70])
    iad.proxy.stop()
    here.put_object(Bucket="bucket", Key="more", Body=content(5_000, 1))
    waiting = Background(fra.node.run, "storage", "place", "bucket", "--wait", timeout=180)

    def is_in_the_way():
        placement = fra.node.status("bucket")["placement"]
        return any(region["failing"] for region in placement["regions"]) and placement["audit"]["failed"]

    until("a copy and the audit have failed", is_in_the_way, seconds=60)
    assert waiting.running
    iad.proxy.start()
    told = waiting.result(120)
    assert told.status == 0 and "everything is where it has to be" in told.out, told
    assert "failed: the blob store cannot" in told.err and "looked at again (iad: " in told.err, told
    assert kept(regions) == [0, 71, 71]


@pytest.mark.timeout(300)
def test_bytes_follow_the_location(regions):
    """From everywhere to two regions to one: readable all the while, and in the end exactly where they may be."""
    fra, ams, iad = regions
    clients = create(regions, "bucket", "global")
    bodies = {}
    for n, client in enumerate(clients):
        for m in range(2):
            bodies[f"k{n}{m}"] = content(30_000 + 1000 * n + m, 10 * n + m)
            client.put_object(Bucket="bucket", Key=f"k{n}{m}", Body=bodies[f"k{n}{m}"])
    assert read(clients[1], "bucket", "k00") == bodies["k00"]
    until("a copy of a reader's is there", lambda: kept(regions) == [2, 3, 2])
    # In the database, as long as it may be everywhere.
    bodies["small"] = content(300, 7)
    clients[2].put_object(Bucket="bucket", Key="small", Body=bodies["small"])
    assert kept(regions) == [2, 3, 2]
    for location, expected in (("dual:fra,iad", [7, 0, 7]), ("single:ams", [0, 7, 0]), ("multi:eur", [7, 7, 0]), ("single:iad", [0, 0, 7])):
        fra.node.run("storage", "update", "bucket", "--location", location, check=True)
        for client in clients:
            for key, body in bodies.items():
                assert read(client, "bucket", key) == body
        assert placed(ams, "bucket", "--wait")["location"] == location
        become(regions, expected)
        for client in clients:
            for key, body in bodies.items():
                assert read(client, "bucket", key) == body
        assert kept(regions) == expected
    for key in bodies:
        clients[0].delete_object(Bucket="bucket", Key=key)
    become(regions, [0, 0, 0])


def test_the_status_says_what_is_due_and_why(regions):
    fra, ams, iad = regions
    here, _, _ = create(regions, "bucket", "dual:fra,ams")
    ams.proxy.stop()
    for n in range(3):
        here.put_object(Bucket="bucket", Key=f"k{n}", Body=content(50_000, n))

    def of_ams():
        status = iad.node.run("storage", "status", "bucket", "--json", check=True).json()
        return next((region for region in status["placement"]["regions"] if region["region"] == "ams"), None)

    told = until("failures are told", lambda: (of_ams() or {}).get("failing") and of_ams(), seconds=60)
    assert told["due"] == 3 and told["failure"] and told["due_since"]
    ams.proxy.start()
    until("nothing is due", lambda: not (of_ams() or {}).get("due"), seconds=90)
    assert kept(regions) == [3, 3, 0]
