"""Cold objects that come in piece by piece: what readers cost the origin, over disconnects, kills and restarts."""

import random
import threading

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness.data import KIB, MIB, content
from harness.shadowed import Shadowed
from harness.threads import Background
from harness.wait import until

# The size of an object that comes by many requests.
LARGE = 64 * MIB


@pytest.fixture
def own_pair(own_umbra, seaweed):
    """A bucket yet to be created on a server of the test's own."""
    made = Shadowed(own_umbra, seaweed)
    yield made
    made.close()


class Readers:
    """Clients that read random ranges until told to stop, through failures of the server."""

    def __init__(self, pair, bodies, count):
        self.pair, self.bodies, self.done = pair, bodies, threading.Event()
        self.reads = 0
        self.running = [Background(self._read, seed) for seed in range(count)]

    def _read(self, seed):
        dice = random.Random(seed)
        while not self.done.is_set():
            key = dice.choice(sorted(self.bodies))
            body = self.bodies[key]
            first = dice.randrange(len(body))
            last = min(len(body) - 1, first + dice.choice([1, 64 * KIB, MIB, 3 * MIB]))
            try:
                answer = self.pair.get(key, Range=f"bytes={first}-{last}")
                if dice.random() < 0.1:
                    answer["Body"].close()
                    continue
                got = answer["Body"].read()
            except (ClientError, BotoCoreError, OSError):
                self.done.wait(0.2)
                continue
            assert got == body[first : last + 1], f"{key} {first}-{last}"
            self.reads += 1

    def stop(self):
        self.done.set()
        for reader in self.running:
            reader.result(60)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_random_ranges_and_a_kill(own_pair):
    """Holds "A byte leaves the origin at most once, whatever the readers do: many at a time," ranges, disconnects and a kill -9 in the middle."""
    pair, size = own_pair, 64 * MIB
    # So many that what is fetched and not yet stored at the kill, two pieces of 1 MiB for each of eight lanes, is less than a hundredth of them.
    bodies = {f"k{n:02}": content(size, seed=n) for n in range(28)}
    for key, body in bodies.items():
        pair.put_there(key, body)
    pair.create()
    readers = Readers(pair, bodies, 64)
    whole = len(bodies) * size
    until("a third to be moved", lambda: pair.proxy.body_bytes() > whole // 3, seconds=300)
    pair.umbra.restart(kill=True)
    until("all to be hydrated", lambda: not any(pair.is_cold(key) for key in bodies), seconds=300)
    readers.stop()
    assert readers.reads > 64
    moved = pair.proxy.body_bytes()
    print(f"origin bytes / unique bytes = {moved / whole:.4f}")
    assert whole <= moved <= 1.01 * whole
    pair.proxy.stop()
    for key, body in bodies.items():
        assert pair.read(key) == body


def test_ranges_survive_a_kill(own_pair):
    """Holds "and every byte fetched is kept." and "survive a restart,": what was read before a kill costs nothing after it."""
    pair, body = own_pair, content(40 * MIB)
    pair.put_there("k", body)
    pair.create()
    # The rest comes in the background and is held up, so that only what was asked for is here.
    rule = pair.fault("GET", "k", when=lambda e: f"bytes={32 * MIB}-" not in (e.headers.get("range") or ""), hold_answer=True)
    assert pair.get("k", Range=f"bytes={32 * MIB}-{33 * MIB - 1}")["Body"].read() == body[32 * MIB : 33 * MIB]
    rule.await_reached()
    # It was served before it was stored.
    until("it to be stored", lambda: pair.umbra.status(pair.name)["shadow"]["moved_bytes"] >= MIB)
    pair.umbra.kill()
    pair.proxy.clear_rules()
    # What was held up goes to nobody now, and has nothing to do with what comes after.
    assert all(exchange.done.wait(20) for exchange in pair.proxy.seen("GET", "k"))
    before = pair.proxy.body_bytes("k")
    pair.umbra.start()
    until("k to be hydrated", lambda: not pair.is_cold("k"), seconds=60)
    assert pair.read("k") == body
    after = [e.headers.get("range") for e in pair.proxy.transfers("k")[-20:]]
    assert pair.proxy.body_bytes("k") <= before + len(body) - MIB, after


def test_the_last_megabyte_does_not_wait_for_the_first(pair):
    """Holds "Range GET on a cold object: the wanted range comes first," while a reader of the whole is held up."""
    body = content(LARGE)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", "k", times=1, hold_at=2 * MIB)
    whole = Background(pair.read, "k")
    rule.await_reached()
    last = pair.get("k", Range=f"bytes={LARGE - MIB}-")["Body"].read()
    assert last == body[-MIB:] and whole.running
    rule.release()
    assert whole.result(60) == body
    until("k to be hydrated", lambda: not pair.is_cold("k"), seconds=60)
    assert pair.proxy.body_bytes("k") == LARGE


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [50 * MIB, LARGE, 200 * MIB])
def test_mixed_readers_cost_each_byte_once(pair, size):
    """Holds "A byte leaves the origin at most once, whatever the readers do: many at a time," for readers of the whole and of any range at once."""
    body = content(size)
    pair.put_there("k", body)
    pair.create()
    # The first of all wants the whole, and the others come while it arrives, not after it has.
    rule = pair.fault("GET", "k", times=1, hold_at=MIB)
    wholes = [Background(lambda: _compare(pair.get("k")["Body"], body)) for _ in range(3)]
    rule.await_reached()
    dice = random.Random(size)
    readers = [Background(_read_some, pair, body, dice.random(), reader) for reader in range(26)]
    # One of them wants the end, which is not held.
    assert pair.read("k", Range=f"bytes={size - MIB}-") == body[-MIB:]
    assert all(whole.running for whole in wholes)
    rule.release()
    for reader in [*wholes, *readers]:
        reader.result(120)
    assert pair.proxy.count("HEAD", "k") == 1
    until("k to be hydrated", lambda: not pair.is_cold("k"), seconds=60)
    _compare(pair.get("k")["Body"], body)
    asked = [e.headers.get("range") for e in pair.proxy.transfers("k")]
    assert asked[0] == f"bytes=0-{16 * MIB - 1}" and _are_disjoint(asked), asked
    assert pair.proxy.body_bytes("k") == size, f"egress ratio {pair.proxy.body_bytes('k') / size:.4f}"


