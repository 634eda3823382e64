import io
from datetime import date

import docx
import openpyxl
import openpyxl.comments
import pptx
import pypdf
import pytest
from PIL import Image
from pptx.shapes.placeholder import SlidePlaceholder
from pptx.util import Pt

from operalta.sandbox.errors import DocumentDamaged
from operalta.sandbox.reading.rules import DocumentText, Passage
from operalta.sandbox.reading.service import read_document
from tests.sandbox.reading import samples
from tests.sandbox.reading.hostile_archives import SHEETS_AND_SLIDES
from tests.sandbox.reading.running import RunUnderLimits


async def test_a_text_is_read_by_paragraphs(run: RunUnderLimits) -> None:
    found = await read_document(run, "notes.txt", b"One\r\nline\r\n\r\nAnother\rone\n")
    assert found.text == "One\nline\n\nAnother\none"
    assert found.notes == ()
    assert not found.cut


@pytest.mark.parametrize(
    ("content", "text", "guessed"),
    [
        ("Grüezi €".encode(), "Grüezi €", 0),
        ("Grüezi €".encode("utf-8-sig"), "Grüezi €", 0),
        ("Grüezi €".encode("utf-16"), "Grüezi €", 0),
        (b"\xfe\xff" + "Grüezi €".encode("utf-16-be"), "Grüezi €", 0),
        ("Grüezi €".encode("cp1252"), "Grüezi €", 1),
        (b"", "", 0),
    ],
)
async def test_a_text_is_read_in_its_encoding(run: RunUnderLimits, content: bytes, text: str, guessed: int) -> None:
    found = await read_document(run, "notes.txt", content)
    assert found.text == text
    assert len(found.notes) == guessed


async def test_markdown_is_read_by_headings(run: RunUnderLimits) -> None:
    source = (
        "Before\n\n# One #\ntext\n\n```\n# no heading\n\n<!-- kept -->\n```\n## Two\n## Three\nmore <!-- x\ny --> end"
    )
    found = await read_document(run, "a/b.md", source.encode())
    assert [(passage.heading, passage.body) for passage in found.passages] == [
        ("", "Before"),
        ("One", "text\n\n```\n# no heading\n\n<!-- kept -->\n```"),
        ("Two", "Two"),
        ("Three", "more\n end"),
    ]
    assert found.title == "One"
    assert found.notes == ("Hidden text was left out.",)


async def test_a_page_is_read_as_its_reader_sees_it(run: RunUnderLimits) -> None:
    source = (
        "<html><title>The <b>page</b></title><script>var secret</script><p>Before<h1>One</h1>"
        "<p>first &amp; <i>second</i>"
        "<p>third<table><tr><td>a<td>b<tr><td>c<td>d</table><p hidden>no</p><h2>Two<br>lines</h2><div>end</div>"
    )
    found = await read_document(run, "page.html", source.encode())
    assert [(passage.heading, passage.body) for passage in found.passages] == [
        ("", "Before"),
        ("One", "first & second\n\nthird\n\na b\nc d"),
        ("Two lines", "end"),
    ]
    assert found.title == "The page"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
async def test_a_table_is_read_by_rows(run: RunUnderLimits, separator: str) -> None:
    rows = [["Name", "Amount"], ["Ada, the first", "1,5"], ["two\nlines", "=1+1"]]
    source = "\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
    found = await read_document(run, "table.csv", source.encode())
    assert found.passages == (Passage("", "Name | Amount\nAda, the first | 1,5\ntwo lines | =1+1", "rows 1-3"),)
    assert found.facts == {"rows": 3}


async def test_a_long_table_tells_where_each_passage_stands(run: RunUnderLimits) -> None:
    found = await read_document(run, "t.csv", b"a,b\n\n" + b"".join(b"%d,value\n" % n for n in range(500)))
    assert found.passages[0].place.startswith("rows 1-")
    assert found.passages[-1].place.endswith("-502")
    assert len(found.text.replace("\n\n", "\n").split("\n")) == 501


async def test_a_pdf_is_read_by_pages(run: RunUnderLimits) -> None:
    first, second = samples.text_operators("First page", "goes on"), samples.text_operators("Second page")
    plain = samples.pages(samples.packed(first), samples.stream(second), samples.stream(b""))
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(plain))
    writer.add_metadata({"/Title": "A report"})
    writer.add_outline_item(title="Chapter", page_number=1)
    written = io.BytesIO()
    writer.write(written)
    found = await read_document(run, "report.pdf", written.getvalue())
    assert found.passages == (
        Passage("", "First page\ngoes on", "page 1"),
        Passage("Chapter", "Second page", "page 2"),
    )
    assert found.title == "A report"
    assert found.facts == {"pages": 3}
    assert found.notes == ("Some pages hold pictures only, or nothing.",)


