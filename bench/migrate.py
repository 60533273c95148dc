"""Measures migration; `bench/migrate` runs it. What it prints and how is in docs/performance.md."""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "testing" / "conformance"))

from harness.process import kill_all  # noqa: E402
from migration.moving import move, recheck, tell_moved  # noqa: E402
from migration.reading import cold, crowd  # noqa: E402
from migration.stage import KIB, MIB, Load, Stage  # noqa: E402
from migration.users import beside  # noqa: E402

PARTS = ("move", "recheck", "cold", "users")


def say(line):
    print(f"   {line}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/migrate", description="Measures migration beside rclone.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side has its turn (3)")
    parser.add_argument("--small", type=int, default=10_000, help="small objects (10000)")
    parser.add_argument("--small-kib", type=int, default=64, help="their size (64)")
    parser.add_argument("--large", type=int, default=100, help="large objects (100)")
    parser.add_argument("--large-mib", type=int, default=8, help="their size (8)")
    parser.add_argument("--reads", type=int, default=40, help="cold reads of 64 KiB; half as many of 8 MiB, an eighth of 64 MiB (40)")
    parser.add_argument("--readers", type=int, default=50, help="readers of one cold object (50)")
    parser.add_argument("--seconds", type=float, default=4, help="how long users are watched at a time (4)")
    parser.add_argument("--only", default=",".join(PARTS), help=f"which parts ({','.join(PARTS)}); recheck needs move")
    parser.add_argument("dir", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(stage, args, parts):
    small = Load("small", args.small, args.small_kib * KIB)
    large = Load("large", args.large, args.large_mib * MIB)
    say("filling the origin")
    stage.fill(small)
    moved = []
    if "move" in parts:
        stage.fill(large)
        moved = move(stage, [small, large], args.rounds, say)
        for result in moved:
            yield from tell_moved(result)
    if "cold" in parts:
        reads = args.reads
        yield from cold(stage, [(64 * KIB, reads), (8 * MIB, max(reads // 2, 3)), (64 * MIB, max(reads // 8, 3))])
        yield from crowd(stage, args.readers, 8 * MIB)
    if "users" in parts:
        yield from beside(stage, small, args.rounds, args.seconds)
    if "recheck" in parts and moved:
        yield from recheck(stage, moved[0], args.rounds)


def main():
    args = arguments()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the beginning", flush=True)
    try:
        with Stage(args.dir) as stage:
            for line in measure(stage, args, args.only.split(",")):
                print(line, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        kill_all()


if __name__ == "__main__":
    main()
