"""What each role of the database may do: everything that is granted, and nothing else (clause 7.2.3).

The policy check compares this with the catalogue both ways, so a grant in a migration and a line here come together.
Verbs read as in GRANT: `SELECT, UPDATE (name)`. A table without columns is granted as a whole. Functions go by their
name alone, since no two of a schema may share one. Row policies narrow all of this to the rows of the scope.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from operalta.db.elevated_flows import FLOWS
from operalta.settings import DatabaseRole

SCHEMAS = (
    "access",  # the copy of the role templates
    "agents",
    "assurance",
    "audit",
    "credentials",  # API keys, sealed secrets, connections and integrations
    "delivery",
    "elevated",  # functions for scheduled work and for support, each with its purpose
    "identity",
    "jobs",  # the queue, as its library made it
    "sandbox",
    "scope",  # opening and verifying scopes; what policies call
    "signin",  # functions for visitors
    "tenancy",
    "workspace",
)
"""Every schema of ours. `public` holds the number of the last migration alone, and only the owner gets in there."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What one role may use: schemas, and in them tables with verbs, sequences, and functions by schema."""

    schemas: str = ""
    tables: Mapping[str, str] = field(default_factory=dict[str, str])
    sequences: str = ""
    functions: Mapping[str, str] = field(default_factory=dict[str, str])


# ── The queue's own functions and tables, as its library made them ────────────────────────────────────
_QUEUE_FUNCTIONS = """
    procrastinate_cancel_job_v1 procrastinate_defer_jobs_v1 procrastinate_defer_periodic_job_v2
    procrastinate_fetch_job_v2 procrastinate_finish_job_v1 procrastinate_notify_queue_abort_job_v1
    procrastinate_notify_queue_job_inserted_v1 procrastinate_prune_stalled_workers_v1 procrastinate_register_worker_v1
    procrastinate_retry_job_v1 procrastinate_retry_job_v2 procrastinate_trigger_abort_requested_events_procedure_v1
    procrastinate_trigger_function_scheduled_events_v1 procrastinate_trigger_function_status_events_insert_v1
    procrastinate_trigger_function_status_events_update_v1 procrastinate_unlink_periodic_defers_v1
    procrastinate_unregister_worker_v1 procrastinate_update_heartbeat_v1
"""
_QUEUE_SEQUENCES = """
    jobs.procrastinate_events_id_seq jobs.procrastinate_jobs_id_seq jobs.procrastinate_periodic_defers_id_seq
    jobs.procrastinate_workers_id_seq
"""
_SCOPE_READING = """
    scope_company scope_company_kind scope_is_operator scope_key scope_kind scope_person scope_reader scope_role
    scope_run scope_session session_person
"""

# ── Visitors who sign in: narrow functions, no table at all ───────────────────────────────────────────
SIGNIN = Rights(
    schemas="signin",
    functions={
        "signin": """
            accept_authenticator accept_code accept_passkey add_authenticator add_passkey bearer become_operator
            become_operator_signed_in change_password confirm_address confirm_authenticator credentials
            credentials_of_session end_session finish_reset finish_sign_in invitation is_proved keep_challenge
            knows_device may_enrol_phone must_prove operator_link_holds passkey passkey_owner phone_number
            prove_password record_refusal record_wrong_code rehash remove_factor replace_recovery_codes
            request_password_reset reset_password rotate_session send_code send_enrolment_code sign_in_with_passkey
            sign_up sign_up_invited start_session take_challenge trust_device try_authenticator try_code
            use_recovery_code waiting_authenticator ways
        """,
    },
)

