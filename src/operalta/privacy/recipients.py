"""Everybody outside of the deployment who is ever sent something: one declared list, and who decides about each.

Nothing is sold, and nothing is given away: whatever leaves does so through a surface of the egress door (or by the mail
relay that the operator names), and each surface is one of these. What is not on the list has no way out.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from operalta.terms.registry import upholds


class Decides(StrEnum):
    """Who decides that something is sent."""

    OPERATOR = "the operator, in the settings"
    MANAGER = "somebody who manages the company's integrations, who switches it on"
    BOTH = "the operator, who approves it, and somebody who manages the company, who allows it"
    PERSON = "a person, who typed the address, connected the account or approved the call"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who is sent something by a surface. `surface` is the egress policy's name; None for the mail relay.

    `receives` says for people what is sent. `store` is its entry in the data inventory; None where nothing about
    anybody is sent.
    """

    surface: str | None
    who: str
    receives: str
    decides: Decides
    store: str | None


RECIPIENTS: Final = (
    Recipient(None, "The mail relay", "Addresses, names and links of one use.", Decides.OPERATOR, "smtp relay"),
    Recipient("sms", "The SMS provider", "Phone numbers and codes of one use.", Decides.OPERATOR, "sms provider"),
    Recipient("key service", "The key service", "A wrapped key. Nothing about anybody.", Decides.OPERATOR, None),
    Recipient(
        "oauth",
        "Providers of connected accounts",
        "What signs the company and the person in there, and what ends that.",
        Decides.PERSON,
        "oauth providers",
    ),
    Recipient(
        "models",
        "Providers of models",
        "Prompts of runs, without what looks like a secret, over routes with an approval record.",
        Decides.BOTH,
        "model providers",
    ),
    Recipient(
        "integration",
        "Services that a company has switched on",
        "What a person asked an agent to send there, each time asked about unless it only reads.",
        Decides.MANAGER,
        "integrated services",
    ),
    Recipient(
        "webhooks",
        "Receivers of a company's webhooks",
        "Kinds and ids of what happened, without content.",
        Decides.MANAGER,
        "webhook receivers",
    ),
    Recipient(
        "open",
        "Pages that agents fetch",
        "The address, and that this deployment asks.",
        Decides.PERSON,
        "fetched pages",
    ),
    Recipient(
        "tunnelled",
        "Hosts that commands with network reach",
        "What an approved command sends to a host on the company's list.",
        Decides.PERSON,
        "hosts of commands",
    ),
)
"""All of them."""

NOBODY: Final = "none"
"""The surface that reaches nothing."""


@upholds("6.5.1")
def recipient_of(surface: str) -> Recipient:
    """Return who is reached by a surface. Raise LookupError for one that is not declared."""
    for recipient in RECIPIENTS:
        if recipient.surface == surface:
            return recipient
    raise LookupError(f"nobody is declared as the recipient of {surface}")
