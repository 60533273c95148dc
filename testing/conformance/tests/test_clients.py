"""Everyday clients, unchanged: the AWS command line and boto3.

Holds "Point your application at Umbra, tell the bucket where the old data lives, and carry on".
"""

import json
import os
import urllib.request

import pytest

from harness.clients import AwsCli, keys_of, refused, s3, walk_v2
from harness.data import KIB, MIB, content, etag, multipart_etag
from harness.process import clean_environment
from harness.shadowed import name
from harness.wait import until


@pytest.fixture
def aws(umbra, tmp_path):
    """The AWS command line with the root key."""
    return AwsCli(tmp_path / "home", umbra.endpoint, umbra.access_key, umbra.secret_key)


@pytest.fixture
def aws_of(tmp_path):
    """The AWS command line with a shadowed bucket's own key."""
    return lambda pair: AwsCli(tmp_path / "home", pair.umbra.endpoint, pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"])


def tree(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def plant(root):
    """A directory with files of several sizes and names."""
    files = {"a.txt": b"a", "empty": b"", "deep/er/b c.bin": content(100 * KIB), "deep/\u00e9+%.txt": b"odd", "large.bin": content(20 * MIB)}
    for path, body in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    return files


def test_aws_buckets_and_listing(aws):
    """mb, ls, rb."""
    bucket = name("aws")
    aws("s3", "mb", f"s3://{bucket}")
    assert bucket in aws("s3", "ls").stdout.decode()
    aws("s3", "cp", "-", f"s3://{bucket}/dir/k", input=b"hello")
    listed = aws("s3", "ls", f"s3://{bucket}", "--recursive", "--summarize").stdout.decode()
    assert "dir/k" in listed and "Total Objects: 1" in listed
    assert "PRE dir/" in aws("s3", "ls", f"s3://{bucket}").stdout.decode()
    assert aws("s3", "rb", f"s3://{bucket}", check=False).returncode != 0
    aws("s3", "rb", f"s3://{bucket}", "--force")
    assert bucket not in aws("s3", "ls").stdout.decode()


@pytest.mark.parametrize("size", [0, 1, 100 * KIB, 20 * MIB])
def test_aws_cp(aws, bucket, tmp_path, size):
    """cp up, cp down, cp between keys, mv, rm."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(content(size))
    aws("s3", "cp", source, f"s3://{bucket}/k")
    aws("s3", "cp", f"s3://{bucket}/k", f"s3://{bucket}/l")
    aws("s3", "mv", f"s3://{bucket}/l", f"s3://{bucket}/m")
    aws("s3", "cp", f"s3://{bucket}/m", target)
    assert target.read_bytes() == content(size)
    aws("s3", "rm", f"s3://{bucket}", "--recursive")
    assert aws("s3", "ls", f"s3://{bucket}", "--recursive", check=False).stdout == b""


def test_aws_sync_both_ways(aws, bucket, tmp_path):
    """sync up and down gives the same tree, a second sync moves nothing, --delete deletes."""
    source, target = tmp_path / "in", tmp_path / "out"
    files = plant(source)
    aws("s3", "sync", source, f"s3://{bucket}/t")
    aws("s3", "sync", f"s3://{bucket}/t", target)
    assert tree(target) == files
    assert aws("s3", "sync", source, f"s3://{bucket}/t").stdout == b""
    (source / "a.txt").unlink()
    aws("s3", "sync", source, f"s3://{bucket}/t", "--delete")
    assert "t/a.txt" not in aws("s3", "ls", f"s3://{bucket}", "--recursive").stdout.decode()


def test_aws_presign(aws, c, bucket):
    """presign gives a URL that works."""
    c.put_object(Bucket=bucket, Key="a b/k", Body=b"presigned")
    url = aws("s3", "presign", f"s3://{bucket}/a b/k").stdout.decode().strip()
    assert urllib.request.urlopen(url, timeout=10).read() == b"presigned"


def test_aws_s3api(aws, bucket, tmp_path):
    """s3api: put, head, tags, attributes, lists, multipart by hand."""
    (tmp_path / "f").write_bytes(b"x" * 1000)
    put = json.loads(aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", tmp_path / "f", "--metadata", "a=1", "--checksum-algorithm", "SHA256").stdout)
    assert put["ETag"] == etag(b"x" * 1000) and put["ChecksumSHA256"]
    head = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "k").stdout)
    assert head["ContentLength"] == 1000 and head["Metadata"] == {"a": "1"}
    aws("s3api", "put-object-tagging", "--bucket", bucket, "--key", "k", "--tagging", "TagSet=[{Key=t,Value=1}]")
    tags = json.loads(aws("s3api", "get-object-tagging", "--bucket", bucket, "--key", "k").stdout)
    assert tags["TagSet"] == [{"Key": "t", "Value": "1"}]
    missing = aws("s3api", "get-object", "--bucket", bucket, "--key", "no", tmp_path / "o", check=False)
    assert missing.returncode != 0 and b"NoSuchKey" in missing.stderr


def test_aws_on_a_shadowed_bucket(pair, aws_of, tmp_path):
    """sync down from a cold bucket, change, sync up: the application's day before, during and after the move."""
    source, target = tmp_path / "in", tmp_path / "out"
    files = plant(source)
    for path, body in files.items():
        pair.put_there(f"t/{path}", body)
    pair.create(write_through=True)
    aws = aws_of(pair)
    assert f"Total Objects: {len(files)}" in aws("s3", "ls", f"s3://{pair.name}", "--recursive", "--summarize").stdout.decode()
    aws("s3", "sync", f"s3://{pair.name}/t", target)
    assert tree(target) == files
    (target / "new.bin").write_bytes(content(20 * MIB, "new"))
    (target / "a.txt").write_bytes(b"changed")
    aws("s3", "sync", target, f"s3://{pair.name}/t")
    aws("s3", "rm", f"s3://{pair.name}/t/empty")
    expected = {**files, "new.bin": content(20 * MIB, "new"), "a.txt": b"changed"}
    del expected["empty"]
    assert {k.removeprefix("t/"): pair.read(k) for k in pair.keys()} == expected
    assert {k.removeprefix("t/"): pair.read_there(k) for k in keys_of(walk_v2(pair.there, pair.origin_name))} == expected
    assert urllib.request.urlopen(aws("s3", "presign", f"s3://{pair.name}/t/a.txt").stdout.decode().strip(), timeout=10).read() == b"changed"
    for key in pair.keys():
        until("hydration", lambda k=key: not pair.is_cold(k))
    pair.update("--clear-shadow")
    pair.proxy.stop()
    after = tmp_path / "after"
    aws("s3", "sync", f"s3://{pair.name}/t", after)
    assert tree(after) == expected


def test_aws_reads_its_settings_from_create(umbra, tmp_path):
    """What `umbra storage create` prints is all the AWS command line needs."""
    made = umbra.storage("create", "-n", name("printed"), "-o", "tests", "-y").values()
    import subprocess
    import sys
    from pathlib import Path

    env = clean_environment(tmp_path, **{k: made[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3", "AWS_REGION")})
    (tmp_path / "f").write_bytes(b"x")
    aws = [sys.executable, str(Path(sys.executable).parent / "aws")]
    for argv in (["s3", "cp", "f", f"s3://{made['BUCKET_NAME']}/k"], ["s3", "ls", f"s3://{made['BUCKET_NAME']}"]):
        done = subprocess.run([*aws, *argv], env=env, cwd=tmp_path, capture_output=True, timeout=100)
        assert done.returncode == 0, done.stderr
    assert b" k\n" in done.stdout
    assert os.environ.get("AWS_ACCESS_KEY_ID") is None


@pytest.mark.parametrize("calculate", ["when_supported", "when_required"])
@pytest.mark.parametrize("style", ["path", "auto"])
def test_boto3_flavours(umbra, bucket, calculate, style):
    """boto3 with and without its default checksums, in both styles of addressing on an address."""
    client = s3(umbra.endpoint, umbra.access_key, umbra.secret_key, request_checksum_calculation=calculate, response_checksum_validation=calculate, s3={"addressing_style": style})
    body = content(300 * KIB)
    client.put_object(Bucket=bucket, Key="k", Body=body)
    assert client.get_object(Bucket=bucket, Key="k")["Body"].read() == body
    upload = client.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=body)
    done = client.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, **{k: v for k, v in part.items() if k in ("ETag", "ChecksumCRC32")}}]})
    assert done["ETag"] == multipart_etag([body])


