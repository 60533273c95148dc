"""What docs/operations.md says of stores whose metadata is in a database, or whose contents are in a bucket: back to an earlier moment, and to another place."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import postgres as pg
from harness.clients import keys_of, read, refused, walk_v2
from harness.data import KIB, MIB, content
from harness.engine import BUCKET
from harness.process import clean_environment
from harness.shadowed import name
from harness.umbra import Umbra
from harness.wait import until

pytestmark = pytest.mark.skipif(os.environ.get("CONFORMANCE_METADATA") == "postgres", reason="these have databases of their own")
MASTER_KEY = "5c" * 32


def _archiving(directory):
    """PostgreSQL that archives its log."""
    directory.mkdir()
    place = pg.open_to_others(directory) / "p"
    database = pg.Postgres(place, options=f"-c archive_mode=on -c archive_command='cp %p {place}/archive/%f'")
    place.mkdir()
    archive = place / "archive"
    archive.mkdir()
    if database.user:
        os.chown(archive, database.user.pw_uid, database.user.pw_gid)
    return database.start()


@pytest.mark.timeout(240)
@pytest.mark.skipif(pg.programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql")
def test_back_to_a_moment(tmp_path, engine):
    """Holds "A database restored to a moment within the grace finds every content it names.": overwritten and deleted since, in the bucket still."""
    database = _archiving(tmp_path / "postgres")
    env = {"UMBRA_METADATA": database.url(), "UMBRA_MASTER_KEY": MASTER_KEY, **engine.env()}
    flags = ["--blobs", engine.url(name("restored")), "--reclaim-grace", "3600"]
    server = Umbra(tmp_path / "umbra", *flags, env=env).start()
    try:
        c = server.client()
        c.create_bucket(Bucket="bucket")
        bodies = {f"k{n}": content(n * 40 * KIB + 10, n) for n in range(8)}
        for key in list(bodies)[:4]:
            c.put_object(Bucket="bucket", Key=key, Body=bodies[key])
        base = database.dir / "base"
        database.run("pg_basebackup", "-d", database.url(), "-D", base, "-X", "none", "-c", "fast")
        assert (base / "PG_VERSION").exists()
        for key in list(bodies)[4:]:
            c.put_object(Bucket="bucket", Key=key, Body=bodies[key])
        moment = database.sql("SELECT clock_timestamp()")
        for key in bodies:
            c.put_object(Bucket="bucket", Key=key, Body=content(50 * KIB, 99))
            c.delete_object(Bucket="bucket", Key=key)
        c.put_object(Bucket="bucket", Key="later", Body=b"later")
        assert keys_of(walk_v2(c, "bucket")) == ["later"]

        server.stop()
        database.sql("SELECT pg_switch_wal()")
        database.stop("fast")
        (database.dir / "data").rename(database.dir / "lost")
        base.rename(database.dir / "data")
        (database.dir / "data" / "recovery.signal").touch()
        database.options = f"-c restore_command='cp {database.dir}/archive/%f %p' -c recovery_target_time='{moment}' -c recovery_target_action=promote"
        database.resume()
        until("it is promoted", lambda: database.sql("SELECT pg_is_in_recovery()") == "f", 60)

        # On another machine: nothing of the data directory is needed but the key. As of that moment the first server runs: its lease has to end.
        again = Umbra(tmp_path / "again", *flags, env=env).start(ready=False)
        until("it leads", lambda: "Umbra is ready" in again.stdout() or not again.process.running(), 120)
        again.await_ready()
        c = again.client()
        for key, body in bodies.items():
            assert read(c, "bucket", key) == body
        assert keys_of(walk_v2(c, "bucket")) == sorted(bodies)
        c.put_object(Bucket="bucket", Key="new", Body=content(MIB, 5))
        assert read(c, "bucket", "new") == content(MIB, 5)
        again.remove()
    finally:
        server.remove()
        database.remove()


def test_another_key_is_refused(tmp_path, engine):
    """Holds "All servers of one store have the same key-encryption key.": with another one a server does not start, and says why."""
    server = Umbra(tmp_path / "umbra", env={"UMBRA_MASTER_KEY": MASTER_KEY}).start()
    server.stop()
    done = server.run("serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", env={"UMBRA_MASTER_KEY": "ab" * 32})
    assert done.status == 1 and "key-encryption key" in done.err, repr(done)


@pytest.mark.timeout(240)
def test_contents_move_to_another_engine(tmp_path, engine, other_engine):
    """Holds "Contents in a bucket move to a bucket of the same name by copying its objects.": once while the server runs, once more when it is stopped."""
    prefix = name("moved")
    server = Umbra(tmp_path / "umbra", "--blobs", engine.url(prefix), env=engine.env()).start()
    c = server.client()
    c.create_bucket(Bucket="bucket")
    bodies = {f"k{n}": content(n * 700 * KIB + 10, n) for n in range(8)}

    def copy():
        for verb, source, target, at in (("sync", f"s3://{BUCKET}/{prefix}", tmp_path / "by", engine), ("sync", tmp_path / "by", f"s3://{BUCKET}/{prefix}", other_engine)):
            env = clean_environment(server.home, AWS_ACCESS_KEY_ID=at.seaweed.access_key, AWS_SECRET_ACCESS_KEY=at.seaweed.secret_key, AWS_DEFAULT_REGION="us-east-1")
            aws = Path(sys.executable).parent / "aws"
            done = subprocess.run([aws, "s3", verb, "--only-show-errors", "--endpoint-url", at.seaweed.endpoint, source, target], env=env, capture_output=True, timeout=120)
            assert done.returncode == 0, done.stderr.decode()

    for key in list(bodies)[:5]:
        c.put_object(Bucket="bucket", Key=key, Body=bodies[key])
    copy()
    for key in list(bodies)[5:]:
        c.put_object(Bucket="bucket", Key=key, Body=bodies[key])
    c.delete_object(Bucket="bucket", Key="k1")
    del bodies["k1"]
    server.stop()
    copy()
    server.flags = ["--blobs", other_engine.url(prefix)]
    server.env.update(other_engine.env())
    server.start()
    for key, body in bodies.items():
        assert read(c, "bucket", key) == body
    assert refused(c.get_object, Bucket="bucket", Key="k1").code == "NoSuchKey"
    c.put_object(Bucket="bucket", Key="k0", Body=content(MIB, 9))
    assert read(c, "bucket", "k0") == content(MIB, 9)
    server.remove()


@pytest.mark.timeout(240)
def test_contents_move_from_the_disk_to_a_bucket(tmp_path, engine):
    """Holds "Contents move between the disk and a bucket by way of a second server.": it shadows the first, bucket by bucket, with the metadata of the objects."""
    if os.environ.get("CONFORMANCE_BLOBS") == "s3":
        pytest.skip("the first server is to have its contents on the disk")
    old = Umbra(tmp_path / "old").start()
    c = old.client()
    c.create_bucket(Bucket="photos")
    bodies = {f"dir/k{n}": content(n * 300 * KIB + 10, n) for n in range(12)}
    for key, body in bodies.items():
        c.put_object(Bucket="photos", Key=key, Body=body, Metadata={"of": key}, ContentType="image/x", Tagging="a=b")
    etags = {key: c.head_object(Bucket="photos", Key=key)["ETag"] for key in bodies}
    new = Umbra(tmp_path / "new", "--blobs", engine.url(name("new")), env=engine.env()).start()
    origin = ["--shadow-endpoint", old.endpoint, "--shadow-region", "auto"]
    keys = {"UMBRA_SHADOW_ACCESS_KEY": old.access_key, "UMBRA_SHADOW_SECRET_KEY": old.secret_key}
    new.storage("create", "-n", "photos", "-o", "my-org", *origin, "--shadow-write-through", env=keys)
    there = new.client()
    there.put_object(Bucket="photos", Key="during", Body=b"during")
    assert read(c, "photos", "during") == b"during", "one can go back"
    new.storage("migrate", "photos", "--wait")
    new.storage("verify", "photos", "--deep")
    new.storage("update", "photos", "--clear-shadow")
    old.stop()
    for key, body in bodies.items():
        found = there.head_object(Bucket="photos", Key=key)
        assert (found["ETag"], found["Metadata"], found["ContentType"]) == (etags[key], {"of": key}, "image/x")
        assert read(there, "photos", key) == body
        assert there.get_object_tagging(Bucket="photos", Key=key)["TagSet"] == [{"Key": "a", "Value": "b"}]
    old.remove()
    new.remove()
