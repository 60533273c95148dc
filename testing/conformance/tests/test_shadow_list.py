"""The merged listing: one bucket, though it lies in two places."""

import random

import pytest

from harness.clients import keys_of, put_multipart, refused, walk_v1, walk_v2
from harness.data import MIB, content, etag
from harness.model import check_walk, entries
from harness.shadowed import Shadowed
from harness.wait import until

SHAPES = [("", ""), ("", "/"), ("a", "/"), ("a/", "/"), ("b", ""), ("a/b", "/"), ("", "b"), ("nothing", "/")]


def scatter(pair, seed, alphabet, count=60):
    """Random keys on both sides, some on both, some deleted here; returns the keys a client must see."""
    rng = random.Random(seed)
    keys = set()
    while len(keys) < count:
        keys.add("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 6))))
    seen, deleted = set(), set()
    for key in sorted(keys):
        lot = rng.random()
        if lot < 0.65:
            pair.put_there(key, b"there")
            seen.add(key)
        if lot > 0.45:
            pair.put_later.append(key)
            seen.add(key)
        if rng.random() < 0.25:
            deleted.add(key)
    return seen, deleted


@pytest.fixture(scope="module", params=[1, 2, 3])
def merged(request, umbra, second_umbra):
    """Random keys on both sides and tombstones; the pair and the keys to be seen. The origin is a second Umbra, for any key goes there."""
    pair = Shadowed(umbra, second_umbra)
    pair.put_later = []
    alphabet = {1: ["a", "b", "/"], 2: ["a", "b", "c", "/", "-", "\u00e9", "\ue000", "\U0001f600"], 3: ["a", "/", "//", "b/"]}[request.param]
    seen, deleted = scatter(pair, request.param, alphabet)
    pair.create()
    for key in pair.put_later:
        pair.put(key, b"here")
    for key in sorted(deleted):
        pair.delete(key)
    for key in sorted(seen - deleted)[::5]:
        pair.read(key)
    yield pair, seen - deleted
    pair.close()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("max_keys", [1, 2, 3, 4, 5, 6, 7, 1000])
def test_against_the_model(merged, version, max_keys):
    """Holds "ListObjects v1 and v2 show one bucket: here and origin merged in UTF-8 byte order, tombstones hidden, local entries"."""
    pair, keys = merged
    for prefix, delimiter in SHAPES:
        check_walk(pair.here, pair.name, keys, max_keys, prefix, delimiter, version)


def test_start_after_and_marker(merged):
    """The same from a key on."""
    pair, keys = merged
    ordered = sorted(keys, key=str.encode)
    for after in (ordered[0], ordered[len(ordered) // 2], ordered[-1], "a", "aa", "\U0010ffff"):
        expected = [k for _, k in entries(keys, after=after)]
        for size in (2, 1000):
            assert keys_of(walk_v2(pair.here, pair.name, StartAfter=after, MaxKeys=size)) == expected
            assert keys_of(walk_v1(pair.here, pair.name, Marker=after, MaxKeys=size)) == expected


def test_local_entries_win(shadowed):
    """Holds "tombstones hidden, local entries winning": size and ETag of a key on both sides are ours."""
    shadowed.put_there("k", b"a longer one there")
    shadowed.put("k", b"here")
    (entry,) = shadowed.here.list_objects_v2(Bucket=shadowed.name)["Contents"]
    assert (entry["Size"], entry["ETag"]) == (4, etag(b"here"))


def test_prefixes_of_deleted_keys_vanish(shadowed):
    """A common prefix all of whose keys are deleted here is not shown, though the origin still has them."""
    for key in ("a/1", "a/2", "b/1", "c"):
        shadowed.put_there(key, b"x")
    shadowed.delete("a/1")
    for version in (walk_v1, walk_v2):
        (page,) = version(shadowed.here, shadowed.name, Delimiter="/")
        assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["a/", "b/"]
    shadowed.delete("a/2")
    for size in (1, 2, 1000):
        check_walk(shadowed.here, shadowed.name, ["b/1", "c"], size, "", "/", 2)
        check_walk(shadowed.here, shadowed.name, ["b/1", "c"], size, "", "/", 1)
    shadowed.put("a/3", b"x")
    check_walk(shadowed.here, shadowed.name, ["a/3", "b/1", "c"], 1, "", "/", 2)


def test_common_prefixes_are_counted_once(shadowed):
    """Holds "common prefixes counted once, pagination exact"."""
    for number in range(5):
        shadowed.put_there(f"p{number}/there", b"x")
        shadowed.put(f"p{number}/here", b"x")
    page = shadowed.here.list_objects_v2(Bucket=shadowed.name, Delimiter="/")
    assert page["KeyCount"] == 5 and [p["Prefix"] for p in page["CommonPrefixes"]] == [f"p{n}/" for n in range(5)]


def test_no_empty_truncated_page(shadowed):
    """A long run of tombstones at the origin yields no empty page that is truncated."""
    for number in range(60):
        shadowed.put_there(f"k{number:03d}", b"x")
    keys = [f"k{n:03d}" for n in range(60)]
    shadowed.here.delete_objects(Bucket=shadowed.name, Delete={"Objects": [{"Key": k} for k in keys[5:55]]})
    for size in (1, 2, 3, 7, 20):
        check_walk(shadowed.here, shadowed.name, keys[:5] + keys[55:], size)
        check_walk(shadowed.here, shadowed.name, keys[:5] + keys[55:], size, version=1)
    shadowed.here.delete_objects(Bucket=shadowed.name, Delete={"Objects": [{"Key": k} for k in keys]})
    assert not shadowed.here.list_objects_v2(Bucket=shadowed.name, MaxKeys=1)["IsTruncated"]


def test_pages_of_a_thousand(pair):
    """More keys than one page of either side holds."""
    from concurrent.futures import ThreadPoolExecutor

    there = [f"k{n:05d}" for n in range(0, 2400, 2)]
    here = [f"k{n:05d}" for n in range(0, 2400, 3)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda k: pair.put_there(k, b"x"), there))
        pair.create()
        list(pool.map(lambda k: pair.put(k, b"y"), here))
    expected = sorted({*there, *here})
    for version in (1, 2):
        pages = check_walk(pair.here, pair.name, expected, 1000, version=version)
        assert len(pages[0]["Contents"]) > 0
    check_walk(pair.here, pair.name, expected, 333)


def test_hydration_during_a_walk(shadowed):
    """Keys that are hydrated, written or deleted behind the cursor of a walk do not disturb it."""
    keys = [f"k{n:03d}" for n in range(30)]
    for key in keys:
        shadowed.put_there(key, b"x")
    seen, options = [], {}
    while True:
        page = shadowed.here.list_objects_v2(Bucket=shadowed.name, MaxKeys=4, **options)
        seen += [o["Key"] for o in page.get("Contents", [])]
        shadowed.read(seen[-1])
        shadowed.delete(seen[-2])
        if not page["IsTruncated"]:
            break
        options = dict(ContinuationToken=page["NextContinuationToken"])
    assert seen == keys


def test_a_token_of_an_older_generation(shadowed):
    """Holds "(a continuation token carries both cursors and the generation;": after a detach an old token is refused or goes on with what is here."""
    for number in range(6):
        shadowed.put_there(f"c{number}", b"x")
        shadowed.put(f"l{number}", b"x")
    page = shadowed.here.list_objects_v2(Bucket=shadowed.name, MaxKeys=2)
    shadowed.update("--clear-shadow", "--force")
    try:
        rest = keys_of(walk_v2(shadowed.here, shadowed.name, ContinuationToken=page["NextContinuationToken"]))
    except shadowed.here.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidArgument"
    else:
        assert rest == [f"l{n}" for n in range(6)]


def test_one_side(shadowed):
    """Holds "`X-Tigris-List-Source: tigris|shadow` lists one side."; deleted keys are hidden on the origin's too."""
    for key in ("both", "deleted", "there"):
        shadowed.put_there(key, b"x")
    shadowed.put("both", b"y")
    shadowed.put("here", b"y")
    shadowed.delete("deleted")
    with_source = lambda source: _listing_client(shadowed, source)  # noqa: E731
    assert keys_of(walk_v2(with_source("tigris"), shadowed.name)) == ["both", "here"]
    assert keys_of(walk_v2(with_source("shadow"), shadowed.name)) == ["both", "there"]
    assert keys_of(walk_v1(with_source("shadow"), shadowed.name, MaxKeys=1)) == ["both", "there"]
    shadowed.proxy.stop()
    assert keys_of(walk_v2(with_source("tigris"), shadowed.name)) == ["both", "here"]


def _listing_client(pair, source):
    """A client that sends the header with every listing."""
    client = pair.umbra.client(pair.created["AWS_ACCESS_KEY_ID"], pair.created["AWS_SECRET_ACCESS_KEY"])

    def add(request, **_):
        request.headers["X-Tigris-List-Source"] = source

    client.meta.events.register("before-sign.s3.*", add)
    return client


def test_the_origin_cannot_be_listed(shadowed):
    """Holds "The origin cannot be listed: 503, not a shorter list."."""
    shadowed.put("here", b"x")
    shadowed.put_there("there", b"x")

    def both_refuse():
        for call in (shadowed.here.list_objects_v2, shadowed.here.list_objects):
            for options in ({}, dict(MaxKeys=1), dict(Delimiter="/"), dict(Prefix="he")):
                error = refused(call, Bucket=shadowed.name, **options)
                assert error.status == 503, error

    shadowed.proxy.stop()
    both_refuse()
    shadowed.proxy.start()
    for status in (403, 500, 503, 429):
        rule = shadowed.fault("GET", when=lambda e: not e.is_object, status=status)
        both_refuse()
        assert rule.hits
        shadowed.proxy.clear_rules()
    rule = shadowed.fault("GET", when=lambda e: not e.is_object, status=404, code="NoSuchBucket")
    both_refuse()
    shadowed.proxy.clear_rules()
    shadowed.fault("GET", when=lambda e: not e.is_object, cut_at=200)
    both_refuse()
    shadowed.proxy.clear_rules()
    assert shadowed.keys() == ["here", "there"]


def test_the_origin_fails_in_the_middle_of_a_walk(shadowed):
    """The same on a later page."""
    for number in range(10):
        shadowed.put_there(f"k{number}", b"x")
    page = shadowed.here.list_objects_v2(Bucket=shadowed.name, MaxKeys=3)
    shadowed.proxy.stop()
    error = refused(shadowed.here.list_objects_v2, Bucket=shadowed.name, MaxKeys=3, ContinuationToken=page["NextContinuationToken"])
    assert error.status == 503
    shadowed.proxy.start()
    rest = keys_of(walk_v2(shadowed.here, shadowed.name, MaxKeys=3, ContinuationToken=page["NextContinuationToken"]))
    assert keys_of([page]) + rest == [f"k{n}" for n in range(10)]


def test_an_empty_origin_and_an_empty_bucket(shadowed):
    """Two empty sides are an empty listing."""
    page = shadowed.here.list_objects_v2(Bucket=shadowed.name)
    assert page["KeyCount"] == 0 and not page["IsTruncated"]


def test_listing_costs_no_bodies(pair):
    """A listing moves no object's content."""
    pair.put_there("k", content(MIB))
    put_multipart(pair.there, pair.origin_name, "m", [content(5 * MIB), b"x"])
    pair.create()
    for _ in range(5):
        assert pair.keys() == ["k", "m"]
    sizes = {o["Key"]: o["Size"] for o in pair.here.list_objects_v2(Bucket=pair.name)["Contents"]}
    assert sizes == {"k": MIB, "m": 5 * MIB + 1}
    assert pair.proxy.body_bytes() == 0
    until("still cold", lambda: pair.is_cold("k") and pair.is_cold("m"))


def test_moto_lists_too(moto_pair):
    """Another make of origin: the same listing, with v2 at the origin whatever the client asks for."""
    keys = ["a/1", "a/2", "b", "c/\u00e9/1", "c/\u00e9/2", "d"]
    for key in keys[::2]:
        moto_pair.put_there(key, b"x")
    moto_pair.create()
    for key in keys[1::2]:
        moto_pair.put(key, b"y")
    for size in (1, 2, 3, 1000):
        for version in (1, 2):
            check_walk(moto_pair.here, moto_pair.name, keys, size, "", "/", version)
            check_walk(moto_pair.here, moto_pair.name, keys, size, "", "", version)
