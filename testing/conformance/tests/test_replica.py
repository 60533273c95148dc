"""Nodes that read a streaming replica of their metadata: nobody can tell, but by how fast it is."""

import itertools
import random
import threading
from types import SimpleNamespace

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness import postgres as pg
from harness.clients import keys_of, read, refused, s3
from harness.nodes import Nodes
from harness.shadowed import Shadowed
from harness.threads import Background
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")

READS, WAITS, TRUSTED = "umbra_metadata_replica_reads_total", "umbra_metadata_replica_waits_total", "umbra_metadata_replica_trusted"


def metric(node, name, **labels):
    sample = name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else "")
    return next(float(line.split()[-1]) for line in node.metrics().splitlines() if line.startswith(sample + " "))


def trusts(node):
    return metric(node, TRUSTED) == 1


def client(node, **options):
    return s3(node.endpoint, node.access_key, node.secret_key, **options)


@pytest.fixture
def primary(tmp_path):
    made = pg.Postgres(pg.open_to_others(tmp_path) / "primary", options="-c log_statement=all -c fsync=off").start()
    yield made
    made.remove()


@pytest.fixture
def standby(primary, tmp_path):
    made = pg.Standby(tmp_path / "standby", primary).start()
    yield made
    made.remove()


@pytest.fixture
def region(primary, standby, engine, tmp_path):
    """Two nodes of one region that read one replica, and a bucket."""
    nodes = Nodes(tmp_path, primary.url(), engine, count=2, flags=["--metadata-replica", standby.url()]).start()
    leader, other = nodes.leader(), *nodes.others()
    client(other).create_bucket(Bucket="bucket")
    for node in nodes:
        until("a node trusts the replica", lambda node=node: trusts(node), seconds=40)
    yield SimpleNamespace(nodes=nodes, leader=leader, other=other, a=client(leader), b=client(other))
    nodes.remove()


def replicas(region):
    """What each node tells of its replica, by `umbra node list`."""
    return [n["replica"] for n in region.nodes.members(region.other)]


def partition(primary):
    return primary.sql("SELECT DISTINCT p FROM umbra_kv WHERE p <> 0")


def statements_about(log, partition):
    """The statements in a log of PostgreSQL's that were given this partition."""
    return [line for line in log.splitlines() if f"parameters: $1 = '{partition}'" in line]


def test_a_read_costs_the_primary_nothing(primary, region):
    """GET, HEAD, tags, listings and the look-ups of bucket and key before them, at a node that does not lead."""
    b = region.b
    for n in range(20):
        region.a.put_object(Bucket="bucket", Key=f"dir/{n:02d}", Body=b"%d" % n, Tagging=f"n={n}")
    number, name, key = partition(primary), b"bucket".hex(), region.other.access_key.encode().hex()
    seen = len(primary.log())
    reads = metric(region.other, READS, source="replica")
    for n in range(20):
        assert read(b, "bucket", f"dir/{n:02d}") == b"%d" % n
        assert b.head_object(Bucket="bucket", Key=f"dir/{n:02d}")["ContentLength"] == len(str(n))
        assert b.get_object_tagging(Bucket="bucket", Key=f"dir/{n:02d}")["TagSet"] == [{"Key": "n", "Value": str(n)}]
        assert refused(b.get_object, Bucket="bucket", Key=f"absent{n}").code == "NoSuchKey"
    assert len(keys_of([b.list_objects_v2(Bucket="bucket")])) == 20
    assert [p["Prefix"] for p in b.list_objects_v2(Bucket="bucket", Delimiter="/")["CommonPrefixes"]] == ["dir/"]
    assert len(b.list_object_versions(Bucket="bucket")["Versions"]) == 20
    log = primary.log()[seen:]
    assert "execute" in log, "the log tells of statements"
    assert not statements_about(log, number) and name not in log and key not in log
    assert metric(region.other, READS, source="replica") >= reads + 80 + 3
    # Who asks for the newest asks the primary.
    b.meta.events.register("before-call.s3", lambda params, **_: params["headers"].update({"X-Tigris-Consistent": "true"}))
    seen = len(primary.log())
    assert read(b, "bucket", "dir/07") == b"7"
    b.head_object(Bucket="bucket", Key="dir/07")
    assert len(keys_of([b.list_objects_v2(Bucket="bucket")])) == 20
    assert len(statements_about(primary.log()[seen:], number)) >= 3


