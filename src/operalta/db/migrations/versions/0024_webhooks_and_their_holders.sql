-- Who answers for a webhook, and who has seen its secret, are two people now and then: both have to be here. What waits is
-- bounded, and told of where it is left out. One busy company holds up nobody else. And what has left the house is in the egress
-- log, whatever became of the row that it was sent for.

-- ── Who has seen the present secret, and the one before; NULL: somebody who may no longer manage integrations here ──────────
ALTER TABLE credentials.webhook_endpoints
    ADD COLUMN seen_by uuid REFERENCES identity.people (id),
    ADD COLUMN previous_seen_by uuid REFERENCES identity.people (id),
    -- Events that were left out since it was switched on, because a thousand were waiting, and when the last one was.
    ADD COLUMN dropped integer NOT NULL DEFAULT 0 CHECK (dropped >= 0),
    ADD COLUMN dropped_at timestamptz,
    DROP CONSTRAINT webhook_endpoints_off_because_check,
    ADD CONSTRAINT webhook_endpoints_off_because_check CHECK (off_because IN ('gone', 'failing', 'left', 'changed'));
ALTER TABLE credentials.inbound_hooks
    ADD COLUMN seen_by uuid REFERENCES identity.people (id),
    ADD COLUMN previous_seen_by uuid REFERENCES identity.people (id);
CREATE INDEX webhook_endpoints_seen_by ON credentials.webhook_endpoints (seen_by);
CREATE INDEX webhook_endpoints_previous_seen_by ON credentials.webhook_endpoints (previous_seen_by);
CREATE INDEX inbound_hooks_seen_by ON credentials.inbound_hooks (seen_by);
CREATE INDEX inbound_hooks_previous_seen_by ON credentials.inbound_hooks (previous_seen_by);
CREATE INDEX webhook_deliveries_waiting ON credentials.webhook_deliveries (company_id, endpoint_id, next_at) WHERE status = 'waiting';
GRANT SELECT (seen_by, previous_seen_by, dropped, dropped_at) ON credentials.webhook_endpoints TO operalta_web;
GRANT SELECT (seen_by, previous_seen_by) ON credentials.inbound_hooks TO operalta_web;

-- ── For functions alone ────────────────────────────────────────────────────────────────────────────────
-- Whether somebody is a member of a company who may manage its integrations, now.
CREATE FUNCTION credentials.still_manages(in_company uuid, person uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM tenancy.memberships AS membership
        JOIN tenancy.companies AS host ON host.id = membership.company_id
        JOIN access.role_permissions AS granted ON granted.company_kind = host.kind AND granted.role = membership.role
        WHERE membership.company_id = in_company AND membership.person_id = person AND membership.ended_at IS NULL
          AND granted.permission = 'integrations:manage')
$$;

-- Of those that are there already the log knows who made them and exchanged their secrets. What is on although whoever has seen
-- its secret may no longer manage integrations there goes off now, as it would have.
UPDATE credentials.webhook_endpoints AS one SET (seen_by, previous_seen_by) = (SELECT seen.by[1], seen.by[2] FROM (
    SELECT array_agg(event.actor_person_id ORDER BY event.occurred_at DESC) AS by FROM audit.events AS event
        WHERE event.company_id = one.company_id AND event.target_id = one.id::text
          AND event.action IN ('webhook.made', 'webhook.rotated')) AS seen);
UPDATE credentials.inbound_hooks AS one SET (seen_by, previous_seen_by) = (SELECT seen.by[1], seen.by[2] FROM (
    SELECT array_agg(event.actor_person_id ORDER BY event.occurred_at DESC) AS by FROM audit.events AS event
        WHERE event.company_id = one.company_id AND event.target_id = one.id::text
          AND event.action IN ('inbound_hook.made', 'inbound_hook.rotated')) AS seen);
UPDATE credentials.webhook_endpoints AS one SET seen_by = NULL
    WHERE NOT credentials.still_manages(one.company_id, one.seen_by);
UPDATE credentials.inbound_hooks AS one SET seen_by = NULL
    WHERE NOT credentials.still_manages(one.company_id, one.seen_by);
UPDATE credentials.webhook_endpoints AS one SET previous_until = now()
    WHERE one.previous_kept_id IS NOT NULL AND NOT credentials.still_manages(one.company_id, one.previous_seen_by);
