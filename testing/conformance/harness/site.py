"""A server that shows websites too, on an address of their own."""

import http.client
import re

from .umbra import Umbra
from .wait import until


class Site(Umbra):
    """A server that shows websites too."""

    def await_ready(self):
        super().await_ready()
        self.web = until("the address of websites", lambda: re.search(r"websites +http://(127\.0\.0\.1:\d+)", self.stdout()))[1]

    def ask(self, host, path="/", method="GET", body=None, **headers):
        """What the website of `host` answers: status, headers in lower case, body."""
        connection = http.client.HTTPConnection(self.web, timeout=20)
        try:
            connection.request(method, path, body=body, headers={"Host": host, **headers})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()
