"""Companies, members and invitations as they are handed out; names and slugs. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from operalta.access.rules import CompanyKind, Permission, Role, StaffRole, may_grant, permissions_of
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import CompanyId, InvitationId, PersonId

SHORTEST_REASON = 10
LONGEST_REASON = 500
LONGEST_SLUG = 40
"""The column takes 48: room is left for the number that a taken slug gets."""

# Words that a reader of an address could take for a part of the product.
RESERVED_SLUGS = frozenset(
    {
        "about", "account", "admin", "api", "app", "assets", "auth", "c", "companies", "company", "docs", "healthz",
        "help", "invitations", "legal", "login", "logout", "mail", "mcp", "me", "new", "openai", "operalta", "operator",
        "privacy", "readyz", "root", "security", "settings", "sign-in", "sign-out", "sign-up", "static", "status",
        "support", "system", "terms", "trust", "www",
    }
)  # fmt: skip
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
# Letters that do not come apart into a base letter and a mark.
_FOLDED = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ł": "l",
        "ħ": "h",
        "\u0131": "i",
        "&": " and ",
    }
)


@dataclass(frozen=True, slots=True)
class CompanyEntry:
    """One of a person's companies, as the chooser shows it, with the role held there."""

    id: CompanyId
    slug: str
    name: str
    kind: CompanyKind
    role: Role


@dataclass(frozen=True, slots=True)
class Company:
    """The company of a scope."""

    id: CompanyId
    slug: str
    name: str
    kind: CompanyKind
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CompanyReference:
    """Where to go after a company was founded or joined."""

    id: CompanyId
    slug: str


@dataclass(frozen=True, slots=True)
class Member:
    """A person with a membership that holds."""

    person_id: PersonId
    name: str
    email: str
    role: Role
    since: datetime


class InvitationState(StrEnum):
    """What can still come of an invitation."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation, as the company sees it. Its link is known to its addressee alone."""

    id: InvitationId
    email: str
    role: Role
    state: InvitationState
    inviter: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class CompanyToVisit:
    """A company as staff see it before they visit: its name, and nothing that is in it."""

    slug: str
    name: str
    kind: CompanyKind


@dataclass(frozen=True, slots=True)
class OpenedVisit:
    """A visit that has just begun."""

    id: UUID
    company_slug: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class StaffVisit:
    """A visit of the operator's staff to a company, as both sides see it."""

    id: UUID
    company_slug: str
    company_name: str
    person_name: str
    role: StaffRole
    reason: str
    opened_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    is_open: bool


def visit_reason(text: str) -> str:
    """Return the reason for a visit as one line. Raise InvalidInput unless it has 10 to 500 characters."""
    clean = " ".join("".join(" " if unicodedata.category(each)[0] == "C" else each for each in text).split())
    if not SHORTEST_REASON <= len(clean) <= LONGEST_REASON:
        raise InvalidInput(
            f"Give a reason of {SHORTEST_REASON} to {LONGEST_REASON} characters; the company reads it.", field="reason"
        )
    return clean


def slug_of(name: str) -> str:
    """Return the slug that a company of this name asks for: ASCII letters, digits and single hyphens, at most 40.

    Never empty, never a reserved word, never in the shape of an id (a company is found by either).
    """
    folded = unicodedata.normalize("NFKD", name.lower().translate(_FOLDED))
    plain = "".join(character for character in folded if not unicodedata.combining(character))
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-")
    if not slug:
        return "company"
    if slug in RESERVED_SLUGS or _UUID.fullmatch(slug):
        return f"{slug}-company"
    return slug


def roles_to_grant(kind: str | None, own_role: str | None) -> tuple[Role, ...]:
    """Return the roles that a member with `own_role` may give, from the one that may do most to the least."""
    grantable = [role for role in Role if may_grant(kind, own_role, role)]
    return tuple(sorted(grantable, key=lambda role: -len(permissions_of(kind, role))))


def roles_out_of_reach(kind: str | None, role: str | None) -> tuple[Role, ...]:
    """Return the roles whose open invitations fall when their inviter's own role becomes `role` (None: leaves)."""
    return tuple(wanted for wanted in Role if not may_grant(kind, role, wanted))


def sees_members(kind: str | None, role: str | None) -> bool:
    """Tell whether `role` may know who is a member."""
    return Permission.MEMBERS_READ in permissions_of(kind, role)
