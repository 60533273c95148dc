"""The proxy itself: that it counts right and breaks what it is told, or the other tests prove nothing."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ConnectionClosedError, ReadTimeoutError

from harness.clients import keys_of, put_multipart, read, refused, s3, walk_v2
from harness.data import KIB, MIB, content, etag, multipart_etag, odd_keys
from harness.faults import Fault
from harness.process import GRPC_ABOVE, grpc_sockets, is_free
from harness.proxy import CountingProxy
from harness.seaweed import SeaweedFS
from harness.shadowed import name


@pytest.fixture
def behind(seaweed):
    """A bucket at SeaweedFS seen through a proxy: client, bucket, proxy."""
    proxy = CountingProxy(seaweed.endpoint).start()
    client = s3(proxy.endpoint, seaweed.access_key, seaweed.secret_key, read_timeout=3, response_checksum_validation="when_required")
    bucket = name("proxied")
    client.create_bucket(Bucket=bucket)
    yield client, bucket, proxy
    proxy.close()


def test_forwards_and_counts(behind):
    """Signatures survive the proxy; requests and bytes are counted by key."""
    client, bucket, proxy = behind
    body = content(3 * MIB)
    assert client.put_object(Bucket=bucket, Key="a b/\u00e9", Body=body)["ETag"] == etag(body)
    assert read(client, bucket, "a b/\u00e9") == body
    assert read(client, bucket, "a b/\u00e9", Range="bytes=10-19") == body[10:20]
    client.head_object(Bucket=bucket, Key="a b/\u00e9")
    assert proxy.count("PUT", "a b/\u00e9") == 1 and proxy.count("GET", "a b/\u00e9") == 2 and proxy.count("HEAD", "a b/\u00e9") == 1
    assert proxy.body_bytes("a b/\u00e9") == len(body) + 10
    parts = [content(5 * MIB, 1), content(5 * MIB, 2), content(1, 3)]
    assert put_multipart(client, bucket, "m", parts)["ETag"] == multipart_etag(parts)
    assert keys_of(walk_v2(client, bucket)) == ["a b/\u00e9", "m"]


def test_stop_and_start(behind):
    """A stopped proxy refuses connections; a started one serves on the same port."""
    client, bucket, proxy = behind
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    proxy.stop()
    with pytest.raises(BotoCoreError):
        client.head_object(Bucket=bucket, Key="k")
    proxy.start()
    assert read(client, bucket, "k") == b"x"


def test_answers_and_lies(behind):
    """Refusals, truncation, wrong lengths and lost answers reach the client as such."""
    client, bucket, proxy = behind
    body = content(300 * KIB)
    client.put_object(Bucket=bucket, Key="k", Body=body)
    for status in (403, 503):
        rule = proxy.rule(Fault(status=status), "GET", "k", times=1)
        assert refused(client.get_object, Bucket=bucket, Key="k").status == status
        assert rule.hits == 1
    for fault in (Fault(cut_at=100 * KIB), Fault(length_delta=10)):
        proxy.rule(fault, "GET", "k", times=1)
        with pytest.raises((BotoCoreError, ReadTimeoutError)):
            read(client, bucket, "k")
    proxy.rule(Fault(length_delta=-10), "GET", "k", times=1)
    assert read(client, bucket, "k") == body[:-10]
    proxy.rule(Fault(no_length=True), "GET", "k", times=1)
    assert read(client, bucket, "k") == body
    proxy.rule(Fault(drop_answer=True), "PUT", "lost", times=1)
    with pytest.raises((ConnectionClosedError, BotoCoreError)):
        client.put_object(Bucket=bucket, Key="lost", Body=b"arrived")
    assert read(client, bucket, "lost") == b"arrived"
    proxy.rule(Fault(drop_body_at=64 * KIB), "PUT", "broken", times=1)
    with pytest.raises(BotoCoreError):
        client.put_object(Bucket=bucket, Key="broken", Body=body)
    assert refused(client.head_object, Bucket=bucket, Key="broken").status == 404


def test_pauses(behind):
    """A pause holds exactly where it is told, until released."""
    client, bucket, proxy = behind
    body = content(2 * MIB)
    client.put_object(Bucket=bucket, Key="k", Body=body)
    rule = proxy.rule(Fault(hold_at=MIB), "GET", "k")
    stream = client.get_object(Bucket=bucket, Key="k")["Body"]
    assert stream.read(MIB) == body[:MIB]
    rule.await_reached()
    rest = []
    reader = threading.Thread(target=lambda: rest.append(stream.read()))
    reader.start()
    reader.join(0.3)
    assert reader.is_alive() and not rest
    rule.release()
    reader.join(10)
    assert rest == [body[MIB:]]
    rule = proxy.rule(Fault(hold_answer=True), "PUT", "held")
    writer = threading.Thread(target=client.put_object, kwargs=dict(Bucket=bucket, Key="held", Body=b"x"))
    writer.start()
    rule.await_reached()
    assert read(client, bucket, "held") == b"x", "the origin had accepted"
    assert writer.is_alive()
    rule.release()
    writer.join(10)
    assert not writer.is_alive()


def test_ports_of_another_address(tmp_path):
    """SeaweedFS also listens in /tmp, for all addresses and network namespaces: its ports are free nowhere, and those of one that is gone everywhere."""
    away = SeaweedFS(tmp_path / "s", "127.0.0.2").start()
    sockets = [path for port in away.ports for path in grpc_sockets(port)]
    assert len(sockets) == len(away.ports) and not any(is_free(port + GRPC_ABOVE) for port in away.ports)
    away.process.kill()
    assert all(path.exists() for path in sockets) and all(is_free(port + GRPC_ABOVE) for port in away.ports)
    away.stop()
    assert not any(path.exists() for path in sockets)


def test_the_seaweedfs_of_the_benchmarks_comes_and_goes(tmp_path):
    """It answers where it says, and ends when its standard input does."""
    bench = Path(__file__).resolve().parents[3] / "bench" / "seaweed.py"
    with subprocess.Popen([sys.executable, bench, tmp_path / "s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        endpoint, _, access_key, secret_key = process.stdout.readline().split()
        s3(endpoint, access_key, secret_key, retries=True).create_bucket(Bucket="bench")
    assert process.returncode == 0


def test_moto_holds_odd_keys(moto):
    """moto, an origin for odd keys, takes and lists them itself; all but those with a line feed."""
    client = s3(moto.endpoint, moto.access_key, moto.secret_key)
    bucket = name("odd")
    client.create_bucket(Bucket=bucket)
    keys = [key for key in odd_keys() if "\n" not in key]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert read(client, bucket, key) == key.encode()
    assert keys_of(walk_v2(client, bucket)) == sorted(keys, key=str.encode)
