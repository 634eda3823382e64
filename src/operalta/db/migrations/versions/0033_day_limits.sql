-- What the agents of a company may use in one day, UTC, all together; and what each run used on which day, its waiting for people
-- aside. Both are reached through functions alone, so that a day is counted over colleagues' private runs too, and shown without them.

-- How long a worker was at it since the event before, so that a run's time is known from its events, whoever takes it up.
ALTER TABLE agents.run_events ADD COLUMN worked_ms integer NOT NULL DEFAULT 0 CHECK (worked_ms BETWEEN 0 AND 86400000);
GRANT INSERT (worked_ms) ON agents.run_events TO operalta_worker;

-- Of a request whose answer did not come, and which nobody counted therefore: about how much was sent.
ALTER TABLE agents.model_requests ADD COLUMN estimated_tokens bigint CHECK (estimated_tokens >= 0);
GRANT UPDATE (estimated_tokens) ON agents.model_requests TO operalta_worker;

CREATE TABLE agents.day_limits (
    company_id uuid NOT NULL PRIMARY KEY REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    -- By their names in RunLimits; what is not among them is as is usual.
    limits jsonb NOT NULL CHECK (jsonb_typeof(limits) = 'object' AND length(limits::text) <= 400),
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, changed_by) REFERENCES tenancy.memberships (company_id, person_id)
);
CREATE INDEX day_limits_changed_by ON agents.day_limits (company_id, changed_by);
CALL scope.guard_table('agents.day_limits');

-- One row for each run and day, so that runs do not wait for each other. It outlives the run: what was used stays used.
CREATE TABLE agents.day_use (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    day date NOT NULL,
    run_id uuid NOT NULL,
    steps bigint NOT NULL,
    tool_calls bigint NOT NULL,
    tokens bigint NOT NULL,
    cost_micros bigint NOT NULL,
    worked_ms bigint NOT NULL,
    PRIMARY KEY (company_id, day, run_id)
);
CALL scope.guard_table('agents.day_use');

