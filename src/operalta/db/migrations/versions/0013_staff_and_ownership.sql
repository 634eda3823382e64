-- Staff of the deployment's operator in a company, handing a company over, and an end at once for those who leave it.

ALTER TABLE audit.events DROP CONSTRAINT events_actor_kind_check;
ALTER TABLE audit.events ADD CONSTRAINT events_actor_kind_check
    CHECK (actor_kind IN ('person', 'run', 'visitor', 'system', 'staff'));
ALTER TABLE delivery.messages DROP CONSTRAINT messages_kind_check;
ALTER TABLE delivery.messages ADD CONSTRAINT messages_kind_check CHECK (kind IN ('confirm_sign_up', 'already_registered',
    'verify_address', 'reset_password', 'password_changed', 'invitation', 'new_device', 'factor_changed', 'trust_device', 'code',
    'staff_access', 'ownership'));

-- ── Staff: appointed by whoever holds the owner's password (`operalta people appoint`) ───────────────────────
CREATE TABLE identity.staff (
    person_id uuid PRIMARY KEY REFERENCES identity.people (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('support', 'auditor')),
    appointed_at timestamptz NOT NULL DEFAULT now()
);
CALL scope.guard_table('identity.staff');
GRANT SELECT ON identity.staff TO operalta_web;
CREATE POLICY self_read ON identity.staff FOR SELECT TO operalta_web USING (person_id = (SELECT scope.scope_person()));

-- One visit to one company: for a reason, for some hours, ended by either side. Nobody writes it but the functions below.
-- The name is kept as it was, since the company cannot look somebody up who is no member.
CREATE TABLE tenancy.staff_access (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id),
    person_name text NOT NULL CHECK (length(person_name) <= 120),
    role text NOT NULL CHECK (role IN ('support', 'auditor')),
    reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 500),
    opened_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at timestamptz,
    ended_by uuid REFERENCES identity.people (id),
    PRIMARY KEY (company_id, id),
    CHECK (expires_at <= opened_at + interval '8 hours')
);
CREATE INDEX staff_access_person ON tenancy.staff_access (person_id, opened_at DESC);
CREATE INDEX staff_access_ended_by ON tenancy.staff_access (ended_by) WHERE ended_by IS NOT NULL;
CALL scope.guard_table('tenancy.staff_access');
GRANT SELECT ON tenancy.staff_access TO operalta_web;
CREATE POLICY scoped_read ON tenancy.staff_access FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('members:read')));

-- For functions below: whether somebody may be staff in this role at this moment. The operator may in each.
CREATE FUNCTION identity.is_staff(of_person uuid, in_role text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM identity.people AS person WHERE person.id = of_person AND person.disabled_at IS NULL
            AND person.verified_at IS NOT NULL AND (person.is_operator OR EXISTS (SELECT FROM identity.staff AS appointed
                WHERE appointed.person_id = of_person AND appointed.role = coalesce(in_role, appointed.role))))
$$;

-- The roles that the person of the scope may take as staff; none for everybody else.
CREATE FUNCTION identity.own_staff_roles() RETURNS text[] LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce(array_agg(role ORDER BY role), '{}') FROM unnest(ARRAY['support', 'auditor']) AS role
        WHERE scope.scope_kind() = 'person' AND identity.is_staff(scope.scope_person(), role)
$$;

