"""What fills every table, as the owner. A table that nothing here fills fails the matrix of tables."""

from typing import Final, LiteralString

OF_NOBODY: Final[tuple[LiteralString, ...]] = (
    """INSERT INTO audit.nodes (level, node_index, hash) VALUES (0, 0, sha256('node')) ON CONFLICT DO NOTHING""",
    """INSERT INTO audit.heads (size, document) VALUES (1, '{}') ON CONFLICT DO NOTHING""",
    """INSERT INTO assurance.evidence (document) VALUES ('{}')""",
    # The key is made by the first scope that is opened; this does the same.
    """SET LOCAL ROLE operalta_definer""",
    """SELECT scope.prepare()""",
    """RESET ROLE""",
    """INSERT INTO jobs.procrastinate_workers DEFAULT VALUES""",
    """INSERT INTO jobs.procrastinate_periodic_defers (task_name, defer_timestamp, periodic_id) VALUES ('seal', 1, '')
        ON CONFLICT DO NOTHING""",
)

OF_PERSON: Final[tuple[LiteralString, ...]] = (
    """INSERT INTO identity.people (id, email, email_key, name, verified_at)
        VALUES (%(person)s, %(email)s, %(email)s, %(canary)s || ' name', now())""",
    """INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash)
        VALUES (%(person)s, 'test', 1, %(canary)s || ' hash')""",
    """INSERT INTO identity.pending_sign_ups (id, email, email_key, name, scheme, pepper_version, hash)
        VALUES (%(pending)s, 'pending-' || %(email)s, 'pending-' || %(email)s, %(canary)s, 'test', 1, %(canary)s)""",
    """INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent, address,
            idle_expires_at, absolute_expires_at)
        VALUES (%(session)s, %(person)s, sha256(convert_to(%(secret)s || ' refresh', 'UTF8')),
            sha256(convert_to(%(secret)s, 'UTF8')), sha256(convert_to(%(secret)s || ' device', 'UTF8')), %(canary)s,
            '127.0.0.1', now() + interval '7 days', now() + interval '90 days')""",
    """INSERT INTO identity.links (id, purpose, digest, person_id, expires_at)
        VALUES (%(link)s, 'reset_password', sha256(convert_to(%(secret)s || ' link', 'UTF8')), %(person)s,
            now() + interval '1 hour')""",
    """INSERT INTO identity.sign_in_history (person_id, outcome, user_agent, address)
        VALUES (%(person)s, 'succeeded', %(canary)s, '127.0.0.1')""",
    """INSERT INTO identity.phones (person_id, number) VALUES (%(person)s, %(number)s)""",
    """INSERT INTO identity.authenticators (id, person_id, name, sealed, confirmed_at)
        VALUES (%(authenticator)s, %(person)s, %(canary)s, convert_to(%(canary)s, 'UTF8'), now())""",
    """INSERT INTO identity.passkeys (person_id, name, credential_id, public_key)
        VALUES (%(person)s, %(canary)s, convert_to(%(secret)s || ' passkey', 'UTF8'), convert_to(%(canary)s,
            'UTF8'))""",
    """INSERT INTO identity.recovery_codes (person_id, digest)
        VALUES (%(person)s, sha256(convert_to(%(secret)s || ' recovery', 'UTF8')))""",
    """INSERT INTO identity.tickets (id, digest, purpose, person_id, device_digest, seen_hash, user_agent, address)
        VALUES (%(ticket)s, sha256(convert_to(%(secret)s || ' ticket', 'UTF8')), 'sign_in', %(person)s,
            sha256(convert_to(%(secret)s || ' device', 'UTF8')), %(canary)s || ' hash', %(canary)s, '127.0.0.1')""",
    """INSERT INTO identity.codes (id, person_id, session_id, purpose, number, country)
        VALUES (%(code)s, %(person)s, %(session)s, 'step_up', %(number)s, 'US')""",
    """INSERT INTO identity.challenges (challenge, purpose, session_id, device_digest)
        VALUES (sha256(convert_to(%(secret)s || ' challenge', 'UTF8')), 'step_up', %(session)s,
            sha256(convert_to(%(secret)s || ' device', 'UTF8')))""",
    """INSERT INTO identity.factor_attempts (person_id, way, standing, device_digest)
        VALUES (%(person)s, 'phone', 'stranger', sha256(convert_to(%(secret)s || ' device', 'UTF8')))""",
    """INSERT INTO identity.trusted_devices (person_id, device_digest)
        VALUES (%(person)s, sha256(convert_to(%(secret)s || ' device', 'UTF8')))""",
    """INSERT INTO delivery.messages (id, kind, recipient, recipient_name, person_id)
        VALUES (%(message)s, 'reset_password', %(email)s, %(canary)s, %(person)s)""",
    """INSERT INTO delivery.outbox (message_id, recipient, subject, body)
        VALUES (%(message)s, %(email)s, %(canary)s, %(canary)s)""",
)

