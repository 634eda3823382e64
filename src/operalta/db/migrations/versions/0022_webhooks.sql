-- Webhooks. Going out: thin events, signed, to addresses of the company's own. Coming in: signed messages, kept as untrusted ones.
-- Every write is a function below, which looks at the scope or at what was presented: no serving role may write these tables.

-- ── Where events go. The address is sealed from readers: many services put a secret into it ────────────
CREATE TABLE credentials.webhook_endpoints (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    url text NOT NULL CHECK (length(url) BETWEEN 1 AND 2000),
    -- Scheme and host of the address: what is shown of it.
    destination text NOT NULL CHECK (length(destination) BETWEEN 1 AND 300),
    -- The copy of operalta.vault.webhooks.rules.EventKind.
    events text[] NOT NULL CONSTRAINT webhook_events_known CHECK (cardinality(events) BETWEEN 1 AND 20 AND events <@ ARRAY[
        'memory.recorded', 'memory.superseded', 'metric.point_recorded', 'file.written', 'run.finished', 'run.failed', 'run.stopped',
        'approval.asked', 'invitation.accepted', 'member.role_changed', 'member.removed', 'member.left',
        'company.ownership_transferred']),
    kept_id uuid NOT NULL,
    previous_kept_id uuid,
    previous_until timestamptz,
    made_by uuid NOT NULL REFERENCES identity.people (id),
    -- Whose membership it stands on: whoever made it, switched it on or rotated its secret last.
    holder_id uuid NOT NULL REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz,
    rotated_at timestamptz,
    is_on boolean NOT NULL DEFAULT false,
    switched_at timestamptz,
    off_because text CHECK (off_because IN ('gone', 'failing', 'left')),
    failing_since timestamptz,
    last_attempt_at timestamptz,
    last_success_at timestamptz,
    last_status integer,
    last_failure text CHECK (length(last_failure) <= 300),
    PRIMARY KEY (company_id, id),
    CHECK (NOT is_on OR off_because IS NULL),
    CHECK ((previous_kept_id IS NULL) = (previous_until IS NULL))
);
CREATE INDEX webhook_endpoints_made_by ON credentials.webhook_endpoints (made_by);
CREATE INDEX webhook_endpoints_holder ON credentials.webhook_endpoints (holder_id);
CALL scope.guard_table('credentials.webhook_endpoints');
GRANT SELECT (company_id, id, name, destination, events, kept_id, previous_kept_id, previous_until, made_by, holder_id, created_at,
    changed_at, rotated_at, is_on, switched_at, off_because, failing_since, last_attempt_at, last_success_at, last_status,
    last_failure) ON credentials.webhook_endpoints TO operalta_web;
CREATE POLICY scoped_read ON credentials.webhook_endpoints FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- ── What goes there: ids, kind and time of something that happened, never content ──────────────────────
CREATE TABLE credentials.webhook_deliveries (
    company_id uuid NOT NULL,
    -- Stays the same in every attempt and replay: receivers know by it what they have had.
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    endpoint_id uuid NOT NULL,
    event text NOT NULL CHECK (length(event) <= 80),
    subject_kind text NOT NULL CHECK (length(subject_kind) <= 40),
    subject_id uuid,
    occurred_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_at timestamptz NOT NULL DEFAULT now(),
    -- Of whoever sends it now; past its time somebody else takes it.
    claim uuid,
    claimed_until timestamptz,
    attempted_at timestamptz,
    last_status integer,
    failure text CHECK (length(failure) <= 300),
    finished_at timestamptz,
    replayed_at timestamptz,
    replayed_by uuid REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, endpoint_id) REFERENCES credentials.webhook_endpoints (company_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_endpoint ON credentials.webhook_deliveries (company_id, endpoint_id, created_at DESC, id DESC);
CREATE INDEX webhook_deliveries_due ON credentials.webhook_deliveries (next_at) WHERE status = 'waiting';
CREATE INDEX webhook_deliveries_claimed ON credentials.webhook_deliveries (claimed_until) WHERE claimed_until IS NOT NULL;
CREATE INDEX webhook_deliveries_created ON credentials.webhook_deliveries (created_at);
CREATE INDEX webhook_deliveries_replayed_by ON credentials.webhook_deliveries (replayed_by);
CALL scope.guard_table('credentials.webhook_deliveries');
GRANT SELECT (company_id, id, endpoint_id, event, subject_kind, subject_id, occurred_at, status, attempts, next_at, claimed_until,
    attempted_at, last_status, failure, finished_at, replayed_at, replayed_by, created_at) ON credentials.webhook_deliveries
    TO operalta_web;
CREATE POLICY scoped_read ON credentials.webhook_deliveries FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- ── Where messages come in: known by the digest of an address that nobody can guess ─────────────────────
CREATE TABLE credentials.inbound_hooks (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 80),
    scheme text NOT NULL CHECK (scheme IN ('standard', 'github', 'stripe', 'slack')),
    digest bytea NOT NULL CHECK (length(digest) = 32),
    -- The first characters of the address's last part, to tell one from another.
    shown text NOT NULL CHECK (length(shown) BETWEEN 1 AND 12),
    kept_id uuid,
    previous_kept_id uuid,
    previous_until timestamptz,
    made_by uuid NOT NULL REFERENCES identity.people (id),
    holder_id uuid NOT NULL REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    rotated_at timestamptz,
    is_on boolean NOT NULL DEFAULT false,
    switched_at timestamptz,
    off_because text CHECK (off_because IN ('left')),
    received_at timestamptz,
    refused_at timestamptz,
    PRIMARY KEY (company_id, id),
    CHECK (NOT is_on OR off_because IS NULL AND kept_id IS NOT NULL),
    CHECK ((previous_kept_id IS NULL) = (previous_until IS NULL))
);
CREATE INDEX inbound_hooks_digest ON credentials.inbound_hooks (digest);
CREATE INDEX inbound_hooks_made_by ON credentials.inbound_hooks (made_by);
CREATE INDEX inbound_hooks_holder ON credentials.inbound_hooks (holder_id);
CALL scope.guard_table('credentials.inbound_hooks');
GRANT SELECT (company_id, id, name, scheme, shown, kept_id, previous_kept_id, previous_until, made_by, holder_id, created_at,
    rotated_at, is_on, switched_at, off_because, received_at, refused_at) ON credentials.inbound_hooks TO operalta_web;
