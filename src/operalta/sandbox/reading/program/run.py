"""The program from start to end: the document in, the answer out, no traceback ever."""

import io
import logging
import os
import resource
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from . import limits
from .answer import Answer, Full, Note, OutOfTime, Reason, Refused, write_refusal
from .work import start_clock, stop_clock

READ = 0
BAD_USE = 2
REFUSED = 3
STRAYED = 70
"""The exit codes: an answer; an unknown kind; a refusal; a parser reached for what it has no business with."""

# Imported one by one, so that what one kind needs is not loaded for another.
READERS = {
    "pdf": ("pdf", "read_pdf"),
    "docx": ("word", "read_word"),
    "pptx": ("slides", "read_slides"),
    "xlsx": ("sheets", "read_sheets"),
    "csv": ("tables", "read_table"),
    "markdown": ("markup", "read_markdown"),
    "html": ("markup", "read_html"),
    "text": ("markup", "read_plain"),
    "png": ("images", "read_png"),
    "jpeg": ("images", "read_jpeg"),
    "gif": ("images", "read_gif"),
    "webp": ("images", "read_webp"),
    "bmp": ("images", "read_bmp"),
    "tiff": ("images", "read_tiff"),
}
_FORBIDDEN_EVENTS = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system", "ctypes.", "pty.")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

Reader = Callable[[bytes, Answer], None]


def main(kind: str) -> int:
    """Read the document on standard input as `kind`, answer on standard output, and return the exit code."""
    if kind not in READERS:
        return BAD_USE
    _quiet()
    module, function = READERS[kind]
    reader: Reader = getattr(import_module(f"{__package__}.{module}"), function)
    forbid_straying()
    content = sys.stdin.buffer.read(limits.SOURCE_BYTES + 1)
    answer = Answer()
    reason = _read(reader, content, answer)
    del content
    output = io.BytesIO()
    if reason is None:
        answer.finish()
        answer.write(output)
    else:
        write_refusal(reason, output)
    sys.stdout.buffer.write(output.getbuffer())
    sys.stdout.buffer.flush()
    return READ if reason is None else REFUSED


def forbid_straying() -> None:
    """From now on, end the process where it opens a file to write, or any outside Python's and the program's own.

    The sandbox is what holds; this shows at once when a parser follows a link out of a document.
    """
    allowed = tuple(f"{os.path.realpath(entry)}/" for entry in (*sys.path, Path(__file__).parent) if entry)
    sys.addaudithook(lambda event, arguments: _end_where_it_strays(event, arguments, allowed))


def _end_where_it_strays(event: str, arguments: tuple[object, ...], allowed: tuple[str, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & _WRITING
        named = isinstance(path, str | bytes)
        if writes or (named and not f"{os.path.realpath(os.fsdecode(path))}/".startswith(allowed)):
            os._exit(STRAYED)
    elif event.startswith(_FORBIDDEN_EVENTS):
        os._exit(STRAYED)


def _quiet() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    sys.excepthook = ignore
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def ignore(*_: object) -> None:
    """Say nothing: what a fault tells of a document may be the document's own words."""


def _read(reader: Reader, content: bytes, answer: Answer) -> Reason | None:
    """Return None where there is an answer, cut or whole; else why there is none."""
    if len(content) > limits.SOURCE_BYTES:
        return Reason.TOO_LARGE
    try:
        try:
            start_clock()
            reader(content, answer)
        finally:
            stop_clock()
    except Refused as refusal:
        return refusal.reason
    except Full:
        answer.cut = True
    except (OutOfTime, MemoryError):
        return _stopped(answer, Reason.TOO_MUCH_WORK)
    except RecursionError:
        return _stopped(answer, Reason.TOO_DEEP)
    except Exception:  # noqa: BLE001 - whatever a parser trips over, people are told the same
        return Reason.DAMAGED
    return None


def _stopped(answer: Answer, reason: Reason) -> Reason | None:
    """Return None where something was read before the work was stopped: that is worth having."""
    if not answer.passages:
        return reason
    answer.cut = True
    answer.note(Note.STOPPED)
    return None