async def test_a_pdf_that_is_only_restricted_is_read(run: RunUnderLimits) -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(samples.pages(samples.stream(samples.text_operators("Open")))))
    writer.encrypt("", "owner", algorithm="RC4-128")
    written = io.BytesIO()
    writer.write(written)
    assert (await read_document(run, "a.pdf", written.getvalue())).text == "Open"


async def test_what_a_word_processor_writes_is_read(run: RunUnderLimits) -> None:
    document = docx.Document()
    document.core_properties.title = "The plan"
    document.add_heading("Part one", 1)
    document.add_paragraph("First.").add_run(" And bold.").bold = True
    table = document.add_table(2, 2)
    for place, text in enumerate(("a", "b", "c", "d")):
        table.cell(place // 2, place % 2).text = text
    document.add_heading("Part two", 2)
    document.add_paragraph("Last.")
    written = io.BytesIO()
    document.save(written)
    found = await read_document(run, "plan.docx", written.getvalue())
    assert found == DocumentText(
        kind=found.kind,
        title="The plan",
        passages=(Passage("Part one", "First. And bold.\n\na | b\nc | d", ""), Passage("Part two", "Last.", "")),
        facts={},
        notes=(),
        cut=False,
    )


async def test_what_else_a_word_document_holds_is_marked(run: RunUnderLimits) -> None:
    body = (
        samples.paragraph("Kapitel", "berschrift1")
        + samples.paragraph("seen")
        + samples.paragraph("unseen", run="<w:rPr><w:vanish/></w:rPr>")
        + "<w:p><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t>inserted</w:t></w:r></w:ins></w:p>"
        "<w:p><w:r><w:t>one</w:t><w:tab/><w:t>two</w:t><w:br/><w:t>three</w:t>"
        "<w:instrText>PAGE</w:instrText></w:r></w:p>"
        "<w:p><w:r><mc:AlternateContent xmlns:mc='m'><mc:Choice><w:txbxContent>" + samples.paragraph("box")
        + "</w:txbxContent></mc:Choice><mc:Fallback>" + samples.paragraph("box")
        + "</mc:Fallback></mc:AlternateContent><w:t>around</w:t></w:r></w:p>"
    )  # fmt: skip
    style = (
        f"<w:styles {samples.WORD}><w:style w:styleId='a'><w:name w:val='heading 1'/></w:style>"
        "<w:style w:styleId='berschrift1'><w:name w:val='x'/><w:basedOn w:val='a'/></w:style></w:styles>"
    )
    links = samples.relations(
        ("a", "styles", "styles.xml"), ("b", "comments", "comments.xml"), ("c", "footnotes", "footnotes.xml"),
        external=[("hyperlink", "http://a.example/"), ("attachedTemplate", "http://a.example/t.dotm")],
    )  # fmt: skip
    comments = f"<w:comments {samples.WORD}><w:comment>{samples.paragraph('really?')}</w:comment></w:comments>"
    notes = f"<w:footnotes {samples.WORD}><w:footnote>{samples.paragraph('source')}</w:footnote></w:footnotes>"
    more = {"word/styles.xml": style, "word/comments.xml": comments, "word/footnotes.xml": notes}
    found = await read_document(run, "a.docx", samples.word(body, more, links))
    assert [(passage.heading, passage.body, passage.place) for passage in found.passages] == [
        ("Kapitel", "seen\n\ninserted\n\none\ttwo\nthree\n\nbox\n\naround", ""),
        ("", "Comment: really?", "comments"),
        ("", "Footnote: source", "footnotes"),
    ]
    assert set(found.notes) == {
        "Hidden text was left out.",
        "Text that was deleted while changes were tracked was left out.",
        "Comments are included and marked.",
        "Parts that lie outside the document were not fetched.",
    }


async def test_what_a_presentation_program_writes_is_read(run: RunUnderLimits) -> None:
    presentation = pptx.Presentation()
    layout = presentation.slide_layouts[1]
    for title in ("First", "Second"):
        slide = presentation.slides.add_slide(layout)
        for holder, text in zip(slide.placeholders, (title, f"{title} body"), strict=True):
            assert isinstance(holder, SlidePlaceholder)
            holder.text_frame.text = text
    last = presentation.slides[-1]
    frame = last.notes_slide.notes_text_frame
    assert frame is not None
    frame.text = "to be said"
    table = last.shapes.add_table(1, 2, Pt(0), Pt(0), Pt(99), Pt(99)).table
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    written = io.BytesIO()
    presentation.save(written)
    found = await read_document(run, "talk.pptx", written.getvalue())
    assert found.passages == (
        Passage("First", "First body", "slide 1"),
        Passage("Second", "Second body\n\na | b\n\nNotes: to be said", "slide 2"),
    )
    assert found.facts == {"slides": 2}


async def test_what_a_spreadsheet_program_writes_is_read(run: RunUnderLimits) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Budget"
    sheet.append(["Item", "Amount", "Share", "Day"])
    sheet.append(["Rent", 1200.5, 0.25, date(2026, 5, 4)])
    sheet["C2"].number_format = "0%"
    sheet["A4"] = "=SUM(B2:B3)"
    sheet["A2"].comment = openpyxl.comments.Comment("up again", "Ada")
    hidden = book.create_sheet("Old")
    hidden["C3"] = True
    hidden.sheet_state = "hidden"
    written = io.BytesIO()
    book.save(written)
    found = await read_document(run, "budget.xlsx", written.getvalue())
    assert [(passage.heading, passage.body, passage.place) for passage in found.passages] == [
        (
            "Budget",
            "Item | Amount | Share | Day\nRent | 1200.5 | 25% | 2026-05-04\n(formula without a saved value)",
            "sheet Budget, rows 1-4",
        ),
        ("Budget", "Comment: up again", "comment at A2"),
        ("Old (hidden)", "|  | TRUE", "sheet Old, row 3"),
    ]
    assert found.facts == {"sheets": 2}


async def test_a_workbook_shows_what_its_readers_see(run: RunUnderLimits) -> None:
    rows = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1"><f>1+1</f><v>2</v></c>'
        '<c r="C1" t="e"><v>#DIV/0!</v></c></row>'
        '<row r="2"><c r="A2" s="1"><v>45000.75</v></c><c r="B2" s="2"><v>0.5</v></c><c r="C2" s="3"><v>0.1234</v></c>'
        '<c r="D2" t="inlineStr"><is><t>in</t><t>line</t></is></c><c r="E2" s="4"><v>7</v></c></row>'
    )
    styles = (
        '<numFmts><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd"/>'
        '<numFmt numFmtId="165" formatCode="0.0&quot;d&quot;"/>'
        '</numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="164"/>'
        '<xf numFmtId="20"/><xf numFmtId="10"/><xf numFmtId="165"/></cellXfs>'
    )
    shared = "<si><r><t>rich </t></r><r><t>text</t></r><rPh><t>unspoken</t></rPh></si>"
    found = await read_document(run, "a.xlsx", samples.workbook(rows, shared=shared, styles=styles))
    assert found.text == "May\n\nrich text | 2 | #DIV/0!\n2023-03-15 18:00 | 12:00 | 12.34% | inline | 7"
    assert found.notes == ("Formulas are shown as their last saved values.",)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "bmp", "tiff"])