CREATE POLICY scoped_read ON credentials.inbound_hooks FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- What came. Whoever holds the secret wrote it, and nothing more is known of it: it never counts as a person's word.
CREATE TABLE credentials.inbound_messages (
    company_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    hook_id uuid NOT NULL,
    source text NOT NULL CHECK (length(source) <= 40),
    received_at timestamptz NOT NULL DEFAULT now(),
    body jsonb NOT NULL,
    size integer NOT NULL CHECK (size BETWEEN 0 AND 262144),
    is_trusted boolean NOT NULL GENERATED ALWAYS AS (false) STORED,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, hook_id) REFERENCES credentials.inbound_hooks (company_id, id) ON DELETE CASCADE
);
CREATE INDEX inbound_messages_hook ON credentials.inbound_messages (company_id, hook_id, received_at DESC, id DESC);
CREATE INDEX inbound_messages_received ON credentials.inbound_messages (received_at);
CALL scope.guard_table('credentials.inbound_messages');
GRANT SELECT ON credentials.inbound_messages TO operalta_web;
CREATE POLICY scoped_read ON credentials.inbound_messages FOR SELECT TO operalta_web
    USING (company_id = (SELECT scope.company_permitting('integrations:read')));

-- Digests of what came, so that nothing is taken twice. They outlive the messages: a scheme without a time has no other defence.
CREATE TABLE credentials.inbound_seen (
    company_id uuid NOT NULL,
    hook_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, hook_id, digest),
    FOREIGN KEY (company_id, hook_id) REFERENCES credentials.inbound_hooks (company_id, id) ON DELETE CASCADE
);
CREATE INDEX inbound_seen_at ON credentials.inbound_seen (seen_at);
CALL scope.guard_table('credentials.inbound_seen');

-- ── For functions alone ────────────────────────────────────────────────────────────────────────────────
-- The scope's company, where its person may manage integrations, in a session of their own: no key, no run.
CREATE FUNCTION credentials.managed_here() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT credentials.here('integrations:manage') WHERE scope.scope_kind() = 'person' AND scope.scope_key() IS NULL
$$;

