-- Runs of a conversation one after the other, retried and gone on with; runs that begin by themselves at their time; and an end at
-- once for what a session had begun that was ended for safety's sake.

-- ── Schedules: what an agent is to be asked, and when. Made, changed and ended by functions alone ──────────────────────────────
CREATE TABLE agents.schedules (
    company_id uuid NOT NULL,
    id uuid NOT NULL,
    owner_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    -- Its runs all speak here; private where the conversation is.
    conversation_id uuid NOT NULL,
    private_to uuid,
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 120),
    prompt text NOT NULL CHECK (length(prompt) BETWEEN 1 AND 20000),
    rhythm text NOT NULL CHECK (rhythm IN ('weekly', 'monthly')),
    -- From Monday, 0; all of them: every day.
    weekdays smallint[] NOT NULL DEFAULT '{}'
        CHECK (weekdays <@ '{0,1,2,3,4,5,6}'::smallint[] AND cardinality(weekdays) <= 7
            AND (rhythm = 'weekly') = (cardinality(weekdays) > 0)),
    -- The month's last where it has none of this number.
    month_day smallint CHECK (month_day BETWEEN 1 AND 31 AND (rhythm = 'monthly') = (month_day IS NOT NULL)),
    at_time time NOT NULL,
    zone text NOT NULL CHECK (length(zone) BETWEEN 1 AND 64),
    next_at timestamptz,
    -- The owner's own, in which it was made or last confirmed: what that session was worth, the schedule is.
    session_id uuid NOT NULL,
    confirmed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused_at timestamptz,
    paused_because text CHECK (paused_because IN ('asked', 'role', 'session', 'agent', 'time')),
    ended_at timestamptz,
    last_run_id uuid,
    last_at timestamptz,
    -- Why the last time made no run.
    skipped_at timestamptz,
    skipped_because text CHECK (skipped_because IN ('unfinished')),
    made_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, id),
    CHECK ((paused_at IS NULL) = (paused_because IS NULL)),
    CHECK ((next_at IS NOT NULL) = (paused_at IS NULL AND ended_at IS NULL)),
    FOREIGN KEY (company_id, owner_id) REFERENCES tenancy.memberships (company_id, person_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, agent_id) REFERENCES agents.agents (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, conversation_id) REFERENCES workspace.conversations (company_id, id) ON DELETE CASCADE
);
CREATE INDEX schedules_due ON agents.schedules (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_owner ON agents.schedules (company_id, owner_id);
CREATE INDEX schedules_of_person ON agents.schedules (owner_id) WHERE next_at IS NOT NULL;
CREATE INDEX schedules_agent ON agents.schedules (company_id, agent_id);
CREATE INDEX schedules_conversation ON agents.schedules (company_id, conversation_id);
CALL scope.guard_table('agents.schedules');
GRANT SELECT ON agents.schedules TO operalta_web;
CREATE POLICY scoped_read ON agents.schedules FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('agents:run'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));

-- ── Runs: their place in the queue of the conversation, where they come from, what they repeat, how often they went on ─────────
ALTER TABLE agents.runs
    ADD COLUMN queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN schedule_id uuid,
    -- The time that it was due, for a run that a schedule began, and for what repeats one.
    ADD COLUMN due_at timestamptz,
    -- Where the words of its message come from. Only those of a session were typed to be carried out.
    ADD COLUMN origin text NOT NULL GENERATED ALWAYS AS (CASE WHEN parent_run_id IS NOT NULL THEN 'agent'
        WHEN due_at IS NOT NULL THEN 'schedule'
        WHEN api_key_id IS NOT NULL THEN 'api_key' ELSE 'session' END) STORED,
    ADD COLUMN retry_of uuid,
    ADD COLUMN continued integer NOT NULL DEFAULT 0 CHECK (continued BETWEEN 0 AND 3),
    -- The limit that ended it, as it is called in RunLimits.
    ADD COLUMN limit_reached text CHECK (limit_reached IN ('steps', 'tool_calls', 'tokens', 'cost_micros', 'active_seconds')),
    ADD FOREIGN KEY (company_id, schedule_id) REFERENCES agents.schedules (company_id, id) ON DELETE SET NULL (schedule_id),
    ADD FOREIGN KEY (company_id, retry_of) REFERENCES agents.runs (company_id, id) ON DELETE SET NULL (retry_of);
