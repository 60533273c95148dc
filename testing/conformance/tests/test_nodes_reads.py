"""Nodes that do not lead answer reads of buckets with an origin by what is here, as the one that leads would; all else is passed on, once."""

import json
import re
import socket
import threading

import pytest

from harness import postgres as pg
from harness import raw
from harness.clients import anonymous, headers, keys_of, put_multipart, read, refused, s3, walk_v2
from harness.data import MIB, content
from harness.nodes import Nodes
from harness.process import free_ports
from harness.shadowed import Shadowed
from harness.site import Site
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")


def make(database, engine, tmp_path, request, **options):
    name = "f_" + re.sub(r"\W", "_", request.node.name)[-50:].lower()
    return Nodes(tmp_path, database.database(name), engine, count=2, **options)


@pytest.fixture
def unstarted(database, engine, tmp_path, request):
    made = make(database, engine, tmp_path, request)
    yield made
    made.remove()


@pytest.fixture
def nodes(database, engine, tmp_path, request):
    made = make(database, engine, tmp_path, request, flags=["--reclaim-grace", "8", "--access-log-interval", "1"]).start()
    yield made
    made.remove()


def clients_of(pair, nodes):
    keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
    return [s3(node.endpoint, *keys) for node in nodes]


def answered(node, operation):
    """How many requests of a kind this very node has answered."""
    sample = re.compile(rf'umbra_s3_requests_total\{{[^}}]*operation="{operation}"[^}}]*\}} (\d+)')
    return sum(int(count) for count in sample.findall(node.metrics()))


