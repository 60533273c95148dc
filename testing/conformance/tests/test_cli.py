"""`umbra` on the command line: `interface.md`, "`umbra storage`"."""

import json
import os
import pty
import re
import subprocess

import pytest

from harness.clients import refused
from harness.data import MIB, content
from harness.process import clean_environment
from harness.shadowed import name
from harness.umbra import binary
from harness.wait import until


def test_create_prints_what_an_application_needs(umbra):
    """create prints one `KEY: value` line each, and names a new organization."""
    bucket, org = name("made"), name("org")
    done = umbra.storage("create", "-n", bucket, "-o", org, "-y")
    lines = [line for line in done.out.splitlines() if re.match(r"^[A-Z_0-9]+: \S", line)]
    assert [line.split(":")[0] for line in lines] == ["AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "BUCKET_NAME"]
    assert org in done.out + done.err, "naming a new organization creates it and says so"
    values = done.values()
    client = umbra.client(values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], region=values["AWS_REGION"])
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    again = umbra.storage("create", "-n", bucket, "-o", org, "-y", check=False)
    assert again.status == 1 and len(again.err.strip().splitlines()) == 1


def test_create_as_json(umbra):
    """Every command takes --json."""
    bucket = name("made")
    made = umbra.storage("create", "-n", bucket, "-o", "tests", "-y", "--json").json()
    assert bucket in json.dumps(made)
    listed = umbra.storage("list", "--json").json()
    assert bucket in json.dumps(listed)
    assert umbra.storage("status", bucket, "--json").json()["bucket"]["name"] == bucket
    assert umbra.storage("update", bucket, "--public", "--json").json()
    umbra.storage("destroy", bucket, "-y", "--json")


def test_list(umbra):
    """list shows buckets, of one organization when asked."""
    one, two, org = name("listed"), name("listed"), name("org")
    umbra.storage("create", "-n", one, "-o", org, "-y")
    umbra.storage("create", "-n", two, "-o", "tests", "-y")
    everything = umbra.storage("list").out
    assert one in everything and two in everything
    assert everything.split()[:4] == ["NAME", "ORG", "LOCATION", "SHADOW"] and [one, org, "global"] in [line.split() for line in everything.splitlines()]
    ours = umbra.storage("list", "-o", org).out
    assert one in ours and two not in ours


def test_status_counts(shadowed):
    """Holds "*Status* shows the state, counts,": state, objects and bytes here, pending repairs."""
    for number in range(3):
        shadowed.put_there(f"k{number}", content(MIB, number))
    shadowed.put("here", b"x" * 100)
    shadowed.read("k0")
    until("hydration", lambda: not shadowed.is_cold("k0"))
    status = shadowed.umbra.status(shadowed.name)
    assert status["objects"] == 2 and status["bytes"] == MIB + 100
    assert status["shadow"] is not None
    words = shadowed.umbra.storage("status", shadowed.name).out
    assert shadowed.name in words and shadowed.proxy.endpoint in words


