"""Filling a bucket with many small objects: signed by hand over connections that stay open, from several processes."""

import hashlib
import http.client
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from .raw import Signer, escape

PROCESSES, CONNECTIONS = 2, 6


def body_of(seed, n):
    """A few hundred bytes that no other number has."""
    line = hashlib.md5(f"{seed}/{n}".encode()).hexdigest()
    return (line * 16)[: 200 + n % 300].encode()


def key_of(n):
    """The key of object number `n`: with and without `/`, at several depths, some odd. Neighbours and directories of one name among them."""
    kind = n % 10
    if kind < 4:
        return f"photos/{n // 10 % 50:02d}/{n:06d}.jpg"
    if kind < 6:
        return f"docs/{n:06d}"
    if kind < 7:
        return f"docs-old/{n:06d}"
    if kind < 8:
        return f"docs-{n:06d}"
    if kind < 9:
        return f"flat {n:06d} + é&%"
    return f"z{n % 7}!{n:06d}/deep/\U0001f600/x.{n % 3}"


def fill(server, bucket, count, seed="many"):
    """Puts objects 0 to `count` into a bucket of a server; raises if any is refused."""
    argv = [sys.executable, "-m", "harness.fill", server.endpoint, server.access_key, server.secret_key, server.region, bucket, seed, str(count)]
    root = Path(__file__).resolve().parents[1]
    running = [subprocess.Popen([*argv, str(number)], cwd=root) for number in range(PROCESSES)]
    ended = [child.wait() for child in running]
    assert ended == [0] * PROCESSES, f"the bucket could not be filled: {ended}"


def put_some(endpoint, signer, bucket, seed, numbers, failures):
    host = urlsplit(endpoint).netloc
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        for n in numbers:
            body, path = body_of(seed, n), f"/{bucket}/{escape(key_of(n))}"
            headers = signer.headers("PUT", host, path, payload_hash="UNSIGNED-PAYLOAD")
            del headers["host"]
            connection.request("PUT", path, body, headers)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 200:
                raise AssertionError(f"{key_of(n)!r}: {answer.status} {told[:300]!r}")
    except Exception as error:  # noqa: BLE001 - ends the process with what happened
        failures.append(error)


def main(endpoint, access_key, secret_key, region, bucket, seed, count, number):
    numbers = range(int(number), int(count), PROCESSES)
    failures = []
    threads = [
        threading.Thread(target=put_some, args=(endpoint, Signer(access_key, secret_key, region), bucket, seed, numbers[t::CONNECTIONS], failures))
        for t in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit(f"{failures[0]!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
