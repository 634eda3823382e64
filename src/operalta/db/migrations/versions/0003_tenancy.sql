-- Companies, memberships and invitations.

CREATE TABLE tenancy.companies (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$'
        -- Nothing that could be taken for a company's id, which addresses take as well.
        AND slug !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    kind text NOT NULL CHECK (kind IN ('startup', 'investor')),
    founded_by uuid NOT NULL REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now()
);
CALL scope.guard_table('tenancy.companies');
GRANT SELECT ON tenancy.companies TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON tenancy.companies FOR SELECT TO operalta_web, operalta_worker
    USING (id = (SELECT scope.scope_company()));

CREATE TABLE tenancy.memberships (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    person_id uuid NOT NULL REFERENCES identity.people (id),
    role text NOT NULL CHECK (role IN ('founder', 'advisor', 'investor', 'observer')),
    invited_by uuid REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    PRIMARY KEY (company_id, person_id)
);
CREATE INDEX memberships_person ON tenancy.memberships (person_id);
CALL scope.guard_table('tenancy.memberships');
GRANT SELECT ON tenancy.memberships TO operalta_web, operalta_worker;
GRANT UPDATE (role, ended_at) ON tenancy.memberships TO operalta_web;
CREATE POLICY scoped_read ON tenancy.memberships FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()));
-- Never on oneself, and never to a role that holds more than one's own.
CREATE POLICY scoped_update ON tenancy.memberships FOR UPDATE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('members:manage')))
        AND person_id <> (SELECT scope.scope_person()) AND ended_at IS NULL)
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('members:manage')))
        AND person_id <> (SELECT scope.scope_person()) AND scope.may_grant(role));

-- A company always keeps a founder. The company's row is locked, so that two founders cannot leave at once.
CREATE FUNCTION tenancy.keep_a_founder() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF OLD.role = 'founder' AND OLD.ended_at IS NULL AND (NEW.role <> 'founder' OR NEW.ended_at IS NOT NULL) THEN
        PERFORM 1 FROM tenancy.companies WHERE id = NEW.company_id FOR UPDATE;
        IF NOT EXISTS (SELECT FROM tenancy.memberships WHERE company_id = NEW.company_id AND role = 'founder'
            AND ended_at IS NULL AND person_id <> NEW.person_id) THEN
            RAISE EXCEPTION 'last founder' USING ERRCODE = 'OP001';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_a_founder AFTER UPDATE ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION tenancy.keep_a_founder();

CREATE TABLE tenancy.invitations (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email text NOT NULL CHECK (length(email) <= 254),
    email_key text NOT NULL CHECK (length(email_key) <= 254),
    role text NOT NULL CHECK (role IN ('founder', 'advisor', 'investor', 'observer')),
    invited_by uuid NOT NULL REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '7 days',
    accepted_at timestamptz,
    accepted_by uuid REFERENCES identity.people (id),
    revoked_at timestamptz,
    PRIMARY KEY (company_id, id)
);
CALL scope.guard_table('tenancy.invitations');
GRANT SELECT ON tenancy.invitations TO operalta_web;
GRANT INSERT (company_id, id, email, email_key, role, invited_by) ON tenancy.invitations TO operalta_web;
GRANT UPDATE (revoked_at) ON tenancy.invitations TO operalta_web;
CREATE POLICY scoped_read ON tenancy.invitations FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('members:invite')));
CREATE POLICY scoped_insert ON tenancy.invitations FOR INSERT TO operalta_web
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('members:invite')))
        AND invited_by = (SELECT scope.scope_person()) AND (SELECT scope.scope_kind()) = 'person' AND scope.may_grant(role));
CREATE POLICY scoped_update ON tenancy.invitations FOR UPDATE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('members:invite')))
        AND accepted_at IS NULL AND revoked_at IS NULL)
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('members:invite')))
        AND revoked_at IS NOT NULL);

ALTER TABLE identity.links ADD FOREIGN KEY (company_id, invitation_id)
    REFERENCES tenancy.invitations (company_id, id) ON DELETE CASCADE;

-- The companies of the person, for the chooser.
CREATE FUNCTION tenancy.my_companies() RETURNS TABLE (id uuid, slug text, name text, kind text, role text)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT host.id, host.slug, host.name, host.kind, membership.role
        FROM tenancy.memberships AS membership JOIN tenancy.companies AS host ON host.id = membership.company_id
        WHERE membership.person_id = scope.scope_person() AND membership.ended_at IS NULL
        ORDER BY host.name, host.id;
END $$;

-- Founds a company with the person of the scope as its founder. The slug gets a number where it is taken.
-- `anyone` false: only the operator may. Returns no row where the person may not (or has not verified an address).
CREATE FUNCTION tenancy.found_company(wanted_name text, wanted_slug text, wanted_kind text, anyone boolean)
RETURNS TABLE (id uuid, slug text) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    founder record;
    fresh uuid;
    candidate text := wanted_slug;
    suffix integer := 1;