# ── People who are signed in, alone or in a company ───────────────────────────────────────────────────
WEB = Rights(
    schemas="agents assurance audit credentials delivery identity sandbox scope tenancy workspace",
    tables={
        "agents.agent_versions": "SELECT",
        "agents.agents": (
            "SELECT, INSERT (company_id, directories, id, instructions, limits, name, purpose, slug, tools), "
            "UPDATE (directories, instructions, limits, name, purpose, tools, updated_at)"
        ),
        "agents.allowed_regions": "SELECT",
        "agents.allowed_routes": "SELECT",
        "agents.approvals": "SELECT, UPDATE (answer, decided_at, decided_by, decided_session, decision)",
        "agents.grants": (
            "SELECT, INSERT (approval_id, argument_shape, company_id, conversation_id, given_by, private_to, "
            "requester_id, tool, tool_hash), UPDATE (revoked_at)"
        ),
        "agents.model_requests": "SELECT",
        "agents.run_events": "SELECT",
        "agents.runs": (
            "SELECT (agent_id, api_key_id, attempts, company_id, continued, conversation_id, created_at, due_at, "
            "failure, finished_at, id, limit_reached, message_id, origin, parent_call_id, parent_run_id, person_id, "
            "private_to, queued_at, retry_of, route, schedule_id, session_id, started_at, status, stop_requested_at, "
            "task), "
            "UPDATE (stop_requested_at)"
        ),
        "agents.schedules": "SELECT",
        "agents.tool_calls": "SELECT",
        "assurance.evidence": "SELECT",
        "audit.events": (
            "SELECT (action, actor_kind, actor_person_id, actor_run_id, company_id, company_number, detail, id, "
            "leaf_index, occurred_at, origin, outcome, request_id, salt, target_id, target_kind)"
        ),
        "audit.heads": "SELECT",
        "audit.leaves": "SELECT",
        "audit.nodes": "SELECT",
        "credentials.api_keys": (
            "SELECT (addresses, company_id, created_at, created_by, expires_at, holder_id, id, is_held, kind, "
            "last_used_at, last_used_from, name, previous_expires_at, previous_shown, refused_at, revoked_at, "
            "revoked_by, rotated_at, scopes, shown)"
        ),
        "credentials.connections": (
            "SELECT (account, asked_scopes, at_provider, company_id, connected_at, expires_at, failed_at, failure, "
            "generation, granted_scopes, id, kept_access_id, kept_refresh_id, last_used_at, not_before, "
            "oauth_client_id, person_id, refresh_until, refreshed_at, revoked_at, status)"
        ),
        "credentials.inbound_hooks": (
            "SELECT (company_id, created_at, holder_id, id, is_on, kept_id, made_by, name, off_because, "
            "previous_kept_id, previous_seen_by, previous_until, received_at, refused_at, rotated_at, scheme, seen_by, "
            "shown, switched_at)"
        ),
        "credentials.inbound_messages": "SELECT",
        "credentials.integrations": "SELECT",
        "credentials.oauth_clients": "SELECT",
        "credentials.secrets": (
            "SELECT (belongs_to, company_id, created_at, id, key_version, kind, replaced_at, revision)"
        ),
        "credentials.webhook_deliveries": (
            "SELECT (attempted_at, attempts, claimed_until, company_id, created_at, endpoint_id, event, failure, "
            "finished_at, id, last_status, next_at, occurred_at, replayed_at, replayed_by, status, subject_id, "
            "subject_kind)"
        ),
        "credentials.webhook_endpoints": (
            "SELECT (changed_at, company_id, created_at, destination, dropped, dropped_at, events, failing_since, "
            "holder_id, id, is_on, kept_id, last_attempt_at, last_failure, last_status, last_success_at, made_by, "
            "name, off_because, previous_kept_id, previous_seen_by, previous_until, rotated_at, seen_by, switched_at)"
        ),
        "delivery.outbox": "SELECT",
        "identity.authenticators": "SELECT (confirmed_at, created_at, id, last_used_at, name, person_id)",
        "identity.passkeys": "SELECT (created_at, id, last_used_at, name, person_id)",
        "identity.people": "SELECT (created_at, email, id, is_operator, name, verified_at)",
        "identity.phones": "SELECT (created_at, id, last_used_at, number, person_id)",
        "identity.recovery_codes": "SELECT (created_at, person_id, used_at)",
        "identity.sessions": (
            "SELECT (absolute_expires_at, address, created_at, ended_at, ended_reason, id, idle_expires_at, "
            "last_seen_at, person_id, user_agent)"
        ),
        "identity.sign_in_history": "SELECT",
        "identity.staff": "SELECT",
        "sandbox.egress_log": "SELECT",
        "tenancy.companies": "SELECT",
        "tenancy.invitations": (
            "SELECT, INSERT (company_id, email, email_key, id, invited_by, role), UPDATE (revoked_at)"
        ),
        "tenancy.memberships": "SELECT, UPDATE (ended_at, role)",
        "tenancy.staff_access": "SELECT",
        "workspace.artifact_versions": "SELECT",
        "workspace.artifacts": (
            "SELECT, INSERT (api_key_id, approval_id, changed_by, company_id, content, conversation_id, created_by, "
            "id, kind, note, private_to, run_id, title), "
            "UPDATE (api_key_id, approval_id, archived_at, changed_by, content, note, run_id, title, updated_at)"
        ),
        "workspace.conversations": (
            "SELECT, INSERT (company_id, created_by, id, private_to, title), UPDATE (title, updated_at)"
        ),
        "workspace.file_versions": "SELECT, INSERT (changed_by, company_id, file_id, run_id, sha256, size, version)",
        "workspace.files": (
            "SELECT, DELETE, INSERT (changed_by, company_id, content_type, id, origin, path, run_id, sha256, size), "
            "UPDATE (changed_at, changed_by, content_type, deleted_at, origin, path, reading, run_id, sha256, "
            "size, version)"
        ),
        "workspace.messages": (
            "SELECT, INSERT (api_key_id, author_kind, body, company_id, conversation_id, id, idempotency_key, "
            "person_id, private_to, run_id)"
        ),
        "workspace.metric_points": (
            "SELECT, INSERT (company_id, metric_id, note, on_date, recorded_by, run_id, value), "
            "UPDATE (note, recorded_at, recorded_by, run_id, value)"
        ),
        "workspace.metrics": (
            "SELECT, INSERT (company_id, created_by, definition, id, name, slug, source, unit), "
            "UPDATE (definition, name, source, unit)"
        ),
        "workspace.passages": "SELECT, DELETE, INSERT (body, company_id, file_id, heading, position)",
        "workspace.record_history": (
            "SELECT, INSERT (after, before, change, company_id, note, person_id, record_id, run_id)"
        ),
        "workspace.record_links": (
            "SELECT, INSERT (company_id, linked_by, linked_id, record_id, relation, run_id), DELETE"
        ),
        "workspace.records": (
            "SELECT, INSERT (approval_id, body, company_id, evidence, id, kind, owner_id, recorded_by, run_id, status, "
            "supersedes_id, title), UPDATE (status, superseded_by_id, updated_at)"
        ),
    },
    functions={
        "agents": """
            allow_routes approval_rules_here change_approval_rule change_day_limits choose_approval_mail choose_route
            continue_run day_here keep_schedule own_approval_mail remove_schedule resume_run retire_agent retry_run
            run_schedule_now start_run switch_schedule
        """,
        "audit": "append chain_state",
        "credentials": """
            begin_connection change_client change_integration change_webhook claim_refresh end_refresh
            hold_company_key hold_key_of_refresh keep_connection keep_inbound_message keep_secret make_api_key
            make_inbound_hook make_integration make_webhook note_drift note_integration note_key_use note_refresh
            note_requests open_inbound_hook open_secret refuse_inbound_message register_client remove_client
            remove_inbound_hook remove_integration remove_secret remove_webhook replace_secret replay_webhook
            revoke_api_key revoke_connection rotate_api_key rotate_inbound_hook rotate_webhook switch_inbound_hook
            switch_integration switch_webhook take_state taken_state use_connection use_integration
        """,
        "delivery": "note_receipt send_invitation send_verification",
        "identity": "end_sessions own_password_changed_at own_staff_roles",
        "scope": """
            classes_to_decide colleagues company_permitting decision_stands is_company_member_with_role may may_grant
            open_key_scope open_person_scope open_scope open_staff_scope part prepare recently_proved roles_permitted
            scope_company scope_is_operator scope_key scope_kind scope_person scope_reader scope_run scope_session
            session_person
        """,
        "tenancy": """
            accept_invitation companies_for_staff end_staff_access found_company leave my_companies open_staff_access
            own_staff_access transfer_ownership
        """,
        "workspace": "open_artifact search_artifacts search_messages search_passages search_records",
    },
)

