-- People, their passwords and sessions, mail links. Visitors reach these through `signin` functions alone.

CREATE TABLE identity.people (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL CHECK (length(email) <= 254),
    email_key text NOT NULL UNIQUE CHECK (length(email_key) <= 254),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    is_operator boolean NOT NULL DEFAULT false,
    verified_at timestamptz,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL scope.guard_table('identity.people');

CREATE TABLE identity.passwords (
    person_id uuid PRIMARY KEY REFERENCES identity.people (id) ON DELETE CASCADE,
    scheme text NOT NULL,
    pepper_version integer NOT NULL,
    hash text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CALL scope.guard_table('identity.passwords');

-- A sign-up waits here until its own mail link is confirmed; only then is there an account, with the password
-- of exactly that sign-up. So nobody can prepare an account on an address that is not theirs.
CREATE TABLE identity.pending_sign_ups (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    email text NOT NULL CHECK (length(email) <= 254),
    email_key text NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    scheme text NOT NULL,
    pepper_version integer NOT NULL,
    hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '24 hours'
);
CREATE INDEX pending_sign_ups_email ON identity.pending_sign_ups (email_key);
CALL scope.guard_table('identity.pending_sign_ups');

CREATE TABLE identity.sessions (
    id uuid PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    counter integer NOT NULL DEFAULT 0,
    rotated_at timestamptz NOT NULL DEFAULT now(),
    refresh_digest bytea NOT NULL,
    previous_refresh_digest bytea,
    access_digest bytea NOT NULL UNIQUE,
    previous_access_digest bytea,
    device_digest bytea NOT NULL,
    user_agent text NOT NULL CHECK (length(user_agent) <= 400),
    address text NOT NULL CHECK (length(address) <= 64),
    idle_expires_at timestamptz NOT NULL,
    absolute_expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_reason text
);
CREATE INDEX sessions_person ON identity.sessions (person_id);
CREATE INDEX sessions_previous_access ON identity.sessions (previous_access_digest) WHERE previous_access_digest IS NOT NULL;
CALL scope.guard_table('identity.sessions');

CREATE TABLE identity.links (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    purpose text NOT NULL CHECK (purpose IN ('confirm_sign_up', 'verify_address', 'reset_password', 'invitation', 'operator')),
    digest bytea NOT NULL UNIQUE,
    person_id uuid REFERENCES identity.people (id) ON DELETE CASCADE,
    pending_sign_up_id uuid REFERENCES identity.pending_sign_ups (id) ON DELETE CASCADE,
    company_id uuid,
    invitation_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz
);
CALL scope.guard_table('identity.links');

CREATE TABLE identity.sign_in_history (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT now(),
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'refused')),
    user_agent text NOT NULL CHECK (length(user_agent) <= 400),
    address text NOT NULL CHECK (length(address) <= 64)
);
CREATE INDEX sign_in_history_person ON identity.sign_in_history (person_id, at DESC);
CALL scope.guard_table('identity.sign_in_history');

-- ── What a person may see of it ────────────────────────────────────────────────────────────────────────
CREATE FUNCTION scope.colleagues() RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN coalesce((SELECT array_agg(person_id) FROM tenancy.memberships WHERE company_id = scope.scope_company()), '{}');
END $$;
GRANT EXECUTE ON FUNCTION scope.colleagues TO operalta_web, operalta_worker;

GRANT SELECT (id, email, name, is_operator, verified_at, created_at) ON identity.people TO operalta_web, operalta_worker;
CREATE POLICY self_read ON identity.people FOR SELECT TO operalta_web, operalta_worker
    USING (id = (SELECT scope.scope_person()));
CREATE POLICY colleagues_read ON identity.people FOR SELECT TO operalta_web, operalta_worker
    USING (id = ANY ((SELECT scope.colleagues())::uuid[]));

GRANT SELECT (id, person_id, created_at, last_seen_at, user_agent, address, idle_expires_at, absolute_expires_at,
    ended_at, ended_reason) ON identity.sessions TO operalta_web;
CREATE POLICY self_read ON identity.sessions FOR SELECT TO operalta_web USING (person_id = (SELECT scope.scope_person()));
GRANT SELECT ON identity.sign_in_history TO operalta_web;
CREATE POLICY self_read ON identity.sign_in_history FOR SELECT TO operalta_web
    USING (person_id = (SELECT scope.scope_person()));

