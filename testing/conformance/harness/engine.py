"""SeaweedFS as the engine that keeps a server's contents, and a server that keeps them there."""

import atexit
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from . import clients
from .seaweed import SeaweedFS

BUCKET = "contents"
_shared = None


class Engine:
    """A SeaweedFS with a bucket for contents."""

    def __init__(self, directory, host="127.0.0.1"):
        self.seaweed = SeaweedFS(directory, host)

    def start(self):
        self.seaweed.start()
        self.client().create_bucket(Bucket=BUCKET)
        return self

    def client(self):
        return clients.s3(self.seaweed.endpoint, self.seaweed.access_key, self.seaweed.secret_key, retries=True)

    def stop(self):
        self.seaweed.stop()

    def url(self, prefix, endpoint=None):
        return f"s3://{BUCKET}/{prefix}?endpoint={endpoint or self.seaweed.endpoint}&region=us-east-1"

    def env(self):
        """The environment of a server that keeps its contents here."""
        return {"UMBRA_BLOBS_ACCESS_KEY": self.seaweed.access_key, "UMBRA_BLOBS_SECRET_KEY": self.seaweed.secret_key}

    def keys(self, prefix):
        """The contents under a prefix."""
        return [key for key in self.all_keys(prefix) if "/badge/" not in key]

    def badges(self, prefix):
        """By what servers know that these are their contents."""
        return [key for key in self.all_keys(prefix) if "/badge/" in key]

    def all_keys(self, prefix):
        return clients.keys_of(clients.walk_v2(self.client(), BUCKET, Prefix=f"{prefix}/"))


def of_all(directory):
    """Flags and environment of a server in `directory`, when CONFORMANCE_BLOBS=s3 wants all contents at SeaweedFS; nothing otherwise."""
    if os.environ.get("CONFORMANCE_BLOBS") != "s3":
        return [], {}
    global _shared
    if _shared is None:
        kept = tempfile.mkdtemp(prefix="umbra-contents-")
        # The process itself ends with the session, like all that were started.
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        _shared = Engine(Path(kept) / "s").start()
    prefix = hashlib.md5(str(directory).encode()).hexdigest()
    return ["--blobs", _shared.url(prefix), "--blob-cache-bytes", os.environ.get("CONFORMANCE_BLOB_CACHE", str(256 * 1024**2))], _shared.env()
