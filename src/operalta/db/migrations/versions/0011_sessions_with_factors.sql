-- Sessions begin, passwords change and factors are enrolled with second factors in mind; what replaces earlier functions.

DROP FUNCTION signin.start_session(uuid, text, uuid, bytea, bytea, bytea, text, text);
DROP FUNCTION signin.record_refusal(text, text, text);
DROP FUNCTION signin.sign_up(text, text, text, text, integer, text);
DROP FUNCTION signin.request_password_reset(text);
DROP FUNCTION signin.reset_password(text, text, integer, text);
DROP FUNCTION signin.change_password(text, text, text, integer, text);
DROP FUNCTION identity.replace_password(uuid, text, integer, text, uuid);

-- ── Sessions ───────────────────────────────────────────────────────────────────────────────────────────
-- For functions below: a session of somebody who has proved themselves. `factor_at` NULL: by the password alone.
CREATE FUNCTION identity.begin_session(of_person uuid, new_session uuid, refresh bytea, access bytea, device bytea, agent text,
    from_address text, longest_days integer, factor_at timestamptz) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    -- A device vouches for itself where its session was left to end by itself, and under the present password: neither one
    -- that somebody ended from elsewhere, nor one from before a new password, is taken for the owner's.
    known_device boolean := EXISTS (SELECT FROM identity.sessions AS earlier WHERE earlier.person_id = of_person
            AND earlier.device_digest = device AND (earlier.ended_at IS NULL OR (earlier.ended_reason = 'signed out'
                AND earlier.ended_at > (SELECT held.changed_at FROM identity.passwords AS held WHERE held.person_id = of_person))))
        OR NOT EXISTS (SELECT FROM identity.sessions AS earlier WHERE earlier.person_id = of_person);
    owner record;
BEGIN
    INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent, address,
            idle_expires_at, absolute_expires_at, second_factor_at)
        VALUES (new_session, of_person, refresh, access, device, left(agent, 400), left(from_address, 64),
            now() + interval '7 days', now() + make_interval(days => greatest(1, least(longest_days, 400))), factor_at);
    INSERT INTO identity.sign_in_history (person_id, outcome, user_agent, address)
        VALUES (of_person, 'succeeded', left(agent, 400), left(from_address, 64));
    PERFORM audit.append_as(NULL, 'person', of_person, NULL, 'session.started', 'session', new_session::text, 'succeeded', NULL,
        from_address, jsonb_build_object('second_factor', factor_at IS NOT NULL));
    IF NOT known_device THEN
        SELECT people.email, people.name INTO owner FROM identity.people WHERE people.id = of_person;
        PERFORM delivery.enqueue('new_device', owner.email, owner.name, of_person, NULL, NULL, NULL,
            jsonb_build_object('device', left(agent, 200), 'address', left(from_address, 64)));
    END IF;
END $$;

-- The password of `person` was found to be the one whose hash is `seen_hash`. 'started'; 'second_factor': no session, the ticket
-- of this digest holds instead until one is proved; 'stale': the password changed in between.
CREATE FUNCTION signin.start_session(person uuid, seen_hash text, session uuid, refresh_digest bytea, access_digest bytea,
    device_digest bytea, user_agent text, address text, longest_days integer, ticket_digest bytea)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM 1 FROM identity.passwords AS password WHERE password.person_id = person AND password.hash = seen_hash FOR SHARE;
    IF NOT FOUND THEN
        RETURN 'stale';
    END IF;
    IF identity.has_second_factor(person) THEN
        INSERT INTO identity.tickets (digest, purpose, person_id, device_digest, seen_hash, user_agent, address)
            VALUES (ticket_digest, 'sign_in', person, device_digest, seen_hash, left(user_agent, 400), left(address, 64));
        RETURN 'second_factor';
    END IF;
    PERFORM identity.begin_session(person, session, refresh_digest, access_digest, device_digest, user_agent, address,
        longest_days, NULL);
    RETURN 'started';
END $$;

-- Turns a ticket that has been proved into a session, once. NULL: it is not, or the password changed meanwhile.
CREATE FUNCTION signin.finish_sign_in(ticket text, device bytea, session uuid, refresh_digest bytea, access_digest bytea,
    longest_days integer) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    taken record;
