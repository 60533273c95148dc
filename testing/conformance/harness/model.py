"""What a listing must say: a few lines over sorted keys, against which every page is held."""

import bisect
import math
import threading
import time
from contextlib import contextmanager

from .clients import walk_v1, walk_v2

LAST = "\U0010ffff"


def entries(keys, prefix="", delimiter="", after=""):
    """The listing in UTF-8 byte order: ("key", k) and ("prefix", p), each prefix once."""
    found = []
    for key in sorted(set(keys), key=str.encode):
        if not key.startswith(prefix) or (after and key.encode() <= after.encode()):
            continue
        rest = key[len(prefix):]
        cut = rest.find(delimiter) if delimiter else -1
        entry = ("key", key) if cut < 0 else ("prefix", prefix + rest[: cut + len(delimiter)])
        if not found or found[-1] != entry:
            found.append(entry)
    return found


def entries_of(page):
    """The entries of one page, in order."""
    found = [("key", c["Key"]) for c in page.get("Contents", [])] + [("prefix", p["Prefix"]) for p in page.get("CommonPrefixes", [])]
    return sorted(found, key=lambda e: e[1].encode())


def check_walk(client, bucket, keys, max_keys, prefix="", delimiter="", version=2, full_pages=False):
    """Walks a listing page by page and holds it against the model."""
    options = dict(Prefix=prefix, MaxKeys=max_keys)
    if delimiter:
        options["Delimiter"] = delimiter
    pages = (walk_v2 if version == 2 else walk_v1)(client, bucket, **options)
    walked = []
    for page in pages:
        here = entries_of(page)
        for group in (page.get("Contents", []), page.get("CommonPrefixes", [])):
            names = [e.get("Key", e.get("Prefix")) for e in group]
            assert names == sorted(names, key=str.encode), "out of order within a page"
        assert len(here) <= max_keys, f"{len(here)} entries on a page of {max_keys}"
        if version == 2:
            assert page["KeyCount"] == len(here)
        if page["IsTruncated"]:
            assert here, "an empty page that is truncated"
            if full_pages:
                assert len(here) == max_keys, "a short page that is truncated"
        walked += here
    assert walked == entries(keys, prefix, delimiter), f"v{version} max-keys={max_keys} prefix={prefix!r} delimiter={delimiter!r}"
    return pages


class Living:
    """The objects of a bucket while somebody writes: what a page must show of keys that nobody touched while it was made.

    Python compares texts by code points, which is the order of their UTF-8 bytes.
    """

    def __init__(self, objects):
        self.objects = dict(objects)
        self.ordered = sorted(self.objects)
        self.touched = {}
        self.lock = threading.Lock()

    @contextmanager
    def writing(self, key, after):
        """Around a write that leaves `after`, size and ETag, or None. One that fails leaves the key in doubt for ever."""
        with self.lock:
            self.touched[key] = math.inf
        yield
        with self.lock:
            at = bisect.bisect_left(self.ordered, key)
            is_there = key in self.objects
            if after is not None:
                self.objects[key] = after
                if not is_there:
                    self.ordered.insert(at, key)
            elif is_there:
                del self.objects[key], self.ordered[at]
            self.touched[key] = time.monotonic()

    def check_page(self, page, begun, start="", prefix="", delimiter=""):
        """Holds a page that was asked for at `begun` and begins behind `start` against the model; returns the last name it shows."""
        shown = entries_of(page)
        assert shown == sorted(set(shown), key=lambda entry: entry[1]), "out of order, or twice"
        assert all(name > start for _, name in shown), f"not behind {start!r}"
        end = shown[-1][1] if page["IsTruncated"] else LAST * 2
        with self.lock:
            recent = {key for key, ended in self.touched.items() if ended >= begun}
            must = self._must(recent, start, end, prefix, delimiter)
            objects = {name: self.objects.get(name) for kind, name in shown if kind == "key" and name not in recent}
        may = set(entries(recent, prefix, delimiter))
        found = set(shown)
        assert must <= found, f"missing behind {start!r}: {sorted(must - found)[:5]}"
        assert found <= must | may, f"not in the bucket: {sorted(found - must - may)[:5]}"
        for content in page.get("Contents", []):
            if content["Key"] in objects:
                assert (content["Size"], content["ETag"]) == objects[content["Key"]], content["Key"]
        return end

    def _must(self, recent, start, end, prefix, delimiter):
        """The entries behind `start`, up to `end`, that keys outside of `recent` make."""
        must, at = set(), bisect.bisect_left(self.ordered, max(prefix, start))
        while at < len(self.ordered) and self.ordered[at].startswith(prefix):
            key = self.ordered[at]
            at += 1
            if key in recent:
                continue
            ((kind, name),) = entries([key], prefix, delimiter)
            if name > end:
                break
            if name > start:
                must.add((kind, name))
            if kind == "prefix":
                at = bisect.bisect_left(self.ordered, name + LAST)
        return must