def test_destroy(umbra):
    """destroy removes a bucket with all that is in it, and its key; without -y and without a terminal it refuses."""
    bucket = name("doomed")
    made = umbra.storage("create", "-n", bucket, "-o", "tests", "-y").values()
    client = umbra.client(made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"])
    client.put_object(Bucket=bucket, Key="k", Body=b"x")
    done = umbra.storage("destroy", bucket, check=False)
    assert done.status in (1, 2) and "-y" in done.err
    assert client.head_object(Bucket=bucket, Key="k")
    umbra.storage("destroy", bucket, "-y")
    assert refused(client.get_object, Bucket=bucket, Key="k").status in (403, 404)
    assert refused(umbra.client().head_bucket, Bucket=bucket).status == 404
    assert umbra.storage("destroy", bucket, "-y", check=False).status == 1
    umbra.storage("create", "-n", bucket, "-o", "tests", "-y")
    assert umbra.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_keys_of_a_bucket_go_with_it(umbra):
    """However a bucket ends, its own key opens nothing any more, and no later bucket of its name."""
    for ends in (lambda client, bucket: client.delete_bucket(Bucket=bucket), lambda _, bucket: umbra.storage("destroy", bucket, "-y")):
        bucket = name("keyed")
        made = umbra.storage("create", "-n", bucket, "-o", "tests", "-y").values()
        client = umbra.client(made["AWS_ACCESS_KEY_ID"], made["AWS_SECRET_ACCESS_KEY"])
        assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
        ends(umbra.client(), bucket)
        umbra.storage("create", "-n", bucket, "-o", "tests", "-y")
        error = refused(client.list_objects_v2, Bucket=bucket)
        assert (error.status, error.code) == (403, "InvalidAccessKeyId")
        assert made["AWS_ACCESS_KEY_ID"] not in umbra.run("key", "list").out


def test_keys_in_the_environment_alone_change_nothing(shadowed):
    """An update that asks for nothing rotates no key, whatever the environment holds."""
    shadowed.put_there("k", b"x")
    env = dict(UMBRA_SHADOW_ACCESS_KEY="SOMEBODYELSES0000001", UMBRA_SHADOW_SECRET_KEY="somebody-elses-secret")
    for flags, status in (((), 2), (("--private",), 0), (("--shadow-write-through=false",), 0)):
        done = shadowed.update(*flags, env=env, check=False)
        assert done.status == status, done
    assert shadowed.read("k") == b"x"


def test_the_region_of_a_shadow_is_optional(pair):
    """Without `--shadow-region` it is `auto`, and the help says so."""
    pair.put_there("k", b"x")
    done = pair.umbra.storage("create", "-n", pair.name, "-o", pair.org, *pair.flags(region=None), "-y")
    pair.created = done.values()
    pair.connect()
    assert pair.read("k") == b"x"
    told = " ".join(pair.umbra.run("storage", "create", "--help").out.split())
    assert "Optional: without it `auto`" in told


def test_wrong_usage(umbra):
    """Exit status 2 for wrong usage, 1 for a refused request with one clear line on standard error."""
    for argv in (["storage", "create"], ["storage", "frobnicate"], ["frobnicate"], ["storage", "update", "x", "--public", "--private"], ["storage", "create", "-n", "abc", "-o", "tests", "--bogus"]):
        done = umbra.run(*argv)
        assert done.status == 2 and done.err and "panicked" not in done.err, done
    for argv in (["storage", "status", "no-such-bucket"], ["storage", "update", "no-such-bucket", "--public"], ["storage", "create", "-n", "Bad_Name", "-o", "tests", "-y"]):
        done = umbra.run(*argv)
        assert done.status == 1 and len(done.err.strip().splitlines()) == 1 and "panicked" not in done.err, done


def test_a_server_that_is_not_there(umbra, tmp_path):
    """Nobody at the admin address: one line that names it."""
    done = umbra.run("storage", "list", env=dict(UMBRA_ADMIN_URL="http://127.0.0.1:1"))
    assert done.status == 1 and "127.0.0.1:1" in done.err and len(done.err.strip().splitlines()) == 1, done
    done = umbra.run("storage", "list", "--admin", "http://127.0.0.1:1")
    assert done.status == 1 and "127.0.0.1:1" in done.err


def test_wrong_keys(umbra):
    """A wrong key is refused in one line, without repeating the secret."""
    done = umbra.run("storage", "list", env=dict(UMBRA_SECRET_KEY="not-the-secret-at-all"))
    assert done.status == 1 and done.err.strip() and "not-the-secret-at-all" not in done.err, done


def test_organizations(umbra):
    """org create, list, delete."""
    org = name("org")
    assert umbra.run("org", "create", org).status == 0
    assert org in umbra.run("org", "list").out and org in umbra.run("org", "list", "--json").out
    bucket = name("owned")
    umbra.storage("create", "-n", bucket, "-o", org, "-y")
    assert umbra.run("org", "delete", org).status == 1, "it owns a bucket"
    umbra.storage("destroy", bucket, "-y")
    assert umbra.run("org", "delete", org).status == 0
    assert org not in umbra.run("org", "list").out.split()


def _new_key(umbra, *flags):
    done = umbra.run("key", "create", *flags, "--json")
    assert done.status == 0, done
    found = {}

    def walk(value):
        for k, v in value.items():
            walk(v) if isinstance(v, dict) else found.setdefault(k.lower(), v)

    walk(done.json())
    access = next(v for k, v in found.items() if "access" in k and "secret" not in k)
    return access, next(v for k, v in found.items() if "secret" in k)


@pytest.mark.parametrize("role", ["reader", "editor", "admin"])
def test_keys_and_roles(umbra, role):
    """key create --bucket --role: a reader reads, an editor writes, an admin manages; a deleted key is none."""
    bucket = name("roles")
    umbra.storage("create", "-n", bucket, "-o", "tests", "-y")
    umbra.client().put_object(Bucket=bucket, Key="k", Body=b"x")
    access, secret = _new_key(umbra, "--bucket", bucket, "--role", role)
    client = umbra.client(access, secret)
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    if role == "reader":
        for call in (lambda: client.put_object(Bucket=bucket, Key="n", Body=b""), lambda: client.delete_object(Bucket=bucket, Key="k"),
                     lambda: client.create_multipart_upload(Bucket=bucket, Key="n"), lambda: client.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []})):
            assert refused(call).code == "AccessDenied"
    else:
        client.put_object(Bucket=bucket, Key="n", Body=b"")
    assert access in umbra.run("key", "list").out
    assert secret not in umbra.run("key", "list", "--json").out
    assert umbra.run("key", "delete", access).status == 0
    assert refused(client.get_object, Bucket=bucket, Key="k").code == "InvalidAccessKeyId"


