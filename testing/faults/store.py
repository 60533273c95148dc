"""The store under test: three nodes in two regions, whatever they need, and a link for each thing that can be cut."""

import secrets
import shutil
import threading
import time
from pathlib import Path

from harness import clients
from harness.engine import Engine
from harness.postgres import Postgres, open_to_others
from harness.process import free_ports
from harness.proxy import CountingProxy
from harness.seaweed import SeaweedFS
from harness.umbra import Umbra
from harness.wait import until

from .links import PASS, Links

REGIONS = {"fra": ["n0", "n1"], "iad": ["n2"]}
ORG = "faults"


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
        self.buckets, self.keys = {}, None

    # -- life --------------------------------------------------------------------------------------------------

    def start(self):
        self.database.start()
        for engine in self.engines.values():
            engine.start()
        self.origin.start()
        self.proxy = CountingProxy(self.origin.endpoint).start()
        names = [name for names in REGIONS.values() for name in names]
        inbound = dict(zip(names, free_ports(len(names))))
        targets = {f"{name}>database": self.database.port for name in names}
        for name in names:
            targets |= {f"{name}>{region}": int(engine.seaweed.endpoint.rpartition(":")[2]) for region, engine in self.engines.items()}
        targets |= {f">{name}": inbound[name] for name in names}
        self.links = Links(targets).start()
        master_key, database = secrets.token_hex(32), self.database.database("faults")
        for region, members in REGIONS.items():
            for name in members:
                self.nodes.append(Node(name, region, self._server(name, region, inbound[name], master_key, database)))
        for node in self.nodes:
            node.server.start()
        return self

    def _server(self, name, region, port, master_key, database):
        def place(of):
            return self.engines[of].url(self.prefix[of], f"http://127.0.0.1:{self.links.ports[f'{name}>{of}']}")

        metadata = database.replace(f":{self.database.port}/", f":{self.links.ports[f'{name}>database']}/")
        env = {**self.engines[region].env(), "UMBRA_METADATA": metadata, "UMBRA_MASTER_KEY": master_key}
        flags = ["--region", region, "--blobs", place(region), "--reclaim-grace", "2", "--blob-cache-bytes", "0"]
        flags += [f for other in REGIONS if other != region for f in ("--region-blobs", f"{other}={place(other)}")]
        flags += ["--node-listen", f"127.0.0.1:{port}", "--node-url", f"http://127.0.0.1:{self.links.ports[f'>{name}']}"]
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
        if not self.is_database_up():
            self.database.resume()
        for node in self.nodes:
            node.is_meant_to_run = True
            with node.lock:
                if node.is_running:
                    node.server.process.thaw()
            self.revive(node)

    def is_database_up(self):
        try:
            return self.database.sql("SELECT 1") == "1"
        except Exception:  # noqa: BLE001 - it is down
            return False

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
        """A plain bucket, one with versions, and one that shadows a bucket of the origin and writes through."""
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
        made = server.storage("create", "-n", "shadowed", "-o", ORG, "--shadow-write-through", *flags, "-y").values()
        assert made["AWS_ACCESS_KEY_ID"]
        self.buckets = ["plain", "versioned", "shadowed"]

    def there(self):
        """A client of the origin, past the proxy."""
        return clients.s3(self.origin.endpoint, self.origin.access_key, self.origin.secret_key, self.origin.region, retries=True)
