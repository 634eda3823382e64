"""Bytes of a text become characters: UTF-8, UTF-16 where it says so, else what Windows writes in the West."""

import codecs

from .answer import Answer, Note, Reason, Refused

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, ""),
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""A sign of UTF-32 begins with that of UTF-16."""

_BINARY_SHARE = 0.05
_LOOKED_AT = 64 * 1024
_TEXT_CONTROLS = b"\t\n\x0b\x0c\r\x1b"
_CONTROLS = bytes(sign for sign in [*range(32), 127] if sign not in _TEXT_CONTROLS)


def decoded(content: bytes, answer: Answer) -> str:
    """Return the text in `content`, bad characters shown as missing ones. Raise Refused for what is no text."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            if not encoding:
                raise Refused(Reason.UNSUPPORTED)
            return content[len(mark) :].decode(encoding, errors="replace")
    beginning = content[:_LOOKED_AT]
    if len(beginning) - len(beginning.translate(None, _CONTROLS)) > len(beginning) * _BINARY_SHARE:
        raise Refused(Reason.UNSUPPORTED)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        answer.note(Note.ENCODING_GUESSED)
        return content.decode("cp1252", errors="replace")
