"""The inner end of the frames that `wire` describes, over the standard streams."""

import os
import struct

# As in wire.py.
FILE, INPUT, RUN, TUNNEL_DATA, TUNNEL_END = 1, 2, 3, 4, 5
READY, OUTPUT, ENDED, CHANGED, REMOVED, NOT_RETURNED, DONE = 16, 17, 18, 19, 20, 21, 22
TUNNEL_OPEN, TUNNEL_SENT, TUNNEL_CLOSED = 23, 24, 25
HEADER = struct.Struct(">BI")
PIECE = 32_768
LONGEST_NAME = 1_000


def send(kind: int, payload: bytes = b"") -> None:
    """Say something to the server."""
    rest = memoryview(HEADER.pack(kind, len(payload)) + payload)
    while rest:
        rest = rest[os.write(1, rest) :]


def send_named(kind: int, name: str, content: bytes = b"") -> None:
    """Say something about a name."""
    encoded = name.encode("utf-8", "replace")[:LONGEST_NAME].decode("utf-8", "ignore").encode()
    send(kind, struct.pack(">H", len(encoded)) + encoded + content)


def receive() -> tuple[int, bytes]:
    """Wait for what the server says. The sandbox ends where the server is gone."""
    kind, length = HEADER.unpack(_exactly(HEADER.size))
    return kind, _exactly(length)


def _exactly(length: int) -> bytes:
    taken = bytearray()
    while len(taken) < length:
        piece = os.read(0, min(length - len(taken), 1 << 20))
        if not piece:
            os._exit(0)  # the server is gone, or wants nothing of this sandbox
        taken += piece
    return bytes(taken)
