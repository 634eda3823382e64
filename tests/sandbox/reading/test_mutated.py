"""Honest documents with a few bytes changed, by chance from a fixed seed: nothing but a refusal or bounded text."""

import random
from pathlib import Path

import pytest

from operalta.sandbox.reading.program.run import READ, REFUSED
from operalta.sandbox.reading.results import document_of, refusal_of
from operalta.sandbox.reading.rules import DocumentKind
from tests.sandbox.reading import samples
from tests.sandbox.reading.running import Nursery
from tests.sandbox.reading.test_hostile import check_bounds

PLAIN_WORD = samples.stored(samples.word_parts(samples.paragraph("words", "a") * 3, links=samples.relations()))
PLAIN_SHEET = samples.stored(
    samples.workbook_parts(
        "<row r='1'><c r='A1' s='1'><v>45000</v></c><c r='B1' t='s'><v>0</v></c></row>" * 3,
        shared="<si><t>x</t></si>",
        styles="<cellXfs><xf numFmtId='0'/><xf numFmtId='14'/></cellXfs>",
    )
)
DOCUMENTS: dict[DocumentKind, bytes] = {
    DocumentKind.PDF: samples.pages(
        samples.packed(samples.text_operators("one")), samples.stream(samples.text_operators("two")),
        root=b"/Outlines 8 0 R", more=[b"<</First 9 0 R>>", b"<</Title(x)/Dest[4 0 R/Fit]/Parent 8 0 R>>"],
    ),
    DocumentKind.DOCX: PLAIN_WORD,
    DocumentKind.XLSX: PLAIN_SHEET,
    DocumentKind.PPTX: samples.slides(samples.shape("title", "title") + samples.shape("body")),
    DocumentKind.HTML: b"<title>t</title><h1>a</h1><p hidden>b</p><table><tr><td>c<td>&amp;</table>" * 3,
    DocumentKind.MARKDOWN: b"# a\n\nb <!-- c --> d\n```\ne\n```\n" * 3,
    DocumentKind.CSV: b'a;"b\n";c\n1;2;3\n' * 3,
    DocumentKind.JPEG: samples.jpeg(7, 9),
    DocumentKind.TIFF: samples.tiff(7, 9),
    DocumentKind.WEBP: samples.webp(7, 9),
}  # fmt: skip
_PIECES = (b"", b"\0", b"\xff" * 4, b"<", b">>", b"9999999999", b"-1", b"R", b"(", b"[", b"&a;", b"\x80\x80")


def mutated(content: bytes, chance: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(made) or 1)
        match chance.randrange(4):
            case 0:
                made[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                made[place : place + chance.randrange(9)] = chance.choice(_PIECES)
            case 2:
                made[place:place] = made[chance.randrange(len(made) or 1) :][: chance.randrange(200)]
            case _:
                del made[place : place + chance.randrange(1, 99)]
    return bytes(made)


def read_mutated(nursery: Nursery, folder: Path, kind: DocumentKind, seeds: range) -> None:
    for seed in seeds:
        content = mutated(DOCUMENTS[kind], random.Random(f"{kind}{seed}"))  # noqa: S311 - the same at every run
        code, output, complaints = nursery.read(kind, content, folder)
        assert complaints == b"", seed
        assert code in {READ, REFUSED}, seed
        if code == READ:
            check_bounds(document_of(kind, output))
        else:
            assert refusal_of(output).public_text
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_mutated_document_is_refused_or_bounded(nursery: Nursery, tmp_path: Path, kind: DocumentKind) -> None:
    read_mutated(nursery, tmp_path, kind, range(40))


@pytest.mark.soak
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_thousands_of_mutated_documents(nursery: Nursery, tmp_path: Path, kind: DocumentKind) -> None:
    read_mutated(nursery, tmp_path, kind, range(40, 5_000))


def test_a_document_that_breaks_off_anywhere_is_refused_or_bounded(nursery: Nursery, tmp_path: Path) -> None:
    for kind, content in DOCUMENTS.items():
        for length in range(0, len(content), max(1, len(content) // 6)):
            code, output, complaints = nursery.read(kind, content[:length], tmp_path)
            assert complaints == b""
            assert code in {READ, REFUSED}
            assert output