# ── Agents at work: what their person may, and the notes of their run ─────────────────────────────────
WORKER = Rights(
    schemas="agents audit credentials identity sandbox scope tenancy workspace",
    tables={
        "agents.agent_versions": "SELECT",
        "agents.agents": "SELECT",
        "agents.allowed_regions": "SELECT",
        "agents.allowed_routes": "SELECT",
        "agents.approvals": (
            "SELECT, INSERT (after, agent_id, argument_shape, arguments, arguments_sha256, before, call_id, card_id, "
            "company_id, conversation_id, expires_at, id, private_to, reasons, requester_id, run_id, tool, "
            "tool_class, tool_hash), UPDATE (consumed_at)"
        ),
        "agents.grants": "SELECT",
        "agents.model_requests": (
            "SELECT, INSERT (agent_id, company_id, ended_at, host, id, model, outcome, "
            "provider, reason, region, route, run_id), UPDATE (cost_micros, ended_at, estimated_tokens, input_tokens, "
            "outcome, output_tokens, reason)"
        ),
        "agents.run_events": "SELECT, INSERT (body, company_id, kind, private_to, run_id, sequence, worked_ms)",
        "agents.runs": (
            "SELECT (agent_id, api_key_id, attempts, company_id, continued, conversation_id, created_at, due_at, "
            "failure, finished_at, id, limit_reached, message_id, origin, parent_call_id, parent_run_id, person_id, "
            "private_to, queued_at, retry_of, route, schedule_id, session_id, started_at, status, stop_requested_at, "
            "task), "
            "UPDATE (failure, finished_at, limit_reached, status)"
        ),
        "agents.tool_calls": (
            "SELECT, INSERT (arguments_sha256, call_id, company_id, private_to, run_id, tool), "
            "UPDATE (done_at, result, status)"
        ),
        "credentials.connections": (
            "SELECT (account, asked_scopes, at_provider, company_id, connected_at, expires_at, failed_at, failure, "
            "generation, granted_scopes, id, kept_access_id, kept_refresh_id, last_used_at, not_before, "
            "oauth_client_id, person_id, refresh_until, refreshed_at, revoked_at, status)"
        ),
        "credentials.integrations": "SELECT",
        "credentials.oauth_clients": "SELECT",
        "credentials.secrets": (
            "SELECT (belongs_to, company_id, created_at, id, key_version, kind, replaced_at, revision)"
        ),
        "identity.people": "SELECT (created_at, email, id, is_operator, name, verified_at)",
        "sandbox.egress_log": (
            "INSERT (address, bytes, company_id, destination, method, milliseconds, outcome, person_id, private_to, "
            "purpose, run_id)"
        ),
        "tenancy.companies": "SELECT",
        "tenancy.memberships": "SELECT",
        "workspace.artifact_versions": "SELECT",
        "workspace.artifacts": (
            "SELECT, INSERT (api_key_id, approval_id, changed_by, company_id, content, conversation_id, created_by, "
            "id, kind, note, private_to, run_id, title), "
            "UPDATE (api_key_id, approval_id, archived_at, changed_by, content, note, run_id, title, updated_at)"
        ),
        "workspace.conversations": "SELECT, UPDATE (title, updated_at)",
        "workspace.file_versions": "SELECT, INSERT (changed_by, company_id, file_id, run_id, sha256, size, version)",
        "workspace.files": (
            "SELECT, INSERT (changed_by, company_id, content_type, id, origin, path, run_id, sha256, size), "
            "UPDATE (changed_at, changed_by, content_type, deleted_at, origin, path, reading, run_id, sha256, "
            "size, version)"
        ),
        "workspace.messages": (
            "SELECT, INSERT (api_key_id, author_kind, body, company_id, conversation_id, id, idempotency_key, "
            "person_id, private_to, run_id)"
        ),
        "workspace.metric_points": (
            "SELECT, INSERT (company_id, metric_id, note, on_date, recorded_by, run_id, value), "
            "UPDATE (note, recorded_at, recorded_by, run_id, value)"
        ),
        "workspace.metrics": (
            "SELECT, INSERT (company_id, created_by, definition, id, name, slug, source, unit), "
            "UPDATE (definition, name, source, unit)"
        ),
        "workspace.passages": "SELECT, DELETE, INSERT (body, company_id, file_id, heading, position)",
        "workspace.record_history": (
            "SELECT, INSERT (after, before, change, company_id, note, person_id, record_id, run_id)"
        ),
        "workspace.record_links": "SELECT, INSERT (company_id, linked_by, linked_id, record_id, relation, run_id)",
        "workspace.records": (
            "SELECT, INSERT (approval_id, body, company_id, evidence, id, kind, owner_id, recorded_by, run_id, status, "
            "supersedes_id, title), UPDATE (status, superseded_by_id, updated_at)"
        ),
    },
    functions={
        "agents": "day_here start_child_run",
        "audit": "append",
        "credentials": """
            claim_refresh end_refresh hold_company_key hold_key_of_refresh keep_secret note_drift note_integration
            note_refresh note_requests open_secret remove_secret replace_secret use_connection use_integration
        """,
        "scope": """
            colleagues company_permitting decision_stands decisions_to_use is_company_member_with_role may
            open_run_scope part roles_permitted scope_company scope_key scope_kind scope_person scope_reader scope_run
        """,
        "workspace": "search_artifacts search_messages search_passages search_records",
    },
)

