"""Origins with ways of their own: each is understood, or its way is named."""

import random

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness.clients import refused
from harness.data import KIB, MIB, content, etag
from harness.model import check_walk
from harness.seaweed import BLIND, READER
from harness.wait import until

SHAPES = [("", ""), ("", "/"), ("a", "/"), ("a/", ""), ("a/", "/"), ("b", ""), ("", "b"), ("a-", "")]


def is_listing(exchange):
    return not exchange.is_object


# -- order -----------------------------------------------------------------------------------------------------


def paths(rng, count):
    """Random keys that SeaweedFS can hold: paths whose names continue one another."""
    found = set()
    while len(found) < count:
        parts = ["".join(rng.choice("ab!-.0") for _ in range(rng.randint(1, 3))) for _ in range(rng.randint(1, 3))]
        if not {".", ".."} & set(parts):
            found.add("/".join(parts))
    return sorted(found)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_origin_that_lists_by_directories(pair, seed):
    """SeaweedFS lists `docs/` before `docs-old`; the merged listing is in the order of bytes, page by page, all the same."""
    rng = random.Random(seed)
    keys = paths(rng, 70)
    there, later = [k for k in keys if rng.random() < 0.75], [k for k in keys if rng.random() < 0.3]
    for key in there:
        pair.put_there(key, b"there")
    pair.create()
    for key in later:
        pair.put(key, b"here")
    gone = {k for k in keys if rng.random() < 0.2}
    for key in sorted(gone):
        pair.delete(key)
    seen = sorted(({*there, *later}) - gone, key=str.encode)
    for version in (1, 2):
        for size in (1, 3, 7, 1000):
            for prefix, delimiter in SHAPES:
                check_walk(pair.here, pair.name, seen, size, prefix, delimiter, version)
    for key in rng.sample(seen, 10):
        expected = [k for k in seen if k.encode() > key.encode()]
        assert [o["Key"] for o in pair.here.list_objects_v2(Bucket=pair.name, StartAfter=key).get("Contents", [])] == expected


def test_a_large_directory_with_neighbours(pair):
    """More keys below a name than a page holds, and neighbours that come first: few requests, nothing left out or shown twice."""
    from concurrent.futures import ThreadPoolExecutor

    keys = [f"docs/{n:04d}" for n in range(2200)] + ["docs", "docs-old", "docs.txt", "docs.txt/x", "docs0", "a", "z"]
    keys.remove("docs")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: pair.put_there(k, b"x"), keys))
    pair.create()
    for size in (1000, 700):
        check_walk(pair.here, pair.name, keys, size)
    pair.proxy.forget()
    pages = check_walk(pair.here, pair.name, keys, 1000)
    assert pair.proxy.count("GET", when=is_listing) <= 5 * len(pages), pair.proxy.story()
    check_walk(pair.here, pair.name, keys, 2, "", "/")


def test_the_gate_counts_in_any_order(pair):
    """What remains is counted exactly, whatever order the origin lists in."""
    for key in ("docs/a", "docs/b", "docs-old", "docs.txt", "z"):
        pair.put_there(key, b"x")
    pair.create()
    for key in ("docs-old", "z", "docs/b"):
        pair.delete(key)
    done = pair.update("--clear-shadow", check=False)
    assert done.status == 1 and done.err.count("2 objects") == 1, done
    pair.delete("docs/a")
    pair.delete("docs.txt")
    pair.update("--clear-shadow")


# -- listings --------------------------------------------------------------------------------------------------


def test_version_1_of_the_listing(pair):
    """An origin that knows version 1 only is listed so, and asked for version 2 no more."""
    keys = [f"k{n:02d}" for n in range(30)]
    for key in keys:
        pair.put_there(key, b"x")
    rule = pair.fault("GET", when=lambda e: is_listing(e) and "list-type=2" in e.query, status=501)
    pair.create()
    for size in (7, 1000):
        check_walk(pair.here, pair.name, keys, size)
    # Once when it was attached, and once by the origin in use.
    assert rule.hits <= 2


# -- objects ---------------------------------------------------------------------------------------------------


def test_weak_etags(pair):
    """Nothing matches a weak ETag; objects that have one are read, ranges too, and moved once."""
    body = content(20 * MIB)
    pair.put_there("k", body)
    etag = f'W/{pair.there.head_object(Bucket=pair.origin_name, Key="k")["ETag"]}'
    pair.create()
    pair.fault(key="k", response_headers={"ETag": etag})
    pair.fault("GET", key="k", when=lambda e: e.headers.get("if-match"), status=412, code="PreconditionFailed")
    assert pair.read("k", Range=f"bytes={19 * MIB}-{19 * MIB + 99}") == body[19 * MIB : 19 * MIB + 100]
    assert pair.read("k") == body


def test_opaque_etags(pair):
    """An ETag that is neither hexadecimal nor of any known form is kept as it is."""
    pair.put_there("k", b"hello")
    pair.create()
    pair.fault(key="k", response_headers={"ETag": '"CJz~ü-9/x"'.replace("ü", "u")})
    assert pair.head("k")["ETag"] == '"CJz~u-9/x"'
    answer = pair.get("k", IfMatch='"CJz~u-9/x"')
    assert answer["Body"].read() == b"hello" and answer["ETag"] == '"CJz~u-9/x"'
    assert refused(pair.get, "k", IfNoneMatch='"CJz~u-9/x"').status == 304