THE_COMPANY: Final[LiteralString] = """INSERT INTO tenancy.companies (id, slug, name, kind, founded_by)
    VALUES (%(company)s, %(slug)s, %(canary)s, %(kind)s, %(founder)s)"""

A_VISIT: Final[LiteralString] = """
INSERT INTO tenancy.staff_access (company_id, person_id, person_name, role, reason, expires_at, ended_at)
    VALUES (%(company)s, %(person)s, 'Visitor', %(role)s, %(canary)s, now() + interval '1 hour',
        CASE WHEN %(over)s THEN now() END)"""

A_KEY: Final[LiteralString] = """
INSERT INTO credentials.api_keys (company_id, id, kind, name, scopes, addresses, holder_id, digest, shown, created_by,
        created_at, expires_at)
    VALUES (%(company)s, %(key)s, %(kind)s, %(name)s, %(scopes)s, %(addresses)s::text[]::cidr[], %(holder)s,
        sha256(convert_to(%(text)s, 'UTF8')), %(shown)s, %(holder)s, now() - interval '1 hour',
        now() + %(life)s::interval)"""

# Its members are there already.
OF_COMPANY: Final[tuple[LiteralString, ...]] = (
    """INSERT INTO tenancy.invitations (company_id, id, email, email_key, role, invited_by)
        VALUES (%(company)s, %(invitation)s, %(canary)s || '@people.example', %(canary)s || '@people.example',
            'observer', %(founder)s)""",
    """INSERT INTO tenancy.invitations (company_id, id, email, email_key, role, invited_by, revoked_at)
        VALUES (%(company)s, %(revoked_invitation)s, %(canary)s || '@elsewhere.example',
            %(canary)s || '@elsewhere.example', 'observer', %(founder)s, now())""",
    """INSERT INTO identity.links (purpose, digest, company_id, invitation_id, expires_at)
        VALUES ('invitation', sha256(convert_to(%(canary)s || ' link', 'UTF8')), %(company)s, %(invitation)s,
            now() + interval '1 hour')""",
    """INSERT INTO delivery.messages (kind, recipient, company_id, invitation_id)
        VALUES ('invitation', %(canary)s || '@people.example', %(company)s, %(invitation)s)""",
    """INSERT INTO audit.events (id, company_id, actor_kind, actor_person_id, action, target_kind, target_id, outcome,
            detail, company_number, leaf_index)
        SELECT %(event)s, %(company)s, 'person', %(founder)s, 'test.filled', 'company', %(company)s, 'succeeded',
            jsonb_build_object('note', %(canary)s::text), 1, coalesce(max(leaf_index) + 1, 0) FROM audit.leaves""",
    """INSERT INTO audit.events (id, company_id, actor_kind, actor_person_id, action, target_kind, outcome)
        VALUES (%(unsealed_event)s, %(company)s, 'person', %(founder)s, 'test.waits', 'company', 'succeeded')""",
    """INSERT INTO audit.leaves (leaf_index, event_id, company_id, company_number, commitment)
        SELECT leaf_index, id, company_id, company_number, sha256(convert_to(%(canary)s, 'UTF8')) FROM audit.events
        WHERE id = %(event)s""",
    """INSERT INTO agents.agents (company_id, id, slug, name, purpose, instructions)
        VALUES (%(company)s, %(agent)s, 'chief-of-staff', %(canary)s, %(canary)s, %(canary)s)""",
    """INSERT INTO credentials.oauth_clients (company_id, id, provider, title, client_id, kept_id, registered_by)
        VALUES (%(company)s, %(oauth_client)s, 'github', %(canary)s, %(canary)s, gen_random_uuid(), %(founder)s)""",
    """INSERT INTO credentials.connections (company_id, id, oauth_client_id, person_id, account, refresh_digest)
        VALUES (%(company)s, %(connection)s, %(oauth_client)s, %(founder)s, %(canary)s,
            sha256(convert_to(%(canary)s, 'UTF8')))""",
    """INSERT INTO credentials.oauth_states (company_id, digest, oauth_client_id, person_id, session_id, scopes)
        VALUES (%(company)s, sha256(convert_to(%(canary)s || ' state', 'UTF8')), %(oauth_client)s, %(founder)s,
            (SELECT id FROM identity.sessions WHERE person_id = %(founder)s LIMIT 1), ARRAY[%(canary)s])""",
    """INSERT INTO credentials.oauth_revocations (company_id, connection_id, next_at)
        VALUES (%(company)s, %(connection)s, now() + interval '1 year')""",
    """INSERT INTO credentials.webhook_endpoints (company_id, id, name, url, destination, events, kept_id, made_by,
            holder_id)
        VALUES (%(company)s, %(webhook)s, %(canary)s, 'https://' || %(canary)s || '.example/hook',
            'https://' || %(canary)s || '.example', ARRAY['file.written'], gen_random_uuid(), %(founder)s,
            %(founder)s)""",
    """INSERT INTO credentials.webhook_deliveries (company_id, id, endpoint_id, event, subject_kind, subject_id,
            occurred_at, status, failure)
        VALUES (%(company)s, %(delivery)s, %(webhook)s, 'file.written', 'file', %(file)s, now(), 'dead', %(canary)s)""",
    """INSERT INTO credentials.inbound_hooks (company_id, id, name, scheme, digest, shown, made_by, holder_id)
        VALUES (%(company)s, %(hook)s, %(canary)s, 'github', sha256(convert_to(%(canary)s || ' hook', 'UTF8')), 'shown',
            %(founder)s, %(founder)s)""",
    """INSERT INTO credentials.inbound_messages (company_id, hook_id, source, body, size)
        VALUES (%(company)s, %(hook)s, 'github', to_jsonb(%(canary)s::text), 1)""",
    """INSERT INTO credentials.inbound_seen (company_id, hook_id, digest)
        VALUES (%(company)s, %(hook)s, sha256(convert_to(%(canary)s || ' seen', 'UTF8')))""",
    """INSERT INTO credentials.secrets (company_id, id, kind, belongs_to, sealed)
        VALUES (%(company)s, gen_random_uuid(), 'service_api_key', gen_random_uuid(),
            decode('0100000001', 'hex') || convert_to(rpad(%(canary)s, 60, '.'), 'UTF8'))""",
    """INSERT INTO credentials.integrations (company_id, id, slug, name, kind, base_url, lends, made_by)
        VALUES (%(company)s, %(integration)s, 'matrix', %(canary)s, 'mcp_server', 'https://mcp.example/' || %(canary)s,
            'none', %(founder)s)""",
    """INSERT INTO agents.allowed_routes (company_id, slug, record_sha256, allowed_by)
        VALUES (%(company)s, %(canary)s, repeat('0', 64), %(founder)s)""",
    """INSERT INTO agents.approval_rules (company_id, tool_class, roles, second_person, changed_by)
        VALUES (%(company)s, 'read', '{founder}', false, %(founder)s)""",
    """INSERT INTO agents.day_limits (company_id, limits, changed_by)
        VALUES (%(company)s, '{"steps": 500}', %(founder)s)""",
    """INSERT INTO agents.approval_mail (company_id, person_id, wanted) VALUES (%(company)s, %(founder)s, 'all')""",
    """INSERT INTO agents.allowed_regions (company_id, region, allowed_by)
        VALUES (%(company)s, %(canary)s, %(founder)s)""",
    """INSERT INTO workspace.records (company_id, id, kind, title, body, status, owner_id, recorded_by)
        VALUES (%(company)s, %(record)s, 'decision', %(canary)s || ' plan', %(canary)s, 'decided', %(founder)s,
            %(founder)s)""",
    """INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by, supersedes_id)
        VALUES (%(company)s, %(second_record)s, 'decision', %(canary)s, 'decided', %(founder)s, %(founder)s,
            %(record)s)""",
    """INSERT INTO workspace.record_links (company_id, record_id, relation, linked_id, linked_by)
        VALUES (%(company)s, %(record)s, 'supports', %(second_record)s, %(founder)s)""",
    """INSERT INTO workspace.record_history (company_id, record_id, person_id, change, note)
        VALUES (%(company)s, %(record)s, %(founder)s, 'recorded', %(canary)s)""",
    """INSERT INTO workspace.metrics (company_id, id, slug, name, definition, created_by)
        VALUES (%(company)s, %(metric)s, %(canary)s, %(canary)s, %(canary)s, %(founder)s)""",
    """INSERT INTO workspace.metric_points (company_id, metric_id, on_date, value, note, recorded_by)
        VALUES (%(company)s, %(metric)s, '2026-01-31', 1, %(canary)s, %(founder)s)""",
    """INSERT INTO workspace.files (company_id, id, path, size, sha256, content_type, origin, changed_by)
        VALUES (%(company)s, %(file)s, %(canary)s || '.md', 1, repeat('0', 64), 'text/markdown', 'upload',
            %(founder)s)""",
    # The second one lies in the bin.
    """INSERT INTO workspace.files (company_id, id, path, size, sha256, content_type, origin, changed_by, deleted_at)
        VALUES (%(company)s, gen_random_uuid(), %(canary)s || '-binned.md', 1, repeat('0', 64), 'text/markdown',
            'upload', %(founder)s, now())""",
    """INSERT INTO workspace.file_versions (company_id, file_id, version, size, sha256, changed_by)
        VALUES (%(company)s, %(file)s, 1, 1, repeat('0', 64), %(founder)s)""",
    """INSERT INTO workspace.passages (company_id, file_id, position, heading, body)
        VALUES (%(company)s, %(file)s, 0, %(canary)s, %(canary)s || ' plan')""",
)

