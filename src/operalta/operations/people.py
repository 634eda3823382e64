"""Support for people by the deployment's operator: find somebody, sign them out, take lost factors away, appoint staff.

Everything goes through named functions of the database that no serving role may call, only whoever holds the owner's
password; each leaves an event in the audit log: a search that it was made, the others also the operator's reason.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operalta.access.rules import StaffRole
from operalta.operations import store
from operalta.operations.support import CannotHelp, checked_reason, support
from operalta.settings import Settings
from operalta.terms.registry import upholds

SHORTEST_SEARCH = 3


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """Somebody with an account. Times are in UTC; what follows `created_at` are counts."""

    id: UUID
    email: str
    name: str
    is_operator: bool
    verified: bool
    created_at: datetime
    live_sessions: int
    last_seen_at: datetime | None
    phones: int
    authenticators: int
    passkeys: int
    recovery_codes: int


async def find_people(settings: Settings, wanted: str) -> tuple[FoundPerson, ...]:
    """Return up to 50 people by id, or by a part of their address or name, in order of their addresses."""
    if len(wanted.strip()) < SHORTEST_SEARCH:
        raise CannotHelp(f"Give at least {SHORTEST_SEARCH} characters of an address or a name, or an id.")
    async with support(settings) as connection:
        return tuple(FoundPerson(**row) for row in await store.find_people(connection, wanted.strip()))


@upholds("2.4.4")
async def sign_out(settings: Settings, person: UUID, reason: str) -> int:
    """End every session of a person, at once, and return how many there were. Raise CannotHelp."""
    clean = checked_reason(reason)
    async with support(settings) as connection:
        ended = await store.sign_out_person(connection, person, clean)
    if ended is None:
        raise CannotHelp(f"Nobody has the id {person}. Look it up with: operalta people find …")
    return ended


@upholds("2.4.4")
async def reset_factors(settings: Settings, person: UUID, reason: str) -> int:
    """Take every second factor and recovery code of a person away, sign them out, and tell them by mail.

    Return how many factors there were. Raise CannotHelp. The password alone opens the account afterwards, so make sure
    first who is asking.
    """
    clean = checked_reason(reason)
    async with support(settings) as connection:
        removed = await store.reset_factors(connection, person, clean)
    if removed is None:
        raise CannotHelp(f"Nobody has the id {person}. Look it up with: operalta people find …")
    return removed


@upholds("7.2.3")
async def appoint_staff(settings: Settings, person: UUID, role: StaffRole, reason: str) -> None:
    """Let a person visit companies as staff, in this role and no other. Raise CannotHelp."""
    clean = checked_reason(reason)
    async with support(settings) as connection:
        if not await store.appoint_staff(connection, person, role.value, clean):
            raise CannotHelp(
                f"Nobody with a verified address has the id {person}. Look it up with: operalta people find …"
            )


@upholds("7.2.3")
async def dismiss_staff(settings: Settings, person: UUID, reason: str) -> None:
    """End a person's appointment as staff, and every visit of theirs, at once. Raise CannotHelp."""
    clean = checked_reason(reason)
    async with support(settings) as connection:
        if not await store.dismiss_staff(connection, person, clean):
            raise CannotHelp(f"{person} is not appointed as staff.")