-- For functions alone: an amount out of JSON, whatever stands there.
CREATE FUNCTION agents.amount_of(written jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE SECURITY DEFINER AS $$
    SELECT CASE WHEN jsonb_typeof(written) = 'number' THEN least(greatest((written #>> '{}')::numeric, 0), 1000000000000)::bigint
        ELSE 0 END
$$;

CREATE FUNCTION agents.count_use() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    is_turn boolean := NEW.kind = 'model_answered';
BEGIN
    INSERT INTO agents.day_use AS used (company_id, day, run_id, steps, tool_calls, tokens, cost_micros, worked_ms)
        VALUES (NEW.company_id, (now() AT TIME ZONE 'UTC')::date, NEW.run_id, is_turn::integer, (NEW.kind = 'tool_asked')::integer,
            CASE WHEN is_turn THEN agents.amount_of(NEW.body -> 'tokens') ELSE 0 END,
            CASE WHEN is_turn THEN agents.amount_of(NEW.body -> 'cost_micros') ELSE 0 END, NEW.worked_ms)
        ON CONFLICT (company_id, day, run_id) DO UPDATE SET steps = used.steps + excluded.steps,
            tool_calls = used.tool_calls + excluded.tool_calls, tokens = used.tokens + excluded.tokens,
            cost_micros = used.cost_micros + excluded.cost_micros, worked_ms = used.worked_ms + excluded.worked_ms;
    RETURN NULL;
END $$;
CREATE TRIGGER count_use AFTER INSERT ON agents.run_events FOR EACH ROW
    WHEN (NEW.worked_ms > 0 OR NEW.kind IN ('model_answered', 'tool_asked')) EXECUTE FUNCTION agents.count_use();

-- A request to a model that came to nothing, or was stopped, was made all the same; what it took is not known, and about what was
-- sent is counted.
CREATE FUNCTION agents.count_vain_request() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO agents.day_use AS used (company_id, day, run_id, steps, tool_calls, tokens, cost_micros, worked_ms)
        VALUES (NEW.company_id, (now() AT TIME ZONE 'UTC')::date, NEW.run_id, 1, 0,
            least(coalesce(NEW.estimated_tokens, 0), 1000000000000), 0, 0)
        ON CONFLICT (company_id, day, run_id) DO UPDATE SET steps = used.steps + 1, tokens = used.tokens + excluded.tokens;
    RETURN NULL;
END $$;
CREATE TRIGGER count_vain_request AFTER UPDATE OF outcome ON agents.model_requests FOR EACH ROW
    WHEN (OLD.outcome = 'asked' AND NEW.outcome IN ('failed', 'stopped', 'lost')) EXECUTE FUNCTION agents.count_vain_request();

-- The limits of the scope's company, who changed them, and what has been used today.
CREATE FUNCTION agents.day_here() RETURNS TABLE (limits jsonb, changed_by uuid, changed_at timestamptz, steps bigint, tool_calls bigint,
    tokens bigint, cost_micros bigint, worked_ms bigint) LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 AS $$
    SELECT coalesce(held.limits, '{}'), held.changed_by, held.changed_at, used.steps, used.tool_calls, used.tokens, used.cost_micros,
        used.worked_ms
    FROM (SELECT scope.company_permitting('agents:read') AS company) AS here
    LEFT JOIN agents.day_limits AS held ON held.company_id = here.company
    CROSS JOIN LATERAL (SELECT coalesce(sum(one.steps), 0)::bigint AS steps, coalesce(sum(one.tool_calls), 0)::bigint AS tool_calls,
            coalesce(sum(one.tokens), 0)::bigint AS tokens, coalesce(sum(one.cost_micros), 0)::bigint AS cost_micros,
            coalesce(sum(one.worked_ms), 0)::bigint AS worked_ms
        FROM agents.day_use AS one WHERE one.company_id = here.company AND one.day = (now() AT TIME ZONE 'UTC')::date) AS used
    WHERE here.company IS NOT NULL
$$;
GRANT EXECUTE ON FUNCTION agents.day_here TO operalta_web, operalta_worker;

-- 'changed', 'unchanged', 'refused'.
CREATE FUNCTION agents.change_day_limits(wanted jsonb) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('agents:manage');
    before jsonb;
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR coalesce(jsonb_typeof(wanted), '') <> 'object' OR EXISTS (SELECT FROM jsonb_each(
            CASE WHEN jsonb_typeof(wanted) = 'object' THEN wanted END) AS each (name, value)
            LEFT JOIN (VALUES ('steps', 1, 1000000), ('tool_calls', 1, 2000000), ('tokens', 1, 10000000000),
                ('cost_micros', 0, 100000000000), ('active_seconds', 1, 10000000)) AS known (name, lowest, highest) USING (name)
            WHERE known.highest IS NULL OR jsonb_typeof(each.value) <> 'number' OR CASE WHEN jsonb_typeof(each.value) = 'number'
                THEN (each.value #>> '{}')::numeric NOT BETWEEN known.lowest AND known.highest
                    OR (each.value #>> '{}')::numeric <> trunc((each.value #>> '{}')::numeric) END) THEN
        RETURN 'refused';
    END IF;
    -- One after the other: the log says from what to what.
    PERFORM FROM tenancy.companies AS host WHERE host.id = in_company FOR NO KEY UPDATE;
    before := coalesce((SELECT held.limits FROM agents.day_limits AS held WHERE held.company_id = in_company), '{}');
    IF before = wanted THEN
        RETURN 'unchanged';
    END IF;
    INSERT INTO agents.day_limits AS held (company_id, limits, changed_by) VALUES (in_company, wanted, scope.scope_person())
        ON CONFLICT (company_id) DO UPDATE SET limits = excluded.limits, changed_by = excluded.changed_by, changed_at = now();
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'day_limits.changed', 'company', in_company::text,
        'succeeded', NULL, NULL, jsonb_build_object('limits', wanted, 'before', before));
    RETURN 'changed';
END $$;
GRANT EXECUTE ON FUNCTION agents.change_day_limits TO operalta_web;

ALTER TABLE agents.runs DROP CONSTRAINT runs_limit_reached_check, ADD CONSTRAINT runs_limit_reached_check
    CHECK (limit_reached IN ('steps', 'tool_calls', 'tokens', 'cost_micros', 'active_seconds', 'day_steps', 'day_tool_calls',
        'day_tokens', 'day_cost_micros', 'day_active_seconds'));