UPDATE credentials.inbound_hooks AS one SET previous_until = now()
    WHERE one.previous_kept_id IS NOT NULL AND NOT credentials.still_manages(one.company_id, one.previous_seen_by);
UPDATE credentials.webhook_deliveries AS waiting SET status = 'dead', finished_at = now(),
        failure = 'Not sent: the webhook was switched off before.'
    FROM credentials.webhook_endpoints AS one WHERE one.company_id = waiting.company_id AND one.id = waiting.endpoint_id
      AND waiting.status = 'waiting' AND one.is_on AND one.seen_by IS NULL;
UPDATE credentials.webhook_endpoints AS one SET is_on = false, off_because = 'left', switched_at = now()
    WHERE one.is_on AND one.seen_by IS NULL;
UPDATE credentials.inbound_hooks AS one SET is_on = false, off_because = 'left', switched_at = now()
    WHERE one.is_on AND one.seen_by IS NULL;

-- Switches an address for messages off because somebody left.
CREATE FUNCTION credentials.inbound_hook_left(in_company uuid, hook uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE credentials.inbound_hooks AS one SET is_on = false, off_because = 'left', switched_at = now()
        WHERE one.company_id = in_company AND one.id = hook;
    PERFORM credentials.note_hook(in_company, 'inbound_hook.switched', 'inbound_hook', hook,
        jsonb_build_object('on', false, 'why', 'left'));
END $$;

-- A receipt for something that was handed out for a person's sake: whoever brings it back was given it by this database, since it
-- was last started, and for that person. The text that is signed cannot be one of a scope, whose second part is a person.
CREATE FUNCTION credentials.receipt(what text, in_company uuid, subject uuid, claim text, person uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT person || '.' || scope.signature(concat_ws('|', 'receipt', what, in_company, subject, claim, person))
$$;

-- The person of a receipt; NULL where it is none for this.
CREATE FUNCTION credentials.person_of_receipt(what text, in_company uuid, subject uuid, claim text, brought text) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    person uuid;
BEGIN
    IF brought !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9a-f]{64}$' THEN
        RETURN NULL;
    END IF;
    person := left(brought, 36)::uuid;
    RETURN CASE WHEN brought = credentials.receipt(what, in_company, subject, claim, person) THEN person END;
END $$;

-- Keeps lines of the egress log where there is somebody whose they are, and a company whose log it is. False: they were not kept.
CREATE FUNCTION credentials.keep_lines_of(in_company uuid, person uuid, lines jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    IF person IS NULL THEN
        RETURN false;
    END IF;
    PERFORM FROM tenancy.companies AS host WHERE host.id = in_company FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM credentials.keep_lines(in_company, NULL, person, lines);
    RETURN true;
END $$;

-- Keeps lines of what was asked of a provider because of a refresh, for whoever holds its claim, or held it. A claim is a random
-- text and its receipt: also when the connection is revoked, or its person gone, nothing that was asked is lost from the log.
CREATE FUNCTION credentials.note_refresh(in_company uuid, connection uuid, claim text, lines jsonb) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    cut integer := strpos(claim, '.');
BEGIN
    RETURN credentials.keep_lines_of(in_company, credentials.person_of_receipt('refresh', in_company, connection,
        left(claim, cut - 1), substr(claim, cut + 1)), lines);
END $$;
GRANT EXECUTE ON FUNCTION credentials.note_refresh TO operalta_web, operalta_worker;

-- ── Replaced where they stand, as their owner: in a new database still the owner of the tables, in one that was hardened the
-- definer ────────────────────────────────────────────────────────────────────────────────────────────────
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'elevated.take_webhook'::regproc));
END $$;
DROP FUNCTION elevated.take_webhook();
DROP FUNCTION elevated.finish_webhook(uuid, uuid, uuid, text, integer, text, double precision, jsonb);

CREATE OR REPLACE FUNCTION credentials.make_webhook(endpoint uuid, called text, to_url text, shown text, wanted text[], secret uuid)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
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
    INSERT INTO credentials.webhook_endpoints (company_id, id, name, url, destination, events, kept_id, made_by, holder_id,
            seen_by)
        VALUES (in_company, endpoint, called, to_url, shown, wanted, secret, scope.scope_person(), scope.scope_person(),
            scope.scope_person());
    PERFORM credentials.note_hook(in_company, 'webhook.made', 'webhook', endpoint,
        jsonb_build_object('name', called, 'destination', shown, 'events', to_jsonb(wanted)));
    RETURN 'made';
