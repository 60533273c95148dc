"""The store under test: three nodes in two regions, whatever they need, and a link for each thing that can be cut."""

import secrets
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from harness import clients
from harness import postgres as pg
from harness.engine import Engine
from harness.postgres import Postgres, open_to_others
from harness.process import free_ports
from harness.proxy import CountingProxy
from harness.seaweed import SeaweedFS
from harness.umbra import Umbra, binary
from harness.wait import until

from .links import PASS, Links

REGIONS = {"fra": ["n0", "n1"], "iad": ["n2"]}
ORG, LOOPBACK = "faults", "127.0.0.1"
# The region whose nodes have a replica of the metadata: not that of the database.
FAR = "iad"
# For so long after the database could not be reached a replica may be all that answers.
BLIND = 3


class Node:
    """A server, and what is known of why it does not run."""

    def __init__(self, name, region, server):
        self.name, self.region, self.server = name, region, server
        # Held by whoever stops, freezes or starts it.
        self.lock = threading.Lock()
        self.is_meant_to_run = True

    @property
    def is_running(self):
        process = self.server.process
        return process is not None and process.running()


class Store:
    """Everything, on loopback."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.database = Postgres(open_to_others(self.dir) / "postgres", options="-c fsync=on -c log_min_messages=fatal")
        self.engines = {region: Engine(self.dir / f"engine-{region}") for region in REGIONS}
        self.origin = SeaweedFS(self.dir / "origin")
        self.prefix = {region: f"{region}-{secrets.token_hex(4)}" for region in REGIONS}
        self.nodes, self.links, self.proxy = [], None, None
        self.buckets, self.keys = [], None
        # What this server can do.
        can = subprocess.run([binary(), "serve", "--help"], capture_output=True, text=True, check=True).stdout
        self.places, self.moves = "--placement-audit" in can, "--home-window" in can
        self.standby = pg.Standby(self.dir / "standby", self.database) if "--metadata-replica" in can else None
        self._blind, self._blind_until = 0, 0

    # -- life --------------------------------------------------------------------------------------------------

    def start(self):
        self.database.start()
        if self.standby:
            self.standby.start()
        for engine in self.engines.values():
            engine.start()
        self.origin.start()
        self.proxy = CountingProxy(self.origin.endpoint).start()
        names = [name for names in REGIONS.values() for name in names]
        # At addresses of their own: nobody's outgoing connection takes a port there while a node is down.
        inbound = {name: (f"127.77.0.{n}", port) for n, (name, port) in enumerate(zip(names, free_ports(len(names))), 1)}
        targets = {f"{name}>database": (LOOPBACK, self.database.port) for name in names}
        for name in names:
            targets |= {f"{name}>{region}": (LOOPBACK, int(engine.seaweed.endpoint.rpartition(":")[2])) for region, engine in self.engines.items()}
        targets |= {f">{name}": inbound[name] for name in names}
        if self.standby:
            targets |= {f"{name}>standby": (LOOPBACK, self.standby.port) for name in REGIONS[FAR]}
        self.links = Links(targets).start()
        master_key, database = secrets.token_hex(32), self.database.database("faults")
        for region, members in REGIONS.items():
            for name in members:
                self.nodes.append(Node(name, region, self._server(name, region, inbound[name], master_key, database)))
        for node in self.nodes:
            node.server.start()
        return self

    def _server(self, name, region, inbound, master_key, database):
        def place(of):
            return self.engines[of].url(self.prefix[of], f"http://127.0.0.1:{self.links.ports[f'{name}>{of}']}")

        def through(link):
            return database.replace(f":{self.database.port}/", f":{self.links.ports[f'{name}>{link}']}/")

        metadata = through("database")
        env = {**self.engines[region].env(), "UMBRA_METADATA": metadata, "UMBRA_MASTER_KEY": master_key}
        flags = ["--region", region, "--blobs", place(region), "--reclaim-grace", "2", "--blob-cache-bytes", "0"]
        flags += [f for other in REGIONS if other != region for f in ("--region-blobs", f"{other}={place(other)}")]
        flags += ["--node-listen", "{}:{}".format(*inbound), "--node-url", f"http://127.0.0.1:{self.links.ports[f'>{name}']}"]
        if self.standby and region == FAR:
            flags += ["--metadata-replica", through("standby")]
        if self.moves:
            flags += ["--home-window", "15"]
        return Umbra(self.dir / name, *flags, env=env)

    def stop(self):
        for node in self.nodes:
            if node.server.process:
                node.server.process.kill()
        if self.links:
            self.links.stop()
        if self.proxy:
            self.proxy.close()
        for engine in (*self.engines.values(), self.origin):
            engine.stop()
        if self.standby:
            self.standby.remove()
        self.database.remove()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- nodes -------------------------------------------------------------------------------------------------

    def running(self):
        return [node for node in self.nodes if node.is_running]

    def leader(self):
        """The node that leads, as far as any tells; none when nobody does."""
        for node in self.running():
            try:
                done = node.server.run("node", "list", "--json", timeout=5)
                leading = [n["name"] for n in done.json()["nodes"] if n["leads"]] if done.status == 0 else []
            except Exception:  # noqa: BLE001 - it is under fire
                continue
            for other in self.nodes:
                path = other.server.data_dir / "node"
                if path.exists() and [path.read_text().strip()] == leading:
                    return other
        return None

    def revive(self, node):
        """Starts a node that does not run, without waiting for it to serve."""
        with node.lock:
            if not node.is_running:
                node.server.start(ready=False)

    def heal(self):
        """Everything runs and reaches everything."""
        self.links.set(self.links.ports, PASS)
        self.proxy.clear_rules()
        if self.proxy.listener is None:
            self.proxy.start()
        for database in (self.database, self.standby):
            if database and not self._is_up(database):
                database.resume()
        if self.standby:
            self.standby.unpause()
        for node in self.nodes:
            node.is_meant_to_run = True
            with node.lock:
                if node.is_running:
                    node.server.process.thaw()
            self.revive(node)

    @staticmethod
    def _is_up(database):
        try:
            return database.sql("SELECT 1") == "1"
        except subprocess.CalledProcessError:
            return False

    # -- the replica -------------------------------------------------------------------------------------------

    def has_replica(self, node):
        return self.standby is not None and node.region == FAR

    @contextmanager
    def blind(self):
        """Meanwhile nodes may not reach the database, and answer from the replica what they can."""
        self._blind += 1
        try:
            yield
        finally:
            self._blind_until = time.monotonic() + BLIND
            self._blind -= 1

    def was_blind(self, since):
        """Whether that may have been so at any time since then."""
        return self._blind > 0 or self._blind_until > since

    def await_service(self, seconds=120):
        """Waits until every node answers for plain buckets and for those of the leader; nodes that end are started again."""
        deadline = time.monotonic() + seconds
        for node in self.nodes:
            until(f"{node.name} serves", lambda: self._serves(node), max(1, deadline - time.monotonic()), 0.3)

    def _serves(self, node):
        if not node.is_running:
            self.revive(node)
            return False
        if not node.server.is_ready():
            return False
        client = clients.s3(node.server.endpoint, *self.keys, retries=False, read_timeout=35)
        try:
            for bucket in self.buckets:
                client.put_object(Bucket=bucket, Key=f"probe-{node.name}", Body=b"x")
                assert clients.read(client, bucket, f"probe-{node.name}") == b"x"
            return True
        except Exception:  # noqa: BLE001 - not yet
            return False

    # -- buckets -----------------------------------------------------------------------------------------------

    def make_buckets(self):
        """A plain bucket, one with versions, one in both regions, and one that shadows a bucket of the origin and writes through."""
        server = self.nodes[0].server
        self.keys = server.access_key, server.secret_key
        client = server.client(retries=True)
        for name in ("plain", "versioned"):
            client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        origin = {
            "endpoint": self.proxy.endpoint, "region": self.origin.region, "name": "origin",
            "access-key": self.origin.access_key, "secret-key": self.origin.secret_key,
        }
        flags = [part for key, value in origin.items() for part in (f"--shadow-{key}", value)]
        server.storage("create", "-n", "dual", "-o", ORG, "--location", f"dual:{','.join(REGIONS)}", "-y")
        made = server.storage("create", "-n", "shadowed", "-o", ORG, "--shadow-write-through", *flags, "-y").values()
        assert made["AWS_ACCESS_KEY_ID"]
        self.buckets = ["plain", "versioned", "dual", "shadowed"]

    def there(self):
        """A client of the origin, past the proxy."""
        return clients.s3(self.origin.endpoint, self.origin.access_key, self.origin.secret_key, self.origin.region, retries=True)
