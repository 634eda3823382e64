-- Mail to send, the outbox of the embedded default, and the functions for visitors.

CREATE TABLE delivery.messages (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind text NOT NULL CHECK (kind IN ('confirm_sign_up', 'already_registered', 'verify_address', 'reset_password',
        'password_changed', 'invitation', 'new_device')),
    recipient text NOT NULL CHECK (length(recipient) <= 254),
    recipient_name text NOT NULL DEFAULT '' CHECK (length(recipient_name) <= 120),
    person_id uuid REFERENCES identity.people (id) ON DELETE CASCADE,
    pending_sign_up_id uuid REFERENCES identity.pending_sign_ups (id) ON DELETE CASCADE,
    company_id uuid,
    invitation_id uuid,
    facts jsonb NOT NULL DEFAULT '{}' CHECK (length(facts::text) <= 2000),
    status text NOT NULL DEFAULT 'queued' CHECK (status IN ('queued', 'sent', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    FOREIGN KEY (company_id, invitation_id) REFERENCES tenancy.invitations (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('delivery.messages');

-- Only the operator reads it, and only where mail does not leave (the embedded default).
CREATE TABLE delivery.outbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id uuid NOT NULL REFERENCES delivery.messages (id) ON DELETE CASCADE,
    recipient text NOT NULL,
    subject text NOT NULL CHECK (length(subject) <= 400),
    body text NOT NULL CHECK (length(body) <= 20000),
    at timestamptz NOT NULL DEFAULT now()
);
CALL scope.guard_table('delivery.outbox');
GRANT SELECT ON delivery.outbox TO operalta_web;
CREATE POLICY operator_read ON delivery.outbox FOR SELECT TO operalta_web USING ((SELECT scope.scope_is_operator()));

CREATE FUNCTION delivery.enqueue(
    kind text, recipient text, recipient_name text, person uuid, pending uuid, company uuid, invitation uuid, facts jsonb
) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    made uuid;
BEGIN
    INSERT INTO delivery.messages AS message (kind, recipient, recipient_name, person_id, pending_sign_up_id, company_id,
            invitation_id, facts)
        VALUES (kind, recipient, recipient_name, person, pending, company, invitation, facts) RETURNING message.id INTO made;
    PERFORM jobs.defer_task('deliver_message', made);
    RETURN made;
END $$;

-- Mails an invitation of the scope's company again or for the first time; the invitation must stand.
CREATE FUNCTION delivery.send_invitation(invitation uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT invited.id, invited.company_id, invited.email, invited.role, host.name AS company_name, inviter.name AS inviter
        INTO found FROM tenancy.invitations AS invited JOIN tenancy.companies AS host ON host.id = invited.company_id
        JOIN identity.people AS inviter ON inviter.id = invited.invited_by
        WHERE invited.company_id = scope.scope_company() AND invited.id = invitation AND scope.may('members:invite')
          AND scope.scope_kind() = 'person' AND invited.accepted_at IS NULL AND invited.revoked_at IS NULL
          AND invited.expires_at > now();
    IF found.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM delivery.enqueue('invitation', found.email, '', NULL, NULL, found.company_id, found.id,
        jsonb_build_object('company', found.company_name, 'role', found.role, 'inviter', found.inviter));
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION delivery.send_invitation TO operalta_web;

-- Mails the verification link of the person's own address again.
CREATE FUNCTION delivery.send_verification() RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
BEGIN
    SELECT id, email, name INTO found FROM identity.people WHERE id = scope.scope_person() AND verified_at IS NULL;
    IF found.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM delivery.enqueue('verify_address', found.email, found.name, found.id, NULL, NULL, NULL, '{}');
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION delivery.send_verification TO operalta_web;

-- ── The sender (a scheduled job) ───────────────────────────────────────────────────────────────────────
CREATE FUNCTION elevated.take_message(message uuid) RETURNS SETOF delivery.messages
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY UPDATE delivery.messages SET attempts = attempts + 1 WHERE id = message AND status = 'queued' RETURNING *;
    IF FOUND THEN
        PERFORM audit.append_as((SELECT company_id FROM delivery.messages WHERE id = message), 'system', NULL, NULL,
            'elevated.used', 'message', message::text, 'succeeded', NULL, NULL, '{"purpose": "deliver mail"}');
    END IF;
END $$;
-- Binds the digest of a fresh token to what the message is about. The message's kind decides what the link may do.
CREATE FUNCTION elevated.attach_link(message uuid, digest bytea) RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    found record;
    until timestamptz;
BEGIN
    SELECT * INTO found FROM delivery.messages WHERE id = message AND status = 'queued'
        AND kind IN ('confirm_sign_up', 'verify_address', 'reset_password', 'invitation');
    IF found.id IS NULL THEN
        RAISE EXCEPTION 'this message carries no link' USING ERRCODE = 'OP005';
    END IF;
    until := now() + CASE found.kind WHEN 'reset_password' THEN interval '30 minutes' WHEN 'invitation' THEN interval '7 days'
        ELSE interval '24 hours' END;
    INSERT INTO identity.links (purpose, digest, person_id, pending_sign_up_id, company_id, invitation_id, expires_at)
        VALUES (found.kind, digest, found.person_id, found.pending_sign_up_id, found.company_id, found.invitation_id, until);
    RETURN until;
END $$;
CREATE FUNCTION elevated.finish_message(message uuid, outcome text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    UPDATE delivery.messages SET status = outcome, finished_at = now() WHERE id = message AND status = 'queued'
$$;
CREATE FUNCTION elevated.keep_in_outbox(message uuid, subject text, body text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER AS $$
    INSERT INTO delivery.outbox (message_id, recipient, subject, body)
        SELECT id, recipient, subject, body FROM delivery.messages WHERE id = message
$$;
-- What has expired: sign-ups that nobody confirmed after a day, links a month after their end.
CREATE FUNCTION elevated.forget_expired() RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    DELETE FROM identity.pending_sign_ups WHERE expires_at < now();
    DELETE FROM identity.links WHERE expires_at < now() - interval '30 days';
    DELETE FROM delivery.outbox WHERE at < now() - interval '30 days';
    DELETE FROM delivery.messages WHERE created_at < now() - interval '30 days';
END $$;
GRANT EXECUTE ON FUNCTION elevated.forget_expired, elevated.take_message, elevated.attach_link, elevated.finish_message, elevated.keep_in_outbox
    TO operalta_job;

-- ── Visitors ───────────────────────────────────────────────────────────────────────────────────────────
-- Keeps a sign-up until its link is confirmed, or mails the owner of the address that there is an account already.
CREATE FUNCTION signin.sign_up(email text, email_key text, name text, scheme text, pepper_version integer, hash text)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known record;
    pending uuid;
BEGIN
    SELECT person.id, person.email, person.name INTO known FROM identity.people AS person
        WHERE person.email_key = sign_up.email_key;
    IF known.id IS NOT NULL THEN
        PERFORM delivery.enqueue('already_registered', known.email, known.name, known.id, NULL, NULL, NULL, '{}');
    ELSE
        INSERT INTO identity.pending_sign_ups AS made (email, email_key, name, scheme, pepper_version, hash)
            VALUES (email, email_key, name, scheme, pepper_version, hash) RETURNING made.id INTO pending;
        PERFORM delivery.enqueue('confirm_sign_up', email, name, NULL, pending, NULL, NULL, '{}');
    END IF;
END $$;

-- For functions below: makes an account. NULL where the address has one already.
CREATE FUNCTION identity.make_person(email text, email_key text, name text, scheme text, pepper_version integer, hash text,
    verified boolean, operator boolean) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    made uuid;
BEGIN
    INSERT INTO identity.people AS person (email, email_key, name, is_operator, verified_at)
        VALUES (email, email_key, name, operator, CASE WHEN verified THEN now() END)
        ON CONFLICT DO NOTHING RETURNING person.id INTO made;
    IF made IS NOT NULL THEN
        INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash) VALUES (made, scheme, pepper_version, hash);
        PERFORM audit.append_as(NULL, 'person', made, NULL, 'account.created', 'person', made::text, 'succeeded', NULL, NULL, '{}');
    END IF;
    RETURN made;
END $$;

-- Confirms a mail link: an account comes of a sign-up, or an address is verified. False: used, expired or unknown.
CREATE FUNCTION signin.confirm_address(token text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    link record;
    waiting record;
    made uuid;
BEGIN
    UPDATE identity.links SET used_at = now() WHERE digest = sha256(convert_to(token, 'UTF8'))
        AND purpose IN ('confirm_sign_up', 'verify_address') AND used_at IS NULL AND expires_at > now()
        RETURNING * INTO link;
    IF link.id IS NULL THEN
        RETURN false;
    END IF;
    IF link.purpose = 'verify_address' THEN
        UPDATE identity.people SET verified_at = now() WHERE id = link.person_id AND verified_at IS NULL;
        made := link.person_id;
    ELSE
        SELECT * INTO waiting FROM identity.pending_sign_ups WHERE id = link.pending_sign_up_id;
        made := identity.make_person(waiting.email, waiting.email_key, waiting.name, waiting.scheme, waiting.pepper_version,
            waiting.hash, true, false);
        -- What else was prepared on this address is void now, its links with it.
        DELETE FROM identity.pending_sign_ups WHERE email_key = waiting.email_key;
        IF made IS NULL THEN
            RETURN false;
        END IF;
    END IF;
    PERFORM audit.append_as(NULL, 'person', made, NULL, 'account.verified', 'person', made::text, 'succeeded', NULL, NULL, '{}');
    RETURN true;
END $$;

-- What a password is compared with. No row for an unknown address; the caller does the same work then.
CREATE FUNCTION signin.credentials(email_key text)
RETURNS TABLE (person_id uuid, scheme text, pepper_version integer, hash text) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT person.id, password.scheme, password.pepper_version, password.hash FROM identity.people AS person
        JOIN identity.passwords AS password ON password.person_id = person.id
        WHERE person.email_key = credentials.email_key AND person.disabled_at IS NULL;
END $$;

-- Whether somebody has signed in to this address on this device before: strangers' guesses must not keep its owner out.
CREATE FUNCTION signin.knows_device(email_key text, device bytea) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN EXISTS (SELECT FROM identity.sessions AS earlier JOIN identity.people AS person ON person.id = earlier.person_id
        WHERE person.email_key = knows_device.email_key AND earlier.device_digest = device);
END $$;

-- Starts a session. `seen_hash` is the hash that the password was compared with: a change in between refuses.
CREATE FUNCTION signin.start_session(person uuid, seen_hash text, session uuid, refresh_digest bytea, access_digest bytea,
    device_digest bytea, user_agent text, address text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known_device boolean;
    owner record;
BEGIN
    PERFORM 1 FROM identity.passwords WHERE person_id = person AND hash = seen_hash FOR SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    known_device := EXISTS (SELECT FROM identity.sessions AS earlier WHERE earlier.person_id = person
        AND earlier.device_digest = start_session.device_digest)
        OR NOT EXISTS (SELECT FROM identity.sessions AS earlier WHERE earlier.person_id = person);
    INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent, address,
            idle_expires_at, absolute_expires_at)
        VALUES (session, person, refresh_digest, access_digest, device_digest, left(user_agent, 400), left(address, 64),
            now() + interval '7 days', now() + interval '90 days');
    INSERT INTO identity.sign_in_history (person_id, outcome, user_agent, address)
        VALUES (person, 'succeeded', left(user_agent, 400), left(address, 64));
    PERFORM audit.append_as(NULL, 'person', person, NULL, 'session.started', 'session', session::text, 'succeeded', NULL,
        address, '{}');
    IF NOT known_device THEN
        SELECT people.email, people.name INTO owner FROM identity.people WHERE people.id = person;
        PERFORM delivery.enqueue('new_device', owner.email, owner.name, person, NULL, NULL, NULL,
            jsonb_build_object('device', left(user_agent, 200), 'address', left(address, 64)));
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION signin.record_refusal(email_key text, user_agent text, address text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known uuid := (SELECT id FROM identity.people AS person WHERE person.email_key = record_refusal.email_key);
BEGIN
    IF known IS NOT NULL THEN
        INSERT INTO identity.sign_in_history (person_id, outcome, user_agent, address)
            VALUES (known, 'refused', left(user_agent, 400), left(address, 64));
    END IF;
    PERFORM audit.append_as(NULL, 'visitor', known, NULL, 'session.refused', 'person', known::text, 'refused', NULL, address, '{}');
END $$;

-- Rotates under the row's lock. 'rotated': the successor holds now. 'same': a parallel refresh of the same device within
-- 10 seconds, the successor is the one already given. 'reused': an older token, the session ended. 'ended': anything else.
CREATE FUNCTION signin.rotate_session(session uuid, presented bytea, device bytea, successor bytea, successor_access bytea)
RETURNS TABLE (outcome text, person_id uuid) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.sessions WHERE id = session FOR UPDATE;
    IF held.id IS NULL OR held.ended_at IS NOT NULL OR held.idle_expires_at <= now() OR held.absolute_expires_at <= now() THEN
        RETURN QUERY SELECT 'ended', NULL::uuid;
    ELSIF held.device_digest = device AND held.refresh_digest = presented THEN
        UPDATE identity.sessions SET counter = counter + 1, rotated_at = now(), last_seen_at = now(),
            previous_refresh_digest = held.refresh_digest, refresh_digest = successor,
            previous_access_digest = held.access_digest, access_digest = successor_access,
            idle_expires_at = now() + interval '7 days' WHERE id = session;
        RETURN QUERY SELECT 'rotated', held.person_id;
    ELSIF held.device_digest = device AND held.previous_refresh_digest = presented
          AND held.rotated_at > now() - interval '10 seconds' THEN
        RETURN QUERY SELECT 'same', held.person_id;
    ELSE
        UPDATE identity.sessions SET ended_at = now(), ended_reason = 'its refresh token was used twice' WHERE id = session;
        PERFORM audit.append_as(NULL, 'visitor', held.person_id, NULL, 'session.reuse_detected', 'session', session::text,
            'refused', NULL, NULL, '{}');
        RETURN QUERY SELECT 'reused', held.person_id;
    END IF;
END $$;

CREATE FUNCTION signin.end_session(secret text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    ended record;
BEGIN
    UPDATE identity.sessions SET ended_at = now(), ended_reason = 'signed out'
        WHERE id = (SELECT live.session_id FROM scope.live_session(secret) AS live) AND ended_at IS NULL
        RETURNING id, person_id INTO ended;
    IF ended.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM audit.append_as(NULL, 'person', ended.person_id, NULL, 'session.ended', 'session', ended.id::text, 'succeeded',
        NULL, NULL, '{}');
    RETURN true;
END $$;

CREATE FUNCTION signin.request_password_reset(email_key text) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known record;
BEGIN
    SELECT id, email, name INTO known FROM identity.people AS person
        WHERE person.email_key = request_password_reset.email_key AND person.disabled_at IS NULL;
    IF known.id IS NOT NULL THEN
        PERFORM delivery.enqueue('reset_password', known.email, known.name, known.id, NULL, NULL, NULL, '{}');
    END IF;
    PERFORM audit.append_as(NULL, 'visitor', known.id, NULL, 'password.reset_requested', 'person', known.id::text, 'succeeded',
        NULL, NULL, '{}');
END $$;

-- For functions below: a new password ends every session but one, and voids the links to set another.
CREATE FUNCTION identity.replace_password(person uuid, scheme text, pepper_version integer, hash text, but uuid)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner record;
BEGIN
    UPDATE identity.passwords AS password SET scheme = replace_password.scheme, hash = replace_password.hash,
        pepper_version = replace_password.pepper_version, changed_at = now() WHERE password.person_id = person;
    UPDATE identity.sessions SET ended_at = now(), ended_reason = 'the password changed'
        WHERE person_id = person AND ended_at IS NULL AND id IS DISTINCT FROM but;
    UPDATE identity.links SET used_at = now() WHERE person_id = person AND purpose = 'reset_password' AND used_at IS NULL;
    SELECT people.email, people.name INTO owner FROM identity.people WHERE people.id = person;
    PERFORM delivery.enqueue('password_changed', owner.email, owner.name, person, NULL, NULL, NULL, '{}');
END $$;

CREATE FUNCTION signin.reset_password(token text, scheme text, pepper_version integer, hash text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    link record;
BEGIN
    UPDATE identity.links SET used_at = now() WHERE digest = sha256(convert_to(token, 'UTF8')) AND purpose = 'reset_password'
        AND used_at IS NULL AND expires_at > now() RETURNING * INTO link;
    IF link.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM identity.replace_password(link.person_id, scheme, pepper_version, hash, NULL);
    UPDATE identity.people SET verified_at = coalesce(verified_at, now()) WHERE id = link.person_id;
    PERFORM audit.append_as(NULL, 'person', link.person_id, NULL, 'password.reset', 'person', link.person_id::text,
        'succeeded', NULL, NULL, '{}');
    RETURN true;
END $$;

CREATE FUNCTION signin.credentials_of_session(secret text)
RETURNS TABLE (person_id uuid, scheme text, pepper_version integer, hash text) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT live.person_id, password.scheme, password.pepper_version, password.hash
        FROM scope.live_session(secret) AS live JOIN identity.passwords AS password ON password.person_id = live.person_id;
END $$;

CREATE FUNCTION signin.change_password(secret text, seen_hash text, scheme text, pepper_version integer, hash text)
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT live.session_id, live.person_id INTO held FROM scope.live_session(secret) AS live
        JOIN identity.passwords AS password ON password.person_id = live.person_id AND password.hash = seen_hash;
    IF held.session_id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM identity.replace_password(held.person_id, scheme, pepper_version, hash, held.session_id);
    PERFORM audit.append_as(NULL, 'person', held.person_id, NULL, 'password.changed', 'person', held.person_id::text,
        'succeeded', NULL, NULL, '{}');
    RETURN true;
END $$;

-- The same password under a newer scheme, cost or pepper; sessions stay.
CREATE FUNCTION signin.rehash(person uuid, seen_hash text, scheme text, pepper_version integer, hash text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE identity.passwords AS password SET scheme = rehash.scheme, pepper_version = rehash.pepper_version,
        hash = rehash.hash WHERE password.person_id = person AND password.hash = seen_hash;
    RETURN FOUND;
END $$;

-- ── The operator's link (made by the owner at start) ───────────────────────────────────────────────────
CREATE FUNCTION signin.operator_link_holds(token text) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN EXISTS (SELECT FROM identity.links WHERE digest = sha256(convert_to(token, 'UTF8')) AND purpose = 'operator'
        AND used_at IS NULL AND expires_at > now());
END $$;

-- Makes the operator's account with the link, address still unverified. NULL: the link does not hold, or the address is taken
-- (the link stays unused then: sign in and open it again).
CREATE FUNCTION signin.become_operator(token text, email text, email_key text, name text, scheme text,
    pepper_version integer, hash text) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    link uuid;
    made uuid;
BEGIN
    SELECT id INTO link FROM identity.links WHERE digest = sha256(convert_to(token, 'UTF8')) AND purpose = 'operator'
        AND used_at IS NULL AND expires_at > now() FOR UPDATE;
    IF link IS NULL THEN
        RETURN NULL;
    END IF;
    made := identity.make_person(email, email_key, name, scheme, pepper_version, hash, false, true);
    IF made IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE identity.links SET used_at = now() WHERE id = link;
    PERFORM audit.append_as(NULL, 'person', made, NULL, 'account.became_operator', 'person', made::text, 'succeeded', NULL,
        NULL, '{}');
    PERFORM delivery.enqueue('verify_address', email, name, made, NULL, NULL, NULL, '{}');
    RETURN made;
END $$;

CREATE FUNCTION signin.become_operator_signed_in(token text, secret text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    person uuid := (SELECT live.person_id FROM scope.live_session(secret) AS live);
BEGIN
    IF person IS NULL THEN
        RETURN false;
    END IF;
    UPDATE identity.links SET used_at = now() WHERE digest = sha256(convert_to(token, 'UTF8')) AND purpose = 'operator'
        AND used_at IS NULL AND expires_at > now();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE identity.people SET is_operator = true WHERE id = person;
    PERFORM audit.append_as(NULL, 'person', person, NULL, 'account.became_operator', 'person', person::text, 'succeeded', NULL,
        NULL, '{}');
    RETURN true;
END $$;

-- ── Invitations, as their addressee meets them ─────────────────────────────────────────────────────────
CREATE FUNCTION signin.invitation(token text)
RETURNS TABLE (company text, role text, email text, inviter text, has_account boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT host.name, invited.role, invited.email, inviter.name,
            EXISTS (SELECT FROM identity.people AS person WHERE person.email_key = invited.email_key)
        FROM identity.links AS link
        JOIN tenancy.invitations AS invited ON invited.company_id = link.company_id AND invited.id = link.invitation_id
        JOIN tenancy.companies AS host ON host.id = invited.company_id
        JOIN identity.people AS inviter ON inviter.id = invited.invited_by
        WHERE link.digest = sha256(convert_to(token, 'UTF8')) AND link.purpose = 'invitation' AND link.used_at IS NULL
          AND link.expires_at > now() AND invited.accepted_at IS NULL AND invited.revoked_at IS NULL AND invited.expires_at > now()
          AND tenancy.inviter_may_still(invited.company_id, invited.invited_by);
END $$;

-- Makes an account for the invited address: the link was mailed to it, which verifies it. NULL: not so, or it has one.
CREATE FUNCTION signin.sign_up_invited(token text, name text, scheme text, pepper_version integer, hash text)
RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    invited record;
    made uuid;
BEGIN
    SELECT standing.email, waiting.email_key INTO invited FROM signin.invitation(token) AS standing
        JOIN identity.links AS link ON link.digest = sha256(convert_to(token, 'UTF8'))
        JOIN tenancy.invitations AS waiting ON waiting.company_id = link.company_id AND waiting.id = link.invitation_id;
    IF invited.email IS NULL THEN
        RETURN NULL;
    END IF;
    made := identity.make_person(invited.email, invited.email_key, name, scheme, pepper_version, hash, true, false);
    IF made IS NOT NULL THEN
        DELETE FROM identity.pending_sign_ups AS waiting WHERE waiting.email_key = invited.email_key;
    END IF;
    RETURN made;
END $$;

GRANT EXECUTE ON FUNCTION signin.sign_up, signin.confirm_address, signin.knows_device, signin.credentials, signin.start_session,
    signin.record_refusal, signin.rotate_session, signin.end_session, signin.request_password_reset, signin.reset_password,
    signin.credentials_of_session, signin.change_password, signin.rehash, signin.operator_link_holds, signin.become_operator,
    signin.become_operator_signed_in, signin.invitation, signin.sign_up_invited TO operalta_signin;
