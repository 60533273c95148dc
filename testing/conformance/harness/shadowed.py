"""A bucket with a shadow: both sides, and the proxy between them."""

import itertools

from . import clients
from .proxy import CountingProxy
from .faults import Fault

_numbers = itertools.count(1)


def name(prefix="b"):
    """A bucket name nobody has used."""
    return f"{prefix}-{next(_numbers):04d}"


class Shadowed:
    """A bucket here, its origin, and what lies between."""

    def __init__(self, umbra, origin, org="tests"):
        self.umbra, self.origin, self.org = umbra, origin, org
        self.name, self.origin_name = name(), name("origin")
        self.proxy = CountingProxy(origin.endpoint).start()
        self.there = clients.s3(origin.endpoint, origin.access_key, origin.secret_key, origin.region)
        self.there.create_bucket(Bucket=self.origin_name)
        self.here = None
        self.created = {}

    def flags(self, **changes):
        """The flags that attach, as a list."""
        values = {
            "endpoint": self.proxy.endpoint, "region": self.origin.region, "name": self.origin_name,
            "access-key": self.origin.access_key, "secret-key": self.origin.secret_key, **changes,
        }
        return [part for key, value in values.items() if value is not None for part in (f"--shadow-{key}", value)]

    def create(self, write_through=False, direct=False):
        """Creates the bucket with its shadow; the probe's traffic is forgotten. `direct` is past the proxy: for more requests than it can pass on."""
        more = ["--shadow-write-through"] if write_through else []
        more += self.flags(endpoint=self.origin.endpoint) if direct else self.flags()
        done = self.umbra.storage("create", "-n", self.name, "-o", self.org, *more, "-y")
        self.created = done.values()
        self.connect()
        self.proxy.forget()
        return self

    def connect(self):
        """A client with the bucket's own key."""
        self.here = self.umbra.client(self.created["AWS_ACCESS_KEY_ID"], self.created["AWS_SECRET_ACCESS_KEY"])

    def update(self, *flags, check=True, **options):
        return self.umbra.storage("update", self.name, *flags, check=check, **options)

    # -- one object, either side -------------------------------------------------------------------------------

    def put(self, key, body=b"", **options):
        return self.here.put_object(Bucket=self.name, Key=key, Body=body, **options)

    def get(self, key, **options):
        return self.here.get_object(Bucket=self.name, Key=key, **options)

    def read(self, key, **options):
        return self.get(key, **options)["Body"].read()

    def head(self, key, **options):
        return self.here.head_object(Bucket=self.name, Key=key, **options)

    def delete(self, key):
        return self.here.delete_object(Bucket=self.name, Key=key)

    def put_there(self, key, body=b"", **options):
        return self.there.put_object(Bucket=self.origin_name, Key=key, Body=body, **options)

    def read_there(self, key):
        return clients.read(self.there, self.origin_name, key)

    def is_there(self, key):
        """Whether the origin has the key."""
        return self._exists(self.there, self.origin_name, key)

    def is_here(self, key):
        """Whether a client sees the key: 404 is no, anything else fails."""
        return self._exists(self.here, self.name, key)

    @staticmethod
    def _exists(client, bucket, key):
        try:
            client.head_object(Bucket=bucket, Key=key)
            return True
        except client.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404, error
            return False

    def keys(self, **options):
        return clients.keys_of(clients.walk_v2(self.here, self.name, **options))

    def source(self, key):
        """What HEAD says of where the object lives: `block_shadow` while cold."""
        return clients.headers(self.head(key)).get("x-tigris-read-source")

    def is_cold(self, key):
        return self.source(key) == "block_shadow"

    def fault(self, method=None, key=None, when=None, times=None, after=0, **fault):
        """Adds a fault between the two sides."""
        return self.proxy.rule(Fault(**fault), method, key, when, times, after)

    def close(self):
        self.proxy.close()
