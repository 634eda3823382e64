-- A company's own list of the operator's model routes, the route of each agent, and the ledger of what was asked where.
-- Nothing is allowed until a member allows it; the built-in route, over which nothing leaves, needs no row.

CREATE TABLE agents.allowed_routes (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,79}$' AND slug <> 'built-in'),
    -- Of the route as the member saw it, approval record and all: where the operator changes it, it is allowed anew.
    record_sha256 text NOT NULL CHECK (record_sha256 ~ '^[0-9a-f]{64}$'),
    allowed_by uuid NOT NULL,
    allowed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, slug),
    FOREIGN KEY (company_id, allowed_by) REFERENCES tenancy.memberships (company_id, person_id)
);
CREATE INDEX allowed_routes_allowed_by ON agents.allowed_routes (company_id, allowed_by);
CALL scope.guard_table('agents.allowed_routes');
GRANT SELECT ON agents.allowed_routes TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON agents.allowed_routes FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('agents:read')));

-- In the words of the operator's approval records. A route needs its region here too.
CREATE TABLE agents.allowed_regions (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    region text NOT NULL CHECK (length(region) BETWEEN 1 AND 400),
    allowed_by uuid NOT NULL,
    allowed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, region),
    FOREIGN KEY (company_id, allowed_by) REFERENCES tenancy.memberships (company_id, person_id)
);
CREATE INDEX allowed_regions_allowed_by ON agents.allowed_regions (company_id, allowed_by);
CALL scope.guard_table('agents.allowed_regions');
GRANT SELECT ON agents.allowed_regions TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON agents.allowed_regions FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('agents:read')));

-- ── Allowing and withdrawing: the whole list at once ───────────────────────────────────────────────────
-- 'changed'; 'unchanged'; 'unproved': prove yourself first, which only what widens the list asks for; 'refused'.
CREATE FUNCTION agents.allow_routes(slugs text[], records text[], regions text[]) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('company:manage');
    who uuid := scope.scope_person();
    added text[];
    added_regions text[];
    gone text[];
    gone_regions text[];
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR cardinality(slugs) IS DISTINCT FROM cardinality(records)
        OR slugs IS NULL OR regions IS NULL OR cardinality(slugs) > 200 OR cardinality(regions) > 200
        OR array_position(slugs, NULL) IS NOT NULL OR array_position(regions, NULL) IS NOT NULL THEN
        RETURN 'refused';
    END IF;
    -- One after the other: what widens is judged against the list as it is.
    PERFORM FROM tenancy.companies AS host WHERE host.id = in_company FOR NO KEY UPDATE;
    added := ARRAY(SELECT wanted.slug FROM unnest(slugs, records) AS wanted (slug, record)
        WHERE NOT EXISTS (SELECT FROM agents.allowed_routes AS known WHERE known.company_id = in_company
            AND known.slug = wanted.slug AND known.record_sha256 = wanted.record) ORDER BY 1);
    added_regions := ARRAY(SELECT wanted.region FROM unnest(regions) AS wanted (region)
        WHERE NOT EXISTS (SELECT FROM agents.allowed_regions AS known WHERE known.company_id = in_company
            AND known.region = wanted.region) ORDER BY 1);
    IF cardinality(added) + cardinality(added_regions) > 0 AND NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    WITH withdrawn AS (DELETE FROM agents.allowed_routes AS known WHERE known.company_id = in_company
            AND NOT known.slug = ANY (slugs) RETURNING known.slug)
        SELECT coalesce(array_agg(withdrawn.slug ORDER BY withdrawn.slug), '{}') INTO gone FROM withdrawn;
    WITH withdrawn AS (DELETE FROM agents.allowed_regions AS known WHERE known.company_id = in_company
            AND NOT known.region = ANY (regions) RETURNING known.region)
        SELECT coalesce(array_agg(withdrawn.region ORDER BY withdrawn.region), '{}') INTO gone_regions FROM withdrawn;
    IF cardinality(added) + cardinality(added_regions) + cardinality(gone) + cardinality(gone_regions) = 0 THEN
        RETURN 'unchanged';
    END IF;
    INSERT INTO agents.allowed_routes AS known (company_id, slug, record_sha256, allowed_by)
        SELECT in_company, wanted.slug, wanted.record, who FROM unnest(slugs, records) AS wanted (slug, record)
            WHERE wanted.slug = ANY (added)
        ON CONFLICT (company_id, slug) DO UPDATE SET record_sha256 = excluded.record_sha256, allowed_by = excluded.allowed_by,
            allowed_at = now();
    INSERT INTO agents.allowed_regions (company_id, region, allowed_by)
        SELECT in_company, wanted.region, who FROM unnest(added_regions) AS wanted (region);
    PERFORM audit.append_as(in_company, 'person', who, NULL, 'routes.changed', 'company', in_company::text, 'succeeded', NULL, NULL,
        jsonb_build_object('allowed', added, 'withdrawn', gone, 'regions_allowed', added_regions, 'regions_withdrawn', gone_regions));
    RETURN 'changed';
