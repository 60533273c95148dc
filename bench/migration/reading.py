"""Reading what is cold: how much longer it takes through Umbra than from the origin itself, and what many readers of one object cost."""

import http.client
import time
from concurrent.futures import ThreadPoolExecutor

from harness.clients import s3
from harness.proxy import CountingProxy
from harness.wait import until

from .stage import KIB, MIB, Load, median, target


class Reader:
    """One connection; the requests are signed beforehand."""

    def __init__(self, endpoint, client, bucket):
        self.connection = http.client.HTTPConnection(endpoint.removeprefix("http://"))
        self.connection.connect()
        self.client, self.bucket, self.buffer = client, bucket, memoryview(bytearray(MIB))

    def read(self, key, size):
        """Reads an object: seconds to the first byte of content, and to the last."""
        what = target(self.client, "get_object", self.bucket, key)
        began = time.perf_counter()
        self.connection.request("GET", what)
        answer = self.connection.getresponse()
        assert answer.status == 200, answer.read()
        assert len(answer.read(1)) == 1
        first, taken = time.perf_counter() - began, 1
        while count := answer.readinto(self.buffer):
            taken += count
        assert taken == size, f"{taken} of {size} bytes"
        return first, time.perf_counter() - began


def cold(stage, sizes):
    """Reads each object once, from one side or the other in turns; gives the lines."""
    yield f"cold GET, medians in ms {'':6}{'first byte':^34}{'whole':^34}"
    yield f"  {'size':>8} {'reads':>6}      {'origin':>9}{'umbra':>9}{'more':>8}{'ratio':>7}   {'origin':>9}{'umbra':>9}{'more':>8}{'ratio':>7}"
    for size, count in sizes:
        load = Load(f"cold-{size // KIB}k", 2 * count, size)
        stage.fill(load)
        name = stage.bucket(load)
        here, there = Reader(stage.umbra.endpoint, stage.here, name), Reader(stage.origin.endpoint, stage.there, load.bucket)
        # Both connections and both directions of the servers are warm.
        ours, theirs = [], []
        for number in range(count):
            theirs.append(there.read(load.key(2 * number), size))
            key = load.key(2 * number + 1)
            ours.append(here.read(key, size))
            until("the copy to be kept", lambda: _is_here(stage.here, name, key), 60)
        cells = []
        for part in (0, 1):
            origin, umbra = (1e3 * median([read[part] for read in reads[count // 10:]]) for reads in (theirs, ours))
            cells.append(f"{origin:9.2f}{umbra:9.2f}{umbra - origin:+8.2f}{umbra / origin:6.2f}×")
        label = f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB"
        yield f"  {label:>8} {count:>6}      {cells[0]}   {cells[1]}"


def _is_here(client, bucket, key):
    headers = client.head_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPHeaders"]
    return headers.get("x-tigris-read-source") != "block_shadow"


def crowd(stage, readers, size):
    """Many readers of one cold object at once, the origin behind a proxy that counts; gives the line."""
    load = Load("crowd", 1, size)
    stage.fill(load)
    proxy = CountingProxy(stage.origin.endpoint).start()
    try:
        name = stage.bucket(load, proxy.endpoint)
        proxy.forget()
        client = s3(stage.umbra.endpoint, stage.umbra.access_key, stage.umbra.secret_key)
        with ThreadPoolExecutor(readers) as pool:
            reads = list(pool.map(lambda _: len(client.get_object(Bucket=name, Key=load.key(0))["Body"].read()), range(readers)))
        assert reads == [size] * readers
        moved = proxy.body_bytes()
    finally:
        proxy.close()
    yield f"{readers} readers of one cold object of {size // MIB} MiB: {moved / size:.3f} transfers"
