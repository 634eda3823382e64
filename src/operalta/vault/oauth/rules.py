"""What connections and registrations are, and what is to be said of their health. Pure."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from operalta.db.scope import Scope
from operalta.kernel.errors import InvalidInput
from operalta.vault.oauth.providers import MOST_SCOPES, Provider

CALLBACK_PATH: Final = "/connections/callback"
STATE_MINUTES: Final = 10
LONGEST_CLIENT_ID: Final = 400
LONGEST_CLIENT_SECRET: Final = 1_000
WARNING: Final = timedelta(days=7)
LONGEST_UNRENEWED: Final = timedelta(days=180)
"""How long a refresh token is used that its provider never replaces; see the table of kinds of secrets."""

OpenScope = Callable[[], AbstractAsyncContextManager[Scope]]
"""Opens the caller's scope for one transaction; called for each anew: none stays open while a provider answers."""


class Status(StrEnum):
    """What can be done with a connection."""

    ACTIVE = "active"
    BROKEN = "broken"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Client:
    """A company's registration at a provider. Its secret is sealed elsewhere; here is its id."""

    id: UUID
    provider: Provider
    issuer: str
    title: str
    client_id: str
    secret_id: UUID
    created_at: datetime
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Connection:
    """One person's account at one provider, as it may be shown: without tokens and without their ids."""

    id: UUID
    client_id: UUID
    provider: Provider
    title: str
    owner_id: UUID
    owner_name: str
    is_own: bool
    account: str | None
    status: Status
    asked_scopes: tuple[str, ...]
    granted_scopes: tuple[str, ...]
    connected_at: datetime
    expires_at: datetime | None
    refreshes: bool
    last_used_at: datetime | None
    refreshed_at: datetime | None
    failed_at: datetime | None
    failure: str | None
    revoked_at: datetime | None
    at_provider: str | None

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """What was asked for and not given."""
        return tuple(scope for scope in self.asked_scopes if scope not in self.granted_scopes)

    @property
    def further_scopes(self) -> tuple[str, ...]:
        """What was given and not asked for."""
        return tuple(scope for scope in self.granted_scopes if scope not in self.asked_scopes)


class Health(StrEnum):
    """How a connection is doing, in one word."""

    HEALTHY = "healthy"
    FAILING = "failing"
    ENDING = "ending"
    RECONNECT = "reconnect"
    REVOKED = "revoked"


def health_of(connection: Connection, now: datetime) -> tuple[Health, str]:
    """Return how a connection is doing at `now`, and what its owner is to do, in a sentence."""
    if connection.status is Status.REVOKED:
        return Health.REVOKED, _AT_PROVIDER.get(connection.at_provider or "", "It is revoked.")
    ends = ends_at(connection)
    if connection.status is Status.BROKEN or (ends is not None and ends <= now):
        return Health.RECONNECT, connection.failure or "It has expired. Connect it again."
    if ends is not None and ends - now <= WARNING:
        return Health.ENDING, "It ends soon and cannot be refreshed. Connect it again before that."
    if connection.failure is not None:
        return Health.FAILING, connection.failure
    return Health.HEALTHY, "It works."


def ends_at(connection: Connection) -> datetime | None:
    """Return when a connection ends unless it is made anew; None where it goes on by itself."""
    if not connection.refreshes:
        return connection.expires_at
    return None if connection.provider.rotates else connection.connected_at + LONGEST_UNRENEWED


_AT_PROVIDER = {
    "waiting": "It is revoked here. The provider is being told.",
    "revoked": "It is revoked here and at the provider.",
    "refused": "It is revoked here. The provider refused to hear of it: remove the access in its own settings.",
    "given up": "It is revoked here. The provider could not be reached: remove the access in its own settings.",
    "not offered": "It is revoked here. The provider offers no way to tell it: remove the access in its own settings.",
}


def chosen_scopes(provider: Provider, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is asked of a provider: scopes that it is known to have, each once. Raise InvalidInput."""
    unknown = [scope for scope in asked if scope not in provider.scopes]
    if unknown or len(asked) > MOST_SCOPES:
        raise InvalidInput("Choose among the permissions that are listed for this provider.", field="scopes")
    return tuple(dict.fromkeys(asked or provider.default_scopes))


def client_id_of(text: str) -> str:
    """Return a client's id as it is kept. Raise InvalidInput."""
    return _printable(text, LONGEST_CLIENT_ID, "client_id", "The client id")


def client_secret_of(text: str) -> str:
    """Return a client's secret as it is sealed. Raise InvalidInput, without repeating it."""
    return _printable(text, LONGEST_CLIENT_SECRET, "client_secret", "The client secret")


def _printable(text: str, longest: int, field: str, what: str) -> str:
    clean = text.strip()
    if not 0 < len(clean) <= longest or not clean.isprintable() or len(clean.split()) != 1:
        raise InvalidInput(
            f"{what} is one word of at most {longest} characters. Copy it from the provider.", field=field
        )
    return clean