def allow(admin, bucket, action, principal):
    """Lets whoever it is do something with all objects of a bucket."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Resource": f"arn:aws:s3:::{bucket}/*"}
    admin.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_what_is_here_is_read_at_any_node(nodes, seaweed):
    """While the node that leads stands still, too. What is not here waits for it, and nothing is said to be absent."""
    leader, follower = nodes.leader(), nodes.others()[0]
    pair = Shadowed(leader, seaweed).create(write_through=True)
    try:
        at_leader, here = clients_of(pair, (leader, follower))
        body = content(3 * MIB, 1)
        pair.put_there("hydrated", body, Metadata={"a": "b"})
        assert read(at_leader, pair.name, "hydrated") == body
        until("it is here", lambda: not pair.is_cold("hydrated"))
        at_leader.put_object(Bucket=pair.name, Key="written", Body=b"written")
        pair.put_there("cold", b"cold")
        before = [answered(node, "get_object") for node in (leader, follower)]
        assert read(here, pair.name, "hydrated") == body
        assert read(here, pair.name, "hydrated", Range="bytes=10-19") == body[10:20]
        assert read(here, pair.name, "written") == b"written"
        etag = here.head_object(Bucket=pair.name, Key="hydrated")["ETag"]
        assert refused(here.get_object, Bucket=pair.name, Key="hydrated", IfNoneMatch=etag).status == 304
        assert refused(here.get_object, Bucket=pair.name, Key="hydrated", Range="bytes=99999999-").status == 416
        presigned = here.generate_presigned_url("get_object", Params={"Bucket": pair.name, "Key": "written", "ResponseContentType": "text/x"})
        target = presigned.removeprefix(follower.endpoint)
        answer = raw.send(follower.address, raw.request("GET", target, {"host": follower.endpoint.removeprefix("http://")}))
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"written", "text/x")
        assert [answered(node, "get_object") for node in (leader, follower)] == [before[0], before[1] + 6]
        # All the leader tells of it is told here.
        told = [{k: v for k, v in headers(c.head_object(Bucket=pair.name, Key="hydrated")).items() if k not in ("x-amz-request-id", "x-amz-id-2", "date")} for c in (at_leader, here)]
        assert told[0] == told[1] and told[0]["x-amz-meta-a"] == "b"
        # What it does not have is the other's, and is here from then on.
        assert refused(here.get_object, Bucket=pair.name, Key="nowhere").code == "NoSuchKey"
        assert read(here, pair.name, "cold") == b"cold"
        until("it is here", lambda: not pair.is_cold("cold"))
        assert pair.proxy.body_bytes("cold") == 4
        leader.process.freeze()
        try:
            assert read(here, pair.name, "hydrated") == body and read(here, pair.name, "cold") == b"cold"
            assert here.head_object(Bucket=pair.name, Key="written")["ContentLength"] == 7
            late, got = [], threading.Event()

            def absent():
                late.append(refused(here.get_object, Bucket=pair.name, Key="nowhere").status)
                got.set()

            threading.Thread(target=absent).start()
            assert read(here, pair.name, "written") == b"written"
            assert not got.is_set()
        finally:
            leader.process.thaw()
        assert got.wait(30) and late == [404]
    finally:
        pair.close()


def test_what_was_acknowledged_is_read_at_once(nodes, seaweed):
    """Overwrites and deletes through either node hold at both; a write that is half done is never shown as what was before."""
    leader, follower = nodes.leader(), nodes.others()[0]
    pair = Shadowed(leader, seaweed).create(write_through=True)
    try:
        clients = clients_of(pair, (leader, follower))
        for n in range(12):
            writer = clients[n % 2]
            writer.put_object(Bucket=pair.name, Key="k", Body=b"%d" % n)
            assert [read(c, pair.name, "k") for c in clients] == [b"%d" % n] * 2
            if n % 4 == 3:
                writer.delete_object(Bucket=pair.name, Key="k")
                assert [refused(read, c, pair.name, "k").code for c in clients] == ["NoSuchKey"] * 2
        clients[0].put_object(Bucket=pair.name, Key="k", Body=b"old")
        # The origin has it and its answer is lost: which one it is only the origin can say.
        pair.fault(method="PUT", key="k", times=1, drop_answer=True)
        assert refused(clients[1].put_object, Bucket=pair.name, Key="k", Body=b"half").status >= 500
        assert [read(c, pair.name, "k") for c in (*clients, *clients)] == [b"half"] * 4
    finally:
        pair.close()


def test_who_may_read_is_the_same_at_any_node(nodes, seaweed):
    """Policies, ACLs of objects, what is denied, and what is logged; and what is counted is counted once."""
    leader, follower = nodes.leader(), nodes.others()[0]
    pair = Shadowed(leader, seaweed).create()
    try:
        admin = s3(follower.endpoint, leader.access_key, leader.secret_key)
        both = [anonymous(node.endpoint) for node in (leader, follower)]
        ours = clients_of(pair, (leader, follower))
        ours[0].put_object(Bucket=pair.name, Key="plain", Body=b"plain")
        ours[0].put_object(Bucket=pair.name, Key="open", Body=b"open", ACL="public-read")
        assert [refused(read, c, pair.name, "plain").code for c in both] == ["AccessDenied"] * 2
        assert [refused(read, c, pair.name, "nowhere").code for c in both] == ["AccessDenied"] * 2
        assert [read(c, pair.name, "open") for c in both] == [b"open"] * 2
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{pair.name}/*"}
        tagged = {**statement, "Effect": "Deny", "Condition": {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}}}
        admin.put_bucket_policy(Bucket=pair.name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement, tagged]}))
        assert [read(c, pair.name, "plain") for c in both] == [b"plain"] * 2
        ours[0].put_object_tagging(Bucket=pair.name, Key="plain", Tagging={"TagSet": [{"Key": "secret", "Value": "yes"}]})
        assert [refused(read, c, pair.name, "plain").status for c in both] == [403] * 2
        admin.delete_bucket_policy(Bucket=pair.name)
        until("both are counted", lambda: leader.status(pair.name)["shadow"]["local_reads"] == 4)
        target = f"logs-{pair.name}"
        follower.storage("create", "-n", target, "-o", pair.org, "-y")
        allow(admin, target, "s3:PutObject", {"Service": "logging.s3.amazonaws.com"})
        admin.put_bucket_logging(Bucket=pair.name, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "log/"}})
        for c in ours:
            assert read(c, pair.name, "plain", VersionId="null") == b"plain"

        def logged():
            logs = [read(admin, target, key).decode() for key in keys_of(walk_v2(admin, target))]
            return [line for log in logs for line in log.splitlines() if " REST.GET.OBJECT plain " in line]

        until("both are logged", lambda: len(logged()) == 2)
        until("both are counted", lambda: leader.status(pair.name)["shadow"]["local_reads"] == 6)
    finally:
        pair.close()


def test_websites_are_the_same_at_any_node(database, engine, tmp_path, request, seaweed):
    """Pages that are here are shown by the node that was asked; those that are cold, or missing, by way of the one that leads."""
    nodes = make(database, engine, tmp_path, request)
    flags = ["--website-listen", "127.0.0.1:0", "--website-domain", "web.test"]
    nodes.all = [Site(node.dir, *node.flags, *flags, env=node.env) for node in nodes]
    try:
        nodes.start()
        leader, follower = nodes.leader(), nodes.others()[0]
        pair = Shadowed(leader, seaweed).create()
        try:
            admin = s3(leader.endpoint, leader.access_key, leader.secret_key)
            allow(admin, pair.name, "s3:GetObject", "*")
            website = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}
            admin.put_bucket_website(Bucket=pair.name, WebsiteConfiguration=website)
            host = f"{pair.name}.web.test"
            pair.put_there("index.html", b"cold index")
            pair.here.put_object(Bucket=pair.name, Key="error.html", Body=b"sorry")
            pair.here.put_object(Bucket=pair.name, Key="docs/index.html", Body=b"docs")
            for node in (leader, follower):
                assert node.ask(host, "/docs/")[::2] == (200, b"docs")
                assert node.ask(host, "/docs")[0] == 302
                assert node.ask(host, "/nowhere")[::2] == (403, b"sorry")
            assert follower.ask(host, "/")[::2] == (200, b"cold index")
            until("it is here", lambda: not pair.is_cold("index.html"))
            counts = [answered(node, "website") for node in (leader, follower)]
            assert follower.ask(host, "/")[::2] == (200, b"cold index")
            assert [answered(node, "website") for node in (leader, follower)] == [counts[0], counts[1] + 1]
        finally:
            pair.close()
    finally:
        nodes.remove()


def test_a_slow_reader_at_any_node_gets_all_of_it(nodes, seaweed):
    """What is overwritten under it outlives the grace, and goes when it has read it."""
    leader, follower = nodes.leader(), nodes.others()[0]
    pair = Shadowed(leader, seaweed).create()
    try:
        bucket, c = pair.name, s3(leader.endpoint, leader.access_key, leader.secret_key)
        parts = [content(5 * MIB, n) for n in range(16)]
        put_multipart(c, bucket, "large", parts)
        c.put_object(Bucket=bucket, Key="sentinel", Body=content(MIB, 99))
        kept = lambda: len(nodes.engine.keys(nodes.prefix))
        assert kept() == 17
        reader = s3(follower.endpoint, leader.access_key, leader.secret_key, read_timeout=120)
        stream = reader.get_object(Bucket=bucket, Key="large")["Body"]
        got = [stream.read(6 * MIB)]
        c.put_object(Bucket=bucket, Key="large", Body=b"new")
        c.delete_object(Bucket=bucket, Key="sentinel")
        # It was overwritten before that was deleted. The parts that have been read are not kept apart from the others.
        until("what nobody reads is gone", lambda: kept() < 17, seconds=60)
        until("the reclaimer has passed", lambda: kept() in (15, 16), seconds=60)
        got.append(stream.read())
        assert b"".join(got) == b"".join(parts)
        assert read(reader, bucket, "large") == b"new"
        until("nothing of it is left", lambda: kept() == 0, seconds=120)
    finally:
        pair.close()


class Recorder(threading.Thread):
    """Passes connections on to a port, and remembers what was sent there."""

    def __init__(self, port, target):
        super().__init__(daemon=True)
        self.sent, self.target = [], target
        self.server = socket.create_server(("127.0.0.1", port))
        self.start()

    def run(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, False), daemon=True).start()

    def pump(self, source, sink, remembers):
        try:
            while data := source.recv(65536):
                if remembers:
                    self.sent.append(data)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            sink.close()

    def requests(self, line):
        """The requests that begin with `line`, as they came."""
        return [data for data in self.sent if data.startswith(line)]


def test_what_was_passed_on_is_not_answered_again(unstarted):
    """Whoever listens between the nodes can send nothing of it once more, to no node, and not to a later life of one."""
    first, second = unstarted
    ports = free_ports(2)
    first.flags += ["--node-url", f"http://127.0.0.1:{ports[0]}"]
    first.flags[first.flags.index("--node-listen") + 1] = f"127.0.0.1:{ports[1]}"
    recorder = Recorder(*ports)
    try:
        unstarted.start()
        c = s3(second.endpoint, second.access_key, second.secret_key)
        c.create_bucket(Bucket="made")
        c.delete_bucket(Bucket="made")
        (created,) = recorder.requests(b"PUT /made")

        def again(port, request=created):
            return raw.send(("127.0.0.1", port), request)

        assert again(ports[1]).status == 503
        assert refused(c.head_bucket, Bucket="made").status == 404
        forged = created.replace(b" 127.0.0.1,", b" 127.0.0.2,")
        assert forged != created and again(ports[1], forged).status == 403
        node = next(m["url"] for m in unstarted.members() if not m["leads"])
        assert again(int(node.rpartition(":")[2])).status == 421
        assert first.restart() is first
        assert again(ports[1]).status == 421
        assert refused(c.head_bucket, Bucket="made").status == 404
    finally:
        recorder.server.close()