async def test_of_an_image_kind_and_size_are_told(run: RunUnderLimits, kind: str) -> None:
    written = io.BytesIO()
    Image.new("RGB", (31, 17)).save(written, kind)
    found = await read_document(run, f"picture.{kind}", written.getvalue())
    assert "31 pixels wide and 17 high" in found.text
    assert found.facts == {"width": 31, "height": 17}


async def test_every_form_of_webp_is_read(run: RunUnderLimits) -> None:
    for lossless, mode in ((True, "RGB"), (False, "RGB"), (False, "RGBA")):
        written = io.BytesIO()
        Image.new(mode, (300, 170)).save(written, "webp", lossless=lossless)
        assert (await read_document(run, "a.webp", written.getvalue())).facts == {"width": 300, "height": 170}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", samples.png(7, 9)), ("a.gif", samples.gif(7, 9)), ("a.jpg", samples.jpeg(7, 9)),
        ("a.webp", samples.webp(7, 9)), ("a.bmp", samples.bmp(7, -9)), ("a.tif", samples.tiff(7, 9)),
        ("a.tiff", samples.tiff(7, 9, ">")),
    ],
)  # fmt: skip
async def test_the_hand_made_images_are_sound(run: RunUnderLimits, name: str, content: bytes) -> None:
    assert (await read_document(run, name, content)).facts == {"width": 7, "height": 9}


async def test_long_documents_are_cut_at_the_last_passage_that_fits(run: RunUnderLimits) -> None:
    found = await read_document(run, "long.txt", (b"word " * 290 + b"\n\n") * 2_100)
    assert found.cut
    assert len(found.passages) == 2_000
    assert max(len(passage.body) for passage in found.passages) <= 1_500


async def test_an_office_document_of_another_kind_is_not_read_as_this_one(run: RunUnderLimits) -> None:
    for name, content in (("a.docx", samples.slides()), ("a.pptx", samples.workbook()), ("a.xlsx", samples.word())):
        with pytest.raises(DocumentDamaged):
            await read_document(run, name, content)


async def test_what_is_listed_many_times_is_read_once(run: RunUnderLimits) -> None:
    for name in ("one slide many times", "many sheets"):
        file, made, _ = SHEETS_AND_SLIDES[name]
        assert len((await read_document(run, file, made())).passages) == 1
