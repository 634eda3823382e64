-- The audit log: events commit with their transaction; a sealer puts them into one tree, in order, in batches.

CREATE TABLE audit.events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    company_id uuid,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_kind text NOT NULL CHECK (actor_kind IN ('person', 'run', 'visitor', 'system')),
    actor_person_id uuid,
    actor_run_id uuid,
    action text NOT NULL CHECK (length(action) <= 80),
    target_kind text NOT NULL CHECK (length(target_kind) <= 40),
    target_id text CHECK (length(target_id) <= 400),
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'refused', 'failed')),
    request_id uuid,
    origin text CHECK (length(origin) <= 64),
    detail jsonb NOT NULL DEFAULT '{}' CHECK (length(detail::text) <= 20000),
    salt bytea DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    company_number bigint,
    leaf_index bigint UNIQUE
);
CREATE INDEX events_unsealed ON audit.events (occurred_at, id) WHERE leaf_index IS NULL;
CREATE INDEX events_company ON audit.events (company_id, occurred_at DESC, id DESC);
CALL scope.guard_table('audit.events');
GRANT SELECT (id, company_id, occurred_at, actor_kind, actor_person_id, actor_run_id, action, target_kind, target_id, outcome,
    request_id, origin, detail, salt, company_number, leaf_index) ON audit.events TO operalta_web;
CREATE POLICY scoped_read ON audit.events FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('audit:read')));

-- Leaves hold no content: index, whose it is, its number within the company, and the salted commitment.
CREATE TABLE audit.leaves (
    leaf_index bigint PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    company_id uuid,
    company_number bigint,
    commitment bytea NOT NULL CHECK (length(commitment) = 32),
    UNIQUE (company_id, company_number)
);
CALL scope.guard_table('audit.leaves');
GRANT SELECT ON audit.leaves TO operalta_web;
CREATE POLICY scoped_read ON audit.leaves FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('audit:read')));

-- Complete subtrees (RFC 9162): hashes only, which tell nothing about anybody; needed for inclusion proofs.
CREATE TABLE audit.nodes (
    level integer NOT NULL CHECK (level BETWEEN 0 AND 62),
    node_index bigint NOT NULL CHECK (node_index >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, node_index)
);
CALL scope.guard_table('audit.nodes');
GRANT SELECT ON audit.nodes TO operalta_web, operalta_verifier;
CREATE POLICY hashes_read ON audit.nodes FOR SELECT TO operalta_web, operalta_verifier USING (true);

CREATE TABLE audit.heads (
    size bigint PRIMARY KEY CHECK (size > 0),
    document jsonb NOT NULL
);
CALL scope.guard_table('audit.heads');
GRANT USAGE ON SCHEMA audit TO operalta_verifier;
GRANT SELECT ON audit.heads TO operalta_web, operalta_verifier;
CREATE POLICY heads_read ON audit.heads FOR SELECT TO operalta_web, operalta_verifier USING (true);

-- For definer functions: the actor is a parameter.
CREATE FUNCTION audit.append_as(
    company uuid, actor_kind text, person uuid, run uuid, action text, target_kind text, target_id text, outcome text,
    request uuid, origin text, detail jsonb
) RETURNS uuid LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO audit.events (company_id, actor_kind, actor_person_id, actor_run_id, action, target_kind, target_id,
            outcome, request_id, origin, detail)
        VALUES (company, actor_kind, person, run, action, target_kind, left(target_id, 400), outcome, request,
            left(origin, 64), detail)
        RETURNING id
$$;

-- For services: the actor and the company are those of the scope; neither can be given.
CREATE FUNCTION audit.append(
    action text, target_kind text, target_id text, outcome text, request uuid, origin text, detail jsonb
) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF scope.scope_kind() IS NULL THEN
        RAISE EXCEPTION 'no scope is open' USING ERRCODE = 'OP002';
    END IF;
    RETURN audit.append_as(scope.scope_company(), scope.scope_kind(), scope.scope_person(), scope.scope_run(), action,
        target_kind, target_id, outcome, request, origin, detail);
END $$;
GRANT EXECUTE ON FUNCTION audit.append TO operalta_web, operalta_worker;

-- What the chain page shows: how much is sealed, how much waits, when the last head was made.
CREATE FUNCTION audit.chain_state() RETURNS TABLE (sealed bigint, unsealed bigint, head jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT coalesce((SELECT max(leaf_index) + 1 FROM audit.leaves), 0),
        (SELECT count(*) FROM audit.events WHERE leaf_index IS NULL),
        (SELECT document FROM audit.heads ORDER BY size DESC LIMIT 1);
END $$;
GRANT EXECUTE ON FUNCTION audit.chain_state TO operalta_web, operalta_verifier;

-- ── The sealer (one at a time: it holds an advisory lock of its own transaction) ───────────────────────
CREATE FUNCTION elevated.begin_sealing() RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    SELECT pg_try_advisory_xact_lock(7305511690151)
$$;
CREATE FUNCTION elevated.unsealed_events(most integer) RETURNS SETOF audit.events LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT * FROM audit.events WHERE leaf_index IS NULL ORDER BY occurred_at, id LIMIT least(most, 5000)
$$;
CREATE FUNCTION elevated.company_numbers(companies uuid[]) RETURNS TABLE (company_id uuid, last_number bigint)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT wanted, coalesce((SELECT max(leaf.company_number) FROM audit.leaves AS leaf WHERE leaf.company_id = wanted), 0)
        FROM unnest(companies) AS wanted
$$;
-- The size of the tree and the hashes on its right edge, from the widest subtree to the narrowest.
CREATE FUNCTION elevated.tree_edge() RETURNS TABLE (size bigint, level integer, node_index bigint, hash bytea)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    WITH tree AS (SELECT coalesce(max(leaf_index) + 1, 0) AS size FROM audit.leaves)
    SELECT tree.size, node.level, node.node_index, node.hash
        FROM tree CROSS JOIN generate_series(0, 62) AS bit
        JOIN audit.nodes AS node ON node.level = bit AND node.node_index = (tree.size >> bit) - 1
        WHERE (tree.size >> bit) & 1 = 1
        ORDER BY node.level DESC
$$;
CREATE FUNCTION elevated.record_leaf(event uuid, index bigint, number bigint, commitment bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE audit.events SET leaf_index = record_leaf.index, company_number = record_leaf.number
        WHERE id = event AND leaf_index IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the event is sealed already' USING ERRCODE = 'OP003';
    END IF;
    INSERT INTO audit.leaves (leaf_index, event_id, company_id, company_number, commitment)
        SELECT record_leaf.index, id, company_id, record_leaf.number, record_leaf.commitment FROM audit.events WHERE id = event;
END $$;
CREATE FUNCTION elevated.record_node(level integer, index bigint, hash bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO audit.nodes (level, node_index, hash) VALUES (level, index, hash)
$$;
CREATE FUNCTION elevated.record_head(size bigint, document jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO audit.heads (size, document) VALUES (size, document)
$$;
CREATE FUNCTION elevated.last_head() RETURNS jsonb LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT document FROM audit.heads ORDER BY size DESC LIMIT 1
$$;
GRANT EXECUTE ON FUNCTION elevated.begin_sealing, elevated.unsealed_events, elevated.company_numbers, elevated.tree_edge,
    elevated.record_leaf, elevated.record_node, elevated.record_head, elevated.last_head TO operalta_job;
