-- One look at the scope for each statement that reads: the scope says what its role may, and a read policy compares with one
-- value, the company where that permission holds. Two conditions were two verifications, and the second one, a plain truth value,
-- made the planner expect half the rows.

-- Replaced where they stand, since policies hang on them, and as their owner: in a new database that is still the owner of the
-- tables, in one that was hardened already the definer.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'scope.part'::regproc));
END $$;

-- Binds the scope to this transaction of this backend. It says kind|person|company|company kind|role|session|run|operator|
-- ,permission,permission,| and is followed by its signature; backend and start of the transaction are signed, not said.
CREATE OR REPLACE FUNCTION scope.bind(
    kind text, person uuid, company uuid, company_kind text, role text, session uuid, run uuid, operator boolean
) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    permissions text := (SELECT string_agg(granted.permission, ',' ORDER BY granted.permission) FROM access.role_permissions AS granted
        WHERE granted.company_kind = bind.company_kind AND granted.role = bind.role);
    says text;
BEGIN
    PERFORM scope.prepare();
    says := concat(kind, '|', person, '|', company, '|', company_kind, '|', role, '|', session, '|', run, '|',
        CASE WHEN operator THEN '1' END, '|', ',' || permissions || ',', '|');
    PERFORM set_config('operalta.scope', says || scope.signature(
        says || concat_ws('|', pg_backend_pid(), extract(epoch FROM transaction_timestamp()))), true);
END $$;

-- One part of the scope, or NULL.
CREATE OR REPLACE FUNCTION scope.part(which integer) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    RETURN CASE WHEN which BETWEEN 1 AND 8 THEN nullif(split_part(scope.verified(), '|', which), '') END;
END $$;

-- Whether the scope's own role holds a permission.
CREATE OR REPLACE FUNCTION scope.may(wanted text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    RETURN coalesce(position(',' || wanted || ',' IN split_part(scope.verified(), '|', 9)) > 0, false);
END $$;

RESET ROLE;

-- What the scope says, verified, or NULL: forged, replayed in another transaction or backend, or absent. For functions alone.
CREATE FUNCTION scope.verified() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    bound text := current_setting('operalta.scope', true);
    says text := left(bound, -64);
    inner_key bytea;
    outer_key bytea;
BEGIN
    SELECT inner_pad, outer_pad INTO inner_key, outer_key FROM scope.key WHERE server_start = pg_postmaster_start_time();
    -- Digests are compared, not the values, so that the time it takes tells nothing about the signature.
    IF sha256(convert_to(right(bound, 64), 'UTF8')) = sha256(convert_to(encode(
        sha256(outer_key || sha256(inner_key || convert_to(
            says || concat_ws('|', pg_backend_pid(), extract(epoch FROM transaction_timestamp())), 'UTF8'))), 'hex'), 'UTF8'))
    THEN
        RETURN says;
    END IF;
    RETURN NULL;
END $$;

-- The scope's company where its role holds a permission; NULL elsewhere. Read policies compare with it.
CREATE FUNCTION scope.company_permitting(wanted text) RETURNS uuid LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    says text := scope.verified();
BEGIN
    IF position(',' || wanted || ',' IN split_part(says, '|', 9)) > 0 THEN
        RETURN nullif(split_part(says, '|', 3), '')::uuid;
    END IF;
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION scope.company_permitting TO operalta_web, operalta_worker;

-- ── Read policies ──────────────────────────────────────────────────────────────────────────────────────
ALTER POLICY scoped_read ON agents.agents USING (company_id = (SELECT scope.company_permitting('agents:read')));
ALTER POLICY scoped_read ON agents.approvals USING (company_id = (SELECT scope.company_permitting('approvals:read'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON agents.grants USING (company_id = (SELECT scope.company_permitting('approvals:read'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON agents.run_events USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON agents.runs USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON agents.tool_calls USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON audit.events USING (company_id = (SELECT scope.company_permitting('audit:read')));
ALTER POLICY scoped_read ON audit.leaves USING (company_id = (SELECT scope.company_permitting('audit:read')));
ALTER POLICY scoped_read ON sandbox.egress_log USING (company_id = (SELECT scope.company_permitting('audit:read'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON tenancy.invitations USING (company_id = (SELECT scope.company_permitting('members:invite')));
ALTER POLICY scoped_read ON tenancy.memberships USING (company_id = (SELECT scope.company_permitting('members:read')));
ALTER POLICY scoped_read ON tenancy.staff_access USING (company_id = (SELECT scope.company_permitting('members:read')));
ALTER POLICY scoped_read ON workspace.conversations USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON workspace.file_versions USING (company_id = (SELECT scope.company_permitting('files:read')));
ALTER POLICY scoped_read ON workspace.files USING (company_id = (SELECT scope.company_permitting('files:read')));
ALTER POLICY scoped_read ON workspace.messages USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
ALTER POLICY scoped_read ON workspace.metric_points USING (company_id = (SELECT scope.company_permitting('metrics:read')));
ALTER POLICY scoped_read ON workspace.metrics USING (company_id = (SELECT scope.company_permitting('metrics:read')));
ALTER POLICY scoped_read ON workspace.passages USING (company_id = (SELECT scope.company_permitting('files:read')));
ALTER POLICY scoped_read ON workspace.record_history USING (company_id = (SELECT scope.company_permitting('memory:read')));
ALTER POLICY scoped_read ON workspace.records USING (company_id = (SELECT scope.company_permitting('memory:read')));

-- ── Text search: few rows come of it, and the planner has to know that to look them up by their keys ─────────────────
DROP FUNCTION workspace.search_records(text, text, integer);
CREATE FUNCTION workspace.search_records(query text, wanted_kind text, most integer)
RETURNS TABLE (record_id uuid, rank real) LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50 AS $$
DECLARE
    asked tsquery := websearch_to_tsquery('english', left(query, 400));
    here uuid := scope.company_permitting('memory:read');
BEGIN
    IF here IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT record.id, ts_rank(record.words, asked) AS rank FROM workspace.records AS record
        WHERE record.company_id = here AND record.words @@ asked AND (wanted_kind IS NULL OR record.kind = wanted_kind)
        ORDER BY rank DESC, record.id DESC LIMIT least(greatest(most, 0), 200);
END $$;
DROP FUNCTION workspace.search_passages(text, integer);
CREATE FUNCTION workspace.search_passages(query text, most integer)
RETURNS TABLE (file_id uuid, passage_position integer, rank real) LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50 AS $$
DECLARE
    asked tsquery := websearch_to_tsquery('english', left(query, 400));
    here uuid := scope.company_permitting('files:read');
BEGIN
    IF here IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT passage.file_id, passage.position, ts_rank(passage.words, asked) AS rank
        FROM workspace.passages AS passage
        JOIN workspace.files AS file ON file.company_id = passage.company_id AND file.id = passage.file_id
        WHERE passage.company_id = here AND file.deleted_at IS NULL AND passage.words @@ asked
        ORDER BY rank DESC, passage.file_id, passage.position LIMIT least(greatest(most, 0), 50);
END $$;
GRANT EXECUTE ON FUNCTION workspace.search_records, workspace.search_passages TO operalta_web, operalta_worker;
