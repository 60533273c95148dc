"""A world of regions far from one another: each a network namespace with a node and an engine, a database in the first one, and an origin apart."""

import itertools
import secrets
import shutil
from pathlib import Path

from . import clients, namespaces
from .engine import Engine
from .namespaces import Namespace, Speaker
from .postgres import Postgres, Standby, open_to_others
from .proxy import CountingProxy
from .seaweed import SeaweedFS
from .threads import at_once
from .umbra import Umbra
from .wait import until
from .wires import Wires

# 80 ms there and back.
ONE_WAY = 0.04
DATABASE, NO_TLS = "world", "?sslmode=disable"


class Site:
    """A region: its namespace, its engine, its node, and perhaps a standby of the database."""

    def __init__(self, world, name, number):
        self.world, self.name = world, name
        self.space = Namespace(name, number)
        self.engine = Engine(world.dir / f"engine-{name}", self.space.address)
        self.prefix = f"{name}-{secrets.token_hex(4)}"
        self.node = self.standby = None

    def inside(self):
        return self.space.inside()

    def start(self):
        """Starts the node, or starts it again."""
        with self.inside():
            self.node.start()

    def client(self, keys=None, retries=False, **options):
        """A client in this region."""
        keys = keys or (self.node.access_key, self.node.secret_key)
        return Speaker(self.space, clients.s3(self.node.endpoint, *keys, retries=retries, **options))

    def speaking(self):
        """The node, spoken to from its region."""
        return Speaker(self.space, self.node)

    def metric(self, sample):
        """What the node counts under a name; 0 for what it has not counted yet."""
        lines = self.speaking().metrics().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(sample + " ")), 0)

    def kept(self):
        """The contents that its engine has."""
        with self.inside():
            return self.engine.keys(self.prefix)

    def crossed(self):
        """The bytes that went between this region and the others, both ways."""
        return sum(self.space.crossed(f"to-{other.name}") for other in self.world if other is not self)


