"""What the proxy can do to a request, and to which."""

import threading
from dataclasses import dataclass
from typing import Callable, Optional

_CODES = {
    400: "InvalidRequest", 403: "AccessDenied", 404: "NoSuchKey", 429: "SlowDown", 500: "InternalError", 501: "NotImplemented", 503: "SlowDown",
}


@dataclass
class Fault:
    """One way to misbehave; fields combine. Nothing set: forward faithfully."""

    # Instead of the origin.
    status: int = 0
    code: str = ""
    refuse: bool = False  # break the connection without a word
    # On the way there.
    before: Optional[Callable[[], None]] = None
    hold_request: bool = False  # until released, before a byte is forwarded
    hold_body_at: Optional[int] = None  # pause the request's body there, until released
    drop_body_at: Optional[int] = None  # break both connections there
    request_headers: Optional[dict] = None
    # On the way back.
    hold_answer: bool = False  # the origin has answered; the client learns when released
    drop_answer: bool = False  # the origin has answered; the client never learns
    hold_at: Optional[int] = None  # pause the body there, until released
    cut_at: Optional[int] = None  # break the connection there
    damage_at: Optional[int] = None  # flip a bit of the body there
    pace: int = 0  # bytes per second
    length_delta: int = 0  # lie in Content-Length, then close
    no_length: bool = False  # the body ends when the connection does
    response_headers: Optional[dict] = None

    def edit_request(self, head):
        for name, value in (self.request_headers or {}).items():
            head.set(name, value)

    def edit_response(self, head):
        """Edits the head; tells whether the connection must close behind the body."""
        for name, value in (self.response_headers or {}).items():
            head.set(name, value)
        if self.no_length:
            head.set("Content-Length", None)
            head.set("Transfer-Encoding", None)
            head.set("Connection", "close")
            return True
        length = head.get("content-length")
        if self.length_delta and length:
            head.set("Content-Length", int(length) + self.length_delta)
            # Said aloud: a client that took the answer for whole would else begin its next request on a connection that is ending.
            head.set("Connection", "close")
            return True
        return False

    def pieces(self, payload, wire, sent):
        """Cuts a piece where this fault pauses or breaks, so that exactly so many bytes go out."""
        at = -1 if self.damage_at is None else self.damage_at - sent
        if 0 <= at < len(wire):
            wire = wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :]
        marks = sorted(m - sent for m in (self.hold_at, self.cut_at) if m is not None and 0 < m - sent < len(wire))
        if self.cut_at is not None and payload:
            wire = wire[: max(0, self.cut_at - sent)]
        start = 0
        for mark in marks:
            if mark < len(wire):
                yield wire[start:mark]
                start = mark
        if start < len(wire):
            yield wire[start:]

    def answer(self, method):
        """The answer in the origin's stead."""
        code = self.code or _CODES.get(self.status, "InternalError")
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>said the proxy</Message></Error>'.encode()
        more = "".join(f"{k}: {v}\r\n" for k, v in (self.response_headers or {}).items())
        head = f"HTTP/1.1 {self.status} Fault\r\nContent-Type: application/xml\r\n{more}Content-Length: {len(body)}\r\n\r\n".encode()
        return head if method == "HEAD" else head + body


class Rule:
    """A fault and the requests it befalls."""

    def __init__(self, fault, method, key, when, times, after):
        self.fault, self.method, self.key, self.when = fault, method, key, when
        self.left, self.skip = times, after
        self.hits = 0
        self.reached = threading.Event()
        self.finished = threading.Event()
        self._released = threading.Event()

    def takes(self, exchange):
        """Whether this rule decides that request; called under the proxy's lock."""
        if self.left == 0 or not self._matches(exchange):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.left is not None:
            self.left -= 1
        self.hits += 1
        return True

    def _matches(self, exchange):
        return (
            (self.method is None or exchange.method == self.method)
            and (self.key is None or exchange.key == self.key)
            and (self.when is None or self.when(exchange))
        )

    def wait(self):
        """Says that the pause is reached, and pauses."""
        self.reached.set()
        self._released.wait(120)

    def await_reached(self, seconds=20):
        assert self.reached.wait(seconds), "the proxy never reached the pause"

    def release(self):
        """Lets what is paused go on, and future matches pass without a pause."""
        self._released.set()
