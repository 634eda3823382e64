"""How an API key looks, and the bounds of what is asked of one. Pure.

A key is `op_`, an id of 12 characters that may be shown, 32 secret ones (190 bits), and 6 that check the rest: the
CRC-32 of everything before, so that scanners of source code tell a key from text that looks like one, and a mistyped
one costs no look into the database. All but the prefix is of the 62 ASCII letters and digits.
"""

import hashlib
import ipaddress
import re
import secrets
import string
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from operalta.access.rules import KEY_SCOPES, SCOPES_INCLUDE, Permission
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import ApiKeyId, PersonId

PREFIX = "op_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECK_LENGTH = 12, 32, 6
KEY_LENGTH = len(PREFIX) + ID_LENGTH + SECRET_LENGTH + CHECK_LENGTH
LONGEST_NAME = 80
LONGEST_LIFE_DAYS = 366
USUAL_LIFE_DAYS = 90
LONGEST_OVERLAP_HOURS = 7 * 24
MOST_ADDRESSES = 20
_KEY = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{KEY_LENGTH - len(PREFIX)}}}", re.ASCII)


class KeyKind(StrEnum):
    """Whose key it is: one person's, who alone manages it, or the company's, for a program that outlives its maker."""

    PERSONAL = "personal"
    COMPANY = "company"


class KeyState(StrEnum):
    """Whether a key opens anything. One without a holder waits to be rotated by somebody who may manage it."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"
    WITHOUT_HOLDER = "without_holder"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is shown: everything but its secret. `shown` is its prefix and id, `addresses` networks in CIDR form.

    `role_lacks` are scopes that its holder's role does not hold at present, so that they open nothing.
    """

    id: ApiKeyId
    kind: KeyKind
    name: str
    scopes: tuple[Permission, ...]
    addresses: tuple[str, ...]
    holder_id: PersonId
    holder_name: str | None
    shown: str
    state: KeyState
    role_lacks: tuple[Permission, ...]
    created_at: datetime
    rotated_at: datetime | None
    expires_at: datetime
    previous_shown: str | None
    previous_expires_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None
    refused_at: datetime | None
    revoked_at: datetime | None
    is_own: bool


@dataclass(frozen=True, slots=True)
class ShownOnce:
    """A key with its secret, which is told at this one moment and kept nowhere."""

    id: ApiKeyId
    name: str
    text: str


def new_key_text() -> str:
    """Return a fresh key."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH + SECRET_LENGTH))
    return PREFIX + body + _check(PREFIX + body)


def is_key_text(text: str) -> bool:
    """Tell whether `text` is a key by its form and its check; whether it opens anything, the database tells."""
    return bool(_KEY.fullmatch(text)) and _check(text[:-CHECK_LENGTH]) == text[-CHECK_LENGTH:]


def shown_part(text: str) -> str:
    """Return the part of a key that tells it from others and opens nothing."""
    return text[: len(PREFIX) + ID_LENGTH]


def digest_of(text: str) -> bytes:
    """Return what is kept of a key: its SHA-256. 190 random bits need no slower hash."""
    return hashlib.sha256(text.encode()).digest()


def checked_scopes(names: Collection[str], offered: frozenset[Permission]) -> list[str]:
    """Return the scopes with those that they include, sorted.

    Raise InvalidInput for none, one that is unknown, or one that is not `offered`.
    """
    wanted = set(names)
    unknown = sorted(wanted - {scope.value for scope in KEY_SCOPES})
    if unknown:
        raise InvalidInput(f"There is no scope “{unknown[0][:60]}”. Choose from the list.", field="scopes")
    if not wanted:
        raise InvalidInput("Choose at least one scope.", field="scopes")
    above = sorted(wanted - {scope.value for scope in offered})
    if above:
        raise InvalidInput(f"Your role does not hold {above[0]}, so no key of yours can.", field="scopes")
    for scope, included in SCOPES_INCLUDE.items():
        wanted |= {each.value for each in included} if scope.value in wanted else set()
    return sorted(wanted)


def checked_addresses(texts: Sequence[str]) -> list[str]:
    """Return networks in CIDR form. Raise InvalidInput for one that is none, and for more than twenty."""
    if len(texts) > MOST_ADDRESSES:
        raise InvalidInput(f"A key takes at most {MOST_ADDRESSES} addresses.", field="addresses")
    found: list[str] = []
    for text in texts:
        try:
            network = ipaddress.ip_network(text.strip())
        except ValueError:
            raise InvalidInput(
                f"“{text.strip()[:60]}” is no address or network. Write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32.",
                field="addresses",
            ) from None
        found.append(str(network))
    return sorted(set(found))


def checked_life(days: int) -> timedelta:
    """Return how long a key lives. Raise InvalidInput outside 1 to 366 days."""
    if not 1 <= days <= LONGEST_LIFE_DAYS:
        raise InvalidInput(f"A key lives 1 to {LONGEST_LIFE_DAYS} days.", field="expires_in_days")
    return timedelta(days=days)


def checked_overlap(hours: int) -> timedelta:
    """Return how long the secret before still opens. Raise InvalidInput outside 0 to 168 hours."""
    if not 0 <= hours <= LONGEST_OVERLAP_HOURS:
        raise InvalidInput(f"The overlap is 0 to {LONGEST_OVERLAP_HOURS} hours.", field="overlap_hours")
    return timedelta(hours=hours)


def state_of(*, revoked_at: datetime | None, expires_at: datetime, has_holder: bool, now: datetime) -> KeyState:
    """Return whether a key opens anything at `now`."""
    if revoked_at is not None:
        return KeyState.REVOKED
    if expires_at <= now:
        return KeyState.EXPIRED
    return KeyState.LIVE if has_holder else KeyState.WITHOUT_HOLDER


def _check(text: str) -> str:
    number = zlib.crc32(text.encode())
    digits = ""
    for _ in range(CHECK_LENGTH):
        number, place = divmod(number, len(ALPHABET))
        digits = ALPHABET[place] + digits
    return digits
