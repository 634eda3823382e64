"""Documents made by hand, byte by byte or part by part, so that hostile ones can be honest in all but one thing."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
SHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SLIDE = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
)
RELATION = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_KIND = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"

Parts = Mapping[str, str | bytes]


def archive(parts: Parts, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return buffer.getvalue()


def stored(parts: Parts) -> bytes:
    """An archive that packs nothing, for parts that no ratio may give away."""
    return archive(parts, zipfile.ZIP_STORED)


def relations(*found: tuple[str, str, str], external: Sequence[tuple[str, str]] = ()) -> str:
    inner = "".join(
        f'<Relationship Id="{key}" Type="{_KIND}/{kind}" Target="{target}"/>' for key, kind, target in found
    )
    outer = "".join(
        f'<Relationship Id="x{number}" Type="{_KIND}/{kind}" Target="{target}" TargetMode="External"/>'
        for number, (kind, target) in enumerate(external)
    )
    return f'<Relationships xmlns="{_PACKAGE}">{inner}{outer}</Relationships>'


def paragraph(text: str, style: str = "", run: str = "") -> str:
    described = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{described}<w:r>{run}<w:t>{text}</w:t></w:r></w:p>"


def word_parts(body: str = "", more: Parts | None = None, links: str = "") -> dict[str, str | bytes]:
    return {
        "_rels/.rels": relations(("r1", "officeDocument", "word/document.xml")),
        "word/document.xml": f"<w:document {WORD}><w:body>{body or paragraph('Honest words')}</w:body></w:document>",
        **({"word/_rels/document.xml.rels": links} if links else {}),
        **(more or {}),
    }


def word(body: str = "", more: Parts | None = None, links: str = "") -> bytes:
    return archive(word_parts(body, more, links))


def word_document(xml: str | bytes) -> bytes:
    """A Word document whose main part is `xml` as it stands."""
    return archive({**word_parts(), "word/document.xml": xml})


def workbook_parts(
    rows: str = "", more: Parts | None = None, *, shared: str = "", styles: str = "", sheet: str = ""
) -> dict[str, str | bytes]:
    return {
        "_rels/.rels": relations(("r1", "officeDocument", "xl/workbook.xml")),
        "xl/workbook.xml": f'<workbook {SHEET} {RELATION}><sheets><sheet name="May" sheetId="1" r:id="s1"/></sheets>'
        "</workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            ("s1", "worksheet", "worksheets/sheet1.xml"),
            ("s2", "sharedStrings", "sharedStrings.xml"),
            ("s3", "styles", "styles.xml"),
        ),
        "xl/worksheets/sheet1.xml": sheet or f"<worksheet {SHEET}><sheetData>{rows}</sheetData></worksheet>",
        "xl/sharedStrings.xml": f"<sst {SHEET}>{shared}</sst>",
        "xl/styles.xml": f"<styleSheet {SHEET}>{styles}</styleSheet>",
        **(more or {}),
    }


def workbook(rows: str = "", more: Parts | None = None, **parts: str) -> bytes:
    return archive(workbook_parts(rows, more, **parts))


def slides_parts(*shapes: str, more: Parts | None = None) -> dict[str, str | bytes]:
    numbered = list(enumerate(shapes, 1))
    listed = "".join(f'<p:sldId id="{255 + number}" r:id="s{number}"/>' for number, _ in numbered)
    return {
        "_rels/.rels": relations(("r1", "officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f"<p:presentation {SLIDE} {RELATION}><p:sldIdLst>{listed}</p:sldIdLst>"
        "</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            *((f"s{number}", "slide", f"slides/slide{number}.xml") for number, _ in numbered)
        ),
        **{f"ppt/slides/slide{number}.xml": f"<p:sld {SLIDE}>{shape}</p:sld>" for number, shape in numbered},
        **(more or {}),
    }


def shape(text: str, holds: str = "") -> str:
    held = f'<p:nvSpPr><p:nvPr><p:ph type="{holds}"/></p:nvPr></p:nvSpPr>' if holds else ""
    return f"<p:sp>{held}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


def slides(*shapes: str, more: Parts | None = None) -> bytes:
    return archive(slides_parts(*(shapes or (shape("Honest words"),)), more=more))


def pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of these objects, the first of which is the root, with a sound table of places."""
    written = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places: list[int] = []
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        written += b"%010d 00000 n \n" % place
    written += b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(written)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(content), entries, content)


def packed(content: bytes, entries: bytes = b"") -> bytes:
    return stream(zlib.compress(content), b"/Filter/FlateDecode" + entries)


def text_operators(*lines: str) -> bytes:
    shown = "".join(f"({line}) Tj 0 -20 Td " for line in lines)
    return f"BT /F1 12 Tf 72 720 Td {shown}ET".encode()


FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


def pages(*contents: bytes, root: bytes = b"", more: Sequence[bytes] = (), trailer: bytes = b"") -> bytes:
    """A PDF with a page for each content stream (an object's body); objects in `more` follow theirs."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * number) for number in range(len(contents)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%b>>" % root,
        b"<</Type/Pages/Kids[%b]/Count %d/MediaBox[0 0 612 792]>>" % (kids, len(contents)),
        FONT,
    ]
    for number, content in enumerate(contents):
        page = b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>" % (5 + 2 * number)
        objects.extend([page, content])
    return pdf([*objects, *more], trailer)


def png(width: int, height: int) -> bytes:
    header = struct.pack(">4sLL5B", b"IHDR", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">L", 13) + header + struct.pack(">L", zlib.crc32(header)) + b"\0" * 12


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH3B", width, height, 0, 0, 0) + b";"


def jpeg(width: int, height: int) -> bytes:
    marked = b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xdb\x00\x43" + bytes(65)
    return marked + b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + bytes(9) + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<L", 22) + b"WEBPVP8X" + struct.pack("<L", 10) + b"\0" * 4 + sides


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<LHHL", 54, 0, 0, 54) + struct.pack("<LllHH", 40, width, height, 1, 24) + bytes(24)


def tiff(width: int, height: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = ((256, 4, 1, width), (257, 4, 1, height))
    directory = b"".join(struct.pack(f"{order}HHLL", *entry) for entry in entries)
    return mark + struct.pack(f"{order}LH", 8, len(entries)) + directory + bytes(4)
