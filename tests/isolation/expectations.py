"""The law of the tables: which rows each database role may read, add, change and delete, and who may do so.

What is not written here is denied: the database must not even have granted it. `needs` is the permission that the
scope's role must hold (or the answer is: no rows); the rows are told in SQL, which the tests ask as the owner.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, LiteralString

from operalta.access.rules import Permission as May

SELECT, INSERT, UPDATE, DELETE = VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")

COMPANYS: LiteralString = "company_id = %(company)s"
OWN: LiteralString = "person_id = %(account)s"
"""Of an account: its person's alone, in a session of their own."""
SHARED: LiteralString = "company_id = %(company)s AND (private_to IS NULL OR private_to = %(reader)s)"
IN_CONFIDENCE: LiteralString = (
    "company_id = %(company)s AND (private_to IS NULL OR private_to = %(reader)s"
    " AND EXISTS (SELECT FROM agents.runs AS run WHERE run.id = %(run)s AND run.private_to IS NOT NULL))"
)
OF_RUN: LiteralString = "company_id = %(company)s AND run_id = %(run)s"
GIVEN_BY_A_DECIDER: LiteralString = (
    " AND decision = 'conversation' AND EXISTS (SELECT FROM tenancy.memberships AS held"
    " JOIN tenancy.companies AS host ON host.id = held.company_id JOIN access.role_permissions AS granted"
    " ON granted.company_kind = host.kind AND granted.role = held.role AND granted.permission = 'approvals:decide'"
    " WHERE held.company_id = ours.company_id AND held.person_id = ours.decided_by AND held.ended_at IS NULL)"
)
EVERY: LiteralString = "true"


@dataclass(frozen=True)
class Law:
    """What some database roles may do to a table."""

    verb: str
    roles: tuple[str, ...]
    rows: LiteralString
    needs: May | None
    columns: tuple[str, ...] = ()
    """Those that were granted; a minus before the first: all but those; none: all."""
    values: dict[str, LiteralString] = field(default_factory=dict[str, LiteralString])
    """INSERT: what of a copied row must be the actor's own, or fresh. UPDATE: the one change that is let through."""

    def covers(self, role: str, verb: str) -> bool:
        """Tell whether this is what a database role may do with a verb."""
        return self.verb == verb and role.removeprefix("operalta_") in self.roles

    def columns_of(self, all_columns: Iterable[str]) -> tuple[str, ...]:
        """Return the columns that the law grants."""
        named = {column.removeprefix("-") for column in self.columns}
        if not self.columns:
            return tuple(all_columns)
        hides = self.columns[0].startswith("-")
        return tuple(column for column in all_columns if (column in named) != hides)


def read(roles: str, rows: LiteralString, needs: May | None = None, columns: str = "") -> Law:
    """Let roles read rows."""
    return Law(SELECT, tuple(roles.split()), rows, needs, tuple(columns.split()))


def add(roles: str, rows: LiteralString, needs: May | None, columns: str, **values: LiteralString) -> Law:
    """Let roles add a copy of one of these rows, with values (SQL over the copied row) in place of its own."""
    return Law(INSERT, tuple(roles.split()), rows, needs, tuple(columns.split()), values)


def change(roles: str, rows: LiteralString, needs: May | None, columns: str, **values: LiteralString) -> Law:
    """Let roles change rows: to `values`, or to anything where none are given."""
    return Law(UPDATE, tuple(roles.split()), rows, needs, tuple(columns.split()), values)


def delete(roles: str, rows: LiteralString, needs: May | None = None) -> Law:
    """Let roles delete rows."""
    return Law(DELETE, tuple(roles.split()), rows, needs)


BOTH: Final = "web worker"
FRESH: LiteralString = "gen_random_uuid()"
SELF: LiteralString = "%(self)s::uuid"
SELF_RUN: LiteralString = "%(self_run)s::uuid"
SELF_READER: LiteralString = "(SELECT %(self)s::uuid WHERE %(reader)s::uuid IS NOT NULL)"
KEY: LiteralString = "%(key)s::uuid"
COLLEAGUES: LiteralString = (
    "id = %(person)s OR id IN (SELECT person_id FROM tenancy.memberships"
    " WHERE company_id = %(company)s AND %(sees_colleagues)s)"
)
CLOSED: tuple[Law, ...] = ()
"""Only definer functions reach it."""

