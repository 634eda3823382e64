"""The one writer of CSV: what leaves in a table is data, never a formula that a spreadsheet would run. Pure.

Rows end in CRLF and every text is quoted (RFC 4180), so that a separator of another country inside a text splits
nothing. A text that a spreadsheet could take for a formula gets an apostrophe in front, which says "text" there.
Numbers and dates come as such from our own types, and stay as they are.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

Cell: TypeAlias = str | int | Decimal | date | UUID | None

_STARTS = frozenset("=+-@\u2212")  # the last is the mathematical minus, to which raised and lowered forms map
_CONTROLS = frozenset("\t\r\n")


def write_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Return the table in UTF-8. Dates become ISO 8601, None an empty cell."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow([defused(name) for name in header])
    for row in rows:
        writer.writerow([_plain(cell) for cell in row])
    return buffer.getvalue().encode("utf-8", "replace")


def defused(text: str) -> str:
    """Return `text`, with an apostrophe in front where a spreadsheet could read it as a formula.

    That is: `=`, `+`, `-` or `@` as the first visible character, full-width and small forms among them, after
    whatever white space, controls and invisible characters; or a tab or line end at the start.
    """
    if text and text[0] in _CONTROLS:
        return f"'{text}"
    for character in text:
        if character.isspace() or unicodedata.category(character).startswith("C"):
            continue
        return f"'{text}" if unicodedata.normalize("NFKC", character)[:1] in _STARTS else text
    return text


def _plain(cell: Cell) -> str | int | Decimal:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return defused(cell)
    if isinstance(cell, int | Decimal):
        return _number(cell)
    return cell.isoformat() if isinstance(cell, date) else str(cell)


def _number(value: int | Decimal) -> str | int | Decimal:
    if isinstance(value, int):
        return value
    return Decimal(format(value.normalize(), "f")) if value.is_finite() else ""
