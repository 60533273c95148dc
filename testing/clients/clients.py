"""The clients: what each of them does to a bucket. See `run`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import HERE, HOME, MIB, Bench, Missing, command_line, same, same_tree
from databases import litestream, pgbackrest, postgres
from harness import process
from harness.umbra import Umbra


# -- command lines ---------------------------------------------------------------------------------------------


def aws(b):
    b.has("aws")
    u = f"s3://{b.bucket}"
    cli = [str(HOME / "python/bin/python"), str(HOME / "python/bin/aws"), "--endpoint-url", b.endpoint]
    command_line(
        b, lambda: [*cli, "s3", "mb", u], lambda f, k: [*cli, "s3", "cp", f, f"{u}/{k}"], lambda k, f: [*cli, "s3", "cp", f"{u}/{k}", f], lambda: [*cli, "s3", "ls", u],
        lambda a, z: [*cli, "s3", "cp", f"{u}/{a}", f"{u}/{z}"], lambda k: [*cli, "s3", "rm", f"{u}/{k}"], lambda d, p: [*cli, "s3", "sync", "--only-show-errors", d, f"{u}/{p}"],
        lambda p, d: [*cli, "s3", "sync", "--only-show-errors", f"{u}/{p}", d],
        lambda k, at, n: ["sh", "-c", f"{' '.join(cli)} s3api get-object --bucket {b.bucket} --key {k} --range bytes={at}-{at + n - 1} part >/dev/null && cat part"],
        lambda k: [*cli, "--region", "auto", "s3", "presign", f"{u}/{k}"],
    )


def s3cmd(b):
    b.has("s3cmd")
    u = f"s3://{b.bucket}"
    b.file("s3cfg", f"[default]\naccess_key = {b.key}\nsecret_key = {b.secret}\nhost_base = {b.host}\nhost_bucket = {b.host}\nuse_https = False\nsignature_v2 = False\n".encode())
    cli = ["s3cmd", "-c", "s3cfg", "--no-progress", "--quiet"]
    command_line(
        b, lambda: [*cli, "mb", u], lambda f, k: [*cli, "put", "--multipart-chunk-size-mb=5", f, f"{u}/{k}"], lambda k, f: [*cli, "get", "--force", f"{u}/{k}", f], lambda: ["s3cmd", "-c", "s3cfg", "ls", u],
        lambda a, z: [*cli, "cp", f"{u}/{a}", f"{u}/{z}"], lambda k: [*cli, "del", f"{u}/{k}"], lambda d, p: [*cli, "sync", f"{d}/", f"{u}/{p}/"],
        lambda p, d: [*cli, "sync", f"{u}/{p}/", f"{d}/"],
    )


def s5cmd(b):
    b.has("s5cmd")
    u = f"s3://{b.bucket}"
    cli = ["s5cmd", "--endpoint-url", b.endpoint]
    command_line(
        b, lambda: [*cli, "mb", u], lambda f, k: [*cli, "cp", "-p", "5", f, f"{u}/{k}"], lambda k, f: [*cli, "cp", "-p", "5", f"{u}/{k}", f], lambda: [*cli, "ls", u],
        lambda a, z: [*cli, "cp", f"{u}/{a}", f"{u}/{z}"], lambda k: [*cli, "rm", f"{u}/{k}"], lambda d, p: [*cli, "sync", f"{d}/", f"{u}/{p}/"],
        lambda p, d: [*cli, "sync", f"{u}/{p}/*", f"{d}/"], presign=lambda k: [*cli, "presign", f"{u}/{k}"],
    )


def rclone(b):
    b.has("rclone")
    b.env.update(
        RCLONE_CONFIG=str(b.work / "none"), RCLONE_CONFIG_U_TYPE="s3", RCLONE_CONFIG_U_PROVIDER="Other", RCLONE_CONFIG_U_ACCESS_KEY_ID=b.key,
        RCLONE_CONFIG_U_SECRET_ACCESS_KEY=b.secret, RCLONE_CONFIG_U_ENDPOINT=b.endpoint, RCLONE_CONFIG_U_REGION="us-east-1", RCLONE_S3_UPLOAD_CUTOFF="5M", RCLONE_S3_CHUNK_SIZE="5M",
    )
    u = f"u:{b.bucket}"
    command_line(
        b, lambda: ["rclone", "mkdir", u], lambda f, k: ["rclone", "copyto", f, f"{u}/{k}"], lambda k, f: ["rclone", "copyto", f"{u}/{k}", f], lambda: ["rclone", "lsf", u],
        lambda a, z: ["rclone", "copyto", f"{u}/{a}", f"{u}/{z}"], lambda k: ["rclone", "deletefile", f"{u}/{k}"], lambda d, p: ["rclone", "sync", "--transfers=8", d, f"{u}/{p}"],
        lambda p, d: ["rclone", "sync", "--transfers=8", f"{u}/{p}", d], lambda k, at, n: ["rclone", "cat", "--offset", at, "--count", n, f"{u}/{k}"],
        lambda k: ["rclone", "link", "--expire", "1h", f"{u}/{k}"],
    )
    b.step("check", lambda: b.run("rclone", "check", b.work / "tree", f"{u}/tree"))


def s3fs(b):
    b.has("s3fs")
    if not Path("/dev/fuse").exists():
        raise Missing("no /dev/fuse")
    b.boto.create_bucket(Bucket=b.bucket)
    b.file("passwd", f"{b.key}:{b.secret}".encode()).chmod(0o600)
    mount = b.work / "mount"
    mount.mkdir()
    options = f"passwd_file={b.work}/passwd,url={b.endpoint},use_path_request_style,endpoint=us-east-1,multipart_size=5"
    foreground = subprocess.Popen(["s3fs", b.bucket, str(mount), "-f", "-o", options], env=b.env, stdout=subprocess.DEVNULL, stderr=open(b.work / "s3fs.log", "wb"))
    try:
        def mounted():
            for _ in range(100):
                if mount.is_mount():
                    return
                assert foreground.poll() is None, (b.work / "s3fs.log").read_text()[-300:]
                time.sleep(0.1)
            raise AssertionError("not mounted")

        b.step("mount", mounted)
        b.step("put", lambda: (shutil.copyfile(b.small, mount / "small.txt"), same(b.stored("small.txt"), b.small.read_bytes())))
        b.step("multipart", lambda: (shutil.copyfile(b.large, mount / "large.bin"), same(b.stored("large.bin"), b.large.read_bytes())))
        b.step("get", lambda: (b.boto.put_object(Bucket=b.bucket, Key="there", Body=b"x"), same((mount / "there").read_bytes(), b"x")))
        b.step("list", lambda: same(sorted(os.listdir(mount)), ["large.bin", "small.txt", "there"]))
        b.step("rename", lambda: (os.rename(mount / "small.txt", mount / "renamed"), same(b.gone("small.txt"), True)))
        b.step("directories", lambda: ((mount / "d").mkdir(), (mount / "d/f").write_text("x"), same(b.stored("d/f"), b"x")))
        b.step("delete", lambda: ((mount / "renamed").unlink(), same(b.gone("renamed"), True)))
    finally:
        subprocess.run(["umount", mount], capture_output=True)
        foreground.terminate()
        foreground.wait(20)


def restic(b):
    b.has("restic")
    b.boto.create_bucket(Bucket=b.bucket)
    b.env.update(RESTIC_REPOSITORY=f"s3:{b.endpoint}/{b.bucket}/backup", RESTIC_PASSWORD="secret", RESTIC_CACHE_DIR=str(b.work / "cache"))
    tree, back = b.tree(), b.work / "back"
    b.step("init", lambda: b.run("restic", "init"))
    b.step("backup", lambda: (b.run("restic", "backup", tree), b.run("restic", "backup", b.large)))
    b.step("check", lambda: b.run("restic", "check", "--read-data"))
    b.step("restore", lambda: (b.run("restic", "restore", "latest", "--path", tree, "--target", back), same_tree(tree, Path(f"{back}{tree}"))))
    b.step("forget, prune", lambda: b.run("restic", "forget", "--keep-last", "1", "--prune"))
    b.step("check again", lambda: b.run("restic", "check"))


# -- libraries -------------------------------------------------------------------------------------------------


def boto3_transfer(b):
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=8)
    c, bucket, back = b.boto, b.bucket, b.work / "back"
    b.step("create", lambda: c.create_bucket(Bucket=bucket))
    b.step("put", lambda: c.upload_file(str(b.small), bucket, "small.txt"))
    b.step("multipart", lambda: c.upload_file(str(b.large), bucket, "large.bin", Config=config))
    b.step("get", lambda: (c.download_file(bucket, "large.bin", str(back), Config=config), same(back.read_bytes(), b.large.read_bytes())))
    b.step("range", lambda: same(c.get_object(Bucket=bucket, Key="large.bin", Range="bytes=10-19")["Body"].read(), b.large.read_bytes()[10:20]))
    b.step("copy", lambda: (c.copy({"Bucket": bucket, "Key": "large.bin"}, bucket, "copied.bin", Config=config), same(b.stored("copied.bin"), b.large.read_bytes())))
    b.step("presign", lambda: same(urllib.request.urlopen(c.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "small.txt"})).read(), b.small.read_bytes()))
    b.step("list", lambda: same({o["Key"] for p in c.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1}) for o in p["Contents"]}, {"small.txt", "large.bin", "copied.bin"}))
    b.step("delete", lambda: (c.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copied.bin"}]}), same(b.gone("copied.bin"), True)))


def minio_py(b):
    try:
        from minio import Minio
        from minio.commonconfig import CopySource
    except ImportError as error:
        raise Missing(str(error)) from error
    c, bucket, back = Minio(b.host, b.key, b.secret, secure=False, region="us-east-1"), b.bucket, b.work / "back"
    b.step("create", lambda: c.make_bucket(bucket))
    b.step("put", lambda: c.fput_object(bucket, "small.txt", str(b.small)))
    b.step("multipart", lambda: (c.fput_object(bucket, "large.bin", str(b.large), part_size=5 * MIB), same(b.stored("large.bin"), b.large.read_bytes())))
    b.step("get", lambda: (c.fget_object(bucket, "large.bin", str(back)), same(back.read_bytes(), b.large.read_bytes())))
    b.step("range", lambda: same(c.get_object(bucket, "large.bin", offset=7, length=9).read(), b.large.read_bytes()[7:16]))
    b.step("list", lambda: same([o.object_name for o in c.list_objects(bucket, recursive=True)], ["large.bin", "small.txt"]))
    b.step("copy", lambda: (c.copy_object(bucket, "copied", CopySource(bucket, "small.txt")), same(b.stored("copied"), b.small.read_bytes())))
    b.step("presign", lambda: same(urllib.request.urlopen(c.presigned_get_object(bucket, "small.txt")).read(), b.small.read_bytes()))

    def form():
        import requests
        from datetime import datetime, timedelta, timezone

        from minio.datatypes import PostPolicy

        policy = PostPolicy(bucket, datetime.now(timezone.utc) + timedelta(hours=1))
        policy.add_equals_condition("key", "posted")
        answer = requests.post(f"{b.endpoint}/{bucket}", data={**c.presigned_post_policy(policy), "key": "posted"}, files={"file": b"x"}, timeout=30)
        same(answer.status_code, 204)

    b.step("form", form)
    b.step("delete", lambda: (c.remove_object(bucket, "copied"), same(b.gone("copied"), True)))


def obstore(b):
    """The Rust crate object_store, by its Python binding."""
    try:
        import obstore as binding
        from obstore.store import S3Store
    except ImportError as error:
        raise Missing(str(error)) from error
    b.boto.create_bucket(Bucket=b.bucket)
    store = S3Store(b.bucket, endpoint=b.endpoint, access_key_id=b.key, secret_access_key=b.secret, region="us-east-1", virtual_hosted_style_request=False, client_options={"allow_http": True})
    b.step("put", lambda: binding.put(store, "small.txt", b.small.read_bytes()))
    b.step("multipart", lambda: (binding.put(store, "large.bin", b.large, use_multipart=True, chunk_size=5 * MIB), same(b.stored("large.bin"), b.large.read_bytes())))
    b.step("get", lambda: same(bytes(binding.get(store, "large.bin").bytes()), b.large.read_bytes()))
    b.step("range", lambda: same(bytes(binding.get_range(store, "large.bin", start=3, end=9)), b.large.read_bytes()[3:9]))
    b.step("list", lambda: same(sorted(o["path"] for batch in binding.list(store) for o in batch), ["large.bin", "small.txt"]))
    b.step("copy, rename", lambda: (binding.copy(store, "small.txt", "copied"), binding.rename(store, "copied", "renamed"), same(b.stored("renamed"), b.small.read_bytes())))

    def conditional():
        try:
            binding.put(store, "small.txt", b"other", mode="create")
        except Exception as error:  # noqa: BLE001
            same("AlreadyExists" in type(error).__name__ or "exists" in str(error).lower(), True)
        else:
            raise AssertionError("created twice")

    b.step("create only", conditional)
    b.step("delete", lambda: (binding.delete(store, ["renamed", "small.txt"]), same(b.gone("renamed"), True)))


def duckdb(b):
    try:
        import duckdb as engine
        import duckdb_extension_httpfs
    except ImportError as error:
        raise Missing(str(error)) from error
    extension = next(Path(duckdb_extension_httpfs.__file__).parent.rglob("httpfs.duckdb_extension"))
    b.boto.create_bucket(Bucket=b.bucket)
    q = engine.connect()
    q.execute(f"LOAD '{extension}'")
    q.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{b.key}', SECRET '{b.secret}', ENDPOINT '{b.host}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
    u = f"s3://{b.bucket}"
    b.step("write", lambda: q.execute(f"COPY (SELECT range AS n, range % 10 AS p, 'v' || range AS v FROM range(1000000)) TO '{u}/t.parquet' (FORMAT parquet)"))
    b.step("read", lambda: same(q.execute(f"SELECT count(*), sum(n) FROM '{u}/t.parquet'").fetchone(), (1000000, 499999500000)))
    b.step("some columns", lambda: same(q.execute(f"SELECT max(p) FROM '{u}/t.parquet' WHERE n > 999990").fetchone(), (9,)))
    b.step("partitions", lambda: q.execute(f"COPY (SELECT * FROM '{u}/t.parquet' WHERE n < 1000) TO '{u}/parts' (FORMAT parquet, PARTITION_BY (p))"))
    b.step("glob", lambda: same(q.execute(f"SELECT count(*) FROM read_parquet('{u}/parts/*/*.parquet', hive_partitioning=true)").fetchone(), (1000,)))
    b.step("csv", lambda: (q.execute(f"COPY (SELECT 1 AS a) TO '{u}/t.csv'"), same(q.execute(f"SELECT a FROM '{u}/t.csv'").fetchone(), (1,))))


def arrow(b):
    """The C++ SDK, inside Arrow."""
    try:
        import pyarrow as pa
        import pyarrow.fs
        import pyarrow.parquet
    except ImportError as error:
        raise Missing(str(error)) from error
    fs = pa.fs.S3FileSystem(access_key=b.key, secret_key=b.secret, endpoint_override=b.endpoint, region="us-east-1", allow_bucket_creation=True)
    table = pa.table({"n": list(range(100_000))})
    b.step("create", lambda: fs.create_dir(b.bucket))
    b.step("write", lambda: pa.parquet.write_table(table, f"{b.bucket}/t.parquet", filesystem=fs))
    b.step("read", lambda: same(pa.parquet.read_table(f"{b.bucket}/t.parquet", filesystem=fs).equals(table), True))

    def multipart():
        with fs.open_output_stream(f"{b.bucket}/large.bin") as out:
            out.write(b.large.read_bytes())
        same(b.stored("large.bin"), b.large.read_bytes())

    b.step("multipart", multipart)
    b.step("list", lambda: same(len(fs.get_file_info(pa.fs.FileSelector(b.bucket, recursive=True))), 2))
    b.step("copy, delete", lambda: (fs.copy_file(f"{b.bucket}/t.parquet", f"{b.bucket}/u"), fs.delete_file(f"{b.bucket}/u"), same(b.gone("u"), True)))


def report(b, *argv):
    """A program that prints a line of JSON for every step: its name, what went wrong, and the seconds it took."""
    for line in b.run(*argv).decode().splitlines():
        b.results.append(tuple(json.loads(line)))


def node(b, script):
    b.has("node")
    if not (HOME / "npm/node_modules").is_dir():
        raise Missing("no npm packages")
    shutil.copyfile(HERE / script, HOME / "npm" / script)
    report(b, "node", HOME / "npm" / script)
    b.step("stored", lambda: same(b.stored("large.bin"), b.large.read_bytes()))


def aws_sdk_js(b):
    node(b, "aws_sdk.mjs")


def minio_js(b):
    node(b, "minio.mjs")


def rust(b, program):
    """A program of the package `rust`, built with this machine's own cargo and kept."""
    b.has("cargo")
    target = HOME / "rust"
    build = ["cargo", "build", "--locked", "--quiet", "--manifest-path", HERE / "rust/Cargo.toml", "--bin", program]
    built = subprocess.run(build, env={**os.environ, "CARGO_TARGET_DIR": str(target)}, capture_output=True)
    if built.returncode:
        raise Missing(f"cargo cannot build it: {' '.join(built.stderr.decode(errors='replace').split())[-300:]}")
    tree, back = b.tree(), b.work / "back"
    back.mkdir()
    b.env.update(TREE=str(tree), BACK=str(back))
    report(b, target / "debug" / program)
    b.step("same tree", lambda: same_tree(tree, back))


