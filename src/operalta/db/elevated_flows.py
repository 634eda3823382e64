"""The elevated flows: every function of schema `elevated`, what it is for, and why its ids can be relied on.

They pass row security, so this list is closed: the policy check finds a function that is not in it, one in it that is
not there, and whoever may execute one besides the job role. Functions for support are granted to nobody at all;
whoever holds the owner's password takes the definer's role for them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """What an elevated transaction is opened for."""

    DELIVER_MAIL = "deliver mail"
    FORGET_EXPIRED = "forget what has expired"
    ROTATE_KEYS = "rotate keys"
    SEAL_AUDIT_LOG = "seal the audit log"
    REVOKE_CONNECTIONS = "tell providers of connections that ended"
    SEND_WEBHOOKS = "send webhooks"
    BEGIN_SCHEDULES = "begin schedules that are due"
    SUPPORT = "help a person at the operator's hands"


class Trail(StrEnum):
    """What a use leaves in the audit log."""

    OWN_EVENT = "an event of its own in every use that finds something"
    OF_TAKING = "the event of elevated.take_message, without which it does nothing"
    OF_REVOCATION = "an event of its own where it ends something, else those of elevated.take_revocation"
    OF_SENDING = "an event of its own where it gives up or switches off, else those of elevated.take_webhook"
    OF_BEGINNING = "the event of elevated.begin_schedule, which follows in the same transaction"
    SEALED_TREE = "none: it makes the log's own tree, which `operalta audit verify` recomputes"
    NOTHING_READ = "none: it touches nobody's rows"


@dataclass(frozen=True, slots=True)
class Flow:
    """One function of schema `elevated`. `ids` says what validates the ids that it is given."""

    function: str
    purpose: Purpose
    ids: str
    trail: Trail

    @property
    def scheduled(self) -> bool:
        """Whether the job role may execute it."""
        return self.purpose is not Purpose.SUPPORT


_OF_THE_QUEUE = "a message's id, put into the queue by the scoped function that wrote it; it must still be queued"
_TAKEN = "the message that take_message gave in this transaction; any other is refused"
_NO_IDS = "it takes none"
_OF_TAKEN_REVOCATION = "what take_revocation gave; any other, and one that nobody took, is refused"
_OF_TAKEN_WEBHOOK = (
    "what take_webhook gave, with its claim and receipt; any other is refused, and of what somebody else took since the"
    " lines of the egress log alone are kept"
)
_OF_DUE_SCHEDULE = "what due_schedule gave; any other, and one that is not due at exactly that time, is refused"
_OF_UNSEALED = "events that unsealed_events gave; an event that is sealed already, or is not there, is refused"
_A_COMPANY = "a company that has a key; for any other there are no secrets, and nothing happens"
_OF_THE_PAGE = "rows of the page before; a row that was written since, or is not there, stays as it is"
_OF_THE_OPERATOR = "a person's id, looked up by the operator; nobody by that id, or no reason: nothing happens"

FLOWS: tuple[Flow, ...] = (
    # ── Mail and SMS ──
    Flow("take_message", Purpose.DELIVER_MAIL, _OF_THE_QUEUE, Trail.OWN_EVENT),
    Flow("attach_link", Purpose.DELIVER_MAIL, _TAKEN, Trail.OF_TAKING),
    Flow("attach_code", Purpose.DELIVER_MAIL, _TAKEN, Trail.OF_TAKING),
    Flow("keep_in_outbox", Purpose.DELIVER_MAIL, _TAKEN, Trail.OF_TAKING),
    Flow("finish_message", Purpose.DELIVER_MAIL, _OF_THE_QUEUE, Trail.OWN_EVENT),
    Flow("mail_waiting_approvals", Purpose.DELIVER_MAIL, _NO_IDS, Trail.OWN_EVENT),
    # ── What has expired ──
    Flow("forget_expired", Purpose.FORGET_EXPIRED, _NO_IDS, Trail.OWN_EVENT),
    Flow("forget_states", Purpose.FORGET_EXPIRED, _NO_IDS, Trail.OWN_EVENT),
    Flow("forget_model_requests", Purpose.FORGET_EXPIRED, _NO_IDS, Trail.OWN_EVENT),
    # ── Connections that have ended here ──
    Flow("take_revocation", Purpose.REVOKE_CONNECTIONS, _NO_IDS, Trail.OWN_EVENT),
    Flow("finish_revocation", Purpose.REVOKE_CONNECTIONS, _OF_TAKEN_REVOCATION, Trail.OF_REVOCATION),
    # ── Webhooks ──
    Flow("take_webhook", Purpose.SEND_WEBHOOKS, _NO_IDS, Trail.OWN_EVENT),
    Flow("finish_webhook", Purpose.SEND_WEBHOOKS, _OF_TAKEN_WEBHOOK, Trail.OF_SENDING),
    Flow("forget_webhooks", Purpose.FORGET_EXPIRED, _NO_IDS, Trail.OWN_EVENT),
    # ── Schedules ──
    Flow("due_schedule", Purpose.BEGIN_SCHEDULES, _NO_IDS, Trail.OF_BEGINNING),
    Flow("begin_schedule", Purpose.BEGIN_SCHEDULES, _OF_DUE_SCHEDULE, Trail.OWN_EVENT),
    # ── The sealing of the audit log ──
    Flow("begin_sealing", Purpose.SEAL_AUDIT_LOG, _NO_IDS, Trail.NOTHING_READ),
    Flow("last_head", Purpose.SEAL_AUDIT_LOG, _NO_IDS, Trail.NOTHING_READ),
    Flow("tree_edge", Purpose.SEAL_AUDIT_LOG, _NO_IDS, Trail.NOTHING_READ),
    Flow("unsealed_events", Purpose.SEAL_AUDIT_LOG, _NO_IDS, Trail.SEALED_TREE),
    Flow(
        "company_numbers",
        Purpose.SEAL_AUDIT_LOG,
        "companies of events that unsealed_events gave; for any other it answers 0, as for one without events",
        Trail.SEALED_TREE,
    ),
    Flow("record_leaf", Purpose.SEAL_AUDIT_LOG, _OF_UNSEALED, Trail.SEALED_TREE),
    Flow("record_node", Purpose.SEAL_AUDIT_LOG, _NO_IDS, Trail.SEALED_TREE),
    Flow("record_head", Purpose.SEAL_AUDIT_LOG, _NO_IDS, Trail.SEALED_TREE),
    # ── Rotation of keys: sealed bytes go out and come back, sealed anew; what is inside is not for the database ──
    Flow("note_key_rotation", Purpose.ROTATE_KEYS, _A_COMPANY, Trail.OWN_EVENT),
    Flow("secret_writers_at_work", Purpose.ROTATE_KEYS, _A_COMPANY, Trail.NOTHING_READ),
    Flow("secrets_to_reseal", Purpose.ROTATE_KEYS, _A_COMPANY, Trail.OWN_EVENT),
    Flow("reseal_secrets", Purpose.ROTATE_KEYS, _OF_THE_PAGE, Trail.OWN_EVENT),
    Flow("authenticators_to_rewrap", Purpose.ROTATE_KEYS, _NO_IDS, Trail.OWN_EVENT),
    Flow("rewrap_authenticators", Purpose.ROTATE_KEYS, _OF_THE_PAGE, Trail.OWN_EVENT),
    # ── Support from the command line, with the owner's password ──
    Flow("find_people", Purpose.SUPPORT, "none: a part of an address or a name, or an id", Trail.OWN_EVENT),
    Flow("sign_out_person", Purpose.SUPPORT, _OF_THE_OPERATOR, Trail.OWN_EVENT),
    Flow("reset_factors", Purpose.SUPPORT, _OF_THE_OPERATOR, Trail.OWN_EVENT),
    Flow("appoint_staff", Purpose.SUPPORT, _OF_THE_OPERATOR, Trail.OWN_EVENT),
    Flow("dismiss_staff", Purpose.SUPPORT, _OF_THE_OPERATOR, Trail.OWN_EVENT),
    Flow(
        "find_api_keys",
        Purpose.SUPPORT,
        "none: a company's short name; none such, or no reason: nothing",
        Trail.OWN_EVENT,
    ),
    Flow("revoke_api_key", Purpose.SUPPORT, "a key's id; none such, or no reason: nothing happens", Trail.OWN_EVENT),
)
"""Every elevated flow there is."""
