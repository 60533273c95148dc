"""Things done at once, whose failures are not lost."""

import threading


class Background:
    """Runs a call in a thread; `result` waits and raises what it raised."""

    def __init__(self, call, *args, **kwargs):
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, args=(call, args, kwargs), daemon=True)
        self._thread.start()

    def _run(self, call, args, kwargs):
        try:
            self._value = call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            self._error = error

    def wait(self, seconds=60):
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"not done within {seconds} s"

    @property
    def running(self):
        return self._thread.is_alive()

    def result(self, seconds=60):
        self.wait(seconds)
        if self._error:
            raise self._error
        return self._value

    def error(self, seconds=60):
        """The error it ended with, or None."""
        self.wait(seconds)
        return self._error


def at_once(count, call):
    """Calls `call(n)` for every n below `count`, all at once; the results in order."""
    running = [Background(call, n) for n in range(count)]
    return [r.result(110) for r in running]
