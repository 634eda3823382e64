"""Connecting an account: the way to the provider and back (RFC 6749 section 4.1, RFC 7636, RFC 9207).

A consent is bound to the session that began it, to the company and to the registration; it holds for ten minutes and is
used once. The verifier of PKCE is kept nowhere: it comes of the state and of a key that never leaves the server.
"""

import base64
import hashlib
import hmac
import secrets as randomness
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import NotAllowed, Refusal
from operalta.kernel.ids import CompanyId, new_id
from operalta.terms.registry import upholds
from operalta.vault.kinds import Caller, SecretKind
from operalta.vault.oauth import store
from operalta.vault.oauth.client import Asked, OAuthClient
from operalta.vault.oauth.errors import (
    ConnectingFailed,
    ConsentRefused,
    NoSuchConnection,
    ProviderRefused,
    TooManyConnections,
    WrongIssuer,
)
from operalta.vault.oauth.ports import OpensSecrets
from operalta.vault.oauth.providers import Provider
from operalta.vault.oauth.registrations import client_of
from operalta.vault.oauth.rules import CALLBACK_PATH, Client, OpenScope, chosen_scopes
from operalta.vault.oauth.wire import GrantDead, Held, Registration, Tokens, authorization_url
from operalta.vault.secrets import Secrets

_STATE_BYTES = 32
LONGEST_STATE = 100
LONGEST_CODE = 4_000


@dataclass(frozen=True, slots=True)
class Callback:
    """What the browser brought back, each part as it stood in the address; absent ones are None."""

    state: str | None
    code: str | None
    error: str | None
    issuer: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    """A company and the consent that was begun in it; `digest` stands for the state."""

    company_id: CompanyId
    company_slug: str
    digest: bytes


