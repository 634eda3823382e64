"""The archive that an office document is: its directory is judged before anything in it is inflated."""

import io
import posixpath
import struct
import zipfile
from collections.abc import Iterator

from . import limits
from .answer import Reason, Refused

_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_LONGEST_COMMENT = 65_535
_LOCATOR_OF_ZIP64 = b"PK\x06\x07"
_LOCATOR_BYTES = 20
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MARK = b"PK\x03\x04"
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_OLD_OFFICE = bytes.fromhex("d0cf11e0a1b11ae1")
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_PIECE_BYTES = 64 * 1024
_MEBIBYTE = 1024 * 1024


class Archive:
    """The parts of an office document by name, all of them checked. Names are compared without regard to case."""

    def __init__(self, content: bytes) -> None:
        """Look at the directory. Raise Refused for what is no honest archive of an office document."""
        if content.startswith(_OLD_OFFICE):
            raise Refused(Reason.ENCRYPTED if _ENCRYPTED_STREAM in content else Reason.OLD_FORMAT)
        _check_end(content)
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, UnicodeError):
            raise Refused(Reason.DAMAGED) from None
        self._entries = _checked_entries(self._zip.infolist())
        _check_places(content, self._zip.infolist())
        self._left = limits.INFLATED_BYTES

    def __contains__(self, name: str) -> bool:
        """Tell whether there is a part of this name."""
        return name.lower() in self._entries

    def names(self) -> Iterator[str]:
        """Yield the names of all parts, in lower case."""
        yield from self._entries

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the inflated part piece by piece. Raise Refused where it is missing, damaged or too large."""
        entry = self._entries.get(name.lower())
        if entry is None:
            raise Refused(Reason.DAMAGED)
        if entry.file_size > limits.PART_BYTES:
            raise Refused(Reason.TOO_LARGE)
        missing = entry.file_size
        try:
            with self._zip.open(entry) as part:
                while piece := part.read(_PIECE_BYTES):
                    missing -= len(piece)
                    self._left -= len(piece)
                    if self._left < 0:
                        raise Refused(Reason.BOMB)
                    yield piece
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError, ValueError):
            raise Refused(Reason.DAMAGED) from None
        if missing:
            raise Refused(Reason.DAMAGED)


def _check_end(content: bytes) -> None:
    """Judge the record at the end as the library will find it: its size, nothing before, no second format."""
    place = len(content) - _END.size
    if place < 0 or content[place : place + 4] != _END_MARK or content[-2:] != b"\0\0":
        place = content.rfind(_END_MARK, max(0, len(content) - _END.size - _LONGEST_COMMENT))
    if place < 0 or len(content) - place < _END.size or not content.startswith(_LOCAL_MARK):
        raise Refused(Reason.DAMAGED)
    if content[max(0, place - _LOCATOR_BYTES) :].startswith(_LOCATOR_OF_ZIP64):
        raise Refused(Reason.UNSUPPORTED)
    _, disk, first_disk, here, entries, size, offset, comment = _END.unpack_from(content, place)
    if disk or first_disk or here != entries or place - size - offset or place + _END.size + comment != len(content):
        raise Refused(Reason.DAMAGED)
    if entries > limits.ENTRIES or size > limits.DIRECTORY_BYTES:
        raise Refused(Reason.BOMB)


def _checked_entries(found: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    if len(found) > limits.ENTRIES or sum(entry.file_size for entry in found) > limits.INFLATED_BYTES:
        raise Refused(Reason.BOMB)
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        if entry.flag_bits & _ENCRYPTED:
            raise Refused(Reason.ENCRYPTED)
        if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise Refused(Reason.UNSUPPORTED)
        if entry.file_size > max(_MEBIBYTE, limits.RATIO * entry.compress_size):
            raise Refused(Reason.BOMB)
        _check_name(entry.orig_filename)
        name = entry.orig_filename.lower()
        if name in entries:
            raise Refused(Reason.ARCHIVE_NAMES)
        entries[name] = entry
    return entries


def _check_name(name: str) -> None:
    plain = name.removesuffix("/")
    if (
        not plain
        or len(plain) > limits.ENTRY_NAME_CHARACTERS
        or "\\" in plain
        or ":" in plain
        or not plain.isprintable()
        or any(part in {"", ".", ".."} for part in plain.split("/"))
    ):
        raise Refused(Reason.ARCHIVE_NAMES)


def _check_places(content: bytes, found: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that share bytes: a small archive could inflate one stretch a thousand times."""
    free_from = 0
    for entry in sorted(found, key=lambda entry: entry.header_offset):
        start = entry.header_offset
        if start < free_from:
            raise Refused(Reason.BOMB)
        if start + _LOCAL.size > len(content):
            raise Refused(Reason.DAMAGED)
        fields = _LOCAL.unpack_from(content, start)
        if fields[0] != _LOCAL_MARK:
            raise Refused(Reason.DAMAGED)
        free_from = start + _LOCAL.size + fields[9] + fields[10] + entry.compress_size
        if free_from > len(content):
            raise Refused(Reason.DAMAGED)


def resolved(source: str, target: str) -> str:
    """Return the name of the part that `target`, written in the part `source`, stands for; never above the root."""
    joined = posixpath.normpath(posixpath.join("/", posixpath.dirname(source), target))
    return joined.lstrip("/")
