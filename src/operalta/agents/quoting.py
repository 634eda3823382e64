"""How the built-in route words its answers: passages quoted with their sources, results told plainly. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from operalta.agents.commands import usage_lines
from operalta.agents.registry import Reference

LONGEST_EXCERPT = 600
MOST_REFERENCES = 8
MOST_KEYWORDS = 12
LONGEST_SHOWN = 8_000

COMMON_WORDS = frozenset(
    """a about above after again all also am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her
    here hers him his how i if in into is it its just me more most my no nor not now of off on once only or
    other our ours out over own please same she should so some such tell than that the their theirs them then
    there these they this those through to too under until up us very was we were what when where which while
    who whom why will with would you your yours know say said show find anything something
    der die das und oder ist sind war was wer wie wo warum wir ihr sie es ein eine einen zu von mit für auf
    im in den dem des hat haben haben bitte""".split()  # noqa: SIM905 - a list of a hundred strings reads worse
)
_WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")


def keywords(question: str) -> str:
    """Return the words of a question that are worth looking for, in order, each once, at most twelve."""
    words = [word for word in _WORD.findall(question[:4_000]) if word.lower() not in COMMON_WORDS]
    chosen = list(dict.fromkeys(word.lower() for word in words))[:MOST_KEYWORDS]
    return " ".join(chosen)[:LONGEST_EXCERPT]


_MARKDOWN = re.compile(r"([\\`*_\[\]<>!#|~])")


def as_plain(text: str) -> str:
    """Return text that Markdown leaves as it is, on one line: a quotation must not format, link or load."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def references_in(content: object) -> tuple[Reference, ...]:
    """Read the references out of a tool result's JSON; what does not look like one is passed over."""
    if not isinstance(content, Mapping):
        return ()
    listed = cast("Mapping[str, object]", content).get("references")
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return ()
    return tuple(
        reference
        for one in cast("Sequence[object]", listed)
        if isinstance(one, Mapping) and (reference := _reference(cast("Mapping[str, object]", one)))
    )


def _reference(one: Mapping[str, object]) -> Reference | None:
    kind, reference, title = one.get("kind"), one.get("reference"), one.get("title")
    if not (isinstance(kind, str) and isinstance(reference, str) and isinstance(title, str)):
        return None
    excerpt = one.get("excerpt", "")
    return Reference(kind, reference, title, excerpt if isinstance(excerpt, str) else "")


def text_in(content: object, name: str) -> str:
    """Return a text field of a tool result's JSON, or an empty text."""
    if not isinstance(content, Mapping):
        return ""
    value = cast("Mapping[str, object]", content).get(name, "")
    return value if isinstance(value, str) else ""


def quote(references: Iterable[Reference], gaps: Sequence[str] = ()) -> str:
    """Return the answer to a question: each passage quoted and numbered, then the list of sources.

    `gaps` says why a search did not happen, since that is not the same as finding nothing.
    """
    unique = list({(one.kind, one.reference): one for one in references}.values())[:MOST_REFERENCES]
    missing = f"I could not look everywhere. {' '.join(as_plain(gap) for gap in gaps)}" if gaps else ""
    if not unique:
        return missing or (
            "I found nothing about this in what the company keeps. I only quote what is there: try "
            "other words, or type /help to see what I can do."
        )
    passages = [f"> {_excerpt(one)} [{number}]" for number, one in enumerate(unique, start=1) if one.excerpt.strip()]
    sources = [
        f"[{number}] {one.kind}: {as_plain(one.title)}{_place(one)}" for number, one in enumerate(unique, start=1)
    ]
    opening = "This is what I found, quoted as it stands." if passages else "These may be about it."
    parts = [opening, *passages, "Sources:\n\n" + "\n\n".join(sources), missing]
    return "\n\n".join(part for part in parts if part)


def _place(one: Reference) -> str:
    """Return where people find it, in brackets; identifiers and passage numbers tell them nothing."""
    place = one.reference.partition("#")[0] if one.kind == "file" else one.reference
    if one.kind in {"memory", "artifact"}:
        place = ""
    return f" ({as_plain(place)})" if place and place != one.title else ""


def _excerpt(one: Reference) -> str:
    text = " ".join(one.excerpt.split())
    return as_plain(text if len(text) <= LONGEST_EXCERPT else text[:LONGEST_EXCERPT] + "…")


def report(content: object) -> str:
    """Tell a command's result plainly: its summary, its text as it stands, its sources."""
    summary = text_in(content, "summary") or "Done."
    body = text_in(content, "content").strip()
    parts = [as_plain(summary)]
    if body and body != summary:
        shown = body[:LONGEST_SHOWN]
        parts.append(_fenced(shown))
        if len(body) > LONGEST_SHOWN:
            parts.append(f"This is the beginning: {len(shown)} of {len(body)} characters.")
    references = references_in(content)
    if references and not body:
        parts.extend(f"- {as_plain(one.title)}{_place(one)}" for one in references)
    return "\n\n".join(parts)


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def help_text() -> str:
    """Return what the built-in route says about itself and what can be typed."""
    lines = "\n".join(f"- `{usage}`: {purpose}" for usage, purpose in usage_lines())
    return (
        "I am the built-in assistant: I have no language model behind me. I carry out these commands, always "
        f"with your rights, and answer questions by quoting the company's memory, files and artifacts.\n\n{lines}"
    )
