"""Organizations beside the one that most tests share."""

from . import clients
from .shadowed import name


class Org:
    """An organization of its own; `client()` gives it keys."""

    def __init__(self, umbra, prefix="org"):
        self.umbra, self.name = umbra, name(prefix)
        umbra.run("org", "create", self.name, check=True)

    def key(self, role="admin", bucket=None):
        """The id and the secret of a new key."""
        scope = ["--bucket", bucket] if bucket else []
        made = self.umbra.run("key", "create", "--org", self.name, "--role", role, *scope, "--json", check=True).json()
        return made["access_key"], made["secret_key"]

    def client(self, role="admin", bucket=None):
        """An S3 client with a new key; the key's id is its `key_id`."""
        key_id, secret = self.key(role, bucket)
        client = clients.s3(self.umbra.endpoint, key_id, secret)
        client.key_id = key_id
        return client