def test_node_list_and_metrics_tell_of_the_replica(standby, region):
    until("both nodes tell that they trust it", lambda: all(r and r["trusted"] for r in replicas(region)))
    told = region.other.run("node", "list", check=True).out
    assert told.count("  its standby  ") == 2, told
    standby.pause()
    region.a.put_object(Bucket="bucket", Key="k", Body=b"1")
    until("it is not trusted", lambda: not trusts(region.other))
    until("both nodes tell", lambda: all(not r["trusted"] and r["behind_ms"] > 0 for r in replicas(region)))
    assert metric(region.other, "umbra_metadata_replica_behind_bytes") > 0
    standby.unpause()
    until("both trust it again", lambda: all(r["trusted"] for r in replicas(region)), seconds=40)


class Load:
    """Writers with keys of their own, who look through the other node whether what they were told is so."""

    def __init__(self, region, threads=4):
        self.region, self.stop = region, threading.Event()
        self.done = []
        self.writers = [Background(self.write, n) for n in range(threads)]

    def write(self, number):
        rng = random.Random(number)
        rounds = 0
        while not self.stop.is_set():
            here, there = rng.sample([self.region.a, self.region.b], 2)
            key = f"w{number}/{rng.randrange(3)}"
            body = b"%d-%d" % (number, rounds)
            here.put_object(Bucket="bucket", Key=key, Body=body)
            assert read(there, "bucket", key) == body, key
            listed = there.list_objects_v2(Bucket="bucket", Prefix=key)["Contents"]
            assert [(o["Key"], o["Size"]) for o in listed] == [(key, len(body))]
            if rng.random() < 0.3:
                there.delete_object(Bucket="bucket", Key=key)
                assert refused(here.get_object, Bucket="bucket", Key=key).code == "NoSuchKey"
                assert "Contents" not in here.list_objects_v2(Bucket="bucket", Prefix=key)
            rounds += 1
            self.done.append(key)
        return rounds

    def finish(self):
        self.stop.set()
        return sum(w.result() for w in self.writers)

    def go_on(self, rounds):
        """Waits until so many more rounds are done, or one of the writers failed."""
        target = len(self.done) + rounds
        until("the writers go on", lambda: len(self.done) >= target or any(not w.running for w in self.writers), seconds=90)


def test_a_region_reads_its_own_writes_whatever_the_replica_does(standby, region):
    """Through two nodes, while replay pauses, and the replica stands still, dies and comes back."""
    load = Load(region)
    load.go_on(50)
    for _ in range(4):
        standby.pause()
        load.go_on(8)
        standby.unpause()
        load.go_on(20)
    standby.freeze()
    load.go_on(8)
    standby.thaw()
    load.go_on(20)
    standby.stop()
    load.go_on(20)
    standby.resume()
    for node in region.nodes:
        until("a node trusts the replica again", lambda node=node: trusts(node), seconds=40)
    load.go_on(30)
    assert load.finish() > 150
    for node in region.nodes:
        assert metric(node, READS, source="replica") > 50 and metric(node, READS, source="primary") > 5
    assert sum(metric(node, WAITS, end="replayed") for node in region.nodes) > 50
    assert sum(metric(node, WAITS, end="time") for node in region.nodes) > 0


def test_nodes_of_a_region_that_disagree_are_slow_and_say_so(primary, standby, engine, tmp_path):
    """One of them has no replica: what it writes waits until the other cannot trust its own any more without having it."""
    nodes = Nodes(tmp_path, primary.url(), engine, count=2)
    without, reading = nodes
    reading.flags += ["--metadata-replica", standby.url()]
    try:
        nodes.start()
        client(without).create_bucket(Bucket="bucket")
        until("the one trusts its replica", lambda: trusts(reading), seconds=40)
        load = Load(SimpleNamespace(a=client(without), b=client(reading)))
        load.go_on(10)
        standby.pause()
        load.go_on(5)
        standby.unpause()
        until("the other complains", lambda: "do not all read the same metadata replica" in without.process.log_tail(200), seconds=60)
        load.finish()
        assert metric(without, WAITS, end="time") > 5 and metric(without, WAITS, end="replayed") == 0
        assert metric(reading, READS, source="replica") > 5
    finally:
        nodes.remove()


