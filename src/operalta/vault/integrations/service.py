"""Making, changing, switching and removing integrations: people's business, in a session of their own."""

from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed
from operalta.kernel.ids import new_id
from operalta.sandbox.destinations import Exemptions, check_reach, parse_destination
from operalta.sandbox.errors import DestinationRefused
from operalta.terms.registry import upholds
from operalta.vault.integrations import store
from operalta.vault.integrations.calls import Errand, IntegrationCalls
from operalta.vault.integrations.errors import (
    EnterCredentialAgain,
    IntegrationExists,
    NoCredential,
    NoSuchIntegration,
    TooManyIntegrations,
)
from operalta.vault.integrations.listing import get_integration
from operalta.vault.integrations.remote_tools import Offer
from operalta.vault.integrations.rules import Form, Kind, Lends, Wanted, checked, failure_of
from operalta.vault.kinds import SecretKind
from operalta.vault.oauth import store as oauth_store
from operalta.vault.oauth.client import Asked
from operalta.vault.oauth.registrations import client_of
from operalta.vault.oauth.rules import OpenScope
from operalta.vault.oauth.service import surface_of as surface_of_provider
from operalta.vault.secrets import Secrets


class Integrations:
    """Changes integrations. `exemptions` are the destinations of the operator's settings, which may be local."""

    def __init__(self, secrets: Secrets, calls: IntegrationCalls, exemptions: Exemptions) -> None:
        self._secrets = secrets
        self._calls = calls
        self._exemptions = exemptions

    @upholds("1.3.1", "5.5.3")
    async def make(self, scope: Scope, wanted: Wanted) -> UUID:
        """Make an integration, switched off. Asks for a recent proof.

        Raise InvalidInput, NotProved, IntegrationExists, TooManyIntegrations, NoSuchClient.
        """
        require(scope, Permission.INTEGRATIONS_MANAGE)
        clean = checked(wanted, self._exemptions, needs_credential=True)
        await require_recent_proof(scope, SensitiveOperation.CHANGE_INTEGRATION)
        await _require_host_of_provider(scope, clean)
        identifier = new_id()
        secret = await self._kept(scope, identifier, clean)
        # A refusal undoes what was kept: it is raised inside the transaction.
        _require(await store.make(scope, identifier, _fields(clean, secret)), "made")
        return identifier

    @upholds("1.3.1", "1.3.4", "5.5.3")
    async def change(
        self,
        scope: Scope,
        integration: UUID,
        *,
        name: str,
        base_url: str,
        allows_writes: bool,
        form: Form = Form.BEARER,
        header_name: str | None = None,
        user_name: str | None = None,
        credential: str | None = None,
    ) -> None:
        """Change an integration, and its credential where one is given. Asks for a recent proof.

        Another address switches it off. Raise InvalidInput, EnterCredentialAgain, NotProved, NoSuchIntegration.
        """
        require(scope, Permission.INTEGRATIONS_MANAGE)
        known = await get_integration(scope, integration)
        wanted = Wanted(
            known.slug, name, known.kind, base_url, known.lends, form, header_name, user_name, known.client_id,
            credential, allows_writes,
        )  # fmt: skip
        clean = checked(wanted, self._exemptions, needs_credential=False)
        await require_recent_proof(scope, SensitiveOperation.CHANGE_INTEGRATION)
        await _require_host_of_provider(scope, clean)
        secret = await self._kept(scope, integration, clean)
        _require(await store.change(scope, integration, _fields(clean, secret)), "changed")

    @upholds("5.5.3", "5.5.2")
    async def switch(self, open_scope: OpenScope, integration: UUID, *, on: bool) -> None:
        """Switch an integration on or off. Off holds from the next call of any run, and is never made hard.

        An MCP server is asked for its tools before it is on: what it offers now is what people have looked at. Raise
        NoSuchIntegration, NoCredential, Conflict, or what asking the server raises.
        """
        async with open_scope() as scope:
            require(scope, Permission.INTEGRATIONS_MANAGE)
            known = await get_integration(scope, integration)
        sha256, tools = None, list[dict[str, str]]()
        if on and known.kind is Kind.MCP_SERVER:
            _, offer = await self._look(open_scope, known.slug)
            if isinstance(offer, Offer):
                sha256, tools = offer.sha256, [each._asdict() for each in offer.tools]
        async with open_scope() as scope:
            verdict = await store.switch(
                scope, integration, on=on, revision=known.revision, tools_sha256=sha256, tools=tools
            )
            _require(verdict, "switched")

    async def check(self, open_scope: OpenScope, integration: UUID) -> str:
        """Make one harmless request through the door now, be it on or off, and say in words how it went.

        Raise NoSuchIntegration, or what the request raises.
        """
        async with open_scope() as scope:
            require(scope, Permission.INTEGRATIONS_MANAGE)
            known = await get_integration(scope, integration)
        _, found = await self._look(open_scope, known.slug)
        if isinstance(found, int):
            return failure_of(found) or f"It answers (with the status {found})."
        if known.tools_sha256 is None or found.sha256 == known.tools_sha256:
            return f"It answers, and offers {len(found.tools)} tools."
        async with open_scope() as scope:
            await store.note_drift(scope, known.id, known.revision)
        return "It answers, but its tools have changed, so it is off. Look at it, and switch it on again."

    @upholds("1.3.1", "5.5.3")
    async def remove(self, scope: Scope, integration: UUID) -> None:
        """Remove an integration with its credential. Raise NoSuchIntegration."""
        require(scope, Permission.INTEGRATIONS_MANAGE)
        _require(await store.remove(scope, integration), "removed")

    async def _look(self, open_scope: OpenScope, slug: str) -> tuple[object, Offer | int]:
        asked = Asked()
        try:
            return await self._calls.look(Errand(open_scope, asked.keep), slug)
        finally:
            if asked.lines:
                async with open_scope() as scope:
                    await oauth_store.note_requests(scope, asked.lines)

    async def _kept(self, scope: Scope, integration: UUID, clean: Wanted) -> UUID | None:
        if clean.credential is None:
            return None
        kind = SecretKind.MCP_TOKEN if clean.kind is Kind.MCP_SERVER else SecretKind.SERVICE_API_KEY
        return await self._secrets.keep(scope, kind, integration, clean.credential.encode())