UPDATE agents.runs SET queued_at = created_at;
-- At most one run for each time that is due, and one retry of each run.
CREATE UNIQUE INDEX runs_due ON agents.runs (company_id, schedule_id, due_at) WHERE retry_of IS NULL;
CREATE UNIQUE INDEX runs_retry ON agents.runs (company_id, retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX runs_queue ON agents.runs (company_id, conversation_id, queued_at)
    WHERE status IN ('queued', 'running', 'waiting_for_approval');
CREATE INDEX runs_open_of_person ON agents.runs (person_id) WHERE status IN ('queued', 'running', 'waiting_for_approval');
GRANT SELECT (queued_at, schedule_id, due_at, origin, retry_of, continued, limit_reached) ON agents.runs
    TO operalta_web, operalta_worker;
GRANT UPDATE (limit_reached) ON agents.runs TO operalta_worker;

-- For functions alone: whether what a session began may not go on, because the session was ended otherwise than by signing out, or
-- another password was set since, and the session was not kept then.
CREATE FUNCTION identity.is_revoked(of_session uuid, of_person uuid, since timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT of_session IS NOT NULL AND (
        EXISTS (SELECT FROM identity.sessions AS ended WHERE ended.id = of_session AND ended.ended_at IS NOT NULL
            AND ended.ended_reason IS DISTINCT FROM 'signed out')
        OR (EXISTS (SELECT FROM identity.passwords AS password WHERE password.person_id = of_person AND password.changed_at > since)
            AND NOT EXISTS (SELECT FROM identity.sessions AS live WHERE live.id = of_session AND live.ended_at IS NULL)))
$$;

-- For functions alone: the run that a queued one waits for, the last of those before it in its conversation. One that is to stop
-- waits for none; nor do child runs, and none waits for them: their parent has its place.
CREATE FUNCTION agents.run_ahead_of(in_company uuid, of_run uuid) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT ahead.id FROM agents.runs AS own JOIN agents.runs AS ahead ON ahead.company_id = own.company_id
            AND ahead.conversation_id = own.conversation_id AND ahead.parent_run_id IS NULL
            AND ahead.status IN ('queued', 'running', 'waiting_for_approval') AND (ahead.queued_at, ahead.id) < (own.queued_at, own.id)
        WHERE own.company_id = in_company AND own.id = of_run AND own.status = 'queued' AND own.parent_run_id IS NULL
          AND own.stop_requested_at IS NULL
        ORDER BY ahead.queued_at DESC, ahead.id DESC LIMIT 1
$$;

-- However a run ends, the next one of its conversation is queued with it.
CREATE FUNCTION agents.begin_next_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    following uuid := (SELECT waiting.id FROM agents.runs AS waiting WHERE waiting.company_id = NEW.company_id
        AND waiting.conversation_id = NEW.conversation_id AND waiting.parent_run_id IS NULL AND waiting.status = 'queued'
        AND agents.run_ahead_of(waiting.company_id, waiting.id) IS NULL ORDER BY waiting.queued_at, waiting.id LIMIT 1);
BEGIN
    IF following IS NOT NULL THEN
        PERFORM jobs.defer_task('run_agent', following);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER begin_next_run AFTER UPDATE OF status ON agents.runs FOR EACH ROW
    WHEN (NEW.status IN ('finished', 'failed', 'stopped') AND OLD.status IN ('queued', 'running', 'waiting_for_approval'))
    EXECUTE FUNCTION agents.begin_next_run();

-- Replaced where they stand, and as their owner (0015 says why).
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'scope.part'::regproc));
END $$;

