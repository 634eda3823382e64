-- Agents, runs with their event rows, tool calls, approvals and grants; the egress log; evidence.

CREATE TABLE agents.agents (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    purpose text NOT NULL CHECK (length(purpose) <= 400),
    instructions text NOT NULL CHECK (length(instructions) <= 8000),
    route text NOT NULL DEFAULT 'built-in' CHECK (length(route) <= 80),
    tools jsonb NOT NULL DEFAULT '{}' CHECK (length(tools::text) <= 8000),
    limits jsonb NOT NULL DEFAULT '{}' CHECK (length(limits::text) <= 2000),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, slug)
);
CALL scope.guard_table('agents.agents');
GRANT SELECT ON agents.agents TO operalta_web, operalta_worker;
GRANT UPDATE (name, purpose, instructions, tools, limits, updated_at) ON agents.agents TO operalta_web;
CREATE POLICY scoped_read ON agents.agents FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('agents:run')));
CREATE POLICY scoped_update ON agents.agents FOR UPDATE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:manage'))))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:manage'))));

-- Called when a company is founded. `tools` maps a tool's name to allow, ask or deny; what is not in it is denied.
CREATE FUNCTION agents.install_first_agents(company uuid) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools, created_at) VALUES
        (company, 'chief-of-staff', 'Chief of staff', 'Answers from the company''s memory and files, and keeps them in order.',
            'Answer from the company''s own memory and files, and cite them. Say so when nothing is recorded. Propose what should be written down; never guess a figure.',
            '{"memory_search": "allow", "memory_record": "allow", "metrics_read": "allow", "files_list": "allow", "files_read": "allow", "files_search": "allow", "files_write": "allow", "web_fetch": "allow", "shell_run": "ask", "delegate": "allow"}', now()),
        (company, 'analyst', 'Analyst', 'Reads the metrics and the files behind them.',
            'Work from recorded metrics and files only. Show the dates and sources of every figure.',
            '{"memory_search": "allow", "metrics_read": "allow", "files_list": "allow", "files_read": "allow", "files_search": "allow"}', now() + interval '1 millisecond')
$$;

CREATE TABLE agents.runs (
    company_id uuid NOT NULL,
    id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    message_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    person_id uuid NOT NULL REFERENCES identity.people (id),
    session_id uuid NOT NULL,
    parent_run_id uuid,
    private_to uuid,
    route text NOT NULL CHECK (length(route) <= 80),
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'waiting_for_approval', 'finished', 'failed', 'stopped')),
    claim_digest bytea,
    claim_expires_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    stop_requested_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    finished_at timestamptz,
    failure text CHECK (length(failure) <= 400),
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, conversation_id) REFERENCES workspace.conversations (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, message_id) REFERENCES workspace.messages (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, agent_id) REFERENCES agents.agents (company_id, id),
    FOREIGN KEY (company_id, parent_run_id) REFERENCES agents.runs (company_id, id)
);
-- Claims name a run by its id alone; nobody chooses one, since runs come from start_run.
CREATE INDEX runs_id ON agents.runs (id);
CREATE INDEX runs_conversation ON agents.runs (company_id, conversation_id, created_at);
CREATE INDEX runs_open ON agents.runs (claim_expires_at) WHERE status IN ('queued', 'running', 'waiting_for_approval');
CALL scope.guard_table('agents.runs');
GRANT SELECT (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, parent_run_id, private_to, route,
    status, attempts, stop_requested_at, created_at, started_at, finished_at, failure) ON agents.runs TO operalta_web, operalta_worker;
GRANT UPDATE (status, finished_at, failure) ON agents.runs TO operalta_worker;
GRANT UPDATE (stop_requested_at) ON agents.runs TO operalta_web;
CREATE POLICY scoped_read ON agents.runs FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('agents:run'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY run_update ON agents.runs FOR UPDATE TO operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND id = (SELECT scope.scope_run()))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND id = (SELECT scope.scope_run()));
CREATE POLICY stop_update ON agents.runs FOR UPDATE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND person_id = (SELECT scope.scope_person()) AND status IN ('queued', 'running', 'waiting_for_approval'))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run'))));

