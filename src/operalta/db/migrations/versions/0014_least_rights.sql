-- Least rights: what the stricter policy check and the closed list of elevated flows ask of the schema.

-- ── Rights that no work needs (clause 7.2.3): nothing that runs as the role, and no policy for it, uses them ──
REVOKE USAGE ON SCHEMA access, jobs FROM operalta_web;
REVOKE USAGE ON SCHEMA access, assurance, delivery, jobs FROM operalta_worker;
REVOKE USAGE ON SCHEMA scope FROM operalta_signin;
-- As the functions' owner: the definer in a hardened database, still the owner of the tables in a new one.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'scope.prepare'::regproc));
END $$;
REVOKE EXECUTE ON FUNCTION scope.prepare FROM operalta_signin, operalta_worker;
REVOKE EXECUTE ON FUNCTION scope.may_grant FROM operalta_worker;
-- Every task is put into the queue by a function that looked first.
REVOKE EXECUTE ON FUNCTION jobs.defer_task FROM operalta_worker;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION scope.scope_company_kind, scope.scope_role FROM operalta_web, operalta_worker;
REVOKE EXECUTE ON FUNCTION scope.scope_is_operator, scope.scope_session FROM operalta_worker;

-- ── What these names mean was decided by the caller's search path; a body that is parsed now keeps its meaning, and is
-- still inlined (a pinned path would prevent that) ──
CREATE OR REPLACE FUNCTION scope.scope_kind() RETURNS text LANGUAGE sql STABLE RETURN scope.part(1);
CREATE OR REPLACE FUNCTION scope.scope_person() RETURNS uuid LANGUAGE sql STABLE RETURN scope.part(2)::uuid;
CREATE OR REPLACE FUNCTION scope.scope_company() RETURNS uuid LANGUAGE sql STABLE RETURN scope.part(3)::uuid;
CREATE OR REPLACE FUNCTION scope.scope_company_kind() RETURNS text LANGUAGE sql STABLE RETURN scope.part(4);
CREATE OR REPLACE FUNCTION scope.scope_role() RETURNS text LANGUAGE sql STABLE RETURN scope.part(5);
CREATE OR REPLACE FUNCTION scope.scope_session() RETURNS uuid LANGUAGE sql STABLE RETURN scope.part(6)::uuid;
CREATE OR REPLACE FUNCTION scope.scope_run() RETURNS uuid LANGUAGE sql STABLE RETURN scope.part(7)::uuid;
CREATE OR REPLACE FUNCTION scope.scope_is_operator() RETURNS boolean LANGUAGE sql STABLE RETURN scope.part(8) IS NOT NULL;

-- ── An UPDATE without WHERE asks no read policy: with it a member could revoke other people's private grants, unseen ──
ALTER POLICY person_revoke ON agents.grants
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide'))) AND revoked_at IS NULL
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));

-- ── Reading a company's members asked for no permission in the database, while every route asks for members:read (an observer
-- lacks it, and so could read them with SQL of their own). Writing memory, which looks up an owner, implies it in each template ──
ALTER POLICY scoped_read ON tenancy.memberships
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('members:read')));

-- ── The owner of an entry is a member, past or present: the key to people told whether any person exists ──
ALTER TABLE workspace.records DROP CONSTRAINT records_owner_id_fkey;
ALTER TABLE workspace.records ADD FOREIGN KEY (company_id, owner_id) REFERENCES tenancy.memberships (company_id, person_id);

