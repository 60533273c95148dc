"""Network namespaces: hosts of a test's own, links between them, and a way to speak from within one."""

import ctypes
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from . import wires

_CLONE_NEWNET = 0x4000_0000
_libc = ctypes.CDLL(None, use_errno=True)
_PLACE = Path("/run/netns")


@cache
def why_not():
    """Why there can be no namespaces here; empty when there can be."""
    if os.geteuid() != 0:
        return "namespaces need root"
    if not shutil.which("ip"):
        return "iproute2 is not installed: apt-get install iproute2"
    probe = Namespace("probe", 1)
    try:
        probe.add()
        with probe.inside():
            os.close(wires.open_end("to-nowhere"))
        return ""
    except (subprocess.CalledProcessError, OSError) as error:
        told = (getattr(error, "stderr", None) or b"").decode().strip()
        return f"network namespaces or TUN devices are not to be had here: {told or error}"
    finally:
        probe.delete()


class Namespace:
    """A host with one address."""

    def __init__(self, name, number):
        # With this process's id: what one that was killed has left is told apart, and goes when the next one begins.
        self.name, self.label, self.address = name, f"umbra-{os.getpid()}-{name}", f"10.77.{number}.1"

    def add(self):
        _call("ip", "netns", "add", self.label)
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{self.address}/32", "dev", "lo")
        with self.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        return self

    def delete(self):
        if (_PLACE / self.label).exists():
            _call("ip", "netns", "delete", self.label)

    def ip(self, *args):
        return _call("ip", "-n", self.label, *args)

    @contextmanager
    def inside(self):
        """What this thread opens or starts within is of this namespace; so are the threads it starts."""
        with open("/proc/thread-self/ns/net") as before, open(_PLACE / self.label) as there:
            _enter(there)
            try:
                yield
            finally:
                _enter(before)

    def crossed(self, device):
        """The bytes that went through a link, both ways."""
        stats = json.loads(self.ip("-s", "-j", "link", "show", device))[0]["stats64"]
        return stats["rx"]["bytes"] + stats["tx"]["bytes"]


class Speaker:
    """Calls another object's methods from within a namespace."""

    def __init__(self, namespace, inner):
        self._namespace, self._inner = namespace, inner

    def __getattr__(self, name):
        method = getattr(self._inner, name)
        if not callable(method):
            return method

        def call(*args, **kwargs):
            with self._namespace.inside():
                return method(*args, **kwargs)

        return call


def connect(carrier, a, b, delay):
    """Lays a link between two namespaces, which takes so many seconds each way; its name."""
    name = f"{a.name}-{b.name}"
    ends = []
    for one, other in ((a, b), (b, a)):
        with one.inside():
            ends.append(wires.open_end(f"to-{other.name}"))
        one.ip("link", "set", f"to-{other.name}", "mtu", str(wires.MTU), "up")
        one.ip("route", "add", f"{other.address}/32", "dev", f"to-{other.name}", "src", one.address)
    carrier.add(name, *ends, delay)
    return name


def sweep():
    """Removes namespaces of processes that are no more."""
    for path in _PLACE.glob("umbra-*-*") if _PLACE.exists() else []:
        if not Path(f"/proc/{path.name.split('-')[1]}").exists():
            _call("ip", "netns", "delete", path.name)


def _enter(file):
    if _libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call(*argv):
    return subprocess.run(argv, check=True, capture_output=True).stdout
