"""A receiver of web hooks, on loopback."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hook:
    """Takes documents that are posted, and answers as it is told: with `status`, once `gate` is open."""

    def __init__(self):
        self.documents, self.headers = [], []
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.attempts = 0
        self._lock = threading.Lock()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with hook._lock:
                    hook.attempts += 1
                hook.gate.wait()
                with hook._lock:
                    if hook.status == 200:
                        hook.documents.append((self.path, json.loads(body)))
                        hook.headers.append({k.lower(): v for k, v in self.headers.items()})
                    status = hook.status
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    def records(self, path="/"):
        """The records of S3's events that came to `path`, in their order."""
        with self._lock:
            return [record for at, document in self.documents if at == path for record in document.get("Records", ())]

    def tests(self, path="/"):
        """The tests that came to `path` once it was named as a receiver."""
        with self._lock:
            return [document for at, document in self.documents if at == path and document.get("Event") == "s3:TestEvent"]

    def told(self, path="/"):
        """What happened to which key, in the order in which it was told."""
        return [(record["eventName"], record["s3"]["object"]["key"]) for record in self.records(path)]

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
