-- Runs that runs begin: an agent hands a task to another one of the company, and waits for what comes of it.

ALTER TABLE agents.runs
    -- What the run above asks of it; its words vouch for nothing.
    ADD COLUMN task text CHECK (length(task) BETWEEN 1 AND 20000),
    ADD COLUMN parent_call_id text CHECK (parent_call_id IS NULL OR (parent_run_id IS NOT NULL AND length(parent_call_id) BETWEEN 1 AND 200));
-- At most one run for each call; and the way to the runs that one began.
CREATE UNIQUE INDEX runs_of_call ON agents.runs (company_id, parent_run_id, parent_call_id) WHERE parent_run_id IS NOT NULL;
GRANT SELECT (task, parent_call_id) ON agents.runs TO operalta_web, operalta_worker;

-- Begins a run for a call of the scope's own run, with that run's person, session or key, and conversation. 'made'; 'none': no such
-- agent here; 'deep': it is itself two runs below a person's; 'many': eight were begun already; 'refused'.
CREATE FUNCTION agents.start_child_run(child uuid, agent uuid, asks text, for_call text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := scope.company_permitting('agents:run');
    above record;
    depth integer;
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'run' THEN
        RETURN 'refused';
    END IF;
    SELECT run.* INTO above FROM agents.runs AS run WHERE run.company_id = in_company AND run.id = scope.scope_run()
        AND run.status = 'running' AND run.stop_requested_at IS NULL FOR NO KEY UPDATE;
    IF above.id IS NULL OR EXISTS (SELECT FROM agents.runs AS taken WHERE taken.id = child) THEN
        RETURN 'refused';
    END IF;
    WITH RECURSIVE line AS (
        SELECT above.id AS id, above.parent_run_id AS parent_run_id, 0 AS steps
        UNION ALL
        SELECT run.id, run.parent_run_id, line.steps + 1 FROM line JOIN agents.runs AS run
            ON run.company_id = in_company AND run.id = line.parent_run_id WHERE line.steps < 10
    ) SELECT max(line.steps) INTO depth FROM line;
    IF depth >= 2 THEN
        RETURN 'deep';
    ELSIF (SELECT count(*) FROM agents.runs AS run WHERE run.company_id = in_company AND run.parent_run_id = above.id) >= 8 THEN
        RETURN 'many';
    END IF;
    INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, api_key_id, private_to, route,
            parent_run_id, parent_call_id, task)
        SELECT in_company, child, above.conversation_id, above.message_id, known.id, above.person_id, above.session_id, above.api_key_id,
            above.private_to, known.route, above.id, for_call, asks
        FROM agents.agents AS known WHERE known.company_id = in_company AND known.id = agent AND known.retired_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    PERFORM jobs.defer_task('run_agent', child);
    RETURN 'made';
END $$;
GRANT EXECUTE ON FUNCTION agents.start_child_run TO operalta_worker;

-- However a child run ends, the run above it is queued with it.
CREATE FUNCTION agents.wake_parent_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM jobs.defer_task('run_agent', NEW.parent_run_id);
    RETURN NULL;
END $$;
CREATE TRIGGER wake_parent_run AFTER UPDATE OF status ON agents.runs FOR EACH ROW
    WHEN (NEW.parent_run_id IS NOT NULL AND NEW.status IN ('finished', 'failed', 'stopped')
        AND OLD.status IN ('queued', 'running', 'waiting_for_approval'))
    EXECUTE FUNCTION agents.wake_parent_run();

-- However a run ends, or is to stop, so are those that it began.
CREATE FUNCTION agents.stop_child_runs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    below uuid;
BEGIN
    FOR below IN UPDATE agents.runs AS run SET stop_requested_at = now() WHERE run.company_id = NEW.company_id
            AND run.parent_run_id = NEW.id AND run.stop_requested_at IS NULL
            AND run.status IN ('queued', 'running', 'waiting_for_approval') RETURNING run.id
    LOOP
        PERFORM jobs.defer_task('run_agent', below);
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER stop_child_runs AFTER UPDATE OF status, stop_requested_at ON agents.runs FOR EACH ROW
    WHEN (NEW.status IN ('finished', 'failed', 'stopped') OR NEW.stop_requested_at IS NOT NULL)
    EXECUTE FUNCTION agents.stop_child_runs();
