-- The sender's functions with SMS and late look-ups, delivery receipts, what is forgotten when, and support for operators.

DROP FUNCTION elevated.take_message(uuid);
DROP FUNCTION elevated.attach_link(uuid, bytea);
DROP FUNCTION elevated.finish_message(uuid, text);
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
    UPDATE delivery.messages AS waiting SET attempts = waiting.attempts + 1 WHERE waiting.id = message AND waiting.status = 'queued'
        RETURNING * INTO taken;
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

-- Binds the digest of a fresh token to what the message is about. The message's kind decides what the link may do.
CREATE FUNCTION elevated.attach_link(message uuid, digest bytea) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
    until timestamptz;
BEGIN
    SELECT * INTO found FROM delivery.messages WHERE id = message AND status = 'queued'
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
          AND code.id = waiting.code_id AND code.used_at IS NULL AND code.created_at > now() - interval '10 minutes'
        RETURNING code.expires_at INTO until;
    RETURN until;
END $$;

CREATE FUNCTION elevated.finish_message(message uuid, outcome text, reference text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    UPDATE delivery.messages SET status = outcome, finished_at = now(), provider_reference = reference
        WHERE id = message AND status = 'queued'
$$;

CREATE FUNCTION elevated.keep_in_outbox(message uuid, subject text, body text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO delivery.outbox (message_id, recipient, subject, body, channel)
        SELECT id, recipient, subject, body, CASE kind WHEN 'code' THEN 'sms' ELSE 'mail' END FROM delivery.messages WHERE id = message
$$;

-- What the SMS provider tells of a message later. Its signature was checked; an unknown reference changes nothing.
CREATE FUNCTION delivery.note_receipt(reference text, outcome text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE delivery.messages AS sent SET status = outcome WHERE sent.provider_reference = reference
        AND sent.status IN ('sent', 'undelivered') AND outcome IN ('delivered', 'undelivered');
    RETURN FOUND;
END $$;
GRANT EXECUTE ON FUNCTION delivery.note_receipt TO operalta_web;

CREATE FUNCTION elevated.forget_expired() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    DELETE FROM identity.pending_sign_ups WHERE expires_at < now();
    DELETE FROM identity.links WHERE expires_at < now() - interval '30 days';
    DELETE FROM identity.sign_in_history WHERE person_id IS NULL AND at < now() - interval '1 hour';
    DELETE FROM identity.challenges WHERE expires_at < now() - interval '1 hour';
    DELETE FROM identity.codes WHERE created_at < now() - interval '2 days';
    DELETE FROM identity.tickets WHERE expires_at < now() - interval '1 day';
    DELETE FROM identity.authenticators WHERE confirmed_at IS NULL AND created_at < now() - interval '1 day';
    DELETE FROM identity.factor_attempts WHERE at < now() - interval '400 days';
    DELETE FROM identity.trusted_devices WHERE at < now() - interval '30 days';
    DELETE FROM delivery.outbox WHERE at < now() - interval '30 days';
    DELETE FROM delivery.messages WHERE created_at < now() - interval '30 days';
END $$;

-- ── Support by the deployment's operator, from the command line as the owner; each leaves its reason in the log ──────────────
CREATE FUNCTION elevated.find_people(wanted text) RETURNS TABLE (id uuid, email text, name text, is_operator boolean,
    verified boolean, created_at timestamptz, live_sessions bigint, last_seen_at timestamptz, phones bigint, authenticators bigint,
    passkeys bigint, recovery_codes bigint) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'elevated.used', 'person', NULL, 'succeeded', NULL, NULL,
        '{"purpose": "find people"}');
    RETURN QUERY SELECT person.id, person.email, person.name, person.is_operator, person.verified_at IS NOT NULL, person.created_at,
            (SELECT count(*) FROM identity.sessions AS held WHERE held.person_id = person.id AND held.ended_at IS NULL
                AND held.idle_expires_at > now() AND held.absolute_expires_at > now()),
            (SELECT max(held.last_seen_at) FROM identity.sessions AS held WHERE held.person_id = person.id),
            (SELECT count(*) FROM identity.phones AS owned WHERE owned.person_id = person.id),
            (SELECT count(*) FROM identity.authenticators AS owned WHERE owned.person_id = person.id AND owned.confirmed_at IS NOT NULL),
            (SELECT count(*) FROM identity.passkeys AS owned WHERE owned.person_id = person.id),
            (SELECT count(*) FROM identity.recovery_codes AS owned WHERE owned.person_id = person.id AND owned.used_at IS NULL)
        FROM identity.people AS person
        WHERE person.id::text = wanted OR position(lower(wanted) IN lower(person.email)) > 0
           OR position(lower(wanted) IN lower(person.name)) > 0
        ORDER BY person.email LIMIT 50;
END $$;

-- Ends every session and every sign-in under way. NULL: nobody has that id.
CREATE FUNCTION elevated.sign_out_person(person uuid, reason text) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    ended integer;
BEGIN
    IF coalesce(length(reason), 0) NOT BETWEEN 1 AND 500 OR NOT EXISTS (SELECT FROM identity.people AS owner WHERE owner.id = person) THEN
        RETURN NULL;
    END IF;
    UPDATE identity.tickets AS held SET used_at = now() WHERE held.person_id = person AND held.used_at IS NULL;
    UPDATE identity.sessions AS held SET ended_at = now(), ended_reason = 'ended by the operator'
        WHERE held.person_id = person AND held.ended_at IS NULL;
    GET DIAGNOSTICS ended = ROW_COUNT;
    PERFORM audit.append_as(NULL, 'system', person, NULL, 'session.ended', 'person', person::text, 'succeeded', NULL, NULL,
        jsonb_build_object('by', 'operator', 'reason', reason, 'count', ended));
    RETURN ended;
END $$;

-- Removes every second factor, recovery code and trusted device, and signs out everywhere. NULL: nobody has that id.
CREATE FUNCTION elevated.reset_factors(person uuid, reason text) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    removed integer := 0;
    counted integer;
BEGIN
    IF elevated.sign_out_person(person, reason) IS NULL THEN
        RETURN NULL;
    END IF;
    DELETE FROM identity.phones AS owned WHERE owned.person_id = person;
    GET DIAGNOSTICS counted = ROW_COUNT;
    removed := removed + counted;
    DELETE FROM identity.authenticators AS owned WHERE owned.person_id = person;
    GET DIAGNOSTICS counted = ROW_COUNT;
    removed := removed + counted;
    DELETE FROM identity.passkeys AS owned WHERE owned.person_id = person;
    GET DIAGNOSTICS counted = ROW_COUNT;
    removed := removed + counted;
    DELETE FROM identity.recovery_codes AS owned WHERE owned.person_id = person;
    DELETE FROM identity.trusted_devices AS trusted WHERE trusted.person_id = person;
    UPDATE identity.sessions AS held SET second_factor_at = NULL WHERE held.person_id = person;
    PERFORM identity.tell_factor_change(person, 'factor.removed', 'factors_reset', left(reason, 200));
    RETURN removed;
END $$;

GRANT EXECUTE ON FUNCTION elevated.take_message, elevated.attach_link, elevated.attach_code, elevated.finish_message,
    elevated.keep_in_outbox, elevated.forget_expired TO operalta_job;
-- The functions for support are granted to nobody: whoever holds the owner's password takes the definer's role for them.
