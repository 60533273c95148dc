"""Several nodes on one database and one engine for contents act as one store."""

import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness import postgres as pg
from harness.clients import anonymous, keys_of, put_multipart, read, refused, s3, walk_v2
from harness.data import MIB, content
from harness.load import Worker, check
from harness.nodes import Nodes
from harness.raw import Answer, Signer, request
from harness.shadowed import Shadowed
from harness.umbra import Umbra
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")


@pytest.fixture
def nodes(database, engine, tmp_path, request):
    name = "n_" + request.node.name.replace("[", "_").rstrip("]")[:60]
    made = Nodes(tmp_path, database.database(name), engine).start()
    yield made
    made.remove()


def unanswered(call, **arguments):
    """Calls what must not be answered as done."""
    try:
        call(**arguments)
    except (BotoCoreError, ClientError):
        return
    raise AssertionError("a write was acknowledged that must not be")


def client(node, retries=True):
    return s3(node.endpoint, node.access_key, node.secret_key, retries=retries)


def test_what_one_node_wrote_every_node_reads(nodes):
    """Objects, listings, uploads in parts, deletes and settings: read after write through any node, whoever wrote."""
    leader, *others = [nodes.leader(), *nodes.others()]
    assert len(others) == 2
    clients = [client(node, retries=False) for node in (leader, *others)]
    # Whoever does not lead has the leader make the bucket.
    clients[1].create_bucket(Bucket="bucket")
    for c in clients:
        c.head_bucket(Bucket="bucket")
    for n in range(30):
        writer, readers = clients[n % 3], [clients[(n + 1) % 3], clients[(n + 2) % 3]]
        key, body = f"dir{n % 2}/k{n:02d}", content(n * 7000, n)
        writer.put_object(Bucket="bucket", Key=key, Body=body)
        for reader in readers:
            assert read(reader, "bucket", key) == body
        writer.put_object(Bucket="bucket", Key=key, Body=body + b"!")
        for reader in readers:
            assert read(reader, "bucket", key) == body + b"!"
        if n % 5 == 0:
            writer.delete_object(Bucket="bucket", Key=key)
            for reader in readers:
                assert refused(reader.get_object, Bucket="bucket", Key=key).code == "NoSuchKey"
    listed = [keys_of(walk_v2(c, "bucket", MaxKeys=7)) for c in clients]
    assert listed[0] == listed[1] == listed[2] and len(listed[0]) == 24
    # The parts of one upload through three nodes.
    parts = [content(5 * MIB, 1), content(5 * MIB, 2), content(100, 3)]
    upload = clients[0].create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    done = []
    for n, part in enumerate(parts):
        tag = clients[n].upload_part(Bucket="bucket", Key="large", UploadId=upload, PartNumber=n + 1, Body=part)["ETag"]
        done.append({"PartNumber": n + 1, "ETag": tag})
    clients[2].complete_multipart_upload(Bucket="bucket", Key="large", UploadId=upload, MultipartUpload={"Parts": done})
    assert all(read(c, "bucket", "large") == b"".join(parts) for c in clients)


def test_an_answer_in_the_place_of_100_continue_ends_the_connection(nodes):
    """Also one that another node gives: the client may never send the body then, and its next request would be taken for that."""
    follower = nodes.others()[0]
    path, host = "/bucket", follower.listen
    for secret_key, size, status in (("wrong", 5, 403), (follower.secret_key, 0, 200)):
        headers = Signer(follower.access_key, secret_key).headers("PUT", host, path, payload_hash="UNSIGNED-PAYLOAD")
        with socket.create_connection(follower.address, 15) as sock:
            sock.sendall(request("PUT", path, {**headers, "content-length": size, "expect": "100-continue"}))
            # It may be asked for the body, and answered before it comes.
            asked, said = b"HTTP/1.1 100 Continue\r\n\r\n", b""
            while b"\r\n\r\n" not in said.removeprefix(asked):
                said += sock.recv(65536) or pytest.fail(f"no answer: {said}")
        answer = Answer(said.removeprefix(asked))
        assert answer.status == status and answer.headers.get("connection", "").lower() == "close", said


