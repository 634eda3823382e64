"""The client's side of OAuth over the one door: each request to a provider, and what the egress log keeps of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

from operalta.kernel.errors import Refusal
from operalta.kernel.ids import CompanyId
from operalta.sandbox.egress import ALLOW_LISTED, EgressLine, FetchedPage
from operalta.sandbox.errors import (
    ContentRefused,
    DestinationRefused,
    FetchFailed,
    FetchLimitReached,
    FetchNotCounted,
    FetchTooLarge,
    TooManyRedirects,
)
from operalta.terms.registry import upholds
from operalta.vault.oauth import wire
from operalta.vault.oauth.errors import ProviderAway, ProviderUnusable
from operalta.vault.oauth.ports import MakeDoor
from operalta.vault.oauth.providers import Provider, generic_provider, metadata_url
from operalta.vault.oauth.wire import Ended, Held, Registration, Tokens, Unreadable, WireRequest

PROVIDERS = replace(
    ALLOW_LISTED,
    name="oauth",
    methods=frozenset({"GET", "POST", "DELETE"}),
    request_bytes=64 * 1024,
    response_bytes=256 * 1024,
    seconds=20.0,
    redirects=0,
)
"""What may be asked of a provider; its hosts are added. No redirect is followed: none sees a code or a secret."""

_DISCOVERY, _EXCHANGE, _REFRESH, _REVOCATION = (
    "read a provider's metadata",
    "exchange a code for tokens",
    "refresh a connection",
    "revoke a connection",
)


@dataclass(slots=True)
class Asked:
    """Lines for the egress log, in order, of what was asked so far."""

    lines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def keep(self, line: EgressLine) -> None:
        """Keep one line. Without its path, which with some providers holds a token."""
        self.lines.append(
            {
                "method": line.method,
                "destination": f"{line.scheme}://{line.host}:{line.port}",
                "address": line.address,
                "outcome": line.refusal or str(line.status),
                "bytes": line.bytes_sent + line.bytes_received,
                "milliseconds": line.milliseconds,
                "purpose": line.errand.purpose,
            }
        )


class OAuthClient:
    """Asks providers. Each call raises ProviderAway for what may pass, and Unreadable for an answer of no use."""

    def __init__(self, make_door: MakeDoor) -> None:
        self._make_door = make_door

    async def discover(self, issuer: str, company: CompanyId, asked: Asked) -> tuple[Provider, Mapping[str, Any]]:
        """Return the definition that an issuer's metadata makes (RFC 8414), and that. Raise ProviderUnusable."""
        request = WireRequest(metadata_url(issuer), "GET", {"accept": "application/json"}, None)
        try:
            page = await self._ask(request, (urlsplit(issuer).netloc,), _DISCOVERY, company, asked)
        except DestinationRefused as refusal:
            raise ProviderUnusable(refusal.public_text, field="issuer") from refusal
        except Unreadable as refusal:
            raise ProviderUnusable(field="issuer") from refusal
        if page.status != HTTPStatus.OK or page.content_type != "application/json":
            raise ProviderUnusable(
                "There is no metadata at this address. Give the issuer's address as it is published.", field="issuer"
            )
        try:
            content: object = json.loads(page.body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ProviderUnusable(field="issuer")
        told = cast("dict[str, Any]", content)
        return generic_provider(issuer, told), told

    @upholds("7.2.2")
    async def exchange(
        self,
        provider: Provider,
        registration: Registration,
        code: str,
        verifier: str,
        redirect_uri: str,
        *,
        company: CompanyId,
        asked: Asked,
    ) -> Tokens:
        """Give a code for tokens. Raise GrantDead for one that is not accepted, or ProviderRefused."""
        request = wire.code_request(provider, registration, redirect_uri, code, verifier)
        page = await self._ask(request, provider.hosts, _EXCHANGE, company, asked)
        return wire.read_tokens(provider, page.status, page.header("content-type"), page.body, fresh=True)

    @upholds("1.3.4")
    async def refresh(
        self,
        provider: Provider,
        registration: Registration,
        refresh_token: str,
        *,
        company: CompanyId,
        asked: Asked,
    ) -> Tokens:
        """Give a refresh token for a new access token. Raise GrantDead where it is dead, or ProviderRefused."""
        request = wire.refresh_request(provider, registration, refresh_token)
        page = await self._ask(request, provider.hosts, _REFRESH, company, asked)
        return wire.read_tokens(provider, page.status, page.header("content-type"), page.body, fresh=False)

    @upholds("1.3.4")
    async def revoke(
        self, provider: Provider, registration: Registration, held: Held, *, company: CompanyId, asked: Asked
    ) -> Ended | None:
        """Have a provider end the tokens. None: it offers no way to. Raises nothing: what fails comes back as LATER."""
        how = provider.revocation
        request = wire.revocation_request(provider, how, registration, held) if how else None
        if how is None or request is None:
            return None
        try:
            page = await self._ask(request, provider.hosts, _REVOCATION, company, asked)
        except Unreadable:
            return Ended.REFUSED
        except Refusal:
            return Ended.LATER
        return wire.read_revocation(how, page.status, page.header("content-type"), page.body)

    async def _ask(
        self, request: WireRequest, hosts: tuple[str, ...], purpose: str, company: CompanyId, asked: Asked
    ) -> FetchedPage:
        try:
            return await self._make_door(asked.keep).fetch(
                request.url,
                surface=PROVIDERS.for_hosts(*hosts),
                purpose=purpose,
                method=request.method,
                headers=request.headers,
                body=request.body,
                company_id=company,
            )
        except (FetchTooLarge, ContentRefused, TooManyRedirects) as refusal:
            raise Unreadable from refusal
        except (FetchFailed, FetchLimitReached, FetchNotCounted) as refusal:
            raise ProviderAway from refusal
