"""`--metadata postgres://…`: a server whose metadata is in PostgreSQL."""

import os
import re
import subprocess

import pytest

from harness import postgres as pg
from harness.clients import keys_of, put_multipart, read, refused, s3, walk_v2
from harness.data import MIB, content
from harness.engine import BUCKET
from harness.load import Worker, check
from harness.shadowed import Shadowed
from harness.umbra import Umbra, binary
from harness.wait import until

pytestmark = pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")


@pytest.fixture
def server(database, tmp_path, request):
    """An Umbra on a database of its own."""
    name = "t_" + request.node.name.split("[")[0][:50]
    made = Umbra(tmp_path / "umbra", env={"UMBRA_METADATA": database.database(name)}).start()
    yield made
    made.remove()


def test_a_store_on_postgres(server):
    """Objects, listings, multipart uploads and deletes, over a stop and a kill; nothing of them is in the data directory's own metadata."""
    c = server.client()
    c.create_bucket(Bucket="bucket")
    bodies = {f"dir{n % 3}/k{n:02d}": content(n * 1000, n) for n in range(30)}
    for key, body in bodies.items():
        c.put_object(Bucket="bucket", Key=key, Body=body, Metadata={"n": key})
    parts = [content(5 * MIB, 100), content(1000, 101)]
    put_multipart(c, "bucket", "large", parts)
    open_upload = c.create_multipart_upload(Bucket="bucket", Key="later")["UploadId"]
    tag = c.upload_part(Bucket="bucket", Key="later", UploadId=open_upload, PartNumber=1, Body=b"part")["ETag"]
    c.delete_object(Bucket="bucket", Key="dir0/k00")
    del bodies["dir0/k00"]
    for kill in (False, True):
        server.restart(kill=kill)
        assert "NOTICE" not in server.log_path.read_text(), "the database remarks on nothing"
        for key, body in bodies.items():
            assert read(c, "bucket", key) == body
        assert read(c, "bucket", "large") == b"".join(parts)
        assert refused(c.get_object, Bucket="bucket", Key="dir0/k00").code == "NoSuchKey"
        page = c.list_objects_v2(Bucket="bucket", Delimiter="/", MaxKeys=3)
        assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["dir0/", "dir1/", "dir2/"] and page["IsTruncated"]
        assert keys_of(walk_v2(c, "bucket", MaxKeys=7)) == sorted([*bodies, "large"])
    c.complete_multipart_upload(
        Bucket="bucket", Key="later", UploadId=open_upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]}
    )
    assert read(c, "bucket", "later") == b"part"
    assert not list((server.data_dir / "meta").iterdir())


def test_a_shadow_on_postgres(server, seaweed):
    """A cold object is fetched once and then is here, also after a restart."""
    pair = Shadowed(server, seaweed).create()
    try:
        pair.put_there("cold", content(3 * MIB, 7))
        assert pair.read("cold") == content(3 * MIB, 7)
        until("it is hydrated", lambda: not pair.is_cold("cold"))
        server.restart(kill=True)
        pair.connect()
        pair.proxy.forget()
        assert pair.read("cold") == content(3 * MIB, 7)
        assert not pair.proxy.seen("GET", "cold")
    finally:
        pair.close()


