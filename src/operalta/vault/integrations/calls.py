"""Calling an integration: asked of the database each time, the credential opened for the door alone, answers cleaned.

Neither an agent nor a page ever holds a credential. The order is always the same: the database says whether this scope
may use the integration now; the one opener hands out the credential, and its event is committed; the door adds it to
the request after its policy has seen where that goes; what comes back is searched for the credential in all its forms.
"""

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

import anyio.to_thread

from operalta.db.scope import Scope
from operalta.kernel.errors import NotAllowed, NotFound, Refusal
from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.credential import Credential
from operalta.sandbox.destinations import check_reach, parse_destination
from operalta.sandbox.egress import EgressLine, EgressPolicy, FetchedPage, Record
from operalta.sandbox.transport import EgressTransport
from operalta.sealing.errors import CannotOpen
from operalta.terms.registry import upholds
from operalta.vault.integrations import remote_tools, store
from operalta.vault.integrations.errors import CredentialUnusable, IntegrationOff, NoSuchIntegration, ToolsHaveChanged
from operalta.vault.integrations.listing import integration_with_key_of
from operalta.vault.integrations.redaction import Redactor
from operalta.vault.integrations.remote_tools import Offer, RemoteTools, ToolAnswer
from operalta.vault.integrations.rules import (
    INTEGRATIONS,
    READING,
    VERDICTS,
    Integration,
    Kind,
    Lends,
    address_of,
    credential_for,
    failure_of,
    surface_of,
)
from operalta.vault.kinds import Caller
from operalta.vault.oauth.errors import ConnectionBroken
from operalta.vault.oauth.ports import MakeDoor, OpensSecrets
from operalta.vault.oauth.registrations import client_of
from operalta.vault.oauth.rules import OpenScope
from operalta.vault.oauth.service import surface_of as surface_of_provider
from operalta.vault.sealed.errors import SecretTooOld

LONGEST_ANSWER = 40_000
MOST_NAMED = 40
_UNUSABLE = "The credential is too old, or cannot be opened any more. Enter a new one."


class GivesTokens(Protocol):
    """The part of `operalta.vault.oauth.tokens.ConnectionTokens` that is used here."""

    async def token_for(self, open_scope: OpenScope, connection: UUID, purpose: str) -> str:
        """Return the access token of a connection of the scope's own person."""
        ...


