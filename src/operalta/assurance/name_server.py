"""A name server of the throw-away deployment's own (RFC 1035): what it says of a name may change each time."""

import contextlib
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast

A, CNAME, AAAA = 1, 5, 28
_NO_SUCH_NAME = 3
_ANSWER = 0x8180  # an answer, recursion wanted and available
_CUT_OFF = 0x0200
_HEADER = struct.Struct("!6H")
_FIXED = struct.Struct("!HHIH")
_INTERNET = 1
_TTL_SECONDS = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One record of an answer: whose it is, its type, and its data: an address, or the name that an alias leads to."""

    owner: str
    kind: int
    data: str

    def wire(self) -> bytes:
        """Return it as it travels, without compression."""
        data = _name(self.data) if self.kind == CNAME else ip_address(self.data).packed
        return _name(self.owner) + _FIXED.pack(self.kind, _INTERNET, _TTL_SECONDS, len(data)) + data


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, in lower case without the root's dot; `section` and `number` are to be repeated in the answer."""

    number: int
    name: str
    kind: int
    section: bytes
    over_tcp: bool


class NameServer:
    """The server, in threads of its own, on a free port of loopback. Names that it was told nothing of do not exist."""

    def __init__(self) -> None:
        self._book: dict[str, Sequence[Sequence[str]]] = {}
        self._turns: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()
        self._tcp = _TcpServer(("127.0.0.1", 0), _Stream)
        self.port: int = self._tcp.server_address[1]
        self._udp = _UdpServer(("127.0.0.1", self.port), _Datagram)
        self._tcp.names = self._udp.names = self
        self._threads = [
            threading.Thread(target=server.serve_forever, name="names", daemon=True)
            for server in (self._tcp, self._udp)
        ]

    @property
    def address(self) -> str:
        """Where it is asked: address and port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answer no more."""
        for server, thread in zip((self._tcp, self._udp), self._threads, strict=True):
            if thread.is_alive():
                server.shutdown()
            with contextlib.suppress(OSError):
                server.server_close()

    def tell(self, name: str, *turns: Sequence[str]) -> None:
        """Say of `name` what each turn holds, one turn a question, the last one ever after: addresses, or one alias."""
        with self._lock:
            self._book[name] = turns
            for kind in (A, AAAA):
                self._turns[name, kind] = 0

    def times_asked(self, name: str, kind: int = A) -> int:
        """Return how often `name` was asked for since it was told."""
        return self._turns[name, kind]

    def messages(self, question: Question) -> list[bytes]:
        """Return the messages that answer a question; several, or odd ones, show what clients believe."""
        with self._lock:
            records = self._records(question.name, question.kind)
        return [reply(question, records, code=0 if question.name in self._book else _NO_SUCH_NAME)]

    def _records(self, name: str, kind: int) -> list[Record]:
        """Take the next turn of a name, and of every name that it leads on to."""
        turns = self._book.get(name, ())
        turn = self._turns[name, kind]
        self._turns[name, kind] += 1
        records: list[Record] = []
        for said in turns[min(turn, len(turns) - 1)] if turns else ():
            if (address := _address(said)) is None:
                records += [Record(name, CNAME, said), *self._records(said, kind)]
            elif kind == (A if address.version == 4 else AAAA):  # noqa: PLR2004 - IPv4
                records.append(Record(name, kind, said))
        return records


def reply(question: Question, records: Sequence[Record], *, code: int = 0, cut_off: bool = False) -> bytes:
    """Return an answer as it travels; `cut_off` asks for another try over TCP."""
    flags = _ANSWER | code | (_CUT_OFF if cut_off else 0)
    header = _HEADER.pack(question.number, flags, 1, len(records), 0, 0)
    return header + question.section + b"".join(record.wire() for record in records)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _name(name: str) -> bytes:
    labels = name.rstrip(".").split(".")
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in labels) + b"\0"


def _question(message: bytes, *, over_tcp: bool) -> Question:
    """Read the first question of a message. Raise ValueError or IndexError where there is none."""
    place = _HEADER.size
    labels: list[str] = []
    while length := message[place]:
        labels.append(message[place + 1 : place + 1 + length].decode("ascii"))
        place += 1 + length
    end = place + 5
    kind = int.from_bytes(message[place + 1 : place + 3], "big")
    number = int.from_bytes(message[:2], "big")
    return Question(number, ".".join(labels).lower(), kind, message[_HEADER.size : end], over_tcp)


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = True
    names: NameServer


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    names: NameServer


class _Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        message, line = cast("tuple[bytes, socket.socket]", self.request)
        with contextlib.suppress(ValueError, IndexError, OSError):
            for answer in cast("_UdpServer", self.server).names.messages(_question(message, over_tcp=False)):
                line.sendto(answer, self.client_address)


class _Stream(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self) -> None:
        with contextlib.suppress(ValueError, IndexError, OSError):
            length = int.from_bytes(self.rfile.read(2), "big")
            question = _question(self.rfile.read(length), over_tcp=True)
            for answer in cast("_TcpServer", self.server).names.messages(question):
                self.wfile.write(len(answer).to_bytes(2, "big") + answer)
