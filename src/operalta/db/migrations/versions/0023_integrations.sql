-- Integrations: other services that a company lets its agents use. Credentials lie in credentials.secrets; here are their ids.
-- Every write is a function below, which looks at the scope: no serving role may write this table (clause 1.3.1).

CREATE TABLE credentials.integrations (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    slug text NOT NULL CHECK (length(slug) BETWEEN 2 AND 40 AND slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    kind text NOT NULL CHECK (kind IN ('api_key_service', 'oauth_api', 'mcp_server')),
    -- Its host is the only one that the credential is sent to.
    base_url text NOT NULL CHECK (length(base_url) BETWEEN 8 AND 2000),
    -- Whose credential a request carries.
    lends text NOT NULL CHECK (lends IN ('none', 'key', 'connection')),
    form text NOT NULL DEFAULT 'bearer' CHECK (form IN ('bearer', 'header', 'basic')),
    header_name text CHECK (length(header_name) BETWEEN 1 AND 100),
    user_name text CHECK (length(user_name) BETWEEN 1 AND 200),
    -- Of whose connection the token is taken: that of the person for whom the run works.
    oauth_client_id uuid,
    kept_id uuid,
    -- Who has seen the credential: whoever entered it last. It is used while they are a member, and not a second longer.
    held_by uuid,
    held_at timestamptz,
    allows_writes boolean NOT NULL DEFAULT false,
    -- Off when it is made: there is no way to make one that is on (clause 5.5.3).
    is_on boolean NOT NULL DEFAULT false,
    switched_by uuid,
    switched_at timestamptz,
    -- Counts its definitions: what was asked about one is not answered by another.
    revision integer NOT NULL DEFAULT 1 CHECK (revision > 0),
    -- The tools of an MCP server as they stood when a person switched it on, and whether they have changed since.
    tools_sha256 text CHECK (tools_sha256 ~ '^[0-9a-f]{64}$'),
    tools jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tools) = 'array' AND length(tools::text) <= 200000),
    drifted_at timestamptz,
    made_by uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz,
    last_used_at timestamptz,
    checked_at timestamptz,
    answered_at timestamptz,
    failed_at timestamptz,
    failure text CHECK (length(failure) <= 300),
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, slug),
    FOREIGN KEY (company_id, oauth_client_id) REFERENCES credentials.oauth_clients (company_id, id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, made_by) REFERENCES tenancy.memberships (company_id, person_id),
    FOREIGN KEY (company_id, held_by) REFERENCES tenancy.memberships (company_id, person_id),
    FOREIGN KEY (company_id, switched_by) REFERENCES tenancy.memberships (company_id, person_id),
    CHECK ((lends = 'connection') = (oauth_client_id IS NOT NULL)),
    CHECK ((kept_id IS NULL) = (held_by IS NULL) AND (kept_id IS NULL OR lends = 'key')),
    CHECK ((form = 'header') = (header_name IS NOT NULL) AND (form = 'basic') = (user_name IS NOT NULL)),
    CHECK (kind <> 'api_key_service' OR lends = 'key'),
    CHECK (kind <> 'oauth_api' OR lends = 'connection'),
    CHECK (NOT is_on OR (lends <> 'key' OR kept_id IS NOT NULL) AND (kind <> 'mcp_server' OR tools_sha256 IS NOT NULL))
);
CREATE INDEX integrations_client ON credentials.integrations (company_id, oauth_client_id) WHERE oauth_client_id IS NOT NULL;
CREATE INDEX integrations_held_by ON credentials.integrations (company_id, held_by) WHERE held_by IS NOT NULL;
CREATE INDEX integrations_made_by ON credentials.integrations (company_id, made_by);
CREATE INDEX integrations_switched_by ON credentials.integrations (company_id, switched_by);
CALL scope.guard_table('credentials.integrations');
GRANT SELECT ON credentials.integrations TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON credentials.integrations FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- ── Keys and tokens of integrations are for those who manage integrations; the copy of operalta.vault.kinds ────
-- Replaced as their owner: in a new database that is still the owner of the tables, in one that was hardened already the definer.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'credentials.kind_kept_with'::regproc));
END $$;
CREATE OR REPLACE FUNCTION credentials.kind_kept_with(kind text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
    RETURN CASE WHEN kind IN ('oauth_access_token', 'oauth_refresh_token') THEN 'integrations:connect'
        WHEN kind IN ('oauth_client_secret', 'service_api_key', 'mcp_token', 'webhook_signing_secret', 'inbound_webhook_secret',
            'model_route_key') THEN 'integrations:manage' END;
CREATE OR REPLACE FUNCTION credentials.kind_replaced_with(kind text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
    RETURN CASE WHEN kind IN ('oauth_access_token', 'oauth_refresh_token') THEN 'integrations:read'
        WHEN kind IN ('oauth_client_secret', 'service_api_key', 'mcp_token', 'webhook_signing_secret', 'inbound_webhook_secret',
            'model_route_key') THEN 'integrations:manage' END;
RESET ROLE;

-- ── For functions alone ────────────────────────────────────────────────────────────────────────────────
-- Why the scope's person may not change integrations now; NULL where they may. A session of their own, and recently proved.
CREATE FUNCTION credentials.why_not_manage(needs_proof boolean) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT CASE WHEN credentials.here('integrations:manage') IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' THEN 'refused'
        WHEN needs_proof AND NOT scope.recently_proved() THEN 'unproved' END
$$;

CREATE FUNCTION credentials.note_integration_event(integration uuid, action text, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM audit.append_as(scope.scope_company(), scope.scope_kind(), scope.scope_person(), scope.scope_run(), action, 'integration',
        integration::text, 'succeeded', NULL, NULL, detail);
END $$;

-- Whether a kept secret is the one that belongs to this integration.
CREATE FUNCTION credentials.is_key_of(in_company uuid, integration uuid, secret uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM credentials.secrets AS kept WHERE kept.company_id = in_company AND kept.id = secret
        AND kept.belongs_to = integration AND kept.kind IN ('service_api_key', 'mcp_token'))
$$;

-- ── Making, changing, switching, removing ──────────────────────────────────────────────────────────────
-- 'made'; 'unproved': prove yourself first; 'taken'; 'full'; 'refused'. Its secret is kept already.
CREATE FUNCTION credentials.make_integration(integration uuid, slug text, called text, kind text, base_url text, lends text,
    form text, header_name text, user_name text, oauth_client uuid, secret uuid, allows_writes boolean)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := scope.scope_company();
    why text := credentials.why_not_manage(true);
BEGIN
    IF why IS NOT NULL THEN
        RETURN why;
    ELSIF (make_integration.lends = 'key') IS DISTINCT FROM (secret IS NOT NULL)
        OR secret IS NOT NULL AND NOT credentials.is_key_of(in_company, integration, secret)
        OR oauth_client IS NOT NULL AND NOT EXISTS (SELECT FROM credentials.oauth_clients AS known
            WHERE known.company_id = in_company AND known.id = oauth_client AND known.removed_at IS NULL) THEN
        RETURN 'refused';
    ELSIF (SELECT count(*) >= 50 FROM credentials.integrations AS one WHERE one.company_id = in_company) THEN
        RETURN 'full';
    END IF;
    INSERT INTO credentials.integrations (company_id, id, slug, name, kind, base_url, lends, form, header_name, user_name,
            oauth_client_id, kept_id, held_by, held_at, allows_writes, made_by)
        VALUES (in_company, integration, make_integration.slug, called, make_integration.kind, make_integration.base_url,
            make_integration.lends, make_integration.form, make_integration.header_name, make_integration.user_name, oauth_client,
            secret, CASE WHEN secret IS NOT NULL THEN scope.scope_person() END, CASE WHEN secret IS NOT NULL THEN now() END,
            make_integration.allows_writes, scope.scope_person())
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'taken';
    END IF;
    PERFORM credentials.note_integration_event(integration, 'integration.made', jsonb_build_object('slug', make_integration.slug,
        'kind', make_integration.kind, 'address', make_integration.base_url, 'writes', make_integration.allows_writes));
    RETURN 'made';
END $$;

-- 'changed' or a refusal as above, 'none'. A credential that was entered for one address, or one form, goes to no other: whoever
-- changes these enters it anew. Another address also switches off: people look at it again.
CREATE FUNCTION credentials.change_integration(integration uuid, called text, at_url text, in_form text, in_header text, as_user text,
    secret uuid, writes boolean)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := scope.scope_company();
    why text := credentials.why_not_manage(true);
    before record;
    is_elsewhere boolean;
BEGIN
    IF why IS NOT NULL THEN
        RETURN why;
    END IF;
    SELECT one.* INTO before FROM credentials.integrations AS one WHERE one.company_id = in_company AND one.id = integration FOR UPDATE;
    IF before.id IS NULL THEN
        RETURN 'none';
    END IF;
    is_elsewhere := before.base_url <> at_url;
    IF secret IS NULL AND before.kept_id IS NOT NULL AND (is_elsewhere OR before.form <> in_form
            OR before.header_name IS DISTINCT FROM in_header OR before.user_name IS DISTINCT FROM as_user) THEN
        RETURN 'enter again';
    ELSIF secret IS NOT NULL AND (before.lends <> 'key' OR NOT credentials.is_key_of(in_company, integration, secret)) THEN
        RETURN 'refused';
    END IF;
    UPDATE credentials.integrations AS one SET name = called, base_url = at_url, form = in_form, header_name = in_header,
            user_name = as_user, allows_writes = writes, kept_id = coalesce(secret, one.kept_id),
            held_by = CASE WHEN secret IS NULL THEN one.held_by ELSE scope.scope_person() END,
            held_at = CASE WHEN secret IS NULL THEN one.held_at ELSE now() END,
            is_on = one.is_on AND NOT is_elsewhere, switched_by = CASE WHEN is_elsewhere THEN scope.scope_person() ELSE one.switched_by END,
            switched_at = CASE WHEN is_elsewhere THEN now() ELSE one.switched_at END,
            tools_sha256 = CASE WHEN NOT is_elsewhere THEN one.tools_sha256 END,
            tools = CASE WHEN is_elsewhere THEN '[]' ELSE one.tools END,
            revision = one.revision + 1, changed_at = now()
        WHERE one.company_id = in_company AND one.id = integration;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company AND kept.id = before.kept_id AND secret IS NOT NULL;
    PERFORM credentials.note_integration_event(integration, 'integration.changed', jsonb_build_object('slug', before.slug,
        'address', at_url, 'writes', writes, 'credential', secret IS NOT NULL));
    RETURN 'changed';
END $$;

-- 'switched', 'none', 'refused'; 'no credential': enter one first. For an MCP server comes what a person saw of its tools.
-- Nobody is asked for a recent proof: to switch something off must never be hard.
CREATE FUNCTION credentials.switch_integration(integration uuid, wanted boolean, known integer, seen_sha256 text, seen jsonb)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := scope.scope_company();
    why text := credentials.why_not_manage(false);
    before record;
BEGIN
    IF why IS NOT NULL THEN
        RETURN why;
    END IF;
    SELECT one.* INTO before FROM credentials.integrations AS one WHERE one.company_id = in_company AND one.id = integration FOR UPDATE;
    IF before.id IS NULL THEN
        RETURN 'none';
    ELSIF wanted AND before.lends = 'key' AND before.kept_id IS NULL THEN
        RETURN 'no credential';
    ELSIF wanted AND before.revision <> known THEN
        RETURN 'changed meanwhile';
    ELSIF wanted AND before.kind = 'mcp_server' AND seen_sha256 IS NULL THEN
        RETURN 'refused';
    END IF;
    UPDATE credentials.integrations AS one SET is_on = wanted, switched_by = scope.scope_person(), switched_at = now(),
            drifted_at = CASE WHEN NOT wanted THEN one.drifted_at END,
            tools_sha256 = CASE WHEN wanted AND one.kind = 'mcp_server' THEN seen_sha256 ELSE one.tools_sha256 END,
            tools = CASE WHEN wanted AND one.kind = 'mcp_server' THEN coalesce(seen, '[]') ELSE one.tools END
        WHERE one.company_id = in_company AND one.id = integration;
    PERFORM credentials.note_integration_event(integration,
        CASE WHEN wanted THEN 'integration.switched_on' ELSE 'integration.switched_off' END,
        jsonb_build_object('slug', before.slug, 'tools', CASE WHEN wanted THEN seen_sha256 END));
    RETURN 'switched';
END $$;

CREATE FUNCTION credentials.remove_integration(integration uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := scope.scope_company();
    why text := credentials.why_not_manage(false);
    gone record;
BEGIN
    IF why IS NOT NULL THEN
        RETURN why;
    END IF;
    DELETE FROM credentials.integrations AS one WHERE one.company_id = in_company AND one.id = integration
        RETURNING one.slug, one.kept_id INTO gone;
    IF gone.slug IS NULL THEN
        RETURN 'none';
    END IF;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company AND kept.id = gone.kept_id;
    PERFORM credentials.note_integration_event(integration, 'integration.removed', jsonb_build_object('slug', gone.slug));
    RETURN 'removed';
END $$;

-- ── Using: asked at every call, so that what is switched off is off at the next one ────────────────────
-- Whether the scope may use an integration now for `wanted`: 'read', 'write', 'tool' of an MCP server, or 'check' by somebody who
-- manages integrations, who may look before it is switched on. No row for what is not there. Writes and tools act elsewhere in the
-- company's name, so they take the permission of those who lend an account of their own, which no API key has. `is_used`: it is
-- used now, and not just asked about.
CREATE FUNCTION credentials.use_integration(named text, wanted text, is_used boolean)
RETURNS TABLE (verdict text, integration uuid, connection uuid) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here(CASE wanted WHEN 'check' THEN 'integrations:manage' ELSE 'integrations:read' END);
    found record;
    theirs uuid;
    said text;
BEGIN
    SELECT one.* INTO found FROM credentials.integrations AS one WHERE one.company_id = in_company AND one.slug = named;
    IF found.id IS NULL THEN
        RETURN;
    END IF;
    SELECT account.id INTO theirs FROM credentials.connections AS account
        JOIN credentials.oauth_clients AS known ON known.company_id = account.company_id AND known.id = account.oauth_client_id
            AND known.removed_at IS NULL
        WHERE account.company_id = in_company AND account.oauth_client_id = found.oauth_client_id
          AND account.person_id = scope.scope_person() AND account.status <> 'revoked' AND scope.may('integrations:connect')
        ORDER BY account.status = 'active' DESC, account.connected_at DESC LIMIT 1;
    said := CASE WHEN wanted NOT IN ('read', 'write', 'tool', 'check')
            OR wanted = 'check' AND scope.scope_kind() IS DISTINCT FROM 'person' THEN 'refused'
        WHEN found.lends = 'key' AND (found.kept_id IS NULL OR NOT EXISTS (SELECT FROM tenancy.memberships AS membership
            WHERE membership.company_id = in_company AND membership.person_id = found.held_by AND membership.ended_at IS NULL))
            THEN 'no credential'
        WHEN wanted <> 'check' AND found.drifted_at IS NOT NULL THEN 'drifted'
        WHEN wanted <> 'check' AND NOT found.is_on THEN 'off'
        WHEN wanted <> 'check' AND (wanted = 'tool') <> (found.kind = 'mcp_server') THEN 'other kind'
        WHEN wanted = 'write' AND NOT found.allows_writes THEN 'read only'
        WHEN wanted IN ('write', 'tool') AND NOT scope.may('integrations:connect') THEN 'may not write'
        WHEN found.lends = 'connection' AND theirs IS NULL THEN 'not connected'
        ELSE 'ready' END;
    -- Not at every use: whoever writes this row waits for others who do.
    IF said = 'ready' AND is_used AND wanted <> 'check' AND coalesce(found.last_used_at, '-infinity') < now() - interval '1 minute' THEN
        UPDATE credentials.integrations AS one SET last_used_at = now() WHERE one.company_id = in_company AND one.id = found.id
            AND coalesce(one.last_used_at, '-infinity') < now() - interval '1 minute';
    END IF;
    RETURN QUERY SELECT said, found.id, theirs;
END $$;

-- Notes how a request ended: `why` in words of ours, or NULL where the service answered. Of another definition nothing is noted.
CREATE FUNCTION credentials.note_integration(integration uuid, known integer, why text, was_check boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:read');
BEGIN
    UPDATE credentials.integrations AS one SET
            failure = CASE WHEN why IS NULL THEN one.failure ELSE left(why, 300) END,
            failed_at = CASE WHEN why IS NULL THEN one.failed_at ELSE clock_timestamp() END,
            answered_at = CASE WHEN why IS NULL THEN clock_timestamp() ELSE one.answered_at END,
            checked_at = CASE WHEN was_check THEN clock_timestamp() ELSE one.checked_at END
        WHERE one.company_id = in_company AND one.id = integration AND one.revision = known
          -- Not at every answer, as above.
          AND (why IS NOT NULL OR was_check OR coalesce(one.answered_at, '-infinity') < clock_timestamp() - interval '1 minute'
            OR one.failed_at > one.answered_at);
END $$;

-- The tools of an MCP server are not those that a person saw: it is off until somebody looks again.
CREATE FUNCTION credentials.note_drift(integration uuid, known integer) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('integrations:read');
BEGIN
    UPDATE credentials.integrations AS one SET is_on = false, drifted_at = now()
        WHERE one.company_id = in_company AND one.id = integration AND one.revision = known AND one.kind = 'mcp_server'
          AND one.drifted_at IS NULL;
    IF FOUND THEN
        PERFORM credentials.note_integration_event(integration, 'integration.drifted', '{}');
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION credentials.make_integration, credentials.change_integration, credentials.switch_integration,
    credentials.remove_integration TO operalta_web;
GRANT EXECUTE ON FUNCTION credentials.use_integration, credentials.note_integration, credentials.note_drift
    TO operalta_web, operalta_worker;

-- ── Whoever leaves takes what they know of with them: what they entered is gone, and what used it is off ───────
CREATE FUNCTION credentials.stop_integrations_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    stopped record;
BEGIN
    IF NEW.ended_at IS NULL THEN
        RETURN NULL;
    END IF;
    FOR stopped IN SELECT one.id, one.slug, one.kept_id FROM credentials.integrations AS one
        WHERE one.company_id = NEW.company_id AND one.held_by = NEW.person_id FOR UPDATE
    LOOP
        UPDATE credentials.integrations AS one SET is_on = false, kept_id = NULL, held_by = NULL, held_at = NULL,
                revision = one.revision + 1, failed_at = now(),
                failure = 'Whoever entered its credential has left. Enter a new one, made by somebody who is still here.'
            WHERE one.company_id = NEW.company_id AND one.id = stopped.id;
        DELETE FROM credentials.secrets AS kept WHERE kept.company_id = NEW.company_id AND kept.id = stopped.kept_id;
        PERFORM audit.append_as(NEW.company_id, coalesce(scope.scope_kind(), 'system'), coalesce(scope.scope_person(), NEW.person_id),
            scope.scope_run(), 'integration.stopped', 'integration', stopped.id::text, 'succeeded', NULL, NULL,
            jsonb_build_object('slug', stopped.slug, 'held_by', NEW.person_id));
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER stop_integrations_of_former_member AFTER UPDATE OF ended_at ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION credentials.stop_integrations_of_former_member();

-- ── The first agent of a new company may ask for integrations; those that are there already get no new tools by themselves ──
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'agents.install_first_agents'::regproc));
END $$;
CREATE OR REPLACE FUNCTION agents.install_first_agents(company uuid) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
    INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools, created_at) VALUES
        (company, 'chief-of-staff', 'Chief of staff', 'Answers from the company''s memory and files, and keeps them in order.',
            'Answer from the company''s own memory and files, and cite them. Say so when nothing is recorded. Propose what should be written down; never guess a figure.',
            '{"memory_search": "allow", "memory_record": "allow", "metrics_read": "allow", "files_list": "allow", "files_read": "allow", "files_search": "allow", "files_write": "allow", "files_append": "allow", "files_move": "allow", "files_delete": "allow", "web_fetch": "allow", "shell_run": "ask", "delegate": "allow", "integration_request": "allow", "integration_tool": "ask"}', now()),
        (company, 'analyst', 'Analyst', 'Reads the metrics and the files behind them.',
            'Work from recorded metrics and files only. Show the dates and sources of every figure.',
            '{"memory_search": "allow", "metrics_read": "allow", "files_list": "allow", "files_read": "allow", "files_search": "allow"}', now() + interval '1 millisecond')
$$;
RESET ROLE;
