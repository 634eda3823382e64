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


def read_xml(pieces: Iterable[bytes], start: Start, end: End, text: Text) -> None:
    """Call back for every element and stretch of text, with local names (namespaces left out).

    An attribute that names a relation has `r:` before its name, as there may be a plain one of the same name.
    Raise Refused where the XML is damaged, has a document type, or lies too deep.
    """
    depth = 0

    def begin(name: str, attributes: Attributes) -> None:
        nonlocal depth
        depth += 1
        if depth > limits.XML_DEPTH:
            raise Refused(Reason.TOO_DEEP)
        start(_local(name), {_attribute(key): value for key, value in attributes.items()})

    def finish(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(_local(name))

    parser = expat.ParserCreate(namespace_separator=_BETWEEN)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = finish
    parser.CharacterDataHandler = text
    fed = 0
    try:
        for piece in pieces:
            parser.Parse(piece, False)
            fed += len(piece)
            if fed - parser.CurrentByteIndex > limits.XML_PENDING_BYTES:
                raise Refused(Reason.BOMB)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, LookupError):
        raise Refused(Reason.DAMAGED) from None


def ignore(*_: object) -> None:
    """Ask nothing of an element or a text."""


def _local(name: str) -> str:
    return name.rpartition(_BETWEEN)[2]


def _attribute(name: str) -> str:
    namespace, _, local = name.rpartition(_BETWEEN)
    return f"r:{local}" if namespace.endswith("/relationships") else local


def _refuse(*_: object) -> Never:
    raise Refused(Reason.ENTITIES)
