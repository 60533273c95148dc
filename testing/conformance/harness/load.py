"""A mixed load of writes, and a model of what was acknowledged and what may have happened."""

import hashlib
import random
import threading

from botocore.exceptions import BotoCoreError, ClientError

from . import clients
from .data import KIB, MIB

GONE = "gone"


def body_of(tag, size):
    """The content a tag stands for: the model keeps tags and digests, not bodies."""
    return random.Random(tag).randbytes(size)


def digest(data):
    return hashlib.md5(data).hexdigest()


class KeyState:
    """What may be read of one key: the last acknowledged state, and whatever has been in doubt since."""

    def __init__(self):
        self.possible = {GONE}

    def attempt(self, state):
        self.possible.add(state)

    def acknowledge(self, state):
        self.possible = {state}


class Worker(threading.Thread):
    """Writes to keys of its own, one at a time, until told to stop; survives the server's death."""

    def __init__(self, number, bucket, seed):
        super().__init__(daemon=True)
        self.number, self.bucket = number, bucket
        self.rng = random.Random(f"{seed}/{number}")
        self.keys = {f"w{number}/k{n}": KeyState() for n in range(4)}
        self.sizes = {}
        self.client = None
        self.stopping = threading.Event()
        self.ready = threading.Event()
        self.acknowledged = 0
        self.wrong = None

    def connect(self, client):
        self.client = client
        self.ready.set()

    def run(self):
        step = 0
        while not self.stopping.is_set():
            if not self.ready.wait(0.2):
                continue
            step += 1
            key = self.rng.choice([k for k in self.keys if not k.endswith("/source")])
            try:
                self._act(key, f"{self.number}/{step}")
                self.acknowledged += 1
            except (ClientError, BotoCoreError) as error:
                if self._is_answer(error):
                    self.wrong = error
                self.ready.clear()

    @staticmethod
    def _is_answer(error):
        """Whether the server answered with a refusal, which a good request never deserves."""
        return isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500

    def _act(self, key, tag):
        lot = self.rng.random()
        if lot < 0.45:
            self._put(key, tag, self.rng.randint(0, 6 * KIB))
        elif lot < 0.6:
            self._put(key, tag, self.rng.randint(100 * KIB, 2 * MIB))
        elif lot < 0.7:
            self._multipart(key, tag)
        elif lot < 0.85:
            self._remove(key)
        else:
            self._copy(key, tag)

    def _write(self, key, state, call):
        self.keys[key].attempt(state)
        call()
        self.keys[key].acknowledge(state)

    def _put(self, key, tag, size):
        body = body_of(tag, size)
        self._write(key, digest(body), lambda: self.client.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata={"md5": digest(body)}))

    def _multipart(self, key, tag):
        parts = [body_of(f"{tag}/1", 5 * MIB), body_of(f"{tag}/2", 10 * KIB)]
        whole = digest(b"".join(parts))
        self._write(key, whole, lambda: clients.put_multipart(self.client, self.bucket, key, parts, Metadata={"md5": whole}))

    def _remove(self, key):
        self._write(key, GONE, lambda: self.client.delete_object(Bucket=self.bucket, Key=key))

    def _copy(self, key, tag):
        """Writes a fresh source and copies it, so that the model knows what is copied."""
        source = f"w{self.number}/source"
        body = body_of(tag, 3 * KIB)
        self.keys.setdefault(source, KeyState())
        self._write(source, digest(body), lambda: self.client.put_object(Bucket=self.bucket, Key=source, Body=body, Metadata={"md5": digest(body)}))
        call = dict(Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": source})
        self._write(key, digest(body), lambda: self.client.copy_object(**call))


def check(client, bucket, workers, besides=()):
    """Holds every key against the model; what is found becomes what is known. There may be other keys besides."""
    listed = set(clients.keys_of(clients.walk_v2(client, bucket, MaxKeys=50)))
    known = set()
    for worker in workers:
        for key, state in worker.keys.items():
            known.add(key)
            found = _found(client, bucket, key)
            assert found in state.possible, f"{key}: {found} is none of {state.possible}"
            assert (key in listed) == (found != GONE), f"{key}: the listing disagrees with GET"
            state.acknowledge(found)
    assert listed <= known | set(besides), f"keys nobody wrote: {listed - known}"


def _found(client, bucket, key):
    try:
        answer = client.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey", error
        return GONE
    body = answer["Body"].read()
    assert len(body) == answer["ContentLength"]
    assert answer["Metadata"]["md5"] == digest(body), f"{key}: content and metadata of different writes: {len(body)} bytes, {answer}"
    return digest(body)
