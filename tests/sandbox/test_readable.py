import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.sandbox.egress import FetchedPage
from operalta.sandbox.readable import LONGEST_SOURCE, readable_text
from operalta.sandbox.reading.program.visible import text_of, without_hidden_signs


def page(body: bytes, content_type: str) -> FetchedPage:
    media_type = content_type.partition(";")[0]
    return FetchedPage("http://a.example/", 200, media_type, (("content-type", content_type),), body, ())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<title>A &amp; B</title><p>One<br>two<p>three", "A & B\nOne\ntwo\nthree"),
        ("<ul><li>a<li>b</ul><table><tr><td>1<td>2<tr><th>3</table>", "a\nb\n1 2\n3"),
        ("a <b>b</b><i>c</i>\n\n d", "a bc\nd"),
        ("1 < 2 & 3 > 2 <3", "1 < 2 & 3 > 2 <3"),
        ("<script>var a = '<p>x</p>'</script>y", "y"),
        ("<SCRIPT>x</SCRIPT >y<style>z</style>", "y"),
        ("<script>x</scripty>z</script>y", "y"),
        ("<script>x", ""),
        ("<textarea><p>x</textarea><iframe>y</iframe>z", "z"),
        ("<svg><text>x</text></svg><template><p>y</template><noscript>v</noscript>z", "z"),
        ("<!-- x --><!-->a<!--->b<!doctype html><?x y?></ z>c", "abc"),
        ("a<!-- x", "a"),
        ("<a title=\"x > y\" href='a>b'>c</a>", "c"),
        ('<a title="x', ""),
        ("<p hidden>x</p>y", "y"),
        ("<p hidden>x<p>y", "y"),
        ("<div hidden>x<div>x</div>x</div>y", "y"),
        ("<div HIDDEN=''>x</div><div data-hidden=1 class=hidden>y</div>", "y"),
        ("<span aria-hidden=true>x</span><span aria-hidden=false>y</span>", "y"),
        ('<p style="color:red; Display : NONE">x</p><p style="display:block">y</p>', "y"),
        ("<p style=visibility:hidden>x</p><p style='font-size:0'>x</p><p style='opacity:0.0'>x</p>y", "y"),
        ("<p style='opacity:0.5;font-size:0.8em'>y</p>", "y"),
        ("<br hidden>y<img hidden>z", "yz"),
        ("<custom-element hidden>x</custom-element>y", "y"),
        ("&#" + "9" * 5_000 + ";y&#x" + "f" * 5_000 + ";&#65;", "\ufffdy\ufffdA"),
        ("&lt;script&gt;x&lt;/script&gt;", "<script>x</script>"),
    ],
)
def test_a_page_says_what_its_reader_sees(source: str, text: str) -> None:
    assert text_of(source, True) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain\tand\nlines\r\nof\rtext", "plain\tand\nlines\nof\ntext"),
        ("a\x00b\x07c\x1b[31md\x7fe\x9bf", "abc[31mdef"),
        ("\u202eabc\u202c\u2066x\u2069\u200e\u061c", "abcx"),
        ("a\u200bb\u2060c\ufeffd\u00ade", "abcde"),
        ("ok" + "".join(chr(0xE0000 + ord(sign)) for sign in "ignore all") + "!", "ok!"),
        ("x\U000e0100\U000e01efy", "xy"),
        ("\u2764\ufe0f and \u2764\ufe0f\ufe0e\ufe0f\ufe00", "\u2764\ufe0f and \u2764\ufe0f"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("a\u200c\u200d\u200c\u200d\u200cb", "a\u200cb"),
        ("\ue000\U000f0000\ud800x", "x"),
        ("Gr\u00fczi \u4e16\u754c \U0001f44b", "Gr\u00fczi \u4e16\u754c \U0001f44b"),
    ],
)
def test_signs_that_show_nothing_are_left_out(text: str, seen: str) -> None:
    assert without_hidden_signs(text) == seen
    assert without_hidden_signs(seen) == seen


async def test_each_kind_of_page_is_read_in_its_own_way() -> None:
    latin = page(b"gr\xfcezi", "text/plain; charset=iso-8859-1")
    assert await readable_text(latin) == "grüezi"
    japanese = page("<p>\u6771\u4eac</p>".encode("shift_jis"), "text/html; charset=shift_jis")
    assert await readable_text(japanese) == "\u6771\u4eac"
    assert await readable_text(page(b"  indented <b>\n\n\nlines", "text/plain")) == "  indented <b>\n\n\nlines"
    for kind in ("application/json", "application/ld+json", "application/xml", "application/rss+xml"):
        assert await readable_text(page(b'{"a": "<p hidden>"}', kind)) == '{"a": "<p hidden>"}'
    assert await readable_text(page(b"<p>x", "application/xhtml+xml")) == "x"
    for kind in ("application/pdf", "image/png", ""):
        said = await readable_text(page(b"%PDF-1.7 ignore all", kind))
        assert "19 bytes" in said
        assert "ignore" not in said


async def test_a_page_is_read_to_a_certain_length() -> None:
    assert len(await readable_text(page(b"x" * (LONGEST_SOURCE + 5), "text/plain"))) == LONGEST_SOURCE


@given(st.text(alphabet=st.sampled_from("<>/!-\"'= aphiddenstylescript&#;9x\u200b\u202e\n")))
def test_whatever_a_page_holds_it_is_read_and_no_hidden_sign_is_left(source: str) -> None:
    text = text_of(source, True)
    assert without_hidden_signs(text) == text
    assert all(line and line == line.strip() for line in text.split("\n") if text)


@pytest.mark.parametrize(
    "unit", ["<div>", "<", "<!--", '<a "', "<script>", "<p hidden>", "&#99999999", "</", "<a style="]
)
def test_the_work_grows_with_the_page_alone(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in steps of the scanner, which each take a time of their own tag's length."""
    from operalta.sandbox.reading.program import visible

    steps = 0

    def counting(place: str) -> None:
        whole = getattr(visible, place)

        def counted(*given: object) -> object:
            nonlocal steps
            steps += 1
            return whole(*given)

        monkeypatch.setattr(visible, place, counted)

    for place in ("_after_tag", "_after_declaration", "_before_end", "_unescaped"):
        counting(place)
    repeats = 2_000
    text_of(unit * repeats, True)
    assert steps <= 3 * repeats + 3
