"""Measures one to four nodes on one database; `bench/nodes` runs it.

Every node is asked by a client of its own at the same time, with an equal share of the connections. The machine is the same for all of them, and for
the database: more nodes add no power here, so what is told is what sharing costs, by the requests and by the CPU for each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testing" / "conformance"))

from harness.engine import Engine  # noqa: E402
from harness.nodes import Nodes  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.process import clean_environment, kill_all  # noqa: E402
from harness.umbra import binary  # noqa: E402

CASES = [("put", "4KiB"), ("get", "4KiB"), ("head", "4KiB"), ("put", "64KiB"), ("get", "64KiB"), ("list", None)]


def arguments():
    parser = argparse.ArgumentParser(prog="bench/nodes", description="Measures one to four nodes on one database.")
    parser.add_argument("--counts", default="1,2,4", help="how many nodes (1,2,4)")
    parser.add_argument("--connections", type=int, default=16, help="connections of all clients together (16)")
    parser.add_argument("--seconds", type=float, default=3, help="how long a case runs (3)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each number of nodes has its turn (3)")
    parser.add_argument("dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def client(node, operation, size, connections, seconds):
    """A client of one node, running."""
    argv = [binary(), "bench", "--endpoint", node.endpoint, "--pid", node.process.pid, "--operations", operation, "--connections", connections]
    argv += ["--seconds", seconds, "--rounds", 1, "--keys", 2000, "--json"] + (["--sizes", size] if size else [])
    env = clean_environment(node.home, UMBRA_ACCESS_KEY=node.access_key, UMBRA_SECRET_KEY=node.secret_key)
    return subprocess.Popen([str(a) for a in argv], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def measure(nodes, operation, size, args):
    """Requests a second of all nodes together, and the CPU of each request in microseconds."""
    share = max(args.connections // len(nodes.all), 1)
    clients = [client(node, operation, size, share, args.seconds) for node in nodes]
    rows = []
    for running in clients:
        out, _ = running.communicate()
        assert running.returncode == 0, f"{operation} {size} failed"
        rows.append(json.loads(out)["results"][0])
    assert not any(row["errors"] for row in rows), rows
    total = sum(row["ops_per_s"] for row in rows)
    return total, sum(row["cpu_us_per_op"] * row["ops_per_s"] for row in rows) / total


def main():
    args = arguments()
    counts = [int(count) for count in args.counts.split(",")]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning; {args.connections} connections in all", flush=True)
    place = Path(tempfile.mkdtemp(dir=args.dir))
    place.chmod(0o755)
    found = {}
    try:
        database, engine = Postgres(place / "p").start(), Engine(place / "s").start()
        for turn in range(args.rounds):
            for count in counts:
                nodes = Nodes(place / f"t{turn}-{count}", database.database(f"b{turn}_{count}"), engine, count).start()
                for operation, size in CASES:
                    found.setdefault((operation, size, count), []).append(measure(nodes, operation, size, args))
                    print(f"   {count} nodes: {operation} {size or ''}", file=sys.stderr, flush=True)
                nodes.remove()
        database.remove()
    finally:
        kill_all()
    print("| operation | " + " | ".join(f"{count} node{'s' * (count > 1)}" for count in counts) + " |")
    print("|---|" + "---|" * len(counts))
    for operation, size in CASES:
        first = found[operation, size, counts[0]]
        cells = []
        for count in counts:
            ratio = statistics.median(now[0] / then[0] for now, then in zip(found[operation, size, count], first))
            ops, cpu = (statistics.median(column) for column in zip(*found[operation, size, count]))
            cells.append(f"{ops:,.0f}/s, {cpu:.0f} µs" + (f" ({ratio:.2f} ×)" if count != counts[0] else ""))
        print(f"| {operation.upper()} {size or '1,000 keys'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
