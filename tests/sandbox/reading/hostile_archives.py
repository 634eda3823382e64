"""Office documents that attack: by their archive, by their XML, by what they point to."""

import random
import struct
import zipfile
from collections.abc import Callable

from operalta.kernel.errors import Refusal
from operalta.sandbox.errors import (
    DocumentDamaged,
    DocumentOfOldFormat,
    DocumentProtected,
    DocumentSuspicious,
    DocumentTooLarge,
    KindNotRead,
    NotWhatItsNameSays,
)
from tests.sandbox.reading import samples
from tests.sandbox.reading.samples import SHEET, WORD, archive, paragraph, relations, shape, word, word_document

Outcome = type[Refusal] | str
"""The refusal, or a text that is among what was read."""

Sample = tuple[str, Callable[[], bytes], Outcome]

HONEST = "Honest words"
_MEBIBYTE = 1024 * 1024
_OLD_OFFICE = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)


def noise(size: int) -> bytes:
    return random.Random(7).randbytes(size)  # noqa: S311 - the same at every run


def laughs(kind: str = "word") -> str:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{entities}]><{kind}>&l9;</{kind}>'


def with_type(declared: str, inner: str = "&e;") -> bytes:
    body = f"<w:document {WORD}><w:body>{paragraph(inner)}</w:body></w:document>"
    return word_document(f'<?xml version="1.0"?><!DOCTYPE w:document {declared}>{body}')


def patched(content: bytes, name: bytes, at: int, field: bytes, *, local: int = -1) -> bytes:
    """An archive with a field of the directory's entry `name` overwritten, and of its local header at `local`."""
    made = bytearray(content)
    entry = made.rindex(name) - 46
    made[entry + at : entry + at + len(field)] = field
    if local >= 0:
        header = made.index(name) - 30
        made[header + local : header + local + len(field)] = field
    return bytes(made)


def renamed(name: str) -> bytes:
    """An honest document with one entry more, whose name is written as it stands."""
    stand_in = "q" * len(name)
    return word(more={stand_in: "x"}).replace(stand_in.encode(), name.encode())


def doubled(name: str) -> bytes:
    stand_in = "q" * len(name)
    made = archive({**samples.word_parts(), stand_in: f"<w:document {WORD}>{paragraph('other words')}</w:document>"})
    return made.replace(stand_in.encode(), name.encode())


def overlapping() -> bytes:
    """Two entries of the directory that share the bytes of one."""
    made = word(more={"word/a.xml": "x" * 500, "word/b.xml": "y" * 500})
    place = struct.pack("<L", made.index(b"word/a.xml") - 30)
    return patched(made, b"word/b.xml", 42, place)


def quoted() -> bytes:
    """An entry that says to be so long that it holds the next one too."""
    made = word(more={"word/a.xml": noise(500), "word/b.xml": noise(500)})
    return patched(made, b"word/a.xml", 20, struct.pack("<L", 900))


def end_record(content: bytes, at: int, field: bytes) -> bytes:
    place = content.rindex(b"PK\x05\x06") + at
    return content[:place] + field + content[place + len(field) :]


def zip64() -> bytes:
    made = word()
    place = made.rindex(b"PK\x05\x06")
    return made[:place] + b"PK\x06\x07" + bytes(16) + made[place:]


def compressed(method: int) -> bytes:
    return archive(samples.word_parts(), method)


def nested_bombs() -> bytes:
    inner = archive({f"{n}.txt": bytes(_MEBIBYTE) for n in range(20)})
    return word(more={"word/embeddings/a.zip": archive({f"{n}.zip": inner for n in range(20)})})


def with_long_value() -> bytes:
    value = (noise(5 * _MEBIBYTE).hex()).encode()
    xml = f'<w:document {WORD} a="'.encode() + value + b'"><w:body/></w:document>'
    return archive({**samples.word_parts(), "word/document.xml": xml}, zipfile.ZIP_STORED)


def bomb_of_many() -> bytes:
    """Entries that each declare a mebibyte, which alone would be no reason to refuse."""
    made = bytearray(word(more={f"many{n}": b"" for n in range(260)}))
    place = made.index(b"PK\1\2")
    while (place := made.find(b"PK\1\2", place + 46)) >= 0:
        made[place + 24 : place + 28] = struct.pack("<L", _MEBIBYTE)
    return bytes(made)


def large_part() -> bytes:
    block = noise(1_000).hex() + "x" * 100_000
    return word_document(f"<w:document {WORD}>" + block * 700)


def deep(open_tag: str, close_tag: str, times: int) -> str:
    return f"<w:document {WORD}><w:body>{open_tag * times}{paragraph('x')}{close_tag * times}</w:body></w:document>"