def test_metadata_moves_to_postgres_and_back(database, tmp_path):
    """From the data directory into a database and back, by files, with everything there and uploads that go on."""
    server = Umbra(tmp_path / "umbra")
    server.env.pop("UMBRA_METADATA", None)
    server.start()
    c = server.client()
    c.create_bucket(Bucket="bucket")
    bodies = {f"k{n}": content(n * 5000, n) for n in range(20)}
    for key, body in bodies.items():
        c.put_object(Bucket="bucket", Key=key, Body=body)
    upload = c.create_multipart_upload(Bucket="bucket", Key="large")["UploadId"]
    tag = c.upload_part(Bucket="bucket", Key="large", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    place = {"UMBRA_DATA_DIR": str(server.data_dir)}
    there = {**place, "UMBRA_METADATA": database.database("moved")}
    live, out, back = (tmp_path / n for n in ("live", "out", "back"))
    assert server.run("metadata", "export", live, env=place).status == 0, "while it is running"
    server.stop()
    server.run("metadata", "export", out, env=place, check=True)
    assert (out.stat().st_mode & 0o777, out.read_bytes()[:9]) == (0o600, b"UMBRMETA\x01")
    assert "is there already" in server.run("metadata", "export", out, env=place).err
    said = server.run("metadata", "import", out, env=place).err
    assert f"cannot fill the store: {server.data_dir}/meta/umbra.db: there is metadata already; only an empty store" in said
    nowhere = {"UMBRA_METADATA": there["UMBRA_METADATA"].replace(str(database.port), "1")}
    said = server.run("metadata", "import", out, env=nowhere).err
    assert "cannot fill postgres://umbra:***@127.0.0.1:1/moved: " in said and "refused" in said and pg.PASSWORD not in said
    cut = tmp_path / "cut"
    cut.write_bytes(out.read_bytes()[:-20])
    assert "cut off" in server.run("metadata", "import", cut, env=there).err
    server.run("metadata", "import", out, env=there, check=True)
    assert "only an empty store" in server.run("metadata", "import", out, env=there).err

    server.env["UMBRA_METADATA"] = there["UMBRA_METADATA"]
    server.start()
    for key, body in bodies.items():
        assert read(c, "bucket", key) == body
    c.complete_multipart_upload(Bucket="bucket", Key="large", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    c.put_object(Bucket="bucket", Key="k0", Body=b"newer")
    bodies.update(large=b"part", k0=b"newer")
    assert "a server is running" in server.run("metadata", "import", out, env=there).err
    server.stop()

    # What is still in the directory is old by now: neither served, nor taken for the store by another command.
    assert "give the setting metadata as it was" in _refused_start(server, place)
    for command in (["metadata", "export", tmp_path / "stale"], ["backup", tmp_path / "stale"]):
        done = server.run(*command, env=place)
        assert done.status == 1 and "in a database" in done.err, repr(done)
    server.run("metadata", "export", back, env=there, check=True)
    for old in (server.data_dir / "meta").iterdir():
        old.unlink()
    assert "give the setting metadata as it was" in _refused_start(server, place)
    server.run("metadata", "import", back, env=place, check=True)
    del server.env["UMBRA_METADATA"]
    server.start()
    for key, body in bodies.items():
        assert read(c, "bucket", key) == body
    c.put_object(Bucket="bucket", Key="k1", Body=b"newest")
    assert read(c, "bucket", "k1") == b"newest"
    server.remove()


def test_the_place_of_contents_moves_with_the_metadata(database, engine, tmp_path):
    """From a database into a data directory: no server starts there that would look for the contents elsewhere."""
    there = {"UMBRA_METADATA": database.database("placed")}
    keys = {**engine.env(), "UMBRA_MASTER_KEY": "5e" * 32}
    server = Umbra(tmp_path / "umbra", "--blobs", engine.url("placed"), env={**keys, **there}).start()
    server.client().create_bucket(Bucket="bucket")
    server.client().put_object(Bucket="bucket", Key="k", Body=content(MIB, 1))
    server.stop()
    dump, other = tmp_path / "dump", tmp_path / "other"
    written = server.run("metadata", "export", dump, env=there, check=True)

    other.mkdir()
    (other / "contents").write_text("disk\n")
    said = server.run("metadata", "import", dump, env={"UMBRA_DATA_DIR": str(other)})
    assert said.status == 1 and f"its contents are at s3://{BUCKET}/placed, and those of {other} at disk: give another" in said.err, repr(said)
    assert not (other / "meta" / "umbra.db").exists()

    del server.env["UMBRA_METADATA"]
    server.data_dir = tmp_path / "embedded"
    into = {"UMBRA_DATA_DIR": str(server.data_dir)}
    said = server.run("metadata", "import", dump, env=into, check=True)
    # What says which nodes ran is no use in a copy, and the two counts are told apart by it.
    told = re.fullmatch(r"(\d+) records were read from (.*) into the data directory (.*); (\d+) records? of the nodes that ran (was|were) left out\n", said.out)
    assert told and told[2] == str(dump) and told[3] == str(server.data_dir), repr(said)
    assert int(told[4]) > 0 and written.out.startswith(f"{int(told[1]) + int(told[4])} records were written"), repr((written, said))
    assert (server.data_dir / "contents").read_text() == f"s3://{BUCKET}/placed\n"
    for wrong in ([], ["--blobs", engine.url("mistyped")]):
        assert f"keeps its contents at s3://{BUCKET}/placed" in _refused_start(server, keys, *wrong)
    server.start()
    assert read(server.client(), "bucket", "k") == content(MIB, 1)
    server.stop()

    # And on, from there, into another one, whose rows say the same.
    dump.unlink()
    again = {"UMBRA_METADATA": database.database("placed_again")}
    server.run("metadata", "export", dump, env=into, check=True)
    said = server.run("metadata", "import", dump, env=again, check=True)
    assert f"records were read from {dump} into postgres://umbra:***@" in said.out + said.err
    server.data_dir, server.flags[1] = tmp_path / "fresh", engine.url("mistyped")
    assert f"kept at s3://{BUCKET}/placed, and this server" in _refused_start(server, {**again, **keys}, *server.flags)
    server.remove()


def test_contents_on_a_disk_stay_with_their_directory(database, tmp_path):
    """A directory that has none of them, or others, is not filled with metadata that name them."""
    there = {"UMBRA_METADATA": database.database("on_disk")}
    server = Umbra(tmp_path / "umbra", env=there).start()
    server.client().create_bucket(Bucket="bucket")
    server.stop()
    dump, other = tmp_path / "dump", tmp_path / "other"
    server.run("metadata", "export", dump, env=there, check=True)
    done = server.run("metadata", "import", dump, env={"UMBRA_DATA_DIR": str(other)})
    node = (server.data_dir / "node").read_text().strip()
    assert f"its contents are in the data directory of node {node}, and {other} has none" in done.err and done.status == 1, repr(done)
    server.run("metadata", "import", dump, env={"UMBRA_DATA_DIR": str(server.data_dir)}, check=True)

    (server.data_dir / "node").rename(tmp_path / "node")
    (server.data_dir / "node").write_text("fedcba9876543210\n")
    (server.data_dir / "node").chmod(0o600)
    again = {"UMBRA_DATA_DIR": str(server.data_dir)}
    (server.data_dir / "meta" / "umbra.db").unlink()
    said = server.run("metadata", "import", dump, env=again)
    assert said.status == 1 and f"of node {node}, and {server.data_dir} is the data directory of node fedcba9876543210" in said.err, repr(said)
    (tmp_path / "node").rename(server.data_dir / "node")
    server.run("metadata", "import", dump, env=again, check=True)
    server.remove()


def test_contents_on_a_disk_are_found_by_the_directory_that_has_them(database, tmp_path):
    """What a data directory had goes into a database: no server on another directory begins there, which would find none of the contents."""
    if os.environ.get("CONFORMANCE_BLOBS") == "s3":
        pytest.skip("the contents are to be on the disk")
    server = Umbra(tmp_path / "umbra")
    server.env.pop("UMBRA_METADATA", None)
    server.start()
    server.client().create_bucket(Bucket="bucket")
    server.client().put_object(Bucket="bucket", Key="k", Body=content(MIB, 1))
    dump, there = tmp_path / "dump", {"UMBRA_METADATA": database.database("from_disk")}
    server.run("metadata", "export", dump, env={"UMBRA_DATA_DIR": str(server.data_dir)}, check=True)
    server.stop()
    server.run("metadata", "import", dump, env=there, check=True)
    other = Umbra(tmp_path / "other", env={"UMBRA_MASTER_KEY": (server.data_dir / "secret.key").read_text().strip()})
    node = (server.data_dir / "node").read_text().strip()
    said = _refused_start(other, {**other.env, **there})
    assert f"are in the data directory of node {node} (its file `node`), and this is the data directory of node " in said, said
    server.env.update(there)
    server.start()
    assert read(server.client(), "bucket", "k") == content(MIB, 1)
    server.remove()


def _refused_start(server, env, *flags):
    """What a server says that does not start on this data directory."""
    done = server.run("serve", *flags, "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", env=env)
    assert done.status == 1 and done.err.count("\n") == 1 and "panicked" not in done.err, repr(done)
    return done.err


def test_a_forgotten_move_is_told(database, tmp_path):
    """A data directory with buckets is not begun anew in an empty database; one without them is, and is then bound to it."""
    server = Umbra(tmp_path / "umbra")
    server.env.pop("UMBRA_METADATA", None)
    server.start()
    server.stop()
    server.env["UMBRA_METADATA"] = database.database("forgotten")
    server.start()
    server.stop()
    del server.env["UMBRA_METADATA"]
    assert "give the setting metadata as it was" in _refused_start(server, {})
    server.remove()

    server.start()
    server.client().create_bucket(Bucket="bucket")
    server.stop()
    out = tmp_path / "out"
    there = {"UMBRA_METADATA": database.database("forgotten_too")}
    said = _refused_start(server, there)
    assert "umbra.db are not in the database" in said and "umbra metadata import" in said, said
    server.run("metadata", "export", out, env={"UMBRA_DATA_DIR": str(server.data_dir)}, check=True)
    server.run("metadata", "import", out, env=there, check=True)
    server.env.update(there)
    server.start()
    server.client().head_bucket(Bucket="bucket")
    server.stop()
    # Nor in another one that is empty, by a name that was mistyped.
    said = _refused_start(server, {"UMBRA_METADATA": database.database("mistyped")})
    assert "was among the nodes of the store" in said and "mend the setting metadata" in said, said
    server.start()
    server.client().head_bucket(Bucket="bucket")
    server.remove()


def test_the_password_is_never_shown(server):
    """Neither in the log, nor in what is printed, nor in the settings; a file and PGPASSWORD do as well as the URL."""
    url = server.env["UMBRA_METADATA"]
    assert pg.PASSWORD in url
    shown = server.run("settings", env={"UMBRA_METADATA": url})
    assert ":***@" in shown.out and pg.PASSWORD not in shown.out + shown.err
    help_text = server.run("serve", "--help", env={"UMBRA_METADATA": url})
    assert pg.PASSWORD not in help_text.out
    server.env["UMBRA_LOG"] = "debug"
    server.restart()
    server.client().create_bucket(Bucket="bucket")

    bare = url.replace(f":{pg.PASSWORD}", "")
    secret = server.dir / "secret"
    secret.write_text(pg.PASSWORD + "\n")
    secret.chmod(0o600)
    for more in ({"PGPASSWORD": pg.PASSWORD}, {"UMBRA_METADATA_PASSWORD_FILE": str(secret)}):
        server.stop()
        server.env = {k: v for k, v in server.env.items() if k not in ("PGPASSWORD", "UMBRA_METADATA_PASSWORD_FILE")} | more
        server.env["UMBRA_METADATA"] = bare
        server.start()
        server.client().head_bucket(Bucket="bucket")
    logged = server.log_path.read_text(errors="replace")
    assert pg.PASSWORD not in logged + server.stdout()
    assert "umbra_kv" not in logged, "what the database is sent is not logged"


def test_servers_that_cannot_share_a_database(server, tmp_path):
    """A second server on the same database whose contents are on its own disk is refused and says why; the first goes on."""
    argv = [binary(), "serve", "--data-dir", tmp_path / "second", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    env = {**server.env, "UMBRA_MASTER_KEY": (server.data_dir / "secret.key").read_text().strip()}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=60)
    said = done.stderr.decode()
    assert done.returncode == 1 and "need a bucket for contents" in said and "panicked" not in said, said
    server.client().create_bucket(Bucket="still-serving")


def test_a_database_that_cannot_be_reached_is_told(database, tmp_path):
    """One line that says what to do; no password in it."""
    cases = [
        (database.url("no_such_database"), "no_such_database"),
        (database.url(password="wrong-secret"), "password authentication failed"),
        ("mysql://nowhere", "must be empty or begin with postgres://"),
    ]
    for url, named in cases:
        server = Umbra(tmp_path / "umbra", env={"UMBRA_METADATA": url})
        argv = [binary(), "serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        done = subprocess.run(argv, env=server.env, capture_output=True, timeout=60)
        said = done.stderr.decode()
        assert done.returncode == 1 and named in said and "panicked" not in said, said
        assert "secret" not in said.lower(), said


def test_tls_to_the_database(tmp_path):
    """With an authority named the connections are by TLS; a certificate nobody vouches for, or for another name, is refused."""
    database = pg.Postgres(pg.open_to_others(tmp_path) / "p", tls=True).start()
    try:
        cert = tmp_path / "cert.pem"
        cert.write_bytes((database.dir / "cert.pem").read_bytes())
        server = Umbra(tmp_path / "umbra", env={"UMBRA_METADATA": f"{database.url()}?sslmode=verify-full&sslrootcert={cert}"}).start()
        server.client().create_bucket(Bucket="bucket")
        used = database.sql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'umbra'")
        assert used == "t"
        server.remove()
        others = [f"{database.url()}?sslmode=require", f"{database.url()}?sslrootcert={cert}".replace("127.0.0.1", "localhost")]
        for url in others:
            env = {**server.env, "UMBRA_METADATA": url}
            argv = [binary(), "serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
            said = subprocess.run(argv, env=env, capture_output=True, timeout=60).stderr.decode()
            assert "certificate" in said and pg.PASSWORD not in said, said
    finally:
        database.remove()


@pytest.mark.timeout(300)
def test_the_database_crashes_under_load(database, server):
    """It restarts four times under writes: nothing acknowledged is lost, nothing refused is there, and the server stays up."""
    server.client().create_bucket(Bucket="crash")
    workers = [Worker(n, "crash", seed=3) for n in range(4)]
    for worker in workers:
        worker.connect(s3(server.endpoint, server.access_key, server.secret_key))
        worker.start()
    try:
        for _ in range(4):
            goal = sum(w.acknowledged for w in workers) + 40
            until("some writes", lambda: sum(w.acknowledged for w in workers) >= goal, 60)
            database.restart()
            for worker in workers:
                worker.ready.set()
    finally:
        for worker in workers:
            worker.stopping.set()
        for worker in workers:
            worker.join(70)
    assert not [w.wrong for w in workers if w.wrong]
    assert server.process.running()
    check(server.client(), "crash", workers)
    assert "panicked" not in server.log_path.read_text(errors="replace")
