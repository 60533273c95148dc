"""Clients that do one thing after another at random, through any node, and what all of them share."""

import random
import threading
import time
from collections import Counter

from .contents import Contents
from .model import Judge
from .versions import Versions
from .wire import Connection, Lost, NotSent

KEYS = {
    "plain": [f"{d}/k{n:02d}" for d in "abc" for n in range(12)],
    "versioned": [f"{d}/k{n:02d}" for d in "ab" for n in range(6)],
    "shadowed": [f"{d}/k{n:02d}" for d in "abc" for n in range(10)],
    # In both regions.
    "dual": [f"{d}/k{n:02d}" for d in "ab" for n in range(8)],
}
# A read from a replica of the metadata is not older than this (docs/decisions/0010), with what it takes to be answered.
AGE = 1.5
NEWEST = {"x-tigris-consistent": "true"}
# So many may write one key at a time: more would only make the judge slow.
WRITERS_MAX = 4
WRONG_MAX = 10
THINK = 0.1


class Undone(Exception):
    """Nothing came of it, and the judges know."""


class Traffic:
    """What all clients share: what was written, the judges, what went wrong."""

    def __init__(self, store, seed):
        self.store, self.seed = store, seed
        self.contents, self.versions = Contents(), Versions(self)
        self.judges, self.cold = {}, {}
        self.stop, self.lock = threading.Event(), threading.Lock()
        self.counts, self.wrongs, self.answered = Counter(), [], 0
        self.begun, self.seconds = time.monotonic(), 1

    def progress(self):
        """How much of the time has passed, from 0 to 1."""
        return (time.monotonic() - self.begun) / self.seconds

    def wrong(self, text):
        with self.lock:
            self.wrongs.append(text)
            print(f"\nWRONG (seed {self.seed}): {text}\n", flush=True)
            if len(self.wrongs) >= WRONG_MAX:
                self.stop.set()

    def count(self, what, told):
        with self.lock:
            self.counts[what, told] += 1
            self.answered += told.startswith(("2", "404", "412"))

    def fill_origin(self, cold):
        """What the origin holds before anybody comes: some of the keys that are used, and `cold` ones that are only read."""
        there, rng = self.store.there(), random.Random(f"{self.seed}/origin")
        for bucket, keys in KEYS.items():
            for n, key in enumerate(keys):
                tag = None
                if bucket == "shadowed" and n % 2:
                    tag = self._put_there(there, key, rng.randint(100, 300_000))
                self.judges[bucket, key] = Judge(f"{bucket}/{key}", tag, self.wrong)
        for n in range(cold):
            key = f"cold/{n:05d}"
            self.cold[key] = self._put_there(there, key, rng.choice([200, 3000, 60_000, 60_000, 300_000, 300_000, 300_000, 1_500_000, 1_500_000, 5_000_000]))

    def _put_there(self, there, key, size):
        content, tag = self.contents.make("shadowed", key, size)
        there.put_object(Bucket="origin", Key=key, Body=content.body(), Metadata={"write": content.name})
        return tag


class Client(threading.Thread):
    """One client."""

    def __init__(self, number, traffic, operations):
        super().__init__(daemon=True, name=f"client {number}")
        self.number, self.traffic, self.operations = number, traffic, operations
        self.rng = random.Random(f"{traffic.seed}/{number}")
        self.connections = [Connection(node, traffic.store.keys) for node in traffic.store.nodes]
        self.error = None

    def run(self):
        calls, weights = zip(*self.operations, strict=True)
        try:
            while not self.traffic.stop.is_set():
                call = self.rng.choices(calls, weights)[0]
                try:
                    call(self)
                except Undone:
                    pass
                time.sleep(self.rng.expovariate(1 / THINK))
        except BaseException as error:  # noqa: BLE001 - the run tells it
            self.error = error
            self.traffic.stop.set()
        finally:
            for connection in self.connections:
                connection.close()

    # -- what operations need ----------------------------------------------------------------------------------

    def bucket(self):
        return self.rng.choice(["plain", "plain", "versioned", "shadowed", "shadowed", "dual"])

    def key(self, bucket=None, writes=False):
        """A bucket, one of its keys, and the key's judge."""
        bucket = bucket or self.bucket()
        while True:
            key = self.rng.choice(KEYS[bucket])
            judge = self.traffic.judges[bucket, key]
            if not writes or judge.writing < WRITERS_MAX:
                return bucket, key, judge
            time.sleep(0.05)

    def size(self):
        lot = self.rng.random()
        low, high = (70, 4000) if lot < 0.5 else (4000, 100_000) if lot < 0.93 else (100_000, 1_500_000)
        return self.rng.randint(low, high)

    def call(self, what, *args, through=None, **kwargs):
        """Sends a request through any node that is reached, or through that one; counts what came of it."""
        for _ in range(1 if through else 20):
            try:
                answer = (through or self.rng.choice(self.connections)).call(*args, **kwargs)
            except NotSent:
                time.sleep(0.2)
                continue
            except Lost as lost:
                self.traffic.count(what, "lost")
                raise lost
            self.traffic.count(what, str(answer))
            has_no_code = answer.status >= 400 and not answer.code and args[0] != "HEAD"
            if has_no_code or (answer.status >= 400 and answer.status not in (404, 409, 412, 416, 503)):
                self.traffic.wrong(f"{what} {args}: {answer} {answer.body[:300]!r}")
            return answer
        raise NotSent

    def view(self, bucket):
        """Through which node something is read, with which headers, and how old it may be."""
        through = self.rng.choice(self.connections)
        has_replica = self.traffic.store.has_replica(through.node) and bucket != "shadowed"
        if not has_replica or self.rng.random() < 0.3:
            return through, dict(NEWEST) if has_replica else {}, 0
        return through, {}, AGE

    def look(self, judge, what, *args, headers=None):
        """Asks something of a key that changes nothing; the operation, and an answer that can be judged."""
        through, more, age = self.view(args[1])
        op = judge.begin(f"{what} at {through.node.name}{'' if age else ' now'}", region=through.node.region, age=age)
        try:
            answer = self.call(what.split(" ")[0], *args, through=through, headers={**(headers or {}), **more})
        except (Lost, NotSent):
            judge.forget(op)
            raise Undone from None
        if answer.status not in (200, 206, 304, 404, 416):
            judge.forget(op)
            raise Undone
        return op, answer

    def is_blind(self, op):
        """Whether it was read from a replica while that may have been all there was: then it may be as old as it likes."""
        return not op.what.endswith(" now") and self.traffic.store.was_blind(op.begun)

    def change(self, judge, op, needs, puts, *args, **kwargs):
        """Sends a write; an answer that is certain. Otherwise the judge is told of the doubt."""
        try:
            answer = self.call(op.what.split(" ")[0], *args, **kwargs)
        except NotSent:
            judge.forget(op)
            raise Undone from None
        except Lost as lost:
            judge.doubt(op, str(lost), needs, puts)
            raise Undone from None
        if answer.status in (200, 204, 404, 412):
            return answer
        judge.doubt(op, str(answer), needs, puts)
        raise Undone
