-- The ground: schemas, the copy of the role templates, and the scope that the database itself signs.

CREATE SCHEMA scope;      -- opening and verifying a scope; what policies call
CREATE SCHEMA access;     -- the generated copy of the role templates
CREATE SCHEMA signin;     -- functions for visitors who are not signed in yet
CREATE SCHEMA elevated;   -- named functions for scheduled jobs, each with its purpose
CREATE SCHEMA identity;
CREATE SCHEMA tenancy;
CREATE SCHEMA audit;
CREATE SCHEMA jobs;
CREATE SCHEMA delivery;
CREATE SCHEMA workspace;
CREATE SCHEMA agents;
CREATE SCHEMA sandbox;
CREATE SCHEMA assurance;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE, CREATE ON SCHEMA scope, access, signin, elevated, identity, tenancy, audit, jobs, delivery,
    workspace, agents, sandbox, assurance TO operalta_definer;
GRANT USAGE ON SCHEMA scope, access, identity, tenancy, audit, delivery, workspace, agents, sandbox, assurance, jobs
    TO operalta_web, operalta_worker;
GRANT USAGE ON SCHEMA signin, scope TO operalta_signin;
GRANT USAGE ON SCHEMA elevated TO operalta_job;
GRANT USAGE ON SCHEMA agents, jobs TO operalta_dispatch;
GRANT USAGE ON SCHEMA assurance TO operalta_verifier;

-- Every table goes through this once: row security on and forced, the owner's and the definer's policies.
-- Only the owner may call it, and only migrations do.
CREATE PROCEDURE scope.guard_table(guarded regclass) LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', guarded);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', guarded);
    EXECUTE format('CREATE POLICY owner_everything ON %s TO CURRENT_USER USING (true) WITH CHECK (true)', guarded);
    EXECUTE format('CREATE POLICY definer_functions ON %s TO operalta_definer USING (true) WITH CHECK (true)', guarded);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO operalta_definer', guarded);
END $$;

-- ── Role templates: the copy of operalta.access.rules.TEMPLATES, which fills it ────────────────────────
CREATE TABLE access.role_permissions (
    company_kind text NOT NULL,
    role text NOT NULL,
    permission text NOT NULL,
    PRIMARY KEY (company_kind, role, permission)
);
CALL scope.guard_table('access.role_permissions');
CREATE POLICY verifier_read ON access.role_permissions FOR SELECT TO operalta_verifier USING (true);
GRANT USAGE ON SCHEMA access TO operalta_verifier;
GRANT SELECT ON access.role_permissions TO operalta_verifier;

-- ── The scope's key: made anew at every start of the server, in no backup (unlogged) ───────────────────
CREATE UNLOGGED TABLE scope.key (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    server_start timestamptz NOT NULL,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL
);
CALL scope.guard_table('scope.key');

-- Makes the key of this server start where it is missing. HMAC pads (RFC 2104) are stored ready-made.
CREATE FUNCTION scope.prepare() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    fresh bytea;
    padded_inner bytea := ''::bytea;
    padded_outer bytea := ''::bytea;
