"""What an integration is, what may be typed in for one, and where its requests may go. Pure."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote
from uuid import UUID

from operalta.kernel.errors import InvalidInput, Refusal
from operalta.sandbox.credential import Credential
from operalta.sandbox.destinations import Destination, Exemptions, check_addresses, check_destination, parse_destination
from operalta.sandbox.egress import ALLOW_LISTED, EgressPolicy
from operalta.sandbox.errors import DestinationRefused
from operalta.terms.registry import upholds
from operalta.vault.integrations.errors import (
    IntegrationOff,
    MayNotWrite,
    NoCredential,
    NotConnected,
    OtherKind,
    ReadOnlyIntegration,
    ToolsHaveChanged,
)

LONGEST_NAME: Final = 80
LONGEST_SLUG: Final = 40
LONGEST_ADDRESS: Final = 2_000
LONGEST_HEADER: Final = 100
LONGEST_USER: Final = 200
SHORTEST_CREDENTIAL: Final = 8
LONGEST_CREDENTIAL: Final = 4_000
LONGEST_PATH: Final = 2_000
LONGEST_QUERY: Final = 4_000

READING: Final = frozenset({"GET", "HEAD"})
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

INTEGRATIONS: Final = replace(
    ALLOW_LISTED, name="integration", request_bytes=256 * 1024, response_bytes=2 * 1024 * 1024, seconds=30.0
)
"""The most that an integration may ask of the network; its host is added. A redirect stays on that host."""

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
# Fields that say more than who asks: they are not for a credential.
_TAKEN = frozenset({
    "accept", "accept-encoding", "accept-language", "connection", "content-length", "content-type", "cookie", "expect",
    "host", "keep-alive", "mcp-protocol-version", "mcp-session-id", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent",
})  # fmt: skip


class Kind(StrEnum):
    """What stands behind an integration."""

    API_KEY_SERVICE = "api_key_service"
    OAUTH_API = "oauth_api"
    MCP_SERVER = "mcp_server"


class Lends(StrEnum):
    """Whose credential a request carries."""

    NONE = "none"
    KEY = "key"
    CONNECTION = "connection"


class Form(StrEnum):
    """How a credential is written into a request."""

    BEARER = "bearer"
    HEADER = "header"
    BASIC = "basic"


class Health(StrEnum):
    """How an integration is doing, in one word."""

    OFF = "off"
    WORKS = "works"
    UNTRIED = "untried"
    FAILING = "failing"
    STOPPED = "stopped"


KINDS: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.API_KEY_SERVICE: (
        "A service with a key",
        "One address, and a key of the company's that goes to its host alone. Agents read; writing is up to you.",
    ),
    Kind.OAUTH_API: (
        "A service with people's accounts",
        "A provider that the company is registered at. Each run uses the account of the person that it works for.",
    ),
    Kind.MCP_SERVER: (
        "An MCP server",
        "Tools that a server offers. They are noted when you switch it on; when they change, it stops until you look.",
    ),
}
"""Each kind's title, and what it is in a sentence or two."""


class ToolSeen(NamedTuple):
    """A tool of an MCP server as a person saw it. Its words are the server's."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Integration:
    """An integration as it may be shown: without a credential, and without its id."""

    id: UUID
    slug: str
    name: str
    kind: Kind
    base_url: str
    lends: Lends
    form: Form
    header_name: str | None
    user_name: str | None
    client_id: UUID | None
    has_key: bool
    held_by_name: str | None
    held_at: datetime | None
    allows_writes: bool
    is_on: bool
    switched_by_name: str | None
    switched_at: datetime | None
    revision: int
    tools_sha256: str | None
    tools: tuple[ToolSeen, ...]
    drifted_at: datetime | None
    made_by_name: str | None
    created_at: datetime
    last_used_at: datetime | None
    checked_at: datetime | None
    answered_at: datetime | None
    failed_at: datetime | None
    failure: str | None

    @property
    def host(self) -> str:
        """The only host that its requests go to, with a port where one is named."""
        return parse_destination(self.base_url).authority


def health_of(integration: Integration) -> tuple[Health, str]:
    """Return how an integration is doing, and what there is to do, in a sentence."""
    if integration.drifted_at is not None:
        return Health.STOPPED, "The tools of this server have changed. Look at them, and switch it on again."
    if integration.lends is Lends.KEY and not integration.has_key:
        return Health.STOPPED, integration.failure or "It has no credential. Enter one."
    if not integration.is_on:
        return Health.OFF, "It is off: no agent can use it."
    if integration.failed_at is not None and (
        integration.answered_at is None or integration.failed_at > integration.answered_at
    ):
        return Health.FAILING, integration.failure or "The last request failed."
    if integration.answered_at is None:
        return Health.UNTRIED, "It is on, and nobody has used it yet."
    return Health.WORKS, "It is on, and answers."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody typed in for an integration. The credential never shows in a representation."""

    slug: str
    name: str
    kind: Kind
    base_url: str
    lends: Lends
    form: Form = Form.BEARER
    header_name: str | None = None
    user_name: str | None = None
    client_id: UUID | None = None
    credential: str | None = field(default=None, repr=False)
    allows_writes: bool = False


