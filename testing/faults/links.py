"""TCP links that can be cut or fall silent: one process for all of them, told what to do on its standard input."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

from harness.process import clean_environment, free_ports

PASS, CUT, SILENT = "pass", "cut", "silent"


class Links:
    """Named links on loopback; each leads to one address, a host and a port."""

    def __init__(self, targets):
        ports = free_ports(len(targets))
        self.ports = dict(zip(targets, ports))
        self.plan = [(name, self.ports[name], target) for name, target in targets.items()]
        self.lock = threading.Lock()
        self.child = None

    def start(self):
        root = Path(__file__).resolve().parents[1]
        environment = clean_environment(root, PYTHONPATH=f"{root}:{root / 'conformance'}")
        argv = [sys.executable, "-m", "faults.links", json.dumps(self.plan)]
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True)
        assert self.child.stdout.readline() == b"ready\n"
        return self

    def set(self, names, mode):
        """Lets links pass, breaks them, or lets them swallow everything; holds once this returns."""
        with self.lock:
            self.child.stdin.write((json.dumps([list(names), mode]) + "\n").encode())
            self.child.stdin.flush()
            assert self.child.stdout.readline() == b"done\n"

    def stop(self):
        if self.child:
            self.child.kill()
            self.child.wait()
            self.child.stdin.close()
            self.child.stdout.close()


class _Link:
    """One link, in the process of the links."""

    def __init__(self, target):
        self.target, self.mode, self.sides = target, PASS, set()

    def set(self, mode):
        self.mode = mode
        for side in list(self.sides):
            if mode == CUT:
                side.transport.abort()
            else:
                side.heed()


class _Side(asyncio.Protocol):
    """One end of a connection through a link; what comes in goes out at its peer."""

    def __init__(self, link, peer=None):
        self.link, self.peer, self.transport = link, peer, None
        self.is_full, self.early = False, []

    def connection_made(self, transport):
        self.transport = transport
        self.link.sides.add(self)
        if self.link.mode == CUT:
            transport.abort()
        elif self.peer is None:
            asyncio.ensure_future(self._reach())
        self.heed()

    async def _reach(self):
        try:
            _, peer = await asyncio.get_running_loop().create_connection(lambda: _Side(self.link, self), *self.link.target)
        except OSError:
            self.transport.abort()
            return
        self.peer = peer
        for data in self.early:
            peer.transport.write(data)
        self.early = []
        if self.transport.is_closing():
            peer.transport.abort()

    def heed(self):
        """Reads on, or does not."""
        if self.transport.is_closing():
            return
        if self.link.mode == SILENT or (self.peer and self.peer.is_full):
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def data_received(self, data):
        if self.peer is None:
            self.early.append(data)
        else:
            self.peer.transport.write(data)

    def eof_received(self):
        if self.peer and self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        return True

    def pause_writing(self):
        self.is_full = True
        self.peer.heed()

    def resume_writing(self):
        self.is_full = False
        self.peer.heed()

    def connection_lost(self, error):
        self.link.sides.discard(self)
        if self.peer:
            # What is on its way out still goes, unless the connection broke.
            self.peer.transport.abort() if error else self.peer.transport.close()


async def _serve(plan):
    loop = asyncio.get_running_loop()
    links = {name: _Link(target) for name, _, target in plan}
    for name, port, _ in plan:
        await loop.create_server(lambda link=links[name]: _Side(link), "127.0.0.1", port, backlog=512)
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        names, mode = json.loads(line)
        for name in names:
            links[name].set(mode)
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
