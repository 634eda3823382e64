"""Tables as plain text (CSV): the sign between the fields is found out, every row becomes a line."""

import csv
import io

from . import limits
from .answer import Answer, Reason, Refused
from .encoding import decoded
from .rows import Rows

_SEPARATORS = ",;\t|"
_LOOKED_AT_CHARACTERS = 64 * 1024
_LOOKED_AT_ROWS = 20


def read_table(content: bytes, answer: Answer) -> None:
    """Add the rows of a CSV file. Raise Refused."""
    text = decoded(content, answer)
    csv.field_size_limit(limits.SOURCE_BYTES + 1)
    rows = Rows(answer)
    count = 0
    try:
        for count, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=_separator_of(text)), 1):
            if count > limits.ROWS:
                answer.cut = True
                break
            rows.add(count, row)
    except csv.Error:
        raise Refused(Reason.DAMAGED) from None
    rows.hand_over()
    answer.facts["rows"] = min(count, limits.ROWS)


def _separator_of(text: str) -> str:
    """Return the sign that cuts most of the first rows into the same number of fields, at least two."""
    beginning = text[:_LOOKED_AT_CHARACTERS]
    best, most = ",", 0
    for separator in _SEPARATORS:
        widths: list[int] = []
        for row in csv.reader(io.StringIO(beginning, newline=""), delimiter=separator):
            if row:
                widths.append(len(row))
            if len(widths) == _LOOKED_AT_ROWS:
                break
        usual = max(set(widths), key=widths.count, default=1)
        score = widths.count(usual) * min(usual, limits.COLUMNS) if usual > 1 else 0
        if score > most:
            best, most = separator, score
    return best
