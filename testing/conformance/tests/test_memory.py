"""Memory is bounded whatever the size.

Holds "memory per request is bounded" and "Memory per request is bounded whatever the object's size".
"""

import hashlib
import http.client
from urllib.parse import urlsplit

import pytest

from harness.data import GIB, MIB, Stream, stream_md5
from harness.threads import at_once

LIMIT = 300 * MIB


def open_url(client, operation, bucket, key):
    url = urlsplit(client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key}, ExpiresIn=3600))
    return http.client.HTTPConnection(url.hostname, url.port, timeout=100), f"{url.path}?{url.query}"


def put_stream(client, bucket, key, size, seed=0):
    """PUTs a body of any size in one request; the client holds a block at a time."""
    connection, target = open_url(client, "put_object", bucket, key)
    connection.request("PUT", target, body=Stream(size, seed), headers={"content-length": str(size)})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()
    return answer.headers["etag"]


def get_md5(client, bucket, key):
    connection, target = open_url(client, "get_object", bucket, key)
    connection.request("GET", target)
    answer = connection.getresponse()
    assert answer.status == 200
    digest, count = hashlib.md5(), 0
    while piece := answer.read(MIB):
        digest.update(piece)
        count += len(piece)
    connection.close()
    return digest.hexdigest(), count


def in_and_out(server, client, bucket, size):
    server.process.reset_rss_peak()
    expected = stream_md5(size)
    assert put_stream(client, bucket, "big", size) == f'"{expected}"'
    assert get_md5(client, bucket, "big") == (expected, size)
    peak = server.process.rss_peak_bytes()
    assert peak < LIMIT, f"{peak // MIB} MiB"
    client.delete_object(Bucket=bucket, Key="big")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_one_gibibyte(own_umbra):
    """1 GiB in and out in one request each."""
    client = own_umbra.client()
    client.create_bucket(Bucket="memory")
    in_and_out(own_umbra, client, "memory", GIB)


@pytest.mark.huge
@pytest.mark.timeout(1200)
def test_five_gibibytes(own_umbra):
    """The same with 5 GiB, the most that one PUT takes."""
    client = own_umbra.client()
    client.create_bucket(Bucket="memory")
    in_and_out(own_umbra, client, "memory", 5 * GIB)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_sixteen_at_once(own_umbra):
    """Sixteen objects of 64 MiB at once, in and out."""
    client = own_umbra.client()
    client.create_bucket(Bucket="memory")
    own_umbra.process.reset_rss_peak()
    at_once(16, lambda n: put_stream(client, "memory", f"k{n}", 64 * MIB, n))
    found = at_once(16, lambda n: get_md5(client, "memory", f"k{n}"))
    assert found == [(stream_md5(64 * MIB, n), 64 * MIB) for n in range(16)]
    peak = own_umbra.process.rss_peak_bytes()
    assert peak < LIMIT, f"{peak // MIB} MiB"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_through_the_shadow(own_pair):
    """512 MiB written through, and 512 MiB hydrated: no more memory than without a shadow."""
    pair = own_pair
    pair.create(write_through=True)
    server, size = pair.umbra, 512 * MIB
    server.process.reset_rss_peak()
    expected = stream_md5(size)
    assert put_stream(pair.here, pair.name, "written", size) == f'"{expected}"'
    put_stream(pair.there, pair.origin_name, "cold", size)
    assert get_md5(pair.here, pair.name, "cold") == (expected, size)
    peak = server.process.rss_peak_bytes()
    # What arrives of cold objects may be held in memory up to a setting of its own (256 MiB by default).
    assert peak < LIMIT + 256 * MIB, f"{peak // MIB} MiB"
    assert pair.there.head_object(Bucket=pair.origin_name, Key="written")["ContentLength"] == size