def test_what_is_copied_by_a_node_elsewhere_is_read_here(primary, standby, engine, seaweed, tmp_path):
    """The node that leads copies for a bucket that is read at this one, whose region reads a replica and its own does not."""
    nodes = Nodes(tmp_path, primary.url(), engine, count=2)
    leading, reading = nodes
    leading.flags += ["--region", "fra"]
    reading.flags += ["--region", "iad", "--metadata-replica", standby.url()]
    pair = None
    try:
        nodes.start()
        assert nodes.leader() is leading
        pair = Shadowed(leading, seaweed).create()
        pair.put_there("k", b"from the old place")
        here = client(reading)
        here.create_bucket(Bucket="plain")
        for n in range(5):
            until("it trusts its replica", lambda: trusts(reading), seconds=40)
            standby.pause()
            here.copy_object(Bucket="plain", Key=f"k{n}", CopySource={"Bucket": pair.name, "Key": "k"})
            assert read(here, "plain", f"k{n}") == b"from the old place"
            standby.unpause()
    finally:
        if pair:
            pair.close()
        nodes.remove()


def test_a_reader_never_goes_back_in_time(standby, region):
    """Across replica and primary, at one node, whoever writes; and what is listed is not older than what was read."""
    stop = threading.Event()

    def write():
        # Through the leader, while the other is read.
        for n in itertools.count():
            if stop.is_set():
                return n
            region.a.put_object(Bucket="bucket", Key="counter", Body=b"%d" % n, Metadata={"n": str(n)})
            region.a.put_object(Bucket="bucket", Key=f"list/{n:06d}", Body=b"")

    region.a.put_object(Bucket="bucket", Key="counter", Body=b"0", Metadata={"n": "0"})
    writer = Background(write)
    newest = client(region.other)
    newest.meta.events.register("before-call.s3", lambda params, **_: params["headers"].update({"X-Tigris-Consistent": "true"}))
    last, rng, ways = 0, random.Random(1), set()
    for turn in range(400):
        if turn % 100 == 30:
            standby.pause()
        if turn % 100 == 70:
            standby.unpause()
        c = newest if rng.random() < 0.2 else region.b
        now = int(read(c, "bucket", "counter"))
        assert now >= last, f"turn {turn}"
        listed = c.list_objects_v2(Bucket="bucket", Prefix="list/", StartAfter=f"list/{max(now - 5, 0):06d}").get("Contents", [])
        assert not now or listed and listed[-1]["Key"] >= f"list/{now - 1:06d}", f"turn {turn}"
        last = max(now, int(listed[-1]["Key"][5:]) if listed else 0)
        ways.add(c is newest)
    standby.unpause()
    stop.set()
    assert writer.result() > 20 and len(ways) == 2
    assert metric(region.other, READS, source="replica") > 50


def test_while_the_primary_is_away_what_is_there_is_read_and_nothing_is_guessed(primary, standby, region):
    region.a.put_object(Bucket="bucket", Key="here", Body=b"kept", Tagging="a=b")
    region.b.put_object(Bucket="bucket", Key="gone", Body=b"x")
    region.b.delete_object(Bucket="bucket", Key="gone")
    assert read(region.b, "bucket", "here") == b"kept"
    primary.stop()
    until("the node reads the replica alone", lambda: read_or_none(region.b, "here") == b"kept" and metric(region.other, READS, source="cut_off"))
    for _ in range(5):
        assert read(region.b, "bucket", "here") == b"kept"
        assert region.b.head_object(Bucket="bucket", Key="here")["ContentLength"] == 4
        assert region.b.get_object_tagging(Bucket="bucket", Key="here")["TagSet"] == [{"Key": "a", "Value": "b"}]
        assert refused(region.b.get_object, Bucket="bucket", Key="gone").status == 503
        assert refused(region.b.head_object, Bucket="bucket", Key="never").status == 503
        assert refused(region.b.list_objects_v2, Bucket="bucket").status == 503
        assert refused(region.b.head_bucket, Bucket="no-such-bucket").status == 503
    assert refused(region.b.put_object, Bucket="bucket", Key="new", Body=b"").status == 503
    stranger = s3(region.other.endpoint, "AKIANOSUCHKEY", "secret")
    assert refused(stranger.get_object, Bucket="bucket", Key="here").status == 503
    primary.resume()
    until("the node writes again", lambda: written(region.b, "new", b"1"), seconds=60)
    assert refused(region.b.get_object, Bucket="bucket", Key="gone").code == "NoSuchKey"
    assert keys_of([region.b.list_objects_v2(Bucket="bucket")]) == ["here", "new"]


