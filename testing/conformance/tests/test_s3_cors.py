"""What browsers are told: preflight requests, and the requests themselves.

Holds "Where this page is silent, do what Amazon S3 does".
"""

import pytest
import requests

from harness.clients import refused

ORIGIN = "https://app.example"
RULES = [
    {"ID": "app", "AllowedOrigins": ["https://*.example"], "AllowedMethods": ["GET", "PUT"], "AllowedHeaders": ["x-amz-*", "Content-Type"],
     "ExposeHeaders": ["ETag", "x-amz-request-id"], "MaxAgeSeconds": 600},
    {"AllowedOrigins": ["*"], "AllowedMethods": ["HEAD"]},
]


@pytest.fixture
def url(umbra, c, bucket):
    """The URL of a bucket with rules."""
    c.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    return f"{umbra.endpoint}/{bucket}"


def ask(url, method, origin=ORIGIN, names=None):
    headers = {"Origin": origin, "Access-Control-Request-Method": method, **({"Access-Control-Request-Headers": names} if names else {})}
    return requests.options(url, headers=headers, timeout=30)


def test_rules_are_kept(c, bucket):
    """Rules are set, shown as they were set, and removed; no rules are NoSuchCORSConfiguration."""
    assert refused(c.get_bucket_cors, Bucket=bucket).code == "NoSuchCORSConfiguration"
    c.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    assert c.get_bucket_cors(Bucket=bucket)["CORSRules"] == RULES
    c.delete_bucket_cors(Bucket=bucket)
    assert refused(c.get_bucket_cors, Bucket=bucket).code == "NoSuchCORSConfiguration"
    for bad in ([{**RULES[0], "AllowedMethods": ["PATCH"]}], [{**RULES[0], "AllowedOrigins": ["https://*.*"]}], [RULES[1]] * 101):
        assert refused(c.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": bad}).status == 400


def test_preflight(url):
    """A preflight is allowed by the first rule that fits origin, method and every header, and says so."""
    answer = ask(f"{url}/k", "PUT", names="Content-Type, X-Amz-Meta-A")
    assert answer.status_code == 200 and answer.headers["x-amz-request-id"]
    told = {name: answer.headers.get(f"access-control-{name}") for name in ("allow-origin", "allow-methods", "allow-headers", "expose-headers", "max-age", "allow-credentials")}
    assert told == {
        "allow-origin": ORIGIN, "allow-methods": "GET, PUT", "allow-headers": "content-type, x-amz-meta-a", "expose-headers": "ETag, x-amz-request-id",
        "max-age": "600", "allow-credentials": "true",
    }
    assert "Origin" in answer.headers["vary"]
    anyone = ask(url, "HEAD", origin="null")
    assert (anyone.status_code, anyone.headers["access-control-allow-origin"]) == (200, "*")
    assert "access-control-allow-credentials" not in anyone.headers


def test_preflights_that_are_refused(umbra, url):
    """Another origin, method or header, or a bucket without rules: AccessForbidden, without a word on what would be allowed."""
    for target, method, origin, names in (
        (url, "PUT", "https://elsewhere", None), (url, "DELETE", ORIGIN, None), (url, "PUT", ORIGIN, "authorization"), (url, "GET", "http://a.example", None),
        (f"{umbra.endpoint}/no-such-bucket", "GET", ORIGIN, None), (f"{umbra.endpoint}/", "GET", ORIGIN, None),
    ):
        answer = ask(target, method, origin, names)
        assert answer.status_code == 403 and "<Code>AccessForbidden</Code>" in answer.text, (target, method, origin, names, answer.text)
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    for headers in ({}, {"Origin": ORIGIN}, {"Access-Control-Request-Method": "GET"}):
        answer = requests.options(url, headers=headers, timeout=30)
        assert answer.status_code == 400 and "<Code>BadRequest</Code>" in answer.text, headers


def test_requests_themselves(c, url, bucket):
    """An answer is shown to the page that may see it, also when it is an error, and also to a presigned URL."""
    c.put_object(Bucket=bucket, Key="k", Body=b"x")
    presigned = c.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    for target, status in ((presigned, 200), (f"{url}/k", 403), (presigned.replace("/k?", "/absent?"), 403)):
        answer = requests.get(target, headers={"Origin": ORIGIN}, timeout=30)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert answer.headers["access-control-expose-headers"] == "ETag, x-amz-request-id"
        elsewhere = requests.get(target, headers={"Origin": "https://elsewhere"}, timeout=30)
        assert elsewhere.status_code == status and "access-control-allow-origin" not in elsewhere.headers
        assert "Origin" in elsewhere.headers["vary"], "a cache must not show one page's answer to another"
    put = c.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "new"})
    stored = requests.put(put, data=b"y", headers={"Origin": ORIGIN}, timeout=30)
    assert (stored.status_code, stored.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "access-control-allow-origin" not in requests.get(presigned, timeout=30).headers


def test_the_method_counts(c, url, bucket):
    """An answer is shown by the rules for its method, or for the one that the request announces."""
    delete = c.generate_presigned_url("delete_object", Params={"Bucket": bucket, "Key": "k"})
    answer = requests.delete(delete, headers={"Origin": ORIGIN}, timeout=30)
    assert answer.status_code == 204 and "access-control-allow-origin" not in answer.headers
    for announced, shown in (("GET", ORIGIN), ("DELETE", None)):
        answer = requests.delete(delete, headers={"Origin": ORIGIN, "Access-Control-Request-Method": announced}, timeout=30)
        assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (204, shown)
