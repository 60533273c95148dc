"""Commands as a person runs them: on a terminal."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading

from .process import clean_environment
from .umbra import binary
from .wait import until


class Terminal:
    """`umbra ARGS` against a server, all three streams on a terminal of its own."""

    def __init__(self, umbra, *args, columns=160):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        known = dict(UMBRA_ADMIN_URL=umbra.admin, UMBRA_ACCESS_KEY=umbra.access_key, UMBRA_SECRET_KEY=umbra.secret_key, TERM="xterm-256color")
        argv = [binary(), *map(str, args)]
        environment = clean_environment(umbra.home, **known)
        self.child = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=umbra.dir,
            # A shell's background jobs ignore it, and what they start; a terminal's do not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)
        self._ours, self._read = ours, b""
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self):
        try:
            while data := os.read(self._ours, 65536):
                self._read += data
        except OSError:
            pass  # the last that had the terminal open has closed it

    @property
    def text(self):
        """Everything shown so far, as it was sent."""
        return self._read.decode(errors="replace")

    def shows(self, check, seconds=30):
        """Waits until what is shown satisfies `check`."""
        return until("the terminal to show it", lambda: check(self.text), seconds)

    def wait(self, seconds=60):
        """The exit status, once everything shown has arrived."""
        status = self.child.wait(seconds)
        self._reader.join(10)
        return status

    def close(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGKILL)
        self.wait()
        os.close(self._ours)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