BEGIN
    SELECT person.id, person.is_operator INTO founder FROM identity.people AS person
        WHERE person.id = scope.scope_person() AND person.verified_at IS NOT NULL AND scope.scope_kind() = 'person';
    IF founder.id IS NULL OR NOT (anyone OR founder.is_operator) THEN
        RETURN;
    END IF;
    LOOP
        INSERT INTO tenancy.companies AS made (slug, name, kind, founded_by)
            VALUES (candidate, wanted_name, wanted_kind, founder.id) ON CONFLICT DO NOTHING RETURNING made.id INTO fresh;
        EXIT WHEN fresh IS NOT NULL;
        suffix := suffix + 1;
        candidate := left(wanted_slug, 40) || '-' || suffix;
    END LOOP;
    INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (fresh, founder.id, 'founder');
    PERFORM agents.install_first_agents(fresh);
    PERFORM audit.append_as(fresh, 'person', founder.id, NULL, 'company.founded', 'company', fresh::text, 'succeeded',
        NULL, NULL, jsonb_build_object('name', wanted_name, 'kind', wanted_kind));
    RETURN QUERY SELECT fresh, candidate;
END $$;

-- Leaves the company of the scope. The last founder cannot (keep_a_founder).
CREATE FUNCTION tenancy.leave() RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE tenancy.memberships SET ended_at = now() WHERE company_id = scope.scope_company()
        AND person_id = scope.scope_person() AND ended_at IS NULL AND scope.scope_kind() = 'person';
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM audit.append_as(scope.scope_company(), 'person', scope.scope_person(), NULL, 'member.left', 'person',
        scope.scope_person()::text, 'succeeded', NULL, NULL, '{}');
    RETURN true;
END $$;

-- For functions alone: whether an inviter still holds a membership that may invite; an invitation ends with it.
CREATE FUNCTION tenancy.inviter_may_still(company uuid, inviter uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN EXISTS (SELECT FROM tenancy.memberships AS held
        JOIN tenancy.companies AS host ON host.id = held.company_id
        JOIN access.role_permissions AS granted ON granted.company_kind = host.kind AND granted.role = held.role
            AND granted.permission = 'members:invite'
        WHERE held.company_id = company AND held.person_id = inviter AND held.ended_at IS NULL);
END $$;

-- Accepts an invitation for the person of the scope: bound to the verified address, used once, not expired.
CREATE FUNCTION tenancy.accept_invitation(token text) RETURNS TABLE (company_id uuid, slug text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    invited record;
BEGIN
    UPDATE tenancy.invitations AS invitation SET accepted_at = now(), accepted_by = scope.scope_person()
        FROM identity.links AS link, identity.people AS person
        WHERE link.digest = sha256(convert_to(token, 'UTF8')) AND link.purpose = 'invitation' AND link.used_at IS NULL
          AND link.expires_at > now() AND invitation.company_id = link.company_id AND invitation.id = link.invitation_id
          AND invitation.accepted_at IS NULL AND invitation.revoked_at IS NULL AND invitation.expires_at > now()
          AND person.id = scope.scope_person() AND scope.scope_kind() = 'person'
          AND person.verified_at IS NOT NULL AND person.email_key = invitation.email_key
          AND tenancy.inviter_may_still(invitation.company_id, invitation.invited_by)
        RETURNING invitation.company_id, invitation.id, invitation.role, invitation.invited_by, link.id AS link_id INTO invited;
    IF invited.id IS NULL THEN
        RETURN;
    END IF;
    UPDATE identity.links AS link SET used_at = now() WHERE link.id = invited.link_id;
    INSERT INTO tenancy.memberships AS membership (company_id, person_id, role, invited_by)
        VALUES (invited.company_id, scope.scope_person(), invited.role, invited.invited_by)
        ON CONFLICT ON CONSTRAINT memberships_pkey DO UPDATE
            SET role = excluded.role, invited_by = excluded.invited_by, ended_at = NULL, created_at = now()
            WHERE membership.ended_at IS NOT NULL;
    PERFORM audit.append_as(invited.company_id, 'person', scope.scope_person(), NULL, 'invitation.accepted', 'invitation',
        invited.id::text, 'succeeded', NULL, NULL, jsonb_build_object('role', invited.role));
    RETURN QUERY SELECT host.id, host.slug FROM tenancy.companies AS host WHERE host.id = invited.company_id;
END $$;
GRANT EXECUTE ON FUNCTION tenancy.my_companies, tenancy.found_company, tenancy.leave, tenancy.accept_invitation
    TO operalta_web;