-- Makes a run for a message that the person of the scope wrote in their own session, and queues it. At most one for a message.
CREATE FUNCTION agents.start_run(run uuid, message uuid, agent uuid, wanted_route text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF scope.scope_kind() IS DISTINCT FROM 'person' OR NOT scope.may('agents:run') THEN
        RETURN false;
    END IF;
    INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, private_to, route)
        SELECT said.company_id, run, said.conversation_id, said.id, agent, scope.scope_person(), scope.scope_session(),
            said.private_to, wanted_route
        FROM workspace.messages AS said
        WHERE said.company_id = scope.scope_company() AND said.id = message AND said.person_id = scope.scope_person()
          AND said.author_kind = 'person'
          -- Claims and scopes of runs go by the id alone, so one that is taken anywhere makes nothing.
          AND NOT EXISTS (SELECT FROM agents.runs AS taken WHERE taken.id = run)
          AND NOT EXISTS (SELECT FROM agents.runs AS earlier WHERE earlier.company_id = said.company_id
              AND earlier.message_id = said.id);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM jobs.defer_task('run_agent', run);
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION agents.start_run TO operalta_web;

-- ── Claims: the dispatcher gets a secret that only this claim knows ─────────────────────────────────────
CREATE FUNCTION agents.claim_run(run uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    secret text := encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
BEGIN
    UPDATE agents.runs SET status = 'running', claim_digest = sha256(convert_to(secret, 'UTF8')), attempts = attempts + 1,
            claim_expires_at = now() + interval '15 seconds', started_at = coalesce(started_at, now())
        WHERE id = run AND status IN ('queued', 'running', 'waiting_for_approval') AND (claim_expires_at IS NULL OR claim_expires_at < now());
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN secret;
END $$;
-- Prolongs the claim; false when it is lost, or the run is to stop.
CREATE FUNCTION agents.keep_claim(run uuid, secret text) RETURNS TABLE (held boolean, stop boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY UPDATE agents.runs SET claim_expires_at = now() + interval '15 seconds'
        WHERE id = run AND claim_digest = sha256(convert_to(secret, 'UTF8')) AND status = 'running'
        RETURNING true, stop_requested_at IS NOT NULL;
END $$;
CREATE FUNCTION agents.release_claim(run uuid, secret text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE agents.runs SET claim_digest = NULL, claim_expires_at = NULL
        WHERE id = run AND claim_digest = sha256(convert_to(secret, 'UTF8'));
    RETURN FOUND;
END $$;
-- Ends a run whose person has no membership any more (no scope can be opened for it).
CREATE FUNCTION agents.abandon_run(run uuid, secret text, why text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    UPDATE agents.runs SET status = 'failed', failure = left(why, 400), finished_at = now(), claim_digest = NULL,
            claim_expires_at = NULL
        WHERE id = run AND claim_digest = sha256(convert_to(secret, 'UTF8')) RETURNING company_id, person_id INTO ended;
    IF ended.company_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM audit.append_as(ended.company_id, 'system', ended.person_id, run, 'run.failed', 'run', run::text, 'failed', NULL,
        NULL, jsonb_build_object('why', left(why, 400)));
    RETURN true;
END $$;
-- Runs whose worker went silent: queued again. Also those whose job got lost, and stopped ones that wait. Returns their ids.
CREATE FUNCTION agents.rescue_runs() RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    lost record;
BEGIN
    FOR lost IN SELECT run.id FROM agents.runs AS run
        WHERE ((run.status = 'running' AND run.claim_expires_at < now() - interval '1 second')
            OR (run.status = 'queued' AND run.created_at < now() - interval '5 seconds')
            OR (run.status = 'waiting_for_approval' AND run.stop_requested_at IS NOT NULL)
            OR (run.status = 'waiting_for_approval' AND EXISTS (SELECT FROM agents.approvals AS lapsed
                WHERE lapsed.company_id = run.company_id AND lapsed.run_id = run.id AND lapsed.decision IS NULL
                  AND lapsed.expires_at < now()))
            -- A decision that came while the worker died between asking and letting go.
            OR (run.status = 'waiting_for_approval' AND (run.claim_expires_at IS NULL OR run.claim_expires_at < now())
                AND EXISTS (SELECT FROM agents.approvals AS answered WHERE answered.company_id = run.company_id
                  AND answered.run_id = run.id AND answered.decision IS NOT NULL
                  AND NOT EXISTS (SELECT FROM agents.run_events AS event WHERE event.company_id = run.company_id
                    AND event.run_id = run.id AND event.kind = 'approval_decided'
                    AND event.body ->> 'approval_id' = answered.id::text))))
        FOR UPDATE OF run SKIP LOCKED LIMIT 100
    LOOP
        -- A job that a dead worker took would hold the run's lock for ever; one that lives has an unexpired claim.
        UPDATE jobs.procrastinate_jobs AS job SET status = 'failed' WHERE job.task_name = 'run_agent'
            AND job.status = 'doing' AND job.args ->> 'subject' = lost.id::text
            AND NOT EXISTS (SELECT FROM agents.runs AS held WHERE held.id = lost.id AND held.claim_expires_at > now());
        IF NOT EXISTS (SELECT FROM jobs.procrastinate_jobs AS job WHERE job.task_name = 'run_agent'
            AND job.args ->> 'subject' = lost.id::text AND job.status = 'todo') THEN
            PERFORM jobs.defer_task('run_agent', lost.id);
            RETURN NEXT lost.id;
        END IF;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION agents.claim_run, agents.keep_claim, agents.release_claim, agents.abandon_run, agents.rescue_runs
    TO operalta_dispatch;

-- Opens the scope of a run: while the claim holds, the person's membership holds and the account is not disabled.
CREATE FUNCTION scope.open_run_scope(run uuid, secret text)
RETURNS TABLE (person_id uuid, company_id uuid, company_slug text, company_kind text, role text, session_id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT running.person_id, running.session_id, host.id AS company_id, host.slug, host.kind, membership.role INTO found
        FROM agents.runs AS running
        JOIN tenancy.companies AS host ON host.id = running.company_id
        JOIN tenancy.memberships AS membership ON membership.company_id = running.company_id
            AND membership.person_id = running.person_id AND membership.ended_at IS NULL
        JOIN identity.people AS person ON person.id = running.person_id AND person.disabled_at IS NULL
        WHERE running.id = run AND running.claim_digest = sha256(convert_to(secret, 'UTF8'))
          AND running.claim_expires_at > now();
    IF found.person_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM scope.bind('run', found.person_id, found.company_id, found.kind, found.role, found.session_id, run, false);
    RETURN QUERY SELECT found.person_id, found.company_id, found.slug, found.kind, found.role, found.session_id;
END $$;
GRANT EXECUTE ON FUNCTION scope.open_run_scope TO operalta_worker;

-- ── Events: every step of a run, append-only ───────────────────────────────────────────────────────────
CREATE TABLE agents.run_events (
    company_id uuid NOT NULL,
    run_id uuid NOT NULL,
    sequence integer NOT NULL CHECK (sequence > 0),
    private_to uuid,
    kind text NOT NULL CHECK (length(kind) <= 40),
    body jsonb NOT NULL CHECK (length(body::text) <= 400000),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, run_id, sequence),
    FOREIGN KEY (company_id, run_id) REFERENCES agents.runs (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('agents.run_events');
GRANT SELECT ON agents.run_events TO operalta_web, operalta_worker;
GRANT INSERT (company_id, run_id, sequence, private_to, kind, body) ON agents.run_events TO operalta_worker;
CREATE POLICY scoped_read ON agents.run_events FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('agents:run'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY run_insert ON agents.run_events FOR INSERT TO operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run())
        AND EXISTS (SELECT FROM agents.runs AS run WHERE run.company_id = run_events.company_id AND run.id = run_events.run_id
            AND run.private_to IS NOT DISTINCT FROM run_events.private_to));

-- A notice that a run has news: ids only, since every role may listen.
CREATE FUNCTION agents.announce_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_notify('operalta_run_events', NEW.run_id::text);
    RETURN NULL;
END $$;
CREATE TRIGGER announce AFTER INSERT ON agents.run_events FOR EACH ROW EXECUTE FUNCTION agents.announce_event();

-- ── Tool calls: the row before the effect makes it happen at most once ─────────────────────────────────
CREATE TABLE agents.tool_calls (
    company_id uuid NOT NULL,
    run_id uuid NOT NULL,
    call_id text NOT NULL CHECK (length(call_id) BETWEEN 1 AND 200),
    private_to uuid,
    tool text NOT NULL CHECK (length(tool) <= 80),
    arguments_sha256 text NOT NULL CHECK (arguments_sha256 ~ '^[0-9a-f]{64}$'),
    status text NOT NULL DEFAULT 'started' CHECK (status IN ('started', 'done')),
    result jsonb CHECK (length(result::text) <= 400000),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    PRIMARY KEY (company_id, run_id, call_id),
    FOREIGN KEY (company_id, run_id) REFERENCES agents.runs (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('agents.tool_calls');
GRANT SELECT ON agents.tool_calls TO operalta_web, operalta_worker;
GRANT INSERT (company_id, run_id, call_id, private_to, tool, arguments_sha256), UPDATE (status, result, done_at)
    ON agents.tool_calls TO operalta_worker;
CREATE POLICY scoped_read ON agents.tool_calls FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('agents:run'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY run_insert ON agents.tool_calls FOR INSERT TO operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()));
CREATE POLICY run_update ON agents.tool_calls FOR UPDATE TO operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND status = 'started')
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()));

-- ── Approvals: what is asked cannot change; people decide, in a session of their own; used once ─────────
CREATE TABLE agents.approvals (
    company_id uuid NOT NULL,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    private_to uuid,
    agent_id uuid NOT NULL,
    requester_id uuid NOT NULL REFERENCES identity.people (id),
    call_id text NOT NULL CHECK (length(call_id) BETWEEN 1 AND 200),
    tool text NOT NULL CHECK (length(tool) <= 80),
    tool_class text NOT NULL CHECK (length(tool_class) <= 40),
    tool_hash text NOT NULL CHECK (tool_hash ~ '^[0-9a-f]{64}$'),
    arguments jsonb NOT NULL CHECK (length(arguments::text) <= 100000),
    arguments_sha256 text NOT NULL CHECK (arguments_sha256 ~ '^[0-9a-f]{64}$'),
    argument_shape text NOT NULL CHECK (length(argument_shape) <= 2000),
    reasons jsonb NOT NULL DEFAULT '[]' CHECK (length(reasons::text) <= 4000),
    before text CHECK (length(before) <= 100000),
    after text CHECK (length(after) <= 100000),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    decision text CHECK (decision IN ('once', 'conversation', 'denied')),
    decided_by uuid REFERENCES identity.people (id),
    decided_session uuid,
    decided_at timestamptz,
    consumed_at timestamptz,
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, run_id, call_id),
    FOREIGN KEY (company_id, run_id) REFERENCES agents.runs (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, agent_id) REFERENCES agents.agents (company_id, id)
);
CREATE INDEX approvals_waiting ON agents.approvals (company_id, asked_at DESC) WHERE decision IS NULL;
CALL scope.guard_table('agents.approvals');
GRANT SELECT ON agents.approvals TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, run_id, conversation_id, private_to, agent_id, requester_id, call_id, tool, tool_class, tool_hash,
    arguments, arguments_sha256, argument_shape, reasons, before, after, expires_at) ON agents.approvals TO operalta_worker;
GRANT UPDATE (consumed_at) ON agents.approvals TO operalta_worker;
GRANT UPDATE (decision, decided_by, decided_session, decided_at) ON agents.approvals TO operalta_web;
CREATE POLICY scoped_read ON agents.approvals FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('approvals:read'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY run_insert ON agents.approvals FOR INSERT TO operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND requester_id = (SELECT scope.scope_person())
        AND expires_at <= now() + interval '7 days');
CREATE POLICY run_consume ON agents.approvals FOR UPDATE TO operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND consumed_at IS NULL AND decision IN ('once', 'conversation')
        AND expires_at > now())
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND consumed_at IS NOT NULL);
CREATE POLICY person_decide ON agents.approvals FOR UPDATE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND (SELECT scope.scope_kind()) = 'person' AND decision IS NULL AND expires_at > now()
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND decided_by = (SELECT scope.scope_person()) AND decided_session = (SELECT scope.scope_session())
        AND decision IS NOT NULL
        AND (decision <> 'conversation' OR tool_class NOT IN ('money', 'identity', 'publish', 'destroy', 'execute')));