def object_store(b):
    """The Rust crate object_store itself; it cannot make buckets."""
    b.boto.create_bucket(Bucket=b.bucket)
    rust(b, "object_store")


def aws_sdk_rust(b):
    rust(b, "aws_sdk_rust")


CLIENTS = [
    aws, boto3_transfer, s3cmd, s5cmd, rclone, s3fs, restic, litestream, postgres, pgbackrest, minio_py, obstore, object_store, duckdb, arrow, aws_sdk_js, aws_sdk_rust, minio_js,
]


def main(names):
    unknown = set(names) - {client.__name__ for client in CLIENTS}
    if unknown:
        print(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(client.__name__ for client in CLIENTS)}")
        return 2
    passed, failed, left_out = 0, 0, []
    with tempfile.TemporaryDirectory(prefix="umbra-clients-") as work:
        server = Umbra(Path(work) / "umbra").start()
        try:
            for client in CLIENTS:
                if names and client.__name__ not in names:
                    continue
                bench = Bench(server, Path(work), client.__name__)
                try:
                    client(bench)
                except Missing as why:
                    left_out.append(f"{client.__name__} ({why})")
                    continue
                except Exception as error:  # noqa: BLE001 a client that does not even begin has failed
                    bench.results.append(("begin", " ".join(str(error).split())[-300:], 0.0))
                for name, wrong, seconds in bench.results:
                    passed, failed = passed + (wrong is None), failed + (wrong is not None)
                    print(f"{client.__name__:<16}{name:<16}{'passed' if wrong is None else 'FAILED':<8}{seconds:7.2f} s  {wrong or ''}", flush=True)
        finally:
            server.remove()
            process.kill_all()
    for client in left_out:
        print(f"left out: {client}")
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
