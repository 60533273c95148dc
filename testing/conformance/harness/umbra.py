"""The server under test: the real binary, in its own directory, on ports of its own choosing."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

from . import clients, engine, postgres
from .process import Process, clean_environment
from .wait import until

REPOSITORY = Path(__file__).resolve().parents[3]
ROOT_KEY, ROOT_SECRET = "UMBRAROOTTESTKEY0001", "rootSecretOfTheTests/0123456789+abcdef="


def binary():
    """The binary as `./test` built it, or another that CONFORMANCE_BINARY names."""
    path = Path(os.environ.get("CONFORMANCE_BINARY", REPOSITORY / "target" / "debug" / "umbra"))
    assert path.exists(), f"no {path}: run ./test"
    return path


class Done:
    """A command that ended."""

    def __init__(self, completed, argv):
        self.status = completed.returncode
        self.out, self.err = completed.stdout.decode(), completed.stderr.decode()
        self.argv = argv

    def json(self):
        return json.loads(self.out)

    def values(self):
        """The `KEY: value` lines."""
        return dict(line.split(": ", 1) for line in self.out.splitlines() if ": " in line)

    def __repr__(self):
        return f"umbra {' '.join(map(str, self.argv))} -> {self.status}\n{self.out}{self.err}"


class Umbra:
    """One server."""

    def __init__(self, directory, *flags, env=None, root=True):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.home = self.dir / "home"
        self.home.mkdir(exist_ok=True)
        self.data_dir = self.dir / "data"
        # Contents may be wanted elsewhere, unless a test says itself where.
        blobs, keys = ([], {}) if "--blobs" in flags else engine.of_all(self.dir)
        self.blobs, self.flags = blobs, list(flags)
        self.root = root
        extra = {"UMBRA_ROOT_ACCESS_KEY": ROOT_KEY, "UMBRA_ROOT_SECRET_KEY": ROOT_SECRET} if root else {}
        if database := postgres.wanted(self.dir):
            extra["UMBRA_METADATA"] = database
        self.env = clean_environment(self.home, **{**extra, **keys, **(env or {})})
        self.listen = self.admin_listen = "127.0.0.1:0"
        self.log_path = self.dir / "umbra.log"
        self.process = None
        self.access_key, self.secret_key, self.region = ROOT_KEY, ROOT_SECRET, "us-east-1"

    # -- life --------------------------------------------------------------------------------------------------

    def start(self, ready=True):
        argv = [binary(), "serve", "--data-dir", self.data_dir, "--listen", self.listen, "--admin-listen", self.admin_listen, *self.blobs, *self.flags]
        self.process = Process("umbra", argv, self.log_path, self.env, cwd=self.dir, stdout=self.dir / "stdout").start()
        if ready:
            self.await_ready()
        return self

    def await_ready(self, seconds=20):
        """Reads the printed addresses and waits until requests are served."""
        self.listen = until("the S3 address on standard output", lambda: self._printed(("s3",)), seconds)
        self.admin_listen = until("the admin address on standard output", lambda: self._printed(("admin", "console")))
        until("/readyz", self.is_ready)

    def _printed(self, words):
        assert self.process.running(), f"umbra ended with {self.process.child.returncode}:\n{self.stdout()}{self.process.log_tail()}"
        for line in self.stdout().splitlines():
            found = re.search(r"http://(127\.0\.0\.1:\d+)", line)
            if found and any(re.search(rf"\b{w}\b", line, re.I) for w in words):
                return found.group(1)
        return None

    def stdout(self):
        path = self.dir / "stdout"
        return path.read_text() if path.exists() else ""

    def is_ready(self):
        return self.admin_get("/readyz") == 200

    def admin_get(self, path):
        """The status of an unsigned GET on the admin address; 0 when nobody listens."""
        try:
            with urllib.request.urlopen(self.admin + path, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def metrics(self):
        with urllib.request.urlopen(self.admin + "/metrics", timeout=5) as answer:
            return answer.read().decode()

    def kill(self):
        self.process.kill()

    def stop(self):
        return self.process.terminate()

    def restart(self, kill=False):
        """Stops or kills, and starts again on the same ports and directory."""
        self.kill() if kill else self.stop()
        return self.start()

    def remove(self):
        self.process.kill()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    # -- addresses and clients ---------------------------------------------------------------------------------

    @property
    def endpoint(self):
        return f"http://{self.listen}"

    @property
    def address(self):
        host, port = self.listen.split(":")
        return host, int(port)

    @property
    def admin(self):
        return f"http://{self.admin_listen}"

    def client(self, access_key=None, secret_key=None, **options):
        """An S3 client, with the root key unless told."""
        return clients.s3(self.endpoint, access_key or self.access_key, secret_key or self.secret_key, **options)

    # -- the command line --------------------------------------------------------------------------------------

    def run(self, *args, env=None, input=None, check=False, timeout=60):
        """Runs `umbra ARGS` against this server with the root key."""
        known = {"UMBRA_ADMIN_URL": self.admin}
        if self.root:
            known.update(UMBRA_ACCESS_KEY=self.access_key, UMBRA_SECRET_KEY=self.secret_key)
        argv = [str(a) for a in args]
        completed = subprocess.run(
            [binary(), *argv], env=clean_environment(self.home, **{**known, **(env or {})}), cwd=self.dir,
            capture_output=True, input=input or b"", timeout=timeout,
        )
        done = Done(completed, argv)
        if check:
            assert done.status == 0, repr(done)
        return done

    def storage(self, *args, check=True, **options):
        return self.run("storage", *args, check=check, **options)

    def status(self, name):
        """The status of a bucket, as JSON."""
        return self.storage("status", name, "--json").json()

    def all_text(self):
        """Everything said so far: standard output and the log."""
        return self.stdout() + self.log_path.read_text(errors="replace")