END $$;

-- Without an address it keeps the one that it has. Another one switches off: whoever switches it on holds it, so that no address
-- outlives the membership of the last one who answered for it.
CREATE OR REPLACE FUNCTION credentials.change_webhook(endpoint uuid, called text, to_url text, shown text, wanted text[])
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    earlier text;
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    SELECT one.url INTO earlier FROM credentials.webhook_endpoints AS one WHERE one.company_id = in_company AND one.id = endpoint
        FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    UPDATE credentials.webhook_endpoints AS one SET name = called, events = wanted, changed_at = now(),
            url = coalesce(to_url, one.url), destination = CASE WHEN to_url IS NULL THEN one.destination ELSE shown END
        WHERE one.company_id = in_company AND one.id = endpoint;
    PERFORM credentials.note_hook(in_company, 'webhook.changed', 'webhook', endpoint,
        jsonb_build_object('name', called, 'destination', shown, 'events', to_jsonb(wanted)));
    IF to_url <> earlier THEN
        PERFORM credentials.webhook_off(in_company, endpoint, 'changed');
    END IF;
    RETURN 'changed';
END $$;

-- Another secret, which is kept already; the one before signs as well for as long as is said, and not at all where that is
-- nothing, or where whoever has seen it may no longer manage integrations here.
CREATE OR REPLACE FUNCTION credentials.rotate_webhook(endpoint uuid, secret uuid, overlap interval) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
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
    SELECT one.kept_id, one.previous_kept_id, one.seen_by INTO held FROM credentials.webhook_endpoints AS one
        WHERE one.company_id = in_company AND one.id = endpoint FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    lasts := lasts AND credentials.still_manages(in_company, held.seen_by);
    UPDATE credentials.webhook_endpoints AS one SET kept_id = secret, rotated_at = now(), holder_id = scope.scope_person(),
            seen_by = scope.scope_person(), off_because = CASE WHEN one.off_because <> 'left' THEN one.off_because END,
            previous_seen_by = CASE WHEN lasts THEN held.seen_by END,
            previous_kept_id = CASE WHEN lasts THEN held.kept_id END,
            previous_until = CASE WHEN lasts THEN now() + least(overlap, interval '7 days') END
        WHERE one.company_id = in_company AND one.id = endpoint;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND (kept.id = held.previous_kept_id OR kept.id = held.kept_id AND NOT lasts);
    PERFORM credentials.note_hook(in_company, 'webhook.rotated', 'webhook', endpoint,
        jsonb_build_object('overlap_hours', CASE WHEN lasts THEN extract(epoch FROM overlap)::integer / 3600 ELSE 0 END));
    RETURN 'rotated';
END $$;

