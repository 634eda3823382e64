"""The kinds of secrets: what is behind each, how it is hardened, who may open it, how old it may grow (clause 1.3.5).

One table, `RULES`, which the code obeys. The database holds a copy of what it enforces by itself (kinds, openers,
permissions), and a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from operalta.access.rules import Permission
from operalta.terms.registry import upholds

LARGEST_PLAINTEXT_BYTES = 64 * 1024


class Caller(StrEnum):
    """The code that works with secrets, by what it does with them; nothing else opens any."""

    EGRESS = "egress"
    """Puts a credential into a request that leaves by the one door."""
    OAUTH_CLIENT = "oauth_client"
    """Exchanges, renews and revokes tokens where they were issued."""
    WEBHOOK_SENDER = "webhook_sender"
    """Signs what is sent to a company's own endpoints."""
    WEBHOOK_RECEIVER = "webhook_receiver"
    """Checks the signature of what comes in."""


class SecretKind(StrEnum):
    """What a secret is; the words are the database's."""

    OAUTH_ACCESS_TOKEN = "oauth_access_token"  # noqa: S105 - a name
    OAUTH_REFRESH_TOKEN = "oauth_refresh_token"  # noqa: S105 - a name
    OAUTH_CLIENT_SECRET = "oauth_client_secret"  # noqa: S105 - a name
    SERVICE_API_KEY = "service_api_key"
    MCP_TOKEN = "mcp_token"  # noqa: S105 - a name
    WEBHOOK_SIGNING_SECRET = "webhook_signing_secret"  # noqa: S105 - a name
    INBOUND_WEBHOOK_SECRET = "inbound_webhook_secret"  # noqa: S105 - a name
    MODEL_ROUTE_KEY = "model_route_key"


class DataCategory(StrEnum):
    """What somebody who had the secret would get at."""

    DELEGATED_ACCOUNT = "a person's account with another service, as far as they consented"
    OUR_REGISTRATION = "the company's registration as a client of another service"
    SERVICE_ACCOUNT = "an account of the company's with another service"
    MESSAGES = "the truth of messages, not their content"
    MODEL_ACCOUNT = "an account with a model's provider: cost, and what prompts hold"


class EnvelopeKey(StrEnum):
    """What a secret is sealed under."""

    COMPANY = "a key of its own, derived from its company's key"


_BOUND = ("company", "table", "row", "column", "revision", "version of the company's key")


@dataclass(frozen=True, slots=True)
class SecretRules:
    """How one kind is protected.

    `longest_age` counts from when it was kept or last replaced. `kept_with` and `replaced_with` are the permissions
    that keeping (and removing) and replacing ask for. `bound` names what the ciphertext is bound to as associated data.
    """

    category: DataCategory
    openers: frozenset[Caller]
    longest_age: timedelta
    kept_with: Permission
    replaced_with: Permission
    envelope_key: EnvelopeKey = EnvelopeKey.COMPANY
    bound: tuple[str, ...] = _BOUND


def _rules(
    category: DataCategory,
    *openers: Caller,
    days: int,
    kept_with: Permission = Permission.INTEGRATIONS_MANAGE,
    replaced_with: Permission | None = None,
) -> SecretRules:
    return SecretRules(category, frozenset(openers), timedelta(days=days), kept_with, replaced_with or kept_with)


_CONNECT, _READ = Permission.INTEGRATIONS_CONNECT, Permission.INTEGRATIONS_READ

RULES: Mapping[SecretKind, SecretRules] = MappingProxyType(
    {
        # Renewed while a run uses the connection, by whoever it works for: that asks for less than connecting.
        SecretKind.OAUTH_ACCESS_TOKEN: _rules(
            DataCategory.DELEGATED_ACCOUNT,
            Caller.EGRESS,
            Caller.OAUTH_CLIENT,
            # Several providers' tokens last until they are revoked; those that expire are refreshed by their own clock.
            days=400,
            kept_with=_CONNECT,
            replaced_with=_READ,
        ),
        SecretKind.OAUTH_REFRESH_TOKEN: _rules(
            DataCategory.DELEGATED_ACCOUNT, Caller.OAUTH_CLIENT, days=180, kept_with=_CONNECT, replaced_with=_READ
        ),
        SecretKind.OAUTH_CLIENT_SECRET: _rules(DataCategory.OUR_REGISTRATION, Caller.OAUTH_CLIENT, days=730),
        SecretKind.SERVICE_API_KEY: _rules(DataCategory.SERVICE_ACCOUNT, Caller.EGRESS, days=365),
        SecretKind.MCP_TOKEN: _rules(DataCategory.SERVICE_ACCOUNT, Caller.EGRESS, days=365),
        SecretKind.WEBHOOK_SIGNING_SECRET: _rules(DataCategory.MESSAGES, Caller.WEBHOOK_SENDER, days=730),
        SecretKind.INBOUND_WEBHOOK_SECRET: _rules(DataCategory.MESSAGES, Caller.WEBHOOK_RECEIVER, days=730),
        SecretKind.MODEL_ROUTE_KEY: _rules(DataCategory.MODEL_ACCOUNT, Caller.EGRESS, days=365),
    }
)
"""Every kind has its line."""


@upholds("1.3.5")
def may_open(caller: Caller, kind: SecretKind) -> bool:
    """Tell whether `caller` opens secrets of this kind."""
    return caller in RULES[kind].openers


@upholds("1.3.5")
def is_too_old(kind: SecretKind, age: timedelta) -> bool:
    """Tell whether a secret of this kind, kept or replaced so long ago, is not used any more."""
    return age > RULES[kind].longest_age
