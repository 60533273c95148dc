"""Databases that keep their log and their backups in a bucket, are destroyed, and are brought back from it."""

import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import boto3

from bench import Missing, same
from harness import process
from harness.umbra import Umbra
from harness.wait import until


def litestream(b):
    """SQLite."""
    b.has("litestream")
    b.boto.create_bucket(Bucket=b.bucket)
    database = b.work / "db.sqlite"
    connection = sqlite3.connect(database)
    connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (n INTEGER);")
    b.file("l.yml", f"dbs:\n - path: {database}\n   replicas:\n    - type: s3\n      bucket: {b.bucket}\n      path: db\n      endpoint: {b.endpoint}\n      region: us-east-1\n      force-path-style: true\n      sync-interval: 200ms\n".encode())
    running = process.Process("litestream", ["litestream", "replicate", "-config", "l.yml"], b.work / "litestream.log", b.env, cwd=b.work).start()

    def replicate():
        for number in range(200):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
            connection.commit()
        until("what is in the bucket", lambda: b.boto.list_objects_v2(Bucket=b.bucket, Prefix="db")["KeyCount"])

    b.step("replicate", replicate)
    # What is left it sends as it ends.
    b.step("stop", lambda: same(running.terminate(), 0))
    running.kill()
    b.step("restore", lambda: b.run("litestream", "restore", "-config", "l.yml", "-o", "restored.sqlite", database))
    b.step("compare", lambda: same(sqlite3.connect(b.work / "restored.sqlite").execute("SELECT count(*), sum(n) FROM t").fetchone(), (200, 19900)))


class Cluster:
    """A PostgreSQL server of its own: on a socket only, and as another user where this one is root, as whom it refuses to run."""

    # Every row counts, in order.
    ROWS = "SELECT count(*) || ' ' || md5(string_agg(n || v, ',' ORDER BY n)) FROM t"

    def __init__(self, b):
        # Debian's wrappers of these do not know this cluster; the programs themselves are here.
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
        b.env["PATH"] = ":".join([*map(str, programs), b.env["PATH"]])
        for program in ["initdb", "postgres", "pg_basebackup", "psql"]:
            if not shutil.which(program, path=b.env["PATH"]):
                raise Missing(f"skipped: PostgreSQL's {program} is not on this machine")
        self.b, self.home, self.child = b, b.work / "pg", None
        self.data, self.log = self.home / "data", self.home / "log"
        self.home.mkdir()
        self.user = {}
        if os.geteuid() == 0:
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = known.get("postgres") or known["nobody"]
            self.user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(self.home, entry.pw_uid, entry.pw_gid)
            for directory in [b.work, b.work.parent]:
                directory.chmod(0o711)
        self.env = {**b.env, "HOME": str(self.home), "PGHOST": str(self.home), "PGUSER": "test", "PGDATABASE": "postgres"}

    def tool(self, name):
        """A program as that user can reach it, wherever it was installed."""
        self.b.has(name)
        return shutil.copy(shutil.which(name, path=self.b.env["PATH"]), self.home / name)

    def run(self, *argv, **options):
        done = subprocess.run([str(a) for a in argv], env=self.env, cwd=self.home, capture_output=True, timeout=120, **self.user, **options)
        if done.returncode:
            raise AssertionError(f"{argv[0]} ended with {done.returncode}: {(done.stderr or done.stdout).decode(errors='replace')[-400:]}")
        return done.stdout.decode()

    def shell(self, script):
        return self.run("bash", "-euo", "pipefail", "-c", script)

    def sql(self, statement):
        return self.run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement).strip()

    def create(self, archive_command):
        self.run("initdb", "--no-sync", "-A", "trust", "-U", "test", "-D", self.data)
        self.configure(archive_mode="on", archive_command=archive_command, listen_addresses="", unix_socket_directories=str(self.home))

    def configure(self, **settings):
        with open(self.data / "postgresql.conf", "a") as file:
            for name, value in settings.items():
                quoted = value.replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def start(self, until_true="SELECT NOT pg_is_in_recovery()"):
        with open(self.log, "ab") as log:
            argv = ["postgres", "-D", str(self.data)]
            self.child = subprocess.Popen(argv, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.user)
        until("PostgreSQL to take writes", lambda: self.says(until_true), 60, 0.1)

    def says(self, question):
        assert self.child.poll() is None, f"postgres ended: {self.log.read_text()[-300:]}"
        try:
            return self.sql(question) == "t"
        except AssertionError:
            return False

    def archived(self):
        """Closes the segment of the log that is being written, and waits until it is archived."""
        segment = self.sql("SELECT pg_walfile_name(pg_switch_wal())")
        until(f"{segment} to be archived", lambda: self.says(f"SELECT coalesce(max(last_archived_wal) >= '{segment}', false) FROM pg_stat_archiver"), 60, 0.1)

    def destroy(self):
        """Stops it in the middle of everything, and takes its disk away."""
        self.stop()
        shutil.rmtree(self.data)

    def stop(self):
        if self.child and self.child.poll() is None:
            # An immediate shutdown: the server ends its children and goes.
            self.child.send_signal(signal.SIGQUIT)
            try:
                self.child.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.child.pid, signal.SIGKILL)
                self.child.wait()


def fill(first, last):
    return f"INSERT INTO t SELECT n, repeat(md5(n::text), 10) FROM generate_series({first}, {last}) n"