def sheet_of(rows: str) -> Callable[[], bytes]:
    return lambda: samples.stored(samples.workbook_parts(rows))


def many_sheets() -> bytes:
    listed = "".join(f'<sheet name="S{n}" sheetId="{n}" r:id="s1"/>' for n in range(50_000))
    book = f"<workbook {SHEET} {samples.RELATION}><sheets>{listed}</sheets></workbook>"
    return samples.workbook("<row><c><v>1</v></c></row>", {"xl/workbook.xml": book})


def one_slide_many_times() -> bytes:
    listed = '<p:sldId id="256" r:id="s1"/>' * 50_000
    show = f"<p:presentation {samples.SLIDE} {samples.RELATION}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>"
    return samples.stored(samples.slides_parts(shape(HONEST), more={"ppt/presentation.xml": show}))


def macros() -> bytes:
    return word(more={"word/vbaProject.bin": _OLD_OFFICE + b"Sub AutoOpen()"})


def with_part(part: str, kind: str) -> bytes:
    return word(more={f"word/{part}": laughs("w:styles")}, links=relations(("a", kind, part)))


def with_title(title: str) -> bytes:
    top = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="a" Type="x/officeDocument" Target="word/document.xml"/>'
        '<Relationship Id="b" Type="x/core-properties" Target="core.xml"/></Relationships>'
    )
    return archive({**samples.word_parts(), "_rels/.rels": top, "core.xml": title})


ARCHIVES: dict[str, Sample] = {
    "bomb": ("a.docx", lambda: word_document(bytes(60 * _MEBIBYTE)), DocumentSuspicious),
    "bomb of many": ("a.docx", bomb_of_many, DocumentSuspicious),
    "bombs within": ("a.docx", nested_bombs, HONEST),
    "overlapping entries": ("a.docx", overlapping, DocumentSuspicious),
    "quoted entries": ("a.docx", quoted, DocumentSuspicious),
    "size too small": (
        "a.docx",
        lambda: patched(word(), b"word/document.xml", 24, struct.pack("<L", 9), local=22),
        DocumentDamaged,
    ),
    "size too large": (
        "a.docx",
        lambda: patched(word(), b"word/document.xml", 24, struct.pack("<L", 999), local=22),
        DocumentDamaged,
    ),
    "part too large": ("a.docx", large_part, DocumentTooLarge),
    "name above": ("a.docx", lambda: renamed("../evil.xml"), DocumentSuspicious),
    "name above, further in": ("a.docx", lambda: renamed("word/../../evil.xml"), DocumentSuspicious),
    "name from the root": ("a.docx", lambda: renamed("/etc/passwd"), DocumentSuspicious),
    "name with backslashes": ("a.docx", lambda: renamed("..\\evil.xml"), DocumentSuspicious),
    "name with a drive": ("a.docx", lambda: renamed("C:evil.xml"), DocumentSuspicious),
    "name with NUL": ("a.docx", lambda: renamed("word/a.xml\0.png"), DocumentSuspicious),
    "name with a control": ("a.docx", lambda: renamed("word/a\x1b.xml"), DocumentSuspicious),
    "name with an empty part": ("a.docx", lambda: renamed("word//a.xml"), DocumentSuspicious),
    "name too long": ("a.docx", lambda: renamed("w" * 2_000), DocumentSuspicious),
    "name twice": ("a.docx", lambda: doubled("word/document.xml"), DocumentSuspicious),
    "name twice in capitals": ("a.docx", lambda: doubled("WORD/document.xml"), DocumentSuspicious),
    "too many entries": ("a.docx", lambda: word(more={f"{n}": b"" for n in range(5_001)}), DocumentSuspicious),
    "long directory": ("a.docx", lambda: word(more={f"{n:0>390}": b"" for n in range(3_000)}), DocumentSuspicious),
    "encrypted entry": (
        "a.docx",
        lambda: patched(word(), b"word/document.xml", 8, b"\1\0", local=6),
        DocumentProtected,
    ),
    "other packing": ("a.docx", lambda: compressed(zipfile.ZIP_LZMA), KindNotRead),
    "zip64": ("a.docx", zip64, KindNotRead),
    "several disks": ("a.docx", lambda: end_record(word(), 4, b"\1\0"), DocumentDamaged),
    "directory elsewhere": ("a.docx", lambda: end_record(word(), 16, b"\1\0\0\0"), DocumentDamaged),
    "something before": ("a.docx", lambda: b"PK\3\4<script>" + word(), DocumentDamaged),
    "a program before": ("a.docx", lambda: b"MZ\x90\0" + word(), NotWhatItsNameSays),
    "something behind": ("a.docx", lambda: word() + b"%PDF-1.7", DocumentDamaged),
    "cut off": ("a.docx", lambda: word()[:-30], DocumentDamaged),
    "encrypted document": (
        "a.docx",
        lambda: _OLD_OFFICE + "EncryptedPackage".encode("utf-16-le"),
        DocumentProtected,
    ),
    "old document": ("a.xlsx", lambda: _OLD_OFFICE + "Workbook".encode("utf-16-le"), DocumentOfOldFormat),
    "no main part": ("a.docx", lambda: archive({"word/document.xml": "<x/>"}), DocumentDamaged),
    "main part outside": (
        "a.docx",
        lambda: archive({"_rels/.rels": relations(("r", "officeDocument", "../../../etc/passwd"))}),
        DocumentDamaged,
    ),
    "main part elsewhere": (
        "a.docx",
        lambda: archive({"_rels/.rels": relations(external=[("officeDocument", "file:///etc/passwd")])}),
        DocumentDamaged,
    ),
    "macros": ("a.docm", macros, HONEST),
}