-- After a decision the run goes on: its job is queued again in the same transaction.
CREATE FUNCTION agents.resume_run(run uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF scope.scope_kind() IS DISTINCT FROM 'person' OR NOT EXISTS (SELECT FROM agents.runs AS waiting
        WHERE waiting.company_id = scope.scope_company() AND waiting.id = run AND waiting.status IN ('waiting_for_approval', 'running')
          AND (waiting.private_to IS NULL OR waiting.private_to = scope.scope_person())) THEN
        RETURN false;
    END IF;
    PERFORM jobs.defer_task('run_agent', run);
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION agents.resume_run TO operalta_web;

-- "For this conversation": a narrow grant, made with the decision, revocable.
CREATE TABLE agents.grants (
    company_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    approval_id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    private_to uuid,
    requester_id uuid NOT NULL REFERENCES identity.people (id),
    tool text NOT NULL CHECK (length(tool) <= 80),
    tool_hash text NOT NULL CHECK (tool_hash ~ '^[0-9a-f]{64}$'),
    argument_shape text NOT NULL CHECK (length(argument_shape) <= 2000),
    given_by uuid NOT NULL REFERENCES identity.people (id),
    given_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, approval_id) REFERENCES agents.approvals (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, conversation_id) REFERENCES workspace.conversations (company_id, id) ON DELETE CASCADE
);
CREATE INDEX grants_conversation ON agents.grants (company_id, conversation_id) WHERE revoked_at IS NULL;
CALL scope.guard_table('agents.grants');
GRANT SELECT ON agents.grants TO operalta_web, operalta_worker;
GRANT INSERT (company_id, approval_id, conversation_id, private_to, requester_id, tool, tool_hash, argument_shape, given_by),
    UPDATE (revoked_at) ON agents.grants TO operalta_web;