END $$;

-- 'chosen', 'none', 'refused'; 'not allowed': the company's list has no such route. There is no other way to an agent's route.
CREATE FUNCTION agents.choose_route(agent uuid, wanted text) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('agents:manage');
    before text;
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' THEN
        RETURN 'refused';
    END IF;
    SELECT one.route INTO before FROM agents.agents AS one WHERE one.company_id = in_company AND one.id = agent FOR UPDATE;
    IF before IS NULL THEN
        RETURN 'none';
    ELSIF wanted <> 'built-in' AND NOT EXISTS (SELECT FROM agents.allowed_routes AS known WHERE known.company_id = in_company
            AND known.slug = wanted) THEN
        RETURN 'not allowed';
    END IF;
    UPDATE agents.agents AS one SET route = wanted, updated_at = now() WHERE one.company_id = in_company AND one.id = agent;
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'agent.changed', 'agent', agent::text, 'succeeded',
        NULL, NULL, jsonb_build_object('route', wanted, 'before', before));
    RETURN 'chosen';
END $$;
GRANT EXECUTE ON FUNCTION agents.allow_routes, agents.choose_route TO operalta_web;

-- ── The ledger: what was asked where. No content, and no person ────────────────────────────────────────
-- A line is there before anything is sent, so that a worker that dies leaves it: 'lost' then. It outlives conversations.
CREATE TABLE agents.model_requests (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    route text NOT NULL CHECK (length(route) <= 80),
    -- NULL where nothing leaves the deployment, or no such route is there.
    provider text CHECK (length(provider) <= 40),
    host text CHECK (length(host) <= 300),
    region text CHECK (length(region) <= 400),
    model text CHECK (length(model) <= 400),
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    outcome text NOT NULL DEFAULT 'asked' CHECK (outcome IN ('asked', 'answered', 'failed', 'refused', 'stopped', 'lost')),
    -- In words of ours.
    reason text CHECK (length(reason) <= 300),
    input_tokens bigint CHECK (input_tokens >= 0),
    output_tokens bigint CHECK (output_tokens >= 0),
    cost_micros bigint CHECK (cost_micros >= 0),
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, agent_id) REFERENCES agents.agents (company_id, id),
    CHECK ((outcome = 'asked') = (ended_at IS NULL))
);
CREATE INDEX model_requests_time ON agents.model_requests (company_id, asked_at DESC, id DESC);
CREATE INDEX model_requests_open ON agents.model_requests (company_id, run_id) WHERE outcome = 'asked';
CREATE INDEX model_requests_age ON agents.model_requests (asked_at);
CALL scope.guard_table('agents.model_requests');
GRANT SELECT ON agents.model_requests TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, run_id, agent_id, route, provider, host, region, model,
    ended_at, outcome, reason), UPDATE (ended_at, outcome, reason, input_tokens, output_tokens, cost_micros)
    ON agents.model_requests TO operalta_worker;
CREATE POLICY scoped_read ON agents.model_requests FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('audit:read')));
CREATE POLICY run_read ON agents.model_requests FOR SELECT TO operalta_worker
    USING (company_id = (SELECT scope.company_permitting('agents:run')) AND run_id = (SELECT scope.scope_run()));
CREATE POLICY run_insert ON agents.model_requests FOR INSERT TO operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run())
        AND EXISTS (SELECT FROM agents.runs AS run WHERE run.company_id = model_requests.company_id
            AND run.id = model_requests.run_id AND run.agent_id = model_requests.agent_id));
-- A line that has ended stays as it is.
CREATE POLICY run_update ON agents.model_requests FOR UPDATE TO operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND outcome = 'asked')
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND outcome <> 'asked');

CREATE FUNCTION elevated.forget_model_requests() RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    forgotten integer;
BEGIN
    DELETE FROM agents.model_requests AS old WHERE old.asked_at < now() - interval '400 days';
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    IF forgotten > 0 THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'elevated.used', 'deployment', NULL, 'succeeded', NULL, NULL,
            jsonb_build_object('purpose', 'forget what has expired', 'removed', jsonb_build_object('model requests', forgotten)));
    END IF;
    RETURN forgotten;
END $$;
GRANT EXECUTE ON FUNCTION elevated.forget_model_requests TO operalta_job;