-- What staff choose from: companies by name, without anything that is in them. Nothing for everybody else.
CREATE FUNCTION tenancy.companies_for_staff(after text, most integer) RETURNS TABLE (slug text, name text, kind text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT host.slug, host.name, host.kind FROM tenancy.companies AS host
        WHERE scope.scope_kind() = 'person' AND identity.is_staff(scope.scope_person(), NULL)
          AND (after IS NULL OR host.slug > after)
        ORDER BY host.slug LIMIT least(greatest(most, 1), 100)
$$;

-- Opens a company to the person of the scope. 'unproved': prove yourself first. 'refused': no such staff, company or role, a
-- reason or a time out of bounds, or a member, who needs no such access. The company's founders are told by mail at once.
CREATE FUNCTION tenancy.open_staff_access(wanted text, as_role text, because text, minutes integer)
RETURNS TABLE (verdict text, access uuid, slug text, until timestamptz) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    host record;
    who record;
    fresh record;
    founder record;
BEGIN
    SELECT company.id, company.slug, company.name INTO host FROM tenancy.companies AS company
        WHERE company.slug = wanted OR company.id::text = wanted;
    SELECT person.id, person.name INTO who FROM identity.people AS person
        WHERE person.id = scope.scope_person() AND scope.scope_kind() = 'person' AND identity.is_staff(person.id, as_role);
    IF host.id IS NULL OR who.id IS NULL OR as_role IS NULL OR coalesce(length(because), 0) NOT BETWEEN 10 AND 500
        OR coalesce(minutes, 0) NOT BETWEEN 5 AND 480
        OR EXISTS (SELECT FROM tenancy.memberships AS held WHERE held.company_id = host.id AND held.person_id = who.id
            AND held.ended_at IS NULL)
    THEN
        RETURN QUERY SELECT 'refused'::text, NULL::uuid, NULL::text, NULL::timestamptz;
        RETURN;
    END IF;
    IF NOT scope.recently_proved() THEN
        RETURN QUERY SELECT 'unproved'::text, NULL::uuid, NULL::text, NULL::timestamptz;
        RETURN;
    END IF;
    -- A new visit takes the place of one that is still open.
    PERFORM tenancy.end_visit(open.company_id, open.id, who.id) FROM tenancy.staff_access AS open
        WHERE open.company_id = host.id AND open.person_id = who.id AND open.ended_at IS NULL AND open.expires_at > now();
    INSERT INTO tenancy.staff_access AS visit (company_id, person_id, person_name, role, reason, expires_at)
        VALUES (host.id, who.id, who.name, as_role, because, now() + make_interval(mins => minutes))
        RETURNING visit.id, visit.expires_at INTO fresh;
    PERFORM audit.append_as(host.id, 'staff', who.id, NULL, 'staff_access.opened', 'staff_access', fresh.id::text, 'succeeded',
        NULL, NULL, jsonb_build_object('name', who.name, 'role', as_role, 'reason', because, 'minutes', minutes));
    FOR founder IN SELECT person.id, person.email, person.name FROM tenancy.memberships AS held
        JOIN identity.people AS person ON person.id = held.person_id
        WHERE held.company_id = host.id AND held.role = 'founder' AND held.ended_at IS NULL
    LOOP
        PERFORM delivery.enqueue('staff_access', founder.email, founder.name, founder.id, NULL, host.id, NULL,
            jsonb_build_object('company', host.name, 'slug', host.slug, 'who', who.name, 'role', as_role, 'reason', because,
                'until', to_char(fresh.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')));
    END LOOP;
    RETURN QUERY SELECT 'opened'::text, fresh.id, host.slug, fresh.expires_at;
END $$;

-- For functions alone: ends a visit that is open, and says so in the company's log.
CREATE FUNCTION tenancy.end_visit(in_company uuid, visit uuid, by_person uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE tenancy.staff_access AS open SET ended_at = now(), ended_by = by_person
        WHERE open.company_id = in_company AND open.id = visit AND open.ended_at IS NULL AND open.expires_at > now();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit.append_as(in_company, CASE WHEN by_person IS NULL THEN 'system' WHEN EXISTS (SELECT FROM tenancy.memberships AS held
                WHERE held.company_id = in_company AND held.person_id = by_person AND held.ended_at IS NULL)
            THEN 'person' ELSE 'staff' END,
        by_person, NULL, 'staff_access.ended', 'staff_access', visit::text, 'succeeded', NULL, NULL, '{}');
    RETURN true;
END $$;

-- Ends a visit: one's own, or any to the company of the scope for whoever manages its members.
CREATE FUNCTION tenancy.end_staff_access(access uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    visit record;
BEGIN
    SELECT open.company_id, open.person_id INTO visit FROM tenancy.staff_access AS open
        WHERE open.id = access AND (open.person_id = scope.scope_person() AND scope.scope_kind() IN ('person', 'staff')
            OR open.company_id = scope.scope_company() AND scope.scope_kind() = 'person' AND scope.may('members:manage')
                AND scope.is_company_member_with_role(open.company_id, scope.roles_permitted('members:manage')));
    RETURN visit.company_id IS NOT NULL AND tenancy.end_visit(visit.company_id, access, scope.scope_person());
END $$;

-- The visits of the scope's person, the newest first.
CREATE FUNCTION tenancy.own_staff_access() RETURNS TABLE (access uuid, slug text, name text, person_name text, role text,
    reason text, opened_at timestamptz, expires_at timestamptz, ended_at timestamptz, is_open boolean)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT visit.id, host.slug, host.name, visit.person_name, visit.role, visit.reason, visit.opened_at, visit.expires_at,
            visit.ended_at, visit.ended_at IS NULL AND visit.expires_at > now()
        FROM tenancy.staff_access AS visit JOIN tenancy.companies AS host ON host.id = visit.company_id
        WHERE visit.person_id = scope.scope_person() AND scope.scope_kind() = 'person'
        ORDER BY visit.opened_at DESC, visit.id LIMIT 50
$$;

-- Opens the scope of staff in a company, while the visit lasts and whoever visits is staff in that role. No row otherwise.
CREATE FUNCTION scope.open_staff_scope(secret text, company text)
RETURNS TABLE (session_id uuid, person_id uuid, company_id uuid, company_slug text, company_kind text, role text, until timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT live.session_id, live.person_id, host.id, host.slug, host.kind, visit.role, visit.expires_at INTO found
        FROM scope.live_session(secret) AS live
        JOIN tenancy.companies AS host ON host.slug = company OR host.id::text = company
        JOIN tenancy.staff_access AS visit ON visit.company_id = host.id AND visit.person_id = live.person_id
            AND visit.ended_at IS NULL AND visit.expires_at > now()
        WHERE identity.is_staff(live.person_id, visit.role)
          AND NOT EXISTS (SELECT FROM tenancy.memberships AS held WHERE held.company_id = host.id
              AND held.person_id = live.person_id AND held.ended_at IS NULL);
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    PERFORM scope.bind('staff', found.person_id, found.id, found.kind, found.role, found.session_id, NULL, false);
    RETURN QUERY SELECT found.session_id, found.person_id, found.id, found.slug, found.kind, found.role, found.expires_at;
END $$;

GRANT EXECUTE ON FUNCTION identity.own_staff_roles, tenancy.companies_for_staff, tenancy.open_staff_access,
    tenancy.end_staff_access, tenancy.own_staff_access, scope.open_staff_scope TO operalta_web;

-- Staff never write as members, not even where the same person is one. Replaced where it stands, since policies hang on it, and
-- as its owner: in a new database that is still the owner of the tables, in one that was hardened already the definer.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'scope.is_company_member_with_role'::regproc));
END $$;
CREATE OR REPLACE FUNCTION scope.is_company_member_with_role(company uuid, roles text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off SET debug_print_plan = off
AS $$
BEGIN
    RETURN company = scope.scope_company() AND scope.scope_kind() IS DISTINCT FROM 'staff' AND EXISTS (
        SELECT FROM tenancy.memberships AS membership
        WHERE membership.company_id = company AND membership.person_id = scope.scope_person()
          AND membership.ended_at IS NULL AND membership.role = ANY (roles));
END $$;
RESET ROLE;

-- ── Appointing and dismissing, with the owner's password alone ─────────────────────────────────────────────
CREATE FUNCTION elevated.appoint_staff(person uuid, as_role text, reason text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF coalesce(length(reason), 0) NOT BETWEEN 1 AND 500 OR as_role NOT IN ('support', 'auditor')
        OR NOT EXISTS (SELECT FROM identity.people AS known WHERE known.id = person AND known.verified_at IS NOT NULL) THEN
        RETURN false;
    END IF;
    INSERT INTO identity.staff AS appointed (person_id, role) VALUES (person, as_role)
        ON CONFLICT (person_id) DO UPDATE SET role = excluded.role, appointed_at = now();
    PERFORM audit.append_as(NULL, 'system', person, NULL, 'staff.appointed', 'person', person::text, 'succeeded', NULL, NULL,
        jsonb_build_object('role', as_role, 'reason', reason));
    RETURN true;
END $$;

-- Ends every open visit as well. False: this person is no staff.
CREATE FUNCTION elevated.dismiss_staff(person uuid, reason text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF coalesce(length(reason), 0) NOT BETWEEN 1 AND 500 THEN
        RETURN false;
    END IF;
    DELETE FROM identity.staff AS appointed WHERE appointed.person_id = person;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM tenancy.end_visit(open.company_id, open.id, NULL) FROM tenancy.staff_access AS open WHERE open.person_id = person
        AND open.ended_at IS NULL AND open.expires_at > now();
    PERFORM audit.append_as(NULL, 'system', person, NULL, 'staff.dismissed', 'person', person::text, 'succeeded', NULL, NULL,
        jsonb_build_object('reason', reason));
    RETURN true;
END $$;

-- ── Handing a company over ─────────────────────────────────────────────────────────────────────────────────
-- Another member becomes founder, the founder of the scope takes a lesser role, both or neither. 'done'; 'unproved';
-- 'none': no such member; 'refused': not a founder, oneself, or no such lesser role in this kind of company.
CREATE FUNCTION tenancy.transfer_ownership(heir uuid, own_next_role text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := scope.scope_company();
    me uuid := scope.scope_person();
    before text;
    host record;
    told record;
BEGIN
    -- Membership changes of one company stand in line here.
    SELECT company.id, company.name, company.slug INTO host FROM tenancy.companies AS company WHERE company.id = here FOR UPDATE;
    IF host.id IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR heir IS NOT DISTINCT FROM me
        OR own_next_role IS NULL OR own_next_role = 'founder'
        OR NOT EXISTS (SELECT FROM access.role_permissions AS known WHERE known.company_kind = scope.scope_company_kind()
            AND known.role = own_next_role)
        OR own_next_role NOT IN ('advisor', 'investor', 'observer')
        OR NOT scope.is_company_member_with_role(here, ARRAY['founder']) THEN
        RETURN 'refused';
    END IF;
    SELECT held.role INTO before FROM tenancy.memberships AS held
        WHERE held.company_id = here AND held.person_id = heir AND held.ended_at IS NULL FOR UPDATE;
    IF before IS NULL THEN
        RETURN 'none';
    END IF;
    IF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    UPDATE tenancy.memberships AS held SET role = 'founder' WHERE held.company_id = here AND held.person_id = heir;
    UPDATE tenancy.memberships AS held SET role = own_next_role WHERE held.company_id = here AND held.person_id = me;
    PERFORM audit.append_as(here, 'person', me, NULL, 'company.ownership_transferred', 'person', heir::text, 'succeeded', NULL,
        NULL, jsonb_build_object('previous_role', before, 'own_next_role', own_next_role));
    FOR told IN SELECT person.id, person.email, person.name FROM identity.people AS person WHERE person.id IN (heir, me)
    LOOP
        PERFORM delivery.enqueue('ownership', told.email, told.name, told.id, NULL, here, NULL, jsonb_build_object(
            'company', host.name, 'slug', host.slug, 'heir', (SELECT person.name FROM identity.people AS person WHERE person.id = heir),
            'by', (SELECT person.name FROM identity.people AS person WHERE person.id = me)));
    END LOOP;
    RETURN 'done';
END $$;
GRANT EXECUTE ON FUNCTION tenancy.transfer_ownership TO operalta_web;

-- ── Whoever leaves a company, or may no longer work with agents there, leaves no agent at work behind ────────────────
CREATE FUNCTION agents.end_work_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ended record;
    may_run boolean := NEW.ended_at IS NULL AND EXISTS (SELECT FROM access.role_permissions AS granted
        JOIN tenancy.companies AS host ON host.kind = granted.company_kind AND host.id = NEW.company_id
        WHERE granted.role = NEW.role AND granted.permission = 'agents:run');
BEGIN
    IF may_run THEN
        RETURN NULL;
    END IF;
    -- The worker that has the run loses its claim with this, and with the claim every scope.
    FOR ended IN UPDATE agents.runs AS run SET status = 'failed', finished_at = now(), claim_digest = NULL, claim_expires_at = NULL,
                failure = 'The person it worked for may no longer work here.'
            WHERE run.company_id = NEW.company_id AND run.person_id = NEW.person_id
              AND run.status IN ('queued', 'running', 'waiting_for_approval') RETURNING run.id
    LOOP
        UPDATE agents.approvals AS asked SET expires_at = now() WHERE asked.company_id = NEW.company_id AND asked.run_id = ended.id
            AND asked.decision IS NULL AND asked.expires_at > now();
        PERFORM audit.append_as(NEW.company_id, 'system', NEW.person_id, ended.id, 'run.failed', 'run', ended.id::text, 'failed',
            NULL, NULL, '{"why": "The person it worked for may no longer work here."}');
    END LOOP;
    UPDATE agents.grants AS given SET revoked_at = now() WHERE given.company_id = NEW.company_id AND given.revoked_at IS NULL
        AND NEW.person_id IN (given.requester_id, given.given_by);
    RETURN NULL;
END $$;
CREATE TRIGGER end_work_of_former_member AFTER UPDATE OF role, ended_at ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION agents.end_work_of_former_member();
CREATE INDEX runs_person ON agents.runs (company_id, person_id) WHERE status IN ('queued', 'running', 'waiting_for_approval');
