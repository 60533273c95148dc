"""What clients write, and what the judges are told of it."""

import base64
import hashlib
import time
from xml.sax.saxutils import escape as escape_xml

from .client import KEYS, Undone
from .wire import Lost, NotSent, query

GONE = frozenset([None])
MIB = 1024**2
ATTEMPTS = 3


def inverse(needs):
    return ("out" if needs[0] == "in" else "in", needs[1])


def put(client):
    """Some of them on a condition."""
    bucket, key, judge = client.key(writes=True)
    traffic = client.traffic
    content, tag = traffic.contents.make(bucket, key, client.size())
    headers, needs, said = {"x-amz-meta-write": content.name}, None, ""
    lot = client.rng.random()
    if lot < 0.1:
        headers["if-none-match"], needs, said = "*", ("in", GONE), " if absent"
    elif lot < 0.25:
        expected = judge.latest
        if expected:
            headers["if-match"], needs, said = expected, ("in", frozenset([expected])), f" if {expected}"
    op = _begin(client, bucket, key, judge, f"PUT {tag}{said}", [tag])
    answer = client.change(judge, op, needs, [tag], "PUT", bucket, key, body=traffic.contents.body(content), headers=headers)
    if answer.status == 412 and needs:
        judge.end(op, "412", inverse(needs))
    elif answer.status == 404 and "if-match" in headers:
        judge.end(op, "404", ("in", GONE))
    elif answer.status == 200 and answer.etag == tag:
        _done(client, bucket, key, judge, op, answer, tag, needs)
    else:
        _strange(client, judge, op, answer, needs, [tag])


def delete(client):
    bucket, key, judge = client.key(writes=True)
    op = _begin(client, bucket, key, judge, "DELETE", [None])
    answer = client.change(judge, op, None, [None], "DELETE", bucket, key)
    if answer.status == 204:
        _done(client, bucket, key, judge, op, answer, None)
    else:
        _strange(client, judge, op, answer, None, [None])


def delete_several(client):
    """Several keys by one request, each with an answer of its own. Not of the bucket with versions, whose answers name none of them here."""
    bucket = client.rng.choice(["plain", "shadowed", "dual"])
    traffic, keys = client.traffic, client.rng.sample(KEYS[bucket], client.rng.randint(2, 5))
    body = f"<Delete>{''.join(f'<Object><Key>{escape_xml(key)}</Key></Object>' for key in keys)}</Delete>".encode()
    headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
    judges = {key: traffic.judges[bucket, key] for key in keys}
    ops = {key: judge.begin("DELETE of several", [None]) for key, judge in judges.items()}
    try:
        answer = client.call("DELETES", "POST", bucket, query="delete=", body=body, headers=headers)
    except NotSent:
        [judges[key].forget(op) for key, op in ops.items()]
        return
    except Lost:
        answer = None
    done = {entry.findtext("Key") for entry in answer.xml().iter("Deleted")} if answer and answer.status == 200 else set()
    for key, op in ops.items():
        if key in done:
            op.region = answer.node.region
            judges[key].end(op, "deleted", puts=None)
        else:
            judges[key].doubt(op, str(answer), puts=[None])


def copy(client):
    """Within a bucket or from one to another. Of what was not answered nobody can tell what was copied."""
    traffic, rng = client.traffic, client.rng
    from_bucket, from_key, source = client.key()
    bucket, key, judge = client.key(writes=True)
    if source is judge:
        raise Undone
    read = source.begin(f"COPY to {bucket}/{key}")
    op = _begin(client, bucket, key, judge, f"COPY from {from_bucket}/{from_key}", [])
    try:
        answer = client.call("COPY", "PUT", bucket, key, headers={"x-amz-copy-source": f"/{from_bucket}/{from_key}"})
    except NotSent:
        source.forget(read)
        judge.forget(op)
        return
    except Lost:
        answer = None
    if answer and answer.status == 404:
        source.end(read, "404", ("in", GONE))
        judge.forget(op)
    elif answer and answer.status == 200 and b"<Error>" not in answer.body:
        tag = answer.xml().findtext("ETag")
        source.end(read, f"copied as {tag}", ("in", traffic.contents.alike(tag)))
        if traffic.contents.of(tag) is None:
            traffic.wrong(f"COPY {from_bucket}/{from_key} to {bucket}/{key}: {tag} was written by nobody")
        _done(client, bucket, key, judge, op, answer, tag)
    else:
        source.forget(read)
        tags = {other for tag in source.candidates() if tag for other in traffic.contents.alike(tag)}
        judge.doubt(op, str(answer), None, rng.sample(sorted(tags), len(tags)))


