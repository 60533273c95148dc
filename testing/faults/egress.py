"""Counts what left the origin: of a key that is only read, each byte once, and again at most what was under way when something broke."""

import threading
import time
from collections import defaultdict

MIB = 1024**2
# What one request to the origin gathers before it is kept, and what lies in the buffers of sockets.
UNDER_WAY = 4 * MIB
# For so long after a fault things may still break.
AFTERMATH = 10


class Fetch:
    def __init__(self, begun, ended, count):
        self.begun, self.ended, self.count = begun, ended, count


class Egress(threading.Thread):
    """Takes note of what passes the origin's proxy, which then may forget it."""

    def __init__(self, proxy):
        super().__init__(daemon=True, name="egress")
        self.proxy, self.over = proxy, threading.Event()
        self.fetches, self.seen, self.requests = defaultdict(list), {}, 0

    def run(self):
        while not self.over.wait(0.5):
            self.look()

    def look(self):
        now = time.monotonic()
        with self.proxy.lock:
            exchanges = list(self.proxy.exchanges)
            done = {id(e) for e in exchanges if e.done.is_set()}
            self.proxy.exchanges[:] = [e for e in exchanges if id(e) not in done]
        for exchange in exchanges:
            begun = self.seen.setdefault(id(exchange), now - 0.5)
            if id(exchange) in done:
                del self.seen[id(exchange)]
                self.requests += 1
                if exchange.method == "GET" and exchange.moved:
                    self.fetches[exchange.key].append(Fetch(begun, now, exchange.origin_bytes))

    def judge(self, traffic, faults):
        """What was wrong, the bytes of cold keys that left the origin, and how many there are."""
        self.look()
        wrong, moved, unique = [], 0, 0
        for key, tag in traffic.cold.items():
            size, fetches = traffic.contents.of(tag).size, self.fetches[key]
            count = sum(fetch.count for fetch in fetches)
            disturbed = [f for f in fetches if any(f.begun <= end + AFTERMATH and f.ended >= begin for begin, end, _ in faults)]
            again = sum(min(f.count, UNDER_WAY) for f in disturbed)
            moved, unique = moved + count, unique + min(size, count)
            if count > size + again:
                wrong.append(f"{key} of {size} B: {count} B left the origin, by {[f.count for f in fetches]}; {again} B were under way when something broke")
        return wrong, moved, unique
