"""What a listing must say: a few lines over sorted keys, against which every page is held."""

from .clients import walk_v1, walk_v2


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