def _are_disjoint(ranges):
    """Whether no byte is in two of these `Range` headers."""
    spans = sorted(tuple(int(end) for end in asked.removeprefix("bytes=").split("-")) for asked in ranges)
    return all(last < first for (_, last), (first, _) in zip(spans, spans[1:]))


def _read_some(pair, body, seed, number):
    """Reads the whole or a range of `k`, to its end or until it has had enough."""
    dice = random.Random(seed)
    first, last = (0, len(body) - 1) if number % 4 == 0 else sorted(dice.randrange(len(body)) for _ in range(2))
    answer = pair.get("k") if number % 4 == 0 else pair.get("k", Range=f"bytes={first}-{last}")
    _compare(answer["Body"], memoryview(body)[first : last + 1], enough=100_000 if number % 5 == 2 else None)


def _compare(stream, expected, enough=None):
    """Holds what is read against what it should be, to its end or until there is enough; nothing is kept of it."""
    at = 0
    for chunk in stream.iter_chunks(MIB):
        assert chunk == expected[at : at + len(chunk)], at
        at += len(chunk)
        if enough and at >= enough:
            return stream.close()
    assert at == len(expected)


def test_a_large_object_of_an_origin_that_ignores_ranges(moto_pair):
    """Holds "An origin that ignores Range or sends no length is handled.": once that is known, a range of a large object is not asked for apart."""
    pair, body = moto_pair, content(LARGE)
    pair.put_there("small", content(3 * MIB))
    pair.put_there("k", body)
    pair.create()
    pair.fault("GET", "small", request_headers={"range": None})
    pair.read("small", Range="bytes=2000000-2000099")
    pair.fault("GET", "k", request_headers={"range": None}, pace=32 * MIB)
    whole = pair.get("k")
    assert pair.read("k", Range=f"bytes={LARGE - MIB}-") == body[-MIB:]
    assert whole["Body"].read() == body
    assert [e.origin_bytes for e in pair.proxy.transfers("k")] == [LARGE]


def test_parallel_ranges_cost_each_byte_once(pair):
    """Holds "All concurrent readers of a cold object share one transfer," for a client that fetches by parallel ranges."""
    body = content(48 * MIB)
    pair.put_there("k", body)
    pair.create()
    step = 5 * MIB
    ranges = [(first, min(first + step, len(body)) - 1) for first in range(0, len(body), step)]
    readers = [Background(lambda r=r: pair.get("k", Range=f"bytes={r[0]}-{r[1]}")["Body"].read()) for r in ranges]
    assert b"".join(reader.result(60) for reader in readers) == body
    until("k to be hydrated", lambda: not pair.is_cold("k"), seconds=60)
    assert pair.proxy.body_bytes("k") == len(body)


def test_ranges_of_an_object_that_changes(pair):
    """Holds "If the origin's object changes under a transfer, nothing mixed is ever served or stored:" for pieces kept of the old one."""
    old, new = content(20 * MIB, seed=1), content(20 * MIB, seed=2)
    pair.put_there("k", old)
    pair.create()
    rule = pair.fault("GET", "k", when=lambda e: "bytes=0-" not in (e.headers.get("range") or ""), hold_answer=True)
    assert pair.get("k", Range="bytes=0-99")["Body"].read() == old[:100]
    rule.await_reached()
    pair.put_there("k", new)
    pair.proxy.clear_rules()
    until("the new one to be read", lambda: pair.get("k", Range="bytes=15000000-15000099")["Body"].read() == new[15000000:15000100])
    until("k to be hydrated", lambda: not pair.is_cold("k"), seconds=60)
    assert pair.read("k") == new
