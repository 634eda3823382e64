"""What can be sent, which of it carries a link, and where that link leads."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
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


LINK_PATHS: Mapping[Kind, str] = {
    Kind.CONFIRM_SIGN_UP: "/verify-email",
    Kind.VERIFY_ADDRESS: "/verify-email",
    Kind.RESET_PASSWORD: "/password-reset/confirm",
    Kind.INVITATION: "/invitations/accept",
}
"""The page that each link opens; kinds that are not here carry none."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it waits: for whom, of what kind, and the facts that its text names. It holds no token."""

    id: UUID
    kind: Kind
    recipient: str
    recipient_name: str
    facts: Mapping[str, Any]
    attempts: int


def link(base_url: str, kind: Kind, token: str) -> str:
    """Return the address that the message's link leads to. `token` is base64url and needs no escaping."""
    return f"{base_url}{LINK_PATHS[kind]}?token={token}"
