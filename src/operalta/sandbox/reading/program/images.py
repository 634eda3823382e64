"""Images: only what their headers tell is read, kind and size. No picture is ever unpacked."""

import struct
import zlib

from . import limits
from .answer import Answer, Reason, Refused

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER = 13
_WEBP_LOSSLESS = 0x2F
_MARKER = 0xFF
_JPEG_FRAMES = frozenset([*range(0xC0, 0xD0)]) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset([0x01, *range(0xD0, 0xD9)])
_JPEG_ENDS = frozenset({0xD9, 0xDA})
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_TIFF_SHORT, _TIFF_LONG = 3, 4
_BMP_CORE_HEADER = 12


def read_png(content: bytes, answer: Answer) -> None:
    """Tell the size of a PNG. Raise Refused."""
    length, _, width, height = _fields(">4L", content, 8)
    (checked,) = _fields(">L", content, 29)
    if (
        not content.startswith(_PNG)
        or length != _PNG_HEADER
        or content[12:16] != b"IHDR"
        or zlib.crc32(content[12:29]) != checked
    ):
        raise Refused(Reason.DAMAGED)
    _tell(answer, width, height)


def read_gif(content: bytes, answer: Answer) -> None:
    """Tell the size of a GIF. Raise Refused."""
    if not content.startswith((b"GIF87a", b"GIF89a")):
        raise Refused(Reason.DAMAGED)
    width, height = _fields("<HH", content, 6)
    _tell(answer, width, height)


def read_bmp(content: bytes, answer: Answer) -> None:
    """Tell the size of a BMP. Raise Refused."""
    if not content.startswith(b"BM"):
        raise Refused(Reason.DAMAGED)
    (header,) = _fields("<L", content, 14)
    width, height = _fields("<HH" if header == _BMP_CORE_HEADER else "<ll", content, 18)
    _tell(answer, width, abs(height))  # a negative height: the rows stand from the top


def read_webp(content: bytes, answer: Answer) -> None:
    """Tell the size of a WebP. Raise Refused."""
    kind = content[12:16]
    if not content.startswith(b"RIFF") or content[8:12] != b"WEBP":
        raise Refused(Reason.DAMAGED)
    if kind == b"VP8X":
        packed = _fields("<6B", content, 24)
        width, height = (1 + int.from_bytes(bytes(packed[at : at + 3]), "little") for at in (0, 3))
    elif kind == b"VP8L":
        marker, bits = _fields("<BL", content, 20)
        if marker != _WEBP_LOSSLESS:
            raise Refused(Reason.DAMAGED)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = _fields("<HH", content, 26)
        if content[23:26] != b"\x9d\x01\x2a":
            raise Refused(Reason.DAMAGED)
        width, height = width & 0x3FFF, height & 0x3FFF
    else:
        raise Refused(Reason.UNSUPPORTED)
    _tell(answer, width, height)


def read_jpeg(content: bytes, answer: Answer) -> None:
    """Tell the size of a JPEG, from the first frame. Raise Refused."""
    if not content.startswith(b"\xff\xd8"):
        raise Refused(Reason.DAMAGED)
    place = 2
    for _ in range(limits.IMAGE_SEGMENTS):
        start, marker = _fields("BB", content, place)
        if start != _MARKER or marker in _JPEG_ENDS:
            break
        if marker == _MARKER:
            place += 1
        elif marker in _JPEG_ALONE:
            place += 2
        elif marker in _JPEG_FRAMES:
            _, _, height, width = _fields(">HBHH", content, place + 2)
            _tell(answer, width, height)
            return
        else:
            (length,) = _fields(">H", content, place + 2)
            place += 2 + length
    raise Refused(Reason.DAMAGED)


def read_tiff(content: bytes, answer: Answer) -> None:
    """Tell the size of a TIFF's first picture. Raise Refused."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None:
        raise Refused(Reason.UNSUPPORTED)
    (directory,) = _fields(f"{order}L", content, 4)
    (count,) = _fields(f"{order}H", content, directory)
    sides: dict[int, int] = {}
    for entry in range(min(count, limits.IMAGE_SEGMENTS)):
        at = directory + 2 + 12 * entry
        tag, kind, values = _fields(f"{order}HHL", content, at)
        if tag in {_TIFF_WIDTH, _TIFF_HEIGHT} and values == 1 and kind in {_TIFF_SHORT, _TIFF_LONG}:
            (sides[tag],) = _fields(f"{order}{'H' if kind == _TIFF_SHORT else 'L'}", content, at + 8)
    if set(sides) != {_TIFF_WIDTH, _TIFF_HEIGHT}:
        raise Refused(Reason.DAMAGED)
    _tell(answer, sides[_TIFF_WIDTH], sides[_TIFF_HEIGHT])


def _fields(form: str, content: bytes, place: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, content, place)
    except struct.error:
        raise Refused(Reason.DAMAGED) from None


def _tell(answer: Answer, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise Refused(Reason.DAMAGED)
    if max(width, height) > limits.LONGEST_SIDE or width * height > limits.PIXELS:
        raise Refused(Reason.BOMB)
    answer.facts.update(width=width, height=height)
