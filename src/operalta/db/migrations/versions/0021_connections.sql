-- Connections to people's accounts at other services. Tokens and client secrets lie in credentials.secrets; here are their ids.
-- Every write is a function below, which looks at the scope: no serving role may write these tables (clause 1.3.1).

-- ── What a company is registered as at providers ───────────────────────────────────────────────────────
CREATE TABLE credentials.oauth_clients (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    provider text NOT NULL CHECK (provider ~ '^[a-z]{2,20}$'),
    issuer text NOT NULL DEFAULT '' CHECK (length(issuer) <= 2000),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 80),
    client_id text NOT NULL CHECK (length(client_id) BETWEEN 1 AND 400),
    kept_id uuid NOT NULL,
    -- What an issuer's metadata said when it was registered; a provider that we define has none.
    definition jsonb CHECK (length(definition::text) <= 60000),
    registered_by uuid NOT NULL REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz,
    removed_at timestamptz,
    PRIMARY KEY (company_id, id)
);
CREATE UNIQUE INDEX oauth_clients_once ON credentials.oauth_clients (company_id, provider, issuer) WHERE removed_at IS NULL;
CREATE INDEX oauth_clients_registered_by ON credentials.oauth_clients (registered_by);
CALL scope.guard_table('credentials.oauth_clients');
GRANT SELECT ON credentials.oauth_clients TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON credentials.oauth_clients FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- ── One person's account at one provider, for their work in one company ────────────────────────────────
CREATE TABLE credentials.connections (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    oauth_client_id uuid NOT NULL,
    person_id uuid NOT NULL REFERENCES identity.people (id),
    account text CHECK (length(account) BETWEEN 1 AND 80),
    asked_scopes text[] NOT NULL DEFAULT '{}' CHECK (cardinality(asked_scopes) <= 100),
    granted_scopes text[] NOT NULL DEFAULT '{}' CHECK (cardinality(granted_scopes) <= 100),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'broken', 'revoked')),
    kept_access_id uuid,
    kept_refresh_id uuid,
    expires_at timestamptz,
    -- Counts what was stored of the provider: an answer that is older than what is there is not stored over it.
    generation integer NOT NULL DEFAULT 1 CHECK (generation > 0),
    -- Of the secret of whoever refreshes it now.
    refresh_digest bytea CHECK (length(refresh_digest) = 32),
    refresh_until timestamptz,
    not_before timestamptz,
    connected_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    refreshed_at timestamptz,
    failed_at timestamptz,
    failure text CHECK (length(failure) <= 300),
    revoked_at timestamptz,
    at_provider text CHECK (at_provider IN ('waiting', 'revoked', 'refused', 'given up', 'not offered')),
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, oauth_client_id) REFERENCES credentials.oauth_clients (company_id, id) ON DELETE CASCADE,
    CHECK (status <> 'revoked' OR kept_access_id IS NULL AND kept_refresh_id IS NULL AND revoked_at IS NOT NULL)
);
CREATE INDEX connections_client ON credentials.connections (company_id, oauth_client_id);
CREATE INDEX connections_person ON credentials.connections (person_id);
CALL scope.guard_table('credentials.connections');
GRANT SELECT (company_id, id, oauth_client_id, person_id, account, asked_scopes, granted_scopes, status, kept_access_id,
    kept_refresh_id, expires_at, generation, refresh_until, not_before, connected_at, last_used_at, refreshed_at, failed_at,
    failure, revoked_at, at_provider) ON credentials.connections TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON credentials.connections FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- ── A consent that was begun: bound to a person, their session, the company and the registration; used once ────
