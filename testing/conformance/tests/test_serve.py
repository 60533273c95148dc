"""The server as a process: `interface.md`, "Run it"."""

import os
import signal
import ssl
import stat
import subprocess
import threading
import urllib.request
from http.client import HTTPConnection
from urllib.parse import urlsplit

from harness import clients
from harness.certificates import self_signed
from harness.clients import read
from harness.data import KIB, MIB, content
from harness.process import Process, clean_environment, free_ports
from harness.raw import Signer, receive, request
from harness.umbra import Umbra, binary
from harness.wait import stays, until

import socket


def test_zero_configuration(tmp_path):
    """First start: a root key is made, kept for its owner alone, and printed where it is; it works, and stays after a restart."""
    server = Umbra(tmp_path, root=False).start()
    try:
        secrets = [p for p in server.data_dir.rglob("*") if p.is_file() and "key" in p.name and str(p) in server.stdout()]
        assert secrets, f"standard output names the file of the root key:\n{server.stdout()}"
        for path in secrets:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        pair = _key_in(secrets[0].read_text())
        made = server.run("storage", "create", "-n", "first", "-o", "acme", "-y", "--data-dir", server.data_dir)
        if made.status == 2:
            made = server.run("storage", "create", "-n", "first", "-o", "acme", "-y", env=dict(UMBRA_ACCESS_KEY=pair[0], UMBRA_SECRET_KEY=pair[1]))
        assert made.status == 0, made
        assert pair[1] not in server.all_text(), "the root secret is printed nowhere"
        server.restart()
        root = server.client(*pair)
        root.put_object(Bucket="first", Key="k", Body=b"x")
        assert read(root, "first", "k") == b"x"
    finally:
        server.remove()


def _key_in(text):
    """The access key and secret key in the root key file: its two long values, in order."""
    words = [w.strip('"\',') for w in text.replace("=", " = ", 1).replace(":", " ").split()]
    values = {}
    for line in text.splitlines():
        for mark in ("=", ":"):
            name, found, value = line.partition(mark)
            if found:
                values[name.strip(' "').lower()] = value.strip(' ",')
                break
    access = next((v for k, v in values.items() if "access" in k and "secret" not in k), None)
    secret = next((v for k, v in values.items() if "secret" in k), None)
    assert access and secret, f"neither {words[:2]} nor named values"
    return access, secret


def test_default_addresses_are_loopback(tmp_path):
    """Without flags S3 is on 127.0.0.1:9000 and the admin on 127.0.0.1:9001 (held here by the help text; the ports may be taken)."""
    text = subprocess.run([binary(), "serve", "--help"], capture_output=True, env=clean_environment(tmp_path)).stdout.decode()
    for word in ("--data-dir", "--listen", "--admin-listen", "--region", "--config", "127.0.0.1:9000", "127.0.0.1:9001", "umbra-data"):
        assert word in text, word


def test_ready_healthy_and_measured(umbra, c, bucket):
    """`/readyz` and `/healthz` answer 200; `/metrics` is in Prometheus text form."""
    assert umbra.admin_get("/readyz") == 200
    assert umbra.admin_get("/healthz") == 200
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    text = umbra.metrics()
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert samples and "# TYPE" in text
    assert all(len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) is not None for line in samples)
    assert any("umbra" in line for line in samples)


def test_every_answer_has_a_request_id(umbra, c, bucket):
    """Every response carries `x-amz-request-id`, and different ones; errors repeat it in the XML."""
    seen = set()
    for call in (lambda: c.list_buckets(), lambda: c.put_object(Bucket=bucket, Key="k", Body=b"x"), lambda: c.head_object(Bucket=bucket, Key="k")):
        seen.add(clients.headers(call())["x-amz-request-id"])
    for call in (dict(Key="absent"), dict(Key="k", Range="bytes=9-10")):
        error = clients.refused(c.get_object, Bucket=bucket, **call)
        seen.add(error.headers["x-amz-request-id"])
    assert len(seen) == 5
    host, port = umbra.address
    connection = HTTPConnection(host, port, timeout=10)
    connection.request("GET", f"/{bucket}/k")
    answer = connection.getresponse()
    body = answer.read().decode()
    assert answer.status == 403 and f"<RequestId>{answer.headers['x-amz-request-id']}</RequestId>" in body


def test_data_survives_a_restart(own_umbra):
    """What was acknowledged is there after a graceful stop, which exits 0."""
    client = own_umbra.client()
    client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="k", Body=content(3 * MIB), Metadata={"a": "b"})
    assert own_umbra.stop() == 0
    own_umbra.start()
    client = own_umbra.client()
    assert read(client, "kept", "k") == content(3 * MIB)
    assert client.head_object(Bucket="kept", Key="k")["Metadata"] == {"a": "b"}


