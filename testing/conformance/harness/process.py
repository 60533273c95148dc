"""A server process: started in its own session, its output kept in a file, ended for certain."""

import os
import random
import signal
import socket
import subprocess
from pathlib import Path

_started = []
# The ports that were handed out.
_given = set()
# How far above a port of SeaweedFS its gRPC port is.
GRPC_ABOVE = 10_000


def clean_environment(home, **more):
    """The environment of everything started here: no credentials, no proxies, its own home."""
    kept = {k: v for k, v in os.environ.items() if not _is_foreign(k)}
    kept.update(HOME=str(home), AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=f"{home}/none", AWS_SHARED_CREDENTIALS_FILE=f"{home}/none")
    kept.update(more)
    return kept


def _is_foreign(name):
    return name.startswith(("AWS_", "UMBRA_", "TIGRIS_")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


def free_ports(count):
    """Loopback ports that are free now and were not handed out before, and the ports 10000 above them, too: SeaweedFS listens there for gRPC.

    All are below those that the system hands out by itself: no connection takes one before whoever it is for listens. Those who test side by side
    have ports of their own, and so have network namespaces: wherever it is, SeaweedFS also listens on a socket in /tmp that is named by its port,
    and speaks with whoever listens there.
    """
    handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    # Where it hands out nearly all of them there is no such place.
    end = min(handed_out if handed_out > 25_000 else 65_536, 10_000 + 2 * GRPC_ABOVE) - GRPC_ABOVE
    workers, worker = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)), int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    share = (end - 10_000) // workers
    # One that comes in the place of another that crashed has a higher number, and shares with one that lives.
    first = 10_000 + worker % workers * share
    ports, chance = [], random.SystemRandom()
    while len(ports) < count:
        port = chance.randrange(first, first + share)
        both = {port, port + GRPC_ABOVE}
        if not both & _given and all(map(is_free, both)):
            ports.append(port)
            _given.update(both)
    return ports


def is_free(port):
    """Whether nobody listens at a port of loopback or, were it the gRPC port of a SeaweedFS, in /tmp."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return not any(map(_is_heard, grpc_sockets(port - GRPC_ABOVE)))


def grpc_sockets(port):
    """Where a SeaweedFS that was given a port listens besides; also where one did that was killed."""
    return list(Path("/tmp").glob(f"seaweedfs-*-grpc-{port + GRPC_ABOVE}.sock"))


def _is_heard(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(str(path)) == 0


class Process:
    """One child and its log."""

    def __init__(self, name, argv, log, env, cwd=None, stdout=None):
        self.name, self.argv, self.log_path, self.env, self.cwd = name, [str(a) for a in argv], Path(log), env, cwd
        self.stdout_path = Path(stdout) if stdout else None
        self.child = None

    def start(self):
        """Starts the child; its output is appended to the log."""
        with open(self.log_path, "ab") as log:
            out = open(self.stdout_path, "wb") if self.stdout_path else log
            try:
                self.child = subprocess.Popen(
                    self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self.env, cwd=self.cwd, start_new_session=True
                )
            finally:
                if self.stdout_path:
                    out.close()
        _started.append(self)
        return self

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child is not None and self.child.poll() is None

    def terminate(self, seconds=20):
        """SIGTERM, and the exit status."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {seconds} s of SIGTERM") from None

    def kill(self):
        """SIGKILL to the whole session."""
        if self.child is None:
            return
        if self.running():
            try:
                os.killpg(self.child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()

    def freeze(self):
        """The process stands still, its connections open, until it is thawed."""
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.child.send_signal(signal.SIGCONT)

    def rss_bytes(self):
        """The resident memory now."""
        return self._status("VmRSS")

    def rss_peak_bytes(self):
        """The most resident memory since the start, or since `reset_rss_peak`."""
        return self._status("VmHWM")

    def reset_rss_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def descriptors(self):
        """How many files and sockets are open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _status(self, field):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} for {self.name}")

    def log_tail(self, lines=60):
        if not self.log_path.exists():
            return ""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


def kill_all():
    """Ends every child that still runs: the last thing a session does."""
    for process in _started:
        process.kill()
