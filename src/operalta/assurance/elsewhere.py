"""A server elsewhere, as agents of the throw-away deployment meet one: it says what it was told to, and keeps who came.

It stands on loopback at two addresses, with the same port. The names in `HOSTS` and the first address are what the
deployment's settings exempt; at the second one nobody is to arrive but by a name that leads there.
"""

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD, TRAP = "127.0.0.1", "127.0.0.2"
ADDRESS_HOSTS, HOP_HOSTS, CEILING_HOSTS = (
    tuple(f"{area}-{number}.elsewhere.example" for number in range(count))
    for area, count in (("address", 3), ("hop", 28), ("ceiling", 2))
)
"""Names that probes have to themselves, for addresses, hops and ceilings."""

HOSTS = (*ADDRESS_HOSTS, *HOP_HOSTS, *CEILING_HOSTS)
"""The names that the deployment exempts."""

LONGEST_BODY = 65_536
LONGEST_REQUEST = 1 << 20
_NOT_FOUND, _REDIRECT = 404, 302
_BIND_TRIES = 20
_LONGEST_HOLD = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered: status, media type, further fields, and a body that is sent `times` over.

    `announced` is the length that the head claims, in bytes; None claims none, and the end is where the line ends.
    Before each time there is a pause, in seconds. What is `held` is answered once that is set, or after a while.
    """

    body: bytes = b"arrived"
    kind: str = "text/plain"
    status: int = 200
    fields: Sequence[tuple[str, str]] = ()
    times: int = 1
    announced: int | None = None
    pause: float = 0.0
    held: threading.Event | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that arrived: at which address, for which path, with which fields (lower case), the last of each.

    `body` is what it carried, as far as it is read here.
    """

    address: str
    method: str
    path: str
    fields: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def host(self) -> str:
        """The Host field."""
        return self.fields.get("host", "")


class Elsewhere:
    """The server, in threads of its own. Paths that it was told nothing of do not exist."""

    def __init__(self) -> None:
        self._book: dict[str, Reply] = {}
        self._visits: list[Visit] = []
        self._servers = _on_one_port(self)
        self._threads = [
            threading.Thread(target=server.serve_forever, name="elsewhere", daemon=True) for server in self._servers
        ]

    @property
    def port(self) -> int:
        """Where it listens, at both addresses."""
        return int(self._servers[0].server_address[1])

    @property
    def exemptions(self) -> tuple[str, ...]:
        """What the settings exempt of it: each name, and the first address, with the port."""
        return tuple(f"{host}:{self.port}" for host in (GOOD, *HOSTS))

    def url(self, host: str, path: str) -> str:
        """Return where `path` is found at a host."""
        return f"http://{host}:{self.port}{path}"

    def start(self) -> None:
        """Answer from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answer no more, and forget who came."""
        for server, thread in zip(self._servers, self._threads, strict=True):
            if thread.is_alive():
                server.shutdown()
            with contextlib.suppress(OSError):
                server.server_close()
        self._visits.clear()

    def tell(self, path: str, reply: Reply) -> None:
        """Answer `path` so from now on, at both addresses."""
        self._book[path] = reply

    def visits(self, beginning: str) -> tuple[Visit, ...]:
        """Return who came for paths with this beginning so far, the first first."""
        return tuple(visit for visit in self._visits if visit.path.startswith(beginning))

    def receive(self, visit: Visit) -> Reply:
        """Keep a visit and return what it is answered with."""
        self._visits.append(visit)
        return self._book.get(visit.path, Reply(b"", status=_NOT_FOUND))


def redirect(to: str, *fields: tuple[str, str], status: int = _REDIRECT) -> Reply:
    """Return what leads on to a URL."""
    return Reply(b"", status=status, fields=(("Location", to), *fields))


def packed(size: int, *, encoding: str = "gzip") -> Reply:
    """Return a text of `size` blanks that travels in a thousandth of it, said to be packed as `encoding`."""
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    piece = b" " * min(size, LONGEST_BODY)
    parts = [packer.compress(piece[: min(len(piece), size - place)]) for place in range(0, size, max(1, len(piece)))]
    return Reply(b"".join((*parts, packer.flush())), fields=(("Content-Encoding", encoding),))


def _on_one_port(elsewhere: Elsewhere) -> tuple["_Server", "_Server"]:
    """Return servers at both addresses with the same port. Raise OSError where none is free at both."""
    for tries in range(_BIND_TRIES, 0, -1):
        first = _Server(elsewhere, GOOD, 0)
        try:
            return first, _Server(elsewhere, TRAP, int(first.server_address[1]))
        except OSError:
            first.server_close()
            if tries == 1:
                raise
    raise OSError


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, elsewhere: Elsewhere, address: str, port: int) -> None:
        super().__init__((address, port), _Conversation)
        self.elsewhere = elsewhere

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Say nothing: a visitor that hangs up midway is what is hoped for."""


class _Conversation(BaseHTTPRequestHandler):
    """One request after RFC 9112, and its answer; then the line ends."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:
        length = self.headers.get("content-length", "0")
        body = self.rfile.read(min(int(length), LONGEST_REQUEST) if length.isdecimal() else 0)
        fields = {name.lower(): value for name, value in self.headers.items()}
        if not isinstance(self.server, _Server):
            return
        visit = Visit(str(self.server.server_address[0]), self.command, self.path, fields, body)
        reply = self.server.elsewhere.receive(visit)
        self.close_connection = True
        if reply.held is not None:
            reply.held.wait(_LONGEST_HOLD)
        self.send_response(reply.status)
        if reply.kind:
            self.send_header("Content-Type", reply.kind)
        if reply.announced is not None:
            self.send_header("Content-Length", str(reply.announced))
        for name, value in (*reply.fields, ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        for _ in range(reply.times if self.command != "HEAD" else 0):
            time.sleep(reply.pause)
            self.wfile.write(reply.body)

    do_HEAD = do_POST = do_GET  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Write nothing."""