def _fields(clean: Wanted, secret: UUID | None) -> dict[str, object]:
    return {
        "slug": clean.slug,
        "name": clean.name,
        "kind": clean.kind.value,
        "base_url": clean.base_url,
        "lends": clean.lends.value,
        "form": clean.form.value,
        "header": clean.header_name,
        "user": clean.user_name,
        "client": clean.client_id,
        "secret": secret,
        "writes": clean.allows_writes,
    }


async def _require_host_of_provider(scope: Scope, clean: Wanted) -> None:
    """Raise InvalidInput where accounts of a provider would be used at a host that is not the provider's."""
    if clean.lends is not Lends.CONNECTION or clean.client_id is None:
        return
    provider = (await client_of(scope, clean.client_id)).provider
    try:
        check_reach(parse_destination(clean.base_url), surface_of_provider(provider))
    except DestinationRefused as refusal:
        hosts = ", ".join(provider.api_hosts) or "none"
        raise InvalidInput(
            f"An account of {provider.title} is used at the provider's own hosts alone: {hosts}.", field="base_url"
        ) from refusal


def _require(verdict: str, wanted: str) -> None:
    if verdict == wanted:
        return
    match verdict:
        case "unproved":
            raise NotProved
        case "taken":
            raise IntegrationExists
        case "full":
            raise TooManyIntegrations
        case "none":
            raise NoSuchIntegration
        case "enter again":
            raise EnterCredentialAgain(field="credential")
        case "no credential":
            raise NoCredential
        case "changed meanwhile":
            raise Conflict
        case _:
            raise NotAllowed
