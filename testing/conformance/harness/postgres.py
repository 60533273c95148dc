"""PostgreSQL, as a test's own: a directory, a port, databases.

With `CONFORMANCE_METADATA=postgres` every server under test keeps its metadata in a database of its own there.
"""

import glob
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from .certificates import self_signed
from .process import free_ports

USER, PASSWORD = "umbra", "postgresSecretOfTheTests"
_shared = None


def programs():
    """The directory with `initdb` and `pg_ctl`, which Debian keeps away from the path; nothing when there is none."""
    found = [*os.environ.get("PATH", "").split(":"), *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    return next((Path(d) for d in found if all((Path(d) / p).exists() for p in ("initdb", "pg_ctl", "postgres", "psql", "pg_basebackup"))), None)


def open_to_others(directory):
    """Where PostgreSQL runs as another user, that user has to get there."""
    for parent in [directory, *directory.parents][:4]:
        mode = parent.stat().st_mode
        if mode & 0o011 != 0o011:
            parent.chmod(mode | 0o011)
    return directory


class Postgres:
    """One server with password authentication, on loopback unless told."""

    def __init__(self, directory, tls=False, options="", host="127.0.0.1"):
        self.dir = Path(directory)
        self.tls, self.options, self.host = tls, options, host
        self.programs = programs()
        self.port = free_ports(1)[0]
        # It refuses to run as root, and then is given to another user.
        self.user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None

    def start(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        (self.dir / "password").write_text(PASSWORD)
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
            os.chown(self.dir / "password", self.user.pw_uid, self.user.pw_gid)
        if self.tls:
            for path in self_signed(self.dir, ca=False):
                path.chmod(0o600)
                if self.user:
                    os.chown(path, self.user.pw_uid, self.user.pw_gid)
        authentication = ["--auth=scram-sha-256", "--pwfile=password"]
        self.run("initdb", "-D", "data", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", *authentication)
        if self.host != "127.0.0.1":
            with open(self.dir / "data" / "pg_hba.conf", "a") as rules:
                rules.write("host all,replication all 10.0.0.0/8 scram-sha-256\n")
        return self.resume()

    def resume(self):
        options = f"-p {self.port} -c listen_addresses={self.host} -c unix_socket_directories= -c max_connections=400 {self.options}"
        if self.tls:
            options += f" -c ssl=on -c ssl_cert_file={self.dir}/cert.pem -c ssl_key_file={self.dir}/key.pem"
        self.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "120", "-o", options, "start")
        return self

    def stop(self, mode="immediate"):
        if (self.dir / "data" / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def restart(self):
        """As after a crash."""
        self.stop()
        self.resume()

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def url(self, database="postgres", password=PASSWORD):
        secret = f":{password}" if password else ""
        return f"postgres://{USER}{secret}@{self.host}:{self.port}/{database}"

    def sql(self, statement, database="postgres"):
        """What `psql` prints, without headings."""
        argv = [self.programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()

    def database(self, name):
        """The URL of the database `name`, made if there is none."""
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def run(self, program, *args):
        """Runs one of PostgreSQL's programs, as the user that it runs as and in its directory."""
        # Not the pipes of this process: what starts a server would hold them open.
        with open(self.dir / "out", "ab") as out:
            as_user = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
            argv = [self.programs / program, *args]
            done = subprocess.run(argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **as_user)
        assert done.returncode == 0, f"{program} {args}: {(self.dir / 'out').read_text()[-2000:]}"


    def log(self):
        """What it has logged: with `log_statement=all` every statement, and what it was given."""
        return (self.dir / "log").read_text(errors="replace")

    def freeze(self):
        """Stands still: connections stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        postmaster = int((self.dir / "data" / "postmaster.pid").read_text().split()[0])
        for pid in [postmaster, *_children(postmaster)]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


class Standby(Postgres):
    """A streaming replica of another server."""

    def __init__(self, directory, primary, host="127.0.0.1"):
        super().__init__(directory, options=primary.options, host=host)
        self.primary = primary

    def start(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self.run("pg_basebackup", "-D", "data", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", self.primary.url())
        return self.resume()

    def pause(self):
        """Goes on to receive, and shows nothing new."""
        self.sql("SELECT pg_wal_replay_pause()")

    def unpause(self):
        self.sql("SELECT pg_wal_replay_resume()")

    def promote(self):
        assert self.sql("SELECT pg_promote()") == "t"


def _children(parent):
    """The processes that `parent` has begun."""
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            if int(Path(stat).read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(stat.split("/")[2])
        except OSError:
            pass


def wanted(directory):
    """The database for a server in `directory`, when servers are to have one."""
    if os.environ.get("CONFORMANCE_METADATA") != "postgres":
        return None
    global _shared
    if _shared is None:
        _shared = Postgres(Path(tempfile.mkdtemp(prefix="umbra-postgres-")) / "p")
        _shared.dir.parent.chmod(0o755)
        _shared.start()
    return _shared.database("d" + hashlib.sha1(str(directory).encode()).hexdigest()[:20])


def stop_shared():
    """Ends what `wanted` began."""
    global _shared
    if _shared is not None:
        _shared.remove()
        shutil.rmtree(_shared.dir.parent, ignore_errors=True)
        _shared = None
