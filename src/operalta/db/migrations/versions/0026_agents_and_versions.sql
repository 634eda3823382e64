-- Agents that a company makes itself, retires and brings back; every version of each is kept.

ALTER TABLE agents.agents ADD COLUMN retired_at timestamptz;
GRANT INSERT (company_id, id, slug, name, purpose, instructions, tools, limits, directories) ON agents.agents TO operalta_web;
CREATE POLICY scoped_insert ON agents.agents FOR INSERT TO operalta_web
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:manage'))));

-- What an agent was told and granted, from when on, and who said so (NULL: it came with the company).
CREATE TABLE agents.agent_versions (
    company_id uuid NOT NULL,
    agent_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    name text NOT NULL,
    purpose text NOT NULL,
    instructions text NOT NULL,
    route text NOT NULL,
    tools jsonb NOT NULL,
    limits jsonb NOT NULL,
    directories text[] NOT NULL,
    changed_by uuid REFERENCES identity.people (id),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, agent_id, version),
    FOREIGN KEY (company_id, agent_id) REFERENCES agents.agents (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('agents.agent_versions');
GRANT SELECT ON agents.agent_versions TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON agents.agent_versions FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('agents:read')));
INSERT INTO agents.agent_versions (company_id, agent_id, version, name, purpose, instructions, route, tools, limits, directories, changed_at)
    SELECT known.company_id, known.id, 1, known.name, known.purpose, known.instructions, known.route, known.tools, known.limits,
        known.directories, known.updated_at FROM agents.agents AS known;

-- Whoever changes an agent, by whatever statement, leaves a version. The row is locked by the change, so numbers have no gaps.
CREATE FUNCTION agents.keep_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO agents.agent_versions (company_id, agent_id, version, name, purpose, instructions, route, tools, limits,
            directories, changed_by)
        SELECT NEW.company_id, NEW.id, 1 + coalesce(max(kept.version), 0), NEW.name, NEW.purpose, NEW.instructions, NEW.route,
            NEW.tools, NEW.limits, NEW.directories, scope.scope_person()
        FROM agents.agent_versions AS kept WHERE kept.company_id = NEW.company_id AND kept.agent_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_first_version AFTER INSERT ON agents.agents FOR EACH ROW EXECUTE FUNCTION agents.keep_version();
CREATE TRIGGER keep_version AFTER UPDATE ON agents.agents FOR EACH ROW
    WHEN ((OLD.name, OLD.purpose, OLD.instructions, OLD.route, OLD.tools, OLD.limits, OLD.directories)
        IS DISTINCT FROM (NEW.name, NEW.purpose, NEW.instructions, NEW.route, NEW.tools, NEW.limits, NEW.directories))
    EXECUTE FUNCTION agents.keep_version();

-- Retires an agent, which asks all its runs to stop, or brings it back. 'retired', 'back', 'unchanged', 'none', 'refused';
-- 'last': a company keeps at least one agent that people can write to.
CREATE FUNCTION agents.retire_agent(agent uuid, away boolean) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('agents:manage');
    was boolean;
    stopped uuid;
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR away IS NULL THEN
        RETURN 'refused';
    END IF;
    -- One after the other, so that two who retire the last two agents do not both succeed.
    PERFORM FROM tenancy.companies AS host WHERE host.id = in_company FOR NO KEY UPDATE;
    SELECT one.retired_at IS NOT NULL INTO was FROM agents.agents AS one WHERE one.company_id = in_company AND one.id = agent FOR UPDATE;
    IF was IS NULL THEN
        RETURN 'none';
    ELSIF was = away THEN
        RETURN 'unchanged';
    ELSIF away AND NOT EXISTS (SELECT FROM agents.agents AS other WHERE other.company_id = in_company AND other.id <> agent
            AND other.retired_at IS NULL) THEN
        RETURN 'last';
    END IF;
    UPDATE agents.agents AS one SET retired_at = CASE WHEN away THEN now() END, updated_at = now()
        WHERE one.company_id = in_company AND one.id = agent;
    IF away THEN
        FOR stopped IN UPDATE agents.runs AS run SET stop_requested_at = now() WHERE run.company_id = in_company
                AND run.agent_id = agent AND run.status IN ('queued', 'running', 'waiting_for_approval') RETURNING run.id
        LOOP
            PERFORM jobs.defer_task('run_agent', stopped);
        END LOOP;
    END IF;
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'agent.changed', 'agent', agent::text, 'succeeded',
        NULL, NULL, jsonb_build_object('retired', away));
    RETURN CASE WHEN away THEN 'retired' ELSE 'back' END;
END $$;
GRANT EXECUTE ON FUNCTION agents.retire_agent TO operalta_web;
