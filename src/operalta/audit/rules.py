"""What an audit event is, its canonical bytes, and the salted commitment by which the tree knows it.

The tree never holds an event's content, only its commitment. Whoever has the salt can show what was
committed to; once the salt is dropped, content that is gone can neither be recovered nor guessed at, and the
tree still verifies.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self, cast
from uuid import UUID

from operalta.audit.canonical import NotCanonical, canonical_json
from operalta.audit.tree import HASH_BYTES, leaf_hash
from operalta.kernel.ids import CompanyId, PersonId, RequestId, RunId
from operalta.terms.registry import upholds

SALT_BYTES = 32
MAXIMUM_EVENT_BYTES = 64 * 1024

_COMMITMENT_DOMAIN = b"operalta-audit-v1\0"


class Action(StrEnum):
    """Everything that leaves an event, as `noun.verb`: the closed vocabulary of the whole product."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_VERIFIED = "account.verified"
    ACCOUNT_CHANGED = "account.changed"
    ACCOUNT_ERASED = "account.erased"
    ACCOUNT_BECAME_OPERATOR = "account.became_operator"

    SESSION_STARTED = "session.started"
    SESSION_REFUSED = "session.refused"
    SESSION_ENDED = "session.ended"
    SESSION_REUSE_DETECTED = "session.reuse_detected"

    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - the name of an event
    PASSWORD_RESET_REQUESTED = "password.reset_requested"  # noqa: S105 - the name of an event
    PASSWORD_RESET = "password.reset"  # noqa: S105 - the name of an event

    FACTOR_ENROLLED = "factor.enrolled"
    FACTOR_REMOVED = "factor.removed"
    FACTOR_PROVED = "factor.proved"
    FACTOR_PAUSED = "factor.paused"
    DEVICE_TRUSTED = "device.trusted"
    CODE_SENT = "code.sent"
    CODE_ACCEPTED = "code.accepted"
    CODE_REFUSED = "code.refused"

    COMPANY_FOUNDED = "company.founded"
    COMPANY_CHANGED = "company.changed"
    COMPANY_ERASED = "company.erased"
    COMPANY_OWNERSHIP_TRANSFERRED = "company.ownership_transferred"
    MEMBER_INVITED = "member.invited"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    MEMBER_REMOVED = "member.removed"
    MEMBER_LEFT = "member.left"
    INVITATION_REVOKED = "invitation.revoked"
    INVITATION_ACCEPTED = "invitation.accepted"

    MEMORY_RECORDED = "memory.recorded"
    MEMORY_LINKED = "memory.linked"
    MEMORY_UNLINKED = "memory.unlinked"
    MEMORY_SUPERSEDED = "memory.superseded"
    MEMORY_STATUS_CHANGED = "memory.status_changed"
    METRIC_DEFINED = "metric.defined"
    METRIC_CHANGED = "metric.changed"
    METRIC_POINT_RECORDED = "metric.point_recorded"
    FILE_WRITTEN = "file.written"
    FILE_MOVED = "file.moved"
    FILE_DELETED = "file.deleted"
    FILE_RESTORED = "file.restored"
    FILE_DELETED_FOR_GOOD = "file.deleted_for_good"
    ARTIFACT_WRITTEN = "artifact.written"
    ARTIFACT_CHANGED = "artifact.changed"
    ARTIFACT_OPENED = "artifact.opened"
    ARTIFACT_ARCHIVED = "artifact.archived"
    ARTIFACT_RESTORED = "artifact.restored"

    CONVERSATION_STARTED = "conversation.started"
    CONVERSATION_CHANGED = "conversation.changed"
    MESSAGE_WRITTEN = "message.written"
    CONVERSATION_DELETED = "conversation.deleted"
    RUN_STARTED = "run.started"
    RUN_FINISHED = "run.finished"
    RUN_FAILED = "run.failed"
    RUN_STOPPED = "run.stopped"
    RUN_RECOVERED = "run.recovered"
    RUN_RETRIED = "run.retried"
    RUN_CONTINUED = "run.continued"
    TOOL_CALLED = "tool.called"
    TOOL_DENIED = "tool.denied"
    TOOL_UNKNOWN = "tool.unknown"
    TOOL_QUARANTINED = "tool.quarantined"
    APPROVAL_ASKED = "approval.asked"
    APPROVAL_GRANTED = "approval.granted"
    APPROVAL_DENIED = "approval.denied"
    APPROVAL_EXPIRED = "approval.expired"
    APPROVAL_RULE_CHANGED = "approval_rule.changed"
    GRANT_GIVEN = "grant.given"
    GRANT_REVOKED = "grant.revoked"
    EGRESS_FETCHED = "egress.fetched"
    EGRESS_REFUSED = "egress.refused"
    SCHEDULE_MADE = "schedule.made"
    SCHEDULE_CHANGED = "schedule.changed"
    SCHEDULE_PAUSED = "schedule.paused"
    SCHEDULE_RESUMED = "schedule.resumed"
    SCHEDULE_REMOVED = "schedule.removed"
    SCHEDULE_BEGAN = "schedule.began"
    SCHEDULE_SKIPPED = "schedule.skipped"
    SCHEDULE_ENDED = "schedule.ended"
    AGENT_MADE = "agent.made"
    AGENT_CHANGED = "agent.changed"
    DAY_LIMITS_CHANGED = "day_limits.changed"
    ROUTES_CHANGED = "routes.changed"

    CREDENTIAL_CREATED = "credential.created"
    CREDENTIAL_ROTATED = "credential.rotated"
    CREDENTIAL_REVOKED = "credential.revoked"
    SECRET_KEPT = "secret.kept"  # noqa: S105 - the name of an event
    SECRET_REPLACED = "secret.replaced"  # noqa: S105 - the name of an event
    SECRET_REMOVED = "secret.removed"  # noqa: S105 - the name of an event
    SECRET_OPENED = "secret.opened"  # noqa: S105 - the name of an event
    OAUTH_CLIENT_REGISTERED = "oauth_client.registered"
    OAUTH_CLIENT_CHANGED = "oauth_client.changed"
    OAUTH_CLIENT_REMOVED = "oauth_client.removed"
    CONNECTION_MADE = "connection.made"
    CONNECTION_REFRESHED = "connection.refreshed"
    CONNECTION_NOT_REFRESHED = "connection.not_refreshed"
    CONNECTION_BROKEN = "connection.broken"
    CONNECTION_REVOKED = "connection.revoked"
    CONNECTION_ENDED_AT_PROVIDER = "connection.ended_at_provider"
    WEBHOOK_MADE = "webhook.made"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_SWITCHED = "webhook.switched"
    WEBHOOK_ROTATED = "webhook.rotated"
    WEBHOOK_REMOVED = "webhook.removed"
    WEBHOOK_REPLAYED = "webhook.replayed"
    WEBHOOK_GIVEN_UP = "webhook.given_up"
    WEBHOOK_DROPPED = "webhook.dropped"
    INBOUND_HOOK_MADE = "inbound_hook.made"
    INBOUND_HOOK_SWITCHED = "inbound_hook.switched"
    INBOUND_HOOK_ROTATED = "inbound_hook.rotated"
    INBOUND_HOOK_REMOVED = "inbound_hook.removed"
    INBOUND_HOOK_RECEIVED = "inbound_hook.received"
    INBOUND_HOOK_REFUSED = "inbound_hook.refused"
    INTEGRATION_MADE = "integration.made"
    INTEGRATION_CHANGED = "integration.changed"
    INTEGRATION_SWITCHED_ON = "integration.switched_on"
    INTEGRATION_SWITCHED_OFF = "integration.switched_off"
    INTEGRATION_STOPPED = "integration.stopped"
    INTEGRATION_DRIFTED = "integration.drifted"
    INTEGRATION_REMOVED = "integration.removed"
    KEY_ROTATED = "key.rotated"

    PRIVACY_REQUESTED = "privacy.requested"
    PRIVACY_FULFILLED = "privacy.fulfilled"
    PRIVACY_EXPORTED = "privacy.exported"
    HOLD_PLACED = "hold.placed"
    HOLD_RELEASED = "hold.released"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CHANGED = "incident.changed"
    REPORT_RECEIVED = "report.received"

    ELEVATED_USED = "elevated.used"
    STAFF_APPOINTED = "staff.appointed"
    STAFF_DISMISSED = "staff.dismissed"
    STAFF_ACCESS_OPENED = "staff_access.opened"
    STAFF_ACCESS_USED = "staff_access.used"
    STAFF_ACCESS_ENDED = "staff_access.ended"
    BACKUP_MADE = "backup.made"
    BACKUP_RESTORED = "backup.restored"
    AUDIT_VERIFIED = "audit.verified"
    AUDIT_EXPORTED = "audit.exported"
    AUDIT_ERASED = "audit.erased"
    SETTINGS_CHANGED = "settings.changed"


