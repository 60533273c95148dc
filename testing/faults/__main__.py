"""Runs a campaign: `testing/faults/run`."""

import argparse
import faulthandler
import random
import signal
import sys
import tempfile

from harness import process

from .campaign import Campaign


def main():
    parser = argparse.ArgumentParser(prog="testing/faults/run", description="Random faults under random load, held against a model.")
    parser.add_argument("--minutes", type=float, default=5, help="how long; the verdict takes a minute or two more")
    parser.add_argument("--seed", type=int, default=None, help="what clients and faults choose by")
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--dir", default=None, help="where everything is kept; removed at the end")
    given = parser.parse_args()
    # Where it stands, for whoever wonders.
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    try:
        return 0 if Campaign(given.dir or tempfile.mkdtemp(prefix="umbra-faults-"), given.minutes, seed, given.clients).run() else 1
    finally:
        process.kill_all()


if __name__ == "__main__":
    sys.exit(main())
