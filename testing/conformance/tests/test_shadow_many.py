"""Very many small objects: listed while somebody writes, brought in over a kill, compared, and left alone with.

20,000 by default, as many as `--many` says. The figures are printed: `pytest -s`.
"""

import random
import threading
import time

import pytest

from harness.clients import keys_of, walk_v2
from harness.data import etag
from harness.fill import body_of, fill, key_of
from harness.model import Living, check_walk
from harness.threads import Background
from harness.wait import until

SEED = "many"


class Writer(threading.Thread):
    """Deletes, overwrites and adds, one object at a time, and tells the model."""

    def __init__(self, pair, living, count):
        super().__init__(daemon=True)
        self.pair, self.living, self.count = pair, living, count
        self.rng = random.Random(SEED)
        self.stopping = threading.Event()
        self.writes, self.error = 0, None

    def run(self):
        try:
            while not self.stopping.is_set():
                self._write(self._key())
                self.writes += 1
        except Exception as error:  # noqa: BLE001 - handed to whoever stops it
            self.error = error

    def _key(self):
        key = key_of(self.rng.randrange(self.count))
        lot = self.rng.random()
        if lot < 0.7:
            return key
        # Beside one that is there, below it, or far from all.
        return self.rng.choice([f"{key}-{self.writes}", f"{key}/{self.writes}", f"docs!{self.writes}", f"new/{self.writes}", f"docs/{self.writes}"])

    def _write(self, key):
        if self.rng.random() < 0.4:
            with self.living.writing(key, None):
                self.pair.delete(key)
            return
        body = body_of("writer", self.writes)
        with self.living.writing(key, (len(body), etag(body))):
            self.pair.put(key, body)

    def end(self):
        self.stopping.set()
        self.join(60)
        assert self.error is None, self.error


def walk(pair, living, version, prefix="", delimiter=""):
    """Reads a listing through in pages of a thousand, each held against the model; how many pages there were."""
    options = dict(Bucket=pair.name, MaxKeys=1000, Prefix=prefix, Delimiter=delimiter)
    start, pages = "", 0
    while True:
        begun = time.monotonic()
        page = (pair.here.list_objects_v2 if version == 2 else pair.here.list_objects)(**options)
        last = living.check_page(page, begun, start, prefix, delimiter)
        pages += 1
        if not page["IsTruncated"]:
            return pages
        start = last
        if version == 2:
            options["ContinuationToken"] = page["NextContinuationToken"]
        else:
            options["Marker"] = page.get("NextMarker") or last


class Clock:
    """Says how long each stretch took."""

    def __init__(self):
        self.last = time.monotonic()

    def tell(self, what):
        now = time.monotonic()
        print(f"{what}: {now - self.last:.1f} s", flush=True)
        self.last = time.monotonic()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_small_objects(own_pair, request):
    """Pages are right while somebody writes; a backfill ends though it is killed; the comparison is clean, and the shadow can go."""
    pair, count, clock = own_pair, request.config.getoption("--many"), Clock()
    fill(pair.origin, pair.origin_name, count, SEED)
    bodies = (body_of(SEED, n) for n in range(count))
    living = Living((key_of(n), (len(body), etag(body))) for n, body in enumerate(bodies))
    assert len(living.ordered) == count
    clock.tell(f"{count} objects put at the origin")
    pair.create(direct=True)

    writer = Writer(pair, living, count)
    writer.start()
    pages = walk(pair, living, 2)
    clock.tell(f"{pages} pages of version 2")
    pages = walk(pair, living, 2, delimiter="/") + walk(pair, living, 1, "photos/", "/") + walk(pair, living, 1, "docs")
    clock.tell(f"{pages} pages with a delimiter or a prefix")
    pages = walk(pair, living, 1)
    clock.tell(f"{pages} pages of version 1")
    writer.end()
    clock.tell(f"{writer.writes} writes meanwhile; the last")
    check_walk(pair.here, pair.name, living.ordered, 1000, "", "/")

    flags = ("migrate", pair.name, "--wait", "--json")
    before = pair.umbra.status(pair.name)["objects"]
    waiting = Background(pair.umbra.storage, *flags, timeout=900)
    half = before + (count - before) // 2
    until("half of them to be here", lambda: pair.umbra.status(pair.name)["objects"] >= half, 600, 0.2)
    pair.umbra.restart(kill=True)
    pair.connect()
    here = pair.umbra.status(pair.name)["objects"]
    assert here < len(living.ordered), "it was killed in the middle"
    done = waiting.result(900).json()
    assert (done["state"], done["objects_left"], done["objects_failed"]) == ("done", 0, 0)
    clock.tell(f"backfill of {done['objects_done']} objects, killed at {here}")

    told = pair.umbra.storage("verify", pair.name, "--deep", "--json", timeout=900).json()["job"]
    kinds = {t["name"] for t in told["tallies"]}
    assert told["objects_failed"] == 0 and kinds <= {"newer-here", "deleted-here", "only-here"}, told["tallies"]
    clock.tell(f"deep comparison of {told['objects_done']} keys")

    pair.update("--clear-shadow", timeout=300)
    clock.tell("detaching")
    assert pair.umbra.status(pair.name)["bucket"]["shadow"] is None
    assert keys_of(walk_v2(pair.here, pair.name)) == living.ordered
    for key in random.Random(SEED).sample(living.ordered, 200):
        assert etag(pair.read(key)) == living.objects[key][1]
    clock.tell("the last look")
