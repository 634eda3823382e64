"""API keys at the operator's hands: looked up, and ended when one got loose. Making them is for members alone."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operalta.operations import store
from operalta.operations.support import CannotHelp, checked_reason, support
from operalta.settings import Settings
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key of a company. `shown` is its prefix and id; `holder` the address of whoever has seen its secret."""

    id: UUID
    company: str
    kind: str
    name: str
    shown: str
    scopes: list[str]
    holder: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def find_keys(settings: Settings, company: str, reason: str) -> tuple[FoundKey, ...]:
    """Return the keys of a company, by its slug, the newest first, at most 500; none for no such company."""
    clean = checked_reason(reason)
    async with support(settings) as connection:
        return tuple(FoundKey(**row) for row in await store.find_api_keys(connection, company, clean))


@upholds("1.3.4", "2.4.4")
async def revoke_key(settings: Settings, key: UUID, reason: str) -> None:
    """End a key at once, whose ever it is. Raise CannotHelp where there is no live one by this id."""
    clean = checked_reason(reason)
    async with support(settings) as connection:
        if not await store.revoke_api_key(connection, key, clean):
            raise CannotHelp(f"No live API key has the id {key}. Look it up with: operalta api-keys list …")
