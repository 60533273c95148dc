"""A store in several regions: a database, an engine for contents in each region, and a node in each."""

import secrets
import shutil
from pathlib import Path

from . import clients
from .proxy import CountingProxy
from .umbra import Umbra


class Region:
    """A region: its engine behind a proxy that counts, and its node."""

    def __init__(self, name, engine):
        self.name, self.engine = name, engine
        self.proxy = CountingProxy(engine.seaweed.endpoint).start()
        self.prefix = f"{name}-{secrets.token_hex(6)}"
        self.node = None

    @property
    def url(self):
        """Where its contents are, as settings say it."""
        return self.engine.url(self.prefix, self.proxy.endpoint)

    def kept(self):
        """The contents that its engine has."""
        return self.engine.keys(self.prefix)

    def gets(self):
        """How many contents were asked for since the proxy forgot."""
        return self.proxy.count("GET", when=lambda exchange: exchange.is_object)

    def client(self, retries=False):
        return clients.s3(self.node.endpoint, self.node.access_key, self.node.secret_key, retries=retries)

    def metric(self, sample):
        """What the node counts under a name."""
        return next(float(line.split()[-1]) for line in self.node.metrics().splitlines() if line.startswith(sample + " "))


class Regions:
    """The regions; the node of the first leads, because it joins first."""

    def __init__(self, directory, database, engines, flags=()):
        self.dir, self.database, self.flags = Path(directory), database, list(flags)
        self.master_key = secrets.token_hex(32)
        self.all = [Region(name, engine) for name, engine in engines.items()]
        for region in self.all:
            region.node = self.make(region)

    def make(self, region, with_others=True, name=None):
        """A node in a region, not started."""
        others = [f"{other.name}={other.url}" for other in self.all if other is not region] if with_others else []
        env = {**region.engine.env(), "UMBRA_METADATA": self.database, "UMBRA_MASTER_KEY": self.master_key}
        flags = ["--node-listen", "127.0.0.1:0", "--blobs", region.url, "--blob-cache-bytes", "0", "--reclaim-grace", "1", *self.flags]
        flags += ["--region", region.name] if with_others else []
        return Umbra(self.dir / (name or region.name), *flags, *[f for other in others for f in ("--region-blobs", other)], env=env)

    def start(self):
        for region in self.all:
            region.node.start()
        return self

    def __iter__(self):
        return iter(self.all)

    def forget(self):
        for region in self.all:
            region.proxy.forget()

    def remove(self):
        for region in self.all:
            if region.node.process:
                region.node.process.kill()
            shutil.rmtree(region.node.data_dir, ignore_errors=True)
            region.proxy.close()