@pytest.mark.parametrize(("status", "code"), [(400, "InvalidRequest"), (405, "MethodNotAllowed"), (501, "NotImplemented")])
def test_an_origin_that_takes_no_ranges(pair, status, code):
    """Holds "An origin that ignores Range or sends no length is handled.": one that refuses them is asked for the whole."""
    body = content(3 * MIB, status)
    pair.put_there("k", body)
    pair.create()
    rule = pair.fault("GET", key="k", when=lambda e: e.headers.get("range"), status=status, code=code)
    assert pair.read("k") == body
    until("it is hydrated", lambda: not pair.is_cold("k"))
    assert rule.hits == 1 and pair.proxy.count("GET", "k", lambda e: e.status == 200) == 1


def test_a_head_without_a_length(pair):
    """A HEAD that does not tell the size is made up for by a GET of one byte."""
    pair.put_there("k", content(MIB))
    pair.create()
    pair.fault("HEAD", key="k", response_headers={"Content-Length": None})
    assert pair.head("k")["ContentLength"] == MIB
    assert pair.proxy.body_bytes("k") <= 1


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 405}, {"status": 501}, {"response_headers": {"Content-Length": None}},
                                   {"response_headers": {"ETag": None}}, {"response_headers": {"ETag": '"another"'}}])
def test_a_head_that_fails(pair, fault):
    """Holds "An origin that tells no headers by HEAD, or not now, fails no read of what it gives by GET.": small, of one request, of many."""
    bodies = {f"k{size // KIB}": content(size) for size in (100 * KIB, 9 * MIB, 24 * MIB)}
    for key, body in bodies.items():
        pair.put_there(key, body)
    pair.create()
    pair.fault("HEAD", **fault)
    for key, body in bodies.items():
        answer = pair.get(key)
        assert answer["Body"].read() == body and answer["ETag"] == etag(body)
        until(f"{key} to be here", lambda: pair.umbra.status(pair.name)["shadow"]["hydrated_objects"] == sorted(bodies, key=lambda k: len(bodies[k])).index(key) + 1)
    pair.proxy.clear_rules()
    for key, body in bodies.items():
        assert not pair.is_cold(key) and pair.read(key) == body


def test_empty_objects_and_first_ranges(pair):
    """An object without a first byte is read all the same; one that was never listed costs a GET and a HEAD at the same time, a listed one a GET."""
    for key, body in (("empty", b""), ("a", content(MIB)), ("b", content(MIB))):
        pair.put_there(key, body)
    pair.create()
    assert pair.read("empty") == b""
    until("it to be here", lambda: not pair.is_cold("empty"))
    pair.proxy.forget()
    pair.read("a")
    until("it to be here", lambda: pair.umbra.status(pair.name)["shadow"]["hydrated_objects"] == 2)
    asked = [(e.method, e.headers.get("range")) for e in pair.proxy.seen(key="a")]
    assert sorted(asked) == [("GET", f"bytes=0-{16 * MIB - 1}"), ("HEAD", None)], asked
    # To be refused is to have the origin listed.
    assert pair.update("--clear-shadow", check=False).status != 0
    pair.proxy.forget()
    assert pair.read("b") == content(MIB)
    until("it to be here", lambda: pair.umbra.status(pair.name)["shadow"]["hydrated_objects"] == 3)
    assert [(e.method, e.headers.get("range")) for e in pair.proxy.seen(key="b")] == [("GET", None)]


def test_content_compressed_on_its_way(pair):
    """Content that was compressed on its way is neither served nor stored as if it were the object."""
    pair.put_there("k", content(MIB))
    pair.create()
    pair.fault("GET", key="k", no_length=True, response_headers={"Content-Encoding": "gzip"})
    assert refused(pair.get, "k").status == 503
    pair.proxy.clear_rules()
    assert pair.is_cold("k") and pair.read("k") == content(MIB)


def test_forbidden_keys_are_not_absent(pair):
    """An origin that answers 403 for absent keys: never 404 here, and attaching says what is missing."""
    pair.put_there("k", b"x")
    rule = pair.fault("HEAD", when=lambda e: e.is_object and e.key != "k", status=403)
    done = pair.umbra.storage("create", "-n", pair.name, "-o", pair.org, *pair.flags(), "-y", check=False)
    assert done.status == 1 and "s3:ListBucket" in done.err and rule.hits, done
    pair.proxy.clear_rules()
    pair.create()
    pair.fault("GET", key="absent", status=403)
    pair.fault("HEAD", key="absent", status=403)
    assert refused(pair.get, "absent").status == 503 and refused(pair.head, "absent").status == 503