XML: dict[str, Sample] = {
    "laughs": ("a.docx", lambda: word_document(laughs()), DocumentSuspicious),
    "laughs in UTF-16": ("a.docx", lambda: word_document(laughs().encode("utf-16")), DocumentSuspicious),
    "laughs in relations": (
        "a.docx",
        lambda: archive({**samples.word_parts(), "_rels/.rels": laughs()}),
        DocumentSuspicious,
    ),
    "laughs in styles": ("a.docx", lambda: with_part("s.xml", "styles"), DocumentSuspicious),
    "laughs in comments": ("a.docx", lambda: with_part("c.xml", "comments"), DocumentSuspicious),
    "laughs in the title": ("a.docx", lambda: with_title(laughs()), DocumentSuspicious),
    "laughs in a workbook": ("a.xlsx", lambda: samples.workbook(sheet=laughs()), DocumentSuspicious),
    "laughs in shared strings": (
        "a.xlsx",
        lambda: samples.workbook("", {"xl/sharedStrings.xml": laughs()}),
        DocumentSuspicious,
    ),
    "laughs in a slide": (
        "a.pptx",
        lambda: samples.slides(more={"ppt/slides/slide1.xml": laughs()}),
        DocumentSuspicious,
    ),
    "one long entity often": (
        "a.docx",
        lambda: with_type(f'[<!ENTITY e "{"x" * 50_000}">]', "&e;" * 50_000),
        DocumentSuspicious,
    ),
    "entity from a file": (
        "a.docx",
        lambda: with_type('[<!ENTITY e SYSTEM "file:///etc/passwd">]'),
        DocumentSuspicious,
    ),
    "entity from the net": (
        "a.docx",
        lambda: with_type('[<!ENTITY e SYSTEM "http://127.0.0.1/">]'),
        DocumentSuspicious,
    ),
    "parameter entity": (
        "a.docx",
        lambda: with_type('[<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]', "x"),
        DocumentSuspicious,
    ),
    "type from outside": ("a.docx", lambda: with_type('SYSTEM "file:///etc/passwd"', "x"), DocumentSuspicious),
    "type alone": ("a.docx", lambda: with_type("", "x"), DocumentSuspicious),
    "inclusion": (
        "a.docx",
        lambda: word(
            '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
            + paragraph(HONEST)
        ),
        HONEST,
    ),
    "deep": (
        "a.docx",
        lambda: samples.stored({**samples.word_parts(), "word/document.xml": deep("<w:x>", "</w:x>", 100_000)}),
        DocumentTooLarge,
    ),
    "deep tables": (
        "a.docx",
        lambda: word_document(deep("<w:tbl><w:tr><w:tc>", "</w:tc></w:tr></w:tbl>", 500)),
        DocumentTooLarge,
    ),
    "deep text boxes": ("a.docx", lambda: word_document(deep("<w:p>", "</w:p>", 190)), "x"),
    "never closed": ("a.docx", lambda: word_document(f"<w:document {WORD}><w:body>" + "<w:p>" * 99), DocumentDamaged),
    "long value": ("a.docx", with_long_value, DocumentSuspicious),
    "many attributes": (
        "a.docx",
        lambda: word_document(f"<w:document {WORD} " + " ".join(f'a{n}="{n}"' for n in range(100_000)) + "/>"),
        "",
    ),
    "unknown encoding": (
        "a.docx",
        lambda: word_document('<?xml version="1.0" encoding="rot13"?><x/>'),
        DocumentDamaged,
    ),
    "encoding of many bytes": (
        "a.docx",
        lambda: word_document('<?xml version="1.0" encoding="utf-7"?><x/>'),
        DocumentDamaged,
    ),
    "wrong encoding": (
        "a.docx",
        lambda: word_document(b'<?xml version="1.0" encoding="utf-8"?><x>\xff</x>'),
        DocumentDamaged,
    ),
    "lone surrogate": ("a.docx", lambda: word(paragraph("&#xD800;")), DocumentDamaged),
    "NUL": ("a.docx", lambda: word(paragraph("a\0b")), DocumentDamaged),
    "turned and hidden signs": (
        "a.docx",
        lambda: word(paragraph("Honest\u202e \U000e0069\U000e0067\u2066words\u200b")),
        HONEST,
    ),
    "styles in a circle": (
        "a.docx",
        lambda: word(
            paragraph(HONEST, "a"),
            {"word/s.xml": f'<w:styles {WORD}><w:style w:styleId="a"><w:basedOn w:val="a"/></w:style></w:styles>'},
            relations(("s", "styles", "s.xml")),
        ),
        HONEST,
    ),
    "a million paragraphs": ("a.docx", lambda: word(noise(200).hex() + "<w:p/>" * 1_000 + paragraph(HONEST)), HONEST),
}

