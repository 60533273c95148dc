"""Attaching: the probe and its refusals, settings one at a time, and secrets."""

import time

import pytest

from harness import clients
from harness.clients import keys_of, refused, walk_v2
from harness.proxy import CountingProxy
from harness.seaweed import BLIND, READER, ROTATED
from harness.shadowed import Shadowed, name


def refuses(done, *words):
    """The command failed with one clear line that says why."""
    assert done.status == 1, done
    assert len(done.err.strip().splitlines()) == 1, done
    assert "panicked" not in done.err
    for word in words:
        assert word.lower() in done.err.lower(), (word, done)


def create(pair, *flags, **changes):
    return pair.umbra.storage("create", "-n", pair.name, "-o", pair.org, *pair.flags(**changes), *flags, "-y", check=False)


def test_attach_at_creation(pair):
    """Holds "Attach at bucket creation or to an existing bucket, whether or not it holds"."""
    pair.put_there("old", b"old")
    pair.create()
    assert {"AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "BUCKET_NAME"} <= set(pair.created)
    assert pair.created["BUCKET_NAME"] == pair.name and pair.created["AWS_ENDPOINT_URL_S3"] == pair.umbra.endpoint
    assert pair.read("old") == b"old"
    shadow = pair.umbra.status(pair.name)["bucket"]["shadow"]
    assert (shadow["endpoint"], shadow["name"], shadow["write_through"]) == (pair.proxy.endpoint, pair.origin_name, False)


def test_attach_to_an_existing_bucket_with_data(pair):
    """Holds "objects already here win over the origin's of the same key."."""
    pair.created = pair.umbra.storage("create", "-n", pair.name, "-o", pair.org, "-y").values()
    pair.connect()
    pair.put("both", b"here")
    pair.put("only-here", b"here")
    pair.put_there("both", b"there")
    pair.put_there("only-there", b"there")
    pair.update(*pair.flags())
    assert pair.keys() == ["both", "only-here", "only-there"]
    assert (pair.read("both"), pair.read("only-here"), pair.read("only-there")) == (b"here", b"here", b"there")
    sizes = {o["Key"]: o["ETag"] for o in pair.here.list_objects_v2(Bucket=pair.name)["Contents"]}
    assert sizes["both"] == pair.head("both")["ETag"]
    assert pair.read_there("both") == b"there"


def test_the_shadow_name_defaults_to_the_bucket(umbra, seaweed):
    """`--shadow-name` left out means the origin's bucket has the same name."""
    pair = Shadowed(umbra, seaweed)
    pair.name = pair.origin_name
    try:
        pair.put_there("k", b"x")
        done = create(pair, name=None)
        assert done.status == 0, done
        pair.created = done.values()
        pair.connect()
        assert pair.read("k") == b"x"
    finally:
        pair.close()


def test_the_origin_is_not_changed_by_attaching(pair):
    """Holds "The origin is never changed unless the user chose write-through."."""
    pair.put_there("k", b"x")
    pair.create()
    assert {e.method for e in pair.proxy.seen()} <= {"GET", "HEAD"}
    assert keys_of(walk_v2(pair.there, pair.origin_name)) == ["k"]


def test_the_write_probe_leaves_nothing(pair):
    """Holds "Attaching probes the origin (list, read; write and"; what the probe writes it deletes."""
    pair.put_there("k", b"x")
    pair.create(write_through=True)
    assert keys_of(walk_v2(pair.there, pair.origin_name)) == ["k"]


def test_wrong_secret(pair):
    """Holds "refuses, saying which right is missing, instead of failing on the first user."."""
    done = create(pair, **{"secret-key": "wrong-secret-at-the-origin"})
    refuses(done)
    assert any(word in done.err.lower() for word in ("credential", "secret", "signature")), done
    assert "wrong-secret-at-the-origin" not in done.err + done.out
    assert pair.name not in pair.umbra.storage("list").out, "a refused creation leaves no bucket"


def test_missing_bucket(pair):
    """The origin's bucket does not exist: refused, naming it."""
    refuses(create(pair, name="no-such-origin-bucket"), "no-such-origin-bucket")
    assert pair.name not in pair.umbra.storage("list").out


def test_unreachable(pair):
    """Nobody listens at the endpoint: refused, naming it."""
    pair.proxy.stop()
    refuses(create(pair), pair.proxy.endpoint.removeprefix("http://"))
    assert pair.name not in pair.umbra.storage("list").out


def test_missing_rights_are_named(pair):
    """A key that may not list is refused naming list; one that may not write is refused for write-through naming write, and taken without."""
    refuses(create(pair, **{"access-key": BLIND[0], "secret-key": BLIND[1]}), "list")
    refuses(create(pair, "--shadow-write-through", **{"access-key": READER[0], "secret-key": READER[1]}), "write")
    done = create(pair, **{"access-key": READER[0], "secret-key": READER[1]})
    assert done.status == 0, done


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.1.1:9000", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "0xa9fea9fe", "[fd00:ec2::254]", "0.0.0.0:80"])
def test_link_local_is_never_reached(pair, host):
    """Holds "Origin endpoints are resolved, checked and pinned at every connection: link-local and metadata addresses never;"."""
    began = time.monotonic()
    refuses(create(pair, endpoint=f"http://{host}"))
    assert time.monotonic() - began < 5, "refused by its address, not by a timeout"
    assert pair.name not in pair.umbra.storage("list").out


@pytest.mark.parametrize("endpoint", ["", "ftp://127.0.0.1", "127.0.0.1:1", "http://", "http://user:pass@127.0.0.1:1", "http://127.0.0.1:1/path?x=y", "http://127.0.0.1:99999"])
def test_endpoints_that_are_none(pair, endpoint):
    """An endpoint that is no plain URL is refused clearly."""
    done = create(pair, endpoint=endpoint)
    assert done.status in (1, 2) and done.err.strip() and "panicked" not in done.err, done


def test_redirects_are_not_followed(pair):
    """Holds "redirects are not followed."."""
    trap = CountingProxy(pair.origin.endpoint).start()
    try:
        pair.put_there("k", b"x")
        pair.create()
        pair.fault(status=307, code="TemporaryRedirect", response_headers={"Location": f"{trap.endpoint}/{pair.origin_name}/k"})
        assert refused(pair.get, "k").status == 503
        assert trap.count() == 0
    finally:
        trap.close()


@pytest.mark.parametrize("write_through", [False, True])
def test_an_endpoint_changes_only_for_one_of_the_same_bucket(pair, write_through):
    """Another address of the origin is free; a bucket of the same name at another store is not the origin."""
    pair.put_there("k", b"x")
    pair.create(write_through)
    pair.umbra.storage("create", "-n", pair.origin_name, "-o", "tests", "-y")
    umbra = pair.umbra
    other = ["--shadow-endpoint", umbra.endpoint, "--shadow-region", "auto", "--shadow-access-key", umbra.access_key, "--shadow-secret-key", umbra.secret_key]
    done = pair.update(*other, check=False)
    refuses(done, "is not the bucket", "--clear-shadow")
    assert clients.keys_of(clients.walk_v2(umbra.client(), pair.origin_name)) == []
    second = CountingProxy(pair.origin.endpoint).start()
    try:
        pair.update("--shadow-endpoint", second.endpoint)
        assert umbra.status(pair.name)["bucket"]["shadow"]["endpoint"] == second.endpoint
        pair.proxy.forget()
        assert pair.read("k") == b"x" and not pair.proxy.seen()
        assert clients.keys_of(clients.walk_v2(pair.there, pair.origin_name)) == ["k"], "nothing stays behind"
    finally:
        second.close()


def test_a_bucket_does_not_shadow_itself(umbra):
    """Holds "A bucket may not shadow itself, nor a chain of buckets lead back to it"."""
    bucket = name("self")
    umbra.storage("create", "-n", bucket, "-o", "tests", "-y")
    flags = ["--shadow-endpoint", umbra.endpoint, "--shadow-region", "auto", "--shadow-access-key", umbra.access_key, "--shadow-secret-key", umbra.secret_key]
    refuses(umbra.storage("update", bucket, *flags, "--shadow-name", bucket, check=False))
    fresh = name("self")
    refuses(umbra.storage("create", "-n", fresh, "-o", "tests", *flags, "--shadow-name", fresh, "-y", check=False))


def test_a_loop_of_two_is_refused(umbra):
    """The same for a chain of two buckets."""
    one, two = name("loop"), name("loop")
    umbra.storage("create", "-n", one, "-o", "tests", "-y")
    flags = ["--shadow-endpoint", umbra.endpoint, "--shadow-region", "auto", "--shadow-access-key", umbra.access_key, "--shadow-secret-key", umbra.secret_key]
    umbra.storage("create", "-n", two, "-o", "tests", *flags, "--shadow-name", one, "-y")
    refuses(umbra.storage("update", one, *flags, "--shadow-name", two, check=False))
    client = umbra.client()
    client.put_object(Bucket=one, Key="k", Body=b"x")
    assert clients.read(client, two, "k") == b"x", "a chain without a loop is fine"


def test_a_loop_under_another_name_is_detected(umbra):
    """Holds "(detected by a request header as well as by name)": behind a proxy the name is another, and no request runs in circles."""
    bucket = name("loop")
    proxy = CountingProxy(umbra.endpoint).start()
    try:
        made = umbra.storage("create", "-n", bucket, "-o", "tests", "-y").values()
        done = umbra.storage(
            "update", bucket, "--shadow-endpoint", proxy.endpoint, "--shadow-region", "auto", "--shadow-name", bucket,
            "--shadow-access-key", umbra.access_key, "--shadow-secret-key", umbra.secret_key, check=False,
        )
        if done.status == 0:
            client = umbra.client(made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"])
            proxy.forget()
            assert refused(client.get_object, Bucket=bucket, Key="absent").status >= 500
            assert refused(client.list_objects_v2, Bucket=bucket).status >= 500
        else:
            refuses(done)
        assert proxy.count() < 12, proxy.story()
    finally:
        proxy.close()


def test_write_through_is_toggled_alone(shadowed):
    """Holds "Settings can change one at a time (credentials rotated alone, write-through toggled alone) without retyping the rest."."""
    shadowed.put("a", b"1")
    assert not shadowed.is_there("a")
    shadowed.update("--shadow-write-through")
    shadowed.put("b", b"2")
    assert shadowed.read_there("b") == b"2"
    shadowed.update("--shadow-write-through=false")
    shadowed.put("c", b"3")
    assert not shadowed.is_there("c")
    assert shadowed.keys() == ["a", "b", "c"]


def test_toggling_write_through_probes(shadowed):
    """Turning write-through on with a key that may not write is refused, and changes nothing."""
    shadowed.update("--shadow-access-key", READER[0], "--shadow-secret-key", READER[1])
    refuses(shadowed.update("--shadow-write-through", check=False), "write")
    shadowed.put("k", b"x")
    assert not shadowed.is_there("k")


def test_credentials_are_rotated_alone(shadowed):
    """Credentials rotated alone: the old ones are used no more; wrong ones are refused and change nothing."""
    shadowed.put_there("k1", b"1")
    shadowed.put_there("k2", b"2")
    used = lambda: {e.headers.get("authorization").split("Credential=")[1].split("/")[0] for e in shadowed.proxy.seen()}  # noqa: E731
    assert shadowed.read("k1") == b"1" and used() == {shadowed.origin.access_key}
    refuses(shadowed.update("--shadow-access-key", "unknownkeyattheorigin", "--shadow-secret-key", "x" * 20, check=False))
    shadowed.update("--shadow-access-key", ROTATED[0], "--shadow-secret-key", ROTATED[1])
    shadowed.proxy.forget()
    assert shadowed.read("k2") == b"2" and used() == {ROTATED[0]}


def test_attaching_needs_all_of_it(umbra):
    """A shadow with a setting missing is refused, naming it."""
    bucket = name("incomplete")
    done = umbra.storage("create", "-n", bucket, "-o", "tests", "--shadow-endpoint", "http://127.0.0.1:1", "-y", check=False)
    assert done.status in (1, 2) and "key" in done.err.lower(), done
    umbra.storage("create", "-n", bucket, "-o", "tests", "-y")
    done = umbra.storage("update", bucket, "--shadow-write-through", check=False)
    assert done.status in (1, 2) and done.err.strip(), done


def test_secrets_are_told_nowhere(own_pair):
    """Holds "Origin secrets are sealed at rest, never returned by any API, never logged,"."""
    pair = own_pair
    pair.put_there("k", b"x")
    pair.create(write_through=True)
    pair.read("k")
    pair.put("w", b"y")
    pair.proxy.stop()
    refused(pair.get, "absent")
    pair.proxy.start()
    create(pair, **{"secret-key": "another-wrong-secret-0001"})
    said = ""
    for command in (("list",), ("list", "--json"), ("status", pair.name), ("status", pair.name, "--json")):
        done = pair.umbra.storage(*command)
        said += done.out + done.err
    said += pair.umbra.metrics()
    issued = pair.created["AWS_SECRET_ACCESS_KEY"]
    for restarted in (False, True):
        said += pair.umbra.all_text()
        stored = b"".join(p.read_bytes() for p in pair.umbra.data_dir.rglob("*") if p.is_file())
        for secret in (pair.origin.secret_key, "another-wrong-secret-0001", issued):
            assert secret not in said
            assert secret.encode() not in stored, "in plain in the data directory"
        if not restarted:
            pair.umbra.restart()
    assert pair.read("k") == b"x"


def test_secrets_by_environment_and_standard_input(pair):
    """Holds "never accepted only as command-line arguments (environment and standard input too)."."""
    env = dict(UMBRA_SHADOW_ACCESS_KEY=pair.origin.access_key, UMBRA_SHADOW_SECRET_KEY=pair.origin.secret_key)
    flags = pair.flags(**{"access-key": None, "secret-key": None})
    done = pair.umbra.storage("create", "-n", pair.name, "-o", pair.org, *flags, "-y", env=env)
    pair.created = done.values()
    pair.connect()
    pair.put_there("k", b"x")
    assert pair.read("k") == b"x"
    second = name("stdin")
    flags = pair.flags(**{"secret-key": "-"})
    done = pair.umbra.storage("create", "-n", second, "-o", pair.org, *flags, "-y", input=(pair.origin.secret_key + "\n").encode())
    assert done.values()["BUCKET_NAME"] == second


def test_secrets_by_profile(pair):
    """`--shadow-profile` takes the credentials from an AWS profile."""
    path = pair.umbra.home / "credentials"
    path.write_text(f"[default]\naws_access_key_id = x\naws_secret_access_key = y\n\n[old]\naws_access_key_id = {pair.origin.access_key}\naws_secret_access_key = {pair.origin.secret_key}\n")
    flags = pair.flags(**{"access-key": None, "secret-key": None})
    done = pair.umbra.storage(
        "create", "-n", pair.name, "-o", pair.org, *flags, "--shadow-profile", "old", "-y",
        env=dict(AWS_SHARED_CREDENTIALS_FILE=str(path), AWS_CONFIG_FILE=str(pair.umbra.home / "none")),
    )
    assert done.status == 0, done


def test_a_wide_server_keeps_out_of_private_networks(tmp_path, seaweed):
    """Holds "loopback and private ranges only where the operator allows those networks (a server that itself listens on loopback only allows loopback)"."""
    from harness.umbra import Umbra

    server = Umbra(tmp_path)
    server.listen = "0.0.0.0:0"
    server.flags = []
    server.start(ready=False)
    try:
        port = _port_of(server)
        server.listen, server.admin_listen = f"127.0.0.1:{port}", _admin_of(server)
        pair = Shadowed(server, seaweed)
        refuses(create(pair))
        pair.close()
    finally:
        server.remove()


def _port_of(server):
    import re

    from harness.wait import until

    return until("the S3 port", lambda: (m := re.search(r"S3.*?:(\d{4,5})\b", server.stdout(), re.I)) and m.group(1))


def _admin_of(server):
    from harness.wait import until

    found = until("the admin address", lambda: server._printed(("admin", "console")))
    return found