def _half_a_put(server, bucket, size):
    """Sends the head of a PUT and half of its body."""
    path = f"/{bucket}/drained"
    headers = Signer(server.access_key, server.secret_key).headers("PUT", server.listen, path, payload_hash="UNSIGNED-PAYLOAD")
    sock = socket.create_connection(server.address, 20)
    sock.sendall(request("PUT", path, {**headers, "content-length": size}, b"x" * (size // 2)))
    return sock


def test_a_stop_drains_requests(own_umbra):
    """SIGTERM and SIGINT let a running request finish, take no new one, and exit 0."""
    for number, sent in enumerate((signal.SIGTERM, signal.SIGINT)):
        client = own_umbra.client()
        bucket = f"drain-{number}"
        client.create_bucket(Bucket=bucket)
        sock = _half_a_put(own_umbra, bucket, 200_000)
        until("the request to have begun", lambda: own_umbra.is_ready())
        os.kill(own_umbra.process.pid, sent)
        until("the port to close", lambda: _refuses(own_umbra.address))
        sock.sendall(b"x" * 100_000)
        assert receive(sock).status == 200
        sock.close()
        assert own_umbra.process.child.wait(20) == 0
        own_umbra.start()
        assert read(own_umbra.client(), bucket, "drained") == b"x" * 200_000


def _refuses(address):
    try:
        socket.create_connection(address, 1).close()
        return False
    except OSError:
        return True


def test_a_second_server_on_the_directory_is_refused(own_umbra, tmp_path):
    """A second server on the same data directory ends with a clear message; the first goes on."""
    done = subprocess.run(
        [binary(), "serve", "--data-dir", own_umbra.data_dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"],
        env=own_umbra.env, capture_output=True, timeout=20,
    )
    said = (done.stderr + done.stdout).decode()
    assert done.returncode != 0 and str(own_umbra.data_dir) in said, said
    assert "panicked" not in said
    assert own_umbra.is_ready()
    own_umbra.kill()
    own_umbra.start()


def test_a_taken_port_is_told(own_umbra, tmp_path):
    """A taken port is an error that names it."""
    for flag in ("--listen", "--admin-listen"):
        flags = {"--listen": "127.0.0.1:0", "--admin-listen": "127.0.0.1:0", flag: own_umbra.listen}
        argv = [binary(), "serve", "--data-dir", tmp_path / "other", *[p for pair in flags.items() for p in pair]]
        done = subprocess.run(argv, env=own_umbra.env, capture_output=True, timeout=20)
        said = (done.stderr + done.stdout).decode()
        assert done.returncode == 1 and own_umbra.listen in said and "panicked" not in said, said


def test_bad_settings_are_told(tmp_path):
    """Wrong usage exits 2; a setting that cannot be used is named; nothing panics."""
    env = clean_environment(tmp_path)
    config = tmp_path / "bad.toml"
    config.write_text('listn = "127.0.0.1:0"\n')
    file = tmp_path / "a-file"
    file.write_text("")
    cases = [
        (["--no-such-flag"], 2, "no-such-flag"),
        (["--listen", "not an address"], 2, "not an address"),
        (["--config", tmp_path / "absent.toml"], 1, "absent.toml"),
        (["--config", config], 1, "listn"),
        (["--data-dir", file], 1, "a-file"),
        (["--tls-cert", file, "--tls-key", file], 1, "a-file"),
    ]
    for flags, status, named in cases:
        env.update(UMBRA_LISTEN="127.0.0.1:0", UMBRA_ADMIN_LISTEN="127.0.0.1:0", UMBRA_DATA_DIR=f"{tmp_path}/d")
        done = subprocess.run([binary(), "serve", *flags], env=env, capture_output=True, timeout=20)
        said = done.stderr.decode()
        assert done.returncode == status and named in said and "panicked" not in said, (flags, done.returncode, said)


def test_settings_by_file_and_environment(tmp_path):
    """The same settings as TOML and as UMBRA_…; flags win over environment over file."""
    listen, admin, other = (f"127.0.0.1:{p}" for p in free_ports(3))
    config = tmp_path / "umbra.toml"
    config.write_text(f'listen = "127.0.0.1:1"\nadmin_listen = "{admin}"\ndata_dir = "{tmp_path}/by-file"\nregion = "fra"\n')
    env = clean_environment(tmp_path, UMBRA_LISTEN=other, UMBRA_REGION="sjc", UMBRA_ROOT_ACCESS_KEY="ROOTKEYOFTHEFILE0001", UMBRA_ROOT_SECRET_KEY="rootsecretofthefiletest")
    process = Process("umbra", [binary(), "serve", "--config", config, "--listen", listen], tmp_path / "log", env, cwd=tmp_path).start()
    try:
        until("readiness", lambda: _status(f"http://{admin}/readyz") == 200)
        client = clients.s3(f"http://{listen}", "ROOTKEYOFTHEFILE0001", "rootsecretofthefiletest")
        client.create_bucket(Bucket="by-file")
        assert (tmp_path / "by-file").is_dir()
        assert _refuses(("127.0.0.1", int(other.split(":")[1])))
        assert clients.headers(client.head_bucket(Bucket="by-file")).get("x-amz-bucket-region") == "sjc"
    finally:
        assert process.terminate() == 0, process.log_tail()


def _status(url):
    try:
        return urllib.request.urlopen(url, timeout=2).status
    except OSError:
        return 0


def test_virtual_host_style(tmp_path):
    """Path-style and virtual-host-style (`--domain`) reach the same objects."""
    server = Umbra(tmp_path, "--domain", "s3.example.test").start()
    try:
        client = server.client()
        client.create_bucket(Bucket="virtual")
        client.put_object(Bucket="virtual", Key="a/k", Body=b"x")
        host = "virtual.s3.example.test"
        headers = Signer(server.access_key, server.secret_key).headers("GET", host, "/a/k")
        connection = HTTPConnection(*server.address, timeout=10)
        connection.request("GET", "/a/k", headers=headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"x")
    finally:
        server.remove()


def test_tls(tmp_path):
    """TLS with `--tls-cert` and `--tls-key`."""
    cert, key = self_signed(tmp_path)
    server = Umbra(tmp_path / "u", "--tls-cert", cert, "--tls-key", key)
    server.start(ready=False)
    try:
        printed = until("an https address", lambda: next((w for w in server.stdout().split() if w.startswith("https://127.0.0.1:")), None))
        client = _trusting(printed.rstrip(".,"), server, cert)
        client.create_bucket(Bucket="over-tls")
        client.put_object(Bucket="over-tls", Key="k", Body=content(MIB))
        assert read(client, "over-tls", "k") == content(MIB)
        context = ssl.create_default_context(cafile=str(cert))
        parts = urlsplit(printed.rstrip(".,"))
        with socket.create_connection((parts.hostname, parts.port), 5) as sock, context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
    finally:
        server.remove()


def _trusting(endpoint, server, cert):
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint, aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key, region_name="us-east-1",
        verify=str(cert), config=Config(s3={"addressing_style": "path"}),
    )


def test_many_connections_at_once(umbra, c, bucket):
    """Two hundred idle connections do not keep a request waiting."""
    idle = [socket.create_connection(umbra.address, 5) for _ in range(200)]
    try:
        done = threading.Event()

        def work():
            c.put_object(Bucket=bucket, Key="k", Body=b"x")
            done.set()

        threading.Thread(target=work, daemon=True).start()
        assert done.wait(10)
    finally:
        for sock in idle:
            sock.close()


def test_connections_are_capped(tmp_path):
    """Beyond `--max-connections` clients wait: they cost the server no file descriptor, and are served when others leave."""
    server = Umbra(tmp_path, "--max-connections", "8").start()
    try:
        client = server.client()
        client.create_bucket(Bucket="capped")
        client.close()
        descriptors = server.process.descriptors()
        idle = [socket.create_connection(server.address, 5) for _ in range(100)]
        until("the cap to be reached", lambda: server.process.descriptors() >= descriptors + 7)
        done = threading.Event()

        def work():
            server.client().put_object(Bucket="capped", Key="k", Body=b"x")
            done.set()

        threading.Thread(target=work, daemon=True).start()
        stays("capped", lambda: server.process.descriptors() <= descriptors + 8 + 4 and not done.is_set())
        assert server.is_ready(), "the admin address has places of its own"
        for sock in idle:
            sock.close()
        assert done.wait(20)
    finally:
        server.remove()


def test_disk_space_is_given_back(tmp_path):
    """What is overwritten or deleted leaves the disk once `--reclaim-grace` is over, from segments and from files of their own."""
    server = Umbra(tmp_path, "--reclaim-grace", "1").start()
    try:
        client = server.client()
        client.create_bucket(Bucket="space")

        def allocated():
            return sum(path.lstat().st_blocks * 512 for path in (server.data_dir / "blobs").rglob("*") if path.is_file())

        def fill(seed):
            for number in range(16):
                client.put_object(Bucket="space", Key=f"large/{number}", Body=content(2 * MIB, f"{seed}/{number}"))
            for number in range(128):
                client.put_object(Bucket="space", Key=f"small/{number}", Body=content(64 * KIB, f"{seed}/{number}"))

        def settles(what, check):
            until(what, lambda: check(_or_again(allocated)), 60, 0.1)

        once = 16 * 2 * MIB + 128 * 64 * KIB
        fill("first")
        assert allocated() >= once
        fill("second")
        settles("the space of what was overwritten", lambda size: size < once * 5 // 4)
        assert read(client, "space", "large/3") == content(2 * MIB, "second/3") and read(client, "space", "small/3") == content(64 * KIB, "second/3")
        for number in range(16):
            client.delete_object(Bucket="space", Key=f"large/{number}")
        settles("the space of deleted large objects", lambda size: size < 128 * 64 * KIB * 3 // 2)
        for number in range(128):
            client.delete_object(Bucket="space", Key=f"small/{number}")
        settles("the space of deleted small objects", lambda size: size < MIB)
    finally:
        server.remove()


def _or_again(look):
    """A directory that changes while it is walked is walked again."""
    while True:
        try:
            return look()
        except FileNotFoundError:
            continue
