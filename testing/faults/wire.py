"""A small S3 client: one connection to each node, no retries, every answer as it came."""

import http.client
import re
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote

from harness.raw import Signer, escape

SECONDS = 45


class NotSent(Exception):
    """The node was not reached: nothing can have happened."""


class Lost(Exception):
    """No answer, or not all of it."""


class Answer:
    """An answer, read whole."""

    def __init__(self, node, status, headers, body):
        self.node, self.status, self.headers, self.body = node, status, headers, body

    @property
    def code(self):
        found = re.search(rb"<Code>(\w+)</Code>", self.body)
        return found.group(1).decode() if found else ""

    @property
    def etag(self):
        return self.headers.get("etag")

    def xml(self):
        """The document, without its namespace."""
        return ElementTree.fromstring(re.sub(rb' xmlns="[^"]*"', b"", self.body, count=1))

    def __str__(self):
        return f"{self.status} {self.code}".strip()


class Connection:
    """Speaks to one node."""

    def __init__(self, node, keys):
        self.node, self.server, self.keys = node, node.server, keys
        self.http = None

    def call(self, method, bucket, key="", query="", body=b"", headers=None):
        """Sends a request; raises `NotSent` or `Lost`, or answers."""
        path = f"/{bucket}/{escape(key)}" if key else f"/{bucket}"
        host = self.server.listen
        signed = Signer(*self.keys).headers(method, host, path, query, "UNSIGNED-PAYLOAD", headers)
        del signed["host"]
        target = path + (f"?{query}" if query else "")
        is_fresh = self.http is None
        try:
            if is_fresh:
                self.http = http.client.HTTPConnection(host, timeout=SECONDS)
                self.http.connect()
        except OSError as error:
            self.close()
            raise NotSent(repr(error)) from None
        try:
            self.http.request(method, target, body, signed)
            response = self.http.getresponse()
            found = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(type(error).__name__) from None
        answer = Answer(self.node, response.status, {k.lower(): v for k, v in response.getheaders()}, found)
        if response.will_close:
            self.close()
        return answer

    def close(self):
        if self.http:
            self.http.close()
            self.http = None


def query(**values):
    """A query in canonical form."""
    return "&".join(f"{name.replace('_', '-')}={quote(str(value), safe='-_.~')}" for name, value in sorted(values.items()))
