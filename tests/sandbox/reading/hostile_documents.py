"""PDFs, images, tables, pages and texts that attack, and files that are not what they are named."""

import io
import struct
import zlib
from collections.abc import Callable

import pypdf

from operalta.sandbox.errors import (
    DocumentDamaged,
    DocumentProtected,
    DocumentSuspicious,
    DocumentTooLarge,
    KindNotRead,
    NotWhatItsNameSays,
)
from tests.sandbox.reading import samples
from tests.sandbox.reading.hostile_archives import HONEST, Sample, noise
from tests.sandbox.reading.samples import FONT, packed, pages, pdf, stream, text_operators, word

_PAGE = packed(text_operators(HONEST))
_MEBIBYTE = 1024 * 1024


def honest(root: bytes = b"", *more: bytes, trailer: bytes = b"") -> Callable[[], bytes]:
    """A PDF with one honest page; further objects begin with number 6."""
    return lambda: pages(_PAGE, root=root, more=more, trailer=trailer)


def tree(*nodes: bytes) -> Callable[[], bytes]:
    """A PDF whose tree of pages is made of `nodes`; the first has the number 2."""
    return lambda: pdf([b"<</Type/Catalog/Pages 2 0 R>>", *nodes])


def deep_tree() -> bytes:
    nodes = [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % number for number in range(3, 70)]
    return pdf([b"<</Type/Catalog/Pages 2 0 R>>", *nodes, b"<</Type/Page/MediaBox[0 0 9 9]>>"])


