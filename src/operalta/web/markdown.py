"""Markdown that people and agents write, turned into HTML that can do nothing.

Three walls, each enough on its own for script: the parser never passes raw HTML on, the result goes through
an allow-list sanitiser, and the pages' content policy refuses inline script. Beyond script, text must not
carry data out or mislead: pictures are never loaded (their addresses could hold what a conversation knew),
and a link that leaves the site shows the host it really leads to.
"""

from collections.abc import Sequence
from typing import Final

import ada_url
import nh3
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from operalta.terms.registry import upholds

LONGEST_SOURCE: Final = 200_000
"""Characters; a longer text is shown as it was typed, so that no text can keep a server busy."""

OUTWARD_REL: Final = "noopener nofollow noreferrer"

_BASES: Final = ("https://this-site.invalid/", "http://this-site.invalid/")
_OWN_HOST: Final = "this-site.invalid"
_SCHEMES: Final = frozenset({"http", "https", "mailto"})
_FIRST_HEADING: Final = "first_heading"
_LOWEST_HEADING: Final = 6
_ALIGNMENTS: Final = ("left", "center", "right")
_CONTROL_CHARACTERS_END: Final = 0x20

_TAGS: Final = frozenset(
    {"p", "br", "hr", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code"}
    | {"em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td", "a", "span"}
)
_CLEANER: Final = nh3.Cleaner(
    tags=_TAGS,
    attributes={"*": set(), "a": {"href"}, "ol": {"start"}},
    tag_attribute_values={"a": {"rel": {OUTWARD_REL}}},
    allowed_classes={
        "a": {"outward"},
        "span": {"host"},
        "th": {f"align-{side}" for side in _ALIGNMENTS},
        "td": {f"align-{side}" for side in _ALIGNMENTS},
    },
    url_schemes=_SCHEMES,
    link_rel=None,
)


@upholds("3.4.4")
def to_html(source: str, first_heading: int = 3) -> str:
    """Return `source` as sanitised HTML.

    Headings begin at level `first_heading` (2 to 6), below those of the page. Links lead to http, https,
    mailto or within the site; any other stays the text it was. Pictures become links that say what the
    picture was said to show.
    """
    if len(source) > LONGEST_SOURCE:
        return f"<pre>{nh3.clean_text(source)}</pre>"
    return _CLEANER.clean(_PARSER.render(source, {_FIRST_HEADING: first_heading}))


def outward_host(address: str) -> str | None:
    r"""Return the host that a link leads to if that is not this site, else None.

    Read as browsers read it (WHATWG), so that `//host`, `/\\host` and `https://name@host` are seen for what
    they are, on a site over https and over http. The host is in its ASCII form: look-alike letters show as `xn--…`.
    """
    for base in _BASES:
        try:
            url = ada_url.URL(address, base=base)
        except ValueError:
            return None
        if url.protocol in {"http:", "https:"} and url.host != _OWN_HOST:
            return url.host
    return None


def is_allowed_address(address: str) -> bool:
    """Tell whether a link may lead to `address`: http, https, mailto, or a path of this site."""
    if any(ord(character) < _CONTROL_CHARACTERS_END for character in address):
        return False
    try:
        scheme = ada_url.URL(address, base=_BASES[0]).protocol.rstrip(":")
    except ValueError:
        return False
    return scheme in _SCHEMES


class _Parser(MarkdownIt):
    """CommonMark with tables and strike-through, without raw HTML."""

    def __init__(self) -> None:
        super().__init__("commonmark", {"html": False, "linkify": False, "typographer": False})
        self.enable(["table", "strikethrough"])
        self.core.ruler.push("tame", _tame)

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return is_allowed_address(url)


def _tame(state: StateCore) -> None:
    for token in state.tokens:
        if token.type in {"heading_open", "heading_close"}:
            level = min(int(token.tag[1:]) + state.env[_FIRST_HEADING] - 1, _LOWEST_HEADING)
            token.tag = f"h{level}"
        elif token.type in {"th_open", "td_open"}:
            _alignment_as_class(token)
        elif token.type == "inline" and token.children:
            token.children = _tamed_inline(token.children)


def _alignment_as_class(token: Token) -> None:
    """Replace the parser's style attribute, which the content policy would refuse."""
    style = str(token.attrs.pop("style", ""))
    for side in _ALIGNMENTS:
        if style == f"text-align:{side}":
            token.attrSet("class", f"align-{side}")


def _tamed_inline(children: Sequence[Token]) -> list[Token]:
    tamed: list[Token] = []
    inside: Token | None = None
    written = ""
    for child in children:
        if child.type == "link_open":
            inside, written = child, ""
            _mark_outward(child)
            tamed.append(child)
        elif child.type == "link_close":
            tamed.extend(_host_after(inside, written))
            tamed.append(child)
            inside = None
        elif child.type == "image":
            tamed.extend(_picture_as_link(child, linked=inside is not None))
        else:
            written += child.content
            tamed.append(child)
    return tamed


def _mark_outward(link: Token) -> None:
    if outward_host(str(link.attrGet("href") or "")):
        link.attrSet("class", "outward")
        link.attrSet("rel", OUTWARD_REL)


def _host_after(link: Token | None, written: str) -> list[Token]:
    """Return the visible host of a link that leaves the site, unless its whole address is its text."""
    address = str(link.attrGet("href") or "") if link else ""
    host = outward_host(address)
    if host is None or written == address:
        return []
    opening = Token("host_open", "span", 1)
    opening.attrSet("class", "host")
    return [opening, _text(f" ({host})"), Token("host_close", "span", -1)]


def _picture_as_link(image: Token, *, linked: bool) -> list[Token]:
    description = image.content.strip() or "without a description"
    label = _text(f"Picture: {description}")
    if linked:
        return [label]
    link = Token("link_open", "a", 1)
    link.attrSet("href", str(image.attrGet("src") or ""))
    _mark_outward(link)
    return [link, label, *_host_after(link, label.content), Token("link_close", "a", -1)]


def _text(content: str) -> Token:
    token = Token("text", "", 0)
    token.content = content
    return token


_PARSER: Final = _Parser()
