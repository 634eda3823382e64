"""The words that a reader of a page sees: no markup, no hidden signs. Pure; the standard library alone.

The scanner is our own because its time must grow with the page's length alone, whatever a hostile page holds: the
parsers at hand need a time that grows with its square (nested or unclosed elements), minutes for a page of 5 MiB.
What it misjudges is shown as words; nothing is ever run, and all output is escaped where it is shown.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_SILENT = frozenset({
    "audio", "canvas", "datalist", "embed", "iframe", "math", "noembed", "noframes", "noscript", "object", "script",
    "select", "style", "svg", "template", "textarea", "video",
})  # fmt: skip
_RAW = frozenset({"iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "xmp"})
"""Elements within which a browser sees no tags but the one that ends them."""

_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
})  # fmt: skip
_BREAKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr",
    "html", "legend", "li", "main", "menu", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody",
    "tfoot", "thead", "title", "tr", "ul",
})  # fmt: skip
_CELLS = frozenset({"td", "th"})
_ENDED_BY_THE_NEXT = frozenset({"dd", "dt", "li", "option", "p", "td", "th", "tr"})

_TAG_NAME = re.compile(r"/?([a-zA-Z][^\s/>]*)")
_TAG_SIGNS = re.compile(r"[>\"']")
_HIDDEN = re.compile(r"(?:^|[\s\"'/])hidden(?=[\s=/>\"']|$)|aria-hidden\s*=\s*[\"']?\s*true", re.IGNORECASE)
_STYLE = re.compile(r"(?:^|[\s\"'/])style\s*=\s*(\"[^\"]*|'[^']*|\S*)", re.IGNORECASE)
_HIDING_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|opacity)\s*:\s*0(?![.\d]*[1-9])", re.IGNORECASE
)
_JUDGED_CHARACTERS = 2_000  # of one tag's attributes
_ENDLESS_NUMBER = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")  # no character has one; the library would fail

# Kept of the signs that nobody sees: what joins letters in Persian and in Indian scripts, one at a time.
_JOINERS = frozenset("\u200c\u200d")
_SELECTORS_AND_TAGS = re.compile("[\U000e0000-\U000e01ef]|(?<=[\ufe00-\ufe0f\u200c\u200d])[\ufe00-\ufe0f\u200c\u200d]+")
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})


def text_of(source: str, is_html: bool) -> str:  # noqa: FBT001 - called by place, through a thread
    """Return the text that a reader of `source` would see, by lines."""
    seen = without_hidden_signs("".join(words for words, _ in visible_words(source)) if is_html else source)
    if not is_html:
        return seen
    lines = (" ".join(line.split()) for line in seen.splitlines())
    return "\n".join(line for line in lines if line)


def without_hidden_signs(text: str) -> str:
    """Return `text` without signs that show nothing: controls, direction marks, tags, zero widths, private ones.

    Words can be written in them for a model to read while a person sees nothing; or they turn what a person sees.
    """
    plain = _SELECTORS_AND_TAGS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(
        sign for sign in plain if sign in "\n\t" or sign in _JOINERS or unicodedata.category(sign) not in _UNSEEN
    )


@dataclass(slots=True)
class _Hiding:
    """The element that hides what is in it, and how many of its name are open within."""

    name: str
    depth: int = 1

    def is_over(self, name: str, *, closing: bool) -> bool:
        """Count one tag. True: the element ended with it."""
        if name != self.name:
            return False
        if closing:
            self.depth -= 1
        elif name in _ENDED_BY_THE_NEXT:
            return True
        elif name not in _VOID:
            self.depth += 1
        return self.depth == 0


def visible_words(source: str) -> Iterator[tuple[str, str]]:
    """Yield the visible words of HTML, with line breaks between blocks; each character is looked at a few times.

    Beside the words stands the tag that they are yielded for, such as `h1` or `/h1`, in lower case; empty for text.
    """
    hiding: _Hiding | None = None
    place = 0
    while place < len(source):
        opened = source.find("<", place)
        if hiding is None:
            yield _unescaped(source[place : opened if opened >= 0 else len(source)]), ""
        if opened < 0:
            return
        tag = _TAG_NAME.match(source, opened + 1)
        if tag is None:
            place = _after_declaration(source, opened)
            if place == opened + 1 and hiding is None:
                yield "<", ""
            continue
        name, closing = tag[1].lower(), source[opened + 1] == "/"
        place = _after_tag(source, tag.end())
        if hiding is not None and hiding.is_over(name, closing=closing):
            hiding = None
        if hiding is None:
            yield "\n" if name in _BREAKS else " " if name in _CELLS else "", f"/{name}" if closing else name
            attributes = source[tag.end() : min(place, tag.end() + _JUDGED_CHARACTERS)]
            if not closing and name not in _VOID and (name in _SILENT or _hides(attributes)):
                hiding = _Hiding(name)
        if not closing and name in _RAW:
            place = _before_end(source, place, name)


def _unescaped(text: str) -> str:
    return html.unescape(_ENDLESS_NUMBER.sub("\ufffd", text)) if "&" in text else text


def _hides(attributes: str) -> bool:
    style = _STYLE.search(attributes)
    return bool(_HIDDEN.search(attributes) or (style and _HIDING_STYLE.search(style[1])))


def _after_declaration(source: str, opened: int) -> int:
    """Return where a comment or a declaration that begins at `opened` ends; the next place where it is a plain `<`."""
    if source.startswith("<!--", opened):
        ended = source.find("-->", opened + 2)  # "<!-->" is a whole comment
        return len(source) if ended < 0 else ended + 3
    if source.startswith(("<!", "<?", "</"), opened):
        ended = source.find(">", opened)
        return len(source) if ended < 0 else ended + 1
    return opened + 1


def _after_tag(source: str, place: int) -> int:
    """Return where the tag ends whose attributes begin at `place`: at the first `>` outside quotes."""
    while (sign := _TAG_SIGNS.search(source, place)) is not None:
        if sign[0] == ">":
            return sign.end()
        ended = source.find(sign[0], sign.end())
        if ended < 0:
            break
        place = ended + 1
    return len(source)


def _before_end(source: str, place: int, name: str) -> int:
    """Return where the tag begins that ends the raw element `name`; the end of everything where there is none."""
    ended = re.compile(rf"</{re.escape(name)}(?=[\s/>])", re.IGNORECASE).search(source, place)
    return len(source) if ended is None else ended.start()