QUEUE: tuple[Law, ...] = (
    read("dispatch", EVERY),
    add("dispatch", EVERY, None, "", id="id + 1000000"),
    change("dispatch", EVERY, None, ""),
    delete("dispatch", EVERY),
)


def _artifacts(roles: str, rows: LiteralString) -> tuple[Law, ...]:
    return (
        read(roles, rows, May.FILES_READ),
        add(
            roles,
            rows,
            May.FILES_WRITE,
            "-version created_at updated_at archived_at words",
            id=FRESH,
            private_to=SELF_READER,
            created_by=SELF,
            changed_by=SELF,
            run_id=SELF_RUN,
            api_key_id=KEY,
        ),
        change(
            roles,
            rows,
            May.FILES_WRITE,
            "title content note changed_by run_id api_key_id approval_id updated_at archived_at",
            changed_by=SELF,
            run_id=SELF_RUN,
            api_key_id=KEY,
        ),
    )


LAWS: Final[dict[str, tuple[Law, ...]]] = {
    # ── The deployment's own ──────────────────────────────────────────────────────────────────────────
    "scope.key": CLOSED,
    "public.alembic_version": CLOSED,
    "access.role_permissions": (read("verifier", EVERY),),
    "assurance.evidence": (read("web verifier", EVERY), add("verifier", EVERY, None, "document")),
    "audit.nodes": (read("web verifier", EVERY),),
    "audit.heads": (read("web verifier", EVERY),),
    # The queue holds ids and no content.
    "jobs.procrastinate_jobs": QUEUE,
    "jobs.procrastinate_events": QUEUE,
    "jobs.procrastinate_workers": QUEUE,
    "jobs.procrastinate_periodic_defers": (
        *(law for law in QUEUE if law.verb != INSERT),
        add("dispatch", EVERY, None, "", id="id + 1000000", defer_timestamp="defer_timestamp + 1"),
    ),
    # ── People: everybody sees themselves, and the names of those they share a company with ───────────
    "identity.people": (read(BOTH, COLLEAGUES, None, "-email_key disabled_at"),),
    "identity.sessions": (
        read(
            "web",
            OWN,
            None,
            "id person_id created_at last_seen_at user_agent address idle_expires_at absolute_expires_at ended_at"
            " ended_reason",
        ),
    ),
    "identity.sign_in_history": (read("web", OWN),),
    "identity.staff": (read("web", OWN),),
    "identity.phones": (read("web", OWN),),
    "identity.authenticators": (read("web", OWN, None, "-sealed last_step"),),
    "identity.passkeys": (read("web", OWN, None, "-credential_id public_key sign_count transports"),),
    "identity.recovery_codes": (read("web", OWN, None, "-id digest"),),
    "identity.passwords": CLOSED,
    "identity.pending_sign_ups": CLOSED,
    "identity.links": CLOSED,
    "identity.tickets": CLOSED,
    "identity.codes": CLOSED,
    "identity.challenges": CLOSED,
    "identity.factor_attempts": CLOSED,
    "identity.trusted_devices": CLOSED,
    "delivery.messages": CLOSED,
    "delivery.outbox": (read("web", "%(operator)s"),),
    # ── The company and its people ────────────────────────────────────────────────────────────────────
    "tenancy.companies": (read(BOTH, "id = %(company)s"),),
    "tenancy.staff_access": (read("web", COMPANYS, May.MEMBERS_READ),),
    "tenancy.memberships": (
        read(BOTH, COMPANYS, May.MEMBERS_READ),
        change(
            "web", COMPANYS + " AND person_id <> %(person)s AND ended_at IS NULL", May.MEMBERS_MANAGE, "role ended_at"
        ),
    ),
    "tenancy.invitations": (
        read("web", COMPANYS, May.MEMBERS_INVITE),
        add(
            "web",
            COMPANYS,
            May.MEMBERS_INVITE,
            "company_id id email email_key role invited_by",
            id=FRESH,
            invited_by=SELF,
        ),
        change(
            "web",
            COMPANYS + " AND accepted_at IS NULL AND revoked_at IS NULL",
            May.MEMBERS_INVITE,
            "revoked_at",
            revoked_at="now()",
        ),
    ),
    # Keys are for people in a session of their own: one's own, and all of them for those who manage the company's.
    "credentials.api_keys": (
        read(
            "web",
            COMPANYS + " AND (%(manages_keys)s OR (kind = 'personal' AND holder_id = %(account)s))"
            " AND %(account)s::uuid IS NOT NULL",
            May.KEYS_USE,
            "-digest previous_digest previous_holder_id",
        ),
    ),
    "audit.events": (read("web", COMPANYS, May.AUDIT_READ),),
    "audit.leaves": (read("web", COMPANYS, May.AUDIT_READ),),
    # Made, changed, used and ended by functions alone.
    "credentials.oauth_clients": (read(BOTH, COMPANYS, May.INTEGRATIONS_READ),),
    "credentials.integrations": (read(BOTH, COMPANYS, May.INTEGRATIONS_READ),),
    "credentials.connections": (read(BOTH, COMPANYS, May.INTEGRATIONS_READ, "-refresh_digest"),),
    "credentials.oauth_states": CLOSED,
    "credentials.oauth_revocations": CLOSED,
    # The same; addresses of receivers hold secrets of theirs at times.
    "credentials.webhook_endpoints": (read("web", COMPANYS, May.INTEGRATIONS_READ, "-url"),),
    "credentials.webhook_deliveries": (read("web", COMPANYS, May.INTEGRATIONS_READ, "-claim"),),
    "credentials.inbound_hooks": (read("web", COMPANYS, May.INTEGRATIONS_READ, "-digest"),),
    "credentials.inbound_messages": (read("web", COMPANYS, May.INTEGRATIONS_READ),),
    "credentials.inbound_seen": CLOSED,
    # Kept, replaced, opened and removed by functions alone; nobody reads the bytes.
    "credentials.secrets": (read(BOTH, COMPANYS, May.INTEGRATIONS_READ, "-sealed"),),
    # ── Its memory ────────────────────────────────────────────────────────────────────────────────────
    "workspace.records": (
        read(BOTH, COMPANYS, May.MEMORY_READ),
        add(
            BOTH,
            COMPANYS,
            May.MEMORY_WRITE,
            "-superseded_by_id created_at updated_at words",
            id=FRESH,
            recorded_by=SELF,
            run_id=SELF_RUN,
        ),
        change(BOTH, COMPANYS, May.MEMORY_WRITE, "status superseded_by_id updated_at"),
    ),
    "workspace.record_links": (
        read(BOTH, COMPANYS, May.MEMORY_READ),
        add(
            BOTH,
            COMPANYS,
            May.MEMORY_WRITE,
            "-at",
            relation="'blocks'",
            linked_by=SELF,
            run_id=SELF_RUN,
        ),
        delete("web", COMPANYS, May.MEMORY_WRITE),
    ),
    "workspace.record_history": (
        read(BOTH, COMPANYS, May.MEMORY_READ),
        add(BOTH, COMPANYS, May.MEMORY_WRITE, "-id at", person_id=SELF, run_id=SELF_RUN),
    ),
    "workspace.metrics": (
        read(BOTH, COMPANYS, May.METRICS_READ),
        add(
            BOTH,
            COMPANYS,
            May.METRICS_WRITE,
            "-created_at",
            id=FRESH,
            slug="'m' || left(slug, 40)",
            created_by=SELF,
        ),
        change(BOTH, COMPANYS, May.METRICS_WRITE, "name definition unit source"),
    ),
    "workspace.metric_points": (
        read(BOTH, COMPANYS, May.METRICS_READ),
        add(
            BOTH,
            COMPANYS,
            May.METRICS_WRITE,
            "-recorded_at",
            on_date="on_date + 1",
            recorded_by=SELF,
            run_id=SELF_RUN,
        ),
        change(
            BOTH,
            COMPANYS,
            May.METRICS_WRITE,
            "value note recorded_by run_id recorded_at",
            recorded_by=SELF,
            run_id=SELF_RUN,
        ),
    ),
    "workspace.files": (
        read(BOTH, COMPANYS, May.FILES_READ),
        add(
            BOTH,
            COMPANYS,
            May.FILES_WRITE,
            "-version created_at changed_at deleted_at reading",
            id=FRESH,
            path="'new ' || path",
            changed_by=SELF,
            run_id=SELF_RUN,
        ),
        change(
            BOTH,
            COMPANYS,
            May.FILES_WRITE,
            "-company_id id created_at",
            changed_by=SELF,
            run_id=SELF_RUN,
        ),
        # For good, from the bin alone, and never by a run.
        delete("web", COMPANYS + " AND deleted_at IS NOT NULL", May.FILES_WRITE),
    ),
    "workspace.file_versions": (
        read(BOTH, COMPANYS, May.FILES_READ),
        add(BOTH, COMPANYS, May.FILES_WRITE, "-at", version="version + 1", changed_by=SELF, run_id=SELF_RUN),
    ),
    "workspace.passages": (
        read(BOTH, COMPANYS, May.FILES_READ),
        add(BOTH, COMPANYS, May.FILES_WRITE, "-words", position="position + 1"),
        delete(BOTH, COMPANYS, May.FILES_WRITE),
    ),
    # ── Conversations, and what agents do in them: private ones are their owner's alone ───────────────
    "workspace.conversations": (
        read(BOTH, SHARED, May.AGENTS_RUN),
        add("web", SHARED, May.AGENTS_RUN, "-created_at updated_at", id=FRESH, created_by=SELF, private_to=SELF_READER),
        change(BOTH, SHARED, May.AGENTS_RUN, "title updated_at"),
    ),
    # A run in a conversation that is open to the company is shown nothing private.
    "workspace.artifacts": (*_artifacts("web", SHARED), *_artifacts("worker", IN_CONFIDENCE)),
    # A trigger writes them, whatever changed the text.
    "workspace.artifact_versions": (
        read("web", SHARED, May.FILES_READ),
        read("worker", IN_CONFIDENCE, May.FILES_READ),
    ),
    "workspace.messages": (
        read(BOTH, SHARED, May.AGENTS_RUN),
        add(
            BOTH,
            SHARED,
            May.AGENTS_RUN,
            "-created_at words",
            id=FRESH,
            person_id=SELF,
            run_id=SELF_RUN,
            api_key_id=KEY,
            author_kind="CASE WHEN %(self_run)s::uuid IS NULL THEN 'person' ELSE 'agent' END",
        ),
    ),
    "agents.agents": (
        read(BOTH, COMPANYS, May.AGENTS_READ),
        add(
            "web",
            COMPANYS,
            May.AGENTS_MANAGE,
            "company_id id slug name purpose instructions tools limits directories",
            id=FRESH,
            slug="slug || '-two'",
        ),
        change("web", COMPANYS, May.AGENTS_MANAGE, "name purpose instructions tools limits directories updated_at"),
    ),
    # A trigger writes them, whatever changed the agent.
    "agents.agent_versions": (read(BOTH, COMPANYS, May.AGENTS_READ),),
    # Allowed and withdrawn by a function alone.
    "agents.allowed_routes": (read(BOTH, COMPANYS, May.AGENTS_READ),),
    "agents.approval_rules": CLOSED,
    "agents.approval_mail": CLOSED,
    "agents.day_limits": CLOSED,
    "agents.day_use": CLOSED,
    "agents.allowed_regions": (read(BOTH, COMPANYS, May.AGENTS_READ),),
    # Without content: whoever may read the audit log sees all of it. A run writes its own lines, and ends each once.
    "agents.model_requests": (
        read("web", COMPANYS, May.AUDIT_READ),
        read("worker", OF_RUN, May.AGENTS_RUN),
        add(
            "worker",
            OF_RUN,
            May.AGENTS_RUN,
            "-asked_at input_tokens output_tokens cost_micros estimated_tokens",
            id=FRESH,
            run_id=SELF_RUN,
        ),
        change(
            "worker",
            OF_RUN + " AND outcome = 'asked'",
            May.AGENTS_RUN,
            "ended_at outcome reason input_tokens output_tokens cost_micros estimated_tokens",
            ended_at="now()",
            outcome="'answered'",
        ),
    ),
    "agents.runs": (
        read(BOTH, SHARED, May.AGENTS_RUN, "-claim_digest claim_expires_at"),
        change("web", SHARED + " AND person_id = %(person)s", May.AGENTS_RUN, "stop_requested_at"),
        change("worker", COMPANYS + " AND id = %(run)s", May.AGENTS_RUN, "status finished_at failure limit_reached"),
    ),
    # Made, changed, begun and ended by functions alone.
    "agents.schedules": (read("web", SHARED, May.AGENTS_RUN),),
    "agents.run_events": (
        read(BOTH, SHARED, May.AGENTS_RUN),
        add("worker", OF_RUN, May.AGENTS_RUN, "-at", run_id=SELF_RUN, sequence="sequence + 1"),
    ),
    "agents.tool_calls": (
        read(BOTH, SHARED, May.AGENTS_RUN),
        add(
            "worker",
            OF_RUN,
            May.AGENTS_RUN,
            "-status result started_at done_at",
            run_id=SELF_RUN,
            call_id="'another'",
        ),
        change("worker", OF_RUN + " AND status = 'started'", May.AGENTS_RUN, "status result done_at"),
    ),
    "agents.approvals": (
        read(BOTH, SHARED, May.APPROVALS_READ),
        # An agent asks; it can neither decide nor ask as decided already.
        add(
            "worker",
            OF_RUN,
            May.AGENTS_RUN,
            "-asked_at decision decided_by decided_session decided_at consumed_at mailed_at answer",
            id=FRESH,
            run_id=SELF_RUN,
            requester_id=SELF,
            call_id="'another'",
        ),
        change(
            "web",
            SHARED + " AND decision IS NULL",
            May.APPROVALS_DECIDE,
            "decision decided_by decided_session decided_at answer",
            decision="'once'",
            decided_by=SELF,
            decided_session="%(session_id)s::uuid",
            decided_at="now()",
        ),
        # Not where whoever decided could not decide now.
        change("worker", OF_RUN + GIVEN_BY_A_DECIDER, May.AGENTS_RUN, "consumed_at", consumed_at="now()"),
    ),
    "agents.grants": (
        read(BOTH, SHARED, May.APPROVALS_READ),
        # Only in the transaction in which the person decides in this way themselves: none of these copies.
        add(
            "web",
            COMPANYS + " AND given_by = %(person)s AND given_at = now()",
            May.APPROVALS_DECIDE,
            "-id given_at revoked_at",
            given_by=SELF,
        ),
        change("web", SHARED, May.APPROVALS_DECIDE, "revoked_at", revoked_at="now()"),
    ),
    "sandbox.egress_log": (
        read("web", SHARED, May.AUDIT_READ),
        add("worker", OF_RUN, May.AGENTS_RUN, "-id at", run_id=SELF_RUN, person_id=SELF),
    ),
}

BEYOND_COMPANIES: Final[dict[tuple[str, str], str]] = {
    ("bare operalta_dispatch", "jobs.procrastinate_jobs"): "It takes every run from the queue, which holds ids alone.",
    (
        "operator outside any company",
        "delivery.outbox",
    ): "Mail that does not leave, on a deployment that is being tried.",
}
"""Who may see rows of more than one company, and why. Nobody else ever does, whatever the law above says."""