def test_print_default_settings(tmp_path):
    """settings --print-default prints a commented file that the server takes."""
    done = subprocess.run([binary(), "settings", "--print-default"], env=clean_environment(tmp_path), capture_output=True, timeout=20)
    text = done.stdout.decode()
    assert done.returncode == 0 and "listen" in text and "#" in text
    import tomllib

    tomllib.loads(text)
    tomllib.loads(re.sub(r"^# ?(?=[a-z_]+ = )", "", text, flags=re.M))


def test_completions_and_version(tmp_path):
    """Shell completions, --version and --help."""
    env = clean_environment(tmp_path)
    for shell in ("bash", "zsh", "fish"):
        done = subprocess.run([binary(), "completions", shell], env=env, capture_output=True, timeout=20)
        assert done.returncode == 0 and b"umbra" in done.stdout and b"storage" in done.stdout
    assert subprocess.run([binary(), "--version"], env=env, capture_output=True).stdout.startswith(b"umbra ")
    assert b"serve" in subprocess.run([binary(), "--help"], env=env, capture_output=True).stdout


def test_the_admin_api_is_signed_and_described(umbra):
    """The admin API takes no unsigned call; its description is served."""
    assert umbra.admin_get("/v1/buckets") in (401, 403)
    assert umbra.admin_get("/v1/openapi.json") == 200


def test_no_colour_and_no_bars_in_a_pipe(umbra):
    """Tables and progress bars only on a terminal: no control sequences in a pipe."""
    for argv in (["list"], ["status", _some_bucket(umbra)]):
        done = umbra.storage(*argv)
        assert "\x1b" not in done.out + done.err


def _some_bucket(umbra):
    bucket = name("some")
    umbra.storage("create", "-n", bucket, "-o", "tests", "-y")
    return bucket


def test_destroy_asks_on_a_terminal(umbra):
    """On a terminal destroy asks, and takes a no for a no."""
    bucket = _some_bucket(umbra)
    primary, secondary = pty.openpty()
    env = clean_environment(umbra.home, UMBRA_ADMIN_URL=umbra.admin, UMBRA_ACCESS_KEY=umbra.access_key, UMBRA_SECRET_KEY=umbra.secret_key)
    child = subprocess.Popen([binary(), "storage", "destroy", bucket], env=env, stdin=secondary, stdout=secondary, stderr=secondary)
    os.close(secondary)
    os.write(primary, b"n\n")
    assert child.wait(20) != 0
    os.close(primary)
    umbra.client().head_bucket(Bucket=bucket)


def test_demo(tmp_path):
    """`umbra demo` shows a migration from beginning to end, without any account anywhere, and leaves nothing."""
    done = subprocess.run([binary(), "demo"], env=clean_environment(tmp_path), cwd=tmp_path, capture_output=True, timeout=60)
    text = done.stdout.decode()
    assert done.returncode == 0 and "panicked" not in done.stderr.decode(), done
    moved = re.search(r"(\d+) of (\d+) objects moved", text)
    assert moved and 0 < int(moved.group(1)) < int(moved.group(2)), text
    assert "old provider" in text and "here" in text and "\x1b" not in text
    assert not [p for p in tmp_path.iterdir()], "its servers live in a temporary directory of their own"
