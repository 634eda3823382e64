"""Telling providers of connections that have ended: work of the job role, tried again for days, then given up.

A connection ends here in one statement, with its owner's membership as well; its tokens then lie where nobody who
serves can use them, until the provider has been told. Rows are taken one by one, so any number of workers may do this.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

import psycopg
import structlog

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.db.scope import Row
from operalta.kernel.ids import CompanyId
from operalta.sealing.errors import CannotOpen, CompanyKeyGone, Tampered, WrongPlace
from operalta.terms.registry import upholds
from operalta.vault.kinds import Caller, SecretKind
from operalta.vault.oauth import store
from operalta.vault.oauth.client import Asked, OAuthClient
from operalta.vault.oauth.ports import OpensSecrets
from operalta.vault.oauth.registrations import definition_of
from operalta.vault.oauth.wire import Ended, Held, Registration

PAUSE_SECONDS = 2.0
FORGETTING_PAUSES = 1_800
MOST_ATTEMPTS = 10
"""At once, after 1, 5 and 25 minutes, after 2, 10 and 24 hours, then daily: about five days."""

_GIVEN_UP, _NOT_OFFERED = "given up", "not offered"

log = structlog.get_logger(__name__)


class Revoker:
    """Tells providers. `pool` is the job role's."""

    def __init__(self, pool: Pool, opener: OpensSecrets, client: OAuthClient) -> None:
        self._pool = pool
        self._opener = opener
        self._client = client

    async def run(self, stop: asyncio.Event) -> None:
        """Tell whatever is due, every two seconds until `stop` is set; forget old consents once an hour."""
        round_number = 0
        while not stop.is_set():
            try:
                while not stop.is_set() and await self.tell_one():
                    pass
                if round_number % FORGETTING_PAUSES == 0:
                    async with open_elevated(self._pool, Purpose.FORGET_EXPIRED) as elevated:
                        await store.forget_states(elevated.connection)
            except (DatabaseOutOfReach, psycopg.Error) as failure:
                log.warning("providers are told later", error=type(failure).__name__)
            round_number += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_SECONDS)

    @upholds("1.3.4")
    async def tell_one(self) -> bool:
        """Tell one provider of one connection, if any is due; return whether there was one."""
        # Taken in a transaction of its own: none is open while the provider is asked, and other workers see it taken.
        async with open_elevated(self._pool, Purpose.REVOKE_CONNECTIONS) as elevated:
            row = await store.take_revocation(elevated.connection)
        if row is None:
            return False
        asked = Asked()
        ended = await self._tell(row, asked)
        async with open_elevated(self._pool, Purpose.REVOKE_CONNECTIONS) as elevated:
            await store.finish_revocation(elevated.connection, row["company"], row["revocation"], ended, asked.lines)
        return True

    async def _tell(self, row: Row, asked: Asked) -> str:
        company, told = CompanyId(row["company"]), row["definition"]
        provider = definition_of(row["provider"], told["issuer"] if told else "", told)
        try:
            secret = self._opened(company, row, "client", SecretKind.OAUTH_CLIENT_SECRET)
            held = Held(
                self._opened(company, row, "access", SecretKind.OAUTH_ACCESS_TOKEN),
                self._opened(company, row, "refresh", SecretKind.OAUTH_REFRESH_TOKEN),
                row["account"],
            )
        except (CannotOpen, CompanyKeyGone) as failure:
            log.warning("a connection cannot be revoked at its provider", error=type(failure).__name__)
            return _not_opened(failure, row["attempt"])
        if secret is None:
            return _GIVEN_UP
        registration = Registration(row["client_id"], secret)
        ended = await self._client.revoke(provider, registration, held, company=company, asked=asked)
        if ended is None:
            return _NOT_OFFERED
        return _GIVEN_UP if ended is Ended.LATER and row["attempt"] >= MOST_ATTEMPTS else ended.value

    def _opened(self, company: CompanyId, row: Row, which: str, kind: SecretKind) -> str | None:
        identifier: UUID | None = row[f"{which}_secret"]
        if identifier is None:
            return None
        sealed, revision = row[f"{which}_sealed"], row[f"{which}_revision"]
        return self._opener.open_taken(company, identifier, kind, revision, sealed, Caller.OAUTH_CLIENT).decode()


def _not_opened(failure: CannotOpen | CompanyKeyGone, attempt: int) -> str:
    """Tell what becomes of a connection whose tokens do not open: damage stays, all else may pass."""
    if isinstance(failure, CompanyKeyGone):
        # Dropped for good, or a rotation ended between the two looks: then the next attempt finds other bytes.
        is_over = attempt > 1
    else:
        is_over = isinstance(failure, Tampered | WrongPlace) or attempt >= MOST_ATTEMPTS
    return _GIVEN_UP if is_over else Ended.LATER.value