@pytest.mark.parametrize("size", [5, MIB])
def test_an_upload_cut_off_before_its_first_byte(written, size):
    """SeaweedFS keeps an upload that breaks off before its first byte as an empty object: not one of ours."""
    written.fault("PUT", "k", drop_body_at=0)
    with pytest.raises((ClientError, BotoCoreError)):
        written.put("k", content(size))
    assert written.proxy.count("PUT", "k") > 0
    written.proxy.clear_rules()
    assert not written.is_there("k")
    written.put("k", content(size), ContentEncoding="gzip", ContentType="text/plain", Metadata={"a": "b"})
    there = written.there.head_object(Bucket=written.origin_name, Key="k")
    assert (there["ContentLength"], there["ContentEncoding"], there["ContentType"], there["Metadata"]) == (size, "gzip", "text/plain", {"a": "b"})
    assert written.read_there("k") == content(size) and there["ETag"] == written.head("k")["ETag"]


# -- the doctor ------------------------------------------------------------------------------------------------


def doctor(pair, *more, **changes):
    """The doctor's findings by what was checked, and the exit status."""
    done = pair.umbra.storage("doctor", *pair.flags(**changes), *more, "--json", check=False)
    return {f["check"]: f for f in done.json()["findings"]}, done


def test_doctor_of_a_good_origin(pair):
    """Everything is looked at, nothing fails, and nothing is changed."""
    pair.put_there("docs/a", b"hello")
    pair.put_there("docs-old", b"hello")
    found, done = doctor(pair)
    assert done.status == 0 and done.json()["healthy"], done
    assert not [f for f in found.values() if f["verdict"] == "failed"], done
    expected = {
        "reach", "guard", "encryption", "credentials", "addressing", "region", "clock", "list version", "key encoding", "order", "absent keys",
        "read", "ranges", "etag", "if-match", "tags", "parts",
    }
    assert expected == set(found), done
    assert found["encryption"]["verdict"] == "warning" and "directories" in found["order"]["meaning"]
    assert not [e for e in pair.proxy.seen() if e.method not in ("GET", "HEAD")], pair.proxy.story()
    assert pair.proxy.body_bytes() <= 2


def test_doctor_with_write_through(pair):
    """What write-through needs is tried on keys that are gone afterwards."""
    found, done = doctor(pair, "--shadow-write-through")
    assert done.status == 0, done
    assert {found[check]["verdict"] for check in ("write", "conditional write", "keys as paths", "delete", "read", "ranges")} == {"ok"}, done
    assert "Contents" not in pair.there.list_objects_v2(Bucket=pair.origin_name)
    found, done = doctor(pair, "--shadow-write-through", **{"access-key": READER[0], "secret-key": READER[1]})
    assert done.status == 1 and found["write"]["verdict"] == "failed" and "s3:PutObject" in found["write"]["advice"], done


def test_an_origin_that_takes_keys_for_paths(pair):
    """SeaweedFS takes `a//b` for `a/b`: the doctor says so, and what would replace the other there is refused."""
    found, _ = doctor(pair, "--shadow-write-through")
    assert found["folded keys"]["verdict"] == "warning" and "a//b" in found["folded keys"]["meaning"], found
    assert "Contents" not in pair.there.list_objects_v2(Bucket=pair.origin_name)
    pair.create(write_through=True)
    pair.put("a/b", b"x")
    for write in (pair.here.put_object, pair.here.delete_object, pair.here.create_multipart_upload):
        refusal = refused(write, Bucket=pair.name, Key="a//b")
        assert refusal.status == 400 and "takes keys such as a//b" in refusal.message, refusal
    assert pair.read_there("a/b") == pair.read("a/b") == b"x"
    pair.update("--shadow-write-through=false")
    pair.put("a//b", b"y")
    assert (pair.read("a//b"), pair.read_there("a/b")) == (b"y", b"x"), "here they are two keys"


def test_doctor_names_what_is_wrong(pair):
    """An unreachable host, a wrong secret, a missing right, a bucket that is not there, and an absent key that is forbidden."""
    for changes, check, word in [
        ({"endpoint": "http://127.0.0.1:9"}, "reach", "connect"),
        ({"endpoint": "http://169.254.169.254"}, "guard", "link-local"),
        ({"endpoint": "ftp://example.com"}, "endpoint", "https://"),
        ({"secret-key": "not-the-secret"}, "credentials", "SignatureDoesNotMatch"),
        ({"access-key": BLIND[0], "secret-key": BLIND[1]}, "credentials", "AccessDenied"),
        ({"name": "nowhere-at-all"}, "credentials", "NoSuchBucket"),
    ]:
        found, done = doctor(pair, **changes)
        assert done.status == 1 and not done.json()["healthy"], done
        assert found[check]["verdict"] == "failed" and word in found[check]["meaning"] + (found[check]["advice"] or ""), done
        assert len(done.err.strip().splitlines()) == 1 and "not-the-secret" not in done.out, done
    pair.put_there("k", b"x")
    pair.fault("HEAD", when=lambda e: e.is_object, status=403)
    found, done = doctor(pair)
    assert done.status == 1 and "s3:ListBucket" in found["absent keys"]["advice"], done
    text = pair.umbra.storage("doctor", *pair.flags(), check=False)
    assert any(line.startswith("failed") and "absent keys" in line for line in text.out.splitlines()), text
    assert pair.umbra.storage("doctor", check=False).status == 2
