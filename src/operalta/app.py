"""The web process, wired: every service made once and handed to the routes."""

import contextlib
import ssl
from collections.abc import AsyncGenerator

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from operalta.agents import inventory as agents_inventory
from operalta.agents.model_routes.written import listed_routes
from operalta.agents.way_out import doors
from operalta.assurance import inventory as assurance_inventory
from operalta.audit import inventory as audit_inventory
from operalta.db import inventory as db_inventory
from operalta.db.pools import Pool
from operalta.delivery import inventory as delivery_inventory
from operalta.delivery.sms.channel import wire_of
from operalta.delivery.sms.receipts import Receipts
from operalta.guard import inventory as guard_inventory
from operalta.guard.limiter import Limiter
from operalta.identity import inventory as identity_inventory
from operalta.identity.accounts import Accounts
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.identity.factors.enrolment import Enrolment
from operalta.identity.factors.passkeys import Passkeys
from operalta.identity.factors.proving import Proving
from operalta.identity.passwords import PasswordHasher
from operalta.identity.sessions import Sessions
from operalta.identity.tokens import AccessTokens, issuer_name
from operalta.jobs import inventory as jobs_inventory
from operalta.kernel import logging
from operalta.kernel.inventory import InventoryEntry
from operalta.operations.root_keys import root_keys
from operalta.operations.rotation.deployment import COMPANY_KEYS
from operalta.sandbox import inventory as sandbox_inventory
from operalta.sandbox.destinations import Exemptions
from operalta.sandbox.files import FileLimits
from operalta.sandbox.reading.reader import DocumentReader
from operalta.sandbox.shell.state import read_state
from operalta.sealing import inventory as sealing_inventory
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.keys import derive_key
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.settings import DatabaseRole, Settings, SignUp
from operalta.tenancy import inventory as tenancy_inventory
from operalta.vault import inventory as vault_inventory
from operalta.vault.api_keys.noted_uses import NotedUses
from operalta.vault.integrations.calls import IntegrationCalls
from operalta.vault.integrations.service import Integrations
from operalta.vault.oauth.client import OAuthClient
from operalta.vault.oauth.connecting import Connecting
from operalta.vault.oauth.registrations import Registrations
from operalta.vault.oauth.tokens import ConnectionTokens
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets
from operalta.vault.webhooks.endpoints import Endpoints
from operalta.vault.webhooks.inbound.hooks import Hooks
from operalta.vault.webhooks.inbound.receiving import Receiver
from operalta.vault.webhooks.sending import Destinations
from operalta.web.application import make_application
from operalta.web.services import Services
from operalta.workspace import inventory as workspace_inventory
from operalta.workspace.files.file_store import FileStore

HASHING_QUEUE = 32
LONGEST_LOAN_SECONDS = 20.0
TLS_1_2_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Authenticated encryption with forward secrecy; TLS 1.3 has no other."""


def build(settings: Settings) -> FastAPI:
    """Return the application of `settings`, everything in it connected when it starts and closed when it ends."""
    roots = root_keys(settings)
    tokens = AccessTokens(
        SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.ACCESS_TOKEN),
        issuer=issuer_name(settings.base_url, settings.profile.value),
        audience="operalta",
    )
    hasher = PasswordHasher(settings.peppers(), cost=settings.bcrypt_cost, queue_limit=HASHING_QUEUE)
    signin, web = _pool(settings, DatabaseRole.SIGNIN), _pool(settings, DatabaseRole.WEB)
    sessions = Sessions(signin, hasher, tokens, settings.secret("refresh-key"), settings.session_days)
    code_key, shared = settings.secret("code-key"), AuthenticatorSecrets(roots)
    proving = Proving(signin, code_key, shared, settings.allows_country if settings.offers_sms else None)
    enrolment = Enrolment(signin, proving, shared, code_key)
    limiter = Limiter(settings.redis_address, digest_key=settings.secret("limit-key"))
    envelope = Envelope(CompanyKeys(settings.var / COMPANY_KEYS, roots))
    make_door = doors(settings, limiter)
    opener, secrets, oauth = Opener(envelope), Secrets(envelope), OAuthClient(make_door)
    connection_tokens = ConnectionTokens(web, opener, secrets, oauth)
    services = Services(
        settings=settings,
        web=web,
        signin=signin,
        limiter=limiter,
        tokens=tokens,
        accounts=Accounts(signin, hasher, sessions, sign_up_is_open=settings.sign_up is SignUp.OPEN),
        sessions=sessions,
        proving=proving,
        enrolment=enrolment,
        passkeys=Passkeys(signin, sessions, enrolment, settings.base_url),
        sms_receipts=Receipts(web, wire_of(settings)),
        files=FileStore(settings.workspaces_path, FileLimits(file_bytes=settings.upload_limit_bytes)),
        documents=DocumentReader(lambda: read_state(settings.shell_state_file).available),
        audit_keys=SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.AUDIT),
        key_uses=NotedUses(),
        registrations=Registrations(secrets, oauth),
        connecting=Connecting(
            opener,
            secrets,
            oauth,
            base_url=settings.base_url,
            verifier_key=derive_key(code_key, "oauth code verifier"),
        ),
        webhooks=Endpoints(secrets, Destinations(make_door)),
        inbound_hooks=Hooks(secrets),
        inbound=Receiver(web, opener),
        connection_tokens=connection_tokens,
        model_routes=listed_routes(settings),
        integrations=Integrations(
            secrets,
            IntegrationCalls(opener, connection_tokens, make_door),
            Exemptions.of(settings.egress_exemptions),
        ),
    )

    @contextlib.asynccontextmanager
    async def lifespan(_application: FastAPI) -> AsyncGenerator[None]:
        await signin.open()
        await web.open()
        hasher.start()
        try:
            yield
        finally:
            await services.connection_tokens.close()
            await web.close()
            await signin.close()
            await limiter.close()
            await hasher.close()
            await services.documents.close()

    return make_application(services, lifespan)


def _pool(settings: Settings, role: DatabaseRole) -> Pool:
    dsn = settings.database_dsn(role)
    return Pool(role, dsn, settings.database_pool_size, longest_loan_seconds=LONGEST_LOAN_SECONDS)


def inventory() -> tuple[InventoryEntry, ...]:
    """Return the data inventory of the whole product, every room's entries together."""
    rooms = (
        db_inventory,
        guard_inventory,
        sealing_inventory,
        sandbox_inventory,
        jobs_inventory,
        audit_inventory,
        delivery_inventory,
        identity_inventory,
        tenancy_inventory,
        workspace_inventory,
        vault_inventory,
        agents_inventory,
        assurance_inventory,
    )
    return tuple(entry for room in rooms for entry in room.ENTRIES)


class _Protocol(HttpToolsProtocol):
    """Hangs up on what is no HTTP: the server's own answer would carry none of our headers (clause 1.1.2)."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the library's form
        self.transport.close()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM; requests that are under way are finished."""
    logging.configure()
    application = build(settings)
    secure = settings.tls_certificate is not None and settings.tls_key is not None
    config = uvicorn.Config(
        application,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=_Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=30,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=64 * 1024,
        ssl_certfile=settings.tls_certificate if secure else None,
        ssl_keyfile=settings.tls_key if secure else None,
    )
    if secure:
        config.load()
        if config.ssl is not None:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
            # What Python offers by itself differs from build to build; some still hold CBC with SHA-1.
            config.ssl.set_ciphers(TLS_1_2_SUITES)
    uvicorn.Server(config).run()