@dataclass(frozen=True, slots=True)
class Errand:
    """On whose behalf a call is made. `keep` receives a line for every request, without any credential in it."""

    open_scope: OpenScope
    keep: Record
    run_id: RunId | None = None

    def purpose(self, slug: str) -> str:
        """Return what the audit log says that a credential was opened for."""
        return f"integration {slug}, " + (f"run {self.run_id}" if self.run_id else "looked at by a person")


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service answered, cleaned and cut. People outside the company have written it."""

    status: int
    url: str
    text: str

    @property
    def failed(self) -> bool:
        """Whether the service did not do what was asked."""
        return self.status >= HTTPStatus.BAD_REQUEST


@dataclass(slots=True)
class _Ready:
    """An integration that may be used now, and what its requests carry."""

    integration: Integration
    company: CompanyId
    errand: Errand
    credential: Credential | None
    redactor: Redactor
    lines: list[EgressLine] = field(default_factory=list[EgressLine])

    async def keep(self, line: EgressLine) -> None:
        """Hand a line on; a redirect of an echoing service may have the credential in its path."""
        cleaned = replace(line, path=self.redactor.clean(line.path))
        self.lines.append(cleaned)
        await self.errand.keep(cleaned)

    def why(self, refusal: Refusal) -> str:
        """Return what is to be noted of a failure, by what was last answered, if anything was."""
        status = self.lines[-1].status if self.lines else None
        return (failure_of(status) if status else None) or refusal.public_text


class IntegrationCalls:
    """Makes calls. `most` is the policy that each surface narrows to its own host."""

    def __init__(
        self, opener: OpensSecrets, tokens: GivesTokens, make_door: MakeDoor, most: EgressPolicy = INTEGRATIONS
    ) -> None:
        self._opener = opener
        self._tokens = tokens
        self._make_door = make_door
        self._most = most

    @upholds("5.5.3", "7.2.2", "1.3.2")
    async def request(
        self, errand: Errand, slug: str, method: str, path: str, query: str | None, body: str | None
    ) -> ServiceAnswer:
        """Ask a service of any kind but MCP servers, below its own address.

        Raise NoSuchIntegration, a refusal for each reason for which it may not be used (`rules.VERDICTS`),
        InvalidInput, CredentialUnusable, what the tokens raise, and what the door raises.
        """
        ready = await self._begin(errand, slug, "read" if method in READING else "write")
        url = address_of(ready.integration.base_url, path, query)
        page = await self._fetch(ready, url, method, body)
        # A service that means harm can make this some tenths of a second: not here, where everybody else waits.
        text = await anyio.to_thread.run_sync(ready.redactor.beginning, page.text, LONGEST_ANSWER)
        return ServiceAnswer(page.status, ready.redactor.clean(page.url), text)

    @upholds("5.5.2", "5.5.3", "7.2.2", "1.3.2")
    async def call_tool(self, errand: Errand, slug: str, tool: str, arguments: Mapping[str, Any]) -> ToolAnswer:
        """Call a tool of an MCP server whose tools are still those that a person saw.

        Raise as `request` does; ToolsHaveChanged, which switches the integration off; NotFound for another tool.
        """
        ready = await self._begin(errand, slug, "tool")
        known = ready.integration
        if tool not in {each.name for each in known.tools}:
            named = ", ".join(each.name for each in known.tools[:MOST_NAMED]) or "none"
            raise NotFound(f"This server has no such tool. Its tools are: {named}.")
        drifted = False
        answer: ToolAnswer | None = None
        try:
            async with self._session(ready) as session:
                drifted = (await session.offer()).sha256 != known.tools_sha256
                if not drifted:
                    answer = await session.call(tool, arguments, LONGEST_ANSWER)
        except Refusal as refusal:
            await self._note(ready, ready.why(refusal))
            raise
        if drifted or answer is None:
            async with errand.open_scope() as scope:
                await store.note_drift(scope, known.id, known.revision)
            raise ToolsHaveChanged
        await self._note(ready, None)
        return answer

    async def look(self, errand: Errand, slug: str) -> tuple[Integration, Offer | int]:
        """Make one harmless request for somebody who manages integrations, be it on or off.

        Return what was asked with the status of its address, or with the tools of an MCP server. Raise as `request`.
        """
        ready = await self._begin(errand, slug, "check")
        if ready.integration.kind is not Kind.MCP_SERVER:
            page = await self._fetch(ready, ready.integration.base_url, "GET", None, checked=True)
            return ready.integration, page.status
        try:
            async with self._session(ready) as session:
                offer = await session.offer()
        except Refusal as refusal:
            await self._note(ready, ready.why(refusal), checked=True)
            raise
        await self._note(ready, None, checked=True)
        return ready.integration, offer

    async def _begin(self, errand: Errand, slug: str, wanted: str) -> _Ready:
        """Ask the database, and open what the request is to carry."""
        key: str | None = None
        async with errand.open_scope() as scope:
            integration, connection, kept = await _usable(scope, slug, wanted, is_used=True)
            company = scope.company
            if integration.lends is Lends.KEY:
                key = await self._key(scope, kept, errand.purpose(slug))
            elif integration.client_id is not None:
                await _require_host_of_provider(scope, integration)
        if key is None and integration.lends is Lends.KEY:
            async with errand.open_scope() as scope:
                await store.note(scope, integration.id, integration.revision, _UNUSABLE, checked=wanted == "check")
            raise CredentialUnusable
        if connection is not None:
            try:
                key = await self._tokens.token_for(errand.open_scope, connection, errand.purpose(slug))
            except ConnectionBroken as broken:
                raise CredentialUnusable(broken.public_text) from broken
        carried = credential_for(integration, key) if key else None
        words = [carried.value.rpartition(" ")[2]] if carried else []
        if integration.user_name is not None:
            words.append(f"{integration.user_name}:{key}")
        return _Ready(integration, company, errand, carried, Redactor(key or "", *words))

    async def _key(self, scope: Scope, kept: UUID | None, purpose: str) -> str | None:
        """Return the opened key, None where it opens no more; what was opened of it stays in the log either way."""
        if kept is None:
            return None
        try:
            return (await self._opener.open(scope, kept, Caller.EGRESS, purpose)).decode()
        except (NotFound, SecretTooOld, CannotOpen, UnicodeDecodeError):
            return None

    async def _fetch(
        self, ready: _Ready, url: str, method: str, body: str | None, *, checked: bool = False
    ) -> FetchedPage:
        headers = {"accept": "application/json, text/*;q=0.8"}
        if body is not None:
            headers["content-type"] = _type_of(body)
        there = parse_destination(ready.integration.base_url)
        try:
            page = await self._make_door(ready.keep).fetch(
                url,
                surface=surface_of(there, self._most),
                purpose=f"integration {ready.integration.slug}",
                method=method,
                headers=headers,
                body=None if body is None else body.encode(),
                company_id=ready.company,
                run_id=ready.errand.run_id,
                credential=ready.credential,
            )
        except Refusal as refusal:
            await self._note(ready, refusal.public_text, checked=checked)
            raise
        await self._note(ready, failure_of(page.status), checked=checked)
        return page

    def _session(self, ready: _Ready) -> AbstractAsyncContextManager[RemoteTools]:
        there = parse_destination(ready.integration.base_url)
        transport = EgressTransport(
            self._make_door(ready.keep),
            surface_of(there, self._most),
            purpose=f"integration {ready.integration.slug}",
            company_id=ready.company,
            run_id=ready.errand.run_id,
            credential=ready.credential,
        )
        return remote_tools.opened(ready.integration.base_url, transport, ready.redactor, self._most.seconds)

    async def _note(self, ready: _Ready, failure: str | None, *, checked: bool = False) -> None:
        known = ready.integration
        async with ready.errand.open_scope() as scope:
            await store.note(scope, known.id, known.revision, failure, checked=checked)


@upholds("5.5.3")
async def usable(scope: Scope, slug: str, wanted: str, *, is_used: bool) -> Integration:
    """Return an integration that the scope may use now.

    The database is asked, in one function that looks at scope, switch, role and membership. `wanted` is read, write,
    tool or check. Raise NoSuchIntegration, or what `rules.VERDICTS` names.
    """
    return (await _usable(scope, slug, wanted, is_used=is_used))[0]


async def _usable(
    scope: Scope, slug: str, wanted: str, *, is_used: bool
) -> tuple[Integration, UUID | None, UUID | None]:
    """Return as `usable` does; the connection whose token it takes, if it takes one; and its credential's id."""
    row = await store.use(scope, slug, wanted, is_used=is_used)
    if row is None:
        there = ", ".join(await store.slugs_switched_on(scope)) or "none"
        raise NoSuchIntegration(f"There is no integration of this name here. Switched on are: {there}.")
    if row["verdict"] != "ready":
        raise VERDICTS.get(row["verdict"], NotAllowed)
    # One row tells where to, with what, and whether it is on: somebody may have changed it since the verdict.
    integration, kept = await integration_with_key_of(scope, row["integration"])
    if not integration.is_on and wanted != "check":
        raise IntegrationOff
    return integration, row["connection"], kept


async def _require_host_of_provider(scope: Scope, integration: Integration) -> None:
    """Raise DestinationRefused where a provider's token would go to a host that is not the provider's."""
    if integration.client_id is None:
        return
    provider = (await client_of(scope, integration.client_id)).provider
    check_reach(parse_destination(integration.base_url), surface_of_provider(provider))


def _type_of(body: str) -> str:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"