def test_a_replica_that_lacks_what_was_told_says_nothing_alone(primary, standby, region):
    """The primary goes away while the replica is behind: an overwritten object is not answered as it was before."""
    region.b.put_object(Bucket="bucket", Key="k", Body=b"old")
    standby.pause()
    region.b.put_object(Bucket="bucket", Key="k", Body=b"new")
    primary.stop()
    answers = []
    until("the node has found out", lambda: answers.append(read_or_none(region.b, "k")) or len(answers) > 4)
    assert set(answers) == {None}
    standby.unpause()
    until("the replica has caught up", lambda: read_or_none(region.b, "k") == b"new")
    primary.resume()


def read_or_none(c, key):
    """What a key holds; nothing when that is not told, which has to be for want of the database."""
    try:
        return read(c, "bucket", key)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503, error
        return None


def written(c, key, body):
    try:
        c.put_object(Bucket="bucket", Key=key, Body=body)
        return True
    except (ClientError, BotoCoreError):
        return False


def test_a_replica_that_was_promoted_by_mistake_is_not_read(standby, region):
    """It goes on by itself, with what it had."""
    load = Load(region, threads=2)
    load.go_on(10)
    standby.promote()
    load.go_on(20)
    for node in region.nodes:
        until("a node does not trust it", lambda node=node: not trusts(node))
    until("others are told", lambda: all(not r["trusted"] for r in replicas(region)))
    before = metric(region.other, READS, source="replica")
    load.go_on(20)
    load.finish()
    assert metric(region.other, READS, source="replica") == before
    assert "promoted" in region.other.process.log_tail(200)


def revived(nodes):
    """Starts again what has ended; tells whether all are there and one leads."""
    for node in nodes:
        if not node.process.running():
            node.start()
    done = nodes[0].run("node", "list", "--json")
    members = done.json()["nodes"] if done.status == 0 else []
    names = {Nodes.name(node) for node in nodes}
    return {m["name"] for m in members if m["silent_seconds"] < 5} == names and sum(m["leads"] for m in members) == 1


@pytest.fixture
def successor(primary, tmp_path):
    made = pg.Standby(tmp_path / "successor", primary).start()
    yield made
    made.remove()


def test_a_replica_of_a_former_primary_is_not_read(primary, standby, successor, engine, tmp_path):
    """Another standby takes over. The replica has more of the former log than the new one is long, and never what is written now."""
    both = f"postgres://{pg.USER}:{pg.PASSWORD}@127.0.0.1:{primary.port},127.0.0.1:{successor.port}/postgres"
    nodes = Nodes(tmp_path, both, engine, count=2, flags=["--metadata-replica", standby.url()]).start()
    try:
        leader, other = nodes.leader(), *nodes.others()
        client(other, retries=True).create_bucket(Bucket="bucket")
        for node in nodes:
            until("a node trusts the replica", lambda node=node: trusts(node), seconds=40)
        # What only the replica gets of the former primary.
        successor.freeze()
        primary.sql("SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000)) FROM generate_series(1, 40)")
        until("the replica has it", lambda: standby.sql("SELECT pg_last_wal_replay_lsn()") >= primary.sql("SELECT pg_current_wal_flush_lsn()"))
        led = "SELECT rev FROM umbra_kv WHERE p = 0 AND k = convert_to('L/leader', 'UTF8')"
        renewed = primary.sql(led)
        until("the one that leads renews that once more", lambda: primary.sql(led) != renewed)
        until("the replica has that, too", lambda: standby.sql(led) == primary.sql(led) != renewed)
        primary.stop()
        successor.thaw()
        successor.promote()
        position = standby.sql("SELECT pg_last_wal_replay_lsn()")
        # It finds its last renewals lost with the former primary, and has to be started again.
        until("the one that led ends", lambda: not leader.process.running(), seconds=60)
        until("a node leads, and both are there", lambda: revived(nodes), seconds=90, every=0.5)
        a, b = client(leader, retries=True), client(other, retries=True)
        until("both write", lambda: written(a, "k", b"0") and written(b, "k", b"0"), seconds=60)
        for n in range(40):
            here, there = (a, b) if n % 2 else (b, a)
            here.put_object(Bucket="bucket", Key="k", Body=b"%d" % n)
            assert read(there, "bucket", "k") == b"%d" % n
        assert not any(trusts(node) for node in nodes.running())
        assert any("is no standby of the metadata database" in node.process.log_tail(300) for node in nodes)
        assert standby.sql("SELECT pg_last_wal_replay_lsn()") == position
    finally:
        nodes.remove()