# ── The dispatcher: the queue, and ids of runs; no content ────────────────────────────────────────────
_QUEUE_VERBS = "SELECT, INSERT, UPDATE, DELETE"
DISPATCH = Rights(
    schemas="agents jobs",
    tables={
        "jobs.procrastinate_events": _QUEUE_VERBS,
        "jobs.procrastinate_jobs": _QUEUE_VERBS,
        "jobs.procrastinate_periodic_defers": _QUEUE_VERBS,
        "jobs.procrastinate_workers": _QUEUE_VERBS,
    },
    sequences=_QUEUE_SEQUENCES,
    functions={"agents": "abandon_run claim_run keep_claim release_claim rescue_runs", "jobs": _QUEUE_FUNCTIONS},
)

# ── Scheduled work: the elevated functions that are for it, by their own list ─────────────────────────
JOB = Rights(
    schemas="elevated",
    functions={"elevated": " ".join(sorted(flow.function for flow in FLOWS if flow.scheduled))},
)

# ── Backups copy files of the server; verification reads the catalogue, hashes and role templates ──────
BACKUP = Rights()
VERIFIER = Rights(
    schemas="access assurance audit",
    tables={
        "access.role_permissions": "SELECT",
        "assurance.evidence": "SELECT, INSERT (document)",
        "audit.heads": "SELECT",
        "audit.nodes": "SELECT",
    },
    functions={"audit": "chain_state"},
)

# ── What runs inside definer functions. Nobody connects as this role ──────────────────────────────────
DEFINER_RIGHTS = Rights(
    schemas=" ".join(SCHEMAS),
    sequences=_QUEUE_SEQUENCES,
    functions={"jobs": _QUEUE_FUNCTIONS, "scope": _SCOPE_READING},
)
DEFINER_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
"""What it may do on every table of ours: scope.guard_table() grants it, and policies of its own let it see all rows."""

DECLARED: Mapping[str, Rights] = MappingProxyType(
    {
        DatabaseRole.SIGNIN.value: SIGNIN,
        DatabaseRole.WEB.value: WEB,
        DatabaseRole.WORKER.value: WORKER,
        DatabaseRole.DISPATCH.value: DISPATCH,
        DatabaseRole.JOB.value: JOB,
        DatabaseRole.BACKUP.value: BACKUP,
        DatabaseRole.VERIFIER.value: VERIFIER,
    }
)
"""The rights of every role that connects while the deployment serves."""