def test_boto3_resource_and_paginators(umbra, bucket):
    """The resource interface, paginators, waiters and copies in parts."""
    import boto3
    from botocore.config import Config

    resource = boto3.session.Session().resource(
        "s3", endpoint_url=umbra.endpoint, aws_access_key_id=umbra.access_key, aws_secret_access_key=umbra.secret_key, region_name="auto",
        config=Config(s3={"addressing_style": "path"}),
    )
    b = resource.Bucket(bucket)
    for number in range(5):
        b.put_object(Key=f"k{number}", Body=b"x")
    assert [o.key for o in b.objects.page_size(2)] == [f"k{n}" for n in range(5)]
    resource.meta.client.get_waiter("object_exists").wait(Bucket=bucket, Key="k0", WaiterConfig={"Delay": 1, "MaxAttempts": 1})
    b.put_object(Key="big", Body=content(20 * MIB))
    b.copy({"Bucket": bucket, "Key": "big"}, "copied")
    assert b.Object("copied").get()["Body"].read() == content(20 * MIB)
    b.objects.all().delete()
    assert list(b.objects.all()) == []


def test_a_client_with_sigv2_is_told(umbra, bucket):
    """A client that signs the old way is refused in words it understands."""
    client = s3(umbra.endpoint, umbra.access_key, umbra.secret_key, signature="s3")
    error = refused(client.list_objects_v2, Bucket=bucket)
    assert error.status in (400, 403) and error.code
