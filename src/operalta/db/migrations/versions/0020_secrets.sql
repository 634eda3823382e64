-- Sealed secrets: bytes that the serving roles can neither read nor write but through the functions below, which look at the scope
-- and leave an event. The keys that they are sealed under are files outside the database; nothing in here opens one.

-- What is inside is not for the database to know; format, version of the company's key and length can be read off, and are.
CREATE TABLE credentials.secrets (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('oauth_access_token', 'oauth_refresh_token', 'oauth_client_secret', 'service_api_key',
        'mcp_token', 'webhook_signing_secret', 'inbound_webhook_secret', 'model_route_key')),
    belongs_to uuid NOT NULL,
    sealed bytea NOT NULL CHECK (octet_length(sealed) BETWEEN 49 AND 65585 AND get_byte(sealed, 0) = 1),
    key_version integer NOT NULL GENERATED ALWAYS AS (
        (get_byte(sealed, 1) << 24) | (get_byte(sealed, 2) << 16) | (get_byte(sealed, 3) << 8) | get_byte(sealed, 4)) STORED
        CHECK (key_version > 0),
    revision integer NOT NULL DEFAULT 1 CHECK (revision > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    replaced_at timestamptz,
    PRIMARY KEY (company_id, id)
);
CALL scope.guard_table('credentials.secrets');
CREATE INDEX secrets_belong_to ON credentials.secrets (company_id, belongs_to);
CREATE INDEX secrets_key_version ON credentials.secrets (company_id, key_version, id);
-- That there is one, of what kind and how old, is for people who see the integrations; never the bytes.
GRANT SELECT (company_id, id, kind, belongs_to, key_version, revision, created_at, replaced_at) ON credentials.secrets
    TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON credentials.secrets FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- ── The copy of operalta.vault.kinds ───────────────────────────────────────────────────────────────────
