"""Clients with nothing of the machine's own settings."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from .process import clean_environment


def s3(endpoint, access_key, secret_key, region="us-east-1", retries=False, signature="s3v4", **config):
    """A boto3 client in path style; without retries, so that a test sees each answer."""
    options = dict(
        signature_version=signature,
        s3={"addressing_style": "path"},
        retries={"total_max_attempts": 5 if retries else 1, "mode": "standard"},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=80,
    )
    options.update(config)
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint, aws_access_key_id=access_key, aws_secret_access_key=secret_key, region_name=region, config=Config(**options)
    )


def anonymous(endpoint):
    """A boto3 client that signs nothing."""
    return s3(endpoint, None, None, signature=UNSIGNED)


class Refused:
    """What a refused request answered."""

    def __init__(self, error):
        response = error.response
        self.status = response["ResponseMetadata"]["HTTPStatusCode"]
        self.code = response["Error"].get("Code", "")
        self.message = response["Error"].get("Message", "")
        self.headers = response["ResponseMetadata"]["HTTPHeaders"]

    def __repr__(self):
        return f"{self.status} {self.code}: {self.message}"


def refused(call, *args, **kwargs):
    """Calls what must be refused with an S3 error, and returns the error."""
    try:
        answer = call(*args, **kwargs)
    except ClientError as error:
        return Refused(error)
    raise AssertionError(f"not refused: {answer}")


def read(client, bucket, key, **options):
    """The content of an object."""
    return client.get_object(Bucket=bucket, Key=key, **options)["Body"].read()


def headers(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"]


def walk_v2(client, bucket, **options):
    """Every page of a v2 listing."""
    pages = []
    while True:
        page = client.list_objects_v2(Bucket=bucket, **options)
        pages.append(page)
        if not page.get("IsTruncated"):
            return pages
        options["ContinuationToken"] = page["NextContinuationToken"]
        assert len(pages) < 5000, "the listing never ends"


def walk_v1(client, bucket, **options):
    """Every page of a v1 listing."""
    pages = []
    while True:
        page = client.list_objects(Bucket=bucket, **options)
        pages.append(page)
        if not page.get("IsTruncated"):
            return pages
        last = [c["Key"] for c in page.get("Contents", [])] + [p["Prefix"] for p in page.get("CommonPrefixes", [])]
        options["Marker"] = page.get("NextMarker") or max(last, key=lambda k: k.encode())
        assert len(pages) < 5000, "the listing never ends"


def keys_of(pages):
    return [c["Key"] for p in pages for c in p.get("Contents", [])]


def put_multipart(client, bucket, key, parts, **options):
    """Uploads an object in parts; returns the completion's answer."""
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    done = []
    for number, body in enumerate(parts, 1):
        tag = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"]
        done.append({"PartNumber": number, "ETag": tag})
    return client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done})


class AwsCli:
    """The AWS command line with its own home, and the region that `umbra storage create` prints: for us-east-1 it would presign the old way."""

    def __init__(self, home, endpoint, access_key, secret_key, region="auto"):
        self.home, self.endpoint = Path(home), endpoint
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = clean_environment(
            home, AWS_ACCESS_KEY_ID=access_key, AWS_SECRET_ACCESS_KEY=secret_key, AWS_DEFAULT_REGION=region, AWS_MAX_ATTEMPTS="1", AWS_PAGER=""
        )

    def __call__(self, *args, check=True, input=None):
        """Runs `aws ARGS`; the completed process."""
        argv = [sys.executable, str(Path(sys.executable).parent / "aws"), "--endpoint-url", self.endpoint, *map(str, args)]
        done = subprocess.run(argv, env=self.env, cwd=self.home, capture_output=True, input=input, timeout=110)
        if check:
            assert done.returncode == 0, f"aws {' '.join(map(str, args))}: {done.returncode}\n{done.stderr.decode()}"
        return done


for name in [n for n in os.environ if n.startswith("AWS_") or n.lower() in {"http_proxy", "https_proxy", "all_proxy"}]:
    del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = "/nonexistent"
