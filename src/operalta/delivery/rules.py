"""What can be sent and by which channel, which of it carries a link, and where that link leads."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

MOST_ATTEMPTS = 5
"""After this many a message has failed. The queue makes as many (`operalta.jobs.queue.RETRY_AFTER_SECONDS`)."""


class Kind(StrEnum):
    """Every message that the product sends; each has a text of its own below `templates`."""

    CONFIRM_SIGN_UP = "confirm_sign_up"
    ALREADY_REGISTERED = "already_registered"
    VERIFY_ADDRESS = "verify_address"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a message
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a message
    INVITATION = "invitation"
    NEW_DEVICE = "new_device"
    FACTOR_CHANGED = "factor_changed"
    TRUST_DEVICE = "trust_device"
    STAFF_ACCESS = "staff_access"
    OWNERSHIP = "ownership"
    APPROVAL_WAITING = "approval_waiting"
    CODE = "code"


SENT_BY_SMS = frozenset({Kind.CODE})
"""All other kinds are mail."""

LINK_PATHS: Mapping[Kind, str] = {
    Kind.CONFIRM_SIGN_UP: "/verify-email",
    Kind.VERIFY_ADDRESS: "/verify-email",
    Kind.RESET_PASSWORD: "/password-reset/confirm",
    Kind.INVITATION: "/invitations/accept",
    Kind.TRUST_DEVICE: "/trust-device",
}
"""The page that each link opens; kinds that are not here carry none."""

FACTOR_CHANGES: Mapping[str, str] = {
    "phone_added": "A phone number was added to it, for codes by SMS.",
    "phone_removed": "A phone number was removed from it.",
    "authenticator_added": "An authenticator app was added to it.",
    "authenticator_removed": "An authenticator app was removed from it.",
    "passkey_added": "A passkey was added to it.",
    "passkey_removed": "A passkey was removed from it.",
    "recovery_codes_made": "New recovery codes were made for it; earlier ones no longer work.",
    "recovery_code_used": "One of its recovery codes was used.",
    "factors_reset": "The operator removed its second factors and recovery codes, and signed it out everywhere.",
}
"""What happened to the account, by the `change` of a message of the kind `factor_changed`."""

ANOTHER_FACTOR_CHANGE = "The ways to prove that it is yours were changed."

PAUSED_WAYS: Mapping[str, str] = {"phone": "codes by SMS", "authenticator": "codes of an authenticator app"}
"""What is paused, by the `way` of a message of the kind `trust_device`."""

A_PAUSED_WAY = "codes"


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it waits: for whom, of what kind, and the facts that its text names. It holds no token, no code.

    `code_id` is the row of the one-time code that it is to carry.
    """

    id: UUID
    kind: Kind
    recipient: str
    recipient_name: str
    facts: Mapping[str, Any]
    attempts: int
    code_id: UUID | None = None


class Outcome(StrEnum):
    """How the delivery of a message ended, as its sender knows."""

    SENT = "sent"
    FAILED = "failed"


def link(base_url: str, kind: Kind, token: str) -> str:
    """Return the address that the message's link leads to. `token` is base64url and needs no escaping."""
    return f"{base_url}{LINK_PATHS[kind]}?token={token}"


def host_for_codes(base_url: str) -> str | None:
    """Return the host that browsers may fill a code in for (the last line of an SMS names it), or None.

    Only a secure page under a name counts to them (WICG, Origin-bound one-time codes delivered via SMS, section 3).
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host if parts.scheme == "https" and "." in host else None
    return None