CREATE FUNCTION credentials.note_hook(in_company uuid, action text, target text, hook uuid, detail jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM audit.append_as(in_company, coalesce(scope.scope_kind(), 'system'), scope.scope_person(), scope.scope_run(), action, target,
        hook::text, 'succeeded', NULL, NULL, detail);
END $$;

-- Switches an endpoint off at once. What waits is not sent any more, not even when it is switched on again, unless a person
-- says so. False: it was off.
CREATE FUNCTION credentials.webhook_off(in_company uuid, endpoint uuid, because text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    was_on boolean;
BEGIN
    UPDATE credentials.webhook_endpoints AS one SET is_on = false, off_because = because, switched_at = now()
        WHERE one.company_id = in_company AND one.id = endpoint AND one.is_on;
    was_on := FOUND;
    UPDATE credentials.webhook_deliveries AS waiting SET status = 'dead', finished_at = now(),
            failure = 'Not sent: the webhook was switched off before.'
        WHERE waiting.company_id = in_company AND waiting.endpoint_id = endpoint AND waiting.status = 'waiting';
    IF was_on THEN
        PERFORM credentials.note_hook(in_company, 'webhook.switched', 'webhook', endpoint,
            jsonb_build_object('on', false, 'why', coalesce(because, 'by a person')));
    END IF;
    RETURN was_on;
END $$;

-- ── Endpoints, by people. The verdicts: what was done; 'none'; 'unproved': prove yourself first; 'full'; 'refused' ─────────
CREATE FUNCTION credentials.make_webhook(endpoint uuid, called text, to_url text, shown text, wanted text[], secret uuid)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
BEGIN
    IF in_company IS NULL OR NOT EXISTS (SELECT FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND kept.id = secret AND kept.kind = 'webhook_signing_secret' AND kept.belongs_to = endpoint)
    THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    -- One after the other, or two at once would both find room.
    PERFORM pg_advisory_xact_lock(hashtextextended('operalta.webhooks/' || in_company, 0));
    IF (SELECT count(*) >= 20 FROM credentials.webhook_endpoints AS one WHERE one.company_id = in_company) THEN
        RETURN 'full';
    END IF;
    INSERT INTO credentials.webhook_endpoints (company_id, id, name, url, destination, events, kept_id, made_by, holder_id)
        VALUES (in_company, endpoint, called, to_url, shown, wanted, secret, scope.scope_person(), scope.scope_person());
    PERFORM credentials.note_hook(in_company, 'webhook.made', 'webhook', endpoint,
        jsonb_build_object('name', called, 'destination', shown, 'events', to_jsonb(wanted)));
    RETURN 'made';
END $$;

-- Without an address it keeps the one that it has.
CREATE FUNCTION credentials.change_webhook(endpoint uuid, called text, to_url text, shown text, wanted text[])
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    UPDATE credentials.webhook_endpoints AS one SET name = called, events = wanted, changed_at = now(),
            url = coalesce(to_url, one.url), destination = CASE WHEN to_url IS NULL THEN one.destination ELSE shown END
        WHERE one.company_id = in_company AND one.id = endpoint;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    PERFORM credentials.note_hook(in_company, 'webhook.changed', 'webhook', endpoint,
        jsonb_build_object('name', called, 'destination', shown, 'events', to_jsonb(wanted)));
    RETURN 'changed';
END $$;

-- Another secret, which is kept already; the one before signs as well for as long as is said, and not at all where that is nothing.
CREATE FUNCTION credentials.rotate_webhook(endpoint uuid, secret uuid, overlap interval) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    lasts boolean := overlap > interval '0';
    held record;
BEGIN
    IF in_company IS NULL OR NOT EXISTS (SELECT FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND kept.id = secret AND kept.kind = 'webhook_signing_secret' AND kept.belongs_to = endpoint)
    THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    SELECT one.kept_id, one.previous_kept_id INTO held FROM credentials.webhook_endpoints AS one
        WHERE one.company_id = in_company AND one.id = endpoint FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    UPDATE credentials.webhook_endpoints AS one SET kept_id = secret, rotated_at = now(), holder_id = scope.scope_person(),
            previous_kept_id = CASE WHEN lasts THEN held.kept_id END,
            previous_until = CASE WHEN lasts THEN now() + least(overlap, interval '7 days') END
        WHERE one.company_id = in_company AND one.id = endpoint;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND (kept.id = held.previous_kept_id OR kept.id = held.kept_id AND NOT lasts);
    PERFORM credentials.note_hook(in_company, 'webhook.rotated', 'webhook', endpoint,
        jsonb_build_object('overlap_hours', extract(epoch FROM overlap)::integer / 3600));
    RETURN 'rotated';
END $$;

-- On or off. Whoever switches it on holds it from then on.
CREATE FUNCTION credentials.switch_webhook(endpoint uuid, wanted boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    was_on boolean;
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    END IF;
    SELECT one.is_on INTO was_on FROM credentials.webhook_endpoints AS one
        WHERE one.company_id = in_company AND one.id = endpoint FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    ELSIF NOT wanted OR NOT was_on THEN
        -- Also before it is switched on: what was still on its way in while it was switched off must not go out now.
        PERFORM credentials.webhook_off(in_company, endpoint, NULL);
    END IF;
    IF wanted AND NOT was_on THEN
        UPDATE credentials.webhook_endpoints AS one SET is_on = true, off_because = NULL, switched_at = now(), failing_since = NULL,
                last_failure = NULL, holder_id = scope.scope_person()
            WHERE one.company_id = in_company AND one.id = endpoint;
        PERFORM credentials.note_hook(in_company, 'webhook.switched', 'webhook', endpoint, jsonb_build_object('on', true));
    END IF;
    RETURN 'switched';
END $$;

CREATE FUNCTION credentials.remove_webhook(endpoint uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    END IF;
    DELETE FROM credentials.webhook_endpoints AS one WHERE one.company_id = in_company AND one.id = endpoint;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company AND kept.belongs_to = endpoint
        AND kept.kind = 'webhook_signing_secret';
    PERFORM credentials.note_hook(in_company, 'webhook.removed', 'webhook', endpoint, '{}');
    RETURN 'removed';
END $$;

-- Sends again what was given up: one delivery, or the newest thousand. They keep their ids.
CREATE FUNCTION credentials.replay_webhook(endpoint uuid, delivery uuid) RETURNS TABLE (verdict text, number integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    counted integer;
BEGIN
    IF in_company IS NULL THEN
        RETURN QUERY SELECT 'refused', 0;
        RETURN;
    END IF;
    PERFORM FROM credentials.webhook_endpoints AS one WHERE one.company_id = in_company AND one.id = endpoint AND one.is_on
        FOR SHARE;
    IF NOT FOUND THEN
        RETURN QUERY SELECT CASE WHEN EXISTS (SELECT FROM credentials.webhook_endpoints AS one WHERE one.company_id = in_company
            AND one.id = endpoint) THEN 'off' ELSE 'none' END, 0;
        RETURN;
    END IF;
    UPDATE credentials.webhook_deliveries AS again SET status = 'waiting', attempts = 0, next_at = now(), claim = NULL,
            claimed_until = NULL, finished_at = NULL, failure = NULL, replayed_at = now(), replayed_by = scope.scope_person()
        WHERE again.company_id = in_company AND again.id IN (SELECT dead.id FROM credentials.webhook_deliveries AS dead
            WHERE dead.company_id = in_company AND dead.endpoint_id = endpoint AND dead.status = 'dead'
              AND (delivery IS NULL OR dead.id = delivery) ORDER BY dead.created_at DESC LIMIT 1000);
    GET DIAGNOSTICS counted = ROW_COUNT;
    IF counted = 0 THEN
        RETURN QUERY SELECT 'none', 0;
        RETURN;
    END IF;
    PERFORM credentials.note_hook(in_company, 'webhook.replayed', 'webhook', endpoint, jsonb_build_object('deliveries', counted));
    RETURN QUERY SELECT 'replayed', counted;
END $$;

-- ── Hooks for what comes in, by people ─────────────────────────────────────────────────────────────────
CREATE FUNCTION credentials.make_inbound_hook(hook uuid, called text, by_scheme text, token text, secret uuid)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
BEGIN
    IF in_company IS NULL OR length(token) < 40 OR secret IS NOT NULL AND NOT EXISTS (SELECT FROM credentials.secrets AS kept
        WHERE kept.company_id = in_company AND kept.id = secret AND kept.kind = 'inbound_webhook_secret' AND kept.belongs_to = hook)
    THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('operalta.webhooks/' || in_company, 0));
    IF (SELECT count(*) >= 20 FROM credentials.inbound_hooks AS one WHERE one.company_id = in_company) THEN
        RETURN 'full';
    END IF;
    INSERT INTO credentials.inbound_hooks (company_id, id, name, scheme, digest, shown, kept_id, made_by, holder_id)
        VALUES (in_company, hook, called, by_scheme, sha256(convert_to(token, 'UTF8')), left(token, 6), secret,
            scope.scope_person(), scope.scope_person());
    PERFORM credentials.note_hook(in_company, 'inbound_hook.made', 'inbound_hook', hook,
        jsonb_build_object('name', called, 'scheme', by_scheme));
    RETURN 'made';
END $$;

CREATE FUNCTION credentials.rotate_inbound_hook(hook uuid, secret uuid, overlap interval) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    lasts boolean := overlap > interval '0';
    held record;
BEGIN
    IF in_company IS NULL OR NOT EXISTS (SELECT FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND kept.id = secret AND kept.kind = 'inbound_webhook_secret' AND kept.belongs_to = hook)
    THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    SELECT one.kept_id, one.previous_kept_id INTO held FROM credentials.inbound_hooks AS one
        WHERE one.company_id = in_company AND one.id = hook FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    lasts := lasts AND held.kept_id IS NOT NULL;
    UPDATE credentials.inbound_hooks AS one SET kept_id = secret, rotated_at = now(), holder_id = scope.scope_person(),
            previous_kept_id = CASE WHEN lasts THEN held.kept_id END,
            previous_until = CASE WHEN lasts THEN now() + least(overlap, interval '7 days') END
        WHERE one.company_id = in_company AND one.id = hook;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND (kept.id = held.previous_kept_id OR kept.id = held.kept_id AND NOT lasts);
    PERFORM credentials.note_hook(in_company, 'inbound_hook.rotated', 'inbound_hook', hook,
        jsonb_build_object('overlap_hours', extract(epoch FROM overlap)::integer / 3600));
    RETURN 'rotated';
END $$;

-- 'no secret': without one nothing that comes could be believed to come from anybody.
CREATE FUNCTION credentials.switch_inbound_hook(hook uuid, wanted boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    held record;
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    END IF;
    SELECT one.is_on, one.kept_id INTO held FROM credentials.inbound_hooks AS one
        WHERE one.company_id = in_company AND one.id = hook FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    ELSIF wanted AND held.kept_id IS NULL THEN
        RETURN 'no secret';
    ELSIF wanted IS DISTINCT FROM held.is_on THEN
        UPDATE credentials.inbound_hooks AS one SET is_on = wanted, off_because = NULL, switched_at = now(),
                holder_id = CASE WHEN wanted THEN scope.scope_person() ELSE one.holder_id END
            WHERE one.company_id = in_company AND one.id = hook;
        PERFORM credentials.note_hook(in_company, 'inbound_hook.switched', 'inbound_hook', hook, jsonb_build_object('on', wanted));
    END IF;
    RETURN 'switched';
END $$;

CREATE FUNCTION credentials.remove_inbound_hook(hook uuid) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.managed_here();
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    END IF;
    DELETE FROM credentials.inbound_hooks AS one WHERE one.company_id = in_company AND one.id = hook;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company AND kept.belongs_to = hook
        AND kept.kind = 'inbound_webhook_secret';
    PERFORM credentials.note_hook(in_company, 'inbound_hook.removed', 'inbound_hook', hook, '{}');
    RETURN 'removed';
END $$;

-- ── What comes in. There is no scope: the address that was presented is what lets in ───────────────────
-- What is needed to check the signature of a message to a hook that is on, each secret with its event. No row: unknown, off or
-- removed, which look the same.
CREATE FUNCTION credentials.open_inbound_hook(token text, request uuid, origin text)
RETURNS TABLE (company uuid, hook uuid, scheme text, secret uuid, sealed bytea, revision integer, written_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known record;
BEGIN
    SELECT one.company_id, one.id, one.scheme, one.kept_id, one.previous_kept_id, one.previous_until INTO known
        FROM credentials.inbound_hooks AS one WHERE one.digest = sha256(convert_to(token, 'UTF8')) AND one.is_on;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM audit.append_as(known.company_id, 'visitor', NULL, NULL, 'secret.opened', 'secret', kept.id::text, 'succeeded', request,
            origin, jsonb_build_object('caller', 'webhook_receiver', 'purpose', 'check the signature of a message', 'kind', kept.kind,
                'revision', kept.revision))
        FROM credentials.secrets AS kept WHERE kept.company_id = known.company_id AND kept.kind = 'inbound_webhook_secret'
          AND (kept.id = known.kept_id OR kept.id = known.previous_kept_id AND known.previous_until > now());
    RETURN QUERY SELECT known.company_id, known.id, known.scheme, kept.id, kept.sealed, kept.revision,
            coalesce(kept.replaced_at, kept.created_at)
        FROM credentials.secrets AS kept WHERE kept.company_id = known.company_id AND kept.kind = 'inbound_webhook_secret'
          AND (kept.id = known.kept_id OR kept.id = known.previous_kept_id AND known.previous_until > now())
        ORDER BY kept.id = known.kept_id DESC;
END $$;

-- Keeps a message whose signature was checked. 'repeated': it, or its id, came before; 'none': the hook is off meanwhile.
CREATE FUNCTION credentials.keep_inbound_message(token text, seen bytea, body jsonb, size integer, request uuid, origin text)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known record;
    message uuid := gen_random_uuid();
BEGIN
    SELECT one.company_id, one.id, one.scheme INTO known FROM credentials.inbound_hooks AS one
        WHERE one.digest = sha256(convert_to(token, 'UTF8')) AND one.is_on FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    INSERT INTO credentials.inbound_seen (company_id, hook_id, digest) VALUES (known.company_id, known.id, seen)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'repeated';
    END IF;
    INSERT INTO credentials.inbound_messages (company_id, id, hook_id, source, body, size)
        VALUES (known.company_id, message, known.id, known.scheme, keep_inbound_message.body, keep_inbound_message.size);
    -- The newest five hundred of each hook stay, so that nobody fills the disk through one.
    DELETE FROM credentials.inbound_messages AS old WHERE old.company_id = known.company_id AND old.id IN (
        SELECT each.id FROM credentials.inbound_messages AS each WHERE each.company_id = known.company_id AND each.hook_id = known.id
            ORDER BY each.received_at DESC, each.id DESC OFFSET 500);
    UPDATE credentials.inbound_hooks AS one SET received_at = now() WHERE one.company_id = known.company_id AND one.id = known.id;
    PERFORM audit.append_as(known.company_id, 'visitor', NULL, NULL, 'inbound_hook.received', 'inbound_hook', known.id::text,
        'succeeded', request, origin, jsonb_build_object('message', message, 'bytes', keep_inbound_message.size));
    RETURN 'kept';
END $$;

-- Notes that something came whose signature was not right.
CREATE FUNCTION credentials.refuse_inbound_message(token text, request uuid, origin text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known record;
BEGIN
    UPDATE credentials.inbound_hooks AS one SET refused_at = now()
        WHERE one.digest = sha256(convert_to(token, 'UTF8')) AND one.is_on RETURNING one.company_id, one.id INTO known;
    IF known.id IS NOT NULL THEN
        PERFORM audit.append_as(known.company_id, 'visitor', NULL, NULL, 'inbound_hook.refused', 'inbound_hook', known.id::text,
            'refused', request, origin, '{}');
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION credentials.make_webhook, credentials.change_webhook, credentials.rotate_webhook,
    credentials.switch_webhook, credentials.remove_webhook, credentials.replay_webhook, credentials.make_inbound_hook,
    credentials.rotate_inbound_hook, credentials.switch_inbound_hook, credentials.remove_inbound_hook,
    credentials.open_inbound_hook, credentials.keep_inbound_message, credentials.refuse_inbound_message TO operalta_web;

-- ── From an event to its deliveries ────────────────────────────────────────────────────────────────────
-- Every room records what it does in audit.events, in the transaction that does it. A trigger there makes deliveries of the same
-- transaction, wherever the event comes from, also from functions that no Python code sees; a hook in each service would miss those.
-- What happens in a private conversation is for nobody else. A subject is an id, never text.
CREATE FUNCTION credentials.deliver_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    subject uuid := CASE WHEN NEW.target_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        THEN NEW.target_id::uuid END;
BEGIN
    IF NEW.action IN ('run.finished', 'run.failed', 'run.stopped') AND NOT EXISTS (SELECT FROM agents.runs AS run
            WHERE run.company_id = NEW.company_id AND run.id = subject AND run.private_to IS NULL)
        OR NEW.action = 'approval.asked' AND NOT EXISTS (SELECT FROM agents.approvals AS approval
            WHERE approval.company_id = NEW.company_id AND approval.id = subject AND approval.private_to IS NULL)
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO credentials.webhook_deliveries (company_id, endpoint_id, event, subject_kind, subject_id, occurred_at)
        SELECT one.company_id, one.id, NEW.action, NEW.target_kind, subject, NEW.occurred_at
            FROM credentials.webhook_endpoints AS one
            WHERE one.company_id = NEW.company_id AND one.is_on AND NEW.action = ANY (one.events);
    RETURN NULL;
END $$;
CREATE TRIGGER deliver_event AFTER INSERT ON audit.events FOR EACH ROW
    WHEN (NEW.company_id IS NOT NULL AND NEW.action IN (
        'memory.recorded', 'memory.superseded', 'metric.point_recorded', 'file.written', 'run.finished', 'run.failed', 'run.stopped',
        'approval.asked', 'invitation.accepted', 'member.role_changed', 'member.removed', 'member.left',
        'company.ownership_transferred'))
    EXECUTE FUNCTION credentials.deliver_event();

-- ── Whoever leaves a company, or may no longer manage integrations there, leaves no webhook on ─────────
CREATE FUNCTION credentials.end_webhooks_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF NEW.ended_at IS NULL AND EXISTS (SELECT FROM access.role_permissions AS granted
        JOIN tenancy.companies AS host ON host.kind = granted.company_kind AND host.id = NEW.company_id
        WHERE granted.role = NEW.role AND granted.permission = 'integrations:manage') THEN
        RETURN NULL;
    END IF;
    PERFORM credentials.webhook_off(one.company_id, one.id, 'left') FROM credentials.webhook_endpoints AS one
        WHERE one.company_id = NEW.company_id AND one.holder_id = NEW.person_id AND one.is_on;
    PERFORM credentials.note_hook(one.company_id, 'inbound_hook.switched', 'inbound_hook', one.id,
            jsonb_build_object('on', false, 'why', 'left'))
        FROM credentials.inbound_hooks AS one
        WHERE one.company_id = NEW.company_id AND one.holder_id = NEW.person_id AND one.is_on;
    UPDATE credentials.inbound_hooks AS one SET is_on = false, off_because = 'left', switched_at = now()
        WHERE one.company_id = NEW.company_id AND one.holder_id = NEW.person_id AND one.is_on;
    RETURN NULL;
END $$;
CREATE TRIGGER end_webhooks_of_former_member AFTER UPDATE OF role, ended_at ON tenancy.memberships
    FOR EACH ROW EXECUTE FUNCTION credentials.end_webhooks_of_former_member();

-- ── Sending, as scheduled work ─────────────────────────────────────────────────────────────────────────
-- Takes one delivery that is due, for one attempt, with everything that it needs. A claim lasts three minutes: what a worker took
-- along when it died is due again then. One slow receiver, and one busy company, leave room for the others.
CREATE FUNCTION elevated.take_webhook() RETURNS TABLE (company uuid, delivery uuid, claim uuid, attempt integer, url text,
    event text, subject_kind text, subject_id uuid, occurred_at timestamptz,
    secret uuid, sealed bytea, revision integer, written_at timestamptz,
    previous_secret uuid, previous_sealed bytea, previous_revision integer, previous_written_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    due record;
    fresh uuid := gen_random_uuid();
BEGIN
    WITH busy AS MATERIALIZED (
        SELECT taken.company_id, taken.endpoint_id, count(*) AS number FROM credentials.webhook_deliveries AS taken
            WHERE taken.claimed_until > clock_timestamp() GROUP BY taken.company_id, taken.endpoint_id)
    SELECT waiting.company_id, waiting.id INTO due FROM credentials.webhook_deliveries AS waiting
        JOIN credentials.webhook_endpoints AS one ON one.company_id = waiting.company_id AND one.id = waiting.endpoint_id AND one.is_on
        WHERE waiting.status = 'waiting' AND waiting.next_at <= clock_timestamp()
          AND NOT EXISTS (SELECT FROM busy WHERE busy.company_id = waiting.company_id AND busy.endpoint_id = waiting.endpoint_id
              AND busy.number >= 2)
          AND coalesce((SELECT sum(busy.number) FROM busy WHERE busy.company_id = waiting.company_id), 0) < 4
        ORDER BY waiting.next_at LIMIT 1 FOR UPDATE OF waiting SKIP LOCKED;
    IF due.id IS NULL THEN
        RETURN;
    END IF;
    UPDATE credentials.webhook_deliveries AS taken SET attempts = taken.attempts + 1, attempted_at = clock_timestamp(), claim = fresh,
            claimed_until = clock_timestamp() + interval '3 minutes', next_at = clock_timestamp() + interval '3 minutes'
        WHERE taken.company_id = due.company_id AND taken.id = due.id;
    RETURN QUERY SELECT taken.company_id, taken.id, fresh, taken.attempts, one.url, taken.event, taken.subject_kind, taken.subject_id,
            taken.occurred_at, ours.id, ours.sealed, ours.revision, coalesce(ours.replaced_at, ours.created_at),
            before.id, before.sealed, before.revision, coalesce(before.replaced_at, before.created_at)
        FROM credentials.webhook_deliveries AS taken
        JOIN credentials.webhook_endpoints AS one ON one.company_id = taken.company_id AND one.id = taken.endpoint_id
        LEFT JOIN credentials.secrets AS ours ON ours.company_id = taken.company_id AND ours.id = one.kept_id
        LEFT JOIN credentials.secrets AS before ON before.company_id = taken.company_id AND before.id = one.previous_kept_id
            AND one.previous_until > now()
        WHERE taken.company_id = due.company_id AND taken.id = due.id;
    PERFORM audit.append_as(due.company_id, 'system', NULL, NULL, 'secret.opened', 'secret', kept.id::text, 'succeeded', NULL, NULL,
            jsonb_build_object('caller', 'webhook_sender', 'purpose', 'sign a webhook', 'kind', kept.kind, 'revision', kept.revision))
        FROM credentials.webhook_deliveries AS taken
        JOIN credentials.webhook_endpoints AS one ON one.company_id = taken.company_id AND one.id = taken.endpoint_id
        JOIN credentials.secrets AS kept ON kept.company_id = taken.company_id
            AND (kept.id = one.kept_id OR kept.id = one.previous_kept_id AND one.previous_until > now())
        WHERE taken.company_id = due.company_id AND taken.id = due.id;
END $$;

-- Notes how an attempt ended: 'delivered'; 'later', to be tried again after a pause; 'postponed', the same where nothing was sent;
-- 'dead', given up; 'gone', the receiver wants no more of it. Only of what take_webhook gave, by whoever it gave it to.
CREATE FUNCTION elevated.finish_webhook(company uuid, delivery uuid, claimed uuid, ended text, answered integer, why text,
    pause_seconds double precision, lines jsonb)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    failing timestamptz;
BEGIN
    SELECT taken.endpoint_id, taken.status, taken.attempts, taken.event, one.holder_id INTO held
        FROM credentials.webhook_deliveries AS taken
        JOIN credentials.webhook_endpoints AS one ON one.company_id = taken.company_id AND one.id = taken.endpoint_id
        WHERE taken.company_id = company AND taken.id = delivery AND taken.claim = claimed FOR UPDATE;
    IF held.endpoint_id IS NULL OR ended NOT IN ('delivered', 'later', 'postponed', 'dead', 'gone') THEN
        RETURN false;
    END IF;
    PERFORM credentials.keep_lines(company, NULL, held.holder_id, lines);
    UPDATE credentials.webhook_deliveries AS taken SET claim = NULL, claimed_until = NULL,
            last_status = coalesce(answered, CASE WHEN ended = 'postponed' THEN taken.last_status END),
            -- It may have been switched off meanwhile: then it is not tried again, but what arrived has arrived.
            status = CASE WHEN ended = 'delivered' THEN 'delivered' WHEN ended IN ('dead', 'gone') THEN 'dead' ELSE taken.status END,
            failure = CASE WHEN ended = 'delivered' THEN NULL WHEN taken.status = 'dead' THEN taken.failure ELSE left(why, 300) END,
            attempts = taken.attempts - CASE WHEN ended = 'postponed' THEN 1 ELSE 0 END,
            next_at = clock_timestamp() + make_interval(secs => least(greatest(coalesce(pause_seconds, 0), 1), 86400)),
            finished_at = CASE WHEN ended IN ('delivered', 'dead', 'gone') THEN clock_timestamp() ELSE taken.finished_at END
        WHERE taken.company_id = finish_webhook.company AND taken.id = delivery;
    IF ended = 'postponed' THEN
        RETURN true;
    END IF;
    UPDATE credentials.webhook_endpoints AS one SET last_attempt_at = clock_timestamp(), last_status = answered,
            last_failure = CASE WHEN ended = 'delivered' THEN NULL ELSE left(why, 300) END,
            last_success_at = CASE WHEN ended = 'delivered' THEN clock_timestamp() ELSE one.last_success_at END,
            failing_since = CASE WHEN ended <> 'delivered' THEN coalesce(one.failing_since, clock_timestamp()) END
        WHERE one.company_id = finish_webhook.company AND one.id = held.endpoint_id RETURNING one.failing_since INTO failing;
    IF ended = 'dead' THEN
        PERFORM audit.append_as(company, 'system', NULL, NULL, 'webhook.given_up', 'webhook', held.endpoint_id::text, 'failed', NULL, NULL,
            jsonb_build_object('delivery', delivery, 'event', held.event, 'attempts', held.attempts));
    END IF;
    IF ended = 'gone' OR failing < clock_timestamp() - interval '3 days' THEN
        PERFORM credentials.webhook_off(company, held.endpoint_id, CASE ended WHEN 'gone' THEN 'gone' ELSE 'failing' END);
    END IF;
    RETURN true;
END $$;

-- Forgets deliveries and messages after thirty days, digests of messages after four hundred, and secrets whose overlap is over.
CREATE FUNCTION elevated.forget_webhooks() RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    deliveries integer;
    messages integer;
    secrets integer;
BEGIN
    DELETE FROM credentials.webhook_deliveries AS old WHERE old.created_at < now() - interval '30 days' AND old.status <> 'waiting'
        AND coalesce(old.replayed_at, '-infinity') < now() - interval '30 days';
    GET DIAGNOSTICS deliveries = ROW_COUNT;
    DELETE FROM credentials.inbound_messages AS old WHERE old.received_at < now() - interval '30 days';
    GET DIAGNOSTICS messages = ROW_COUNT;
    DELETE FROM credentials.inbound_seen AS old WHERE old.seen_at < now() - interval '400 days';
    WITH over AS (
        UPDATE credentials.webhook_endpoints AS one SET previous_kept_id = NULL, previous_until = NULL
            FROM credentials.webhook_endpoints AS was WHERE was.company_id = one.company_id AND was.id = one.id
              AND one.previous_until < now() RETURNING one.company_id, was.previous_kept_id),
    over_inbound AS (
        UPDATE credentials.inbound_hooks AS one SET previous_kept_id = NULL, previous_until = NULL
            FROM credentials.inbound_hooks AS was WHERE was.company_id = one.company_id AND was.id = one.id
              AND one.previous_until < now() RETURNING one.company_id, was.previous_kept_id)
    DELETE FROM credentials.secrets AS kept USING (SELECT * FROM over UNION ALL SELECT * FROM over_inbound) AS done
        WHERE kept.company_id = done.company_id AND kept.id = done.previous_kept_id;
    GET DIAGNOSTICS secrets = ROW_COUNT;
    IF deliveries + messages + secrets > 0 THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'elevated.used', 'deployment', NULL, 'succeeded', NULL, NULL,
            jsonb_build_object('purpose', 'forget what has expired', 'removed', jsonb_build_object('webhook deliveries', deliveries,
                'inbound messages', messages, 'secrets', secrets)));
    END IF;
    RETURN deliveries + messages + secrets;
END $$;
GRANT EXECUTE ON FUNCTION elevated.take_webhook, elevated.finish_webhook, elevated.forget_webhooks TO operalta_job;
