"""`umbra backup`, and what restoring needs: everything acknowledged before the backup began is there afterwards, whatever went on meanwhile."""

import fcntl
import itertools
import os
import shutil
import threading

import pytest

from harness.clients import keys_of, put_multipart, read, walk_v2
from harness.data import KIB, MIB, content
from harness.umbra import Umbra
from harness.wait import until

pytestmark = pytest.mark.skipif(
    os.environ.get("CONFORMANCE_METADATA") == "postgres" or os.environ.get("CONFORMANCE_BLOBS") == "s3",
    reason="it is about what is kept in the data directory",
)
SIZES = [100, 40 * KIB, 9 * MIB]


class Writer(threading.Thread):
    """Adds keys that stay, and writes a few over and over; knows what of both was acknowledged."""

    def __init__(self, client, number):
        super().__init__(daemon=True)
        self.client, self.number = client, number
        self.stopping = threading.Event()
        self.added, self.rounds, self.error = 0, 0, None

    def run(self):
        try:
            for n in itertools.count(1):
                if self.stopping.is_set():
                    return
                self.client.put_object(Bucket="busy", Key=f"{self.number}/stays/{n:05d}", Body=self.body(n))
                self.added = n
                for size in range(len(SIZES)):
                    self.client.put_object(Bucket="busy", Key=self.hot(size), Body=self.body(n, size))
                self.rounds = n
                key = f"{self.number}/passes"
                self.client.put_object(Bucket="busy", Key=key, Body=self.body(n))
                self.client.delete_object(Bucket="busy", Key=key)
        except Exception as error:  # noqa: BLE001: shown by the test
            self.error = error

    def hot(self, size):
        return f"{self.number}/hot/{size}"

    def body(self, n, size=None):
        head = f"{n:08d}".encode()
        return head + content(SIZES[(n if size is None else size) % len(SIZES)] - len(head), self.number)

    def check(self, client, added, rounds):
        """What was acknowledged by then is in `client`'s store; of what was overwritten, that or something newer, whole."""
        for n in range(1, added + 1):
            assert read(client, "busy", f"{self.number}/stays/{n:05d}") == self.body(n)
        for size in range(len(SIZES)):
            found = read(client, "busy", self.hot(size))
            n = int(found[:8])
            assert n >= rounds and found == self.body(n, size)


def _backup(server, to, *flags):
    return server.run("backup", to, "--data-dir", server.data_dir, *flags, timeout=300)


def _restored(directory, copy, **options):
    """A server on a backup."""
    server = Umbra(directory, **options)
    shutil.copytree(copy, server.data_dir, dirs_exist_ok=True)
    return server.start()