class World:
    """Regions, all of them `ONE_WAY` seconds from one another; the node of the first leads at first."""

    def __init__(self, directory, names=("fra", "iad", "syd"), standbys=("syd",), flags=()):
        self.dir = open_to_others(Path(directory))
        self.flags = list(flags)
        self.sites = [Site(self, name, number) for number, name in enumerate(names, 1)]
        self.database_space, self.origin_space = Namespace("db", 101), Namespace("origin", 102)
        self.database = Postgres(self.dir / "postgres", host=self.database_space.address)
        for site in self.sites:
            if site.name in standbys:
                site.standby = Standby(self.dir / f"standby-{site.name}", self.database, site.space.address)
        self.origin = SeaweedFS(self.dir / "origin", self.origin_space.address)
        self.proxy, self.wires = None, Wires()

    def __iter__(self):
        return iter(self.sites)

    # -- life --------------------------------------------------------------------------------------------------

    def start(self):
        """Makes it all; what came into being is removed by `remove`, also when this fails halfway."""
        namespaces.sweep()
        self._lay_links()
        with self.database_space.inside():
            self.database.start()
            self.database.database(DATABASE)
        for site in self.sites:
            with site.inside():
                site.engine.start()
                if site.standby:
                    site.standby.start()
        self._start_origin()
        master_key = secrets.token_hex(32)
        for site in self.sites:
            site.node = self._node(site, master_key)
        # The first leads before the others come.
        self.sites[0].start()
        at_once(len(self.sites) - 1, lambda n: self.sites[n + 1].start())
        return self

    def _lay_links(self):
        spaces = [site.space for site in self.sites]
        for space in (*spaces, self.database_space, self.origin_space):
            space.add()
        for a, b in itertools.combinations(spaces, 2):
            namespaces.connect(self.wires, a, b, ONE_WAY)
        for space in spaces:
            namespaces.connect(self.wires, space, self.origin_space, ONE_WAY)
        home = spaces[0]
        namespaces.connect(self.wires, home, self.database_space, 0)
        for space in spaces[1:]:
            space.ip("route", "add", f"{self.database_space.address}/32", "dev", f"to-{home.name}", "src", space.address)
            self.database_space.ip("route", "add", f"{space.address}/32", "dev", f"to-{home.name}")
        self.wires.start()

    def _start_origin(self):
        with self.origin_space.inside():
            self.origin.start()
            self.proxy = CountingProxy(self.origin.endpoint, self.origin_space.address).start()
            self.there().create_bucket(Bucket="origin")

    def _node(self, site, master_key):
        def place(of):
            return of.engine.url(of.prefix)

        others = [f for other in self.sites if other is not site for f in ("--region-blobs", f"{other.name}={place(other)}")]
        flags = ["--node-listen", f"{site.space.address}:9003", "--region", site.name, "--blobs", place(site), *others]
        flags += ["--blob-cache-bytes", "0", "--reclaim-grace", "1", "--shadow-allow-cidr", "10.77.0.0/16", *self.flags]
        env = {**site.engine.env(), "UMBRA_METADATA": self.database.url(DATABASE) + NO_TLS, "UMBRA_MASTER_KEY": master_key}
        if site.standby:
            env["UMBRA_METADATA_REPLICA"] = site.standby.url(DATABASE) + NO_TLS
        return Umbra(self.dir / site.name, *flags, env=env)

    def remove(self):
        for site in self.sites:
            if site.node and site.node.process:
                site.node.process.kill()
            site.engine.stop()
            if site.standby:
                site.standby.remove()
        if self.proxy:
            self.proxy.close()
        self.origin.stop()
        try:
            self.database.remove()
        finally:
            self.wires.stop()
            for space in (*(site.space for site in self.sites), self.database_space, self.origin_space):
                space.delete()
            shutil.rmtree(self.dir, ignore_errors=True)

    # -- what the tests do -------------------------------------------------------------------------------------

    def part(self, a, b):
        """Nothing gets from one region to the other any more, and nobody is told."""
        self.wires.set(self._link(a, b), False)

    def _link(self, a, b):
        one, other = sorted((a, b), key=self.sites.index)
        return f"{one.name}-{other.name}"

    def isolate(self, site):
        """A region is cut off from all others, and so from what is in them."""
        for other in self.sites:
            if other is not site:
                self.part(site, other)

    def heal(self):
        for a, b in itertools.combinations(self.sites, 2):
            self.wires.set(self._link(a, b), True)

    def revive(self):
        """Everything is whole again, and every node serves. One that was silent for long has been shut out, and ends once it learns that."""
        self.heal()
        for site in self.sites:
            until(f"the node of {site.name} serves", lambda: self._serves(site), 90, 0.5)

    @staticmethod
    def _serves(site):
        if not site.node.process.running():
            site.start()
        # Not at the first word: what it does not know yet, another node may have decided.
        return site.speaking().is_ready() and site.speaking().run("node", "list", "--json").status == 0

    def there(self):
        """A client at the origin."""
        return Speaker(self.origin_space, clients.s3(self.origin.endpoint, self.origin.access_key, self.origin.secret_key, retries=True))

    def shadow(self, site, *flags):
        """Makes a bucket that shadows the origin's; the keys of its own."""
        values = {
            "endpoint": self.proxy.endpoint, "region": self.origin.region, "name": "origin",
            "access-key": self.origin.access_key, "secret-key": self.origin.secret_key,
        }
        flags = [*flags, *(part for name, value in values.items() for part in (f"--shadow-{name}", value))]
        made = site.speaking().storage("create", "-n", "shadowed", "-o", "world", *flags, "-y").values()
        self.proxy.forget()
        return made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"]

    def leader(self, seconds=60):
        """The site whose node leads, once those that are asked agree."""

        def found():
            for site in self.sites:
                if not site.node.process.running():
                    continue
                done = site.speaking().run("node", "list", "--json")
                leading = [n["name"] for n in done.json()["nodes"] if n["leads"]] if done.status == 0 else []
                for other in self.sites:
                    if leading == [(other.node.data_dir / "node").read_text().strip()]:
                        return other
            return None

        return until("a node leads", found, seconds, 0.2)
