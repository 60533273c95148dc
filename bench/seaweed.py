"""Runs SeaweedFS for a benchmark: says where it is, and ends it when standard input ends.

It is that of the black-box tests, but for what they set to have many small buckets: here it grows volumes as it does by default.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testing" / "conformance"))

from harness.seaweed import SeaweedFS  # noqa: E402


class DefaultSeaweedFS(SeaweedFS):
    def _configure(self, home):
        pass


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