-- Claims a run that no worker has, and that waits for none before it in its conversation.
CREATE OR REPLACE FUNCTION agents.claim_run(run uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    secret text := encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'hex');
BEGIN
    UPDATE agents.runs AS held SET status = 'running', claim_digest = sha256(convert_to(secret, 'UTF8')), attempts = attempts + 1,
            claim_expires_at = now() + interval '15 seconds', started_at = coalesce(started_at, now())
        WHERE held.id = run AND held.status IN ('queued', 'running', 'waiting_for_approval')
          AND (held.claim_expires_at IS NULL OR held.claim_expires_at < now())
          AND agents.run_ahead_of(held.company_id, held.id) IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN secret;
END $$;

-- Runs whose worker went silent: queued again. Also those whose job got lost, and stopped ones that wait; but not those that wait for
-- another one of their conversation, whose end queues them; and those whose child run ended while they let go. Returns their ids.
CREATE OR REPLACE FUNCTION agents.rescue_runs() RETURNS SETOF uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    lost record;
BEGIN
    FOR lost IN SELECT run.id FROM agents.runs AS run
        WHERE ((run.status = 'running' AND run.claim_expires_at < now() - interval '1 second')
            OR (run.status = 'queued' AND run.queued_at < now() - interval '5 seconds'
                AND agents.run_ahead_of(run.company_id, run.id) IS NULL)
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
                    AND event.body ->> 'approval_id' = answered.id::text)))
            OR (run.status = 'waiting_for_approval' AND (run.claim_expires_at IS NULL OR run.claim_expires_at < now())
                AND EXISTS (SELECT FROM agents.runs AS child WHERE child.company_id = run.company_id
                  AND child.parent_run_id = run.id AND child.status IN ('finished', 'failed', 'stopped')
                  AND NOT EXISTS (SELECT FROM agents.run_events AS event WHERE event.company_id = run.company_id
                    AND event.run_id = run.id AND event.kind = 'child_ended' AND event.body ->> 'run_id' = child.id::text))))
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

