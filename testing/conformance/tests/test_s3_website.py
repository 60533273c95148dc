"""Buckets as websites: index and error documents, redirects, and nothing that is not public."""

import json
import re

import pytest

from harness.organizations import Org
from harness.shadowed import Shadowed, name
from harness.site import Site
from harness.umbra import Umbra
from harness.wait import until

INDEX = {"IndexDocument": {"Suffix": "index.html"}}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    flags = ["--website-listen", "127.0.0.1:0", "--website-domain", "web.test", "--access-log-interval", "1"]
    server = Site(tmp_path_factory.mktemp("web"), *flags).start()
    yield server
    server.remove()


@pytest.fixture
def c(web):
    return Org(web, "site").client()


@pytest.fixture
def site(c):
    """A bucket whose objects everybody may read, with a page or two; its name."""
    made = name("site")
    c.create_bucket(Bucket=made)
    publish(c, made)
    pages = {"index.html": b"home", "docs/index.html": b"docs", "docs/a b.html": b"0123456789", "error.html": b"sorry"}
    for key, body in pages.items():
        c.put_object(Bucket=made, Key=key, Body=body, ContentType="text/html")
    configure(c, made, ErrorDocument={"Key": "error.html"})
    return made


def publish(c, bucket, *actions):
    statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", *actions], "Resource": [f"arn:aws:s3:::{bucket}/*", f"arn:aws:s3:::{bucket}"]}
    c.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def configure(c, bucket, **more):
    c.put_bucket_website(Bucket=bucket, WebsiteConfiguration=INDEX | more)


def of(bucket):
    return f"{bucket}.web.test"


def test_index_documents_at_every_level(web, site):
    """The root, a directory, a directory without its slash; pages by their names."""
    for path, expected in (("/", b"home"), ("/index.html", b"home"), ("/docs/", b"docs"), ("/docs/a%20b.html", b"0123456789")):
        status, headers, body = web.ask(of(site), path)
        assert (status, body, headers["content-type"]) == (200, expected, "text/html"), path
    status, headers, _ = web.ask(of(site), "/docs")
    assert (status, headers["location"]) == (302, "/docs/")
    status, _, _ = web.ask(of(site), "/nothing/")
    assert status == 403


def test_ranges_and_conditions(web, site):
    """As on the S3 side; a range that cannot be understood is none."""
    page = "/docs/a%20b.html"
    status, headers, body = web.ask(of(site), page, Range="bytes=2-4")
    assert (status, body, headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    etag = headers["etag"]
    status, headers, body = web.ask(of(site), page, **{"If-None-Match": etag})
    assert (status, body, headers["etag"]) == (304, b"", etag)
    assert web.ask(of(site), page, **{"If-Match": '"other"'})[0] == 412
    assert web.ask(of(site), page, Range="bytes=50-")[0] == 416
    assert web.ask(of(site), page, Range="lines=1-2")[::2] == (200, b"0123456789")
    status, headers, body = web.ask(of(site), page, method="HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", "10")


def test_error_documents_keep_the_status(web, c, site):
    """403 where absence is not to be told, 404 where it is; without a document, and with one that is absent, a page says what is the matter."""
    status, headers, body = web.ask(of(site), "/absent", Range="bytes=0-1")
    assert (status, body, headers["x-amz-error-code"]) == (403, b"sorry", "AccessDenied")
    publish(c, site, "s3:ListBucket")
    status, headers, body = web.ask(of(site), "/absent")
    assert (status, body, headers["x-amz-error-code"]) == (404, b"sorry", "NoSuchKey")
    assert web.ask(of(site), "/absent", method="HEAD")[::2] == (404, b"")
    configure(c, site, ErrorDocument={"Key": "no-such-page.html"})
    status, headers, body = web.ask(of(site), "/%3Cabsent%3E")
    assert (status, headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert body.count(b"<li>Code: NoSuchKey</li>") == 2 and b"Custom Error Document" in body
    configure(c, site)
    status, headers, body = web.ask(of(site), "/absent")
    assert status == 404 and b"<h1>404 Not Found</h1>" in body and f"<li>RequestId: {headers['x-amz-request-id']}</li>".encode() in body


def test_only_what_is_public_is_shown(web, c, site):
    """Without the policy nothing is; the public access block closes it as well; no signature opens anything."""
    c.put_public_access_block(Bucket=site, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    assert web.ask(of(site), "/")[0] == 403
    c.delete_public_access_block(Bucket=site)
    c.delete_bucket_policy(Bucket=site)
    url = c.generate_presigned_url("get_object", Params={"Bucket": site, "Key": "index.html"}, ExpiresIn=60)
    assert web.ask(of(site), "/index.html?" + url.split("?")[1])[0] == 403
    c.put_object(Bucket=site, Key="index.html", Body=b"by its ACL", ACL="public-read")
    assert web.ask(of(site), "/")[::2] == (200, b"by its ACL")


def test_what_is_no_website(web, c, site):
    """Other methods, buckets without a configuration, hosts of no bucket; queries choose nothing."""
    for method in ("PUT", "POST", "DELETE", "OPTIONS", "PATCH"):
        status, headers, body = web.ask(of(site), "/", method, body=b"x" * 100_000)
        assert (status, headers["x-amz-error-code"]) == (405, "MethodNotAllowed") and b"<h1>405 Method Not Allowed</h1>" in body
    plain = name("plain")
    c.create_bucket(Bucket=plain)
    for host, code in ((of(plain), "NoSuchWebsiteConfiguration"), (of("no-such-bucket-here"), "NoSuchBucket"), ("127.0.0.1", "NoSuchBucket"), ("", "NoSuchBucket")):
        status, headers, _ = web.ask(host)
        assert (status, headers["x-amz-error-code"]) == (404, code), host
    assert web.ask(of(site), "/?acl&versionId=null&response-content-type=x")[::2] == (200, b"home")
    assert web.ask(of(site), "/%ff")[0] == 400
    assert web.ask(of(site), "/" + "k" * 1025)[0] in (400, 403)


def test_everybody_is_sent_elsewhere(web, c, site):
    """RedirectAllRequestsTo, with path and query; nothing else is asked."""
    c.put_bucket_website(Bucket=site, WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "b.example", "Protocol": "https"}})
    status, headers, _ = web.ask(of(site), "/a%20b?c=d")
    assert (status, headers["location"]) == (301, "https://b.example/a%20b?c=d")


def test_routing_rules(web, c, site):
    """By prefix before anything is looked up; by the status that would be answered."""
    configure(c, site, RoutingRules=[
        {"Condition": {"KeyPrefixEquals": "old/"}, "Redirect": {"ReplaceKeyPrefixWith": "docs/"}},
        {"Condition": {"HttpErrorCodeReturnedEquals": "403"}, "Redirect": {"HostName": "b.example", "ReplaceKeyWith": "gone.html", "HttpRedirectCode": "307"}},
    ])
    host = of(site)
    for path, status, location in (("/old/a%20b.html", 301, f"http://{host}/docs/a%20b.html"), ("/absent", 307, "http://b.example/gone.html")):
        answer = web.ask(host, path)
        assert (answer[0], answer[1]["location"]) == (status, location)
    assert web.ask(host, "/docs/")[::2] == (200, b"docs")
    assert web.ask(host, "/docs")[1]["location"] == "/docs/"


def test_redirects_of_objects(web, c, site):
    """`x-amz-website-redirect-location` sends a reader of the page, not of the object."""
    c.put_object(Bucket=site, Key="moved", Body=b"x", WebsiteRedirectLocation="/docs/")
    status, headers, _ = web.ask(of(site), "/moved")
    assert (status, headers["location"]) == (301, "/docs/")
    answer = c.get_object(Bucket=site, Key="moved")
    assert (answer["Body"].read(), answer["WebsiteRedirectLocation"]) == (b"x", "/docs/")


def test_no_location_leads_to_another_host(web, c, site):
    """A key that begins with a slash is no way out."""
    c.put_object(Bucket=site, Key="/evil.example/index.html", Body=b"x")
    status, headers, _ = web.ask(of(site), "//evil.example")
    assert status == 403 and "location" not in headers


def test_a_bucket_by_its_whole_name(web, c):
    """A host that is not below the domain is the name of its bucket."""
    made = f"www.{name('own')}.example"
    c.create_bucket(Bucket=made)
    publish(c, made)
    configure(c, made)
    c.put_object(Bucket=made, Key="index.html", Body=b"own")
    assert web.ask(made)[::2] == web.ask(f"{made.upper()}:8080")[::2] == (200, b"own")


def test_other_origins_are_let_in_by_the_rules(web, c, site):
    """A bucket's CORS rules hold for its website."""
    c.put_bucket_cors(Bucket=site, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.example"]}]})
    assert web.ask(of(site), "/", Origin="https://a.example")[1]["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in web.ask(of(site), "/", Origin="https://b.example")[1]


def test_visits_are_logged(web, c, site):
    """As WEBSITE.GET.OBJECT, of nobody, with the status that was answered."""
    target = name("logs")
    c.create_bucket(Bucket=target, ACL="log-delivery-write")
    c.put_bucket_logging(Bucket=site, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": ""}})
    web.ask(of(site), "/docs/a%20b.html")
    web.ask(of(site), "/absent", method="HEAD")

    def lines():
        entries = c.list_objects_v2(Bucket=target).get("Contents", [])
        return [line for entry in entries for line in c.get_object(Bucket=target, Key=entry["Key"])["Body"].read().decode().splitlines()]

    until("both lines", lambda: len([line for line in lines() if " WEBSITE." in line]) == 2)
    text = "\n".join(lines())
    assert re.search(rf' 127\.0\.0\.1 - [0-9A-F]+ WEBSITE\.GET\.OBJECT docs/a%20b\.html "GET /docs/a%20b\.html HTTP/1\.1" 200 - 10 10 ', text), text
    assert re.search(r' WEBSITE\.HEAD\.OBJECT absent "HEAD /absent HTTP/1\.1" 403 AccessDenied - ', text), text


def test_a_website_whose_pages_are_cold(web, seaweed):
    """A bucket with a shadow is a website like any other: pages come from the origin, once."""
    pair = Shadowed(web, seaweed)
    try:
        pair.put_there("index.html", b"cold home")
        pair.put_there("docs/index.html", b"cold docs")
        pair.create()
        root = web.client()
        publish(root, pair.name)
        configure(root, pair.name)
        assert web.ask(of(pair.name))[::2] == (200, b"cold home")
        assert web.ask(of(pair.name), "/docs")[1]["location"] == "/docs/"
        assert web.ask(of(pair.name), "/docs/", Range="bytes=0-3")[::2] == (206, b"cold")
        until("the page to be here", lambda: not pair.is_cold("index.html"))
        pair.proxy.forget()
        assert web.ask(of(pair.name))[::2] == (200, b"cold home")
        assert pair.proxy.count("GET") == 0
        pair.fault(status=503)
        status, headers, _ = web.ask(of(pair.name), "/unknown")
        assert (status, headers["x-amz-error-code"]) == (503, "ServiceUnavailable")
    finally:
        pair.close()


def test_off_by_default_and_first_labels(tmp_path):
    """Nobody listens without `--website-listen`; without a domain the first label of a host is enough."""
    server = Umbra(tmp_path / "off").start()
    try:
        assert "websites" not in server.stdout()
    finally:
        server.remove()
    server = Site(tmp_path / "on", "--website-listen", "127.0.0.1:0").start()
    try:
        c = server.client()
        c.create_bucket(Bucket="first")
        publish(c, "first")
        configure(c, "first")
        c.put_object(Bucket="first", Key="index.html", Body=b"first")
        assert server.ask("first.any.where")[::2] == server.ask("first")[::2] == (200, b"first")
        assert server.stop() == 0
    finally:
        server.remove()