class Connecting:
    """Begins and finishes connections. `base_url` is this deployment's own; `verifier_key` keys the verifiers."""

    def __init__(
        self, opener: OpensSecrets, secrets: Secrets, client: OAuthClient, *, base_url: str, verifier_key: bytes
    ) -> None:
        self._opener = opener
        self._secrets = secrets
        self._client = client
        self._verifier_key = verifier_key
        self.redirect_uri = base_url + CALLBACK_PATH

    @upholds("1.3.1", "7.2.2")
    async def begin(
        self, scope: Scope, client: UUID, scopes: tuple[str, ...] = (), *, again: UUID | None = None
    ) -> str:
        """Begin a connection, or one of one's own anew (`again`), and return where the browser has to go.

        Raise InvalidInput, NotProved, NoSuchClient, NoSuchConnection, TooManyConnections.
        """
        require(scope, Permission.INTEGRATIONS_CONNECT)
        registered = await client_of(scope, client)
        wanted = chosen_scopes(registered.provider, scopes)
        await require_recent_proof(scope, SensitiveOperation.CONNECT_ACCOUNT)
        state = randomness.token_urlsafe(_STATE_BYTES)
        verdict = await store.begin(scope, client, again, _digest(state), wanted)
        match verdict:
            case "begun":
                pass
            case "unproved":
                raise NotProved
            case "full":
                raise TooManyConnections
            case "none":
                raise NoSuchConnection
            case _:
                raise NotAllowed
        return authorization_url(
            registered.provider, registered.client_id, self.redirect_uri, state, self._verifier(state), wanted
        )

    @upholds("1.3.1")
    async def take(self, scope: Scope, callback: Callback) -> Begun:
        """Take the consent that a callback belongs to, in its person's own scope.

        Raise ConnectingFailed for a state that is unknown, used, older than ten minutes, or of another session or
        person: nothing has changed then.
        """
        state = callback.state or ""
        if not 0 < len(state) <= LONGEST_STATE or not state.isascii():
            raise ConnectingFailed
        row = await store.take_state(scope, _digest(state))
        if row is None:
            raise ConnectingFailed
        return Begun(CompanyId(row["company"]), row["slug"], _digest(state))

    @upholds("1.3.1", "1.3.2", "7.2.2")
    async def finish(self, open_scope: OpenScope, begun: Begun, callback: Callback) -> UUID:
        """Exchange the code and keep the tokens, sealed; return the connection's id. `open_scope`: in the company.

        Raise ConsentRefused, WrongIssuer, ConnectingFailed, ProviderRefused, ProviderAway, AnswerUnusable.
        """
        async with open_scope() as scope:
            require(scope, Permission.INTEGRATIONS_CONNECT)
            row = await store.taken_state(scope, begun.digest)
            if row is None:
                raise ConnectingFailed
            registered = await client_of(scope, row["oauth_client"])
            code = _code(registered.provider, callback)
            registration = await self._registration(scope, registered)
            again: UUID | None = row["connection"]
            wanted: tuple[str, ...] = tuple(row["scopes"])
        asked = Asked()
        try:
            tokens = await self._client.exchange(
                registered.provider,
                registration,
                code,
                self._verifier(callback.state or ""),
                self.redirect_uri,
                company=begun.company_id,
                asked=asked,
            )
        except (Refusal, GrantDead) as failure:
            async with open_scope() as scope:
                await store.note_requests(scope, asked.lines)
            if isinstance(failure, GrantDead):
                raise ProviderRefused("The provider no longer accepts this consent. Begin again.") from failure
            raise
        try:
            async with open_scope() as scope:
                # On its own: what was asked stays in the log, whatever becomes of the answer.
                await store.note_requests(scope, asked.lines)
            async with open_scope() as scope:
                return await self._keep(scope, begun.digest, again or new_id(), tokens, wanted)
        except Refusal:
            # Nobody could ever use or end what is not kept here, so it is ended where it was made, as far as can be.
            undone, held = Asked(), Held(tokens.access_token, tokens.refresh_token, tokens.account)
            await self._client.revoke(registered.provider, registration, held, company=begun.company_id, asked=undone)
            with suppress(Refusal):
                async with open_scope() as scope:
                    await store.note_requests(scope, undone.lines)
            raise

    async def _keep(
        self, scope: Scope, state: bytes, connection: UUID, tokens: Tokens, wanted: tuple[str, ...]
    ) -> UUID:
        access = await self._secrets.keep(
            scope, SecretKind.OAUTH_ACCESS_TOKEN, connection, tokens.access_token.encode()
        )
        refresh = None
        if tokens.refresh_token is not None:
            refresh = await self._secrets.keep(
                scope, SecretKind.OAUTH_REFRESH_TOKEN, connection, tokens.refresh_token.encode()
            )
        kept = await store.keep_connection(
            scope,
            {
                "state": state,
                "connection": connection,
                "access": access,
                "refresh": refresh,
                "lives": tokens.expires_in,
                "granted": list(wanted if tokens.scopes is None else tokens.scopes),
                "account": tokens.account,
            },
        )
        if not kept:  # the transaction takes the sealed tokens with it
            raise ConnectingFailed
        return connection

    async def _registration(self, scope: Scope, registered: Client) -> Registration:
        secret = await self._opener.open(
            scope, registered.secret_id, Caller.OAUTH_CLIENT, f"connect to {registered.provider.name}"
        )
        return Registration(registered.client_id, secret.decode())

    def _verifier(self, state: str) -> str:
        """Return the code verifier of a state (RFC 7636 section 4.1): 43 characters that only this server can make."""
        made = hmac.digest(self._verifier_key, state.encode("ascii"), hashlib.sha256)
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")


def _code(provider: Provider, callback: Callback) -> str:
    """Return the code of a callback that comes from the right provider (RFC 9207 section 2.4)."""
    if callback.issuer is None:
        if provider.iss_required:
            raise WrongIssuer
    elif provider.issuer is not None and callback.issuer != provider.issuer:
        raise WrongIssuer
    if callback.error is not None:
        raise ConsentRefused
    if not callback.code or len(callback.code) > LONGEST_CODE or not callback.code.isprintable():
        raise ConsentRefused
    return callback.code


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode("ascii", "replace")).digest()