def page_of(content: bytes, resources: bytes = b"/Font<</F1 3 0 R>>", *more: bytes) -> bytes:
    """A PDF with an honest page and one of `content`, an object's body; further objects begin with number 8."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[4 0 R 6 0 R]/Count 2/MediaBox[0 0 612 792]>>",
        FONT,
        b"<</Type/Page/Parent 2 0 R/Resources<</Font<</F1 3 0 R>>>>/Contents 5 0 R>>",
        _PAGE,
        b"<</Type/Page/Parent 2 0 R/Resources<<%b>>/Contents 7 0 R>>" % resources,
        content,
    ]
    return pdf([*objects, *more])


def one_page_many_times() -> bytes:
    kids = b"3 0 R " * 5_000
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>"
    top = b"<</Type/Catalog/Pages 2 0 R>>"
    return pdf([top, b"<</Type/Pages/Count 5000/Kids[%b]>>" % kids, page, stream(b""), FONT])


def packed_often(times: int) -> bytes:
    content = bytes(30 * _MEBIBYTE)
    for _ in range(times):
        content = zlib.compress(content)
    return stream(content, b"/Filter[%b]" % (b"/FlateDecode" * times))


def encrypted(algorithm: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pages(_PAGE)))
    writer.encrypt("secret", "owner", algorithm=algorithm)
    written = io.BytesIO()
    writer.write(written)
    return written.getvalue()


def with_table(table: bytes) -> bytes:
    made = pages(_PAGE)
    place = made.rindex(b"xref\n0")
    return made[:place] + table + b"\ntrailer\n<</Size 99/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % place


def table_stream(entries: bytes, content: bytes = b"") -> bytes:
    made = pages(_PAGE)
    place = made.rindex(b"xref\n0")
    body = stream(content, b"/Type/XRef/Root 1 0 R" + entries)
    return made[:place] + b"9 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF" % (body, place)


def previous_in_a_circle() -> bytes:
    made = pages(_PAGE)
    return made.replace(b"/Root 1 0 R>>", b"/Root 1 0 R/Prev %d>>" % made.rindex(b"xref\n0"))


def font_with_a_bomb() -> bytes:
    ranges = b"1 begincodespacerange <0000> <FFFF> endcodespacerange 1 beginbfrange <0000> <FFFFFFFF> <0000> endbfrange"
    mapping = b"begincmap %b endcmap" % ranges
    font = b"<</Type/Font/Subtype/Type0/BaseFont/A/Encoding/Identity-H/ToUnicode 9 0 R>>"
    return page_of(stream(text_operators("x")), b"/Font<</F1 8 0 R>>", font, packed(mapping))


def forms_in_a_circle() -> bytes:
    form = stream(
        b"/X Do /X Do " + text_operators("in a circle"), b"/Type/XObject/Subtype/Form/Resources<</XObject<</X 8 0 R>>>>"
    )
    return page_of(stream(b"/X Do"), b"/XObject<</X 8 0 R>>", form)


def forms_that_double() -> bytes:
    forms = [
        stream(b"/X Do " * 10, b"/Type/XObject/Subtype/Form/Resources<</XObject<</X %d 0 R>>>>" % (9 + number))
        for number in range(8)
    ]
    return page_of(stream(b"/X Do"), b"/XObject<</X 8 0 R>>", *forms, stream(b"", b"/Type/XObject/Subtype/Form"))


PDFS: dict[str, Sample] = {
    "pages that hold themselves": ("a.pdf", tree(b"<</Type/Pages/Count 1/Kids[2 0 R]>>"), DocumentDamaged),
    "pages that hold each other": (
        "a.pdf",
        tree(b"<</Type/Pages/Kids[3 0 R 3 0 R]>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]>>"),
        DocumentDamaged,
    ),
    "deep tree of pages": ("a.pdf", deep_tree, DocumentTooLarge),
    "one page many times": ("a.pdf", one_page_many_times, ""),
    "count that lies": ("a.pdf", lambda: pages(_PAGE).replace(b"/Count 1", b"/Count 999999999"), HONEST),
    "no pages": ("a.pdf", tree(b"<</Type/Pages/Count 0/Kids[]>>"), DocumentDamaged),
    "no root": ("a.pdf", lambda: b"%PDF-1.7\ntrailer<</Root 9 0 R>>", DocumentDamaged),
    "object that is itself": ("a.pdf", tree(b"2 0 R"), DocumentDamaged),
    "length that is itself": ("a.pdf", lambda: page_of(b"<</Length 7 0 R>>\nstream\nx\nendstream"), HONEST),
    "deep arrays": ("a.pdf", honest(b"/X 6 0 R/Names 6 0 R", b"[" * 50_000), HONEST),
    "deep dictionaries": ("a.pdf", honest(b"/Names 6 0 R", b"<</A" * 50_000), HONEST),
    "deep content": ("a.pdf", lambda: page_of(packed(b"[" * 200_000)), HONEST),
    "huge table": ("a.pdf", lambda: with_table(b"xref\n0 99999999\n0000000000 65535 f \n"), DocumentTooLarge),
    "huge table number": ("a.pdf", lambda: with_table(b"xref\n0 " + b"9" * 5_000), DocumentTooLarge),
    "huge packed table": (
        "a.pdf",
        lambda: table_stream(b"/Size 2147483647/W[1 8 8]/Index[0 2147483647]", bytes(170)),
        "",
    ),
    "wide packed table": (
        "a.pdf",
        lambda: table_stream(b"/Size 9/W[99999999 99999999 99999999]", bytes(99)),
        DocumentDamaged,
    ),
    "tables in a circle": ("a.pdf", previous_in_a_circle, HONEST),
    "start in itself": ("a.pdf", lambda: b"%PDF-1.7\nstartxref\n9\n%%EOF", DocumentDamaged),
    "packed objects in a circle": (
        "a.pdf",
        honest(b"/X 6 0 R", stream(b"6 0 7 0", b"/Type/ObjStm/N 2/First 8/Extends 6 0 R")),
        HONEST,
    ),
    "bomb in a page": ("a.pdf", lambda: page_of(packed(bytes(60 * _MEBIBYTE))), HONEST),
    "packed three times": ("a.pdf", lambda: page_of(packed_often(3)), HONEST),
    "packed too often": ("a.pdf", lambda: page_of(packed_often(9)), HONEST),
    "runs": ("a.pdf", lambda: page_of(stream(b"\x81 " * 300_000, b"/Filter/RunLengthDecode")), HONEST),
    "forms in a circle": ("a.pdf", forms_in_a_circle, HONEST),
    "forms that double": ("a.pdf", forms_that_double, HONEST),
    "letters without end": ("a.pdf", font_with_a_bomb, HONEST),
    "page of many words": ("a.pdf", lambda: page_of(packed(b"BT /F1 1 Tf " + b"(x) Tj " * 400_000 + b"ET")), HONEST),
    "picture without end": ("a.pdf", lambda: page_of(stream(b"BI /W 9 /H 9 ID " + noise(99_999))), HONEST),
    "protected": ("a.pdf", lambda: encrypted("RC4-128"), DocumentProtected),
    "protected by nonsense": (
        "a.pdf",
        honest(b"", b"<</Filter/Standard/V 99/R 99/O(x)/U(x)/P 1>>", trailer=b"/Encrypt 6 0 R/ID[(a)(b)]"),
        DocumentDamaged,
    ),
    "protected by AES": (
        "a.pdf",
        honest(
            b"",
            b"<</Filter/Standard/V 5/R 6/Length 256/P -4/O(%b)/U(%b)/OE(%b)/UE(%b)/Perms(%b)/StmF/S/StrF/S"
            b"/CF<</S<</CFM/AESV3/Length 32>>>>>>" % (b"o" * 48, b"u" * 48, b"e" * 32, b"e" * 32, b"p" * 16),
            trailer=b"/Encrypt 6 0 R/ID[(a)(b)]",
        ),
        DocumentProtected,
    ),
    "script": ("a.pdf", honest(b"/OpenAction<</S/JavaScript/JS(app.launchURL\\(1\\))>>"), HONEST),
    "attached file": ("a.pdf", honest(b"/Names<</EmbeddedFiles<</Names[(a)6 0 R]>>>>", stream(b"MZ")), HONEST),
    "program to start": ("a.pdf", honest(b"/OpenAction<</S/Launch/F(/bin/sh)>>"), HONEST),
    "outline in a circle": (
        "a.pdf",
        honest(
            b"/Outlines 6 0 R", b"<</First 7 0 R/Last 7 0 R>>", b"<</Title(a)/Next 7 0 R/First 6 0 R/Dest[4 0 R/Fit]>>"
        ),
        HONEST,
    ),
    "names in a circle": ("a.pdf", honest(b"/Names<</Dests 6 0 R>>", b"<</Kids[6 0 R 6 0 R]>>"), HONEST),
    "turned title": ("a.pdf", honest(b"", b"<</Title<FEFF202E0041200B0000D800>>>", trailer=b"/Info 6 0 R"), HONEST),
    "PDF cut off": ("a.pdf", lambda: pages(_PAGE)[:300], DocumentDamaged),
    "mark alone": ("a.pdf", lambda: b"%PDF-1.7", DocumentDamaged),
}

IMAGES: dict[str, Sample] = {
    "giant PNG": ("a.png", lambda: samples.png(2**31 - 1, 2**31 - 1), DocumentSuspicious),
    "large PNG": ("a.png", lambda: samples.png(20_000, 20_000), DocumentSuspicious),
    "empty PNG": ("a.png", lambda: samples.png(0, 9), DocumentDamaged),
    "PNG with a wrong sum": ("a.png", lambda: samples.png(9, 9)[:29] + b"oops", DocumentDamaged),
    "PNG with packed text": ("a.png", lambda: samples.png(9, 8) + zlib.compress(bytes(9_999_999)), "9 pixels wide"),
    "giant JPEG": ("a.jpg", lambda: samples.jpeg(65_535, 65_535), DocumentSuspicious),
    "JPEG with a late frame": (
        "a.jpg",
        lambda: b"\xff\xd8" + b"\xff\xe0\0\2" * 20_000 + samples.jpeg(9, 9)[2:],
        DocumentDamaged,
    ),
    "JPEG of fill": ("a.jpg", lambda: b"\xff\xd8" + b"\xff" * _MEBIBYTE, DocumentDamaged),
    "JPEG that stands still": ("a.jpg", lambda: b"\xff\xd8\xff\xe0\0\0" * 9, DocumentDamaged),
    "giant GIF": ("a.gif", lambda: samples.gif(65_535, 65_535), DocumentSuspicious),
    "GIF cut off": ("a.gif", lambda: b"GIF89a\1", DocumentDamaged),
    "giant WebP": ("a.webp", lambda: samples.webp(2**24, 2**24), DocumentSuspicious),
    "WebP of another kind": ("a.webp", lambda: b"RIFF\0\0\0\0WEBPEVIL" + bytes(99), KindNotRead),
    "giant BMP": ("a.bmp", lambda: samples.bmp(2**31 - 1, -(2**31)), DocumentSuspicious),
    "BMP to the left": ("a.bmp", lambda: samples.bmp(-9, 9), DocumentDamaged),
    "giant TIFF": ("a.tif", lambda: samples.tiff(2**32 - 1, 2**32 - 1), DocumentSuspicious),
    "TIFF that points out": ("a.tif", lambda: b"II*\0" + struct.pack("<L", 2**32 - 1), DocumentDamaged),
    "TIFF that points to itself": ("a.tif", lambda: b"II*\0\0\0\0\0" + bytes(9), DocumentDamaged),
    "TIFF of many entries": ("a.tif", lambda: b"MM\0*\0\0\0\x08\xff\xff" + bytes(99), DocumentDamaged),
}

TEXTS: dict[str, Sample] = {
    "table with a long field": ("a.csv", lambda: b'a,b\n"' + b"x" * (10 * _MEBIBYTE) + b'",c', "a | b"),
    "table with open quotes": ("a.csv", lambda: b'a,"b\n' * 99_999, "a | b a"),
    "table with many fields": ("a.csv", lambda: b"," * _MEBIBYTE + b"\na,b", "a | b"),
    "table with many rows": ("a.csv", lambda: b"a\n" * 210_000, "a\na"),
    "table of quotes": ("a.csv", lambda: b'"' * _MEBIBYTE, '""'),
    "table with formulas": ("a.csv", lambda: b"=cmd|' /C calc'!A0,b\n@SUM(1),+1", "=cmd"),
    "table with NUL": ("a.csv", lambda: b"a,b\n" * 999 + b"a\0b,c", "ab | c"),
    "table that is none": ("a.csv", lambda: noise(2_000).replace(b"\0", b"\1"), KindNotRead),
    "page of open elements": ("a.html", lambda: b"<p>" + b"<div>" * 30_000 + HONEST.encode(), HONEST),
    "page of deep tables": ("a.html", lambda: b"<table><tr><td>" * 9_999 + HONEST.encode(), HONEST),
    "page of headings": ("a.html", lambda: b"<h1>" * 30_000 + HONEST.encode() + b"</h1>" * 9, HONEST),
    "page of titles": ("a.html", lambda: b"<title>" * 30_000 + HONEST.encode(), HONEST),
    "page with an open comment": ("a.html", lambda: f"<p>{HONEST}<!-- ".encode() * 9_999, HONEST),
    "page with scripts": ("a.html", f"<script>x</scripty></script ><p>{HONEST}".encode, HONEST),
    "page with signs by number": (
        "a.html",
        f"<p>{HONEST}&#0;&#x202e;&#xD800;&#{'9' * 9_999};".encode,
        HONEST,
    ),
    "page of angles": ("a.html", lambda: b"<" * 99_999, "<<"),
    "page of ampersands": ("a.html", lambda: b"&" * _MEBIBYTE, "&&"),
    "page with an include": ("a.html", f"<iframe src=file:///etc/passwd></iframe><p>{HONEST}".encode, HONEST),
    "marks alone": ("a.md", lambda: b"#" * _MEBIBYTE + b"\n\n" + b"# " * _MEBIBYTE, "##"),
    "open fence": ("a.md", lambda: b"````\n" * 9_999 + b"~" * _MEBIBYTE, "~~"),
    "comments in comments": ("a.md", lambda: b"<!--" * 99_999 + b"-->" + HONEST.encode(), HONEST),
    "headings alone": ("a.md", lambda: b"# a\n" * 99_999, "a"),
    "one long line": ("a.txt", lambda: b"x" * (3 * _MEBIBYTE), "xx"),
    "line breaks alone": ("a.txt", lambda: b"\n\r" * _MEBIBYTE, ""),
    "bytes that are no UTF-8": ("a.txt", lambda: b"Honest\xff words \xc3(\x81", "Honest\u00ff words"),
    "long forms of UTF-8": ("a.txt", lambda: b"a\xc0\xaf\xed\xa0\x80\xf8\x88\x80\x80\x80b", "a"),
    "UTF-16 that breaks off": ("a.txt", lambda: b"\xff\xfea\0\0\xd8b\0\0\xdcc", "a"),
    "UTF-32": ("a.txt", lambda: b"\xff\xfe\0\0a\0\0\0", KindNotRead),
    "hidden signs": ("a.txt", "a\u202eb\u2066c\u200b\U000e0041\ufeffd".encode, "abcd"),
    "hidden signs alone": ("a.txt", lambda: "\u200b\u202e".encode() * 99_999, ""),
    "more than may be read": ("a.txt", lambda: b"x" * (25 * _MEBIBYTE + 1), DocumentTooLarge),
}

LIES: dict[str, Sample] = {
    "PDF as a document": ("a.docx", lambda: pages(_PAGE), NotWhatItsNameSays),
    "PDF as a text": ("a.txt", lambda: pages(_PAGE), NotWhatItsNameSays),
    "archive as a PDF": ("a.pdf", word, NotWhatItsNameSays),
    "archive as a table": ("a.csv", word, NotWhatItsNameSays),
    "page as an image": ("a.png", lambda: b"<script>alert(1)</script>", NotWhatItsNameSays),
    "image as a page": ("a.html", lambda: samples.gif(9, 9), NotWhatItsNameSays),
    "image as another image": ("a.jpg", lambda: samples.png(9, 9), NotWhatItsNameSays),
    "program as a text": ("a.txt", lambda: b"\x7fELF\2\1\1\0", NotWhatItsNameSays),
    "program as a PDF": ("a.pdf", lambda: b"MZ\0\0%PDF-1.7", NotWhatItsNameSays),
    "image and PDF": ("a.pdf", lambda: samples.gif(9, 9) + pages(_PAGE), NotWhatItsNameSays),
    "image and archive": ("a.docx", lambda: samples.gif(9, 9) + word(), NotWhatItsNameSays),
    "image that is an archive too": ("a.gif", lambda: samples.gif(9, 8) + word(), "9 pixels wide"),
    "PDF that is an archive too": ("a.pdf", lambda: pages(_PAGE) + word(), HONEST),
    "PDF after its first kibibyte": ("a.pdf", lambda: b" " * 2_000 + pages(_PAGE), NotWhatItsNameSays),
    "nothing at all": ("a.pdf", lambda: b"", NotWhatItsNameSays),
    "kind that is not read": ("a.exe", lambda: b"MZ", KindNotRead),
    "kind in another's extension": ("a.pdf.svg", lambda: b"<svg onload=alert(1)>", KindNotRead),
}
