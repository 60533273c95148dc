"""Several nodes of one store: a database, an engine for contents, and servers on both."""

import secrets
import shutil
from pathlib import Path

from .umbra import Umbra
from .wait import until


class Nodes:
    """The nodes of a store; they join in the order in which they are started."""

    def __init__(self, directory, database, engine, count=3, flags=()):
        self.dir, self.database, self.engine, self.flags = Path(directory), database, engine, list(flags)
        self.prefix = f"p{secrets.token_hex(6)}"
        self.master_key = secrets.token_hex(32)
        self.all = [self._make(n) for n in range(count)]

    def _make(self, number):
        env = {**self.engine.env(), "UMBRA_METADATA": self.database, "UMBRA_MASTER_KEY": self.master_key}
        flags = ["--node-listen", "127.0.0.1:0", "--blobs", self.engine.url(self.prefix), *self.flags]
        return Umbra(self.dir / f"n{number}", *flags, env=env)

    def start(self):
        for node in self.all:
            node.start()
        return self

    def __iter__(self):
        return iter(self.all)

    def __getitem__(self, number):
        return self.all[number]

    def members(self, asked=None):
        """What `umbra node list` tells."""
        return (asked or self.running()[0]).run("node", "list", "--json", check=True).json()["nodes"]

    @staticmethod
    def name(node):
        """What a node is called among the others."""
        return (node.data_dir / "node").read_text().strip()

    def running(self):
        return [node for node in self.all if node.process and node.process.running()]

    def leader(self):
        """The node that leads, once one does."""

        def found():
            for node in self.running():
                done = node.run("node", "list", "--json")
                names = [n["name"] for n in done.json()["nodes"] if n["leads"]] if done.status == 0 else []
                for leading in self.running():
                    if names == [self.name(leading)]:
                        return leading
            return None

        return until("a node leads", found, seconds=60)

    def others(self):
        leader = self.leader()
        return [node for node in self.running() if node is not leader]

    def remove(self):
        for node in self.all:
            if node.process:
                node.process.kill()
            shutil.rmtree(node.data_dir, ignore_errors=True)
