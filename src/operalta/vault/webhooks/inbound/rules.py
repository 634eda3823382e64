"""What hooks for incoming messages are, and what of a message is taken. Pure."""

import json
import math
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NoReturn, cast
from uuid import UUID

from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import CompanyId
from operalta.terms.registry import upholds
from operalta.vault.webhooks.errors import NotJson
from operalta.vault.webhooks.rules import EXCHANGE_FIRST, OffBecause, new_secret
from operalta.vault.webhooks.signatures import Scheme, key_of

LARGEST_BODY_BYTES = 256 * 1024
LONGEST_SECRET = 200
SHORTEST_SECRET = 16
MOST_KEPT = 500
KEPT_DAYS = 30
SEEN_DAYS = 738
"""So long it is known what came: a week longer than any secret is good for, with which a copy could count again."""
DEEPEST = 100
"""How many lists and objects may lie in one another: more than that nobody can be shown."""
HOOK_PATH = "/hooks/"

SCHEME_LABELS = MappingProxyType(
    {
        Scheme.STANDARD: "Standard Webhooks (webhook-signature)",
        Scheme.GITHUB: "GitHub (X-Hub-Signature-256)",
        Scheme.STRIPE: "Stripe (Stripe-Signature)",
        Scheme.SLACK: "Slack (X-Slack-Signature)",
    }
)
MAKES_OWN_SECRET = frozenset({Scheme.STRIPE, Scheme.SLACK})
"""With these the sender makes the secret, after it has been told the address."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_LONGEST_EXPONENT = 4
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Taken(StrEnum):
    """What became of a message; the words are the database's."""

    KEPT = "kept"
    REPEATED = "repeated"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class OpenedHook:
    """A hook that is on, with the secrets that may have signed: the newest first."""

    company_id: CompanyId
    scheme: Scheme
    secrets: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook as it may be shown: with the first characters of its address, and without its secret."""

    id: UUID
    name: str
    scheme: Scheme
    shown: str
    has_secret: bool
    needs_secret: bool
    is_on: bool
    off_because: OffBecause | None
    holder_id: UUID
    holder_name: str | None
    created_at: datetime
    rotated_at: datetime | None
    previous_until: datetime | None
    switched_at: datetime | None
    received_at: datetime | None
    refused_at: datetime | None
    messages: int

    @property
    def says(self) -> str:
        """The state in a sentence, with what to do about it."""
        if self.needs_secret:
            return EXCHANGE_FIRST
        if self.off_because is OffBecause.LEFT:
            return (
                "Switched off: whoever held it may no longer manage integrations here. Switch it on, and you hold it."
            )
        if not self.has_secret:
            return "It has no secret yet. Give the address to the sender, then bring the secret that it shows."
        if not self.is_on:
            return "Off: whatever is sent there is answered as if there were no such address."
        return "On." if self.received_at else "On. Nothing has come yet."


@dataclass(frozen=True, slots=True)
class Message:
    """What came. Whoever holds the secret wrote it, and nothing more is known: it is data, and vouches for nothing."""

    id: UUID
    source: Scheme
    received_at: datetime
    size: int
    body: Any
    is_trusted: bool = False


@dataclass(frozen=True, slots=True)
class HookOnce:
    """A hook's address and secret, at the one moment in which they are told; only what is new is there."""

    id: UUID
    name: str
    scheme: Scheme
    token: str | None = field(repr=False)
    secret: str | None = field(repr=False)


def new_token() -> str:
    """Return the last part of a new address: 256 bits, so nobody guesses it."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Tell whether this has the form of a token of ours."""
    return _TOKEN.fullmatch(text) is not None


def secret_of(scheme: Scheme, given: str) -> tuple[str | None, bool]:
    """Return the secret to keep, and whether we have made it. None: the sender makes it, and it was not given yet.

    Raise InvalidInput for one that cannot be a secret of this scheme.
    """
    text = given.strip()
    if not text:
        return (None, False) if scheme in MAKES_OWN_SECRET else (new_secret(), True)
    if (
        not text.isascii()
        or not text.isprintable()
        or " " in text
        or not SHORTEST_SECRET <= len(text) <= LONGEST_SECRET
    ):
        raise InvalidInput(
            f"A secret has {SHORTEST_SECRET} to {LONGEST_SECRET} characters without blanks. Copy it again.",
            field="secret",
        )
    if scheme is Scheme.STANDARD and len(key_of(text.encode())) < SHORTEST_SECRET:
        raise InvalidInput("A secret of Standard Webhooks is whsec_ and base64. Copy it again.", field="secret")
    return text, False


@upholds("7.2.2")
def content_of(content_type: str, body: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what a message says. Raise NotJson for anything but JSON that the database can hold."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise NotJson
    try:
        text = body.decode("utf-8")
        content: object = json.loads(text, parse_constant=_refuse, parse_float=_Numbers().read)
        # A NUL or half of a surrogate pair, written as an escape, has no place in the database's text.
        written = json.dumps(content, ensure_ascii=False)
        written.encode()
    except (ValueError, RecursionError) as error:
        raise NotJson("This is not JSON that can be read. Have the sender send it in UTF-8.") from error
    if _NUL.search(written):
        raise NotJson("This holds characters that cannot be kept. Have the sender leave out NUL.")
    if _is_deeper(content, DEEPEST):
        raise NotJson(f"This lies in more than {DEEPEST} lists and objects. Have the sender write it flatter.")
    return content


def challenge_in(scheme: Scheme, content: object) -> str | None:
    """Return what Slack wants to have back when it is told an address; None for everything else."""
    if scheme is not Scheme.SLACK or not isinstance(content, dict):
        return None
    told = cast("dict[str, object]", content)
    challenge = told.get("challenge")
    is_asked = told.get("type") == "url_verification" and isinstance(challenge, str) and _CHALLENGE.fullmatch(challenge)
    return challenge if is_asked and isinstance(challenge, str) else None


class _Numbers:
    """Reads numbers with an exponent. The database writes them out in full, for which there is room in proportion."""

    def __init__(self) -> None:
        self._room = 4 * LARGEST_BODY_BYTES

    def read(self, text: str) -> float:
        """Return the number. Raise ValueError for one out of all proportion, or where there is no room left."""
        number = float(text)
        exponent = text.lower().partition("e")[2]
        if exponent:
            self._room -= abs(int(exponent[:_LONGEST_EXPONENT])) + len(text)
        if not math.isfinite(number) or len(exponent) > _LONGEST_EXPONENT or self._room < 0:
            raise ValueError("a number that cannot be kept")
        return number


def _is_deeper(content: object, levels: int) -> bool:
    """Tell whether more than so many lists and objects lie in one another."""
    layer: list[object] = [content] if isinstance(content, (dict, list)) else []
    for _ in range(levels):
        inner = [within for each in layer for within in _within(each)]
        layer = [each for each in inner if isinstance(each, (dict, list))]
    return bool(layer)


def _within(content: object) -> Iterable[object]:
    """Return what lies directly in a list or an object."""
    if isinstance(content, dict):
        return cast("dict[str, object]", content).values()
    return cast("list[object]", content if isinstance(content, list) else [])


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
