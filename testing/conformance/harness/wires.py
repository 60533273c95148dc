"""Slow links between network namespaces: what is sent into one end comes out of the other a while later, or never.

Each end is a TUN device. A process of its own carries packets from one to the other: unlike `tc netem` that takes no module of the kernel.
"""

import fcntl
import heapq
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time

from .process import clean_environment

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x4004_54CA, 0x0001, 0x1000
# Large, so that few packets carry much.
MTU = 60_000
_AT_ONCE = 64


def open_end(device):
    """One end, a device in the namespace that this thread is in; the device goes when the descriptor does."""
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(end)
        raise
    return end


class Wires:
    """The process that carries packets; `links` are name, both ends and the delay of one way in seconds."""

    def __init__(self):
        self.links, self.child, self.lock = [], None, threading.Lock()

    def add(self, name, one, other, delay):
        self.links.append((name, one, other, delay))

    def start(self):
        ends = [end for _, one, other, _ in self.links for end in (one, other)]
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        argv = [sys.executable, "-m", "harness.wires", json.dumps(self.links)]
        environment = clean_environment(root, PYTHONPATH=root)
        self.child = subprocess.Popen(argv, pass_fds=ends, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        self._close_ends()
        assert self.child.stdout.readline() == b"ready\n", "the wires do not carry"

    def set(self, name, passes):
        """Lets a link pass packets, or lose them all; holds once this returns."""
        with self.lock:
            self.child.stdin.write((json.dumps([name, passes]) + "\n").encode())
            self.child.stdin.flush()
            assert self.child.stdout.readline() == b"done\n"

    def stop(self):
        if self.child is None:
            self._close_ends()
            return
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()

    def _close_ends(self):
        for _, one, other, _ in self.links:
            os.close(one)
            os.close(other)
        self.links = []


class _Carrier:
    """The loop of that process."""

    def __init__(self, links):
        self.passes = {name: True for name, *_ in links}
        self.out = {}
        self.flying, self.count = [], 0
        self.poll = select.epoll()
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        for name, one, other, delay in links:
            for end, far in ((one, other), (other, one)):
                self.out[end] = (name, far, delay)
                self.poll.register(end, select.EPOLLIN)

    def run(self):
        while True:
            wait = max(0, self.flying[0][0] - time.monotonic()) if self.flying else -1
            for end, _ in self.poll.poll(wait):
                if end in self.out:
                    self._take(end)
                elif not self._obey():
                    return
            self._deliver()

    def _take(self, end):
        name, far, delay = self.out[end]
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(end, 65_536)
            except BlockingIOError:
                return
            self.count += 1
            heapq.heappush(self.flying, (time.monotonic() + delay, self.count, name, far, packet))

    def _deliver(self):
        now = time.monotonic()
        while self.flying and self.flying[0][0] <= now:
            _, _, name, far, packet = heapq.heappop(self.flying)
            if self.passes[name]:
                try:
                    os.write(far, packet)
                except OSError:
                    pass  # a packet that the other side does not take is lost, as anywhere

    def _obey(self):
        line = sys.stdin.readline()
        if not line:
            return False
        name, passes = json.loads(line)
        self.passes[name] = passes
        print("done", flush=True)
        return True


if __name__ == "__main__":
    carrier = _Carrier(json.loads(sys.argv[1]))
    print("ready", flush=True)
    carrier.run()
