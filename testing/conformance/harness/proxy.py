"""A proxy before the origin that counts what passes and breaks what a rule says.

The request is forwarded as received, `Host` included: the signature covers it, so the origin is told the
proxy's address as its own and must believe it.
"""

import socket
import threading
import time
from dataclasses import dataclass, field

from .faults import Fault, Rule
from .wire import Closed, Head, Reader, request_framing, response_framing, split_target


@dataclass
class Exchange:
    """One request that reached the proxy, and what became of it."""

    method: str
    bucket: str
    key: str
    query: str
    headers: Head
    number: int
    sent_body: int = 0
    status: int = 0
    origin_bytes: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def is_object(self):
        return self.key != ""

    @property
    def moved(self):
        """Whether content of an object left the origin: not a listing, tags or an error."""
        names = {part.partition("=")[0] for part in self.query.split("&")}
        return self.is_object and self.origin_bytes > 0 and 200 <= self.status < 300 and not names & {"tagging", "attributes", "uploadId", "acl"}

    def __str__(self):
        query = f"?{self.query}" if self.query else ""
        return f"{self.method} {self.bucket}/{self.key!r}{query} -> {self.status}, {self.origin_bytes} B back, {self.sent_body} B in"


class CountingProxy:
    """Listens on loopback, unless told, and forwards to one origin."""

    def __init__(self, origin_endpoint, listen_on="127.0.0.1"):
        host, port = origin_endpoint.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.host, self.port = listen_on, 0
        self.exchanges, self.rules, self._open = [], [], set()
        self.lock = threading.Lock()
        self.listener = None

    # -- life --------------------------------------------------------------------------------------------------

    def start(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(512)
        self.port = listener.getsockname()[1]
        self.listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def stop(self):
        """The origin goes away: connections break, new ones are refused."""
        with self.lock:
            listener, self.listener = self.listener, None
            open_now = list(self._open)
        if listener:
            # Shutting down first wakes the thread that accepts; a bare close would leave it listening.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for sock in open_now:
            _abort(sock)

    def close(self):
        for rule in list(self.rules):
            rule.release()
        self.stop()

    @property
    def endpoint(self):
        return f"http://{self.host}:{self.port}"

    # -- what the tests ask ------------------------------------------------------------------------------------

    def rule(self, fault, method=None, key=None, when=None, times=None, after=0):
        """Adds a rule: the newest that matches a request decides."""
        rule = Rule(fault, method, key, when, times, after)
        with self.lock:
            self.rules.append(rule)
        return rule

    def clear_rules(self):
        with self.lock:
            rules, self.rules = self.rules, []
        for rule in rules:
            rule.release()

    def seen(self, method=None, key=None, when=None):
        """The exchanges so far that match."""
        with self.lock:
            found = list(self.exchanges)
        return [
            e for e in found
            if (method is None or e.method == method) and (key is None or e.key == key) and (when is None or when(e))
        ]

    def count(self, method=None, key=None, when=None):
        return len(self.seen(method, key, when))

    def body_bytes(self, key=None, method="GET"):
        """The bytes of object content that left the origin."""
        return sum(e.origin_bytes for e in self.seen(method, key) if e.moved)

    def transfers(self, key):
        """The GETs of a key that moved a body."""
        return [e for e in self.seen("GET", key) if e.moved]

    def forget(self):
        with self.lock:
            self.exchanges.clear()

    def story(self):
        return "\n".join(str(e) for e in self.seen())

    # -- one connection ----------------------------------------------------------------------------------------

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(self, sock)
        with self.lock:
            if self.listener is None:
                _abort(sock)
                return
            self._open.add(sock)
        try:
            while connection.exchange():
                pass
        except (OSError, Closed):
            pass
        finally:
            with self.lock:
                self._open.discard(sock)
            connection.close()

    def _record(self, head):
        method, target, _ = head.first.split(" ", 2)
        with self.lock:
            exchange = Exchange(method, *split_target(target), headers=head, number=len(self.exchanges))
            self.exchanges.append(exchange)
            rule = next((r for r in reversed(self.rules) if r.takes(exchange)), None)
        return exchange, rule


class _Connection:
    """A client's connection and the one to the origin behind it."""

    def __init__(self, proxy, client):
        self.proxy, self.client, self.reader = proxy, client, Reader(client)
        self.origin = self.origin_reader = None

    def close(self):
        _abort(self.client)
        if self.origin:
            _abort(self.origin)

    def exchange(self):
        """Serves one request; false when the connection is over."""
        raw = self.reader.head()
        if raw is None:
            return False
        head = Head(raw)
        exchange, rule = self.proxy._record(head)
        fault = rule.fault if rule else Fault()
        try:
            return self._serve(head, exchange, fault, rule)
        finally:
            exchange.done.set()
            if rule:
                rule.finished.set()

    def _serve(self, head, exchange, fault, rule):
        if fault.before:
            fault.before()
        if fault.hold_request:
            rule.wait()
        if fault.refuse:
            return False
        if fault.status:
            return self._answer(head, exchange, fault)
        self._connect()
        fault.edit_request(head)
        self.origin.sendall(head.bytes())
        sender = self._send_body(head, exchange, fault, rule)
        try:
            return self._relay(exchange, fault, rule)
        finally:
            if sender:
                sender.join(1)
                if sender.is_alive():
                    # The origin answered early: what is left of the body has nowhere to go.
                    _abort(self.client)

    def _connect(self):
        if self.origin is None:
            self.origin = socket.create_connection(self.proxy.target, 10)
            self.origin.settimeout(None)
            self.origin.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.origin_reader = Reader(self.origin)
            with self.proxy.lock:
                self.proxy._open.add(self.origin)

    def _answer(self, head, exchange, fault):
        """Answers in the origin's stead, after reading the request's body."""
        if (head.get("expect") or "").lower() == "100-continue":
            self.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        for payload, _ in self.reader.body(request_framing(head)):
            exchange.sent_body += len(payload)
        exchange.status = fault.status
        self.client.sendall(fault.answer(exchange.method))
        return True

    def _send_body(self, head, exchange, fault, rule):
        framing = request_framing(head)
        if not framing:
            return None
        sender = threading.Thread(target=self._pump_body, args=(framing, exchange, fault, rule), daemon=True)
        sender.start()
        return sender

    def _pump_body(self, framing, exchange, fault, rule):
        try:
            for payload, wire in self.reader.body(framing):
                exchange.sent_body += len(payload)
                if fault.hold_body_at is not None and exchange.sent_body >= fault.hold_body_at:
                    rule.wait()
                if fault.drop_body_at is not None and exchange.sent_body >= fault.drop_body_at:
                    _abort(self.origin)
                    _abort(self.client)
                    return
                self.origin.sendall(wire)
        except (OSError, Closed):
            # The client broke off: so does the origin's request, or it would wait for the rest.
            _abort(self.origin)

    def _relay(self, exchange, fault, rule):
        while True:
            raw = self.origin_reader.head()
            if raw is None:
                raise Closed
            head = Head(raw)
            if head.status >= 200:
                break
            self.client.sendall(raw)
        exchange.status = head.status
        if fault.hold_answer:
            rule.wait()
        if fault.drop_answer:
            self._swallow(head, exchange)
            return False
        return self._relay_body(head, exchange, fault, rule)

    def _swallow(self, head, exchange):
        for payload, _ in self.origin_reader.body(response_framing(head, exchange.method)):
            exchange.origin_bytes += len(payload)

    def _relay_body(self, head, exchange, fault, rule):
        framing = response_framing(head, exchange.method)
        close = fault.edit_response(head)
        self.client.sendall(head.bytes())
        sent = 0
        for payload, wire in self.origin_reader.body(framing):
            exchange.origin_bytes += len(payload)
            if close:
                wire = payload
            for piece in fault.pieces(payload, wire, sent):
                self.client.sendall(piece)
                if fault.pace:
                    time.sleep(len(piece) / fault.pace)
                sent += len(piece)
                if fault.hold_at is not None and sent >= fault.hold_at:
                    rule.wait()
            if fault.cut_at is not None and sent >= fault.cut_at:
                return False
        return not close and framing != "close" and (head.get("connection") or "").lower() != "close"


def _abort(sock):
    """Ends a connection now, in both directions, waking whoever reads it."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()