BEGIN
    PERFORM 1 FROM scope.key WHERE server_start = pg_postmaster_start_time();
    IF FOUND THEN
        RETURN;
    END IF;
    -- Four random UUIDs carry 488 random bits; sha256 of each half makes 64 bytes of key.
    fresh := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
          || sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
    FOR position IN 0..63 LOOP
        padded_inner := padded_inner || set_byte('\x00'::bytea, 0, get_byte(fresh, position) # 54);
        padded_outer := padded_outer || set_byte('\x00'::bytea, 0, get_byte(fresh, position) # 92);
    END LOOP;
    INSERT INTO scope.key (server_start, inner_pad, outer_pad)
        VALUES (pg_postmaster_start_time(), padded_inner, padded_outer)
        ON CONFLICT (singleton) DO UPDATE
            SET server_start = excluded.server_start, inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad
            WHERE scope.key.server_start <> excluded.server_start;
END $$;

-- HMAC-SHA-256 over what the scope says. For the functions below alone.
CREATE FUNCTION scope.signature(says text) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    inner_key bytea;
    outer_key bytea;
BEGIN
    SELECT inner_pad, outer_pad INTO inner_key, outer_key FROM scope.key
        WHERE server_start = pg_postmaster_start_time();
    RETURN encode(sha256(outer_key || sha256(inner_key || convert_to(says, 'UTF8'))), 'hex');
END $$;

-- Binds the scope to this transaction: kind|person|company|company kind|role|session|run|operator|backend|start.
CREATE FUNCTION scope.bind(
    kind text, person uuid, company uuid, company_kind text, role text, session uuid, run uuid, operator boolean
) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    says text;
BEGIN
    PERFORM scope.prepare();
    says := concat_ws('|', kind, coalesce(person::text, ''), coalesce(company::text, ''), coalesce(company_kind, ''),
        coalesce(role, ''), coalesce(session::text, ''), coalesce(run::text, ''), CASE WHEN operator THEN '1' ELSE '' END,
        pg_backend_pid()::text, (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint::text);
    PERFORM set_config('operalta.scope', says || '|' || scope.signature(says), true);
END $$;

-- One verified part of the scope, or NULL: forged, replayed in another transaction or backend, or absent.
CREATE FUNCTION scope.part(which integer) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    parts text[] := string_to_array(current_setting('operalta.scope', true), '|');
    inner_key bytea;
    outer_key bytea;
BEGIN
    IF parts IS NULL OR array_length(parts, 1) IS DISTINCT FROM 11 OR which NOT BETWEEN 1 AND 8
       OR parts[9] <> pg_backend_pid()::text
       OR parts[10] <> (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint::text THEN
        RETURN NULL;
    END IF;
    SELECT inner_pad, outer_pad INTO inner_key, outer_key FROM scope.key
        WHERE server_start = pg_postmaster_start_time();
    -- Digests are compared, not the values, so that the time it takes tells nothing about the signature.
    IF sha256(convert_to(parts[11], 'UTF8')) IS DISTINCT FROM sha256(convert_to(encode(
        sha256(outer_key || sha256(inner_key || convert_to(array_to_string(parts[1:10], '|'), 'UTF8'))), 'hex'), 'UTF8'))
    THEN
        RETURN NULL;
    END IF;
    RETURN nullif(parts[which], '');
END $$;

CREATE FUNCTION scope.scope_kind() RETURNS text LANGUAGE sql STABLE AS $$ SELECT scope.part(1) $$;
CREATE FUNCTION scope.scope_person() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT scope.part(2)::uuid $$;
CREATE FUNCTION scope.scope_company() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT scope.part(3)::uuid $$;
CREATE FUNCTION scope.scope_company_kind() RETURNS text LANGUAGE sql STABLE AS $$ SELECT scope.part(4) $$;
CREATE FUNCTION scope.scope_role() RETURNS text LANGUAGE sql STABLE AS $$ SELECT scope.part(5) $$;
CREATE FUNCTION scope.scope_session() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT scope.part(6)::uuid $$;
CREATE FUNCTION scope.scope_run() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT scope.part(7)::uuid $$;
CREATE FUNCTION scope.scope_is_operator() RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT scope.part(8) IS NOT NULL $$;

GRANT EXECUTE ON FUNCTION scope.part, scope.scope_kind, scope.scope_person, scope.scope_company,
    scope.scope_company_kind, scope.scope_role, scope.scope_session, scope.scope_run, scope.scope_is_operator
    TO operalta_web, operalta_worker, operalta_definer;
GRANT EXECUTE ON FUNCTION scope.prepare TO operalta_signin, operalta_web, operalta_worker;

-- Roles that hold a permission in the company of the scope: planned once a statement by policies.
CREATE FUNCTION scope.roles_permitted(wanted text) RETURNS text[] LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN coalesce((SELECT array_agg(granted.role) FROM access.role_permissions AS granted
        WHERE granted.company_kind = scope.scope_company_kind() AND granted.permission = wanted), '{}');
END $$;

-- Whether the scope's own role holds a permission.
CREATE FUNCTION scope.may(wanted text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN EXISTS (SELECT FROM access.role_permissions AS granted
        WHERE granted.company_kind = scope.scope_company_kind() AND granted.role = scope.scope_role()
          AND granted.permission = wanted);
END $$;

-- Whether `role` holds nothing that the scope's own role does not hold (an invitation never raises).
CREATE FUNCTION scope.may_grant(wanted text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN EXISTS (SELECT FROM access.role_permissions AS known
            WHERE known.company_kind = scope.scope_company_kind() AND known.role = wanted)
        AND NOT EXISTS (
            SELECT given.permission FROM access.role_permissions AS given
                WHERE given.company_kind = scope.scope_company_kind() AND given.role = wanted
            EXCEPT
            SELECT own.permission FROM access.role_permissions AS own
                WHERE own.company_kind = scope.scope_company_kind() AND own.role = scope.scope_role());
END $$;
GRANT EXECUTE ON FUNCTION scope.roles_permitted, scope.may, scope.may_grant TO operalta_web, operalta_worker;
