"""Using a connection: its access token for the egress caller, refreshed by exactly one when it is about to expire.

A claim in the row of the connection lets one caller of all processes refresh. It is committed before the provider is
asked and holds for a minute, three times as long as the provider may take; all others wait and read again. Whoever
holds the claim stores the answer without any scope, so that the end of their run or session, or its being cancelled,
loses no rotated refresh token; while the database is away it tries again. What remains: the process dies, or the
answer is lost on the network, after the provider has rotated and before the row is written. The next caller then
tries the earlier refresh token, which providers with a grace period accept; of the others the connection becomes
broken and says why.
"""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import anyio
import structlog

from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import NotFound, Refusal
from operalta.kernel.ids import CompanyId
from operalta.sealing.errors import CannotOpen, Tampered, WrongPlace
from operalta.terms.registry import upholds
from operalta.vault.kinds import Caller
from operalta.vault.oauth import store
from operalta.vault.oauth.client import PROVIDERS, Asked, OAuthClient
from operalta.vault.oauth.errors import (
    ConnectionBroken,
    NoSuchConnection,
    ProviderAway,
    ProviderRefused,
    RefreshUnderWay,
)
from operalta.vault.oauth.ports import OpensSecrets
from operalta.vault.oauth.registrations import client_of
from operalta.vault.oauth.rules import Client, OpenScope
from operalta.vault.oauth.wire import GrantDead, Held, Registration, Tokens, Unreadable
from operalta.vault.sealed.errors import SecretTooOld
from operalta.vault.secrets import Secrets

LONGEST_WAIT_SECONDS = 45.0
LONGEST_START_SECONDS = 20.0
"""A claim that is older than this when the provider would be asked is given back: it could lapse meanwhile."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0
_AWAY_SECONDS, _REFUSED_SECONDS = 30, 300
_STORING_ATTEMPTS = 12

INTERRUPTED = "A refresh was interrupted, and the provider does not accept what was there before it. Connect it again."
_DEAD = "The provider no longer accepts this connection. Connect it again."
_AWAY = "The provider did not answer the last refresh as it should. It is tried again at the next use."
_REFUSED = "The provider refused the last refresh because of the registration. Check its client id and secret."
_TOO_OLD = "What was kept of this connection is gone, or too old to be used. Connect it again."
_NOT_OPENED = "What was kept of this connection cannot be opened right now. Tell the operator."

_GONE = (NotFound, SecretTooOld, Tampered, WrongPlace)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right to refresh one connection, once."""

    company: CompanyId
    connection: UUID
    client: Client
    access: UUID
    refresh: UUID
    secret: str = field(repr=False)
    access_revision: int
    refresh_revision: int
    interrupted: bool
    since: float