-- The permission that keeping and removing a secret of a kind asks for; NULL for a kind that is not known.
CREATE FUNCTION credentials.kind_kept_with(kind text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER
    RETURN CASE WHEN kind IN ('oauth_access_token', 'oauth_refresh_token', 'service_api_key', 'mcp_token') THEN 'integrations:connect'
        WHEN kind IN ('oauth_client_secret', 'webhook_signing_secret', 'inbound_webhook_secret', 'model_route_key')
        THEN 'integrations:manage' END;
-- What puts new bytes in the place of old ones: tokens are renewed while they are used, everything else as it was kept.
CREATE FUNCTION credentials.kind_replaced_with(kind text) RETURNS text LANGUAGE sql IMMUTABLE SECURITY DEFINER
    RETURN CASE WHEN kind IN ('oauth_access_token', 'oauth_refresh_token') THEN 'integrations:read'
        WHEN kind IN ('service_api_key', 'mcp_token') THEN 'integrations:connect'
        WHEN kind IN ('oauth_client_secret', 'webhook_signing_secret', 'inbound_webhook_secret', 'model_route_key')
        THEN 'integrations:manage' END;
CREATE FUNCTION credentials.kind_opened_by(kind text) RETURNS text[] LANGUAGE sql IMMUTABLE SECURITY DEFINER
    RETURN CASE kind WHEN 'oauth_access_token' THEN ARRAY['egress', 'oauth_client']
        WHEN 'oauth_refresh_token' THEN ARRAY['oauth_client'] WHEN 'oauth_client_secret' THEN ARRAY['oauth_client']
        WHEN 'service_api_key' THEN ARRAY['egress'] WHEN 'mcp_token' THEN ARRAY['egress']
        WHEN 'webhook_signing_secret' THEN ARRAY['webhook_sender']
        WHEN 'inbound_webhook_secret' THEN ARRAY['webhook_receiver'] WHEN 'model_route_key' THEN ARRAY['egress'] END;

-- ── Keeping, replacing, removing ───────────────────────────────────────────────────────────────────────
-- Events of secrets name actor and company by the scope; who asked and from where are the caller's to say.
CREATE FUNCTION credentials.note(action text, secret uuid, request uuid, origin text, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM audit.append_as(scope.scope_company(), scope.scope_kind(), scope.scope_person(), scope.scope_run(), action, 'secret',
        secret::text, 'succeeded', request, origin, detail);
END $$;

CREATE FUNCTION credentials.keep_secret(
    secret uuid, kind text, belongs_to uuid, sealed bytea, request uuid, origin text
) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := scope.company_permitting(credentials.kind_kept_with(keep_secret.kind));
BEGIN
    IF here IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO credentials.secrets (company_id, id, kind, belongs_to, sealed)
        VALUES (here, secret, keep_secret.kind, keep_secret.belongs_to, keep_secret.sealed);
    PERFORM credentials.note('secret.kept', secret, request, origin,
        jsonb_build_object('kind', keep_secret.kind, 'belongs_to', keep_secret.belongs_to, 'revision', 1));
    RETURN true;
END $$;

-- Bytes of the next revision in the place of those of the last one. False: somebody replaced it first, or it is not there.
CREATE FUNCTION credentials.replace_secret(
    secret uuid, known_revision integer, fresh bytea, request uuid, origin text
) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := scope.scope_company();
    written record;
BEGIN
    UPDATE credentials.secrets AS kept SET sealed = fresh, revision = kept.revision + 1, replaced_at = now()
        WHERE kept.company_id = here AND kept.id = secret AND kept.revision = known_revision
          AND scope.may(credentials.kind_replaced_with(kept.kind)) RETURNING kept.kind, kept.revision INTO written;
    IF written.kind IS NULL THEN
        RETURN false;
    END IF;
    PERFORM credentials.note('secret.replaced', secret, request, origin,
        jsonb_build_object('kind', written.kind, 'revision', written.revision));
    RETURN true;
END $$;

CREATE FUNCTION credentials.remove_secret(secret uuid, request uuid, origin text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := scope.scope_company();
    gone text;
BEGIN
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = here AND kept.id = secret
        AND scope.may(credentials.kind_kept_with(kept.kind)) RETURNING kept.kind INTO gone;
    IF gone IS NULL THEN
        RETURN false;
    END IF;
    PERFORM credentials.note('secret.removed', secret, request, origin, jsonb_build_object('kind', gone));
    RETURN true;
END $$;

-- ── Opening: the only way to the bytes. The event stands or falls with the transaction that they were handed out in ──
CREATE FUNCTION credentials.open_secret(secret uuid, caller text, purpose text, request uuid, origin text)
RETURNS TABLE (kind text, sealed bytea, revision integer, written_at timestamptz) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := coalesce(scope.company_permitting('integrations:read'), scope.company_permitting('agents:run'));
    found record;
BEGIN
    IF length(btrim(coalesce(purpose, ''))) = 0 OR length(purpose) > 200 THEN
        RAISE EXCEPTION 'a secret is opened for a purpose' USING ERRCODE = 'OP006';
    END IF;
    SELECT kept.kind, kept.sealed, kept.revision, coalesce(kept.replaced_at, kept.created_at) AS written_at INTO found
        FROM credentials.secrets AS kept WHERE kept.company_id = here AND kept.id = secret;
    IF found.kind IS NULL THEN
        RETURN;
    END IF;
    IF NOT coalesce(caller = ANY (credentials.kind_opened_by(found.kind)), false) THEN
        RAISE EXCEPTION 'this caller opens no secret of this kind' USING ERRCODE = 'OP006';
    END IF;
    PERFORM credentials.note('secret.opened', secret, request, origin,
        jsonb_build_object('caller', caller, 'purpose', purpose, 'kind', found.kind, 'revision', found.revision));
    RETURN QUERY SELECT found.kind, found.sealed, found.revision, found.written_at;
END $$;

GRANT EXECUTE ON FUNCTION credentials.keep_secret, credentials.replace_secret, credentials.remove_secret, credentials.open_secret
    TO operalta_web, operalta_worker;

-- ── Rotating a company's key ───────────────────────────────────────────────────────────────────────────
-- Who writes a secret holds this from before its key is looked up until the bytes are committed, so that a rotation can tell when
-- nobody is left who seals under the version before.
CREATE FUNCTION credentials.hold_company_key() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('operalta.company-key/' || scope.scope_company(), 0));
END $$;
GRANT EXECUTE ON FUNCTION credentials.hold_company_key TO operalta_web, operalta_worker;

CREATE FUNCTION elevated.secret_writers_at_work(company uuid) RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    SELECT NOT pg_try_advisory_xact_lock(hashtextextended('operalta.company-key/' || company, 0))
$$;

-- A page of a company's secrets that are sealed under a version before the newest, after a place in the order of their ids.
CREATE FUNCTION elevated.secrets_to_reseal(company uuid, newest integer, beyond text, most integer)
RETURNS TABLE (id uuid, sealed bytea, revision integer) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    number integer;
BEGIN
    RETURN QUERY SELECT kept.id, kept.sealed, kept.revision FROM credentials.secrets AS kept
        WHERE kept.company_id = company AND kept.key_version < newest AND (beyond = '' OR kept.id > nullif(beyond, '')::uuid)
        ORDER BY kept.id LIMIT least(greatest(most, 0), 1000);
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number > 0 THEN
        PERFORM audit.append_as(company, 'system', NULL, NULL, 'elevated.used', 'company', company::text, 'succeeded', NULL, NULL,
            jsonb_build_object('purpose', 'rotate keys', 'secrets', number));
    END IF;
END $$;

-- The same secrets under a newer version: only where the bytes are still those that were read. Tells how many were.
CREATE FUNCTION elevated.reseal_secrets(company uuid, secrets uuid[], known bytea[], fresh bytea[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    number integer;
BEGIN
    UPDATE credentials.secrets AS kept SET sealed = page.fresh
        FROM unnest(reseal_secrets.secrets, reseal_secrets.known, reseal_secrets.fresh) AS page (id, known, fresh)
        WHERE kept.company_id = company AND kept.id = page.id AND kept.sealed = page.known
          AND substr(page.fresh, 2, 4) > substr(page.known, 2, 4);
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number > 0 THEN
        PERFORM audit.append_as(company, 'system', NULL, NULL, 'key.rotated', 'company', company::text, 'succeeded', NULL, NULL,
            jsonb_build_object('what', 'secrets', 'number', number));
    END IF;
    RETURN number;
END $$;

-- ── Rotating the root key: what is wrapped by it in the database are the secrets shared with authenticator apps ──
CREATE FUNCTION elevated.authenticators_to_rewrap(root text, beyond text, most integer)
RETURNS TABLE (id uuid, sealed bytea) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    number integer;
BEGIN
    RETURN QUERY SELECT app.id, app.sealed FROM identity.authenticators AS app
        WHERE substr(app.sealed, 1, 16) <> convert_to(root, 'UTF8') AND (beyond = '' OR app.id > nullif(beyond, '')::uuid)
        ORDER BY app.id LIMIT least(greatest(most, 0), 1000);
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number > 0 THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'elevated.used', 'deployment', NULL, 'succeeded', NULL, NULL,
            jsonb_build_object('purpose', 'rotate keys', 'authenticators', number));
    END IF;
END $$;

CREATE FUNCTION elevated.rewrap_authenticators(apps uuid[], known bytea[], fresh bytea[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    number integer;
BEGIN
    UPDATE identity.authenticators AS app SET sealed = page.fresh
        FROM unnest(rewrap_authenticators.apps, rewrap_authenticators.known, rewrap_authenticators.fresh) AS page (id, known, fresh)
        WHERE app.id = page.id AND app.sealed = page.known;
    GET DIAGNOSTICS number = ROW_COUNT;
    IF number > 0 THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'key.rotated', 'deployment', NULL, 'succeeded', NULL, NULL,
            jsonb_build_object('what', 'authenticators', 'number', number));
    END IF;
    RETURN number;
END $$;

-- ── What was rotated, for the log of the company, or of the deployment where there is none ─────────────
CREATE FUNCTION elevated.note_key_rotation(company uuid, what text, which text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF company IS NOT NULL AND NOT EXISTS (SELECT FROM tenancy.companies AS known WHERE known.id = company) THEN
        RETURN false;
    END IF;
    PERFORM audit.append_as(company, 'system', NULL, NULL, 'key.rotated', CASE WHEN company IS NULL THEN 'deployment' ELSE 'company' END,
        company::text, 'succeeded', NULL, NULL, jsonb_build_object('what', left(what, 40), 'which', left(which, 40)));
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION elevated.note_key_rotation, elevated.secret_writers_at_work, elevated.secrets_to_reseal, elevated.reseal_secrets,
    elevated.authenticators_to_rewrap, elevated.rewrap_authenticators TO operalta_job;
