"""A whole run: a store, clients, a nemesis, and the verdict."""

import time

from harness.wait import Timeout, until

from . import books
from .client import KEYS, Client, Traffic
from .egress import Egress
from .nemesis import Nemesis, Supervisor
from .reading import get, get_cold, get_range, get_version, head, list_objects, list_versions
from .store import Store
from .writing import copy, delete, delete_several, delete_version, put, upload

OPERATIONS = [
    (get, 26), (get_range, 8), (head, 6), (put, 24), (delete, 7), (delete_several, 1), (copy, 6), (upload, 4), (list_objects, 4), (get_cold, 10),
    (get_version, 4), (delete_version, 3), (list_versions, 1),
]
SETTLED = 180
# What nodes say that the database or their own sleep kept from their heartbeat, before they end (docs/decisions/0009).
EXPECTED = ("this node leads, and could not tell the others that it lives", "the other nodes took this one for dead")
# Requests that need the database hold nothing up for longer than this once it is there.
LAST_ANSWERS = 60


class Campaign:
    """`minutes` of faults under the load of so many clients."""

    def __init__(self, directory, minutes, seed, clients=12, cold=None):
        self.seconds, self.seed, self.count = minutes * 60, seed, clients
        self.cold = cold or max(20, int(minutes * 25))
        self.store = Store(directory)
        self.traffic = Traffic(self.store, seed)
        self.begun = None

    def run(self):
        """Runs it; whether nothing was wrong."""
        try:
            self.store.start()
            self.store.there().create_bucket(Bucket="origin")
            self.traffic.fill_origin(self.cold)
            self.store.make_buckets()
            self._under_fire()
            self._verdict()
        finally:
            self.store.stop()
        return not self.traffic.wrongs

    def _under_fire(self):
        traffic = self.traffic
        self.egress, self.supervisor, self.nemesis = Egress(self.store.proxy), Supervisor(self.store, traffic), Nemesis(self.store, traffic, self.seed)
        self.clients = [Client(n, traffic, OPERATIONS) for n in range(self.count)]
        traffic.begun, traffic.seconds = time.monotonic(), self.seconds
        for thread in (self.egress, self.supervisor, *self.clients, self.nemesis):
            thread.start()
        traffic.stop.wait(self.seconds)
        traffic.stop.set()
        self.nemesis.join(400)
        for client in self.clients:
            client.join(LAST_ANSWERS * 4)
        errors = [thread.error for thread in (*self.clients, self.nemesis) if thread.error]
        if errors:
            raise errors[0]
        assert not any(client.is_alive() for client in self.clients), "a client never ended"

    # -- the end -----------------------------------------------------------------------------------------------

    def _verdict(self):
        store, traffic = self.store, self.traffic
        print(f"{time.monotonic() - traffic.begun:7.1f}  everything heals; the last look", flush=True)
        store.heal()
        try:
            store.await_service(SETTLED)
            until("nothing is half done", self._is_settled, SETTLED, 1)
        except Timeout as timeout:
            traffic.wrong(str(timeout))
        self._read_all()
        self._compare_with_origin()
        wrong, self.moved, self.unique = self.egress.judge(traffic, self.nemesis.faults)
        [traffic.wrong(text) for text in wrong]
        self._close_the_books()
        self.supervisor.over.set()
        self.egress.over.set()
        self._read_logs()
        self._report()

    def _is_settled(self):
        try:
            return not self.store.nodes[0].server.status("shadowed")["shadow"]["pending_repairs"]
        except AssertionError:
            return False

    def _read_all(self):
        """Every key through every node, and all versions: the judges decide."""
        reader = Client(len(self.clients), self.traffic, OPERATIONS)
        everywhere = reader.connections
        for connection in everywhere:
            reader.connections = [connection]
            for (bucket, key), judge in self.traffic.judges.items():
                reader.key = lambda *_, found=(bucket, key, judge): found
                get(reader)
        reader.connections = everywhere
        for key in KEYS["versioned"]:
            if list_versions(reader, key) is None:
                self.traffic.wrong(f"versioned/{key}: its versions are not listed")
        for judge in self.traffic.judges.values():
            judge.settle()
            if judge.underway:
                self.traffic.wrong(f"{judge.name}: {len(judge.underway)} operations never ended")

    def _compare_with_origin(self):
        """What was written through is there as it is here."""
        there = {}
        client = self.store.there()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket="origin"):
            there |= {entry["Key"]: entry["ETag"] for entry in page.get("Contents", [])}
        for key in KEYS["shadowed"]:
            states = self.traffic.judges["shadowed", key].settle()
            if there.get(key) not in states:
                self.traffic.wrong(f"shadowed/{key}: the origin has {there.get(key)}, and here is {states}")

    def _close_the_books(self):
        """Nothing is named that is not there. What is there and not named was left by writes that broke off, and cannot be more than they."""
        wrong, stray, found = [], [], None

        def closed():
            nonlocal wrong, stray, found
            wrong, stray, found = books.judge(self.store)
            if self.store.places:
                wrong += found.missing("dual")
            return not wrong and not found.due

        try:
            until("the reclaimer has done its work", closed, SETTLED, 2)
        except Timeout as timeout:
            self.traffic.wrong(f"{timeout}: {len(found.due)} are due")
        [self.traffic.wrong(text) for text in wrong]
        counts = self.traffic.counts
        broken = sum(count for (what, told), count in counts.items() if told in ("lost", "409 OperationAborted") or told.startswith("5"))
        allowed = broken + 20 * len(self.nemesis.faults)
        self.stray, self.coming, self.named = len(stray), sum(not copy.nonce for copy in found.copies.values()), len(found.named)
        if self.stray > allowed:
            self.traffic.wrong(f"{self.stray} contents that nothing names, and only {allowed} writes may have broken off")

    def _read_logs(self):
        for node in self.store.nodes:
            text = node.server.log_path.read_text(errors="replace")
            for line in text.splitlines():
                if "panicked" in line or "ERROR" in line and not any(words in line for words in EXPECTED):
                    self.traffic.wrong(f"log of {node.name}: {line[:600]}")

    def _report(self):
        counts, faults = self.traffic.counts, self.nemesis.counts
        print(f"\nseed {self.seed}, {self.seconds / 60:.1f} minutes, {self.count} clients")
        print(f"{sum(counts.values())} operations, {self.traffic.answered} answered:")
        for what in sorted({what for what, _ in counts}):
            print(f"  {what:<10} " + ", ".join(f"{told} {count}" for (of, told), count in sorted(counts.items()) if of == what))
        print(f"{sum(faults.values())} faults: " + ", ".join(f"{kind} {count}" for kind, count in faults.most_common()))
        ended = ", ".join(f"{name} with {status}: {count}" for (name, status), count in sorted(self.supervisor.ended.items()))
        print(f"nodes that ended by themselves: {ended or 'none'}")
        ratio = self.moved / self.unique if self.unique else 1
        print(f"of cold objects {self.unique} bytes came in, {self.moved} left the origin: {ratio:.3f}")
        print(f"{self.named} contents are named; {self.stray} that nothing names were left by what broke off, {self.coming} copies begun")
        print(f"{len(self.traffic.wrongs)} violations", flush=True)

