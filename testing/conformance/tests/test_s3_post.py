"""Uploads by HTML forms.

Holds "Where this page is silent, do what Amazon S3 does": what a policy allows, what its signature is worth, and how a form is answered.
"""

import base64
import hashlib
import hmac
import json
import threading
from datetime import datetime, timedelta, timezone

import pytest
import requests

from harness.checksums import checksum
from harness.clients import read, refused
from harness.data import KIB, MIB, content
from harness.raw import request, send
from harness.shadowed import name
from harness.umbra import Umbra


def code(answer):
    """Status and S3 code."""
    text = answer.text
    return answer.status_code, text[text.find("<Code>") + 6 : text.find("</Code>")] if "<Code>" in text else ""


class Poster:
    """Signs policies and sends forms for one bucket."""

    def __init__(self, umbra, bucket):
        self.umbra, self.bucket = umbra, bucket
        self.url = f"{umbra.endpoint}/{bucket}"

    def policy(self, listed, seconds=600, **changes):
        expires = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        document = {"expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"), "conditions": listed, **changes}
        return base64.b64encode(json.dumps({k: v for k, v in document.items() if v is not None}).encode()).decode()

    def signed(self, conditions, fields, secret=None, changes=None, seconds=600):
        """The fields of a form signed the new way."""
        now = datetime.now(timezone.utc) - timedelta(hours=3)
        scope = [f"{now:%Y%m%d}", "us-east-1", "s3", "aws4_request"]
        signing = {
            "x-amz-algorithm": "AWS4-HMAC-SHA256",
            "x-amz-credential": "/".join([self.umbra.access_key, *scope]),
            "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
        }
        encoded = self.policy([*conditions, *({k: v} for k, v in signing.items())], seconds, **(changes or {}))
        key = f"AWS4{secret or self.umbra.secret_key}".encode()
        for part in scope:
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, encoded.encode(), hashlib.sha256).hexdigest()
        return {**fields, **signing, "policy": encoded, "x-amz-signature": signature}

    def post(self, fields, body=b"content", file_name="f.txt", **options):
        files = [(k, (None, v)) for k, v in fields.items()] + [("file", (file_name, body))]
        return requests.post(self.url, files=files, timeout=60, allow_redirects=False, **options)

    def allowed(self, fields=None, conditions=(), body=b"content", **options):
        """Sends a form whose policy covers `fields`, with more `conditions`."""
        fields = {"key": "k", **(fields or {})}
        covering = [["starts-with", f"${name}", ""] for name in fields]
        return self.post(self.signed([{"bucket": self.bucket}, *covering, *conditions], fields), body, **options)


@pytest.fixture
def poster(umbra, bucket):
    return Poster(umbra, bucket)


def test_boto3_form(umbra, c, bucket):
    """The form that boto3 signs is accepted as it is."""
    form = c.generate_presigned_post(bucket, "photos/${filename}", Conditions=[["content-length-range", 1, 100]])
    answer = requests.post(form["url"], data=form["fields"], files={"file": ("a b.txt", b"hello")}, timeout=30)
    assert answer.status_code == 204, answer.text
    assert answer.headers["etag"] == f'"{hashlib.md5(b"hello").hexdigest()}"' and answer.headers["x-amz-request-id"]
    assert answer.headers["location"] == f"{umbra.endpoint}/{bucket}/photos/a%20b.txt"
    assert read(c, bucket, "photos/a b.txt") == b"hello"


def test_a_form_may_be_older_than_a_request(poster):
    """A policy is good until it expires, however long ago it was signed."""
    assert poster.allowed().status_code == 204


