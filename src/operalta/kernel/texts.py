"""Bounds on text that people send. Pure."""

import unicodedata

from operalta.kernel.errors import InvalidInput


def checked_text(value: str, field: str, most: int, least: int = 0) -> str:
    """Return `value` as it is. Raise InvalidInput outside the bounds (in characters), or where it cannot be kept.

    A NUL and a lone surrogate have no place in the database's text. With `least` above 0, blanks alone do not do.
    """
    if len(value) > most:
        raise InvalidInput(f"The {field} has at most {most} characters; this one has {len(value)}.", field=field)
    if least and len(value.strip()) < least:
        raise InvalidInput(f"The {field} is missing. Write at least {least} characters.", field=field)
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidInput(f"The {field} holds characters that are not text. Remove them.", field=field)
    return value


def checked_line(value: str, field: str, most: int, least: int = 0) -> str:
    """Return `value` without outer blanks, as `checked_text` does, and refuse control characters and line ends."""
    line = value.strip()
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in line):
        raise InvalidInput(f"The {field} is one line without control characters.", field=field)
    return checked_text(line, field, most, least)