# Its owner's own; `private_to` NULL: for everybody in the company.
OF_CONVERSATION: Final[tuple[LiteralString, ...]] = (
    """INSERT INTO workspace.conversations (company_id, id, title, created_by, private_to)
        VALUES (%(company)s, %(conversation)s, %(canary)s, %(person)s, %(private_to)s)""",
    """INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id, api_key_id,
            body)
        VALUES (%(company)s, %(message)s, %(conversation)s, %(private_to)s, 'person', %(person)s, %(api_key)s,
            %(canary)s)""",
    """INSERT INTO agents.schedules (company_id, id, owner_id, agent_id, conversation_id, private_to, title, prompt,
            rhythm, weekdays, at_time, zone, next_at, session_id)
        SELECT %(company)s, %(schedule)s, %(person)s, %(agent)s, %(conversation)s, %(private_to)s, %(canary)s,
            %(canary)s, 'weekly', '{0}', '08:00', 'UTC', now() + interval '1 day', %(decided_session)s
        WHERE %(api_key)s::uuid IS NULL""",
    # A trigger adds the version.
    """INSERT INTO workspace.artifacts (company_id, id, title, kind, content, private_to, conversation_id, created_by,
            changed_by, api_key_id)
        VALUES (%(company)s, %(artifact)s, %(canary)s || ' plan', 'document', %(canary)s, %(private_to)s,
            %(conversation)s, %(person)s, %(person)s, %(api_key)s)""",
    # Private ones and those of keys are at work; the one for everybody has lost its worker.
    """INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id,
            api_key_id, private_to, route, status, claim_digest, claim_expires_at, created_at, failure)
        VALUES (%(company)s, %(run)s, %(conversation)s, %(message)s, %(agent)s, %(person)s, %(session)s, %(api_key)s,
            %(private_to)s, 'built-in',
            CASE WHEN coalesce(%(private_to)s::uuid, %(api_key)s) IS NULL THEN 'queued' ELSE 'running' END,
            sha256(convert_to(%(claim)s, 'UTF8')),
            CASE WHEN coalesce(%(private_to)s::uuid, %(api_key)s) IS NULL THEN NULL ELSE now() + interval '1 day' END,
            now() - interval '1 minute', %(canary)s)""",
    """INSERT INTO agents.run_events (company_id, run_id, sequence, private_to, kind, body)
        VALUES (%(company)s, %(run)s, 1, %(private_to)s, 'answered', jsonb_build_object('text', %(canary)s::text))""",
    """INSERT INTO agents.day_use (company_id, day, run_id, steps, tool_calls, tokens, cost_micros, worked_ms)
        VALUES (%(company)s, (now() AT TIME ZONE 'UTC')::date, %(run)s, 1, 1, 1, 1, 1)""",
    """INSERT INTO agents.model_requests (company_id, id, run_id, agent_id, route, provider, host, region, model)
        VALUES (%(company)s, %(request)s, %(run)s, %(agent)s, 'far', %(canary)s, %(canary)s, %(canary)s, %(canary)s)""",
    # The second one has ended.
    """INSERT INTO agents.model_requests (company_id, id, run_id, agent_id, route, reason, outcome, ended_at)
        VALUES (%(company)s, %(ended_request)s, %(run)s, %(agent)s, 'far', %(canary)s, 'failed', now())""",
    """INSERT INTO agents.tool_calls (company_id, run_id, call_id, private_to, tool, arguments_sha256, result)
        VALUES (%(company)s, %(run)s, 'call', %(private_to)s, 'web_fetch', repeat('0', 64),
            to_jsonb(%(canary)s::text))""",
    """INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, private_to, agent_id, requester_id,
            call_id, tool, tool_class, tool_hash, arguments, arguments_sha256, argument_shape, expires_at)
        VALUES (%(company)s, %(undecided)s, %(run)s, %(conversation)s, %(private_to)s, %(agent)s, %(person)s,
            'undecided', 'web_fetch', 'egress', repeat('0', 64), to_jsonb(%(canary)s::text), repeat('0', 64),
            %(canary)s, now() + interval '1 day')""",
    """INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, private_to, agent_id, requester_id,
            call_id, tool, tool_class, tool_hash, arguments, arguments_sha256, argument_shape, expires_at,
            decision, decided_by, decided_session, decided_at)
        VALUES (%(company)s, %(decided)s, %(run)s, %(conversation)s, %(private_to)s, %(agent)s, %(person)s, 'decided',
            'web_fetch', 'egress', repeat('0', 64), to_jsonb(%(canary)s::text), repeat('0', 64), %(canary)s,
            now() + interval '1 day', 'conversation', %(person)s, %(decided_session)s, now())""",
    """INSERT INTO agents.grants (company_id, approval_id, conversation_id, private_to, requester_id, tool, tool_hash,
            argument_shape, given_by)
        VALUES (%(company)s, %(decided)s, %(conversation)s, %(private_to)s, %(person)s, 'web_fetch', repeat('0', 64),
            %(canary)s, %(person)s)""",
    """INSERT INTO sandbox.egress_log (company_id, run_id, person_id, private_to, method, destination, outcome, purpose)
        VALUES (%(company)s, %(run)s, %(person)s, %(private_to)s, 'GET', %(canary)s, 'answered', 'test')""",
    """INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args)
        VALUES ('runs', 'run_agent', jsonb_build_object('subject', %(run)s::uuid))""",
)
