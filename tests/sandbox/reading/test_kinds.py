import pytest

from operalta.sandbox.errors import NotWhatItsNameSays
from operalta.sandbox.reading.rules import DocumentKind, kind_of


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("reports/May 2026.PDF", b"%PDF-1.7", DocumentKind.PDF),
        ("a.pdf", b"@PJL SET\r\n%PDF-1.4", DocumentKind.PDF),
        ("a.tar.docx", b"PK\3\4", DocumentKind.DOCX),
        ("a.xlsm", bytes.fromhex("d0cf11e0a1b11ae1"), DocumentKind.XLSX),
        ("a.md", b"", DocumentKind.MARKDOWN),
        ("a.txt", b"MZ is a country's code", DocumentKind.TEXT),
        ("a.txt", b"a text about %PDF- marks", DocumentKind.TEXT),
        ("a.csv", b"\xff\xfea\0", DocumentKind.CSV),
        ("pdf", b"%PDF-1.7", None),
        ("a.pdf/b", b"%PDF-1.7", None),
        (".pdf", b"%PDF-1.7", None),
        ("", b"", None),
        ("a.zip", b"PK\3\4", None),
        ("a.svg", b"<svg>", None),
    ],
)
def test_a_kind_is_told_by_name_and_first_bytes(name: str, head: bytes, kind: DocumentKind | None) -> None:
    assert kind_of(name, head) is kind


@pytest.mark.parametrize(
    ("name", "head"),
    [("a.pdf", b"PK\3\4%PDF-1.7"), ("a.docx", b"text"), ("a.txt", b"a\0b"), ("a.webp", b"RIFF\0\0\0\0WAVE")],
)
def test_a_name_that_lies_is_refused_in_words(name: str, head: bytes) -> None:
    with pytest.raises(NotWhatItsNameSays, match="This file is named like a") as refusal:
        kind_of(name, head)
    assert "or choose another file" in refusal.value.public_text
