"""What is written: contents that name their key and their write, found again by their ETag."""

import random
import threading
from collections import OrderedDict

from harness.data import etag, multipart_etag

CACHED_BYTES = 64 * 1024**2


class Content:
    """Bytes that no other write has. `parts` are the sizes of an upload's parts."""

    def __init__(self, name, parts):
        self.name, self.parts = name, tuple(parts)

    @property
    def size(self):
        return sum(self.parts)

    def body(self):
        head = f"{self.name} {self.size}\n".encode()
        return head + random.Random(self.name).randbytes(self.size - len(head))

    def pieces(self):
        body, at, pieces = self.body(), 0, []
        for size in self.parts:
            pieces.append(body[at : at + size])
            at += size
        return pieces

    def __repr__(self):
        return f"{self.name} ({self.size} B in {len(self.parts)})"


class Contents:
    """Every content there ever was."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_etag, self.etags_of, self.count = {}, {}, 0
        self.cache, self.cached = OrderedDict(), 0

    def make(self, bucket, key, *parts, in_parts=False):
        """A new content for a key, and its ETag: that of an upload in parts, or of a plain one."""
        with self.lock:
            self.count += 1
            number = self.count
        made = Content(f"{bucket}/{key}#{number}", parts)
        pieces = made.pieces()
        whole = b"".join(pieces)
        tags = [multipart_etag(pieces), etag(whole)] if in_parts else [etag(whole)]
        with self.lock:
            for tag in tags:
                self.by_etag[tag] = made
            self.etags_of[made.name] = frozenset(tags)
            self._keep(made.name, whole)
        return made, tags[0]

    def of(self, tag):
        """The content with an ETag; none when nobody wrote it."""
        return self.by_etag.get(tag)

    def alike(self, tag):
        """The ETags that copies of what has this one may have."""
        content = self.of(tag)
        return self.etags_of[content.name] if content else frozenset([tag])

    def body(self, content):
        with self.lock:
            if content.name in self.cache:
                self.cache.move_to_end(content.name)
                return self.cache[content.name]
        body = content.body()
        with self.lock:
            self._keep(content.name, body)
        return body

    def _keep(self, name, body):
        if name not in self.cache:
            self.cache[name] = body
            self.cached += len(body)
        while self.cached > CACHED_BYTES:
            self.cached -= len(self.cache.popitem(last=False)[1])