@pytest.mark.timeout(300)
def test_backup_under_writes(tmp_path):
    """Holds "What was acknowledged before a backup of the data directory began is in it.": under overwrites, deletes and a bucket that goes, reclaimed at once."""
    server = Umbra(tmp_path / "umbra", "--reclaim-grace", "1").start()
    c = server.client()
    kept = {f"k{n:03d}": content(SIZES[n % 2] + n, n) for n in range(60)}
    for bucket in ("kept", "goes", "busy"):
        c.create_bucket(Bucket=bucket)
    for key, body in kept.items():
        c.put_object(Bucket="kept", Key=key, Body=body, Metadata={"of": key})
        c.put_object(Bucket="goes", Key=key, Body=body)
    parts = [content(9 * MIB, 1), content(5 * KIB, 2)]
    put_multipart(c, "kept", "parts", parts)
    upload = c.create_multipart_upload(Bucket="kept", Key="open")["UploadId"]
    tag = c.upload_part(Bucket="kept", Key="open", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    key = server.run("key", "create", "--bucket", "kept", "--role", "admin", "--json", check=True).json()

    writers = [Writer(server.client(), number) for number in range(3)]
    for writer in writers:
        writer.start()
    copy = tmp_path / "copy"
    try:
        until("some writes", lambda: all(w.rounds >= 3 or w.error for w in writers), 60)
        known = [(w.added, w.rounds) for w in writers]
        done = _backup(server, copy)
        assert done.status == 0, repr(done)
        server.storage("destroy", "goes", "-y")
        until("more writes", lambda: all(w.rounds > known[i][1] or w.error for i, w in enumerate(writers)), 60)
    finally:
        for writer in writers:
            writer.stopping.set()
    for writer in writers:
        writer.join(60)
    assert not [w.error for w in writers if w.error]
    server.remove()

    restored = _restored(tmp_path / "restored", copy)
    there = restored.client()
    for writer, (added, rounds) in zip(writers, known):
        writer.check(there, added, rounds)
    for bucket in ("kept", "goes"):
        for name, body in kept.items():
            assert read(there, bucket, name) == body
    assert there.head_object(Bucket="kept", Key="k007")["Metadata"] == {"of": "k007"}
    assert read(there, "kept", "parts") == b"".join(parts)
    of_bucket = restored.client(key["access_key"], key["secret_key"])
    of_bucket.complete_multipart_upload(Bucket="kept", Key="open", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    assert read(there, "kept", "open") == b"part"
    assert keys_of(walk_v2(there, "kept", MaxKeys=50)) == sorted([*kept, "open", "parts"])
    restored.remove()


def test_nothing_is_reclaimed_during_a_backup(tmp_path):
    """What was deleted after the backup began stays until it ends, a bucket as a whole too, over a restart of the server; then its space is given back."""
    server = Umbra(tmp_path / "umbra", "--reclaim-grace", "1").start()
    c = server.client()
    c.create_bucket(Bucket="bucket")
    large = server.data_dir / "blobs" / "big"

    def files():
        return [path for path in large.rglob("*") if path.is_file()]

    c.put_object(Bucket="bucket", Key="large", Body=content(9 * MIB, 1))
    [file] = files()
    with open(server.data_dir / "blobs" / "hold", "rb+") as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)
        c.delete_object(Bucket="bucket", Key="large")
        server.restart()
        # A second one, by whose row one sees that the reclaimer has been there.
        c.put_object(Bucket="bucket", Key="second", Body=content(9 * MIB, 2))
        c.delete_object(Bucket="bucket", Key="second")
        exported = itertools.count()

        def rows():
            out = tmp_path / f"export{next(exported)}"
            return server.run("metadata", "export", out, "--data-dir", server.data_dir, check=True).out

        first = rows()
        until("the reclaimer has been there", lambda: rows() != first, 30, 0.2)
        c.create_bucket(Bucket="goes")
        c.put_object(Bucket="goes", Key="third", Body=content(9 * MIB, 3))
        server.storage("destroy", "goes", "-y")
        until("the bucket is emptied", lambda: "a destroyed bucket is emptied" in server.log_path.read_text(), 30)
        assert file.exists() and len(files()) == 3
    until("their space is given back", lambda: files() == [], 30)
    server.remove()


def test_a_backup_says_what_it_does(tmp_path):
    """One line; the keys are private, and may be left out; what is there is not overwritten; what cannot be backed up so is told."""
    server = Umbra(tmp_path / "umbra", root=False).start()
    copy, bare = tmp_path / "copy", tmp_path / "bare"
    done = _backup(server, copy)
    assert done.status == 0 and str(copy) in done.out and "files" in done.out, repr(done)
    assert sorted(p.name for p in copy.iterdir()) == ["blobs", "contents", "format", "meta", "root-key.json", "secret.key"]
    assert copy.stat().st_mode & 0o777 == 0o700
    assert all((copy / name).stat().st_mode & 0o777 == 0o600 for name in ("root-key.json", "secret.key"))
    again = _backup(server, copy)
    assert again.status == 1 and "is there already" in again.err
    assert _backup(server, bare, "--without-keys").status == 0
    assert sorted(p.name for p in bare.iterdir()) == ["blobs", "contents", "format", "meta"]
    server.stop()
    assert _backup(server, tmp_path / "stopped").status == 0, "a server that is stopped has one, too"

    nothing = server.run("backup", tmp_path / "none", "--data-dir", tmp_path / "nowhere")
    assert nothing.status == 1 and "nowhere" in nothing.err and "panicked" not in nothing.err, repr(nothing)
    elsewhere = server.run("backup", tmp_path / "none", "--metadata", "postgres://u@127.0.0.1/d")
    assert elsewhere.status == 1 and "in a database" in elsewhere.err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("none")]

    without = Umbra(tmp_path / "without", root=False)
    shutil.copytree(bare, without.data_dir)
    process = without.start(ready=False).process
    until("it has ended", lambda: not process.running(), 30)
    assert "secret.key is missing" in without.log_path.read_text()
    server.remove()


def test_the_key_in_a_file(tmp_path):
    """Holds "All servers of one store have the same key-encryption key.": from `--master-key-file`; another key is refused, and so is a second."""
    file, other = tmp_path / "key", tmp_path / "other"
    for path, digits in ((file, "1f" * 32), (other, "2e" * 32)):
        path.write_text(digits + "\n")
        path.chmod(0o600)
    server = Umbra(tmp_path / "umbra", "--master-key-file", str(file)).start()
    server.client().create_bucket(Bucket="bucket")
    assert not (server.data_dir / "secret.key").exists()
    server.restart()
    server.stop()
    for flags, env, said in (
        (["--master-key-file", str(other)], {}, "key-encryption key"),
        (["--master-key-file", str(file)], {"UMBRA_MASTER_KEY": "1f" * 32}, "given twice"),
        (["--master-key-file", str(tmp_path / "none")], {}, "there is no"),
    ):
        done = server.run("serve", "--data-dir", server.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", *flags, env=env)
        assert done.status == 1 and said in done.err, repr(done)
        assert "1f1f" not in done.err and "2e2e" not in done.err
    server.remove()