-- After a decision, or the wish to stop, the run goes on at once: its job is queued in the same transaction.
CREATE OR REPLACE FUNCTION agents.resume_run(run uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    IF scope.scope_kind() IS DISTINCT FROM 'person' OR NOT EXISTS (SELECT FROM agents.runs AS waiting
        WHERE waiting.company_id = scope.scope_company() AND waiting.id = run
          AND (waiting.status IN ('waiting_for_approval', 'running')
            OR (waiting.status = 'queued' AND waiting.stop_requested_at IS NOT NULL))
          AND (waiting.private_to IS NULL OR waiting.private_to = scope.scope_person())) THEN
        RETURN false;
    END IF;
    PERFORM jobs.defer_task('run_agent', run);
    RETURN true;
END $$;

-- Opens the scope of a run: while the claim holds, the person's membership holds, the account is not disabled, and what the run was
-- begun with is not revoked: the session; or the key, with no more than its own rights. A run in an open conversation sees nothing
-- private: what it reads stands in its events, which colleagues see.
CREATE OR REPLACE FUNCTION scope.open_run_scope(run uuid, secret text)
RETURNS TABLE (person_id uuid, company_id uuid, company_slug text, company_kind text, role text, session_id uuid, key_id uuid, scopes text[],
    sees_private boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    found record;
BEGIN
    SELECT running.person_id, running.session_id, running.api_key_id, host.id AS company_id, host.slug, host.kind, membership.role,
            key.scopes, running.private_to IS NOT NULL AND key.kind IS DISTINCT FROM 'company' AS sees_private INTO found
        FROM agents.runs AS running
        JOIN tenancy.companies AS host ON host.id = running.company_id
        JOIN tenancy.memberships AS membership ON membership.company_id = running.company_id
            AND membership.person_id = running.person_id AND membership.ended_at IS NULL
        JOIN identity.people AS person ON person.id = running.person_id AND person.disabled_at IS NULL
        LEFT JOIN credentials.api_keys AS key ON key.company_id = running.company_id AND key.id = running.api_key_id
            AND key.revoked_at IS NULL AND key.expires_at > now()
        WHERE running.id = run AND running.claim_digest = sha256(convert_to(secret, 'UTF8'))
          AND running.claim_expires_at > now() AND (running.api_key_id IS NULL OR key.id IS NOT NULL)
          AND NOT identity.is_revoked(running.session_id, running.person_id, running.created_at);
    IF found.person_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM scope.bind('run', found.person_id, found.company_id, found.kind, found.role, found.session_id, run, false,
        found.api_key_id, found.scopes, found.sees_private);
    RETURN QUERY SELECT found.person_id, found.company_id, found.slug, found.kind, found.role, found.session_id, found.api_key_id,
        found.scopes, found.sees_private;
END $$;
RESET ROLE;

-- ── Ends: of sessions, and of memberships ──────────────────────────────────────────────────────────────────────────────────────
-- For functions alone: notes what becomes of a schedule by itself.
CREATE FUNCTION agents.note_schedule(in_company uuid, owner uuid, which uuid, action text, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM audit.append_as(in_company, 'system', owner, NULL, action, 'schedule', which::text, 'succeeded', NULL, NULL, detail);
END $$;

-- For functions alone: pauses a schedule until its owner confirms it.
CREATE FUNCTION agents.pause_schedule(in_company uuid, which uuid, why text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid;
BEGIN
    UPDATE agents.schedules AS one SET paused_at = now(), paused_because = why, next_at = NULL
        WHERE one.company_id = in_company AND one.id = which AND one.next_at IS NOT NULL RETURNING one.owner_id INTO owner;
    IF owner IS NOT NULL THEN
        PERFORM agents.note_schedule(in_company, owner, which, 'schedule.paused', jsonb_build_object('why', why));
    END IF;
END $$;

-- A session that was ended otherwise than by signing out, or a new password: whoever had the account may have begun what runs, and
-- made what is to run. The worker that has such a run loses its claim with this, and with the claim every scope.
CREATE FUNCTION agents.end_revoked_work() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    FOR ended IN UPDATE agents.runs AS run SET status = 'failed', finished_at = now(), claim_digest = NULL, claim_expires_at = NULL,
                failure = 'The session that it was begun in was ended, or the password was changed.'
            WHERE run.person_id = NEW.person_id AND run.status IN ('queued', 'running', 'waiting_for_approval')
              AND identity.is_revoked(run.session_id, run.person_id, run.created_at) RETURNING run.company_id, run.id
    LOOP
        UPDATE agents.approvals AS asked SET expires_at = now() WHERE asked.company_id = ended.company_id AND asked.run_id = ended.id
            AND asked.decision IS NULL AND asked.expires_at > now();
        PERFORM audit.append_as(ended.company_id, 'system', NEW.person_id, ended.id, 'run.failed', 'run', ended.id::text, 'failed',
            NULL, NULL, '{"why": "The session that it was begun in was ended, or the password was changed."}');
    END LOOP;
    PERFORM agents.pause_schedule(one.company_id, one.id, 'session') FROM agents.schedules AS one
        WHERE one.owner_id = NEW.person_id AND one.next_at IS NOT NULL
          AND identity.is_revoked(one.session_id, one.owner_id, one.confirmed_at);
    RETURN NULL;
END $$;
CREATE TRIGGER end_revoked_work AFTER UPDATE OF ended_at ON identity.sessions FOR EACH ROW
    WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.ended_reason IS DISTINCT FROM 'signed out')
    EXECUTE FUNCTION agents.end_revoked_work();
CREATE TRIGGER end_revoked_work AFTER UPDATE OF changed_at ON identity.passwords FOR EACH ROW
    EXECUTE FUNCTION agents.end_revoked_work();

-- Whoever leaves leaves no schedule behind; whoever may no longer run agents has theirs paused.
CREATE FUNCTION agents.end_schedules_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    IF NEW.ended_at IS NOT NULL THEN
        FOR ended IN UPDATE agents.schedules AS one SET ended_at = now(), next_at = NULL WHERE one.company_id = NEW.company_id
                AND one.owner_id = NEW.person_id AND one.ended_at IS NULL RETURNING one.id
        LOOP
            PERFORM agents.note_schedule(NEW.company_id, NEW.person_id, ended.id, 'schedule.ended', '{"why": "left"}');
        END LOOP;
    ELSIF NOT EXISTS (SELECT FROM access.role_permissions AS granted JOIN tenancy.companies AS host ON host.kind = granted.company_kind
            AND host.id = NEW.company_id WHERE granted.role = NEW.role AND granted.permission = 'agents:run') THEN
        PERFORM agents.pause_schedule(one.company_id, one.id, 'role') FROM agents.schedules AS one
            WHERE one.company_id = NEW.company_id AND one.owner_id = NEW.person_id AND one.next_at IS NOT NULL;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER end_schedules_of_former_member AFTER UPDATE OF role, ended_at ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION agents.end_schedules_of_former_member();

-- When the operator signs somebody out everywhere, no schedule of theirs goes on, whatever session it is of.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'scope.part'::regproc));
END $$;
CREATE OR REPLACE FUNCTION elevated.sign_out_person(person uuid, reason text) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    ended integer;
BEGIN
    IF coalesce(length(reason), 0) NOT BETWEEN 1 AND 500 OR NOT EXISTS (SELECT FROM identity.people AS owner WHERE owner.id = person) THEN
        RETURN NULL;
    END IF;
    UPDATE identity.tickets AS held SET used_at = now() WHERE held.person_id = person AND held.used_at IS NULL;
    UPDATE identity.sessions AS held SET ended_at = now(), ended_reason = 'ended by the operator'
        WHERE held.person_id = person AND held.ended_at IS NULL;
    GET DIAGNOSTICS ended = ROW_COUNT;
    PERFORM agents.pause_schedule(one.company_id, one.id, 'session') FROM agents.schedules AS one
        WHERE one.owner_id = person AND one.next_at IS NOT NULL;
    PERFORM audit.append_as(NULL, 'system', person, NULL, 'session.ended', 'person', person::text, 'succeeded', NULL, NULL,
        jsonb_build_object('by', 'operator', 'reason', reason, 'count', ended));
    RETURN ended;
END $$;
RESET ROLE;

-- ── Trying again, and going on ─────────────────────────────────────────────────────────────────────────────────────────────────
-- For functions alone: a run of the scope's own person that is over: in a session any, with a key those that the key began.
CREATE FUNCTION agents.own_ended_run(which uuid) RETURNS SETOF agents.runs LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT run.* FROM agents.runs AS run
        WHERE run.company_id = scope.scope_company() AND run.id = which AND run.person_id = scope.scope_person()
          AND scope.may('agents:run') AND run.parent_run_id IS NULL AND run.status IN ('failed', 'stopped')
          AND (scope.scope_kind() = 'person' OR (scope.scope_kind() = 'key' AND run.api_key_id = scope.part(11)::uuid))
$$;

-- Makes another run for the message of one that failed or was stopped. Its words count for what they counted, since nobody types
-- them now. 'made'; 'none': no such run of one's own, or it is not over; 'again': there is one already.
CREATE FUNCTION agents.retry_run(which uuid, run uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM agents.own_ended_run(which)) OR EXISTS (SELECT FROM agents.runs AS taken WHERE taken.id = run) THEN
        RETURN 'none';
    END IF;
    INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, api_key_id, private_to, route,
            schedule_id, due_at, retry_of)
        SELECT earlier.company_id, run, earlier.conversation_id, earlier.message_id, earlier.agent_id, earlier.person_id,
            CASE WHEN earlier.api_key_id IS NULL THEN scope.scope_session() END, earlier.api_key_id, earlier.private_to, agent.route,
            earlier.schedule_id, earlier.due_at, earlier.id
        FROM agents.own_ended_run(which) AS earlier
        JOIN agents.agents AS agent ON agent.company_id = earlier.company_id AND agent.id = earlier.agent_id
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'again';
    END IF;
    PERFORM jobs.defer_task('run_agent', run);
    RETURN 'made';
