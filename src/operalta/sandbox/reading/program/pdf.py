"""PDF: the text of every page under the headings of the outline. Scripts and attached files are left out."""

import io
from collections.abc import Mapping
from typing import Any

import pypdf
from pypdf.errors import DependencyError, LimitReachedError, PyPdfError

from . import limits
from .answer import Answer, Full, Note, OutOfTime, Reason, Refused
from .work import is_work_over, limited_to

_BEGINNING_BYTES = 1024  # within which the standard's readers look for the mark
_MEBIBYTE = 1024 * 1024
_STREAM_BYTES = 24 * _MEBIBYTE
_LIMITS: Mapping[str, Any] = {
    "maximum_declared_stream_length": limits.SOURCE_BYTES,
    "array_based_stream_maximum_output_length": _STREAM_BYTES,
    "lzw_maximum_output_length": _STREAM_BYTES,
    "run_length_maximum_output_length": _STREAM_BYTES,
    "zlib_maximum_output_length": _STREAM_BYTES,
    "zlib_maximum_recovery_input_length": _MEBIBYTE,
    "stream_filters_maximum_length": 4,
    "stream_decoding_work_maximum_length": 3 * _STREAM_BYTES,
    "outline_maximum_entries": limits.PAGES,
    "outline_maximum_depth": 20,
    "page_tree_maximum_entries": 50_000,
    "page_tree_maximum_depth": 50,
    "named_destinations_maximum_entries": 20_000,
    "named_destinations_maximum_depth": 20,
    "xform_maximum_invocations_per_extraction": 500,
    "jbig2dec_binary": None,  # a program of its own, for pictures, which are not unpacked here
    "disable_legacy_handling": True,
}
_RECOVERED_OBJECTS = 2_000


def read_pdf(content: bytes, answer: Answer) -> None:
    """Add the text of a PDF, page by page. Raise Refused."""
    if b"%PDF-" not in content[:_BEGINNING_BYTES]:
        raise Refused(Reason.DAMAGED)
    pypdf.overwrite_configuration(**_LIMITS)
    try:
        reader = pypdf.PdfReader(io.BytesIO(content), root_object_recovery_limit=_RECOVERED_OBJECTS)
        if reader.is_encrypted and not _opens_without_password(reader):
            raise Refused(Reason.ENCRYPTED)
        count = len(reader.pages)
    except LimitReachedError:
        raise Refused(Reason.TOO_LARGE) from None
    except DependencyError:
        raise Refused(Reason.ENCRYPTED) from None
    except (PyPdfError, ValueError, TypeError, LookupError, AttributeError, OSError):
        raise Refused(Reason.DAMAGED) from None
    if not count:
        raise Refused(Reason.DAMAGED)
    answer.facts["pages"] = count
    _note_what_is_left_out(reader, content, answer)
    answer.title = _title(reader)
    _read_pages(reader, count, answer)


def _opens_without_password(reader: pypdf.PdfReader) -> bool:
    """Tell whether the document is only restricted, so that everybody may read it."""
    return bool(reader.decrypt(""))


def _read_pages(reader: pypdf.PdfReader, count: int, answer: Answer) -> None:
    headings = _headings(reader)
    for number in range(min(count, limits.PAGES)):
        if number in headings:
            answer.heading(headings[number])
        answer.begin(place=f"page {number + 1}")
        text = _text_of_page(reader, number)
        if text is None:
            answer.note(Note.PAGES_LEFT_OUT)
            answer.cut = True
        elif not text.strip():
            answer.note(Note.PAGES_WITHOUT_TEXT)
        else:
            answer.add(text)
    answer.cut = answer.cut or count > limits.PAGES


def _text_of_page(reader: pypdf.PdfReader, number: int) -> str | None:
    """Return the text of a page; None where it is damaged or would take too long."""
    try:
        with limited_to(limits.PAGE_CPU_SECONDS):
            return reader.pages[number].extract_text()
    except OutOfTime:
        if is_work_over():
            raise
        return None
    except Full:
        raise
    except Exception:  # noqa: BLE001 - one damaged page leaves the others readable
        return None


def _headings(reader: pypdf.PdfReader) -> dict[int, str]:
    """Return the outline's first title for each page where one begins; none where the outline is damaged."""
    found: dict[int, str] = {}
    try:
        with limited_to(limits.PAGE_CPU_SECONDS):
            entries: list[Any] = list(reader.outline)
            while entries:
                entry = entries.pop(0)
                if isinstance(entry, list):
                    entries[:0] = entry
                    continue
                page = reader.get_destination_page_number(entry)
                if page is not None and entry.title:
                    found.setdefault(page, str(entry.title))
    except OutOfTime:
        if is_work_over():
            raise
    except Exception:  # noqa: BLE001 - the text is worth having without its outline
        return {}
    return found


def _title(reader: pypdf.PdfReader) -> str:
    try:
        return str((reader.metadata and reader.metadata.title) or "")
    except Exception:  # noqa: BLE001 - the text is worth having without its title
        return ""


def _note_what_is_left_out(reader: pypdf.PdfReader, content: bytes, answer: Answer) -> None:
    """Tell of scripts and attachments. Those that only a page's object holds are found where it is not packed."""
    keys: set[str] = set()
    try:
        root = reader.root_object
        for holder in (root, root.get("/Names"), root.get("/OpenAction")):
            plain: Any = holder.get_object() if holder is not None else None
            if isinstance(plain, dict):
                keys.update(str(key) for key in plain)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    except Exception:  # noqa: BLE001 - what is damaged here is not run either
        keys.clear()
    if keys & {"/JavaScript", "/JS", "/AA"} or b"/JavaScript" in content:
        answer.note(Note.JAVASCRIPT)
    if "/EmbeddedFiles" in keys or b"/EmbeddedFile" in content:
        answer.note(Note.EMBEDDED)
