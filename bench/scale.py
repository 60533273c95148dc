"""Measures a bucket of many keys beside one of few; `bench/scale` runs it.

Both are filled by the import of an export that was grown, and asked in turns, one request at a time: what is told is the latency of a
request, and how many times that of the few the many take. The client's own time is in both, and small beside them.
"""

import argparse
import http.client
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testing" / "conformance"))

from harness import clients  # noqa: E402
from harness.data import content  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.process import clean_environment, kill_all  # noqa: E402
from harness.umbra import Umbra, binary  # noqa: E402

BUCKET, TEMPLATE, SIZE, KEYS_PER_PREFIX = "bucket", "template", 100, 1000


def arguments():
    parser = argparse.ArgumentParser(prog="bench/scale", description="Measures a bucket of many keys beside one of few.")
    parser.add_argument("--few", type=int, default=10_000, help="keys of the small bucket (10000)")
    parser.add_argument("--many", type=int, default=10_000_000, help="keys of the large bucket (10000000)")
    parser.add_argument("--engines", default="embedded,postgres", help="where metadata is kept (embedded,postgres)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case has its turn (5)")
    parser.add_argument("--requests", type=int, default=400, help="requests of a case in a turn (400)")
    parser.add_argument("dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def say(text):
    print(f"   {text}", file=sys.stderr, flush=True)


class Side:
    """A server whose bucket has so many keys."""

    def __init__(self, place, keys, database):
        self.keys = keys
        env = {"UMBRA_METADATA": database} if database else {}
        self.server = Umbra(place / f"{keys}", env=env)

    def fill(self, place):
        """Makes the bucket with one object, and then a store with as many as there are to be."""
        seed = Umbra(place / f"seed-{self.keys}", env={}).start()
        client = clients.s3(seed.endpoint, seed.access_key, seed.secret_key)
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=TEMPLATE, Body=content(SIZE, 1))
        seed.stop()
        exported, grown = place / "exported", place / "grown"
        command(seed, "metadata", "export", "--data-dir", seed.data_dir, exported)
        subprocess.run([os.environ["BENCH_GROW"], exported, grown, TEMPLATE, str(self.keys)], check=True)
        # With its keys and its contents, of which there are none: everything is inline.
        self.server.data_dir.mkdir(mode=0o700)
        for name in ("secret.key", "root-key.json"):
            if (seed.data_dir / name).exists():
                (self.server.data_dir / name).write_bytes((seed.data_dir / name).read_bytes())
                (self.server.data_dir / name).chmod(0o600)
        command(self.server, "metadata", "import", "--data-dir", self.server.data_dir, grown)
        exported.unlink(), grown.unlink()
        seed.remove()
        return self

    def open(self):
        self.server.start()
        self.client = clients.s3(self.server.endpoint, self.server.access_key, self.server.secret_key)
        self.connection = http.client.HTTPConnection(*self.server.address)
        return self

    def key(self):
        number = random.randrange(self.keys)
        return f"d{number // KEYS_PER_PREFIX:08}/k{number % KEYS_PER_PREFIX:03}"

    def request(self, case):
        """A request of `case`, signed beforehand: its method, its path and its body."""
        operation, params, method, body = case(self)
        url = self.client.generate_presigned_url(operation, Params={"Bucket": BUCKET, **params})
        return method, url.removeprefix(self.server.endpoint), body

    def time(self, requests):
        """How long each of the requests takes, in seconds."""
        times = []
        for method, path, body in requests:
            begun = time.perf_counter()
            self.connection.request(method, path, body=body)
            answer = self.connection.getresponse()
            answer.read()
            times.append(time.perf_counter() - begun)
            assert answer.status in (200, 204), f"{method} {path}: {answer.status}"
        return times


def command(server, *argv):
    done = subprocess.run([str(a) for a in (binary(), *argv)], env=server.env, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"


def new_key():
    return f"d{random.randrange(10**8):08}/new-{random.randrange(10**12)}"


CASES = {
    "PUT a new key": lambda side: ("put_object", {"Key": new_key()}, "PUT", content(SIZE, 2)),
    "PUT an old key": lambda side: ("put_object", {"Key": side.key()}, "PUT", content(SIZE, 3)),
    "GET": lambda side: ("get_object", {"Key": side.key()}, "GET", None),
    "HEAD": lambda side: ("head_object", {"Key": side.key()}, "HEAD", None),
    "list what is not there": lambda side: ("list_objects_v2", {"Prefix": new_key(), "MaxKeys": 1}, "GET", None),
    "list 1,000 keys from anywhere": lambda side: ("list_objects_v2", {"StartAfter": side.key()}, "GET", None),
    "list the first 1,000 keys": lambda side: ("list_objects_v2", {}, "GET", None),
    "list one prefix": lambda side: ("list_objects_v2", {"Prefix": side.key()[:10], "Delimiter": "/"}, "GET", None),
    "list 10 common prefixes": lambda side: ("list_objects_v2", {"Delimiter": "/", "MaxKeys": 10}, "GET", None),
    "DELETE": lambda side: ("delete_object", {"Key": side.key()}, "DELETE", None),
}


def measure(sides, args):
    """The median latencies of each case on both sides, in milliseconds, and the median of their ratios in turns."""
    for name, case in CASES.items():
        ratios, medians, tails = [], ([], []), ([], [])
        for turn in range(args.rounds + 1):
            row = [side.time([side.request(case) for _ in range(args.requests)]) for side in sides]
            if turn == 0:
                continue  # It warms up what both have cold.
            halves = [statistics.median(times) for times in row]
            ratios.append(halves[1] / halves[0])
            for side, times in enumerate(row):
                medians[side].append(halves[side])
                tails[side].append(statistics.quantiles(times, n=100)[98])
        cells = [f"{1000 * statistics.median(m):.2f} ms (p99 {1000 * statistics.median(t):.2f})" for m, t in zip(medians, tails)]
        yield name, cells, statistics.median(ratios)


def main():
    args = arguments()
    random.seed(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning", flush=True)
    place = Path(tempfile.mkdtemp(dir=args.dir))
    place.chmod(0o755)
    database = None
    try:
        for engine in args.engines.split(","):
            if engine == "postgres":
                database = Postgres(place / "p").start()
            sides = []
            for keys in (args.few, args.many):
                begun = time.monotonic()
                url = database.database(f"k{keys}") if database else None
                sides.append(Side(place / engine, keys, url).fill(place).open())
                say(f"{engine}: {keys:,} keys after {time.monotonic() - begun:.0f} s")
            if database:
                database.sql("CHECKPOINT")
            print(f"\n| {engine} | {args.few:,} keys | {args.many:,} keys | ratio |\n|---|---|---|---|")
            for name, cells, ratio in measure(sides, args):
                print(f"| {name} | {' | '.join(cells)} | {ratio:.2f} × |", flush=True)
            for side in sides:
                side.server.remove()
    finally:
        if database:
            database.remove()
        kill_all()


if __name__ == "__main__":
    main()
