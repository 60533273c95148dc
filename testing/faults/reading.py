"""What clients read: every byte, ETag and listing is held against what was written."""

import time

from .client import KEYS, NEWEST, Undone
from .wire import Lost, NotSent, query

LAST = "\U0010ffff"


def check_content(traffic, where, answer, first=None):
    """The content of an answer is that of its ETag, whole, or from `first` on."""
    content = traffic.contents.of(answer.etag)
    if content is None:
        traffic.wrong(f"{where}: an ETag that nobody wrote: {answer.headers}")
        raise Undone
    body = traffic.contents.body(content)
    if answer.headers.get("x-amz-meta-write") != content.name:
        traffic.wrong(f"{where}: {content} with the metadata of another write: {answer.headers}")
    if first is None:
        is_right = answer.body == body
    else:
        is_right = answer.body == body[first : first + len(answer.body)] and answer.headers.get("content-range", "").endswith(f"/{len(body)}")
    if not is_right:
        traffic.wrong(f"{where}: not the bytes of {content}: {len(answer.body)} bytes, {answer.headers}")


def saw(client, judge, op, answer):
    """Tells the judge what was seen of the key."""
    if client.is_blind(op):
        judge.forget(op)
    elif answer.status == 404:
        judge.end(op, "404", ("in", frozenset([None])))
    elif answer.status == 416:
        judge.end(op, "416", ("out", frozenset([None])))
    else:
        judge.end(op, f"{answer.status} {answer.etag}", ("in", frozenset([answer.etag])))


def get(client):
    bucket, key, judge = client.key()
    op, answer = client.look(judge, "GET", "GET", bucket, key)
    saw(client, judge, op, answer)
    if answer.status == 200:
        check_content(client.traffic, f"GET {bucket}/{key}", answer)


def get_range(client):
    bucket, key, judge = client.key()
    first = client.rng.choice([0, client.rng.randint(0, 3000), client.rng.randint(0, 80_000)])
    last = first + client.rng.randint(0, 50_000)
    op, answer = client.look(judge, f"RANGE {first}-{last}", "GET", bucket, key, headers={"range": f"bytes={first}-{last}"})
    saw(client, judge, op, answer)
    if answer.status == 206:
        check_content(client.traffic, f"GET {bucket}/{key} {first}-{last}", answer, first)


def head(client):
    bucket, key, judge = client.key()
    saw(client, judge, *client.look(judge, "HEAD", "HEAD", bucket, key))


def get_cold(client):
    """Of what lives at the origin, and nobody writes: as time goes by, other keys."""
    traffic, rng = client.traffic, client.rng
    keys = sorted(traffic.cold)
    at = int(traffic.progress() * len(keys))
    key = keys[min(len(keys) - 1, max(0, at - rng.randint(0, 8)))]
    content = traffic.contents.of(traffic.cold[key])
    headers, first = {}, None
    if rng.random() < 0.4:
        first = rng.randrange(content.size)
        headers["range"] = f"bytes={first}-{min(content.size - 1, first + rng.randint(0, 400_000))}"
    try:
        answer = client.call("COLD", "GET", "shadowed", key, headers=headers)
    except (Lost, NotSent):
        return
    if answer.status in (200, 206):
        check_content(traffic, f"GET shadowed/{key}", answer, first)
    elif answer.status != 503:
        traffic.wrong(f"GET shadowed/{key}: {answer} of what has always been there")


def list_objects(client):
    """Walks through a prefix, page by page; what a page shows, and does not show, is an answer for every key."""
    traffic = client.traffic
    bucket, prefix = client.bucket(), client.rng.choice(["a/", "b/", "c/", ""])
    max_keys, token, after = client.rng.choice([2, 5, 1000]), None, ""
    keys = [key for key in KEYS[bucket] if key.startswith(prefix)]
    while True:
        through, headers, age = client.view(bucket)
        what = f"LIST {prefix} {max_keys} at {through.node.name}{'' if age else ' now'}"
        ops = {key: traffic.judges[bucket, key].begin(what, region=through.node.region, age=age) for key in keys if key > after}
        page = None
        try:
            more = {"continuation-token": token} if token else {}
            asked = query(**{"list-type": 2, "prefix": prefix, "max-keys": max_keys, **more})
            answer = client.call("LIST", "GET", bucket, query=asked, through=through, headers=headers)
            page = answer.xml() if answer.status == 200 else None
        except (Lost, NotSent):
            pass
        if page is None:
            for key, op in ops.items():
                traffic.judges[bucket, key].forget(op)
            raise Undone
        shown = {entry.findtext("Key"): entry.findtext("ETag") for entry in page.iter("Contents")}
        is_truncated = page.findtext("IsTruncated") == "true"
        if list(shown) != sorted(shown) or len(shown) > max_keys or (is_truncated and not shown):
            traffic.wrong(f"LIST {bucket} {prefix} behind {after}: out of order, too long, or empty: {list(shown)}")
        end = max(shown) if is_truncated and shown else LAST
        _tell(client, bucket, ops, shown, after, end)
        token, after = page.findtext("NextContinuationToken"), end
        if not is_truncated:
            return


def _tell(client, bucket, ops, shown, after, end):
    traffic = client.traffic
    for key, op in ops.items():
        judge = traffic.judges[bucket, key]
        if key > end or client.is_blind(op):
            judge.forget(op)
        else:
            tag = shown.get(key)
            judge.end(op, f"listed {tag}", ("in", frozenset([tag])))
    strangers = [key for key in shown if key not in ops and not key.startswith("probe-") and not (bucket == "shadowed" and key in traffic.cold)]
    if strangers:
        traffic.wrong(f"LIST {bucket} behind {after!r}: keys nobody wrote: {strangers}")
    if bucket == "shadowed" and any(key.startswith("cold/") for key in shown):
        low = max(after, "cold/")
        wrong = [key for key, tag in traffic.cold.items() if low < key <= end and shown.get(key) != tag]
        if wrong:
            traffic.wrong(f"LIST {bucket} behind {after!r}: what lives at the origin is missing or another: {wrong[:5]}")


def get_version(client):
    _, key, _ = client.key("versioned")
    version = client.traffic.versions.some(client.rng, key)
    if version is None:
        return
    was_deleted = version.deleted
    try:
        answer = client.call("GETVERSION", "GET", "versioned", key, query(versionId=version.name), headers=NEWEST)
    except (Lost, NotSent):
        return
    where = f"GET versioned/{key}, version {version}"
    if answer.status == 200:
        if was_deleted or answer.etag != version.tag:
            client.traffic.wrong(f"{where}: {answer} {answer.headers}")
        check_content(client.traffic, where, answer)
    elif answer.status == 404 and not version.deleting:
        client.traffic.wrong(f"{where}: {answer}")


def list_versions(client, key=None):
    key = key or client.key("versioned")[1]
    known = client.traffic.versions
    begun, listed, marker = time.monotonic(), [], {}
    while True:
        try:
            answer = client.call("VERSIONS", "GET", "versioned", query=query(versions="", prefix=key, **marker), headers=NEWEST)
        except (Lost, NotSent):
            return None
        if answer.status != 200:
            return None
        page = answer.xml()
        for entry in page:
            if entry.tag in ("Version", "DeleteMarker"):
                listed.append((entry.findtext("VersionId"), entry.findtext("ETag"), entry.findtext("IsLatest") == "true"))
        if page.findtext("IsTruncated") != "true":
            break
        marker = {"key-marker": page.findtext("NextKeyMarker"), "version-id-marker": page.findtext("NextVersionIdMarker")}
    known.check(key, listed, begun)
    return listed