def checked(wanted: Wanted, exemptions: Exemptions, *, needs_credential: bool) -> Wanted:
    """Return what is kept of `wanted`. Raise InvalidInput, which never repeats a credential.

    `needs_credential`: a key has to be there. The address is https and leads to a public name, unless the operator's
    settings name its host and port.
    """
    if not _SLUG.fullmatch(wanted.slug) or not 2 <= len(wanted.slug) <= LONGEST_SLUG:  # noqa: PLR2004 - says so below
        raise InvalidInput(
            f"A short name has 2 to {LONGEST_SLUG} small letters, digits and hyphens, such as acme-billing.",
            field="slug",
        )
    name = wanted.name.strip()
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise InvalidInput(f"Give it a name of at most {LONGEST_NAME} characters.", field="name")
    registered = wanted.client_id is not None
    if (wanted.lends is Lends.CONNECTION) != registered or (wanted.kind is Kind.OAUTH_API and not registered):
        raise InvalidInput("Choose the registration whose connected accounts are used.", field="oauth_client")
    if wanted.kind is Kind.API_KEY_SERVICE and registered:
        raise InvalidInput("A service with a key uses no registration. Leave it out.", field="oauth_client")
    if wanted.lends is Lends.NONE and wanted.kind is not Kind.MCP_SERVER:
        raise InvalidInput("A service of this kind needs a credential.", field="credential")
    header, user = _form_parts(wanted)
    return Wanted(
        slug=wanted.slug,
        name=name,
        kind=wanted.kind,
        base_url=base_url_of(wanted.base_url, exemptions),
        lends=wanted.lends,
        form=wanted.form if wanted.lends is Lends.KEY else Form.BEARER,
        header_name=header,
        user_name=user,
        client_id=wanted.client_id,
        credential=_credential_of(wanted, required=needs_credential and wanted.lends is Lends.KEY),
        allows_writes=wanted.allows_writes,
    )


def _form_parts(wanted: Wanted) -> tuple[str | None, str | None]:
    if wanted.lends is not Lends.KEY:
        return None, None
    header, user = (wanted.header_name or "").strip(), (wanted.user_name or "").strip()
    if wanted.form is Form.HEADER and (not _FIELD.fullmatch(header) or header.lower() in _TAKEN):
        raise InvalidInput("Give the name of the header that the service reads, such as X-Api-Key.", field="header")
    if wanted.form is Form.BASIC and (not 0 < len(user) <= LONGEST_USER or not user.isprintable() or ":" in user):
        raise InvalidInput("Give the user name that goes with the password, without a colon.", field="user")
    return header if wanted.form is Form.HEADER else None, user if wanted.form is Form.BASIC else None


def _credential_of(wanted: Wanted, *, required: bool) -> str | None:
    text = (wanted.credential or "").strip()
    if not text and not required:
        return None
    fits = SHORTEST_CREDENTIAL <= len(text) <= LONGEST_CREDENTIAL and text.isascii() and text.isprintable()
    if not fits or (wanted.form is not Form.BASIC and len(text.split()) != 1):
        raise InvalidInput(
            f"The credential is one word of {SHORTEST_CREDENTIAL} to {LONGEST_CREDENTIAL} plain characters.",
            field="credential",
        )
    if wanted.lends is not Lends.KEY:
        raise InvalidInput("An integration of this kind takes no key. Leave it empty.", field="credential")
    return text