END $$;

-- Gives a run that a limit ended the same allowance again, from where it stands, at most three times. 'continued'; 'none': no such
-- run of one's own, or it did not end so; 'spent': it went on often enough; 'again': it is being tried again already.
CREATE FUNCTION agents.continue_run(which uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    SELECT run.* INTO ended FROM agents.runs AS run WHERE run.company_id = scope.scope_company() AND run.id = which FOR UPDATE;
    IF ended.limit_reached IS NULL OR NOT EXISTS (SELECT FROM agents.own_ended_run(which))
        OR identity.is_revoked(ended.session_id, ended.person_id, ended.created_at) THEN
        RETURN 'none';
    ELSIF ended.continued >= 3 THEN
        RETURN 'spent';
    ELSIF EXISTS (SELECT FROM agents.runs AS repeated WHERE repeated.company_id = ended.company_id AND repeated.retry_of = which) THEN
        RETURN 'again';
    END IF;
    UPDATE agents.runs AS run SET status = 'queued', finished_at = NULL, failure = NULL, limit_reached = NULL, stop_requested_at = NULL,
            continued = run.continued + 1, queued_at = clock_timestamp()
        WHERE run.company_id = ended.company_id AND run.id = which;
    PERFORM jobs.defer_task('run_agent', which);
    RETURN 'continued';
END $$;
GRANT EXECUTE ON FUNCTION agents.retry_run, agents.continue_run TO operalta_web;

-- ── Making, changing and ending schedules: in a session of one's own, never with a key ─────────────────────────────────────────
-- Makes a schedule, or changes and thereby confirms one's own; one that is paused stays so. 'made', 'changed'; 'none': no such agent,
-- conversation or schedule of one's own; 'full': twenty already; 'refused'.
CREATE FUNCTION agents.keep_schedule(schedule uuid, agent uuid, conversation uuid, titled text, asks text, beat text, days smallint[],
    day_of_month smallint, local_time time, in_zone text, following timestamptz) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('agents:run');
    who uuid := scope.scope_person();
    place record;
    present record;
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person'
        OR NOT coalesce(following > now() AND following < now() + interval '400 days', false) THEN
        RETURN 'refused';
    END IF;
    -- One after the other, so that nobody has twenty-one.
    PERFORM FROM tenancy.memberships AS own WHERE own.company_id = in_company AND own.person_id = who FOR NO KEY UPDATE;
    SELECT one.* INTO present FROM agents.schedules AS one WHERE one.company_id = in_company AND one.id = schedule FOR UPDATE;
    SELECT talk.id, talk.private_to INTO place FROM workspace.conversations AS talk WHERE talk.company_id = in_company
        AND talk.id = conversation AND talk.created_by = who AND (talk.private_to IS NULL OR talk.private_to = who);
    IF NOT EXISTS (SELECT FROM agents.agents AS known WHERE known.company_id = in_company AND known.id = agent
            AND known.retired_at IS NULL)
        OR (present.id IS NULL AND place.id IS NULL)
        OR (present.id IS NOT NULL AND (present.owner_id <> who OR present.ended_at IS NOT NULL)) THEN
        RETURN 'none';
    END IF;
    IF present.id IS NOT NULL THEN
        UPDATE agents.schedules AS one SET agent_id = agent, title = titled, prompt = asks, rhythm = beat, weekdays = days,
                month_day = day_of_month, at_time = local_time, zone = in_zone, changed_at = now(), session_id = scope.scope_session(),
                confirmed_at = clock_timestamp(), next_at = CASE WHEN one.paused_at IS NULL THEN following END
            WHERE one.company_id = in_company AND one.id = schedule;
    ELSIF (SELECT count(*) FROM agents.schedules AS one WHERE one.company_id = in_company AND one.owner_id = who
            AND one.ended_at IS NULL) >= 20 THEN
        RETURN 'full';
    ELSE
        INSERT INTO agents.schedules (company_id, id, owner_id, agent_id, conversation_id, private_to, title, prompt, rhythm, weekdays,
                month_day, at_time, zone, next_at, session_id)
            VALUES (in_company, schedule, who, agent, place.id, place.private_to, titled, asks, beat, days, day_of_month, local_time,
                in_zone, following, scope.scope_session());
    END IF;
    PERFORM audit.append_as(in_company, 'person', who, NULL, CASE WHEN present.id IS NULL THEN 'schedule.made' ELSE 'schedule.changed' END,
        'schedule', schedule::text, 'succeeded', NULL, NULL, jsonb_build_object('agent', agent));
    RETURN CASE WHEN present.id IS NULL THEN 'made' ELSE 'changed' END;
END $$;

-- For functions alone: a schedule that the person of the scope may pause or remove: their own, and anybody's that the company sees
-- for those who manage agents.
CREATE FUNCTION agents.schedule_in_hand(which uuid) RETURNS SETOF agents.schedules LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT one.* FROM agents.schedules AS one
        WHERE one.company_id = credentials.here('agents:run') AND one.id = which AND scope.scope_kind() = 'person'
          AND (one.owner_id = scope.scope_person() OR (one.private_to IS NULL AND scope.may('agents:manage')))
$$;

-- Pauses one that one has in hand (`following` NULL), or confirms one's own and lets it go on. 'switched'; 'none'.
CREATE FUNCTION agents.switch_schedule(schedule uuid, following timestamptz) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    who uuid := scope.scope_person();
    present record;
BEGIN
    SELECT held.* INTO present FROM agents.schedule_in_hand(schedule) AS held;
    IF present.id IS NULL OR present.ended_at IS NOT NULL OR (following IS NOT NULL AND (present.owner_id <> who
            OR following <= now() OR following >= now() + interval '400 days')) THEN
        RETURN 'none';
    END IF;
    IF following IS NULL THEN
        UPDATE agents.schedules AS one SET paused_at = now(), paused_because = 'asked', next_at = NULL
            WHERE one.company_id = present.company_id AND one.id = schedule AND one.next_at IS NOT NULL;
    ELSE
        UPDATE agents.schedules AS one SET paused_at = NULL, paused_because = NULL, next_at = following,
                session_id = scope.scope_session(), confirmed_at = clock_timestamp(), skipped_at = NULL, skipped_because = NULL
            WHERE one.company_id = present.company_id AND one.id = schedule AND one.ended_at IS NULL;
    END IF;
    PERFORM audit.append_as(present.company_id, 'person', who, NULL,
        CASE WHEN following IS NULL THEN 'schedule.paused' ELSE 'schedule.resumed' END, 'schedule', schedule::text, 'succeeded', NULL,
        NULL, '{}');
    RETURN 'switched';
END $$;

-- Removes one that one has in hand; its conversation stays. 'removed'; 'none'.
CREATE FUNCTION agents.remove_schedule(schedule uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    removed record;
BEGIN
    DELETE FROM agents.schedules AS one USING agents.schedule_in_hand(schedule) AS held
        WHERE one.company_id = held.company_id AND one.id = held.id RETURNING one.company_id, one.title INTO removed;
    IF removed.company_id IS NULL THEN
        RETURN 'none';
    END IF;
    PERFORM audit.append_as(removed.company_id, 'person', scope.scope_person(), NULL, 'schedule.removed', 'schedule', schedule::text,
        'succeeded', NULL, NULL, '{}');
    RETURN 'removed';
END $$;

-- ── Beginning ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────
-- For functions alone: makes the run of a schedule, for the time that it was due, with the rights that its owner has now. NULL where
-- none is made: the owner may not, or the run before has not ended; which the schedule then says.
CREATE FUNCTION agents.begin_run_of_schedule(in_company uuid, which uuid, due timestamptz) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    one agents.schedules;
    said uuid := gen_random_uuid();
    made uuid := gen_random_uuid();
    why text;
BEGIN
    SELECT held.* INTO one FROM agents.schedules AS held WHERE held.company_id = in_company AND held.id = which FOR UPDATE;
    IF one.ended_at IS NOT NULL OR one.id IS NULL THEN
        RETURN NULL;
    END IF;
    why := CASE
        WHEN identity.is_revoked(one.session_id, one.owner_id, one.confirmed_at) THEN 'session'
        WHEN NOT EXISTS (SELECT FROM tenancy.memberships AS membership
                JOIN tenancy.companies AS host ON host.id = membership.company_id
                JOIN access.role_permissions AS granted ON granted.company_kind = host.kind AND granted.role = membership.role
                    AND granted.permission = 'agents:run'
                JOIN identity.people AS person ON person.id = membership.person_id AND person.disabled_at IS NULL
                WHERE membership.company_id = in_company AND membership.person_id = one.owner_id AND membership.ended_at IS NULL)
            THEN 'role'
        WHEN EXISTS (SELECT FROM agents.agents AS agent WHERE agent.company_id = in_company AND agent.id = one.agent_id
                AND agent.retired_at IS NOT NULL) THEN 'agent'
    END;
    IF why IS NOT NULL THEN
        PERFORM agents.pause_schedule(in_company, which, why);
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM agents.runs AS before WHERE before.company_id = in_company AND before.schedule_id = which
            AND before.status IN ('queued', 'running', 'waiting_for_approval')) THEN
        UPDATE agents.schedules AS held SET skipped_at = now(), skipped_because = 'unfinished'
            WHERE held.company_id = in_company AND held.id = which;
        PERFORM agents.note_schedule(in_company, one.owner_id, which, 'schedule.skipped', '{"why": "unfinished"}');
        RETURN NULL;
    END IF;
    -- As whoever writes a message does: the conversation first, so that its runs stand in the order of their messages.
    UPDATE workspace.conversations AS talk SET updated_at = now() WHERE talk.company_id = in_company AND talk.id = one.conversation_id;
    INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id, body)
        VALUES (in_company, said, one.conversation_id, one.private_to, 'person', one.owner_id, one.prompt);
    INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, private_to, route, schedule_id,
            due_at)
        SELECT in_company, made, one.conversation_id, said, one.agent_id, one.owner_id, one.session_id, one.private_to, agent.route, which,
            due FROM agents.agents AS agent WHERE agent.company_id = in_company AND agent.id = one.agent_id;
    UPDATE agents.schedules AS held SET last_run_id = made, last_at = due, skipped_at = NULL, skipped_because = NULL
        WHERE held.company_id = in_company AND held.id = which;
    PERFORM agents.note_schedule(in_company, one.owner_id, which, 'schedule.began', jsonb_build_object('run', made, 'due', due));
    PERFORM jobs.defer_task('run_agent', made);
    RETURN made;