def test_a_change_of_a_bucket_holds_everywhere_once_it_is_answered(nodes):
    """Versions, policies, keys and buckets themselves: no node goes on by what was so before."""
    leader, follower, other = nodes.leader(), *nodes.others()
    a, b, c = client(follower, retries=False), client(other, retries=False), client(leader, retries=False)
    a.create_bucket(Bucket="changing")
    for n in range(5):
        # Both know the bucket well by now.
        for x in (a, b, c):
            x.put_object(Bucket="changing", Key="k", Body=b"%d" % n)
        on = "Enabled" if n % 2 == 0 else "Suspended"
        (a, c)[n % 2].put_bucket_versioning(Bucket="changing", VersioningConfiguration={"Status": on})
        answers = [x.put_object(Bucket="changing", Key="k", Body=b"v").get("VersionId", "null") for x in (a, b, c)]
        assert all((answer == "null") == (on == "Suspended") for answer in answers), answers
    public = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::changing/*"}]}'
    assert refused(anonymous(other.endpoint).get_object, Bucket="changing", Key="k").status == 403
    a.put_bucket_policy(Bucket="changing", Policy=public)
    assert all(read(anonymous(node.endpoint), "changing", "k") for node in nodes)
    b.delete_bucket_policy(Bucket="changing")
    assert all(refused(anonymous(node.endpoint).get_object, Bucket="changing", Key="k").status == 403 for node in nodes)
    # A key that is deleted opens nothing, anywhere.
    made = other.storage("create", "-n", "of-key", "-o", "tests", "-y").values()
    assert made["AWS_ENDPOINT_URL_S3"] == other.endpoint, "whichever node leads"
    keyed = [s3(node.endpoint, made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"]) for node in nodes]
    assert all(x.list_objects_v2(Bucket="of-key")["KeyCount"] == 0 for x in keyed)
    follower.run("key", "delete", made["AWS_ACCESS_KEY_ID"], check=True)
    assert all(refused(x.list_objects_v2, Bucket="of-key").code == "InvalidAccessKeyId" for x in keyed)
    # A bucket that is deleted is gone, and its name is free for another at once.
    for _ in range(3):
        b.put_object(Bucket="of-key", Key="k", Body=b"1")
        a.delete_object(Bucket="of-key", Key="k")
        a.delete_bucket(Bucket="of-key")
        assert all(refused(client(node, retries=False).list_objects_v2, Bucket="of-key").code == "NoSuchBucket" for node in nodes)
        assert refused(b.put_object, Bucket="of-key", Key="k", Body=b"1").code == "NoSuchBucket"
        b.create_bucket(Bucket="of-key")
        assert a.list_objects_v2(Bucket="of-key")["KeyCount"] == 0


def test_one_migration_whichever_node_is_asked(nodes, seaweed):
    """A cold object read through all nodes at once leaves the origin once; writes go through; the job runs once; status and detach through any node."""
    asked = nodes.others()[0]
    pair = Shadowed(asked, seaweed).create(write_through=True)
    try:
        bodies = {f"cold{n}": content(3 * MIB + n, n) for n in range(4)}
        for key, body in bodies.items():
            pair.put_there(key, body)
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        clients = [s3(node.endpoint, *keys, retries=True) for node in nodes]
        failures, got = [], {}

        def reader(c, key):
            try:
                got[id(c), key] = read(c, pair.name, key)
            except Exception as error:  # noqa: BLE001 - it is shown below
                failures.append(error)

        threads = [threading.Thread(target=reader, args=(c, key)) for key in bodies for c in clients]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert not failures, failures
        assert all(got[id(c), key] == body for c in clients for key, body in bodies.items())
        until("all is here", lambda: not any(pair.is_cold(key) for key in bodies))
        assert pair.proxy.body_bytes() == sum(map(len, bodies.values())), "each byte left the origin once"
        # Writes go through, and are seen everywhere.
        for n, c in enumerate(clients):
            c.put_object(Bucket=pair.name, Key=f"new{n}", Body=b"%d" % n)
            assert pair.read_there(f"new{n}") == b"%d" % n
            assert all(read(x, pair.name, f"new{n}") == b"%d" % n for x in clients)
            clients[n - 1].delete_object(Bucket=pair.name, Key=f"cold{n}")
            assert not pair.is_there(f"cold{n}")
            assert all(refused(x.head_object, Bucket=pair.name, Key=f"cold{n}").status == 404 for x in clients)
        listed = [keys_of(walk_v2(c, pair.name, MaxKeys=2)) for c in clients]
        assert listed == [["cold3", "new0", "new1", "new2"]] * 3
        # A copy from the bucket with the origin into a plain one, through whoever.
        for n, node in enumerate(nodes):
            plain = client(node)
            plain.create_bucket(Bucket=f"plain-{pair.name}-{n}")
            pair.put_there(f"copied{n}", b"copied")
            plain.copy_object(Bucket=f"plain-{pair.name}-{n}", Key="k", CopySource={"Bucket": pair.name, "Key": f"copied{n}"})
            assert read(plain, f"plain-{pair.name}-{n}", "k") == b"copied"
        nodes[1].storage("migrate", pair.name, "--wait")
        statuses = [node.status(pair.name) for node in nodes]
        assert all(s["shadow"]["origin_requests"] == statuses[0]["shadow"]["origin_requests"] for s in statuses)
        nodes[2].storage("update", pair.name, "--clear-shadow")
        assert all(read(c, pair.name, "cold3") == bodies["cold3"] for c in clients)
    finally:
        pair.close()


def test_a_bucket_is_made_while_the_nodes_look_for_a_leader(nodes):
    """`umbra storage create` right after the one that led was killed: the node that comes to lead makes it itself, the other has it made."""
    former, others = nodes.leader(), nodes.others()
    former.kill()
    done = {}
    threads = [
        threading.Thread(target=lambda n=n, node=node: done.update({n: node.storage("create", "-n", f"meanwhile-{n}", "-o", "tests", check=False)}))
        for n, node in enumerate(others)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert all(d.status == 0 for d in done.values()) and len(done) == 2, done
    assert all({"meanwhile-0", "meanwhile-1"} <= {b["Name"] for b in client(node).list_buckets()["Buckets"]} for node in others)


def test_a_leader_that_is_killed_is_followed(nodes, seaweed):
    """Nothing acknowledged is lost, what was under way is repaired, jobs go on, and clients that retry notice a pause at most."""
    pair = Shadowed(nodes.others()[0], seaweed).create(write_through=True)
    try:
        cold = {f"cold{n:03d}": content(50_000 + n, n) for n in range(60)}
        for key, body in cold.items():
            pair.put_there(key, body)
        asked = nodes.others()[0]
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        plain = client(asked)
        plain.create_bucket(Bucket="plain")
        here = s3(asked.endpoint, *keys, retries=True)
        asked.storage("migrate", pair.name, "--max-rps", "20")
        workers = [Worker(n, pair.name if n % 2 else "plain", "killed") for n in range(4)]
        fresh = {n: s3(asked.endpoint, *keys, retries=True) if n % 2 else client(asked) for n in range(4)}
        for worker in workers:
            worker.connect(fresh[worker.number])
            worker.start()
        until("all are at work", lambda: all(worker.acknowledged for worker in workers))
        former = nodes.leader()
        former.kill()
        before = [worker.acknowledged for worker in workers]

        def all_went_on():
            [worker.connect(fresh[worker.number]) for worker in workers]
            return all(worker.acknowledged > was + 2 for worker, was in zip(workers, before))

        until("another leads, and all went on", all_went_on, seconds=90)
        assert nodes.leader() is not former
        for worker in workers:
            worker.stopping.set()
            worker.join()
            assert worker.wrong is None, worker.wrong
        former.start()
        for node in nodes:
            plain_workers, through = workers[0::2], workers[1::2]
            check(client(node), "plain", plain_workers)
            check(s3(node.endpoint, *keys, retries=True), pair.name, through, besides=cold)
        until("the job is done", lambda: [job["state"] for job in asked.status(pair.name)["jobs"] if job["kind"] == "backfill"] == ["done"], seconds=120)
        assert all(read(here, pair.name, key) == body for key, body in cold.items())
    finally:
        pair.close()


class Foreign(BaseHTTPRequestHandler):
    """A server that is no node, and has nothing against whatever it is asked."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.server.asked.append(self.command)
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("ETag", '"d41d8cd98f00b204e9800998ecf8427e"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


def test_whoever_has_a_former_leaders_address_answers_nothing(nodes, seaweed):
    """A machine's address may be another's as soon as it is gone: neither a read nor a write takes its word."""
    asked = nodes.others()[0]
    pair = Shadowed(asked, seaweed).create(write_through=True)
    foreign = None
    try:
        pair.put_there("cold", content(50_000, 1))
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        here, patient = (s3(asked.endpoint, *keys, retries=retries) for retries in (False, True))
        here.put_object(Bucket=pair.name, Key="k", Body=b"before")
        former = nodes.leader()
        host, port = next(m["url"] for m in nodes.members(asked) if m["leads"]).removeprefix("http://").split(":")
        former.kill()
        foreign = ThreadingHTTPServer((host, int(port)), Foreign)
        foreign.asked = []
        threading.Thread(target=foreign.serve_forever, daemon=True).start()
        unanswered(here.put_object, Bucket=pair.name, Key="k", Body=b"told to nobody")
        unanswered(here.delete_object, Bucket=pair.name, Key="k")
        assert foreign.asked == ["PUT", "DELETE"]
        # What can be asked again is, until another node leads.
        assert read(patient, pair.name, "cold") == content(50_000, 1)
        assert "GET" in foreign.asked
        assert read(patient, pair.name, "k") == b"before" == pair.read_there("k")
    finally:
        if foreign:
            foreign.shutdown()
            foreign.server_close()
        pair.close()


def test_the_database_crashes_under_all_nodes(nodes, database):
    """Requests wait or get 503 while it is away; nothing acknowledged is lost, and all nodes go on by themselves."""
    client(nodes[0]).create_bucket(Bucket="crashed")
    workers = [Worker(n, "crashed", "database") for n in range(6)]
    fresh = [client(nodes[n % 3]) for n in range(6)]
    for worker in workers:
        worker.connect(fresh[worker.number])
        worker.start()
    for _ in range(2):
        before = [worker.acknowledged for worker in workers]
        database.restart()

        def all_went_on():
            for node in nodes:
                # A leader for which it took too long ends; whoever looks after it starts it again.
                if not node.process.running():
                    node.start()
            [worker.connect(fresh[worker.number]) for worker in workers]
            return all(worker.acknowledged > was + 3 for worker, was in zip(workers, before))

        until("all went on", all_went_on, seconds=90)
    for worker in workers:
        worker.stopping.set()
        worker.join()
        assert worker.wrong is None, worker.wrong
    for node in nodes:
        check(client(node), "crashed", workers)


def test_a_leader_that_was_frozen_ends(nodes, seaweed):
    """One that stood still, and was followed, changes nothing when it moves again: it ends, and joins as any other when it is started."""
    pair = Shadowed(nodes.others()[0], seaweed).create(write_through=True)
    try:
        former, asked = nodes.leader(), nodes.others()[0]
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        frozen, here = s3(former.endpoint, *keys), s3(asked.endpoint, *keys, retries=True)
        here.put_object(Bucket=pair.name, Key="k", Body=b"before")
        # A write of its own is on its way to the origin when it freezes.
        held = pair.fault(method="PUT", key="k", times=1, hold_request=True)
        late = threading.Thread(target=unanswered, args=(frozen.put_object,), kwargs={"Bucket": pair.name, "Key": "k", "Body": b"frozen"})
        late.start()
        until("the origin is asked", lambda: held.hits)
        former.process.freeze()
        until("another leads", lambda: any(m["leads"] and m["name"] != nodes.name(former) for m in nodes.members(asked)), seconds=60)
        held.release()
        until("it reached the origin all the same", lambda: pair.read_there("k") == b"frozen")
        until("the key is repaired", lambda: not asked.status(pair.name)["shadow"]["pending_repairs"], seconds=60)
        here.put_object(Bucket=pair.name, Key="k", Body=b"after")
        former.process.thaw()
        until("it ends", lambda: not former.process.running(), seconds=30)
        late.join()
        assert read(here, pair.name, "k") == b"after" == pair.read_there("k")
        former.start()
        until("it is seen", lambda: len(nodes.members(asked)) == 3)
        assert read(s3(former.endpoint, *keys, retries=True), pair.name, "k") == b"after"
    finally:
        pair.close()


def test_nodes_that_could_not_work_together_are_refused(nodes, database, engine, tmp_path):
    """Without an address, with another place for contents, with another key or root key, or with the address of another."""
    from harness.umbra import Umbra

    def start(name, *flags, **env):
        known = {**engine.env(), "UMBRA_METADATA": nodes.database, "UMBRA_MASTER_KEY": nodes.master_key}
        server = Umbra(tmp_path / name, *flags, env={**known, **env}).start(ready=False)
        until("it ends", lambda: not server.process.running(), seconds=60)
        return server.all_text()

    there = ["--blobs", engine.url(nodes.prefix)]
    listen = ["--node-listen", "127.0.0.1:0"]
    assert "--node-listen" in start("apart", *there)
    assert "kept at" in start("disk", *listen, "--blobs", "")
    assert "kept at" in start("elsewhere", *listen, "--blobs", engine.url("other"))
    assert "key-encryption key" in start("key", *there, *listen, UMBRA_MASTER_KEY="00" * 32)
    # A key that it made for itself before it knew of the store's is not left behind.
    assert "key-encryption key" in start("fresh", *there, *listen, UMBRA_MASTER_KEY="")
    assert not (tmp_path / "fresh" / "data" / "secret.key").exists()
    assert "another root key" in start("root", *there, *listen, UMBRA_ROOT_ACCESS_KEY="OTHERROOT", UMBRA_ROOT_SECRET_KEY="otherrootsecret")
    until("those that were refused are gone", lambda: len(nodes.members()) == 3)
    another = nodes.members()[0]["url"]
    assert f"another node answers at {another}" in start("address", *there, *listen, "--node-url", another)
    until("all are seen", lambda: len(nodes.members()) == 3)
    # A name that is taken where it remembers that its metadata are in a database. It has joined by then, and takes leave.
    taken = tmp_path / "taken" / "data" / "metadata"
    taken.parent.mkdir(parents=True, mode=0o700)
    taken.write_text("a dump")
    assert "move it out of the data directory" in start("taken", *there, *listen)
    assert taken.read_text() == "a dump"
    rows = "SELECT count(*) FROM umbra_kv WHERE p = 0 AND substr(k, 1, 2) = convert_to('N/', 'UTF8')"
    assert database.sql(rows, nodes.database.rsplit("/", 1)[1]) == "3"


@pytest.fixture(params=["imported", "restored"])
def copied(request, nodes, database, tmp_path):
    """Makes a node on a copy of the database of nodes that go on; it is asked as soon as it answers."""
    url = database.database(f"copy_{request.param}")
    node = Umbra(tmp_path / "copy", *nodes[0].flags, env={**nodes[0].env, "UMBRA_METADATA": url})

    def make():
        if request.param == "imported":
            out = tmp_path / "out"
            node.run("metadata", "export", out, env={"UMBRA_METADATA": nodes.database}, check=True)
            node.run("metadata", "import", out, env={"UMBRA_METADATA": url}, check=True)
            rows = "SELECT count(*) FROM umbra_kv WHERE p = 0 AND convert_from(substr(k, 1, 2), 'UTF8') IN ('N/', 'L/')"
            counts = [database.sql(rows, at.rsplit("/", 1)[1]) for at in (nodes.database, url)]
            assert counts == ["5", "0"], "the nodes that run, who leads and the turnstile are none of the copy's"
        else:
            dump = [database.programs / "pg_dump", "--no-owner", "-d", nodes.database]
            rows = subprocess.run(dump, check=True, capture_output=True).stdout
            fill = [database.programs / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url]
            subprocess.run(fill, input=rows, check=True, capture_output=True)
        # As of the copy another leads: that one is waited for.
        node.start(ready=False).await_ready(seconds=60)
        return node

    yield make
    node.remove()


def test_a_copy_changes_nothing_of_the_live_store(nodes, copied, seaweed):
    """A node on a copy, beside the nodes that go on: what is written, deleted and destroyed at it is done there alone."""
    asked = nodes.others()[0]
    pair = Shadowed(asked, seaweed).create()
    try:
        c = client(asked)
        c.create_bucket(Bucket="plain")
        for bucket in (pair.name, "plain"):
            c.put_object(Bucket=bucket, Key="kept", Body=b"live")
        copy = copied()
        there = s3(copy.endpoint, asked.access_key, asked.secret_key, retries=True)
        there.put_object(Bucket=pair.name, Key="new", Body=b"copy")
        there.delete_object(Bucket=pair.name, Key="kept")
        there.create_bucket(Bucket="of-the-copy")
        assert read(there, pair.name, "new") == b"copy"
        for node in nodes:
            live = client(node)
            assert keys_of(walk_v2(live, pair.name)) == keys_of(walk_v2(live, "plain")) == ["kept"]
            assert read(live, pair.name, "kept") == read(live, "plain", "kept") == b"live"
            assert "of-the-copy" not in [b["Name"] for b in live.list_buckets()["Buckets"]]
        there.delete_object(Bucket="plain", Key="kept")
        there.delete_bucket(Bucket="plain")
        copy.storage("destroy", pair.name, "-y")
        assert all(read(client(asked), bucket, "kept") == b"live" for bucket in (pair.name, "plain"))
        assert [n["name"] for n in nodes.members(copy) if n["leads"]] == [nodes.name(copy)]
    finally:
        pair.close()


def test_a_rolling_restart_fails_no_client_that_retries(nodes, seaweed):
    """Each node in turn stops and starts, under load on all of them."""
    pair = Shadowed(nodes[0], seaweed).create(write_through=True)
    try:
        keys = pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"]
        client(nodes[0]).create_bucket(Bucket="rolling")
        stop, failures, counts, down = threading.Event(), [], [0] * 6, set()

        def worker(number):
            n = 0
            while not stop.is_set():
                # A balancer does not send to a node that is not ready.
                node = next(x for x in nodes.all[number % 3 :] + nodes.all[: number % 3] if id(x) not in down)
                c = s3(node.endpoint, *keys, retries=True) if number % 2 else client(node)
                bucket = pair.name if number % 2 else "rolling"
                key, body = f"w{number}-{n % 10}", b"%d" % n
                try:
                    c.put_object(Bucket=bucket, Key=key, Body=body)
                    assert read(c, bucket, key) == body
                    counts[number] += 1
                except Exception as error:  # noqa: BLE001 - shown below
                    failures.append(f"{number} {key} at {node.dir.name}: {error!r}")
                n += 1

        threads = [threading.Thread(target=worker, args=(number,)) for number in range(6)]
        [t.start() for t in threads]
        until("all are at work", lambda: all(counts))
        for node in nodes:
            down.add(id(node))
            assert node.stop() == 0
            node.start()
            down.discard(id(node))
            before = list(counts)
            until("all went on", lambda: all(now > then for now, then in zip(counts, before)), seconds=60)
        stop.set()
        [t.join() for t in threads]
        assert not failures, failures[:5]
        until("all are seen", lambda: len(nodes.members()) == 3)
    finally:
        pair.close()