-- On or off. Whoever switches it on holds it from then on. 'rotate first': whoever has seen its secret may no longer manage
-- integrations here, so that it has to get another one before.
CREATE OR REPLACE FUNCTION credentials.switch_webhook(endpoint uuid, wanted boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    was_on boolean;
    seer uuid;
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    END IF;
    SELECT one.is_on, one.seen_by INTO was_on, seer FROM credentials.webhook_endpoints AS one
        WHERE one.company_id = in_company AND one.id = endpoint FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    ELSIF wanted AND NOT was_on AND NOT credentials.still_manages(in_company, seer) THEN
        RETURN 'rotate first';
    ELSIF NOT wanted OR NOT was_on THEN
        -- Also before it is switched on: what was still on its way in while it was switched off must not go out now.
        PERFORM credentials.webhook_off(in_company, endpoint, NULL);
    END IF;
    IF wanted AND NOT was_on THEN
        UPDATE credentials.webhook_endpoints AS one SET is_on = true, off_because = NULL, switched_at = now(), failing_since = NULL,
                last_failure = NULL, holder_id = scope.scope_person(), dropped = 0, dropped_at = NULL
            WHERE one.company_id = in_company AND one.id = endpoint;
        PERFORM credentials.note_hook(in_company, 'webhook.switched', 'webhook', endpoint, jsonb_build_object('on', true));
    END IF;
    RETURN 'switched';
END $$;

CREATE OR REPLACE FUNCTION credentials.make_inbound_hook(hook uuid, called text, by_scheme text, token text, secret uuid)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
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
    INSERT INTO credentials.inbound_hooks (company_id, id, name, scheme, digest, shown, kept_id, made_by, holder_id,
            seen_by)
        VALUES (in_company, hook, called, by_scheme, sha256(convert_to(token, 'UTF8')), left(token, 6), secret,
            scope.scope_person(), scope.scope_person(), CASE WHEN secret IS NOT NULL THEN scope.scope_person() END);
    PERFORM credentials.note_hook(in_company, 'inbound_hook.made', 'inbound_hook', hook,
        jsonb_build_object('name', called, 'scheme', by_scheme));
    RETURN 'made';
END $$;

CREATE OR REPLACE FUNCTION credentials.rotate_inbound_hook(hook uuid, secret uuid, overlap interval) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
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
    SELECT one.kept_id, one.previous_kept_id, one.seen_by INTO held FROM credentials.inbound_hooks AS one
        WHERE one.company_id = in_company AND one.id = hook FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    END IF;
    lasts := lasts AND held.kept_id IS NOT NULL AND credentials.still_manages(in_company, held.seen_by);
    UPDATE credentials.inbound_hooks AS one SET kept_id = secret, rotated_at = now(), holder_id = scope.scope_person(),
            seen_by = scope.scope_person(), off_because = CASE WHEN one.off_because <> 'left' THEN one.off_because END,
            previous_seen_by = CASE WHEN lasts THEN held.seen_by END,
            previous_kept_id = CASE WHEN lasts THEN held.kept_id END,
            previous_until = CASE WHEN lasts THEN now() + least(overlap, interval '7 days') END
        WHERE one.company_id = in_company AND one.id = hook;
    DELETE FROM credentials.secrets AS kept WHERE kept.company_id = in_company
        AND (kept.id = held.previous_kept_id OR kept.id = held.kept_id AND NOT lasts);
    PERFORM credentials.note_hook(in_company, 'inbound_hook.rotated', 'inbound_hook', hook,
        jsonb_build_object('overlap_hours', CASE WHEN lasts THEN extract(epoch FROM overlap)::integer / 3600 ELSE 0 END));
    RETURN 'rotated';
END $$;

-- 'no secret': without one nothing that comes could be believed to come from anybody.
CREATE OR REPLACE FUNCTION credentials.switch_inbound_hook(hook uuid, wanted boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    in_company uuid := credentials.managed_here();
    held record;
BEGIN
    IF in_company IS NULL THEN
        RETURN 'refused';
    END IF;
    SELECT one.is_on, one.kept_id, one.seen_by INTO held FROM credentials.inbound_hooks AS one
        WHERE one.company_id = in_company AND one.id = hook FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'none';
    ELSIF wanted AND held.kept_id IS NULL THEN
        RETURN 'no secret';
    ELSIF wanted AND NOT held.is_on AND NOT credentials.still_manages(in_company, held.seen_by) THEN
        RETURN 'rotate first';
    ELSIF wanted IS DISTINCT FROM held.is_on THEN
        UPDATE credentials.inbound_hooks AS one SET is_on = wanted, off_because = NULL, switched_at = now(),
                holder_id = CASE WHEN wanted THEN scope.scope_person() ELSE one.holder_id END
            WHERE one.company_id = in_company AND one.id = hook;
        PERFORM credentials.note_hook(in_company, 'inbound_hook.switched', 'inbound_hook', hook, jsonb_build_object('on', wanted));
    END IF;
    RETURN 'switched';
END $$;

-- From an event to its deliveries. No more than a thousand wait for one endpoint, so that a receiver which is away fills no disk.
-- What is left out is counted where people see it, and the first one leaves an event of its own.
CREATE OR REPLACE FUNCTION credentials.deliver_event() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    subject uuid := CASE WHEN NEW.target_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
        THEN NEW.target_id::uuid END;
    endpoint record;
    is_counted boolean;
    number integer;
BEGIN
    IF NEW.action IN ('run.finished', 'run.failed', 'run.stopped') AND NOT EXISTS (SELECT FROM agents.runs AS run
            WHERE run.company_id = NEW.company_id AND run.id = subject AND run.private_to IS NULL)
        OR NEW.action = 'approval.asked' AND NOT EXISTS (SELECT FROM agents.approvals AS approval
            WHERE approval.company_id = NEW.company_id AND approval.id = subject AND approval.private_to IS NULL)
    THEN
        RETURN NULL;
    END IF;
    FOR endpoint IN SELECT one.id, one.dropped, (SELECT count(*) < 1000 FROM (SELECT FROM credentials.webhook_deliveries AS waiting
                WHERE waiting.company_id = one.company_id AND waiting.endpoint_id = one.id AND waiting.status = 'waiting'
                LIMIT 1000) AS those) AS has_room
            FROM credentials.webhook_endpoints AS one
            WHERE one.company_id = NEW.company_id AND one.is_on AND NEW.action = ANY (one.events)
    LOOP
        is_counted := false;
        IF NOT endpoint.has_room THEN
            -- Nobody waits for this row: what is being done must not hang on how a webhook is doing, nor meet another in a deadlock.
            -- Where somebody else writes it right now, this one is not counted; it is a dead letter unless others are counted already.
            UPDATE credentials.webhook_endpoints AS one SET dropped = one.dropped + 1, dropped_at = clock_timestamp()
                WHERE one.company_id = NEW.company_id AND one.id = (SELECT free.id FROM credentials.webhook_endpoints AS free
                    WHERE free.company_id = NEW.company_id AND free.id = endpoint.id FOR NO KEY UPDATE SKIP LOCKED)
                RETURNING one.dropped INTO number;
            is_counted := FOUND;
            IF is_counted AND number = 1 THEN
                PERFORM credentials.note_hook(NEW.company_id, 'webhook.dropped', 'webhook', endpoint.id, '{}');
            END IF;
        END IF;
        IF endpoint.has_room OR NOT is_counted AND endpoint.dropped = 0 THEN
            INSERT INTO credentials.webhook_deliveries (company_id, endpoint_id, event, subject_kind, subject_id, occurred_at, status,
                    finished_at, failure)
                VALUES (NEW.company_id, endpoint.id, NEW.action, NEW.target_kind, subject, NEW.occurred_at,
                    CASE WHEN endpoint.has_room THEN 'waiting' ELSE 'dead' END, CASE WHEN NOT endpoint.has_room THEN now() END,
                    CASE WHEN NOT endpoint.has_room THEN 'Not sent: a thousand were waiting already.' END);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;

-- Whoever leaves, or may no longer manage integrations, leaves nothing on that they hold, or whose secret they have seen, whoever
-- holds it; that secret has to be exchanged before anybody switches it on, and one before, which they have seen, ends now.
CREATE OR REPLACE FUNCTION credentials.end_webhooks_of_former_member() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
BEGIN
    IF credentials.still_manages(NEW.company_id, NEW.person_id) THEN
        RETURN NULL;
    END IF;
    PERFORM credentials.webhook_off(one.company_id, one.id, 'left') FROM credentials.webhook_endpoints AS one
        WHERE one.company_id = NEW.company_id AND NEW.person_id IN (one.holder_id, one.seen_by) AND one.is_on;
    PERFORM credentials.inbound_hook_left(one.company_id, one.id) FROM credentials.inbound_hooks AS one
        WHERE one.company_id = NEW.company_id AND NEW.person_id IN (one.holder_id, one.seen_by) AND one.is_on;
    UPDATE credentials.webhook_endpoints AS one SET seen_by = NULL
        WHERE one.company_id = NEW.company_id AND one.seen_by = NEW.person_id;
    UPDATE credentials.inbound_hooks AS one SET seen_by = NULL
        WHERE one.company_id = NEW.company_id AND one.seen_by = NEW.person_id;
    WITH over AS (
        UPDATE credentials.webhook_endpoints AS one SET previous_kept_id = NULL, previous_until = NULL, previous_seen_by = NULL
            FROM credentials.webhook_endpoints AS was WHERE was.company_id = one.company_id AND was.id = one.id
              AND one.company_id = NEW.company_id AND one.previous_seen_by = NEW.person_id
            RETURNING one.company_id, was.previous_kept_id),
    over_inbound AS (
        UPDATE credentials.inbound_hooks AS one SET previous_kept_id = NULL, previous_until = NULL, previous_seen_by = NULL
            FROM credentials.inbound_hooks AS was WHERE was.company_id = one.company_id AND was.id = one.id
              AND one.company_id = NEW.company_id AND one.previous_seen_by = NEW.person_id
            RETURNING one.company_id, was.previous_kept_id)
    DELETE FROM credentials.secrets AS kept USING (SELECT * FROM over UNION ALL SELECT * FROM over_inbound) AS done
        WHERE kept.company_id = done.company_id AND kept.id = done.previous_kept_id;
    RETURN NULL;
END $$;

-- Claims the refresh of a stale token for a minute, for one caller alone. No row: somebody else has it, or it is not needed.
-- `interrupted`: the last one who claimed it was not heard of again. The claim carries its own receipt.
CREATE OR REPLACE FUNCTION credentials.claim_refresh(connection uuid, known integer)
RETURNS TABLE (claim text, interrupted boolean, access_revision integer, refresh_revision integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
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
    fresh := fresh || '.' || credentials.receipt('refresh', in_company, connection, fresh, scope.scope_person());
    UPDATE credentials.connections AS one SET refresh_digest = sha256(convert_to(fresh, 'UTF8')),
            refresh_until = clock_timestamp() + interval '1 minute'
        WHERE one.company_id = in_company AND one.id = connection;
    RETURN QUERY SELECT fresh, held.refresh_digest IS NOT NULL, access_kept.revision, refresh_kept.revision
        FROM credentials.secrets AS access_kept JOIN credentials.secrets AS refresh_kept
            ON refresh_kept.company_id = access_kept.company_id AND refresh_kept.id = held.kept_refresh_id
        WHERE access_kept.company_id = in_company AND access_kept.id = held.kept_access_id;
END $$;

-- Stores how a refresh ended, for whoever holds its claim and nobody else. It asks for no scope: the run or the session that needed
-- the token may be over by the time that the provider answers, and a refresh token that was rotated must not be lost with it.
-- Without fresh access bytes it failed, for a reason in words of ours; `is_broken`: only its owner can mend it. A rotated refresh
-- token is stored all the same. False: the connection was revoked or made anew meanwhile, and nothing is stored but the lines of
-- what was asked.
CREATE OR REPLACE FUNCTION credentials.end_refresh(in_company uuid, connection uuid, claim text, access_sealed bytea,
    access_revision integer, refresh_sealed bytea, refresh_revision integer, lives interval, granted text[], why text,
    is_broken boolean, pause interval, lines jsonb)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    held record;
    is_noted boolean;
BEGIN
    is_noted := credentials.note_refresh(in_company, connection, claim, lines);
    SELECT one.* INTO held FROM credentials.connections AS one WHERE one.company_id = in_company AND one.id = connection
        AND one.status = 'active' AND one.refresh_digest = sha256(convert_to(claim, 'UTF8')) FOR UPDATE;
    IF held.id IS NULL THEN
        RETURN false;
    ELSIF NOT is_noted THEN
        -- The server was started again meanwhile, and knows its receipts no more.
        PERFORM credentials.keep_lines(in_company, NULL, held.person_id, lines);
    END IF;
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

-- Gives up what has waited for four days, whatever it waited for. Forgets deliveries and messages after thirty days, secrets whose
-- overlap is over, and digests of messages a week after no secret can sign them any more: RULES of operalta.vault.kinds.
CREATE OR REPLACE FUNCTION elevated.forget_webhooks() RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
DECLARE
    deliveries integer;
    messages integer;
    secrets integer;
    given_up record;
BEGIN
    FOR given_up IN
        WITH old AS (
            UPDATE credentials.webhook_deliveries AS waiting SET status = 'dead', finished_at = now(),
                    failure = coalesce(waiting.failure, 'Given up: there was no room to send it for four days.')
                WHERE waiting.status = 'waiting' AND coalesce(waiting.replayed_at, waiting.created_at) < now() - interval '4 days'
                  AND coalesce(waiting.claimed_until, '-infinity') < now()
                RETURNING waiting.company_id, waiting.endpoint_id)
        SELECT old.company_id, old.endpoint_id, count(*) AS number FROM old GROUP BY old.company_id, old.endpoint_id
    LOOP
        PERFORM audit.append_as(given_up.company_id, 'system', NULL, NULL, 'webhook.given_up', 'webhook', given_up.endpoint_id::text,
            'failed', NULL, NULL, jsonb_build_object('deliveries', given_up.number));
    END LOOP;
    DELETE FROM credentials.webhook_deliveries AS old WHERE old.created_at < now() - interval '30 days' AND old.status <> 'waiting'
        AND coalesce(old.replayed_at, '-infinity') < now() - interval '30 days';
    GET DIAGNOSTICS deliveries = ROW_COUNT;
    DELETE FROM credentials.inbound_messages AS old WHERE old.received_at < now() - interval '30 days';
    GET DIAGNOSTICS messages = ROW_COUNT;
    DELETE FROM credentials.inbound_seen AS old WHERE old.seen_at < now() - interval '738 days';
    WITH over AS (
        UPDATE credentials.webhook_endpoints AS one SET previous_kept_id = NULL, previous_until = NULL, previous_seen_by = NULL
            FROM credentials.webhook_endpoints AS was WHERE was.company_id = one.company_id AND was.id = one.id
              AND one.previous_until < now() RETURNING one.company_id, was.previous_kept_id),
    over_inbound AS (
        UPDATE credentials.inbound_hooks AS one SET previous_kept_id = NULL, previous_until = NULL, previous_seen_by = NULL
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

RESET ROLE;

-- ── Sending, as scheduled work ─────────────────────────────────────────────────────────────────────────
-- Takes one delivery that is due, for one attempt, with everything that it needs. A claim lasts three minutes: what a worker took
-- along when it died is due again then. One slow receiver, and one busy company, leave room for the others: first comes the
-- company, and in it the endpoint, for which the fewest are under way. The receipt says whose line in the egress log the attempt
-- leaves, also where nothing else of it is left by then.
CREATE FUNCTION elevated.take_webhook() RETURNS TABLE (company uuid, delivery uuid, claim uuid, receipt text, attempt integer, url text,
    event text, subject_kind text, subject_id uuid, occurred_at timestamptz,
    secret uuid, sealed bytea, revision integer, written_at timestamptz,
    previous_secret uuid, previous_sealed bytea, previous_revision integer, previous_written_at timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    place record;
    due uuid;
    fresh uuid := gen_random_uuid();
BEGIN
    -- Most of the time nothing is due: one look into an index.
    IF NOT EXISTS (SELECT FROM credentials.webhook_deliveries AS waiting
        WHERE waiting.status = 'waiting' AND waiting.next_at <= moment) THEN
        RETURN;
    END IF;
    PERFORM scope.prepare();
    -- The first delivery of each endpoint, from one to the next along the index: however many wait, none is read but these.
    FOR place IN
        WITH RECURSIVE busy AS MATERIALIZED (
            SELECT taken.company_id, taken.endpoint_id, count(*) AS number FROM credentials.webhook_deliveries AS taken
                WHERE taken.claimed_until > moment GROUP BY taken.company_id, taken.endpoint_id),
        ahead AS (
            (SELECT waiting.company_id, waiting.endpoint_id, waiting.next_at FROM credentials.webhook_deliveries AS waiting
                WHERE waiting.status = 'waiting' ORDER BY waiting.company_id, waiting.endpoint_id, waiting.next_at LIMIT 1)
            UNION ALL
            SELECT further.* FROM ahead CROSS JOIN LATERAL (
                SELECT waiting.company_id, waiting.endpoint_id, waiting.next_at FROM credentials.webhook_deliveries AS waiting
                WHERE waiting.status = 'waiting'
                  AND (waiting.company_id, waiting.endpoint_id) > (ahead.company_id, ahead.endpoint_id)
                ORDER BY waiting.company_id, waiting.endpoint_id, waiting.next_at LIMIT 1) AS further)
        SELECT ahead.company_id, ahead.endpoint_id FROM ahead
            JOIN credentials.webhook_endpoints AS one ON one.company_id = ahead.company_id AND one.id = ahead.endpoint_id
                AND one.is_on
            CROSS JOIN LATERAL (SELECT coalesce(sum(busy.number), 0) AS of_company,
                coalesce(sum(busy.number) FILTER (WHERE busy.endpoint_id = ahead.endpoint_id), 0) AS of_endpoint
                FROM busy WHERE busy.company_id = ahead.company_id) AS under_way
            WHERE ahead.next_at <= moment AND under_way.of_endpoint < 2 AND under_way.of_company < 4
            ORDER BY under_way.of_company, under_way.of_endpoint, ahead.next_at
    LOOP
        SELECT waiting.id INTO due FROM credentials.webhook_deliveries AS waiting
            WHERE waiting.company_id = place.company_id AND waiting.endpoint_id = place.endpoint_id AND waiting.status = 'waiting'
              AND waiting.next_at <= moment
            ORDER BY waiting.next_at LIMIT 1 FOR UPDATE SKIP LOCKED;
        EXIT WHEN due IS NOT NULL;
    END LOOP;
    IF due IS NULL THEN
        RETURN;
    END IF;
    UPDATE credentials.webhook_deliveries AS taken SET attempts = taken.attempts + 1, attempted_at = clock_timestamp(), claim = fresh,
            claimed_until = clock_timestamp() + interval '3 minutes', next_at = clock_timestamp() + interval '3 minutes'
        WHERE taken.company_id = place.company_id AND taken.id = due;
    RETURN QUERY SELECT taken.company_id, taken.id, fresh,
            credentials.receipt('webhook', taken.company_id, taken.id, fresh::text, one.holder_id), taken.attempts, one.url,
            taken.event, taken.subject_kind, taken.subject_id, taken.occurred_at, ours.id, ours.sealed, ours.revision,
            coalesce(ours.replaced_at, ours.created_at),
            before.id, before.sealed, before.revision, coalesce(before.replaced_at, before.created_at)
        FROM credentials.webhook_deliveries AS taken
        JOIN credentials.webhook_endpoints AS one ON one.company_id = taken.company_id AND one.id = taken.endpoint_id
        LEFT JOIN credentials.secrets AS ours ON ours.company_id = taken.company_id AND ours.id = one.kept_id
        LEFT JOIN credentials.secrets AS before ON before.company_id = taken.company_id AND before.id = one.previous_kept_id
            AND one.previous_until > now()
        WHERE taken.company_id = place.company_id AND taken.id = due;
    PERFORM audit.append_as(place.company_id, 'system', NULL, NULL, 'secret.opened', 'secret', kept.id::text, 'succeeded', NULL, NULL,
            jsonb_build_object('caller', 'webhook_sender', 'purpose', 'sign a webhook', 'kind', kept.kind, 'revision', kept.revision))
        FROM credentials.webhook_deliveries AS taken
        JOIN credentials.webhook_endpoints AS one ON one.company_id = taken.company_id AND one.id = taken.endpoint_id
        JOIN credentials.secrets AS kept ON kept.company_id = taken.company_id
            AND (kept.id = one.kept_id OR kept.id = one.previous_kept_id AND one.previous_until > now())
        WHERE taken.company_id = place.company_id AND taken.id = due;
END $$;

-- Notes how an attempt ended: 'delivered'; 'later', to be tried again after a pause; 'postponed', the same where nothing was sent;
-- 'dead', given up; 'gone', the receiver wants no more of it. Only of what take_webhook gave, by whoever it gave it to; of what they
-- lost meanwhile the lines of the egress log are kept, by the receipt.
CREATE FUNCTION elevated.finish_webhook(company uuid, delivery uuid, claimed uuid, ended text, answered integer, why text,
    pause_seconds double precision, lines jsonb, receipt text)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    holder uuid := credentials.person_of_receipt('webhook', company, delivery, claimed::text, receipt);
    failing timestamptz;
BEGIN
    -- What has left the house is told, also where the endpoint is removed by now, or somebody else has the delivery.
    PERFORM credentials.keep_lines_of(company, holder, lines);
    SELECT taken.endpoint_id, taken.status, taken.attempts, taken.event, one.holder_id INTO held
        FROM credentials.webhook_deliveries AS taken
        JOIN credentials.webhook_endpoints AS one ON one.company_id = taken.company_id AND one.id = taken.endpoint_id
        WHERE taken.company_id = company AND taken.id = delivery AND taken.claim = claimed
        -- No stronger than that: who does something that this endpoint is told of must not wait for it.
        FOR UPDATE OF taken FOR NO KEY UPDATE OF one;
    IF held.endpoint_id IS NULL OR ended NOT IN ('delivered', 'later', 'postponed', 'dead', 'gone') THEN
        RETURN false;
    ELSIF holder IS NULL THEN
        -- The server was started again meanwhile, and knows its receipts no more.
        PERFORM credentials.keep_lines(company, NULL, held.holder_id, lines);
    END IF;
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
GRANT EXECUTE ON FUNCTION elevated.take_webhook, elevated.finish_webhook TO operalta_job;
