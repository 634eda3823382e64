-- Runs after every migration: all SECURITY DEFINER functions belong to the NOLOGIN definer role, with every setting
-- pinned through which a caller could change what they mean or print what they read. EXECUTE is nobody's by default.
DO $$
DECLARE
    routine record;
BEGIN
    FOR routine IN
        SELECT function.oid::regprocedure AS name, function.prosecdef AS definer
        FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace
        -- What an earlier run handed over is no longer the owner's to change; the policy check watches over it.
        WHERE function.proowner <> 'operalta_definer'::regrole AND (space.nspname IN ('scope', 'access', 'signin', 'elevated', 'identity', 'tenancy', 'audit', 'delivery',
                'workspace', 'agents', 'sandbox', 'assurance', 'credentials')
            OR (space.nspname = 'jobs' AND function.proname = 'defer_task'))
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine.name);
        IF routine.definer THEN
            EXECUTE format('ALTER FUNCTION %s SET search_path = ''''', routine.name);
            EXECUTE format('ALTER FUNCTION %s SET client_min_messages = error', routine.name);
            EXECUTE format('ALTER FUNCTION %s SET debug_print_parse = off', routine.name);
            EXECUTE format('ALTER FUNCTION %s SET debug_print_rewritten = off', routine.name);
            EXECUTE format('ALTER FUNCTION %s SET debug_print_plan = off', routine.name);
            EXECUTE format('ALTER FUNCTION %s OWNER TO operalta_definer', routine.name);
        END IF;
    END LOOP;
END $$;
