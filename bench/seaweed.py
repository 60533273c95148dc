"""Runs SeaweedFS for a benchmark: says where it is, and ends it when standard input ends.

It is that of the black-box tests, but for what they set to have many small buckets: here it grows volumes as it does by default.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testing" / "conformance"))

from harness.process import Process, clean_environment, free_ports  # noqa: E402
from harness.seaweed import SeaweedFS  # noqa: E402
from harness.wait import until  # noqa: E402


class DefaultSeaweedFS(SeaweedFS):
    def start(self):
        data, config = self.dir / "data", self.dir / "s3.json"
        data.mkdir(parents=True)
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        config.write_text(json.dumps({"identities": [{"name": "bench", "actions": ["Admin"], "credentials": credentials}]}))
        ports = free_ports(4)
        self.endpoint = f"http://127.0.0.1:{ports[3]}"
        self.process = Process("seaweedfs", self._argv(data, config, *ports), self.dir / "seaweedfs.log", clean_environment(self.dir)).start()
        until("SeaweedFS to answer", self._ready, 60, 0.1)
        return self


def main():
    server = DefaultSeaweedFS(sys.argv[1])
    try:
        server.start()
        print(server.endpoint, server.process.pid, server.access_key, server.secret_key, flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


if __name__ == "__main__":
    main()
