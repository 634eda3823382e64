-- API keys: personal ones and the company's, and scopes that a key opens. A key's secret is kept as a digest alone; what it may do
-- is decided at each use: its scopes, narrowed by the role that its holder has at that moment.

-- The holder is whoever has seen the present secret: of a personal key its person, of a company key whoever made or rotated it.
-- Without their membership it opens nothing. While it is being rotated, the secret before it opens too, for its own holder's sake.
CREATE TABLE credentials.api_keys (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('personal', 'company')),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    scopes text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 20 AND array_position(scopes, NULL) IS NULL
        AND scopes <@ ARRAY['agents:read', 'agents:run', 'approvals:read', 'audit:read', 'company:read', 'files:read', 'files:write',
            'integrations:read', 'members:read', 'memory:read', 'memory:write', 'metrics:read', 'metrics:write', 'web:fetch']),
    addresses cidr[] NOT NULL DEFAULT '{}' CHECK (cardinality(addresses) <= 20 AND array_position(addresses, NULL) IS NULL),
    holder_id uuid NOT NULL,
    digest bytea CHECK (length(digest) = 32),
    is_held boolean NOT NULL GENERATED ALWAYS AS (digest IS NOT NULL) STORED,
    shown text NOT NULL CHECK (shown ~ '^op_[0-9A-Za-z]{12}$'),
    previous_holder_id uuid,
    previous_digest bytea CHECK (length(previous_digest) = 32),
    previous_shown text CHECK (previous_shown ~ '^op_[0-9A-Za-z]{12}$'),
    previous_expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid NOT NULL,
    rotated_at timestamptz,
    expires_at timestamptz NOT NULL CHECK (expires_at <= created_at + interval '366 days'),
    last_used_at timestamptz,
    last_used_from inet,
    refused_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, holder_id) REFERENCES tenancy.memberships (company_id, person_id),
    FOREIGN KEY (company_id, previous_holder_id) REFERENCES tenancy.memberships (company_id, person_id),
    FOREIGN KEY (company_id, created_by) REFERENCES tenancy.memberships (company_id, person_id),
    FOREIGN KEY (company_id, revoked_by) REFERENCES tenancy.memberships (company_id, person_id)
);
CREATE INDEX api_keys_digest ON credentials.api_keys (digest) WHERE digest IS NOT NULL;
CREATE INDEX api_keys_previous_digest ON credentials.api_keys (previous_digest) WHERE previous_digest IS NOT NULL;
CREATE INDEX api_keys_holder ON credentials.api_keys (company_id, holder_id);
CALL scope.guard_table('credentials.api_keys');
GRANT SELECT (company_id, id, kind, name, scopes, addresses, holder_id, is_held, shown, previous_shown, previous_expires_at, created_at,
    created_by, rotated_at, expires_at, last_used_at, last_used_from, refused_at, revoked_at, revoked_by) ON credentials.api_keys
    TO operalta_web;

-- ── The scope says two things more: whose private rows it sees, and the key that it came with ──────────────────────────
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'scope.bind'::regproc));
END $$;

-- Binds the scope to this transaction of this backend. It says kind|person|company|company kind|role|session|run|operator|
-- ,permission,permission,|reader|key| and is followed by its signature; backend and start of the transaction are signed, not said.
-- A cap narrows the role's permissions. The reader is the person, except for keys of the company, which see nothing private.
DROP FUNCTION scope.bind(text, uuid, uuid, text, text, uuid, uuid, boolean);
CREATE FUNCTION scope.bind(
    kind text, person uuid, company uuid, company_kind text, role text, session uuid, run uuid, operator boolean,
    key uuid DEFAULT NULL, cap text[] DEFAULT NULL, sees_private boolean DEFAULT true
) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    permissions text := (SELECT string_agg(granted.permission, ',' ORDER BY granted.permission) FROM access.role_permissions AS granted
        WHERE granted.company_kind = bind.company_kind AND granted.role = bind.role
          AND (bind.key IS NULL OR granted.permission = ANY (bind.cap)));
    says text;
