import csv
import io
import unicodedata
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.workspace.csv_export import defused, write_csv


@pytest.mark.parametrize(
    "cell",
    [
        '=HYPERLINK("https://evil.example","x")',
        "+1+1",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "\ttext after a tab",
        "   =1+1",
        "\u00a0=1+1",
        "\u200b=1+1",
        "\ufeff=1+1",
        "\x00=1",
        "\uff1d1+1",
        "\uff0b1",
        "\uff0d1",
        "\uff20SUM(A1)",
        "\ufe661",
        "\u22121",
        "\u207b1",
    ],
)
def test_a_formula_in_any_form_is_text(cell: str) -> None:
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "plain", "a=b", "mail@example.com", "1-2", "   ", "«=»", "'=1"])
def test_what_is_no_formula_stays_as_it_is(cell: str) -> None:
    assert defused(cell) == cell


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), max_size=5))
def test_no_cell_of_any_table_begins_a_formula_and_none_is_lost(rows: list[list[str]]) -> None:
    written = write_csv(("a", "b"), rows).decode()
    read = list(csv.reader(io.StringIO(written, newline="")))
    assert read[0] == ["a", "b"]
    assert [[cell.removeprefix("'") for cell in row] for row in read[1:]] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
    for row in read[1:]:
        for cell in row:
            visible = unicodedata.normalize("NFKC", cell).lstrip()
            assert not visible.startswith(("=", "+", "-", "@"))
            assert not cell.startswith(("\t", "\r", "\n"))


def test_numbers_stay_numbers_and_dates_are_iso() -> None:
    written = write_csv(("a", "b", "c", "d"), [(Decimal("-1200.500000"), date(2026, 3, 1), None, 7)])
    assert written == b'"a","b","c","d"\r\n-1200.5,"2026-03-01","",7\r\n'
    assert write_csv(("a",), [(Decimal("1E+3"),), (Decimal("NaN"),)]) == b'"a"\r\n1000\r\n""\r\n'