def test_what_the_fields_say_is_stored(poster, c):
    """Headers, metadata, tags and a checksum come from the fields."""
    body = content(3 * MIB)
    fields = {
        "Content-Type": "image/x-test", "Cache-Control": "no-store", "Content-Disposition": "inline", "Content-Encoding": "gzip",
        "x-amz-meta-color": "blue ü", "x-amz-storage-class": "STANDARD_IA", "acl": "private",
        "tagging": "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>",
    }
    digest = checksum("SHA256", body)
    signed = poster.signed([{"bucket": poster.bucket}, *(["starts-with", f"${n}", ""] for n in [*fields, "key"])], {"key": "k", **fields})
    assert poster.post({**signed, "x-amz-checksum-sha256": digest}, body).status_code == 204
    head = c.head_object(Bucket=poster.bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ContentType"], head["CacheControl"], head["ContentDisposition"], head["ContentEncoding"]) == ("image/x-test", "no-store", "inline", "gzip")
    assert (head["StorageClass"], head["ChecksumSHA256"], head["ContentLength"]) == ("STANDARD_IA", digest, len(body))
    assert c.get_object_tagging(Bucket=poster.bucket, Key="k")["TagSet"] == [{"Key": "a b", "Value": "1+2"}]
    assert read(c, poster.bucket, "k") == body
    wrong = {**signed, "x-amz-checksum-sha256": checksum("SHA256", b"other")}
    assert code(poster.post(wrong, b"overwritten")) == (400, "BadDigest")
    assert read(c, poster.bucket, "k") == body


def test_what_follows_the_file_is_ignored(poster, c):
    """Browsers send the button behind the file."""
    fields = poster.signed([{"bucket": poster.bucket}, {"key": "k"}], {"key": "k"})
    parts = "".join(f'--B\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    body = content(200 * KIB)
    document = parts.encode() + b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + body
    for rest in (b"\r\n--B--\r\n", b"\r\n--B--", b'\r\n--B\r\nContent-Disposition: form-data; name="submit"\r\n\r\nUpload\r\n--B--\r\nepilogue'):
        headers = {"host": poster.umbra.listen, "content-type": "multipart/form-data; boundary=B", "content-length": len(document + rest)}
        answer = send(poster.umbra.address, request("POST", f"/{poster.bucket}", headers, document + rest))
        assert answer.status == 204, answer
        assert read(c, poster.bucket, "k") == body
    cut = {**headers, "content-length": len(document) + 50}
    answer = send(poster.umbra.address, request("POST", f"/{poster.bucket}", cut, document + b"\r\n--"), close_write=True)
    assert answer.status in (0, 400), answer
    unknown = {k: v for k, v in headers.items() if k != "content-length"} | {"transfer-encoding": "chunked"}
    assert send(poster.umbra.address, request("POST", f"/{poster.bucket}", unknown, b"0\r\n\r\n")).status == 411


def test_how_forms_are_answered(poster, c):
    """204, 200, 201 with a document, or a redirect that tells bucket, key and ETag."""
    assert poster.allowed({"success_action_status": "200"}).status_code == 200
    assert poster.allowed({"success_action_status": "404"}).status_code == 204
    created = poster.allowed({"success_action_status": "201"})
    etag = c.head_object(Bucket=poster.bucket, Key="k")["ETag"]
    assert created.status_code == 201 and f"<Bucket>{poster.bucket}</Bucket><Key>k</Key>" in created.text, created.text
    assert f"<Location>{poster.url}/k</Location>" in created.text
    target = "http://elsewhere.example/done"
    for field in ("success_action_redirect", "redirect"):
        sent = poster.allowed({field: target})
        quoted = etag.replace('"', "%22")
        assert (sent.status_code, sent.headers["location"]) == (303, f"{target}?bucket={poster.bucket}&key=k&etag={quoted}")
    assert poster.allowed({"success_action_redirect": "not a url"}).status_code == 204


def test_policies_are_enforced(poster, c):
    """What a policy does not allow is AccessDenied, and nothing is stored."""
    bucket = {"bucket": poster.bucket}
    cases = [
        ([bucket, ["starts-with", "$key", "photos/"]], {"key": "music/k"}),
        ([bucket, {"key": "other"}], {"key": "k"}),
        ([bucket, {"key": "k"}], {"key": "k", "x-amz-meta-extra": "1"}),
        ([bucket, {"key": "k"}, {"x-amz-meta-a": "1"}], {"key": "k"}),
        ([{"key": "k"}], {"key": "k"}),
        ([{"bucket": "another-bucket"}, {"key": "k"}], {"key": "k"}),
        ([bucket, {"key": "k"}, {"bucket": poster.bucket}], {"key": "k", "bucket": "another-bucket"}),
    ]
    for conditions, fields in cases:
        assert code(poster.post(poster.signed(conditions, fields))) == (403, "AccessDenied"), (conditions, fields)
    expired = poster.signed([bucket, {"key": "k"}], {"key": "k"}, seconds=-10)
    assert code(poster.post(expired)) == (403, "AccessDenied")
    assert "Contents" not in c.list_objects_v2(Bucket=poster.bucket)


def test_sizes_are_enforced(poster, c):
    """A file outside content-length-range is EntityTooLarge or EntityTooSmall, and nothing is stored."""
    limit = [["content-length-range", 10, 20]]
    assert code(poster.allowed(conditions=limit, body=b"x" * 21)) == (400, "EntityTooLarge")
    assert code(poster.allowed(conditions=limit, body=b"x" * 9)) == (400, "EntityTooSmall")
    assert refused(c.head_object, Bucket=poster.bucket, Key="k").status == 404
    assert poster.allowed(conditions=limit, body=b"x" * 20).status_code == 204


def test_policies_that_are_none(poster):
    """A policy that cannot be understood is InvalidPolicyDocument."""
    bucket = [{"bucket": poster.bucket}, {"key": "k"}]
    for conditions, changes in (
        (bucket, {"expiration": None}), (bucket, {"conditions": None}), (bucket, {"expiration": "2100-01-01 00:00:00"}),
        ([*bucket, {}], {}), ([*bucket, ["content-length-range", 0]], {}), ([*bucket, ["content-length-range", -1, 0]], {}), ([*bucket, ["like", "$key", "k"]], {}),
    ):
        assert code(poster.post(poster.signed(conditions, {"key": "k"}, changes=changes))) == (400, "InvalidPolicyDocument"), (conditions, changes)


def test_signatures_of_forms(poster):
    """A wrong secret, an unknown key, a missing signature or key field: S3's code for each."""
    conditions = [{"bucket": poster.bucket}, {"key": "k"}]
    good = poster.signed(conditions, {"key": "k"})
    assert code(poster.post(poster.signed(conditions, {"key": "k"}, secret="wrong"))) == (403, "SignatureDoesNotMatch")
    unknown = {**good, "x-amz-credential": good["x-amz-credential"].replace(poster.umbra.access_key, "UNKNOWNKEY")}
    assert code(poster.post(unknown)) == (403, "InvalidAccessKeyId")
    for left_out in ("x-amz-signature", "x-amz-credential", "x-amz-date", "policy", "key"):
        assert code(poster.post({k: v for k, v in good.items() if k != left_out})) == (400, "InvalidArgument"), left_out
    assert code(poster.post({"key": "k"})) == (403, "AccessDenied"), "nobody may write into a private bucket without a policy"
    assert code(poster.post({**good, "x-amz-copy-source": f"{poster.bucket}/k"}))[0] == 403
    assert poster.post(good).status_code == 204


def test_what_is_no_form(poster, wire):
    """A POST that is no form, or a form without end, file or name."""
    assert code(requests.post(poster.url, data=b"x", timeout=30)) == (412, "PreconditionFailed")
    for document in (b"", b"--B--\r\n", b"--B\r\n\r\nx\r\n--B--\r\n", b'--B\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n--B--\r\n'):
        answer = requests.post(poster.url, data=document, headers={"content-type": "multipart/form-data; boundary=B"}, timeout=30)
        assert code(answer) == (400, "MalformedPOSTRequest"), (document, answer.text)
    large = requests.post(poster.url, files=[("key", (None, "k" * 100 * KIB)), ("file", ("f", b"x"))], timeout=30)
    assert large.status_code == 400 and "MaxPostPreDataLengthExceeded" in large.text
    assert code(requests.post(f"{poster.umbra.endpoint}/{name('absent')}", files={"key": (None, "k"), "file": ("f", b"x")}, timeout=30)) == (404, "NoSuchBucket")


def test_the_old_way_of_signing(poster, tmp_path):
    """Version 2 is refused, unless the server is told to take it."""

    def form(poster):
        encoded = poster.policy([{"bucket": poster.bucket}, {"key": "k"}])
        signature = base64.b64encode(hmac.new(poster.umbra.secret_key.encode(), encoded.encode(), hashlib.sha1).digest()).decode()
        return {"key": "k", "AWSAccessKeyId": poster.umbra.access_key, "policy": encoded, "signature": signature}

    assert code(poster.post(form(poster))) == (400, "InvalidRequest")
    old = Umbra(tmp_path / "old", "--allow-sigv2").start()
    try:
        client = old.client(signature="s3")
        client.create_bucket(Bucket="old-clients")
        here = Poster(old, "old-clients")
        assert here.post(form(here)).status_code == 204
        assert read(client, "old-clients", "k") == b"content"
        assert requests.get(client.generate_presigned_url("get_object", Params={"Bucket": "old-clients", "Key": "k"}), timeout=30).content == b"content"
        assert code(here.post({**form(here), "signature": "AAAA"})) == (403, "SignatureDoesNotMatch")
    finally:
        old.remove()


def test_forms_reach_the_origin(written):
    """With write-through a form is written to the origin too, and its file streams."""
    here = Poster(written.umbra, written.name)
    body = content(12 * MIB)
    assert here.allowed(body=body).status_code == 204
    assert written.read_there("k") == body and written.is_here("k")


@pytest.mark.slow
def test_forms_stream(own_umbra):
    """Large files in forms take no memory, however many come at once."""
    client = own_umbra.client()
    client.create_bucket(Bucket="streams")
    poster, body = Poster(own_umbra, "streams"), content(MIB) * 96
    poster.allowed(body=body[:MIB])
    own_umbra.process.reset_rss_peak()
    before, statuses = own_umbra.process.rss_bytes(), []
    threads = [threading.Thread(target=lambda at=at: statuses.append(poster.allowed({"key": f"k{at}"}, body=body).status_code)) for at in range(4)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert statuses == [204] * 4
    assert own_umbra.process.rss_peak_bytes() - before < 96 * MIB