CREATE POLICY scoped_read ON agents.grants FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('approvals:read'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY person_insert ON agents.grants FOR INSERT TO operalta_web
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND (SELECT scope.scope_kind()) = 'person' AND given_by = (SELECT scope.scope_person())
        AND EXISTS (SELECT FROM agents.approvals AS approval WHERE approval.company_id = grants.company_id
            AND approval.id = grants.approval_id AND approval.decision = 'conversation'
            AND approval.decided_by = (SELECT scope.scope_person()) AND approval.requester_id = grants.requester_id
            AND approval.conversation_id = grants.conversation_id AND approval.tool = grants.tool
            AND approval.tool_hash = grants.tool_hash AND approval.argument_shape = grants.argument_shape));
CREATE POLICY person_revoke ON agents.grants FOR UPDATE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide'))) AND revoked_at IS NULL)
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND revoked_at IS NOT NULL);

-- ── What left the house ────────────────────────────────────────────────────────────────────────────────
CREATE TABLE sandbox.egress_log (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    run_id uuid,
    person_id uuid NOT NULL,
    private_to uuid,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    method text NOT NULL CHECK (length(method) <= 10),
    destination text NOT NULL CHECK (length(destination) <= 2100),
    address text CHECK (length(address) <= 64),
    outcome text NOT NULL CHECK (length(outcome) <= 80),
    bytes bigint NOT NULL DEFAULT 0,
    milliseconds integer NOT NULL DEFAULT 0,
    purpose text NOT NULL CHECK (length(purpose) <= 80),
    PRIMARY KEY (company_id, id)
);
CREATE INDEX egress_log_time ON sandbox.egress_log (company_id, at DESC);
CALL scope.guard_table('sandbox.egress_log');
GRANT SELECT ON sandbox.egress_log TO operalta_web;
GRANT INSERT (company_id, run_id, person_id, private_to, method, destination, address, outcome, bytes, milliseconds, purpose)
    ON sandbox.egress_log TO operalta_worker;
CREATE POLICY scoped_read ON sandbox.egress_log FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('audit:read'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY run_insert ON sandbox.egress_log FOR INSERT TO operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND person_id = (SELECT scope.scope_person()));

-- ── Evidence of the last verification, public by intent ────────────────────────────────────────────────
CREATE TABLE assurance.evidence (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    at timestamptz NOT NULL DEFAULT now(),
    document jsonb NOT NULL
);
CREATE INDEX evidence_at ON assurance.evidence (at DESC);
CALL scope.guard_table('assurance.evidence');
GRANT SELECT ON assurance.evidence TO operalta_web, operalta_verifier;
GRANT INSERT (document) ON assurance.evidence TO operalta_verifier;
CREATE POLICY public_read ON assurance.evidence FOR SELECT TO operalta_web, operalta_verifier USING (true);
CREATE POLICY verifier_insert ON assurance.evidence FOR INSERT TO operalta_verifier WITH CHECK (true);