def upload(client):
    """An upload in parts, each through another node; some are given up, and some completions asked for again when no answer came."""
    bucket, key, judge = client.key(writes=True)
    traffic, rng = client.traffic, client.rng
    sizes = [5 * MIB, rng.randint(100, 100_000)] if rng.random() < 0.06 else [rng.randint(100, 200_000)]
    content, tag = traffic.contents.make(bucket, key, *sizes, in_parts=True)
    answer = _insist(client, "CREATE", "POST", bucket, key, "uploads=", headers={"x-amz-meta-write": content.name})
    name = answer.xml().findtext("UploadId")
    parts = []
    for number, piece in enumerate(content.pieces(), 1):
        answer = _insist(client, "PART", "PUT", bucket, key, query(partNumber=number, uploadId=name), piece)
        parts.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{escape_xml(answer.etag)}</ETag></Part>")
    if rng.random() < 0.1:
        _insist(client, "ABORT", "DELETE", bucket, key, query(uploadId=name))
        return
    body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>".encode()
    op = _begin(client, bucket, key, judge, f"COMPLETE {tag}", [tag])
    told = ""
    for attempt in range(ATTEMPTS):
        try:
            answer = client.call("COMPLETE", "POST", bucket, key, query(uploadId=name), body)
        except (Lost, NotSent) as error:
            answer, told = None, told + f" {error}"
        if answer and answer.status == 200 and b"<Error>" not in answer.body:
            if answer.xml().findtext("ETag") != tag:
                traffic.wrong(f"COMPLETE {bucket}/{key}: {answer.body!r} instead of {tag}")
            _done(client, bucket, key, judge, op, answer, tag)
            return
        told += f" {answer}"
        if answer and answer.status == 404:
            if attempt == 0:
                traffic.wrong(f"COMPLETE {bucket}/{key}: {answer} of an upload that was not completed")
            break
        time.sleep(rng.random() * 3)
    judge.doubt(op, told, None, [tag])


def delete_version(client, key=None):
    """Of one that has been replaced."""
    key = key or client.key("versioned")[1]
    version = client.traffic.versions.replaced(client.rng, key)
    if version is None:
        return
    try:
        answer = client.call("DELVERSION", "DELETE", "versioned", key, query(versionId=version.name))
    except (Lost, NotSent):
        return
    if answer.status == 204:
        version.deleted = time.monotonic()


def _insist(client, what, *args, **kwargs):
    """Asks until it is answered, a few times."""
    for _ in range(ATTEMPTS):
        try:
            answer = client.call(what, *args, **kwargs)
        except (Lost, NotSent):
            continue
        if answer.status in (200, 204):
            return answer
        if answer.status == 404 and what == "ABORT":
            break
        time.sleep(client.rng.random() * 2)
    raise Undone


def _begin(client, bucket, key, judge, what, tags):
    if bucket == "versioned":
        client.traffic.versions.attempt(key, tags)
    return judge.begin(what, tags)


def _done(client, bucket, key, judge, op, answer, tag, needs=None):
    op.region = answer.node.region
    judge.end(op, str(answer.status), needs, tag)
    if bucket == "versioned":
        client.traffic.versions.add(key, answer, tag, op.begun)
        if client.rng.random() < 0.5:
            delete_version(client, key)


def _strange(client, judge, op, answer, needs, puts):
    client.traffic.wrong(f"{judge.name}: {op.what}: {answer} {answer.headers}")
    judge.doubt(op, str(answer), needs, puts)