CREATE TABLE credentials.oauth_states (
    company_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    oauth_client_id uuid NOT NULL,
    -- Of a connection that is made anew.
    connection_id uuid,
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    session_id uuid NOT NULL REFERENCES identity.sessions (id) ON DELETE CASCADE,
    scopes text[] NOT NULL CHECK (cardinality(scopes) <= 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '10 minutes',
    used_at timestamptz,
    PRIMARY KEY (company_id, digest),
    FOREIGN KEY (company_id, oauth_client_id) REFERENCES credentials.oauth_clients (company_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_states_digest ON credentials.oauth_states (digest);
CREATE INDEX oauth_states_client ON credentials.oauth_states (company_id, oauth_client_id);
CREATE INDEX oauth_states_person ON credentials.oauth_states (person_id);
CREATE INDEX oauth_states_session ON credentials.oauth_states (session_id);
CALL scope.guard_table('credentials.oauth_states');

-- ── Tokens that are of no use here any more, and that their provider has still to be told about ────────────────
CREATE TABLE credentials.oauth_revocations (
    company_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    connection_id uuid NOT NULL,
    kept_access_id uuid,
    kept_refresh_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, connection_id) REFERENCES credentials.connections (company_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_revocations_connection ON credentials.oauth_revocations (company_id, connection_id);
CREATE INDEX oauth_revocations_next ON credentials.oauth_revocations (next_at);
CALL scope.guard_table('credentials.oauth_revocations');

-- ── For functions alone ────────────────────────────────────────────────────────────────────────────────
-- The scope's company, where its person is a member who may do this, and not staff.
CREATE FUNCTION credentials.here(wanted text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT scope.scope_company() WHERE scope.scope_kind() IN ('person', 'run') AND scope.may(wanted)
        AND scope.is_company_member_with_role(scope.scope_company(), scope.roles_permitted(wanted))
$$;

-- Keeps at most ten lines of the egress log, as the process that asked has made them.
CREATE FUNCTION credentials.keep_lines(in_company uuid, run uuid, person uuid, lines jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO sandbox.egress_log (company_id, run_id, person_id, method, destination, address, outcome, bytes, milliseconds, purpose)
        SELECT in_company, run, person, left(line.method, 10), left(line.destination, 2100), left(line.address, 64),
                left(line.outcome, 80), greatest(line.bytes, 0), greatest(line.milliseconds, 0), left(line.purpose, 80)
            FROM jsonb_to_recordset(coalesce(lines, '[]')) AS line (method text, destination text, address text, outcome text,
                bytes bigint, milliseconds integer, purpose text) LIMIT 10
$$;

-- Ends a connection here, at once: its tokens are out of anybody's reach, and wait for the provider to be told.
CREATE FUNCTION credentials.end_one(in_company uuid, connection uuid, why text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT one.kept_access_id, one.kept_refresh_id, one.person_id INTO held FROM credentials.connections AS one
        WHERE one.company_id = in_company AND one.id = connection AND one.status <> 'revoked' FOR UPDATE;
    IF held.person_id IS NULL THEN
        RETURN false;
    END IF;
    UPDATE credentials.connections AS one SET status = 'revoked', kept_access_id = NULL, kept_refresh_id = NULL, expires_at = NULL,
            refresh_digest = NULL, refresh_until = NULL, revoked_at = now(), generation = one.generation + 1,
            at_provider = CASE WHEN held.kept_access_id IS NULL AND held.kept_refresh_id IS NULL THEN NULL ELSE 'waiting' END
        WHERE one.company_id = in_company AND one.id = connection;
    IF held.kept_access_id IS NOT NULL OR held.kept_refresh_id IS NOT NULL THEN
        INSERT INTO credentials.oauth_revocations (company_id, connection_id, kept_access_id, kept_refresh_id)
            VALUES (in_company, connection, held.kept_access_id, held.kept_refresh_id);
    END IF;
    PERFORM audit.append_as(in_company, coalesce(scope.scope_kind(), 'system'), coalesce(scope.scope_person(), held.person_id),
        scope.scope_run(), 'connection.revoked', 'connection', connection::text, 'succeeded', NULL, NULL,
        jsonb_build_object('owner', held.person_id, 'why', why));
    RETURN true;
END $$;

-- ── Registrations ──────────────────────────────────────────────────────────────────────────────────────
-- 'registered'; 'unproved': prove yourself first; 'taken'; 'full'; 'refused'. Its secret is kept already.
CREATE FUNCTION credentials.register_client(
    client uuid, at_provider text, at_issuer text, called text, known_as text, secret uuid, told jsonb
) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:manage');
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR NOT EXISTS (SELECT FROM credentials.secrets AS kept
        WHERE kept.company_id = in_company AND kept.id = secret AND kept.kind = 'oauth_client_secret' AND kept.belongs_to = client)
    THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    ELSIF (SELECT count(*) >= 50 FROM credentials.oauth_clients AS known WHERE known.company_id = in_company
        AND known.removed_at IS NULL) THEN
        RETURN 'full';
    END IF;
    INSERT INTO credentials.oauth_clients (company_id, id, provider, issuer, title, client_id, kept_id, definition, registered_by)
        VALUES (in_company, client, at_provider, coalesce(at_issuer, ''), called, known_as, secret, told, scope.scope_person())
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'taken';
    END IF;
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'oauth_client.registered', 'oauth_client', client::text,
        'succeeded', NULL, NULL, jsonb_build_object('provider', at_provider, 'issuer', at_issuer, 'client_id', known_as));
    RETURN 'registered';
END $$;

-- Another client id; its secret is replaced beside this. The same verdicts.
CREATE FUNCTION credentials.change_client(client uuid, known_as text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:manage');
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    UPDATE credentials.oauth_clients AS known SET client_id = known_as, changed_at = now()
        WHERE known.company_id = in_company AND known.id = client AND known.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'oauth_client.changed', 'oauth_client', client::text,
        'succeeded', NULL, NULL, jsonb_build_object('client_id', known_as));
    RETURN 'changed';
END $$;

-- Ends every connection through it. Its secret is needed until the provider has been told; see elevated.finish_revocation.
CREATE FUNCTION credentials.remove_client(client uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:manage');
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    UPDATE credentials.oauth_clients AS known SET removed_at = now()
        WHERE known.company_id = in_company AND known.id = client AND known.removed_at IS NULL;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    PERFORM credentials.end_one(in_company, one.id, 'the registration was removed') FROM credentials.connections AS one
        WHERE one.company_id = in_company AND one.oauth_client_id = client AND one.status <> 'revoked';
    DELETE FROM credentials.oauth_states AS begun WHERE begun.company_id = in_company AND begun.oauth_client_id = client;
    PERFORM credentials.forget_client_secret(in_company, client);
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'oauth_client.removed', 'oauth_client', client::text,
        'succeeded', NULL, NULL, '{}');
    RETURN 'removed';
END $$;

-- For functions alone: the secret of a registration that is removed goes once no provider has to be told anything through it.
CREATE FUNCTION credentials.forget_client_secret(in_company uuid, client uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    DELETE FROM credentials.secrets AS kept USING credentials.oauth_clients AS known
        WHERE known.company_id = in_company AND known.id = client AND known.removed_at IS NOT NULL
          AND kept.company_id = in_company AND kept.id = known.kept_id
          AND NOT EXISTS (SELECT FROM credentials.oauth_revocations AS waiting JOIN credentials.connections AS one
            ON one.company_id = waiting.company_id AND one.id = waiting.connection_id
            WHERE waiting.company_id = in_company AND one.oauth_client_id = client)
$$;

-- ── Connecting ─────────────────────────────────────────────────────────────────────────────────────────
-- 'begun', 'unproved', 'none': no such registration, or no such connection of one's own; 'full', 'refused'.
CREATE FUNCTION credentials.begin_connection(client uuid, again uuid, state bytea, wanted text[]) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:connect');
    me uuid := scope.scope_person();
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' THEN
        RETURN 'refused';
    ELSIF NOT EXISTS (SELECT FROM credentials.oauth_clients AS known WHERE known.company_id = in_company AND known.id = client
            AND known.removed_at IS NULL)
        OR again IS NOT NULL AND NOT EXISTS (SELECT FROM credentials.connections AS one WHERE one.company_id = in_company
            AND one.id = again AND one.oauth_client_id = client AND one.person_id = me AND one.status <> 'revoked') THEN
        RETURN 'none';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    ELSIF again IS NULL AND (SELECT count(*) >= 50 FROM credentials.connections AS one WHERE one.company_id = in_company
        AND one.person_id = me AND one.status <> 'revoked') THEN
        RETURN 'full';
    END IF;
    -- The last five of a person that are open hold; who begins without end fills no table.
    DELETE FROM credentials.oauth_states AS begun WHERE begun.company_id = in_company AND begun.person_id = me
        AND begun.digest NOT IN (SELECT kept.digest FROM credentials.oauth_states AS kept WHERE kept.company_id = in_company
            AND kept.person_id = me AND kept.expires_at > now() ORDER BY kept.created_at DESC LIMIT 4);
    INSERT INTO credentials.oauth_states (company_id, digest, oauth_client_id, connection_id, person_id, session_id, scopes)
        VALUES (in_company, state, client, again, me, scope.scope_session(), wanted);
    RETURN 'begun';
END $$;

-- Takes a state, once: in the session that it was begun in, while it is open. No row for everything else, and nothing changes.
-- Called outside any company, since the callback's address names none.
CREATE FUNCTION credentials.take_state(state bytea) RETURNS TABLE (company uuid, slug text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY UPDATE credentials.oauth_states AS begun SET used_at = now() FROM tenancy.companies AS host
        WHERE begun.digest = state AND begun.used_at IS NULL AND begun.expires_at > now() AND scope.scope_kind() = 'person'
          AND begun.person_id = scope.scope_person() AND begun.session_id = scope.scope_session() AND host.id = begun.company_id
        RETURNING host.id, host.slug;
END $$;

-- What was begun with a state that the scope's session has taken; no row otherwise.
CREATE FUNCTION credentials.taken_state(state bytea) RETURNS TABLE (oauth_client uuid, connection uuid, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT begun.oauth_client_id, begun.connection_id, begun.scopes FROM credentials.oauth_states AS begun
        JOIN credentials.oauth_clients AS known ON known.company_id = begun.company_id AND known.id = begun.oauth_client_id
            AND known.removed_at IS NULL
        WHERE begun.company_id = credentials.here('integrations:connect') AND begun.digest = state
          AND begun.person_id = scope.scope_person() AND begun.session_id = scope.scope_session()
          AND begun.used_at > now() - interval '5 minutes'
$$;

-- Keeps what came of a state, and ends it: there is no other way to a connection. False: the state is not there any more.
CREATE FUNCTION credentials.keep_connection(
    state bytea, connection uuid, access uuid, refresh uuid, lives interval, granted text[], named text
) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:connect');
    me uuid := scope.scope_person();
    begun record;
    before record;
BEGIN
    SELECT taken.* INTO begun FROM credentials.taken_state(state) AS taken;
    DELETE FROM credentials.oauth_states AS done WHERE done.company_id = in_company AND done.digest = state;
    IF begun.oauth_client IS NULL OR connection <> coalesce(begun.connection, connection) OR (SELECT count(*)
        FROM credentials.secrets AS kept WHERE kept.company_id = in_company AND kept.belongs_to = connection
            AND (kept.id = access AND kept.kind = 'oauth_access_token' OR kept.id = refresh AND kept.kind = 'oauth_refresh_token'))
        <> 1 + (refresh IS NOT NULL)::integer THEN
        RETURN false;
    END IF;
    IF begun.connection IS NULL THEN
        INSERT INTO credentials.connections (company_id, id, oauth_client_id, person_id) VALUES (in_company, connection,
            begun.oauth_client, me);
    END IF;
    SELECT one.kept_access_id, one.kept_refresh_id INTO before FROM credentials.connections AS one
        WHERE one.company_id = in_company AND one.id = connection FOR UPDATE;
    UPDATE credentials.connections AS one SET kept_access_id = access, kept_refresh_id = refresh, expires_at = now() + lives,
            asked_scopes = begun.scopes, granted_scopes = granted, account = coalesce(named, one.account), status = 'active',
            generation = one.generation + 1, refresh_digest = NULL, refresh_until = NULL, not_before = NULL, failure = NULL,
            failed_at = NULL, connected_at = now()
        WHERE one.company_id = in_company AND one.id = connection AND one.person_id = me AND one.oauth_client_id = begun.oauth_client
          AND one.status <> 'revoked';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Those of before are not revoked at the provider: several end the whole consent with one token, the fresh ones too.
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND kept.id IN (before.kept_access_id, before.kept_refresh_id);
    PERFORM audit.append_as(in_company, 'person', me, NULL, 'connection.made', 'connection', connection::text, 'succeeded', NULL, NULL,
        jsonb_build_object('oauth_client', begun.oauth_client, 'asked', begun.scopes, 'granted', granted,
            'again', begun.connection IS NOT NULL));
    RETURN true;
END $$;

-- ── Using ──────────────────────────────────────────────────────────────────────────────────────────────
-- The token of a connection of the scope's own person. 'ready'; 'stale': it has to be refreshed; 'busy': somebody does; 'away':
-- the provider did not answer a moment ago; 'expired': it cannot be refreshed; 'broken'. No row for what is not theirs.
CREATE FUNCTION credentials.use_connection(connection uuid)
RETURNS TABLE (verdict text, oauth_client uuid, access uuid, refresh uuid, made integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:connect');
    found record;
    said text;
BEGIN
    SELECT one.* INTO found FROM credentials.connections AS one JOIN credentials.oauth_clients AS known
            ON known.company_id = one.company_id AND known.id = one.oauth_client_id AND known.removed_at IS NULL
        WHERE one.company_id = in_company AND one.id = connection AND one.person_id = scope.scope_person()
          AND one.status <> 'revoked';
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    said := CASE WHEN found.status = 'broken' THEN 'broken'
        WHEN found.expires_at IS NULL OR found.expires_at > clock_timestamp() + interval '1 minute' THEN 'ready'
        WHEN found.kept_refresh_id IS NULL AND found.expires_at > clock_timestamp() THEN 'ready'
        WHEN found.kept_refresh_id IS NULL THEN 'expired'
        WHEN found.refresh_until > clock_timestamp() THEN 'busy'
        WHEN found.not_before > clock_timestamp() THEN 'away'
        ELSE 'stale' END;
    -- Not at every use: whoever writes this row waits for others who do.
    IF said = 'ready' AND coalesce(found.last_used_at, '-infinity') < now() - interval '1 minute' THEN
        UPDATE credentials.connections AS one SET last_used_at = now() WHERE one.company_id = in_company AND one.id = connection
            AND coalesce(one.last_used_at, '-infinity') < now() - interval '1 minute';
    END IF;
    RETURN QUERY SELECT said, found.oauth_client_id, found.kept_access_id, found.kept_refresh_id, found.generation;
END $$;

-- Claims the refresh of a stale token for a minute, for one caller alone. No row: somebody else has it, or it is not needed.
-- `interrupted`: the last one who claimed it was not heard of again.
CREATE FUNCTION credentials.claim_refresh(connection uuid, known integer)
RETURNS TABLE (claim text, interrupted boolean, access_revision integer, refresh_revision integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:connect');
    fresh text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
    held record;
BEGIN
    SELECT one.kept_access_id, one.kept_refresh_id, one.refresh_digest INTO held FROM credentials.connections AS one
        WHERE one.company_id = in_company AND one.id = connection AND one.person_id = scope.scope_person() AND one.status = 'active'
          AND one.generation = known AND one.kept_refresh_id IS NOT NULL
          AND coalesce(one.refresh_until, '-infinity') < clock_timestamp() AND coalesce(one.not_before, '-infinity') < clock_timestamp()
        FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE credentials.connections AS one SET refresh_digest = sha256(convert_to(fresh, 'UTF8')),
            refresh_until = clock_timestamp() + interval '1 minute'
        WHERE one.company_id = in_company AND one.id = connection;
    RETURN QUERY SELECT fresh, held.refresh_digest IS NOT NULL, access_kept.revision, refresh_kept.revision
        FROM credentials.secrets AS access_kept JOIN credentials.secrets AS refresh_kept
            ON refresh_kept.company_id = access_kept.company_id AND refresh_kept.id = held.kept_refresh_id
        WHERE access_kept.company_id = in_company AND access_kept.id = held.kept_access_id;
END $$;

-- As credentials.hold_company_key, for the holder of a claim, who has no scope.
CREATE FUNCTION credentials.hold_key_of_refresh(in_company uuid, connection uuid, claim text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('operalta.company-key/' || in_company, 0))
        FROM credentials.connections AS one WHERE one.company_id = in_company AND one.id = connection
          AND one.refresh_digest = sha256(convert_to(claim, 'UTF8'));
END $$;

-- Stores how a refresh ended, for whoever holds its claim and nobody else. It asks for no scope: the run or the session that needed
-- the token may be over by the time that the provider answers, and a refresh token that was rotated must not be lost with it.
-- Without fresh access bytes it failed, for a reason in words of ours; `is_broken`: only its owner can mend it. A rotated refresh
-- token is stored all the same. False: the connection was revoked or made anew meanwhile, and nothing is stored.
CREATE FUNCTION credentials.end_refresh(in_company uuid, connection uuid, claim text, access_sealed bytea, access_revision integer,
    refresh_sealed bytea, refresh_revision integer, lives interval, granted text[], why text, is_broken boolean, pause interval,
    lines jsonb)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT one.* INTO held FROM credentials.connections AS one WHERE one.company_id = in_company AND one.id = connection
        AND one.status = 'active' AND one.refresh_digest = sha256(convert_to(claim, 'UTF8')) FOR UPDATE;
    IF held.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM credentials.keep_lines(in_company, NULL, held.person_id, lines);
    UPDATE credentials.secrets AS kept SET sealed = fresh.sealed, revision = kept.revision + 1, replaced_at = clock_timestamp()
        FROM (VALUES (held.kept_access_id, access_sealed, access_revision),
            (held.kept_refresh_id, refresh_sealed, refresh_revision)) AS fresh (id, sealed, revision)
        WHERE kept.company_id = in_company AND kept.id = fresh.id AND kept.revision = fresh.revision AND fresh.sealed IS NOT NULL;
    UPDATE credentials.connections AS one SET refresh_digest = NULL, refresh_until = NULL, generation = one.generation + 1,
            expires_at = CASE WHEN access_sealed IS NULL THEN one.expires_at ELSE clock_timestamp() + lives END,
            granted_scopes = coalesce(granted, one.granted_scopes),
            refreshed_at = CASE WHEN access_sealed IS NULL THEN one.refreshed_at ELSE clock_timestamp() END,
            status = CASE WHEN is_broken THEN 'broken' ELSE one.status END, failure = left(why, 300),
            failed_at = CASE WHEN access_sealed IS NULL THEN clock_timestamp() END,
            not_before = CASE WHEN access_sealed IS NULL THEN clock_timestamp() + least(pause, interval '1 hour') END
        WHERE one.company_id = in_company AND one.id = connection;
    PERFORM audit.append_as(in_company, 'system', held.person_id, NULL,
        CASE WHEN access_sealed IS NOT NULL THEN 'connection.refreshed' WHEN is_broken THEN 'connection.broken'
            ELSE 'connection.not_refreshed' END,
        'connection', connection::text, CASE WHEN access_sealed IS NULL THEN 'failed' ELSE 'succeeded' END, NULL, NULL,
        jsonb_build_object('why', left(why, 300), 'rotated', refresh_sealed IS NOT NULL));
    RETURN true;
END $$;

-- Ends a connection here: one's own, or anybody's for whoever manages integrations.
CREATE FUNCTION credentials.revoke_connection(connection uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:connect');
BEGIN
    RETURN in_company IS NOT NULL AND scope.scope_kind() = 'person' AND EXISTS (SELECT FROM credentials.connections AS one
            WHERE one.company_id = in_company AND one.id = connection
              AND (one.person_id = scope.scope_person() OR credentials.here('integrations:manage') IS NOT NULL))
        AND credentials.end_one(in_company, connection, 'revoked by a person');
END $$;

-- Leaves lines in the egress log of what was asked of a provider on behalf of the scope's person.
CREATE FUNCTION credentials.note_requests(lines jsonb) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := coalesce(credentials.here('integrations:connect'), credentials.here('integrations:manage'));
BEGIN
    IF in_company IS NOT NULL THEN
        PERFORM credentials.keep_lines(in_company, scope.scope_run(), scope.scope_person(), lines);
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION credentials.register_client, credentials.change_client, credentials.remove_client,
    credentials.begin_connection, credentials.take_state, credentials.taken_state, credentials.keep_connection,
    credentials.revoke_connection TO operalta_web;
GRANT EXECUTE ON FUNCTION credentials.use_connection, credentials.claim_refresh, credentials.hold_key_of_refresh, credentials.end_refresh,
    credentials.note_requests TO operalta_web, operalta_worker;

-- ── Whoever leaves a company, or may no longer connect accounts there, leaves no connection behind ────────────
CREATE FUNCTION credentials.end_connections_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NEW.ended_at IS NULL AND EXISTS (SELECT FROM access.role_permissions AS granted
        JOIN tenancy.companies AS host ON host.kind = granted.company_kind AND host.id = NEW.company_id
        WHERE granted.role = NEW.role AND granted.permission = 'integrations:connect') THEN
        RETURN NULL;
    END IF;
    PERFORM credentials.end_one(one.company_id, one.id, 'its owner may no longer work here') FROM credentials.connections AS one
        WHERE one.company_id = NEW.company_id AND one.person_id = NEW.person_id AND one.status <> 'revoked';
    DELETE FROM credentials.oauth_states AS begun WHERE begun.company_id = NEW.company_id AND begun.person_id = NEW.person_id;
    RETURN NULL;
END $$;
CREATE TRIGGER end_connections_of_former_member AFTER UPDATE OF role, ended_at ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION credentials.end_connections_of_former_member();

-- ── Telling providers, as scheduled work ───────────────────────────────────────────────────────────────
-- Takes what is due, for one attempt, with everything that it needs; the pause until the next one grows to a day. The secrets are
-- handed out sealed, and each with its event.
CREATE FUNCTION elevated.take_revocation() RETURNS TABLE (company uuid, revocation uuid, connection uuid, attempt integer,
    provider text, definition jsonb, client_id text, account text,
    client_secret uuid, client_sealed bytea, client_revision integer,
    access_secret uuid, access_sealed bytea, access_revision integer,
    refresh_secret uuid, refresh_sealed bytea, refresh_revision integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    due record;
BEGIN
    SELECT waiting.company_id, waiting.id INTO due FROM credentials.oauth_revocations AS waiting
        WHERE waiting.next_at <= now() ORDER BY waiting.next_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF due.id IS NULL THEN
        RETURN;
    END IF;
    UPDATE credentials.oauth_revocations AS taken SET attempts = taken.attempts + 1,
            next_at = now() + least(interval '1 minute' * 5 ^ least(taken.attempts, 5), interval '1 day')
        WHERE taken.company_id = due.company_id AND taken.id = due.id;
    RETURN QUERY SELECT taken.company_id, taken.id, taken.connection_id, taken.attempts, known.provider, known.definition,
            known.client_id, one.account, ours.id, ours.sealed, ours.revision, access_kept.id, access_kept.sealed,
            access_kept.revision, refresh_kept.id, refresh_kept.sealed, refresh_kept.revision
        FROM credentials.oauth_revocations AS taken
        JOIN credentials.connections AS one ON one.company_id = taken.company_id AND one.id = taken.connection_id
        JOIN credentials.oauth_clients AS known ON known.company_id = one.company_id AND known.id = one.oauth_client_id
        LEFT JOIN credentials.secrets AS ours ON ours.company_id = taken.company_id AND ours.id = known.kept_id
        LEFT JOIN credentials.secrets AS access_kept ON access_kept.company_id = taken.company_id
            AND access_kept.id = taken.kept_access_id
        LEFT JOIN credentials.secrets AS refresh_kept ON refresh_kept.company_id = taken.company_id
            AND refresh_kept.id = taken.kept_refresh_id
        WHERE taken.company_id = due.company_id AND taken.id = due.id;
    PERFORM audit.append_as(due.company_id, 'system', NULL, NULL, 'secret.opened', 'secret', kept.id::text, 'succeeded', NULL, NULL,
            jsonb_build_object('caller', 'oauth_client', 'purpose', 'revoke at the provider', 'kind', kept.kind,
                'revision', kept.revision))
        FROM credentials.oauth_revocations AS taken
        JOIN credentials.connections AS one ON one.company_id = taken.company_id AND one.id = taken.connection_id
        JOIN credentials.oauth_clients AS known ON known.company_id = one.company_id AND known.id = one.oauth_client_id
        JOIN credentials.secrets AS kept ON kept.company_id = taken.company_id
            AND kept.id IN (known.kept_id, taken.kept_access_id, taken.kept_refresh_id)
        WHERE taken.company_id = due.company_id AND taken.id = due.id;
END $$;

-- Notes how an attempt ended, and removes the tokens where no other follows. Only of what take_revocation gave.
CREATE FUNCTION elevated.finish_revocation(company uuid, revocation uuid, ended text, lines jsonb) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    taken record;
BEGIN
    SELECT waiting.connection_id, waiting.kept_access_id, waiting.kept_refresh_id, waiting.attempts, one.person_id,
            one.oauth_client_id INTO taken
        FROM credentials.oauth_revocations AS waiting JOIN credentials.connections AS one
            ON one.company_id = waiting.company_id AND one.id = waiting.connection_id
        WHERE waiting.company_id = company AND waiting.id = revocation AND waiting.attempts > 0 FOR UPDATE OF waiting;
    IF taken.connection_id IS NULL OR ended NOT IN ('revoked', 'later', 'refused', 'given up', 'not offered') THEN
        RETURN false;
    END IF;
    PERFORM credentials.keep_lines(company, NULL, taken.person_id, lines);
    IF ended = 'later' THEN
        RETURN true;
    END IF;
    DELETE FROM credentials.oauth_revocations AS waiting WHERE waiting.company_id = company AND waiting.id = revocation;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = company
        AND kept.id IN (taken.kept_access_id, taken.kept_refresh_id);
    UPDATE credentials.connections AS one SET at_provider = ended
        WHERE one.company_id = company AND one.id = taken.connection_id AND one.status = 'revoked';
    PERFORM credentials.forget_client_secret(company, taken.oauth_client_id);
    PERFORM audit.append_as(company, 'system', taken.person_id, NULL, 'connection.ended_at_provider', 'connection',
        taken.connection_id::text, CASE ended WHEN 'revoked' THEN 'succeeded' ELSE 'failed' END, NULL, NULL,
        jsonb_build_object('outcome', ended, 'attempts', taken.attempts));
    RETURN true;
END $$;

-- Consents that were never given are forgotten a day after they were begun.
CREATE FUNCTION elevated.forget_states() RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    removed integer;
BEGIN
    DELETE FROM credentials.oauth_states AS begun WHERE begun.expires_at < now() - interval '1 day';
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed > 0 THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'elevated.used', 'deployment', NULL, 'succeeded', NULL, NULL,
            jsonb_build_object('purpose', 'forget what has expired', 'removed', jsonb_build_object('consents', removed)));
    END IF;
    RETURN removed;
END $$;
CREATE INDEX oauth_states_expiry ON credentials.oauth_states (expires_at);
GRANT EXECUTE ON FUNCTION elevated.take_revocation, elevated.finish_revocation, elevated.forget_states TO operalta_job;
