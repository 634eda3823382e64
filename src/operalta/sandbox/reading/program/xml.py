"""Reading XML piece by piece: no document types, no entities, a bounded depth, nothing kept but what a reader asks for.

The parser is the standard library's expat. It resolves nothing by itself; a document type is refused at its first
sign, so there are no entities to expand and no addresses to follow.
"""

from collections.abc import Callable, Iterable
from typing import Never
from xml.parsers import expat

from . import limits
from .answer import Reason, Refused

Attributes = dict[str, str]
Start = Callable[[str, Attributes], None]
End = Callable[[str], None]
Text = Callable[[str], None]

_BETWEEN = "|"
"""Between a namespace and a name, as the parser hands them over."""


def read_xml(pieces: Iterable[bytes], start: Start, end: End, text: Text, *, without: str = "") -> None:
    """Call back for every element and stretch of text, with local names (namespaces left out).

    Elements called `without` are passed over, with all that is in them.

    An attribute that names a relation has `r:` before its name, as there may be a plain one of the same name.
    Raise Refused where the XML is damaged, has a document type, or lies too deep.
    """
    depth = passed_over = 0

    def begin(name: str, attributes: Attributes) -> None:
        nonlocal depth, passed_over
        depth += 1
        if depth > limits.XML_DEPTH:
            raise Refused(Reason.TOO_DEEP)
        if passed_over or _local(name) == without:
            passed_over += 1
            return
        start(_local(name), {_attribute(key): value for key, value in attributes.items()})

    def finish(name: str) -> None:
        nonlocal depth, passed_over
        depth -= 1
        if passed_over:
            passed_over -= 1
            return
        end(_local(name))

    def say(words: str) -> None:
        if not passed_over:
            text(words)

    parser = expat.ParserCreate(namespace_separator=_BETWEEN)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = finish
    parser.CharacterDataHandler = say
    try:
        _feed(parser, pieces)
    except (expat.ExpatError, ValueError, LookupError):
        raise Refused(Reason.DAMAGED) from None


def _feed(parser: expat.XMLParserType, pieces: Iterable[bytes]) -> None:
    """Parse piece by piece. Raise Refused for a stretch without an end, which the parser would keep whole."""
    fed = 0
    for piece in pieces:
        parser.Parse(piece, False)
        fed += len(piece)
        if fed - parser.CurrentByteIndex > limits.XML_PENDING_BYTES:
            raise Refused(Reason.BOMB)
    parser.Parse(b"", True)


def ignore(*_: object) -> None:
    """Ask nothing of an element or a text."""


def _local(name: str) -> str:
    return name.rpartition(_BETWEEN)[2]


def _attribute(name: str) -> str:
    namespace, _, local = name.rpartition(_BETWEEN)
    return f"r:{local}" if namespace.endswith("/relationships") else local


def _refuse(*_: object) -> Never:
    raise Refused(Reason.ENTITIES)
