"""Tigris's own clients from npm, unchanged: the command line and the SDK."""

import json
import subprocess
import sys
from pathlib import Path

from .process import clean_environment
from .umbra import REPOSITORY


def installed():
    """The directory in which `./test` installed the packages."""
    places = [REPOSITORY / ".test-env" / "npm", Path(sys.prefix) / "npm"]
    found = [p for p in places if (p / "node_modules" / "@tigrisdata" / "cli").exists()]
    assert found, f"Tigris's clients are not installed: run ./test (looked in {', '.join(map(str, places))})"
    return found[0]


class Ended:
    """A command that ended."""

    def __init__(self, completed, argv):
        self.status, self.argv = completed.returncode, argv
        self.out, self.err = completed.stdout.decode(), completed.stderr.decode()

    def json(self):
        """The document on standard output, behind whatever progress was shown before it."""
        start = min(i for i in (self.out.find("{"), self.out.find("[")) if i >= 0)
        return json.loads(self.out[start:])

    def rows(self):
        """A table in JSON, as a dictionary of its first column to its second."""
        return {tuple(row.values())[0]: tuple(row.values())[1] for row in self.json()}

    def error(self):
        """The message of an error in JSON."""
        return json.loads(self.err[self.err.index("{") :])["error"]["message"]

    def __repr__(self):
        return f"tigris {' '.join(self.argv)} -> {self.status}\n{self.out}{self.err}"


class Tigris:
    """The clients with a home of their own, pointed at a server. `AWS_` variables would send them to the hosted service."""

    def __init__(self, home, endpoint, access_key, secret_key):
        self.home, self.endpoint, self.access_key, self.secret_key = Path(home), endpoint, access_key, secret_key
        self.home.mkdir(parents=True, exist_ok=True)
        env = clean_environment(
            home, TIGRIS_STORAGE_ENDPOINT=endpoint, TIGRIS_STORAGE_ACCESS_KEY_ID=access_key, TIGRIS_STORAGE_SECRET_ACCESS_KEY=secret_key,
            TIGRIS_IAM_ENDPOINT=endpoint, TIGRIS_MGMT_ENDPOINT=endpoint,
            TIGRIS_NO_UPDATE_CHECK="1", TIGRIS_NO_TELEMETRY="1", DO_NOT_TRACK="1", NODE_NO_WARNINGS="1",
        )
        self.env = {name: value for name, value in env.items() if not name.startswith("AWS_")}

    def __call__(self, *args, check=True, timeout=90):
        """Runs `tigris ARGS`; what it did."""
        argv = [str(a) for a in args]
        command = [str(installed() / "node_modules" / ".bin" / "tigris"), *argv]
        done = Ended(subprocess.run(command, env=self.env, cwd=self.home, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout), argv)
        if check:
            assert done.status == 0, repr(done)
        return done

    def sdk(self, bucket, *calls):
        """Calls functions of the SDK, each a list of a name and arguments; their results."""
        config = {"endpoint": self.endpoint, "bucket": bucket, "accessKeyId": self.access_key, "secretAccessKey": self.secret_key, "forcePathStyle": True}
        filled = []
        for name, *args in calls:
            options = args.pop() if args and isinstance(args[-1], dict) else {}
            filled.append([name, *args, {**options, "config": config}])
        script = REPOSITORY / "testing" / "conformance" / "npm" / "sdk.cjs"
        done = subprocess.run(
            ["node", str(script), str(installed())], env=self.env, cwd=self.home, capture_output=True, input=json.dumps(filled).encode(), timeout=90,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)