SHEETS_AND_SLIDES: dict[str, Sample] = {
    "all rows declared": (
        "a.xlsx",
        lambda: samples.workbook(
            sheet=f'<worksheet {SHEET}><dimension ref="A1:XFD1048576"/><sheetData>'
            '<row r="1"><c r="A1"><v>1</v></c></row>'
            '<row r="1048576"><c r="XFD1048576"><v>2</v></c><c r="A1048576"><v>42</v></c></row></sheetData></worksheet>'
        ),
        "1",
    ),
    "all rows there": ("a.xlsx", sheet_of("<row><c><v>1</v></c></row>" * 20_000), "1\n1"),
    "row that is no number": ("a.xlsx", sheet_of(f'<row r="{"9" * 5_000}"><c r="-1"><v>5</v></c></row>'), "5"),
    "column that is none": (
        "a.xlsx",
        sheet_of('<row><c r="ZZZZZZZZ1"><v>5</v></c><c r="\u00c41"><v>6</v></c></row>'),
        "5 | 6",
    ),
    "same column twice": ("a.xlsx", sheet_of('<row><c r="A1"><v>5</v></c><c r="A1"><v>6</v></c></row>'), "5"),
    "shared string that is none": (
        "a.xlsx",
        sheet_of(
            '<row><c t="s"><v>-1</v></c><c t="s"><v>7</v></c><c t="s"><v>99999999999</v></c><c><v>5</v></c></row>'
        ),
        "5",
    ),
    "one long string often": (
        "a.xlsx",
        lambda: samples.stored(
            samples.workbook_parts(
                ("<row>" + '<c t="s"><v>0</v></c>' * 200 + "</row>") * 500,
                shared=f"<si><t>{noise(500_000).hex()}</t></si>",
            )
        ),
        "",
    ),
    "too many shared strings": (
        "a.xlsx",
        lambda: samples.stored(samples.workbook_parts(shared="<si/>" * 300_001)),
        "",
    ),
    "numbers that are none": (
        "a.xlsx",
        lambda: samples.workbook(
            "<row>"
            + "".join(f'<c s="1"><v>{n}</v></c>' for n in ("nan", "inf", "-1", "1e308", "9" * 999, "2958465.9999999"))
            + "</row>",
            styles='<cellXfs><xf/><xf numFmtId="14"/></cellXfs>',
        ),
        "nan | inf | -1",
    ),
    "formula that starts a program": (
        "a.xlsx",
        sheet_of("<row><c t='str'><f>cmd|' /C calc'!A0</f><v>=cmd|' /C calc'!A0</v></c></row>"),
        "=cmd|",
    ),
    "format code that is long": (
        "a.xlsx",
        lambda: samples.workbook(
            '<row><c s="0"><v>5</v></c></row>',
            styles=f'<numFmts><numFmt numFmtId="200" formatCode="{"[" * 90_000}"/></numFmts>'
            '<cellXfs><xf numFmtId="200"/></cellXfs>',
        ),
        "5",
    ),
    "many sheets": ("a.xlsx", many_sheets, "1"),
    "one slide many times": ("a.pptx", one_slide_many_times, HONEST),
    "slide elsewhere": (
        "a.pptx",
        lambda: samples.slides(
            shape(HONEST),
            more={"ppt/slides/_rels/slide1.xml.rels": relations(("n", "notesSlide", "../../../../../../etc/passwd"))},
        ),
        HONEST,
    ),
    "slide that is its own notes": (
        "a.pptx",
        lambda: samples.slides(
            shape(HONEST), more={"ppt/slides/_rels/slide1.xml.rels": relations(("n", "notesSlide", "slide1.xml"))}
        ),
        f"Notes: {HONEST}",
    ),
}