BEGIN
    PERFORM scope.prepare();
    says := concat(kind, '|', person, '|', company, '|', company_kind, '|', role, '|', session, '|', run, '|',
        CASE WHEN operator THEN '1' END, '|', ',' || permissions || ',', '|', CASE WHEN sees_private THEN person END, '|', key, '|');
    PERFORM set_config('operalta.scope', says || scope.signature(
        says || concat_ws('|', pg_backend_pid(), extract(epoch FROM transaction_timestamp()))), true);
END $$;
REVOKE ALL ON FUNCTION scope.bind FROM PUBLIC;

-- One part of the scope, or NULL. The ninth is the permissions, which `scope.may` asks for one by one.
CREATE OR REPLACE FUNCTION scope.part(which integer) RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    RETURN CASE WHEN which BETWEEN 1 AND 8 OR which IN (10, 11) THEN nullif(split_part(scope.verified(), '|', which), '') END;
END $$;

-- Roles that hold a permission in the company of the scope, for policies that ask for the membership itself; none where the
-- scope does not hold it: a key's scopes narrow what its holder may write, too.
CREATE OR REPLACE FUNCTION scope.roles_permitted(wanted text) RETURNS text[] LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    says text := scope.verified();
BEGIN
    IF position(',' || wanted || ',' IN split_part(says, '|', 9)) > 0 THEN
        RETURN coalesce((SELECT array_agg(granted.role) FROM access.role_permissions AS granted
            WHERE granted.company_kind = split_part(says, '|', 4) AND granted.permission = wanted), '{}');
    END IF;
    RETURN '{}';
END $$;

-- People of the company, by whose names its rows are signed. A key sees them where it may see members.
CREATE OR REPLACE FUNCTION scope.colleagues() RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    IF scope.part(11) IS NOT NULL AND NOT scope.may('members:read') THEN
        RETURN '{}';
    END IF;
    RETURN coalesce((SELECT array_agg(person_id) FROM tenancy.memberships WHERE company_id = scope.scope_company()), '{}');
END $$;

-- The actor and the company are those of the scope; neither can be given. What a key did says so.
CREATE OR REPLACE FUNCTION audit.append(
    action text, target_kind text, target_id text, outcome text, request uuid, origin text, detail jsonb
) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    key text := scope.part(11);
BEGIN
    IF scope.scope_kind() IS NULL THEN
        RAISE EXCEPTION 'no scope is open' USING ERRCODE = 'OP002';
    END IF;
    RETURN audit.append_as(scope.scope_company(), scope.scope_kind(), scope.scope_person(), scope.scope_run(), action,
        target_kind, target_id, outcome, request, origin,
        CASE WHEN key IS NULL THEN detail ELSE detail || jsonb_build_object('api_key', key) END);
END $$;

