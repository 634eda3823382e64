"""Text that would like to be more than text, put into every field; and a reader of pages that notices."""

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Final, cast

from operalta.web.charts import Chart, Sparkline
from operalta.web.markdown import is_allowed_address

CORPUS: Final = (
    "<script>marker_of_attack()</script><b id=marker-of-attack>",
    '"><img src=x onerror=alert(1) id="marker-of-attack">',
    "' autofocus onfocus='alert(1)' id='marker-of-attack",
    "</textarea></title></template><svg onload=alert(1) id=marker-of-attack>",
    "{{ 7 * 7 }}{% for x in y %}<i id=marker-of-attack>",
    "javascript:alert(1)//<i id=marker-of-attack>",
    "[x](javascript:alert(1)) ![y](https://evil.example/z.png) <i id=marker-of-attack>",
    "-->]]><style>*{}</style><meta http-equiv=refresh content=0><i id=marker-of-attack>",
)
"""Each would leave an element with this id, run something, or load something, if it were not only text."""

KEPT: Final = frozenset(
    {"appearance", "kind", "permissions", "state", "author", "verdict", "channel", "purpose", "outcome", "nav"}
    | {"role", "roles", "slug"}
)
"""Words of our own that templates branch on; people cannot write them."""

_VOID: Final = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


def hostile(value: Any, text: str, key: str = "") -> Any:  # noqa: ANN401 - contexts hold anything
    """Return a context of the same shape with `text` in place of every text that somebody could write."""
    if key in KEPT or isinstance(value, set | frozenset | Chart | Sparkline):
        return cast("Any", value)
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {name: hostile(entry, text, name) for name, entry in entries.items()}
    if isinstance(value, list):
        return [hostile(entry, text, key) for entry in cast("list[Any]", value)]
    if isinstance(value, tuple):
        return tuple(hostile(entry, text, key) for entry in cast("tuple[Any, ...]", value))
    return value


@dataclass(frozen=True)
class Element:
    """A start tag."""

    tag: str
    attributes: dict[str, str | None]


class Page(HTMLParser):
    """A page read as its elements, its text and its title."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.text = ""
        self.title = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] == "title" and "svg" not in self._open:
            self.title += data

    def count(self, tag: str) -> int:
        """Return how often an element occurs."""
        return sum(element.tag == tag for element in self.elements)

    def having(self, attribute: str, value: str) -> list[Element]:
        """Return the elements one of whose words in `attribute` is `value`."""
        return [e for e in self.elements if value in (e.attributes.get(attribute) or "").split()]

    def doubled_ids(self) -> list[str]:
        """Return ids that more than one element has."""
        ids = [element.attributes["id"] or "" for element in self.elements if "id" in element.attributes]
        return sorted({one for one in ids if ids.count(one) > 1})

    def labels_without_target(self) -> list[str]:
        """Return what labels point at and is not there."""
        ids = {element.attributes.get("id") for element in self.elements}
        targets = [e.attributes["for"] or "" for e in self.elements if e.tag == "label" and "for" in e.attributes]
        return [target for target in targets if target not in ids]

    def assert_under_policy(self) -> None:
        """Fail where the content policy would have to step in."""
        for element in self.elements:
            assert not [name for name in element.attributes if name.startswith("on") or name == "style"], element
            assert element.tag not in {"style", "iframe", "object", "embed", "base", "img"}, element
            if element.tag == "script":
                assert (element.attributes.get("src") or "").startswith("/static/"), element
            for name in ("href", "action", "formaction", "src"):
                assert is_allowed_address((element.attributes.get(name) or "").strip()), element

    def assert_knows_no(self, identifier: str) -> None:
        """Fail where an element has this id."""
        assert not self.having("id", identifier)
