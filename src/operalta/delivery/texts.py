"""The texts of all messages: Jinja2 templates whose first line is the subject."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from operalta.delivery.rules import A_PAUSED_WAY, ANOTHER_FACTOR_CHANGE, FACTOR_CHANGES, PAUSED_WAYS, Kind
from operalta.terms.registry import upholds

LONGEST_NAME = 120
ONE_SMS = 160
"""Characters of the SMS alphabet (GSM 03.38) that travel as one message."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=False,  # noqa: S701 - plain text; there is no markup to escape
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_BREAKING_OR_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Text:
    """A finished message: a subject of one line, and a body. Both may hold what nobody else may read."""

    subject: str = field(repr=False)
    body: str = field(repr=False)


def render(
    kind: Kind,
    *,
    name: str,
    facts: Mapping[str, Any],
    base_url: str,
    link: str | None = None,
    until: datetime | None = None,
) -> Text:
    """Return the text of a mail. `link` and `until` belong to the kinds that carry a link.

    Whatever people wrote (names, companies, devices) is made harmless by `plain`.
    """
    rendered = _TEMPLATES.get_template(f"{kind.value}.txt").render(
        name=plain(name),
        facts={key: plain(str(value)) for key, value in facts.items()},
        base_url=base_url,
        link=link,
        until=None if until is None else _moment(until),
        change=FACTOR_CHANGES.get(str(facts.get("change")), ANOTHER_FACTOR_CHANGE),
        way=PAUSED_WAYS.get(str(facts.get("way")), A_PAUSED_WAY),
    )
    return _text(rendered)


def render_code(code: str, host: str | None) -> Text:
    """Return the text of an SMS that carries a code.

    Its last line binds the code to `host`, where there is one and the whole still fits into one SMS.
    """
    template = _TEMPLATES.get_template(f"{Kind.CODE.value}.txt")
    text = _text(template.render(code=code, host=host))
    return text if len(text.body.strip()) <= ONE_SMS else _text(template.render(code=code, host=None))


@upholds("3.4.4")
def plain(text: str) -> str:
    """Return what somebody wrote as one short line that no reader turns into a link.

    Otherwise a stranger could have us mail "Ada, see evil.example" to anyone, by signing up under that name.
    """
    visible = "".join(
        " " if unicodedata.category(character) in _BREAKING_OR_HIDDEN else character for character in text
    )
    line = re.sub(r"://|www\.", " ", " ".join(visible.split()), flags=re.IGNORECASE)
    return " ".join(re.sub(r"\.(?=\w)", ". ", line.replace("@", " at ")).split())[:LONGEST_NAME]


def _text(rendered: str) -> Text:
    subject, _, body = rendered.partition("\n")
    return Text(subject, body.strip("\n") + "\n")


def _moment(moment: datetime) -> str:
    in_utc = moment.astimezone(UTC)
    return f"{in_utc:%H:%M} UTC on {in_utc.day} {in_utc:%B %Y}"