-- What follows is for people in a session of their own: a key is of one company, and knows of no other.
CREATE OR REPLACE FUNCTION tenancy.my_companies() RETURNS TABLE (id uuid, slug text, name text, kind text, role text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    RETURN QUERY SELECT host.id, host.slug, host.name, host.kind, membership.role
        FROM tenancy.memberships AS membership JOIN tenancy.companies AS host ON host.id = membership.company_id
        WHERE membership.person_id = scope.scope_person() AND membership.ended_at IS NULL AND scope.part(11) IS NULL
        ORDER BY host.name, host.id;
END $$;
CREATE OR REPLACE FUNCTION identity.own_password_changed_at() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
    SELECT changed_at FROM identity.passwords WHERE person_id = scope.scope_person() AND scope.scope_kind() = 'person'
$$;
CREATE OR REPLACE FUNCTION delivery.send_verification() RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    found record;
BEGIN
    SELECT id, email, name INTO found FROM identity.people
        WHERE id = scope.scope_person() AND verified_at IS NULL AND scope.scope_kind() = 'person';
    IF found.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM delivery.enqueue('verify_address', found.email, found.name, found.id, NULL, NULL, NULL, '{}');
    RETURN true;
END $$;

-- Makes a run for a message that the scope's person wrote, in their own session or with this key, and queues it. At most one
-- for a message; a run that a key began can do no more than the key.
CREATE OR REPLACE FUNCTION agents.start_run(run uuid, message uuid, agent uuid, wanted_route text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    IF coalesce(scope.scope_kind(), '') NOT IN ('person', 'key') OR NOT scope.may('agents:run') THEN
        RETURN false;
    END IF;
    INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, api_key_id, private_to, route)
        SELECT said.company_id, run, said.conversation_id, said.id, agent, scope.scope_person(), scope.scope_session(),
            said.api_key_id, said.private_to, wanted_route
        FROM workspace.messages AS said
        WHERE said.company_id = scope.scope_company() AND said.id = message AND said.person_id = scope.scope_person()
          AND said.author_kind = 'person' AND said.api_key_id IS NOT DISTINCT FROM scope.part(11)::uuid
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
DROP FUNCTION scope.open_run_scope(uuid, text);
RESET ROLE;

-- Whose private rows the scope sees; NULL for a key of the company, and for a run that one began.
CREATE FUNCTION scope.scope_reader() RETURNS uuid LANGUAGE sql STABLE RETURN scope.part(10)::uuid;
-- The key that the scope came with, itself or through the run that it began; NULL for everybody else.
CREATE FUNCTION scope.scope_key() RETURNS uuid LANGUAGE sql STABLE RETURN scope.part(11)::uuid;
-- The person, in a session of their own; NULL for keys, runs and staff: a person's account is for nobody else.
CREATE FUNCTION scope.session_person() RETURNS uuid LANGUAGE sql STABLE
    RETURN CASE WHEN scope.part(1) = 'person' THEN scope.part(2)::uuid END;
GRANT EXECUTE ON FUNCTION scope.scope_reader, scope.scope_key, scope.session_person TO operalta_web, operalta_definer;
GRANT EXECUTE ON FUNCTION scope.scope_reader, scope.scope_key TO operalta_worker;

-- ── What a key wrote says so, since its words vouch for nothing; nobody can leave that out ────────────────────────────
ALTER TABLE workspace.messages ADD COLUMN api_key_id uuid,
    ADD FOREIGN KEY (company_id, api_key_id) REFERENCES credentials.api_keys (company_id, id);
ALTER TABLE agents.runs ADD COLUMN api_key_id uuid, ALTER COLUMN session_id DROP NOT NULL,
    ADD FOREIGN KEY (company_id, api_key_id) REFERENCES credentials.api_keys (company_id, id),
    ADD CHECK ((session_id IS NULL) <> (api_key_id IS NULL));
CREATE INDEX messages_api_key ON workspace.messages (company_id, api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX runs_api_key ON agents.runs (company_id, api_key_id) WHERE api_key_id IS NOT NULL;
GRANT INSERT (api_key_id) ON workspace.messages TO operalta_web, operalta_worker;
GRANT SELECT (api_key_id) ON agents.runs TO operalta_web, operalta_worker;
ALTER TABLE audit.events DROP CONSTRAINT events_actor_kind_check;
ALTER TABLE audit.events ADD CONSTRAINT events_actor_kind_check
    CHECK (actor_kind IN ('person', 'run', 'visitor', 'system', 'staff', 'key'));

-- Opens the scope of a run: while the claim holds, the person's membership holds and the account is not disabled; and, where a
-- key began it, while the key is neither revoked nor expired, with no more than the key's own rights.
CREATE FUNCTION scope.open_run_scope(run uuid, secret text)
RETURNS TABLE (person_id uuid, company_id uuid, company_slug text, company_kind text, role text, session_id uuid, key_id uuid, scopes text[],
    sees_private boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT running.person_id, running.session_id, running.api_key_id, host.id AS company_id, host.slug, host.kind, membership.role,
            key.scopes, key.kind AS key_kind INTO found
        FROM agents.runs AS running
        JOIN tenancy.companies AS host ON host.id = running.company_id
        JOIN tenancy.memberships AS membership ON membership.company_id = running.company_id
            AND membership.person_id = running.person_id AND membership.ended_at IS NULL
        JOIN identity.people AS person ON person.id = running.person_id AND person.disabled_at IS NULL
        LEFT JOIN credentials.api_keys AS key ON key.company_id = running.company_id AND key.id = running.api_key_id
            AND key.revoked_at IS NULL AND key.expires_at > now()
        WHERE running.id = run AND running.claim_digest = sha256(convert_to(secret, 'UTF8'))
          AND running.claim_expires_at > now() AND (running.api_key_id IS NULL OR key.id IS NOT NULL);
    IF found.person_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM scope.bind('run', found.person_id, found.company_id, found.kind, found.role, found.session_id, run, false,
        found.api_key_id, found.scopes, found.key_kind IS DISTINCT FROM 'company');
    RETURN QUERY SELECT found.person_id, found.company_id, found.slug, found.kind, found.role, found.session_id, found.api_key_id,
        found.scopes, found.key_kind IS DISTINCT FROM 'company';
END $$;
GRANT EXECUTE ON FUNCTION scope.open_run_scope TO operalta_worker;

-- ── Opening a scope with a key ────────────────────────────────────────────────────────────────────────────────────────
-- For functions alone: the key of a secret, with the holder who vouches for that secret; no row for one that opens nothing now.
CREATE FUNCTION credentials.live_key(secret text, address inet)
RETURNS TABLE (company_id uuid, id uuid, kind text, scopes text[], holder_id uuid) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    presented bytea := sha256(convert_to(secret, 'UTF8'));
BEGIN
    RETURN QUERY SELECT held.company_id, held.id, held.kind, held.scopes,
            CASE WHEN held.digest = presented THEN held.holder_id ELSE held.previous_holder_id END
        FROM credentials.api_keys AS held
        WHERE (held.digest = presented OR (held.previous_digest = presented AND held.previous_expires_at > now()))
          AND held.revoked_at IS NULL AND held.expires_at > now()
          AND (cardinality(held.addresses) = 0 OR address <<= ANY (held.addresses));
END $$;

-- `company` is an id or a slug. No row: the key opens nothing. `company_id` NULL: it is not of that company (or there is none).
CREATE FUNCTION scope.open_key_scope(secret text, company text, address inet)
RETURNS TABLE (key_id uuid, person_id uuid, company_id uuid, company_slug text, company_kind text, role text, scopes text[],
    sees_private boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT key.id, key.kind AS key_kind, key.holder_id, key.scopes, host.id AS company_id, host.slug, host.kind, membership.role INTO found
        FROM credentials.live_key(secret, address) AS key
        JOIN tenancy.companies AS host ON host.id = key.company_id
        JOIN tenancy.memberships AS membership ON membership.company_id = key.company_id AND membership.person_id = key.holder_id
            AND membership.ended_at IS NULL
        JOIN identity.people AS person ON person.id = key.holder_id AND person.disabled_at IS NULL;
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    IF company <> found.slug AND company <> found.company_id::text THEN
        RETURN QUERY SELECT found.id, found.holder_id, NULL::uuid, NULL::text, NULL::text, NULL::text, NULL::text[], NULL::boolean;
        RETURN;
    END IF;
    PERFORM scope.bind('key', found.holder_id, found.company_id, found.kind, found.role, NULL, NULL, false, found.id, found.scopes,
        found.key_kind = 'personal');
    RETURN QUERY SELECT found.id, found.holder_id, found.company_id, found.slug, found.kind, found.role, found.scopes,
        found.key_kind = 'personal';
END $$;
GRANT EXECUTE ON FUNCTION scope.open_key_scope TO operalta_web;

-- Notes that a key was used, or that one was refused which is known: revoked, expired, or from a place that it is not for. It has
-- a transaction of its own, so that a request that comes to nothing is noted as well.
CREATE FUNCTION credentials.note_key_use(secret text, address inet) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    presented bytea := sha256(convert_to(secret, 'UTF8'));
    used uuid := (SELECT key.id FROM credentials.live_key(secret, address) AS key);
BEGIN
    UPDATE credentials.api_keys AS held
        SET last_used_at = CASE WHEN held.id = used THEN now() ELSE held.last_used_at END,
            last_used_from = CASE WHEN held.id = used THEN address ELSE held.last_used_from END,
            refused_at = CASE WHEN used IS NULL THEN now() ELSE held.refused_at END
        WHERE held.digest = presented OR held.previous_digest = presented;
END $$;
GRANT EXECUTE ON FUNCTION credentials.note_key_use TO operalta_web;

-- ── Making, rotating, revoking: by people, in a session of their own, who have just proved themselves ─────────────────
-- For functions alone: whether the scope's person may manage a key of this kind and holder.
CREATE FUNCTION credentials.may_manage_key(of_kind text, holder uuid) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN scope.scope_kind() = 'person' AND CASE of_kind
        WHEN 'company' THEN scope.may('keys:manage')
        ELSE scope.may('keys:use') AND holder = scope.scope_person() END;
END $$;

-- 'made'; 'unproved': prove yourself first; 'refused': no right to such a key, or to one of its scopes; 'too_many': twenty of one's
-- own, a hundred of the company.
CREATE FUNCTION credentials.make_api_key(
    key uuid, of_kind text, called text, wanted text[], allowed cidr[], until timestamptz, fresh bytea, as_shown text
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := scope.scope_company();
    me uuid := scope.scope_person();
BEGIN
    IF here IS NULL OR NOT credentials.may_manage_key(of_kind, me)
        OR EXISTS (SELECT FROM unnest(wanted) AS each WHERE NOT scope.may(each)) THEN
        RETURN 'refused';
    END IF;
    IF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('credentials.api_keys ' || here, 0));
    IF (SELECT count(*) FROM credentials.api_keys AS held WHERE held.company_id = here AND held.kind = of_kind AND held.revoked_at IS NULL
            AND held.expires_at > now() AND (of_kind = 'company' OR held.holder_id = me))
        >= (CASE of_kind WHEN 'company' THEN 100 ELSE 20 END) THEN
        RETURN 'too_many';
    END IF;
    INSERT INTO credentials.api_keys (company_id, id, kind, name, scopes, addresses, holder_id, digest, shown, created_by, expires_at)
        VALUES (here, key, of_kind, called, wanted, allowed, me, fresh, as_shown, me, until);
    RETURN 'made';
END $$;

-- Gives a key another secret, and a company key another holder: the person of the scope. The secret before it opens for as long as
-- `overlap` says, a week at most. 'rotated'; 'unproved'; 'refused': no such key that one may manage, or it grants more than one's own.
CREATE FUNCTION credentials.rotate_api_key(key uuid, fresh bytea, as_shown text, overlap interval) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    me uuid := scope.scope_person();
    held record;
BEGIN
    SELECT * INTO held FROM credentials.api_keys AS asked WHERE asked.company_id = scope.scope_company() AND asked.id = key
        AND asked.revoked_at IS NULL AND asked.expires_at > now() FOR UPDATE;
    IF held.id IS NULL OR NOT credentials.may_manage_key(held.kind, held.holder_id)
        OR (held.holder_id <> me AND EXISTS (SELECT FROM unnest(held.scopes) AS each WHERE NOT scope.may(each))) THEN
        RETURN 'refused';
    END IF;
    IF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    UPDATE credentials.api_keys AS changed SET digest = fresh, shown = as_shown, holder_id = me, rotated_at = now(),
            previous_digest = CASE WHEN overlap > interval '0' THEN changed.digest END,
            previous_holder_id = CASE WHEN overlap > interval '0' AND changed.digest IS NOT NULL THEN changed.holder_id END,
            previous_shown = CASE WHEN overlap > interval '0' AND changed.digest IS NOT NULL THEN changed.shown END,
            previous_expires_at = CASE WHEN overlap > interval '0' AND changed.digest IS NOT NULL
                THEN now() + least(overlap, interval '7 days') END
        WHERE changed.company_id = held.company_id AND changed.id = held.id;
    RETURN 'rotated';
END $$;

-- Ends a key at once: one's own, one of the company for those who manage them, anybody's for those who manage the company's. True
-- where it was live.
CREATE FUNCTION credentials.revoke_api_key(key uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE credentials.api_keys AS ended SET revoked_at = now(), revoked_by = scope.scope_person()
        WHERE ended.company_id = scope.scope_company() AND ended.id = key AND ended.revoked_at IS NULL
          AND (credentials.may_manage_key(ended.kind, ended.holder_id)
            OR (scope.scope_kind() = 'person' AND scope.may('keys:manage')));
    RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION credentials.make_api_key, credentials.rotate_api_key, credentials.revoke_api_key TO operalta_web;

-- One's own keys, and all of them for those who manage the company's, in a session of one's own.
CREATE POLICY scoped_read ON credentials.api_keys FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('keys:use')) AND (SELECT scope.session_person()) IS NOT NULL
        AND ((kind = 'personal' AND holder_id = (SELECT scope.session_person())) OR (SELECT scope.may('keys:manage'))));

-- ── When a membership ends: personal keys end with it, also for a later return; of a company key the secret that they have seen ──
CREATE FUNCTION credentials.end_keys_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    IF NEW.ended_at IS NULL OR OLD.ended_at IS NOT NULL THEN
        RETURN NULL;
    END IF;
    FOR ended IN UPDATE credentials.api_keys AS held SET revoked_at = now(), digest = NULL, previous_digest = NULL
            WHERE held.company_id = NEW.company_id AND held.kind = 'personal' AND held.holder_id = NEW.person_id
              AND held.revoked_at IS NULL RETURNING held.id
    LOOP
        PERFORM audit.append_as(NEW.company_id, 'system', NEW.person_id, NULL, 'credential.revoked', 'api_key', ended.id::text,
            'succeeded', NULL, NULL, '{"why": "Its holder is no longer a member."}');
    END LOOP;
    FOR ended IN UPDATE credentials.api_keys AS held
            SET digest = CASE WHEN held.holder_id <> NEW.person_id THEN held.digest END,
                previous_digest = CASE WHEN held.previous_holder_id <> NEW.person_id THEN held.previous_digest END
            WHERE held.company_id = NEW.company_id AND held.kind = 'company' AND NEW.person_id IN (held.holder_id, held.previous_holder_id)
              AND held.revoked_at IS NULL RETURNING held.id
    LOOP
        PERFORM audit.append_as(NEW.company_id, 'system', NEW.person_id, NULL, 'credential.revoked', 'api_key', ended.id::text,
            'succeeded', NULL, NULL, '{"why": "Who had seen its secret is no longer a member. Rotate it to go on with it."}');
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER end_keys_of_former_member AFTER UPDATE OF ended_at ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION credentials.end_keys_of_former_member();

-- ── A person's account is for the person alone, in a session: no key, no run, no visit shows it ──────────────────────
ALTER POLICY self_read ON identity.sessions USING (person_id = (SELECT scope.session_person()));
ALTER POLICY self_read ON identity.sign_in_history USING (person_id = (SELECT scope.session_person()));
ALTER POLICY self_read ON identity.phones USING (person_id = (SELECT scope.session_person()));
ALTER POLICY self_read ON identity.authenticators USING (person_id = (SELECT scope.session_person()));
ALTER POLICY self_read ON identity.passkeys USING (person_id = (SELECT scope.session_person()));
ALTER POLICY self_read ON identity.recovery_codes USING (person_id = (SELECT scope.session_person()));
ALTER POLICY self_read ON identity.staff USING (person_id = (SELECT scope.session_person()));

-- ── What is private to a person is for the reader of the scope ─────────────────────────────────────────────────────────
ALTER POLICY scoped_read ON agents.approvals USING (company_id = (SELECT scope.company_permitting('approvals:read'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON agents.grants USING (company_id = (SELECT scope.company_permitting('approvals:read'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON agents.run_events USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON agents.runs USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON agents.tool_calls USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON sandbox.egress_log USING (company_id = (SELECT scope.company_permitting('audit:read'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON workspace.conversations USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_read ON workspace.messages USING (company_id = (SELECT scope.company_permitting('agents:run'))
    AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_insert ON workspace.conversations
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND created_by = (SELECT scope.scope_person()) AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY scoped_update ON workspace.conversations
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY person_decide ON agents.approvals
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND (SELECT scope.scope_kind()) = 'person' AND decision IS NULL AND expires_at > now()
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
ALTER POLICY person_revoke ON agents.grants
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide'))) AND revoked_at IS NULL
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
-- Stopping a run: without a WHERE no read policy is asked, so what is private is refused here.
ALTER POLICY stop_update ON agents.runs
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND person_id = (SELECT scope.scope_person()) AND status IN ('queued', 'running', 'waiting_for_approval')
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
-- A key does not speak in the place of the person who wrote a message: each says what it wrote.
ALTER POLICY scoped_insert ON workspace.messages
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND person_id = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run())
        AND api_key_id IS NOT DISTINCT FROM (SELECT scope.scope_key())
        AND author_kind = CASE (SELECT scope.scope_kind()) WHEN 'run' THEN 'agent' ELSE 'person' END
        AND EXISTS (SELECT FROM workspace.conversations AS conversation WHERE conversation.company_id = messages.company_id
            AND conversation.id = messages.conversation_id AND conversation.private_to IS NOT DISTINCT FROM messages.private_to));

-- ── For the operator at the command line, with the owner's password ────────────────────────────────────────────────────
CREATE FUNCTION elevated.find_api_keys(of_company text, reason text)
RETURNS TABLE (id uuid, company text, kind text, name text, shown text, scopes text[], holder text, created_at timestamptz,
    expires_at timestamptz, last_used_at timestamptz, revoked_at timestamptz) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    host record;
BEGIN
    SELECT known.id, known.slug INTO host FROM tenancy.companies AS known WHERE known.slug = of_company;
    IF host.id IS NULL OR coalesce(length(reason), 0) NOT BETWEEN 1 AND 500 THEN
        RETURN;
    END IF;
    PERFORM audit.append_as(host.id, 'system', NULL, NULL, 'elevated.used', 'company', host.id::text, 'succeeded', NULL, NULL,
        jsonb_build_object('purpose', 'list API keys', 'reason', reason));
    RETURN QUERY SELECT held.id, host.slug, held.kind, held.name, held.shown, held.scopes, person.email, held.created_at,
            held.expires_at, held.last_used_at, held.revoked_at
        FROM credentials.api_keys AS held JOIN identity.people AS person ON person.id = held.holder_id
        WHERE held.company_id = host.id ORDER BY held.created_at DESC, held.id LIMIT 500;
END $$;
CREATE FUNCTION elevated.revoke_api_key(key uuid, reason text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    IF coalesce(length(reason), 0) NOT BETWEEN 1 AND 500 THEN
        RETURN false;
    END IF;
    UPDATE credentials.api_keys AS held SET revoked_at = now() WHERE held.id = key AND held.revoked_at IS NULL
        RETURNING held.company_id, held.holder_id INTO ended;
    IF ended.company_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM audit.append_as(ended.company_id, 'system', ended.holder_id, NULL, 'credential.revoked', 'api_key', key::text, 'succeeded',
        NULL, NULL, jsonb_build_object('reason', reason));
    RETURN true;
END $$;