BEGIN
    UPDATE identity.tickets AS held SET used_at = now() WHERE held.digest = sha256(convert_to(ticket, 'UTF8'))
        AND held.device_digest = device AND held.purpose = 'sign_in' AND held.proved_at IS NOT NULL AND held.used_at IS NULL
        AND held.expires_at > now() RETURNING * INTO taken;
    PERFORM 1 FROM identity.passwords AS password WHERE password.person_id = taken.person_id AND password.hash = taken.seen_hash
        FOR SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM identity.begin_session(taken.person_id, session, refresh_digest, access_digest, device, taken.user_agent,
        taken.address, longest_days, taken.proved_at);
    RETURN taken.person_id;
END $$;

-- A passkey has answered its challenge, its owner verified by the device: that is both factors. NULL: it is gone or was copied.
CREATE FUNCTION signin.sign_in_with_passkey(passkey uuid, counted bigint, session uuid, refresh_digest bytea, access_digest bytea,
    device bytea, user_agent text, address text, longest_days integer) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid := (SELECT held.person_id FROM identity.passkeys AS held
        JOIN identity.people AS person ON person.id = held.person_id AND person.disabled_at IS NULL WHERE held.id = passkey);
BEGIN
    IF owner IS NULL OR NOT identity.count_passkey(passkey, counted) THEN
        RETURN NULL;
    END IF;
    PERFORM identity.begin_session(owner, session, refresh_digest, access_digest, device, user_agent, address, longest_days, now());
    RETURN owner;
END $$;

