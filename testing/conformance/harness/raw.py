"""Requests made by hand: signatures and framings no client would send."""

import hashlib
import hmac
import socket
from datetime import datetime, timezone
from urllib.parse import quote

EMPTY = hashlib.sha256(b"").hexdigest()


class Answer:
    """A parsed answer."""

    def __init__(self, raw):
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if lines[0].startswith("HTTP/") else 0
        self.headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}

    @property
    def code(self):
        """The S3 error code."""
        start = self.body.find(b"<Code>")
        return self.body[start + 6 : self.body.find(b"</Code>")].decode() if start >= 0 else ""

    def __repr__(self):
        return f"{self.status} {self.code} {self.raw[:300]!r}"


class Signer:
    """SigV4, spelled out."""

    def __init__(self, access_key, secret_key, region="us-east-1"):
        self.access_key, self.secret_key, self.region = access_key, secret_key, region
        self.now = datetime.now(timezone.utc)

    @property
    def amz_date(self):
        return self.now.strftime("%Y%m%dT%H%M%SZ")

    @property
    def scope(self):
        return f"{self.now:%Y%m%d}/{self.region}/s3/aws4_request"

    def key(self):
        key = f"AWS4{self.secret_key}".encode()
        for part in (f"{self.now:%Y%m%d}", self.region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key

    def sign(self, text):
        return hmac.new(self.key(), text.encode(), hashlib.sha256).hexdigest()

    def string_to_sign(self, canonical):
        return "\n".join(["AWS4-HMAC-SHA256", self.amz_date, self.scope, hashlib.sha256(canonical.encode()).hexdigest()])

    def headers(self, method, host, path, query="", payload_hash=EMPTY, extra=None):
        """The signed headers of a request, as a dict; the seed signature is `self.signature`."""
        headers = {"host": host, "x-amz-content-sha256": payload_hash, "x-amz-date": self.amz_date}
        headers.update({k.lower(): v for k, v in (extra or {}).items()})
        names = ";".join(sorted(headers))
        canonical = "\n".join([
            method, path, canonical_query(query), "".join(f"{k}:{headers[k]}\n" for k in sorted(headers)), names, payload_hash,
        ])
        self.signature = self.sign(self.string_to_sign(canonical))
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.access_key}/{self.scope}, SignedHeaders={names}, Signature={self.signature}"
        return headers

    def chunk_signature(self, previous, data):
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.amz_date, self.scope, previous, EMPTY, hashlib.sha256(data).hexdigest()])
        return self.sign(text)

    def trailer_signature(self, previous, name, value):
        digest = hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest()
        return self.sign("\n".join(["AWS4-HMAC-SHA256-TRAILER", self.amz_date, self.scope, previous, digest]))


def canonical_query(query):
    pairs = [part.partition("=") for part in query.split("&") if part]
    return "&".join(f"{k}={v}" for k, _, v in sorted(pairs))


def escape(key):
    return quote(key, safe="/-_.~")


def request(method, target, headers, body=b""):
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def send(address, data, seconds=15, close_write=False, source=None):
    """Sends bytes as they are, from an address of one's own choosing, and reads the answer; an empty one when the server just closed."""
    with socket.create_connection(address, seconds, source and (source, 0)) as sock:
        try:
            sock.sendall(data)
            if close_write:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # answered and closed early: the answer is what counts
        return receive(sock)


def receive(sock):
    """One answer: its head, and as much body as its Content-Length tells."""
    raw = b""
    try:
        while True:
            head, blank, body = raw.partition(b"\r\n\r\n")
            if blank:
                length = _content_length(head)
                if length is not None and len(body) >= length:
                    break
                if head.split(b" ")[1:2] in ([b"204"], [b"304"], [b"100"]):
                    break
                if b"transfer-encoding: chunked" in head.lower() and body.endswith(b"0\r\n\r\n"):
                    break
            data = sock.recv(65536)
            if not data:
                break
            raw += data
    except OSError:
        pass
    return Answer(raw)


def _content_length(head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return None


class Wire:
    """Signs and sends requests for one bucket."""

    def __init__(self, umbra, bucket):
        self.umbra, self.bucket = umbra, bucket

    def signer(self, **changes):
        return Signer(**{"access_key": self.umbra.access_key, "secret_key": self.umbra.secret_key, **changes})

    def call(self, method, path, query="", body=b"", payload_hash=None, signer=None, extra=None, unsigned=None, **sending):
        """A signed request; `unsigned` headers are added behind the signature's back."""
        signer = signer or self.signer()
        path = path.replace("BUCKET", self.bucket)
        payload_hash = payload_hash or hashlib.sha256(body).hexdigest()
        headers = signer.headers(method, self.umbra.listen, path, query, payload_hash, extra)
        # The answer to a HEAD tells a length and has no body: only the end of the connection tells the end of the answer.
        closing = {"connection": "close"} if method == "HEAD" else {}
        headers = {"content-length": len(body), **closing, **headers, **(unsigned or {})}
        target = path + (f"?{query}" if query else "")
        return send(self.umbra.address, request(method, target, headers, body), **sending)


def is_error(answer, status, *codes):
    assert answer.status == status, answer
    assert not codes or answer.code in codes, answer
    assert answer.headers.get("x-amz-request-id"), answer
    assert b"<RequestId>" in answer.body and answer.headers["content-type"].startswith("application/xml")
    return True
