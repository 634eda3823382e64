"""What a command may use, what is asked of a sandbox, and how it ended. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """The most that one command may use, whatever is asked for.

    `seconds` is wall-clock time. `memory_bytes` is for all processes and everything written together;
    `address_space_bytes` for each process. `output_bytes` is what is kept of the output, its beginning and its end;
    at `flood_bytes` the command is ended. `files_bytes` and `entries` bound what lies in its folders,
    `file_bytes` one file. `returned_bytes` and `returned_files` bound what it may hand back.
    """

    seconds: float = 120.0
    memory_bytes: int = 768 * MEBIBYTE
    address_space_bytes: int = 2_048 * MEBIBYTE
    processes: int = 96
    descriptors: int = 128
    output_bytes: int = 64 * 1024
    flood_bytes: int = 16 * MEBIBYTE
    files_bytes: int = 256 * MEBIBYTE
    file_bytes: int = 64 * MEBIBYTE
    entries: int = 20_000
    returned_bytes: int = 64 * MEBIBYTE
    returned_files: int = 500

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could run."""
        if min(getattr(self, name) for name in self.__slots__) <= 0:
            raise ValueError("each limit of a command is above zero")


@dataclass(frozen=True, slots=True)
class Job:
    """A command for a sandbox of its own.

    `arguments` is the program with its arguments, never a text that a shell would read, unless the program is one.
    `files` lie in the folder where it starts, by relative name. `seconds` can only shorten what the limits allow.
    With `returns_files`, what it changed in that folder comes back.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    standard_input: bytes = b""
    seconds: float | None = None
    returns_files: bool = False


class Ending(StrEnum):
    """How a command came to its end."""

    FINISHED = "finished"
    TIME = "time"
    MEMORY = "memory"
    PROCESSES = "processes"
    ENTRIES = "entries"
    OUTPUT = "output"
    BROKEN = "broken"
    """The sandbox ended without telling how: somebody ended its inner program, or the server did."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a command did. Everything in it was said from inside, so all of it may be a lie, within its bounds.

    `exit_code` is None where the command did not finish; a command that a signal ended has 128 and its number.
    `output` is both streams as they came; `left_out` counts the bytes missing between its two halves. `changed` are
    the files it wrote, `removed` those it deleted, `not_returned` the names of those that were too large or too many.
    """

    ending: Ending
    exit_code: int | None
    output: bytes
    left_out: int
    seconds: float
    changed: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    removed: tuple[str, ...] = ()
    not_returned: tuple[str, ...] = ()


class KeptOutput:
    """The beginning and the end of an output of any length, within `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._beginning = bytearray()
        self._end = bytearray()
        self.total = 0

    def add(self, piece: bytes) -> None:
        """Take what came next."""
        self.total += len(piece)
        room = self._half - len(self._beginning)
        self._beginning += piece[:room]
        self._end += piece[room:] if room > 0 else piece
        if len(self._end) > 2 * self._half:
            del self._end[: -self._half]

    @property
    def kept(self) -> tuple[bytes, int]:
        """What is kept, and how many bytes are missing in its middle."""
        end = bytes(self._end[-self._half :])
        return bytes(self._beginning) + end, self.total - len(self._beginning) - len(end)
