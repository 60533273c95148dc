"""What every client has: a bucket, files, an environment, and the steps that came of it."""

import hashlib
import os
import shutil
import subprocess
import time
import traceback
import urllib.request
from pathlib import Path

import boto3
from botocore.config import Config

from harness import process

HERE = Path(__file__).resolve().parent
HOME = Path(os.environ["CLIENTS_ENV"])
FILES = 2000
MIB = 1024 * 1024
LARGE = 24 * MIB


class Missing(Exception):
    """A client is not on this machine."""


class Bench:
    """One client with a bucket of its own, and what came of its steps."""

    def __init__(self, server, work, client):
        self.server, self.client, self.results = server, client, []
        self.work = work / client
        self.work.mkdir()
        self.bucket = f"c-{client.replace('_', '-')}"
        self.endpoint, self.host = server.endpoint, server.listen
        self.key, self.secret = server.access_key, server.secret_key
        self.boto = boto3.client(
            "s3", endpoint_url=self.endpoint, aws_access_key_id=self.key, aws_secret_access_key=self.secret, region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        self.small = self.file("small.txt", b"hello from " + client.encode())
        self.large = self.file("large.bin", hashlib.shake_256(client.encode()).digest(MIB) * (LARGE // MIB) + b"tail")
        tools = [HOME / "python/bin", HOME / "debian/usr/bin", HOME / "debian/bin"]
        self.env = process.clean_environment(
            self.work, AWS_ACCESS_KEY_ID=self.key, AWS_SECRET_ACCESS_KEY=self.secret, AWS_REGION="us-east-1", AWS_DEFAULT_REGION="us-east-1", AWS_PAGER="",
            S3_ENDPOINT=self.endpoint, S3_BUCKET=self.bucket, SMALL=str(self.small), LARGE=str(self.large), NODE_PATH=str(HOME / "npm/node_modules"),
            PATH=":".join([*map(str, tools), os.environ["PATH"]]), LD_LIBRARY_PATH=str(HOME / "debian/lib/x86_64-linux-gnu"),
        )
        self.env.pop("AWS_CA_BUNDLE", None)

    def file(self, name, content):
        path = self.work / name
        path.write_bytes(content)
        return path

    def tree(self):
        """2,000 files in directories, some with names that need escaping."""
        root = self.work / "tree"
        for number in range(FILES):
            path = root / f"dir {number % 20}" / f"f{number:04}{'+ü&' if number % 50 == 0 else ''}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"file {number}\n" * (number % 7))
        return root

    def has(self, program):
        if not shutil.which(program, path=self.env["PATH"]):
            raise Missing(f"no {program}")

    def run(self, *argv, check=True, **options):
        done = subprocess.run([str(a) for a in argv], env=self.env, cwd=self.work, capture_output=True, timeout=600, **options)
        if check and done.returncode:
            raise AssertionError(f"{argv[0]} ended with {done.returncode}: {(done.stderr or done.stdout).decode(errors='replace')[-400:]}")
        return done.stdout

    def step(self, name, action):
        """One thing the client does; an exception is a failure."""
        begun = time.monotonic()
        try:
            action()
            self.results.append((name, None, time.monotonic() - begun))
        except Exception as error:  # noqa: BLE001 whatever went wrong is the result
            text = str(error) or traceback.format_exc(limit=1)
            self.results.append((name, " ".join(text.split())[-300:], time.monotonic() - begun))

    def stored(self, key):
        return self.boto.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def gone(self, key):
        return key not in {o["Key"] for o in self.boto.list_objects_v2(Bucket=self.bucket).get("Contents", [])}


def same(left, right):
    assert left == right, f"{str(left)[:80]} is not {str(right)[:80]}"


def same_tree(left, right):
    def listed(root):
        return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}

    here, there = listed(left), listed(right)
    assert here == there, f"{len(here)} files became {len(there)}"


def command_line(b, create, put, get, ls, copy, delete, up, down, part=None, presign=None):
    """What every command line can do, each a function to an argument list."""
    s, fetched = f"s3://{b.bucket}", b.work / "fetched"

    def got(key, original):
        fetched.unlink(missing_ok=True)
        b.run(*get(key, fetched))
        same(fetched.read_bytes(), original.read_bytes())

    b.step("create", lambda: (b.run(*create()), b.boto.head_bucket(Bucket=b.bucket)))
    b.step("put", lambda: (b.run(*put(b.small, "small.txt")), same(b.stored("small.txt"), b.small.read_bytes())))
    b.step("multipart", lambda: (b.run(*put(b.large, "dir/large.bin")), same(b.stored("dir/large.bin"), b.large.read_bytes())))
    b.step("get", lambda: (got("small.txt", b.small), got("dir/large.bin", b.large)))
    if part:
        b.step("range", lambda: same(b.run(*part("dir/large.bin", 5 * MIB, 100)), b.large.read_bytes()[5 * MIB : 5 * MIB + 100]))
    b.step("list", lambda: same(b"small.txt" in b.run(*ls()), True))
    b.step("copy", lambda: (b.run(*copy("dir/large.bin", "copied.bin")), same(b.stored("copied.bin"), b.large.read_bytes())))
    if presign:
        b.step("presign", lambda: same(urllib.request.urlopen(b.run(*presign("small.txt")).decode().split()[-1]).read(), b.small.read_bytes()))
    b.step("delete", lambda: (b.run(*delete("copied.bin")), same(b.gone("copied.bin"), True)))
    tree, back = b.tree(), b.work / "back"
    back.mkdir()
    b.step("sync up", lambda: b.run(*up(tree, "tree")))
    b.step("sync down", lambda: (b.run(*down("tree", back)), same_tree(tree, back)))
    return s
