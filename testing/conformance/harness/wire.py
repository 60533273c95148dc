"""Just enough HTTP/1.1 to stand between a client and a server and see every byte."""

from urllib.parse import unquote, urlsplit

CHUNK = 64 * 1024


class Closed(Exception):
    """The peer ended the connection where more was due."""


class Reader:
    """A socket read by lines, by counts, and as message bodies."""

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""

    def _fill(self):
        data = self.sock.recv(CHUNK)
        if not data:
            raise Closed
        self.buffer += data

    def head(self):
        """A message head, blank line included; None when the peer closed between messages."""
        while b"\r\n\r\n" not in self.buffer:
            try:
                self._fill()
            except Closed:
                if self.buffer:
                    raise
                return None
        end = self.buffer.index(b"\r\n\r\n") + 4
        head, self.buffer = self.buffer[:end], self.buffer[end:]
        return head

    def some(self, limit):
        """At least one byte, at most `limit`."""
        if not self.buffer:
            self._fill()
        data, self.buffer = self.buffer[:limit], self.buffer[limit:]
        return data

    def line(self):
        while b"\r\n" not in self.buffer:
            self._fill()
        end = self.buffer.index(b"\r\n") + 2
        line, self.buffer = self.buffer[:end], self.buffer[end:]
        return line

    def body(self, framing):
        """The body as (payload, wire bytes) pairs, for a framing as `framing_of` tells it."""
        if framing == "chunked":
            yield from self._chunked()
        elif framing == "close":
            try:
                while True:
                    data = self.some(CHUNK)
                    yield data, data
            except Closed:
                return
        else:
            left = framing
            while left:
                data = self.some(min(left, CHUNK))
                left -= len(data)
                yield data, data

    def _chunked(self):
        while True:
            line = self.line()
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while True:
                    trailer = self.line()
                    line += trailer
                    if trailer == b"\r\n":
                        yield b"", line
                        return
            yield b"", line
            left = size
            while left:
                data = self.some(min(left, CHUNK))
                left -= len(data)
                yield data, data
            yield b"", self.line()


class Head:
    """A parsed message head: first line and headers in order."""

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.first = lines[0]
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if line]

    def get(self, name, default=None):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return default

    def set(self, name, value):
        """Replaces a header; None removes it."""
        self.headers = [(k, v) for k, v in self.headers if k.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, str(value)))

    def bytes(self):
        lines = [self.first] + [f"{k}: {v}" for k, v in self.headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def status(self):
        return int(self.first.split(" ")[1])


def request_framing(head):
    if "chunked" in (head.get("transfer-encoding") or "").lower():
        return "chunked"
    return int(head.get("content-length") or 0)


def response_framing(head, method):
    if method == "HEAD" or head.status in (204, 304) or head.status < 200:
        return 0
    if "chunked" in (head.get("transfer-encoding") or "").lower():
        return "chunked"
    length = head.get("content-length")
    return "close" if length is None else int(length)


def split_target(target):
    """The bucket, the key (decoded) and the query of a path-style request target."""
    path, _, query = target.partition("?")
    if path.startswith("http"):
        path = urlsplit(path).path
    bucket, _, key = path.lstrip("/").partition("/")
    return unquote(bucket), unquote(key, errors="surrogateescape"), query