END $$;

-- The run of one's own schedule at once, outside its times. NULL: no such schedule, or no run was made.
CREATE FUNCTION agents.run_schedule_now(schedule uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM agents.schedule_in_hand(schedule) AS held WHERE held.owner_id = scope.scope_person()
            AND held.paused_because IS DISTINCT FROM 'session') THEN
        RETURN NULL;
    END IF;
    RETURN agents.begin_run_of_schedule(scope.scope_company(), schedule, clock_timestamp());
END $$;
GRANT EXECUTE ON FUNCTION agents.keep_schedule, agents.switch_schedule, agents.remove_schedule, agents.run_schedule_now TO operalta_web;

-- The schedule that is due longest, held until the transaction ends, and its times: what it asks stays here.
CREATE FUNCTION elevated.due_schedule() RETURNS TABLE (company uuid, schedule uuid, due timestamptz, rhythm text, weekdays smallint[],
    month_day smallint, at_time time, zone text) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT one.company_id, one.id, one.next_at, one.rhythm, one.weekdays, one.month_day, one.at_time, one.zone
        FROM agents.schedules AS one WHERE one.next_at <= now() ORDER BY one.next_at FOR UPDATE SKIP LOCKED LIMIT 1;
END $$;

-- Begins a schedule that is due at exactly this time, once, and says when it is due next; NULL: nobody knows, so it is paused. True
-- where it was due: a run was made, or the schedule says why not.
CREATE FUNCTION elevated.begin_schedule(company uuid, schedule uuid, due timestamptz, following timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF following <= now() OR following >= now() + interval '400 days' OR due > now() THEN
        RETURN false;
    END IF;
    PERFORM FROM agents.schedules AS one WHERE one.company_id = company AND one.id = schedule AND one.next_at = due FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF following IS NULL THEN
        PERFORM agents.pause_schedule(company, schedule, 'time');
        RETURN true;
    END IF;
    UPDATE agents.schedules AS one SET next_at = following WHERE one.company_id = company AND one.id = schedule;
    PERFORM agents.begin_run_of_schedule(company, schedule, due);
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION elevated.due_schedule, elevated.begin_schedule TO operalta_job;