class ConnectionTokens:
    """Hands out access tokens. `pool` is of the role that this process serves with."""

    def __init__(self, pool: Pool, opener: OpensSecrets, secrets: Secrets, client: OAuthClient) -> None:
        self._pool = pool
        self._opener = opener
        self._secrets = secrets
        self._client = client
        self._one_by_one: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._under_way: set[asyncio.Task[None]] = set()

    @upholds("1.3.4", "7.2.2")
    async def token_for(self, open_scope: OpenScope, connection: UUID, purpose: str) -> str:
        """Return the access token of a connection of the scope's own person, good for a minute unless it just lapses.

        `open_scope` opens their scope, as a person or as a run, for a moment each time: membership, owner and status
        are looked at in the database at every call. `purpose` goes into the audit log. Raise NoSuchConnection,
        ConnectionBroken, ProviderAway, RefreshUnderWay.
        """
        token = await self._ready(open_scope, connection, purpose)
        if token is not None:
            return token
        # One of this process waits for the others; those behind it find the token ready.
        lock = self._one_by_one.get(connection)
        if lock is None:
            lock = self._one_by_one[connection] = asyncio.Lock()
        deadline = anyio.current_time() + LONGEST_WAIT_SECONDS
        async with lock:
            pause = _FIRST_PAUSE_SECONDS
            while anyio.current_time() < deadline:
                token = await self._ready(open_scope, connection, purpose)
                if token is not None:
                    return token
                claim = await self._claim(open_scope, connection)
                if claim is not None:
                    await self._refresh_apart(open_scope, claim)
                    continue
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        raise RefreshUnderWay

    async def close(self) -> None:
        """Wait for refreshes that are under way, so that a stop in order loses no answer."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=PROVIDERS.seconds + 5)

    async def _ready(self, open_scope: OpenScope, connection: UUID, purpose: str) -> str | None:
        """Return the token where it can be used now; None where it has to be refreshed, or is being."""
        async with open_scope() as scope:
            found = await store.use(scope, connection)
            if found is None:
                raise NoSuchConnection
            match found["verdict"]:
                case "ready":
                    return await self._open(scope, found["access"], Caller.EGRESS, purpose)
                case "broken" | "expired":
                    raise ConnectionBroken
                case "away":
                    raise ProviderAway
                case _:
                    return None

    async def _open(self, scope: Scope, secret: UUID, caller: Caller, purpose: str) -> str:
        try:
            return (await self._opener.open(scope, secret, caller, purpose)).decode("ascii")
        except (*_GONE, UnicodeDecodeError) as failure:
            raise ConnectionBroken from failure

    async def _claim(self, open_scope: OpenScope, connection: UUID) -> _Claim | None:
        since = anyio.current_time()
        async with open_scope() as scope:
            found = await store.use(scope, connection)
            if found is None:
                raise NoSuchConnection
            if found["verdict"] != "stale":
                return None
            row: Row | None = await store.claim_refresh(scope, connection, found["made"])
            if row is None:
                return None
            return _Claim(
                scope.company,
                connection,
                await client_of(scope, found["oauth_client"]),
                found["access"],
                found["refresh"],
                row["claim"],
                row["access_revision"],
                row["refresh_revision"],
                row["interrupted"],
                since,
            )

    async def _refresh_apart(self, open_scope: OpenScope, claim: _Claim) -> None:
        """Refresh in a task of its own, which goes on where the caller is cancelled."""
        task = asyncio.create_task(self._refresh(open_scope, claim))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def _refresh(self, open_scope: OpenScope, claim: _Claim) -> None:
        asked = Asked()
        try:
            # The openings leave their events before what they opened is used.
            async with open_scope() as scope:
                token = await self._opener.open(scope, claim.refresh, Caller.OAUTH_CLIENT, "refresh a connection")
                secret = await self._opener.open(
                    scope, claim.client.secret_id, Caller.OAUTH_CLIENT, "refresh a connection"
                )
            registration = Registration(claim.client.client_id, secret.decode())
            if anyio.current_time() - claim.since > LONGEST_START_SECONDS:
                raise ProviderAway
            tokens = await self._client.refresh(
                claim.client.provider, registration, token.decode(), company=claim.company, asked=asked
            )
        except GrantDead:
            await self._end(claim, asked, why=INTERRUPTED if claim.interrupted else _DEAD, broken=True)
        except _GONE:
            await self._end(claim, asked, why=_TOO_OLD, broken=True)
        except CannotOpen:
            await self._end(claim, asked, why=_NOT_OPENED, pause=_AWAY_SECONDS)
        except ProviderRefused:
            await self._end(claim, asked, why=_REFUSED, pause=_REFUSED_SECONDS)
        except Unreadable as failure:
            # It may have rotated all the same: what can be read of it is kept.
            await self._end(claim, asked, why=_AWAY, pause=_AWAY_SECONDS, refresh=failure.refresh_token)
        except Refusal:
            await self._end(claim, asked, why=_AWAY, pause=_AWAY_SECONDS)
        else:
            if not await self._end(claim, asked, tokens=tokens, refresh=tokens.refresh_token):
                await self._undo(claim, registration, tokens)

    async def _end(
        self,
        claim: _Claim,
        asked: Asked,
        *,
        tokens: Tokens | None = None,
        refresh: str | None = None,
        why: str | None = None,
        broken: bool = False,
        pause: int = 0,
    ) -> bool:
        """Store how the refresh ended, again and again while no database answers; False: the connection changed."""
        told: dict[str, Any] = {
            "lives": tokens.expires_in if tokens else None,
            "granted": list(tokens.scopes) if tokens and tokens.scopes is not None else None,
            "why": why,
            "broken": broken,
            "pause": pause,
        }
        for attempt in range(_STORING_ATTEMPTS):
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    await store.hold_key_of_refresh(connection, claim.company, claim.connection, claim.secret)
                    fields = told | await self._sealed(claim, tokens.access_token if tokens else None, refresh)
                    return await store.end_refresh(connection, fields, asked.lines)
            except DatabaseOutOfReach:
                await asyncio.sleep(min(0.2 * 2**attempt, 5.0))
        log.error("a refresh could not be stored", connection=str(claim.connection), rotated=refresh is not None)
        return True

    async def _sealed(self, claim: _Claim, access: str | None, refresh: str | None) -> dict[str, Any]:
        """Return what the row of the connection is found by, and fresh tokens, each sealed for its own row."""
        company, seal = claim.company, self._secrets.seal
        return {
            "company": company,
            "connection": claim.connection,
            "claim": claim.secret,
            "access": access and await seal(company, claim.access, claim.access_revision + 1, access.encode()),
            "access_revision": claim.access_revision,
            "refresh": refresh and await seal(company, claim.refresh, claim.refresh_revision + 1, refresh.encode()),
            "refresh_revision": claim.refresh_revision,
        }

    async def _undo(self, claim: _Claim, registration: Registration, tokens: Tokens) -> None:
        """Have fresh tokens of a connection that was revoked meanwhile ended where they were made, as far as can be."""
        asked, held = Asked(), Held(tokens.access_token, tokens.refresh_token, tokens.account)
        await self._client.revoke(claim.client.provider, registration, held, company=claim.company, asked=asked)
        with suppress(DatabaseOutOfReach):
            # The claim stores nothing any more, but is still good for what was asked because of it.
            async with self._pool.acquire() as connection, connection.transaction():
                await store.note_refresh(connection, claim.company, claim.connection, claim.secret, asked.lines)
        log.info("a refresh came too late", connection=str(claim.connection))
