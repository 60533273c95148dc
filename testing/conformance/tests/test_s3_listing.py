"""Listings of a bucket without a shadow, against a model.

Holds "Where this page is silent, do what Amazon S3 does".
"""

import random
import xml.etree.ElementTree as ElementTree

import pytest

from harness.clients import keys_of, refused, walk_v1, walk_v2
from harness.model import check_walk, entries, entries_of
from harness.raw import Signer, request, send
from harness.shadowed import name


def random_keys(seed, count):
    """Keys that share prefixes, hold delimiters, and differ in the high bytes."""
    rng = random.Random(seed)
    alphabet = ["a", "b", "/", "//", "-", ".", "\u00e9", "\ue000", "\U0001f600", "z", "%", "+", " "]
    keys = set()
    while len(keys) < count:
        keys.add("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 7))))
    return sorted(keys, key=str.encode)


@pytest.fixture(scope="module")
def listed(umbra):
    """A bucket with sixty keys, and the keys."""
    bucket = name("listed")
    client = umbra.client()
    client.create_bucket(Bucket=bucket)
    keys = random_keys(1, 60)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    return client, bucket, keys


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("max_keys", [1, 2, 3, 4, 5, 6, 7, 1000])
def test_against_the_model(listed, version, max_keys):
    """Every page size, with prefixes and delimiters, walks exactly the model's listing, in full pages."""
    client, bucket, keys = listed
    for prefix, delimiter in (("", ""), ("", "/"), ("a", "/"), ("a/", "/"), ("", "//"), ("b", ""), ("\u00e9", "a"), ("", "\U0001f600"), ("nothing", "/")):
        check_walk(client, bucket, keys, max_keys, prefix, delimiter, version, full_pages=True)


def test_start_after_and_marker(listed):
    """start-after and marker begin behind a key, whether it exists or not."""
    client, bucket, keys = listed
    for after in (keys[0], keys[30], keys[-1], "a", "b/zzz", "\U0010ffff", "!"):
        expected = [k for _, k in entries(keys, after=after)]
        assert keys_of(walk_v2(client, bucket, StartAfter=after, MaxKeys=7)) == expected
        assert keys_of(walk_v1(client, bucket, Marker=after, MaxKeys=7)) == expected


def test_fields(listed, c):
    """A page repeats what was asked, and tells key, size, ETag, date and class of each object; v2 tells owners when asked."""
    client, bucket, keys = listed
    page = client.list_objects_v2(Bucket=bucket, Prefix="a", Delimiter="/", MaxKeys=3, StartAfter="a")
    assert (page["Name"], page["Prefix"], page["Delimiter"], page["MaxKeys"], page["StartAfter"]) == (bucket, "a", "/", 3, "a")
    entry = client.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert {"Key", "Size", "ETag", "LastModified", "StorageClass"} <= set(entry) and "Owner" not in entry
    assert entry["StorageClass"] == "STANDARD"
    assert "Owner" in client.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]
    assert "Owner" in client.list_objects(Bucket=bucket)["Contents"][0]


def test_limits(listed):
    """max-keys 0 is an empty page that is not truncated; more than 1,000 means 1,000; a negative or wordy one is refused."""
    client, bucket, keys = listed
    for call in (client.list_objects_v2, client.list_objects):
        page = call(Bucket=bucket, MaxKeys=0)
        assert not page["IsTruncated"] and "Contents" not in page
        assert len(call(Bucket=bucket, MaxKeys=5000)["Contents"]) == len(keys)
        assert refused(call, Bucket=bucket, MaxKeys=-1).code == "InvalidArgument"
    assert refused(client.list_objects_v2, Bucket=bucket, ContinuationToken="nonsense").code == "InvalidArgument"


def test_next_marker_only_with_a_delimiter(listed):
    """v1 tells NextMarker only when a delimiter was given."""
    client, bucket, _ = listed
    assert "NextMarker" not in client.list_objects(Bucket=bucket, MaxKeys=2)
    page = client.list_objects(Bucket=bucket, MaxKeys=2, Delimiter="/")
    assert page["NextMarker"] == entries_of(page)[-1][1]


def test_encoding_type(umbra, c, bucket):
    """encoding-type=url encodes keys and prefixes; without it XML must still be well formed."""
    for key in ("a b/c+d", "\u00e9&<>\"'", "x%y"):
        c.put_object(Bucket=bucket, Key=key, Body=b"")
    assert _listed_keys(umbra, bucket, "list-type=2") == ["a b/c+d", "x%y", "\u00e9&<>\"'"]
    encoded = _listed_keys(umbra, bucket, "encoding-type=url&list-type=2")
    assert [key.replace("%20", "+") for key in encoded] == ["a+b/c%2Bd", "x%25y", "%C3%A9%26%3C%3E%22%27"]


def _listed_keys(umbra, bucket, query):
    """The keys as they stand in the answer: boto3 would decode them."""
    headers = Signer(umbra.access_key, umbra.secret_key).headers("GET", umbra.listen, f"/{bucket}", query)
    answer = send(umbra.address, request("GET", f"/{bucket}?{query}", {**headers, "connection": "close"}))
    assert answer.status == 200, answer
    tree = ElementTree.fromstring(answer.body)
    return [e.text for e in tree.iter("{http://s3.amazonaws.com/doc/2006-03-01/}Key")]


def test_changes_during_a_walk(c, bucket):
    """Keys written or deleted behind the cursor do not disturb a walk; keys that stay are seen exactly once."""
    keys = [f"k{n:03d}" for n in range(40)]
    for key in keys:
        c.put_object(Bucket=bucket, Key=key, Body=b"x")
    seen, options = [], {}
    while True:
        page = c.list_objects_v2(Bucket=bucket, MaxKeys=3, **options)
        seen += [o["Key"] for o in page.get("Contents", [])]
        c.delete_object(Bucket=bucket, Key=seen[-1])
        c.put_object(Bucket=bucket, Key="a" + seen[-1], Body=b"x")
        if not page["IsTruncated"]:
            break
        options = dict(ContinuationToken=page["NextContinuationToken"])
    assert seen == keys


def test_reads_follow_writes(c, bucket):
    """A listing shows what was acknowledged before it began."""
    for number in range(30):
        key = f"k{number:03d}"
        c.put_object(Bucket=bucket, Key=key, Body=b"x")
        assert keys_of(walk_v2(c, bucket))[-1] == key
        if number % 3 == 0:
            c.delete_object(Bucket=bucket, Key=key)
            assert key not in keys_of(walk_v2(c, bucket))
