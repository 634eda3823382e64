"""Pages from templates: escaped always, complete or not at all, with static files addressed by content.

No web framework is known here: a route hands over a template's name and its context and gets text back. What
each page needs stands in a comment at the top of its template.
"""

import difflib
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from operalta.kernel import clock
from operalta.terms.registry import upholds
from operalta.web import markdown

STATIC_FOLDER: Final = Path(__file__).parent / "static"
TEMPLATE_FOLDER: Final = Path(__file__).parent / "templates"
STATIC_PREFIX: Final = "/static/"

_HASH_CHARACTERS: Final = 16
_ID_CHARACTERS: Final = 8
_LONGEST_COMPARED: Final = 2_000
_UNITS: Final = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("hour", 3_600), ("minute", 60))
_KILO: Final = 1024
_UNSEEN: Final = Markup('<span class="unseen">{}</span>')
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
_BLANK_LETTERS: Final = frozenset({"\u115f", "\u1160", "\u3164", "\uffa0", "\u2800"})


@dataclass(frozen=True, slots=True)
class DiffLine:
    """A line of a comparison: `kind` is "same", "removed", "added", or "skipped" with how many as text."""

    kind: str
    text: str


def render(template_name: str, context: Mapping[str, Any]) -> str:
    """Return the page `template_name` ("pages/chat.html") filled with `context`.

    A name that the template uses and the context lacks is an error, never an empty place.
    """
    return environment().get_template(template_name).render(context)


@cache
@upholds("3.4.2")
def environment() -> Environment:
    """Return the one template environment: every value is escaped unless it is markup that we made."""
    built = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters: dict[str, Any] = built.filters
    filters.update(
        {
            "ago": ago,
            "datetime": date_and_time,
            "day": day,
            "bytes": byte_size,
            "markdown": safe_markdown,
            "short_id": short_id,
            "pretty_json": pretty_json,
            "plural": plural,
            "reveal": reveal,
            "choices": choices,
            "address": address,
        }
    )
    names: dict[str, Any] = built.globals
    names.update({"asset_url": asset_url, "diff_lines": diff_lines})
    return built


@cache
def asset_url(name: str) -> str:
    """Return the address of a static file with the hash of its content, so that it may be cached for ever."""
    digest = hashlib.sha256((STATIC_FOLDER / name).read_bytes()).hexdigest()
    return f"{STATIC_PREFIX}{name}?v={digest[:_HASH_CHARACTERS]}"


def ago(moment: datetime | None, *, now: datetime | None = None) -> Markup:
    """Return a `<time>` that says "3 hours ago" or "in 2 days"; "never" for None."""
    if moment is None:
        return Markup('<span class="muted">never</span>')
    seconds = ((now or clock.now()) - moment).total_seconds()
    return _time(moment, _distance(seconds), "ago")


def date_and_time(moment: datetime | None) -> Markup:
    """Return a `<time>` in UTC to the minute, which script rewrites in local time; "never" for None."""
    if moment is None:
        return Markup('<span class="muted">never</span>')
    return _time(moment, f"{moment.astimezone(UTC):%d %b %Y, %H:%M} UTC", "moment")


def day(moment: date | None) -> Markup:
    """Return a `<time>` with the day alone, which is the same everywhere; a dash for None."""
    if moment is None:
        return Markup('<span class="muted">no date</span>')
    return Markup('<time datetime="{}">{}</time>').format(f"{moment:%Y-%m-%d}", f"{moment:%d %b %Y}".lstrip("0"))


def byte_size(count: int) -> str:
    """Return a size for people: "912 bytes", "1.4 MB" (in steps of 1,024)."""
    if count < _KILO:
        return f"{count} byte{'' if count == 1 else 's'}"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= _KILO
        if size < _KILO:
            return f"{size:.1f} {unit}".replace(".0 ", " ")
    return f"{size / _KILO:,.1f} PB"


def safe_markdown(source: str, first_heading: int = 3) -> Markup:
    """Return Markdown as sanitised markup, headings from `first_heading` on (see `operalta.web.markdown`)."""
    return Markup(markdown.to_html(source, first_heading))  # noqa: S704 - the sanitiser's allow-list made it


def short_id(identifier: UUID | str) -> Markup:
    """Return the end of an identifier, which tells neighbours apart; the whole of it as tooltip.

    The beginning of our identifiers is their time of creation, so it looks alike in a list.
    """
    whole = str(identifier)
    return Markup('<code class="id" title="{}">{}</code>').format(whole, whole[-_ID_CHARACTERS:])


def pretty_json(value: object) -> str:
    """Return `value` as indented JSON with its letters as they are; what JSON does not know as text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return the count with its noun: "1 record", "1,204 records"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


@upholds("3.4.4")
def address(target: str) -> str:
    """Return where a link may lead: http, https, mailto or this site; anything else becomes "#"."""
    return target if markdown.is_allowed_address(target) else "#"


def choices(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return words as options of a select: the word and its label."""
    return [(word, word.capitalize()) for word in words]


def reveal(text: str) -> Markup:
    """Return text escaped, with every character that cannot be seen shown as its code ("U+202E").

    What a person approves must be what will run: zero-width and direction-changing characters could make one
    look like another.
    """
    return Markup().join(
        _UNSEEN.format(f"U+{ord(character):04X}") if _is_unseen(character) else character for character in text
    )


def _is_unseen(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in _UNSEEN_CATEGORIES or character in _BLANK_LETTERS


def diff_lines(before: str, after: str, *, context: int = 3) -> list[DiffLine]:
    """Return what changes from `before` to `after`, with `context` unchanged lines round each change.

    Nothing that changes is ever left out; only unchanged stretches are folded. Very long texts are shown
    whole, the old one removed and the new one added, because comparing them would take too long.
    """
    # At line feeds alone: a swapped kind of line end is a change, and must show as one.
    old, new = (text.split("\n") if text else [] for text in (before, after))
    if max(len(old), len(new)) > _LONGEST_COMPARED:
        return [DiffLine("removed", line) for line in old] + [DiffLine("added", line) for line in new]
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    lines: list[DiffLine] = []
    reached = 0
    for group in matcher.get_grouped_opcodes(context):
        lines += _skipped(group[0][1] - reached)
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                lines += [DiffLine("same", line) for line in old[old_start:old_end]]
            else:
                lines += [DiffLine("removed", line) for line in old[old_start:old_end]]
                lines += [DiffLine("added", line) for line in new[new_start:new_end]]
        reached = group[-1][2]
    return lines + _skipped(len(old) - reached if lines else 0)


def _skipped(count: int) -> list[DiffLine]:
    return [DiffLine("skipped", plural(count, "unchanged line"))] if count > 0 else []


def _time(moment: datetime, text: str, kind: str) -> Markup:
    exact = moment.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}" data-time="{}">{}</time>').format(
        f"{exact:%Y-%m-%dT%H:%M:%SZ}", f"{exact:%d %b %Y, %H:%M} UTC", kind, text
    )


def _distance(seconds: float) -> str:
    for unit, length in _UNITS:
        count = int(abs(seconds) // length)
        if count:
            words = plural(count, unit)
            return f"{words} ago" if seconds > 0 else f"in {words}"
    return "just now" if seconds >= 0 else "in a moment"
