"""moto's S3 as the origin: for keys SeaweedFS cannot hold. It checks no signature."""

import socket
import sys
from pathlib import Path

from .process import Process, clean_environment, free_ports
from .wait import until


class Moto:
    """A moto server on loopback."""

    region = "us-east-1"
    access_key, secret_key = "motoaccesskey0000001", "motosecret"

    def __init__(self, directory):
        self.dir = Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.endpoint = None

    def start(self):
        (port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        argv = [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", port]
        self.process = Process("moto", argv, self.dir / "moto.log", clean_environment(self.dir)).start()
        until("moto to listen", lambda: self._ready(port), 60, 0.1)
        return self

    def _ready(self, port):
        assert self.process.running(), f"moto ended:\n{self.process.log_tail()}"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process:
            self.process.kill()