-- Ends one of one's own sessions, or all but the present one (NULL). Returns how many ended.
CREATE FUNCTION identity.end_sessions(which uuid) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    ended integer;
BEGIN
    UPDATE identity.sessions SET ended_at = now(), ended_reason = 'ended by its owner'
        WHERE person_id = scope.scope_person() AND ended_at IS NULL AND scope.scope_kind() = 'person'
          AND (id = which OR (which IS NULL AND id <> scope.scope_session()));
    GET DIAGNOSTICS ended = ROW_COUNT;
    IF ended > 0 THEN
        PERFORM audit.append_as(NULL, 'person', scope.scope_person(), NULL, 'session.ended', 'session',
            coalesce(which::text, 'all others'), 'succeeded', NULL, NULL, jsonb_build_object('count', ended));
    END IF;
    RETURN ended;
END $$;
GRANT EXECUTE ON FUNCTION identity.end_sessions TO operalta_web;

-- ── Opening a scope ────────────────────────────────────────────────────────────────────────────────────
-- The session whose access secret this is: the present one, or the one before for 10 seconds after a rotation.
CREATE FUNCTION scope.live_session(secret text) RETURNS TABLE (session_id uuid, person_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    presented bytea := sha256(convert_to(secret, 'UTF8'));
BEGIN
    RETURN QUERY SELECT session.id, session.person_id FROM identity.sessions AS session
        WHERE session.access_digest = presented
          AND session.ended_at IS NULL AND session.idle_expires_at > now() AND session.absolute_expires_at > now();
    IF NOT FOUND THEN
        RETURN QUERY SELECT session.id, session.person_id FROM identity.sessions AS session
            WHERE session.previous_access_digest = presented AND session.rotated_at > now() - interval '10 seconds'
              AND session.ended_at IS NULL AND session.idle_expires_at > now() AND session.absolute_expires_at > now();
    END IF;
END $$;

CREATE FUNCTION scope.open_person_scope(secret text)
RETURNS TABLE (session_id uuid, person_id uuid, is_operator boolean) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT live.session_id, live.person_id, person.is_operator INTO found
        FROM scope.live_session(secret) AS live JOIN identity.people AS person ON person.id = live.person_id
        WHERE person.disabled_at IS NULL;
    IF found.session_id IS NULL THEN
        RETURN;
    END IF;
    PERFORM scope.bind('person', found.person_id, NULL, NULL, NULL, found.session_id, NULL, found.is_operator);
    RETURN QUERY SELECT found.session_id, found.person_id, found.is_operator;
END $$;

-- `company` is an id or a slug. No row: the session is dead. `company_id` NULL: no such membership (or no such company).
CREATE FUNCTION scope.open_scope(secret text, company text)
RETURNS TABLE (session_id uuid, person_id uuid, is_operator boolean, company_id uuid, company_slug text,
    company_kind text, role text) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
    place record;
BEGIN
    SELECT live.session_id, live.person_id, person.is_operator INTO found
        FROM scope.live_session(secret) AS live JOIN identity.people AS person ON person.id = live.person_id
        WHERE person.disabled_at IS NULL;
    IF found.session_id IS NULL THEN
        RETURN;
    END IF;
    SELECT host.id, host.slug, host.kind, membership.role INTO place
        FROM tenancy.companies AS host JOIN tenancy.memberships AS membership ON membership.company_id = host.id
        WHERE membership.person_id = found.person_id AND membership.ended_at IS NULL
          AND (host.slug = company OR host.id::text = company);
    IF place.id IS NOT NULL THEN
        PERFORM scope.bind('person', found.person_id, place.id, place.kind, place.role, found.session_id, NULL,
            found.is_operator);
    END IF;
    RETURN QUERY SELECT found.session_id, found.person_id, found.is_operator, place.id, place.slug, place.kind, place.role;
END $$;
GRANT EXECUTE ON FUNCTION scope.open_person_scope, scope.open_scope TO operalta_web;

-- Write policies call this: the scope's company, and a membership that holds now with one of the roles (clause 2.5.2).
CREATE FUNCTION scope.is_company_member_with_role(company uuid, roles text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN company = scope.scope_company() AND EXISTS (
        SELECT FROM tenancy.memberships AS membership
        WHERE membership.company_id = company AND membership.person_id = scope.scope_person()
          AND membership.ended_at IS NULL AND membership.role = ANY (roles));
END $$;
GRANT EXECUTE ON FUNCTION scope.is_company_member_with_role TO operalta_web, operalta_worker;