-- ── Deleting the row referred to (expired links, sign-ups, messages, codes; a person) read these tables from end to end ──
CREATE INDEX links_person ON identity.links (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX links_pending_sign_up ON identity.links (pending_sign_up_id) WHERE pending_sign_up_id IS NOT NULL;
CREATE INDEX links_invitation ON identity.links (company_id, invitation_id) WHERE company_id IS NOT NULL;
CREATE INDEX tickets_link ON identity.tickets (link_id) WHERE link_id IS NOT NULL;
CREATE INDEX challenges_ticket ON identity.challenges (ticket_id) WHERE ticket_id IS NOT NULL;
CREATE INDEX challenges_session ON identity.challenges (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX messages_person ON delivery.messages (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX messages_pending_sign_up ON delivery.messages (pending_sign_up_id) WHERE pending_sign_up_id IS NOT NULL;
CREATE INDEX messages_invitation ON delivery.messages (company_id, invitation_id) WHERE company_id IS NOT NULL;
CREATE INDEX messages_code ON delivery.messages (code_id) WHERE code_id IS NOT NULL;
CREATE INDEX outbox_message ON delivery.outbox (message_id);

-- ── The sender's functions work on a message that was taken, which leaves an event: attach_link and attach_code took any
-- message that was queued, keep_in_outbox any at all, finish_message one that nobody had taken; none left a trace ──
ALTER TABLE delivery.messages ADD COLUMN taken_at timestamptz;
UPDATE delivery.messages SET taken_at = created_at WHERE attempts > 0;

DROP FUNCTION elevated.take_message(uuid);
DROP FUNCTION elevated.attach_link(uuid, bytea);
DROP FUNCTION elevated.attach_code(uuid, bytea);
DROP FUNCTION elevated.finish_message(uuid, text, text);
DROP FUNCTION elevated.keep_in_outbox(uuid, text, text);
DROP FUNCTION elevated.forget_expired();

-- Takes a message for one more attempt. Whose address it is, is looked up here, after the visitor has had the same answer as
-- everybody: a reset for nobody ends here, a sign-up of somebody who has an account becomes a note to them.
CREATE FUNCTION elevated.take_message(message uuid) RETURNS SETOF delivery.messages
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    taken record;
    owner record;
BEGIN
    UPDATE delivery.messages AS waiting SET attempts = waiting.attempts + 1, taken_at = transaction_timestamp()
        WHERE waiting.id = message AND waiting.status = 'queued' RETURNING * INTO taken;
    IF taken.id IS NULL THEN
        RETURN;
    END IF;
    IF taken.kind = 'reset_password' AND taken.person_id IS NULL THEN
        SELECT person.id, person.email, person.name INTO owner FROM identity.people AS person
            WHERE person.email_key = taken.recipient AND person.disabled_at IS NULL;
        PERFORM audit.append_as(NULL, 'visitor', owner.id, NULL, 'password.reset_requested', 'person', owner.id::text, 'succeeded',
            NULL, NULL, '{}');
        IF owner.id IS NULL THEN
            DELETE FROM delivery.messages AS waiting WHERE waiting.id = message;
            RETURN;
        END IF;
        UPDATE delivery.messages AS waiting SET person_id = owner.id, recipient = owner.email, recipient_name = owner.name
            WHERE waiting.id = message;
    ELSIF taken.kind = 'confirm_sign_up' THEN
        SELECT person.id, person.email, person.name, pending.id AS pending_id INTO owner FROM identity.pending_sign_ups AS pending
            JOIN identity.people AS person ON person.email_key = pending.email_key WHERE pending.id = taken.pending_sign_up_id;
        IF owner.id IS NOT NULL THEN
            UPDATE delivery.messages AS waiting SET kind = 'already_registered', pending_sign_up_id = NULL, person_id = owner.id,
                recipient = owner.email, recipient_name = owner.name WHERE waiting.id = message;
            DELETE FROM identity.pending_sign_ups AS pending WHERE pending.id = owner.pending_id;
        END IF;
    END IF;
    PERFORM audit.append_as(taken.company_id, 'system', NULL, NULL, 'elevated.used', 'message', message::text, 'succeeded', NULL,
        NULL, '{"purpose": "deliver mail"}');
    RETURN QUERY SELECT waiting.* FROM delivery.messages AS waiting WHERE waiting.id = message;
END $$;

-- Binds the digest of a fresh token to what the message, taken in this transaction, is about. Its kind decides what the link may do.
CREATE FUNCTION elevated.attach_link(message uuid, digest bytea) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
    until timestamptz;
BEGIN
    SELECT * INTO found FROM delivery.messages WHERE id = message AND status = 'queued' AND taken_at = transaction_timestamp()
        AND kind IN ('confirm_sign_up', 'verify_address', 'reset_password', 'invitation', 'trust_device');
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'this message carries no link' USING ERRCODE = 'OP005';
    END IF;
    until := now() + CASE found.kind WHEN 'reset_password' THEN interval '30 minutes' WHEN 'trust_device' THEN interval '1 hour'
        WHEN 'invitation' THEN interval '7 days' ELSE interval '24 hours' END;
    INSERT INTO identity.links (purpose, digest, person_id, pending_sign_up_id, company_id, invitation_id, expires_at)
        VALUES (found.kind, digest, found.person_id, found.pending_sign_up_id, found.company_id, found.invitation_id, until);
    RETURN until;
END $$;

-- Binds the keyed digest of a fresh code to its row; it lives ten minutes from now (clause 2.2.2), whatever the queue took.
-- NULL: it was used, replaced, or asked for more than ten minutes ago, so nothing is sent. Tries made before are kept.
CREATE FUNCTION elevated.attach_code(message uuid, fresh bytea) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    until timestamptz;
BEGIN
    UPDATE identity.codes AS code SET digest = fresh, expires_at = now() + interval '10 minutes'
        FROM delivery.messages AS waiting WHERE waiting.id = message AND waiting.kind = 'code' AND waiting.status = 'queued'
          AND waiting.taken_at = transaction_timestamp()
          AND code.id = waiting.code_id AND code.used_at IS NULL AND code.created_at > now() - interval '10 minutes'
        RETURNING code.expires_at INTO until;
    RETURN until;
END $$;

-- Notes how a message that was taken ended; its carrier was asked in between, outside any transaction.
CREATE FUNCTION elevated.finish_message(message uuid, outcome text, reference text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    UPDATE delivery.messages SET status = outcome, finished_at = now(), provider_reference = reference
        WHERE id = message AND status = 'queued' AND taken_at IS NOT NULL
$$;

CREATE FUNCTION elevated.keep_in_outbox(message uuid, subject text, body text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO delivery.outbox (message_id, recipient, subject, body, channel)
        SELECT id, recipient, subject, body, CASE kind WHEN 'code' THEN 'sms' ELSE 'mail' END FROM delivery.messages
            WHERE id = message AND status = 'queued' AND taken_at = transaction_timestamp()
$$;

-- ── It deletes rows of people and of companies, and left no event: one now tells how many of each, where there were any ──
CREATE FUNCTION elevated.forget_expired() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    removed jsonb;
BEGIN
    WITH sign_ups AS (DELETE FROM identity.pending_sign_ups WHERE expires_at < now() RETURNING 1),
        links AS (DELETE FROM identity.links WHERE expires_at < now() - interval '30 days' RETURNING 1),
        refusals AS (DELETE FROM identity.sign_in_history WHERE person_id IS NULL AND at < now() - interval '1 hour' RETURNING 1),
        challenges AS (DELETE FROM identity.challenges WHERE expires_at < now() - interval '1 hour' RETURNING 1),
        codes AS (DELETE FROM identity.codes WHERE created_at < now() - interval '2 days' RETURNING 1),
        tickets AS (DELETE FROM identity.tickets WHERE expires_at < now() - interval '1 day' RETURNING 1),
        apps AS (DELETE FROM identity.authenticators WHERE confirmed_at IS NULL AND created_at < now() - interval '1 day' RETURNING 1),
        attempts AS (DELETE FROM identity.factor_attempts WHERE at < now() - interval '400 days' RETURNING 1),
        devices AS (DELETE FROM identity.trusted_devices WHERE at < now() - interval '30 days' RETURNING 1),
        outbox AS (DELETE FROM delivery.outbox WHERE at < now() - interval '30 days' RETURNING 1),
        messages AS (DELETE FROM delivery.messages WHERE created_at < now() - interval '30 days' RETURNING 1)
    SELECT jsonb_object_agg(counted.what, counted.number) INTO removed FROM (
        SELECT 'sign-ups' AS what, count(*) AS number FROM sign_ups UNION ALL SELECT 'links', count(*) FROM links
        UNION ALL SELECT 'refusals of nobody', count(*) FROM refusals UNION ALL SELECT 'challenges', count(*) FROM challenges
        UNION ALL SELECT 'codes', count(*) FROM codes UNION ALL SELECT 'tickets', count(*) FROM tickets
        UNION ALL SELECT 'unconfirmed apps', count(*) FROM apps UNION ALL SELECT 'attempts', count(*) FROM attempts
        UNION ALL SELECT 'trusted devices', count(*) FROM devices UNION ALL SELECT 'outbox', count(*) FROM outbox
        UNION ALL SELECT 'messages', count(*) FROM messages) AS counted WHERE counted.number > 0;
    IF removed IS NOT NULL THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'elevated.used', 'deployment', NULL, 'succeeded', NULL, NULL,
            jsonb_build_object('purpose', 'forget what has expired', 'removed', removed));
    END IF;
END $$;

GRANT EXECUTE ON FUNCTION elevated.take_message, elevated.attach_link, elevated.attach_code, elevated.finish_message,
    elevated.keep_in_outbox, elevated.forget_expired TO operalta_job;