-- Does the same for a known and an unknown address, a row of nobody included.
CREATE FUNCTION signin.record_refusal(email_key text, user_agent text, address text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    known uuid := (SELECT id FROM identity.people AS person WHERE person.email_key = record_refusal.email_key);
BEGIN
    INSERT INTO identity.sign_in_history (person_id, outcome, user_agent, address)
        VALUES (known, 'refused', left(user_agent, 400), left(address, 64));
    PERFORM audit.append_as(NULL, 'visitor', known, NULL, 'session.refused', 'person', known::text, 'refused', NULL, address, '{}');
END $$;

-- The session's person has given the right password again. False: the session is over, or the password changed.
CREATE FUNCTION signin.prove_password(secret text, seen_hash text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE identity.sessions AS held SET password_at = now() FROM identity.bearer('session', secret, NULL) AS asking
        JOIN identity.passwords AS password ON password.person_id = asking.person AND password.hash = seen_hash
        WHERE held.id = asking.session;
    RETURN FOUND;
END $$;

-- NULL: the session is over.
CREATE FUNCTION signin.is_proved(secret text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT identity.is_proved(held.session) FROM identity.bearer('session', secret, NULL) AS held
$$;

-- Whether the session has to prove a second factor before it changes the password (asked before anything is compared).
CREATE FUNCTION signin.must_prove(secret text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce((SELECT identity.has_second_factor(held.person) AND NOT identity.is_proved(held.session)
        FROM identity.bearer('session', secret, NULL) AS held), false)
$$;

-- ── Accounts and passwords: whose address it is, is looked up by the sender, so a visitor's request is the same work for all ──
CREATE FUNCTION signin.sign_up(email text, email_key text, name text, scheme text, pepper_version integer, hash text)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    pending uuid;
BEGIN
    INSERT INTO identity.pending_sign_ups AS made (email, email_key, name, scheme, pepper_version, hash)
        VALUES (email, email_key, name, scheme, pepper_version, hash) RETURNING made.id INTO pending;
    PERFORM delivery.enqueue('confirm_sign_up', email, name, NULL, pending, NULL, NULL, '{}');
END $$;

CREATE FUNCTION signin.request_password_reset(email_key text) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM delivery.enqueue('reset_password', email_key, '', NULL, NULL, NULL, NULL, '{}');
END $$;

-- For functions below: a new password ends every session but one, every sign-in under way, and voids the links to set another.
CREATE FUNCTION identity.replace_password(person uuid, scheme text, pepper_version integer, hash text, but uuid)
RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner record;
BEGIN
    UPDATE identity.passwords AS password SET scheme = replace_password.scheme, hash = replace_password.hash,
        pepper_version = replace_password.pepper_version, changed_at = now() WHERE password.person_id = person;
    UPDATE identity.sessions SET ended_at = now(), ended_reason = 'the password changed'
        WHERE person_id = person AND ended_at IS NULL AND id IS DISTINCT FROM but;
    -- Whoever had the old one may have proved themselves, too: other devices count as strangers' from now on.
    UPDATE identity.sessions SET second_factor_at = NULL WHERE person_id = person AND id IS DISTINCT FROM but;
    DELETE FROM identity.trusted_devices AS trusted WHERE trusted.person_id = replace_password.person;
    UPDATE identity.tickets SET used_at = now() WHERE person_id = person AND used_at IS NULL;
    UPDATE identity.links SET used_at = now() WHERE person_id = person AND purpose = 'reset_password' AND used_at IS NULL;
    SELECT people.email, people.name INTO owner FROM identity.people WHERE people.id = person;
    PERFORM delivery.enqueue('password_changed', owner.email, owner.name, person, NULL, NULL, NULL, '{}');
END $$;

-- 'done'; 'second_factor': nothing changed yet, the ticket of this digest carries the new password until a factor is proved;
-- 'spent': the link does not hold.
CREATE FUNCTION signin.reset_password(token text, scheme text, pepper_version integer, hash text, ticket_digest bytea,
    device bytea, user_agent text, address text) RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    link record;
BEGIN
    SELECT * INTO link FROM identity.links AS mailed WHERE mailed.digest = sha256(convert_to(token, 'UTF8'))
        AND mailed.purpose = 'reset_password' AND mailed.used_at IS NULL AND mailed.expires_at > now() FOR UPDATE;
    IF link.id IS NULL THEN
        RETURN 'spent';
    END IF;
    IF identity.has_second_factor(link.person_id) THEN
        INSERT INTO identity.tickets (digest, purpose, person_id, device_digest, link_id, scheme, pepper_version, hash,
                user_agent, address)
            VALUES (ticket_digest, 'reset_password', link.person_id, device, link.id, scheme, pepper_version, hash,
                left(user_agent, 400), left(address, 64));
        RETURN 'second_factor';
    END IF;
    UPDATE identity.links AS mailed SET used_at = now() WHERE mailed.id = link.id;
    PERFORM identity.finish_reset(link.person_id, scheme, pepper_version, hash);
    RETURN 'done';
END $$;

CREATE FUNCTION identity.finish_reset(person uuid, scheme text, pepper_version integer, hash text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    PERFORM identity.replace_password(person, scheme, pepper_version, hash, NULL);
    UPDATE identity.people SET verified_at = coalesce(verified_at, now()) WHERE id = person;
    PERFORM audit.append_as(NULL, 'person', person, NULL, 'password.reset', 'person', person::text, 'succeeded', NULL, NULL, '{}');
END $$;

-- Sets the password that a proved ticket carries, once, while its link still stands.
CREATE FUNCTION signin.finish_reset(ticket text, device bytea) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    taken record;
BEGIN
    UPDATE identity.tickets AS held SET used_at = now() WHERE held.digest = sha256(convert_to(ticket, 'UTF8'))
        AND held.device_digest = device AND held.purpose = 'reset_password' AND held.proved_at IS NOT NULL
        AND held.used_at IS NULL AND held.expires_at > now() RETURNING * INTO taken;
    UPDATE identity.links AS mailed SET used_at = now() WHERE mailed.id = taken.link_id AND mailed.used_at IS NULL
        AND mailed.expires_at > now();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM identity.finish_reset(taken.person_id, taken.scheme, taken.pepper_version, taken.hash);
    UPDATE identity.tickets AS held SET hash = '-' WHERE held.id = taken.id;
    RETURN true;
END $$;

-- 'done'; 'unproved': a second factor must be proved first; 'stale': session or password changed in between.
CREATE FUNCTION signin.change_password(secret text, seen_hash text, scheme text, pepper_version integer, hash text)
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT asking.session, asking.person INTO held FROM identity.bearer('session', secret, NULL) AS asking
        JOIN identity.passwords AS password ON password.person_id = asking.person AND password.hash = seen_hash;
    IF held.session IS NULL THEN
        RETURN 'stale';
    END IF;
    IF identity.has_second_factor(held.person) AND NOT identity.is_proved(held.session) THEN
        RETURN 'unproved';
    END IF;
    PERFORM identity.replace_password(held.person, scheme, pepper_version, hash, held.session);
    PERFORM audit.append_as(NULL, 'person', held.person, NULL, 'password.changed', 'person', held.person::text, 'succeeded',
        NULL, NULL, '{}');
    RETURN 'done';
END $$;

-- Opens the mailed link that lifts a pause: the device it is opened on counts apart from strangers', for 30 days.
CREATE FUNCTION signin.trust_device(token text, device bytea) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    link record;
BEGIN
    UPDATE identity.links AS mailed SET used_at = now() WHERE mailed.digest = sha256(convert_to(token, 'UTF8'))
        AND mailed.purpose = 'trust_device' AND mailed.used_at IS NULL AND mailed.expires_at > now() RETURNING * INTO link;
    IF link.id IS NULL THEN
        RETURN false;
    END IF;
    INSERT INTO identity.trusted_devices AS trusted (person_id, device_digest) VALUES (link.person_id, device)
        ON CONFLICT (person_id, device_digest) DO UPDATE SET at = now();
    PERFORM audit.append_as(NULL, 'visitor', link.person_id, NULL, 'device.trusted', 'person', link.person_id::text, 'succeeded',
        NULL, NULL, '{}');
    RETURN true;
END $$;

-- ── Enrolling and removing (a session that has proved itself) ──────────────────────────────────────────────
-- For functions below: the person of a live session that has proved itself; NULL elsewhere.
CREATE FUNCTION identity.proved_person(secret text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT held.person FROM identity.bearer('session', secret, NULL) AS held WHERE identity.is_proved(held.session)
$$;

-- Keeps a new authenticator app until its first code is right; an earlier one that waits is dropped. False: not proved, or two
-- (each further app makes every guess likelier).
CREATE FUNCTION signin.add_authenticator(secret text, app_id uuid, app_name text, sealed_secret bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid := identity.proved_person(secret);
BEGIN
    IF owner IS NULL OR (SELECT count(*) FROM identity.authenticators AS app WHERE app.person_id = owner
            AND app.confirmed_at IS NOT NULL) >= 2 THEN
        RETURN false;
    END IF;
    DELETE FROM identity.authenticators AS app WHERE app.person_id = owner AND app.confirmed_at IS NULL;
    INSERT INTO identity.authenticators (id, person_id, name, sealed) VALUES (app_id, owner, app_name, sealed_secret);
    RETURN true;
END $$;

CREATE FUNCTION signin.waiting_authenticator(secret text) RETURNS TABLE (id uuid, sealed bytea, name text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT app.id, app.sealed, app.name FROM identity.authenticators AS app WHERE app.person_id = identity.proved_person(secret)
        AND app.confirmed_at IS NULL AND app.created_at > now() - interval '1 hour'
$$;

CREATE FUNCTION signin.confirm_authenticator(secret text, app_id uuid, step bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid := identity.proved_person(secret);
    asking_session uuid := (SELECT asking.session FROM identity.bearer('session', secret, NULL) AS asking);
    named text;
BEGIN
    PERFORM 1 FROM identity.people AS person WHERE person.id = owner FOR NO KEY UPDATE;
    UPDATE identity.authenticators AS app SET confirmed_at = now(), last_step = step
        WHERE app.id = app_id AND app.person_id = owner AND app.confirmed_at IS NULL
          AND (SELECT count(*) FROM identity.authenticators AS held WHERE held.person_id = owner AND held.confirmed_at IS NOT NULL) < 2
        RETURNING app.name INTO named;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM identity.mark_proved(NULL, asking_session, NULL);
    PERFORM identity.tell_factor_change(owner, 'factor.enrolled', 'authenticator_added', named);
    RETURN true;
END $$;

-- The handle of the person for a new passkey, and the credentials that exist, so that no device is enrolled twice.
CREATE FUNCTION signin.passkey_owner(secret text) RETURNS TABLE (person_id uuid, email text, name text, credentials bytea[])
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT owner.id, owner.email, owner.name, coalesce((SELECT array_agg(held.credential_id) FROM identity.passkeys AS held
            WHERE held.person_id = owner.id), '{}')
        FROM identity.people AS owner WHERE owner.id = identity.proved_person(secret)
$$;

CREATE FUNCTION signin.add_passkey(secret text, passkey_name text, credential bytea, key bytea, counted bigint, ways text[])
RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid := identity.proved_person(secret);
    held uuid := (SELECT asking.session FROM identity.bearer('session', secret, NULL) AS asking);
BEGIN
    PERFORM 1 FROM identity.people AS person WHERE person.id = owner FOR NO KEY UPDATE;
    IF owner IS NULL OR (SELECT count(*) FROM identity.passkeys AS owned WHERE owned.person_id = owner) >= 10 THEN
        RETURN false;
    END IF;
    INSERT INTO identity.passkeys (person_id, name, credential_id, public_key, sign_count, transports)
        VALUES (owner, passkey_name, credential, key, counted, ways) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM identity.mark_proved(NULL, held, NULL);
    PERFORM identity.tell_factor_change(owner, 'factor.enrolled', 'passkey_added', passkey_name);
    RETURN true;
END $$;

-- Removes one factor of any kind. With the last of them the recovery codes go, too. False: not proved, or no such factor.
CREATE FUNCTION signin.remove_factor(secret text, factor uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid := identity.proved_person(secret);
    removed text;
    which text;
BEGIN
    DELETE FROM identity.phones AS owned WHERE owned.id = factor AND owned.person_id = owner
        RETURNING 'phone_removed', '…' || right(owned.number, 2) INTO removed, which;
    UPDATE identity.codes AS live SET used_at = now() WHERE removed IS NOT NULL AND live.person_id = owner
        AND live.used_at IS NULL AND live.purpose <> 'enrol_phone';
    IF removed IS NULL THEN
        DELETE FROM identity.authenticators AS owned WHERE owned.id = factor AND owned.person_id = owner AND owned.confirmed_at IS NOT NULL
            RETURNING 'authenticator_removed', owned.name INTO removed, which;
    END IF;
    IF removed IS NULL THEN
        DELETE FROM identity.passkeys AS owned WHERE owned.id = factor AND owned.person_id = owner
            RETURNING 'passkey_removed', owned.name INTO removed, which;
    END IF;
    IF removed IS NULL THEN
        RETURN false;
    END IF;
    IF NOT identity.has_second_factor(owner) THEN
        DELETE FROM identity.recovery_codes AS spare WHERE spare.person_id = owner;
        -- Who proved the stronger thing a moment ago need not give the password at once.
        UPDATE identity.sessions AS held SET password_at = held.second_factor_at FROM identity.bearer('session', secret, NULL) AS asking
            WHERE held.id = asking.session AND held.second_factor_at > held.password_at;
    END IF;
    PERFORM identity.tell_factor_change(owner, 'factor.removed', removed, which);
    RETURN true;
END $$;

-- Replaces all recovery codes. False: not proved, or there is no factor that they could stand in for.
CREATE FUNCTION signin.replace_recovery_codes(secret text, digests bytea[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner uuid := identity.proved_person(secret);
BEGIN
    IF owner IS NULL OR NOT identity.has_second_factor(owner) OR coalesce(cardinality(digests), 0) NOT BETWEEN 1 AND 20 THEN
        RETURN false;
    END IF;
    DELETE FROM identity.recovery_codes AS spare WHERE spare.person_id = owner;
    INSERT INTO identity.recovery_codes (person_id, digest) SELECT owner, fresh FROM unnest(digests) AS fresh;
    PERFORM identity.tell_factor_change(owner, 'factor.enrolled', 'recovery_codes_made', cardinality(digests)::text);
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION signin.start_session, signin.finish_sign_in, signin.sign_in_with_passkey, signin.record_refusal,
    signin.prove_password, signin.is_proved, signin.must_prove, signin.sign_up, signin.request_password_reset, signin.reset_password, signin.finish_reset,
    signin.change_password, signin.trust_device, signin.add_authenticator, signin.waiting_authenticator, signin.confirm_authenticator,
    signin.passkey_owner, signin.add_passkey, signin.remove_factor, signin.replace_recovery_codes TO operalta_signin;