class Outcome(StrEnum):
    """How it ended."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    FAILED = "failed"


class EventActor(StrEnum):
    """Who acted. `PERSON` and `RUN` are the kernel's actors; the others act outside of those."""

    VISITOR = "visitor"
    PERSON = "person"
    KEY = "key"
    RUN = "run"
    STAFF = "staff"
    OPERATOR = "operator"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened.

    `company_id` and `company_number` are None for what concerns no company; numbers count a company's events
    from 1 without gaps. `occurred_at` is aware. `target_kind` is a noun of the product and `target_id` its
    identifier or name. `origin` is where the request came from. `detail` holds text, integers, truth values,
    lists and objects; never a secret, and personal data only where the event needs it.
    """

    id: UUID
    company_id: CompanyId | None
    company_number: int | None
    occurred_at: datetime
    actor_kind: EventActor
    actor_person_id: PersonId | None
    actor_run_id: RunId | None
    action: Action
    target_kind: str
    target_id: str | None
    outcome: Outcome
    request_id: RequestId | None = None
    origin: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict[str, object])

    @classmethod
    def from_stored(cls, row: Mapping[str, Any]) -> Self:
        """Return the event of a stored row, as it stands there.

        Words that this version does not know (retired, or written by a forger) stay plain text: whether they
        were committed to is for the commitment to say, not for the vocabulary.
        """
        return cls(
            id=row["id"],
            company_id=row["company_id"],
            company_number=row["company_number"],
            occurred_at=row["occurred_at"],
            actor_kind=cast("EventActor", row["actor_kind"]),
            actor_person_id=row["actor_person_id"],
            actor_run_id=row["actor_run_id"],
            action=cast("Action", row["action"]),
            target_kind=row["target_kind"],
            target_id=row["target_id"],
            outcome=cast("Outcome", row["outcome"]),
            request_id=row["request_id"],
            origin=row["origin"],
            detail=row["detail"],
        )


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """One leaf of the tree as it is kept: its place, the commitment, and whose event it stands for."""

    index: int
    commitment: bytes
    company_id: UUID | None
    company_number: int | None
    event_id: UUID

    def entry(self) -> bytes:
        """Return the bytes that the leaf's hash covers.

        Beside the commitment they hold the company, the number and the event's id, so that these cannot be
        changed either once the salt that would show them to be wrong has been dropped.
        """
        if len(self.commitment) != HASH_BYTES:
            raise NotCanonical(f"A commitment has {HASH_BYTES} bytes, not {len(self.commitment)}.")
        return canonical_json(
            {
                "commitment": self.commitment.hex(),
                "company_id": _identifier(self.company_id),
                "company_number": self.company_number,
                "event_id": _identifier(self.event_id),
            }
        )

    @property
    def hash(self) -> bytes:
        """What is appended to the tree for this leaf."""
        return leaf_hash(self.entry())


def new_salt() -> bytes:
    """Return a fresh salt for one event."""
    return secrets.token_bytes(SALT_BYTES)


def canonical(event: AuditEvent) -> bytes:
    """Return the event's one encoding: RFC 8785 JSON with times in UTC to the microsecond.

    `NotCanonical` for a naive time, for values that JSON cannot carry unchanged, and beyond
    `MAXIMUM_EVENT_BYTES`.
    """
    encoded = canonical_json(
        {
            "id": _identifier(event.id),
            "company_id": _identifier(event.company_id),
            "company_number": event.company_number,
            "occurred_at": utc_text(event.occurred_at),
            "actor_kind": event.actor_kind,
            "actor_person_id": _identifier(event.actor_person_id),
            "actor_run_id": _identifier(event.actor_run_id),
            "action": event.action,
            "target_kind": event.target_kind,
            "target_id": event.target_id,
            "outcome": event.outcome,
            "request_id": _identifier(event.request_id),
            "origin": event.origin,
            "detail": event.detail,
        }
    )
    if len(encoded) > MAXIMUM_EVENT_BYTES:
        raise NotCanonical(f"An event has at most {MAXIMUM_EVENT_BYTES} bytes. Name the content by its digest.")
    return encoded


@upholds("2.5.5")
def commitment(event: AuditEvent, salt: bytes) -> bytes:
    """Return the commitment to the event: SHA-256 over domain, salt and canonical bytes.

    The salt's length is fixed, so that no part of a content can be passed off as part of a salt.
    """
    if len(salt) != SALT_BYTES:
        raise NotCanonical(f"A salt has {SALT_BYTES} bytes, not {len(salt)}.")
    return hashlib.sha256(_COMMITMENT_DOMAIN + salt + canonical(event)).digest()


def utc_text(moment: datetime) -> str:
    """Return an aware time as `2026-03-16T09:30:00.000000Z`."""
    if moment.tzinfo is None:
        raise NotCanonical("A time without a zone is no moment. Pass an aware time.")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _identifier(value: UUID | None) -> str | None:
    return None if value is None else str(value)
