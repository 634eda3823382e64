"""What the routes call: every wired service, made once by `app.py`."""

from dataclasses import dataclass

from fastapi import Request

from operalta.agents.route_rules import ListedRoute
from operalta.db.pools import Pool
from operalta.delivery.sms.receipts import Receipts
from operalta.guard.limiter import Limiter
from operalta.identity.accounts import Accounts
from operalta.identity.factors.enrolment import Enrolment
from operalta.identity.factors.passkeys import Passkeys
from operalta.identity.factors.proving import Proving
from operalta.identity.sessions import Sessions
from operalta.identity.tokens import AccessTokens
from operalta.sandbox.reading.reader import DocumentReader
from operalta.sandbox.shell.state import ShellState, read_state
from operalta.sealing.signing import SigningKeyRing
from operalta.settings import Settings
from operalta.vault.api_keys.noted_uses import NotedUses
from operalta.vault.integrations.service import Integrations
from operalta.vault.oauth.connecting import Connecting
from operalta.vault.oauth.registrations import Registrations
from operalta.vault.oauth.tokens import ConnectionTokens
from operalta.vault.webhooks.endpoints import Endpoints
from operalta.vault.webhooks.inbound.hooks import Hooks
from operalta.vault.webhooks.inbound.receiving import Receiver
from operalta.workspace.files.file_store import FileStore


@dataclass(frozen=True, slots=True)
class Services:
    """The wired application."""

    settings: Settings
    web: Pool
    signin: Pool
    limiter: Limiter
    tokens: AccessTokens
    accounts: Accounts
    sessions: Sessions
    proving: Proving
    enrolment: Enrolment
    passkeys: Passkeys
    sms_receipts: Receipts
    files: FileStore
    documents: DocumentReader
    audit_keys: SigningKeyRing
    key_uses: NotedUses
    registrations: Registrations
    connecting: Connecting
    connection_tokens: ConnectionTokens
    webhooks: Endpoints
    inbound_hooks: Hooks
    inbound: Receiver
    integrations: Integrations
    model_routes: tuple[ListedRoute, ...]

    def shell_state(self) -> ShellState:
        """Tell what the worker found out about the sandbox for commands."""
        return read_state(self.settings.shell_state_file)


def services_of(request: Request) -> Services:
    """Return the services of the application that `request` came to."""
    services: Services = request.app.state.services
    return services
