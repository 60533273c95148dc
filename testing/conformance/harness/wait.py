"""Waiting: always for something, always with a deadline."""

import time


class Timeout(AssertionError):
    """What was waited for did not come."""


def until(what, check, seconds=20.0, every=0.02):
    """Calls `check` until it returns something true, and returns that; `what` names it in the failure."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Timeout(f"waited {seconds} s for {what}")
        time.sleep(every)


def stays(what, check, seconds=0.5, every=0.05):
    """Asserts that `check` is true now and remains so for a while: for what must never happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert check(), f"no longer: {what}"
        time.sleep(every)