def base_url_of(text: str, exemptions: Exemptions) -> str:
    """Return an address that requests may begin with, as WHATWG writes it. Raise InvalidInput."""
    clean = text.strip()
    if len(clean) > LONGEST_ADDRESS or "?" in clean or "#" in clean:
        raise InvalidInput("Give the address without a question mark and without #.", field="base_url")
    try:
        there = parse_destination(clean)
        check_destination(there, "GET", surface_of(there), exempt=exemptions.cover(there))
        if there.address is not None:
            check_addresses([there.address], exempt=exemptions.cover(there))
    except DestinationRefused as refusal:
        raise InvalidInput(refusal.public_text, field="base_url") from refusal
    return there.href.rstrip("/")


@upholds("5.4.3", "7.2.2")
def surface_of(there: Destination, most: EgressPolicy = INTEGRATIONS) -> EgressPolicy:
    """Return the policy under which an integration's requests leave: `most`, to its own host alone."""
    return most.for_hosts(there.authority)


@upholds("5.4.3", "7.2.2")
def address_of(base_url: str, path: str, query: str | None) -> str:
    """Return where a request goes: below the integration's own address, whatever the path says. Raise InvalidInput."""
    if not path.startswith("/") or len(path) > LONGEST_PATH or not path.isprintable() or set("?#") & set(path):
        raise InvalidInput("A path begins with a slash, and has neither ? nor # in it.", field="path")
    if _has_dot_segment(path):
        raise InvalidInput("This path leads out of the integration's own address.", field="path")
    asked = query or ""
    if len(asked) > LONGEST_QUERY or not asked.isprintable() or "#" in asked:
        raise InvalidInput("A query is one line without #, such as page=2.", field="query")
    base = parse_destination(base_url)
    try:
        there = parse_destination(f"{base_url}{path}{'?' if asked else ''}{asked}")
    except DestinationRefused as refusal:
        raise InvalidInput(refusal.public_text, field="path") from refusal
    if there.origin != base.origin or not f"{there.path}/".startswith(f"{base.path.rstrip('/')}/"):
        raise InvalidInput("This path leads out of the integration's own address.", field="path")
    return there.href


def _has_dot_segment(path: str) -> bool:
    """Tell whether a server could read a step upwards, however often it decodes and whatever it cuts off."""
    before, plain = "", path
    while plain != before:
        before, plain = plain, unquote(plain)
    segments = plain.replace("\\", "/").split("/")
    return any(segment.partition(";")[0].strip() in {".", ".."} for segment in segments)


def credential_for(integration: Integration, secret: str) -> Credential:
    """Return what a request of the integration carries."""
    origin = parse_destination(integration.base_url).origin
    match integration.form:
        case Form.BEARER:
            return Credential(origin, "Authorization", f"Bearer {secret}")
        case Form.HEADER:
            return Credential(origin, integration.header_name or "Authorization", secret)
        case Form.BASIC:
            pair = base64.b64encode(f"{integration.user_name}:{secret}".encode()).decode("ascii")
            return Credential(origin, "Authorization", f"Basic {pair}")


def failure_of(status: int) -> str | None:
    """Return what is to be noted of an answer, in words of ours; None for one that shows that the service works."""
    match status:
        case 401 | 403:
            return (
                f"The service did not accept the credential (it answered {status}). Enter a new one, or connect again."
            )
        case 429:
            return "The service asks for a pause (it answered 429). It is tried again at the next use."
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"The service failed (it answered {status}). It is tried again at the next use."
        case _:
            return None


VERDICTS: Final[Mapping[str, type[Refusal]]] = {
    "off": IntegrationOff,
    "no credential": NoCredential,
    "not connected": NotConnected,
    "read only": ReadOnlyIntegration,
    "may not write": MayNotWrite,
    "other kind": OtherKind,
    "drifted": ToolsHaveChanged,
}
"""What the database says of a use that it does not let pass."""