def to_a_moment(b, cluster, back_up, restore):
    """Backs a cluster up, writes on, destroys it, and restores it to a moment between two writes that came after the backup."""
    wanted, moment = [], []

    def written_before():
        cluster.sql(fill(20_001, 40_000))
        wanted.append(cluster.sql(cluster.ROWS))
        moment.append(cluster.sql("SELECT clock_timestamp()"))

    def written_after():
        cluster.sql("DELETE FROM t WHERE n % 2 = 0")
        cluster.sql(fill(40_001, 50_000))
        cluster.archived()

    b.step("start", lambda: (cluster.start(), cluster.sql("CREATE TABLE t (n INTEGER, v TEXT)"), cluster.sql(fill(1, 20_000))))
    b.step("base backup", back_up)
    b.step("archive", lambda: (written_before(), cluster.archived(), written_after()))
    b.step("restore", lambda: (cluster.destroy(), restore(moment[0]), cluster.start()))
    b.step("same rows", lambda: same(cluster.sql(cluster.ROWS), wanted[0]))
    b.step("archive anew", lambda: (cluster.sql(fill(60_001, 60_100)), cluster.archived()))


def postgres(b):
    """PostgreSQL's own archiving, base backup and recovery, with rclone as the commands it calls."""
    cluster = Cluster(b)
    rclone = cluster.tool("rclone")
    b.boto.create_bucket(Bucket=b.bucket)
    cluster.env.update(
        RCLONE_CONFIG=str(cluster.home / "none"), RCLONE_CONFIG_U_TYPE="s3", RCLONE_CONFIG_U_PROVIDER="Other", RCLONE_CONFIG_U_ACCESS_KEY_ID=b.key,
        RCLONE_CONFIG_U_SECRET_ACCESS_KEY=b.secret, RCLONE_CONFIG_U_ENDPOINT=b.endpoint, RCLONE_CONFIG_U_REGION="us-east-1", RCLONE_S3_CHUNK_SIZE="5M",
    )
    u = f"u:{b.bucket}"
    archive, fetch = f'{rclone} copyto --immutable "%p" {u}/wal/%f', f'{rclone} copyto {u}/wal/%f "%p"'

    def restore(moment):
        cluster.data.mkdir(0o700)
        if cluster.user:
            os.chown(cluster.data, cluster.user["user"], cluster.user["group"])
        cluster.shell(f"{rclone} cat {u}/base.tar | tar -x -C {cluster.data}")
        cluster.configure(restore_command=fetch, recovery_target_time=moment, recovery_target_action="promote")
        (cluster.data / "recovery.signal").touch()

    try:
        b.step("initdb", lambda: cluster.create(archive))
        to_a_moment(b, cluster, lambda: cluster.shell(f"pg_basebackup -D - -Ft -X fetch -c fast | {rclone} rcat {u}/base.tar"), restore)
        b.step("new timeline", lambda: same(b.gone("wal/00000002.history"), False))
    finally:
        cluster.stop()


def pgbackrest(b):
    """pgBackRest, which speaks to S3 by TLS alone: it has a server of its own."""
    cluster = Cluster(b)
    program = cluster.tool("pgbackrest")
    b.has("openssl")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    certificate, key = cluster.home / "cert.pem", cluster.home / "key.pem"
    b.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", *subject, "-keyout", key, "-out", certificate)
    server = Umbra(b.work / "umbra", "--tls-cert", certificate, "--tls-key", key).start(ready=False)
    try:
        printed = until("its address", lambda: next((w for w in server.stdout().split() if w.startswith("https://127.0.0.1:")), None))
        b.boto = boto3.client("s3", endpoint_url=printed, aws_access_key_id=b.key, aws_secret_access_key=b.secret, region_name="us-east-1", verify=str(certificate))
        b.boto.create_bucket(Bucket=b.bucket)
        settings = cluster.home / "pgbackrest.conf"
        settings.write_text(
            f"[global]\nrepo1-type=s3\nrepo1-path=/repo\nrepo1-s3-bucket={b.bucket}\nrepo1-s3-endpoint=localhost\nrepo1-s3-region=us-east-1\n"
            f"repo1-s3-key={b.key}\nrepo1-s3-key-secret={b.secret}\nrepo1-s3-uri-style=path\nrepo1-storage-host=localhost\n"
            f"repo1-storage-port={printed.rsplit(':', 1)[1]}\nrepo1-storage-ca-file={certificate}\nrepo1-bundle=y\nrepo1-retention-full=1\n"
            f"log-path={cluster.home}\nlock-path={cluster.home}/lock\nspool-path={cluster.home}/spool\nlog-level-file=off\nlog-level-console=warn\nstart-fast=y\n"
            f"\n[main]\npg1-path={cluster.data}\npg1-socket-path={cluster.home}\npg1-user=test\npg1-database=postgres\n"
        )
        rest = [program, f"--config={settings}", "--stanza=main"]
        called = " ".join(map(str, rest))

        def back_up():
            cluster.run(*rest, "stanza-create")
            cluster.run(*rest, "check")
            cluster.run(*rest, "--type=full", "backup")
            cluster.sql("UPDATE t SET v = v || 'x' WHERE n % 10 = 0")
            cluster.run(*rest, "--type=incr", "backup")

        def restore(moment):
            cluster.run(*rest, "--type=time", f"--target={moment}", "--target-action=promote", "restore")

        b.step("initdb", lambda: cluster.create(f'{called} archive-push "%p"'))
        to_a_moment(b, cluster, back_up, restore)
        b.step("expire", lambda: (cluster.run(*rest, "--type=full", "backup"), same(cluster.run(*rest, "info").count("full backup"), 1)))
        b.step("verify", lambda: cluster.run(*rest, "verify"))
    finally:
        cluster.stop()
        server.remove()
