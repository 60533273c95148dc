"""What is measured: Umbra and its origin, what lies there, and the CPU that each takes."""

import os
import random
import resource
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from harness.clients import s3
from harness.process import clean_environment
from harness.umbra import Umbra
from seaweed import DefaultSeaweedFS

KIB, MIB = 1024, 1024 * 1024
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """The CPU time a process has taken, its system calls included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Load:
    """Objects of one size in a bucket at the origin."""

    def __init__(self, bucket, count, size):
        self.bucket, self.count, self.size = bucket, count, size
        self.bytes = count * size

    def key(self, number):
        return f"{number % 16:x}/{number:06d}"


class Stage:
    """Both servers, and clients for them."""

    def __init__(self, directory):
        self.dir = Path(directory)
        self.origin, self.umbra = DefaultSeaweedFS(self.dir / "origin"), Umbra(self.dir / "umbra")
        self.buckets = 0

    def __enter__(self):
        self.origin.start()
        self.umbra.start()
        self.there = s3(self.origin.endpoint, self.origin.access_key, self.origin.secret_key)
        self.here = self.umbra.client()
        return self

    def __exit__(self, *_):
        if self.umbra.process:
            self.umbra.process.kill()
        self.origin.stop()

    # -- content -----------------------------------------------------------------------------------------------

    def fill(self, load):
        """Puts the objects of `load` at the origin, no two alike."""
        self.there.create_bucket(Bucket=load.bucket)
        base = random.Random(load.bucket).randbytes(load.size)

        def put(number):
            self.there.put_object(Bucket=load.bucket, Key=load.key(number), Body=number.to_bytes(8, "big") + base[8:])

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, range(load.count)))

    def bucket(self, load=None, endpoint=None):
        """A new bucket of Umbra, with the bucket of `load` as its shadow; gives its name."""
        self.buckets += 1
        name, shadow = f"bench-{self.buckets:03d}", []
        if load:
            shadow = ["--shadow-endpoint", endpoint or self.origin.endpoint, "--shadow-region", "us-east-1", "--shadow-name", load.bucket]
            shadow += ["--shadow-access-key", self.origin.access_key, "--shadow-secret-key", self.origin.secret_key]
        self.umbra.storage("create", "-n", name, "-o", "bench", *shadow, "-y")
        return name

    # -- work --------------------------------------------------------------------------------------------------

    def measured(self, work):
        """Runs `work`; gives how long it took and the CPU time of Umbra, the origin and what `work` started."""
        children = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        pids = [self.umbra.process.pid, self.origin.process.pid]
        before, began = [*map(cpu_seconds, pids), children()], time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        umbra, origin, child = (now - then for now, then in zip([*map(cpu_seconds, pids), children()], before))
        return {"seconds": seconds, "umbra": umbra, "origin": origin, "child": child}

    def migrate(self, name, load, expected=None):
        """Moves everything, and waits."""
        done = self.umbra.storage("migrate", name, "--wait", "--json", timeout=600).json()
        assert (done["objects_left"], done["objects_failed"]) == (0, 0), done
        assert done["objects_done"] == (load.count if expected is None else expected), done

    def rclone(self, load, name):
        """The command that copies the objects of `load` into a bucket of Umbra."""
        env = clean_environment(self.dir, RCLONE_CONFIG=str(self.dir / "none"))
        for remote, of in (("ORIGIN", self.origin), ("UMBRA", self.umbra)):
            settings = dict(TYPE="s3", PROVIDER="Other", ENDPOINT=of.endpoint, REGION="us-east-1")
            settings.update(ACCESS_KEY_ID=of.access_key, SECRET_ACCESS_KEY=of.secret_key, FORCE_PATH_STYLE="true")
            env.update({f"RCLONE_CONFIG_{remote}_{key}": value for key, value in settings.items()})
        argv = ["rclone", "copy", "--quiet", "--transfers", "16", "--checkers", "16", f"origin:{load.bucket}", f"umbra:{name}"]
        return argv, env

    def copy_with_rclone(self, load, name):
        argv, env = self.rclone(load, name)
        subprocess.run(argv, env=env, check=True, timeout=600)


def target(client, operation, bucket, key):
    """The target of a request line, signed in its query."""
    url = urlsplit(client.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": key}))
    return f"{url.path}?{url.query}"


def median(samples, field=None):
    return statistics.median(sample[field] for sample in samples) if field else statistics.median(samples)


def percentile(samples, percent):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
