"""A receiver of webhooks on the loopback: it keeps what comes and answers as it is told."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """What came: header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebhookReceiver:
    """What came so far, and how the next one is answered. `gate` holds answers back while it is not set."""

    port: int = 0
    status: int = 204
    answer_headers: dict[str, str] = field(default_factory=dict[str, str])
    answer_body: bytes = b""
    received: list[Received] = field(default_factory=list[Received])
    arrived: threading.Event = field(default_factory=threading.Event)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def wait_for(self, number: int) -> bool:
        """Wait until so many have come."""
        for _ in range(600):
            if len(self.received) >= number:
                return True
            time.sleep(0.05)
        return False

    @property
    def exemption(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.exemption}/services/token-in-the-path"


@contextmanager
def receiving() -> Generator[WebhookReceiver]:
    """Run a receiver on a free port."""
    told = WebhookReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.received.append(Received(self.path, headers, body))
            told.arrived.set()
            told.gate.wait(30)
            self.send_response(told.status)
            for name, value in told.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(told.answer_body)))
            self.end_headers()
            self.wfile.write(told.answer_body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's form
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    told.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
