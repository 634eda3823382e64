"""Frames between the server and the program inside a sandbox: a kind, a length, and that many bytes. Pure.

Both ends speak it over the inner program's standard streams. Nothing that comes out of a sandbox is believed: kinds,
lengths and order are checked, and whatever does not fit ends the sandbox.
"""

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

HEADER = struct.Struct(">BI")
LONGEST_NAME = 1_024
LONGEST_FRAME = 64 * 1024 * 1024 + 2 + LONGEST_NAME
"""That of a file that comes back, the largest of all; the other kinds are short."""


class Kind(IntEnum):
    """What a frame is. Those below 16 go in, the others come out. `inside.frames` has the same numbers."""

    FILE = 1
    INPUT = 2
    RUN = 3
    TUNNEL_DATA = 4
    TUNNEL_END = 5
    READY = 16
    OUTPUT = 17
    ENDED = 18
    CHANGED = 19
    REMOVED = 20
    NOT_RETURNED = 21
    DONE = 22
    TUNNEL_OPEN = 23
    TUNNEL_SENT = 24
    TUNNEL_CLOSED = 25


LONGEST_PIECE = 32_768
_NUMBER = 4
_OUTWARD = {kind.value: kind for kind in Kind if kind >= Kind.READY}
_LONGEST = {
    Kind.READY: 0,
    Kind.OUTPUT: LONGEST_PIECE,
    Kind.ENDED: 64,
    Kind.CHANGED: LONGEST_FRAME,
    Kind.REMOVED: 2 + LONGEST_NAME,
    Kind.NOT_RETURNED: 2 + LONGEST_NAME,
    Kind.DONE: 0,
    Kind.TUNNEL_OPEN: _NUMBER,
    Kind.TUNNEL_SENT: _NUMBER + LONGEST_PIECE,
    Kind.TUNNEL_CLOSED: _NUMBER,
}


class Malformed(Exception):  # noqa: N818 - never shown; the sandbox is ended and called broken
    """What came out of a sandbox is not what the inner program says."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame that came out."""

    kind: Kind
    payload: bytes


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """Return a frame as it travels."""
    return HEADER.pack(kind, len(payload)) + payload


def with_name(kind: Kind, name: str, content: bytes) -> bytes:
    """Return a frame that carries a name (at most 1,024 bytes of UTF-8) and bytes."""
    encoded = name.encode()
    return frame(kind, struct.pack(">H", len(encoded)) + encoded + content)


def kind_and_length(header: bytes) -> tuple[Kind, int]:
    """Read a header that came out. Raise Malformed for kinds that do not come out and for endless frames."""
    number, length = HEADER.unpack(header)
    kind = _OUTWARD.get(number)
    if kind is None or length > _LONGEST[kind]:
        raise Malformed
    return kind, length


def name_and_bytes(payload: bytes) -> tuple[str, bytes]:
    """Take a named frame apart. Raise Malformed where it has no whole name, or one that is no UTF-8."""
    if len(payload) < 2:  # noqa: PLR2004 - the length of the length
        raise Malformed
    (length,) = struct.unpack_from(">H", payload)
    if length == 0 or length > LONGEST_NAME or len(payload) < 2 + length:
        raise Malformed
    try:
        return payload[2 : 2 + length].decode(), payload[2 + length :]
    except UnicodeDecodeError:
        raise Malformed from None


def exit_code_in(payload: bytes) -> int:
    """Return the exit code that an ENDED frame tells. Raise Malformed for anything but 0 to 255."""
    try:
        told: Any = json.loads(payload)
    except ValueError:
        raise Malformed from None
    code = cast("dict[str, Any]", told).get("code") if isinstance(told, dict) else None
    if type(code) is not int or not 0 <= code <= 255:  # noqa: PLR2004 - what exit codes are
        raise Malformed
    return code
