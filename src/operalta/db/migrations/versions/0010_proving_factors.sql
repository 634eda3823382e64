-- The functions by which a second factor is proved, and by which sessions begin. Visitors reach them through `signin`.
-- A bearer is what carries somebody through these: a ticket (password right, factor still open) or a live session.

-- ── Who asks, and what the account knows of the device ────────────────────────────────────────────────
CREATE FUNCTION identity.bearer(kind text, secret text, device bytea)
RETURNS TABLE (person uuid, ticket uuid, session uuid, purpose text, on_device bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    IF kind = 'ticket' THEN
        RETURN QUERY SELECT held.person_id, held.id, NULL::uuid, held.purpose, held.device_digest FROM identity.tickets AS held
            JOIN identity.people AS owner ON owner.id = held.person_id AND owner.disabled_at IS NULL
            WHERE held.digest = sha256(convert_to(secret, 'UTF8')) AND held.device_digest = device
              AND held.used_at IS NULL AND held.expires_at > now();
    ELSIF kind = 'session' THEN
        RETURN QUERY SELECT live.person_id, NULL::uuid, live.session_id, 'step_up'::text, held.device_digest
            FROM scope.live_session(secret) AS live JOIN identity.sessions AS held ON held.id = live.session_id
            JOIN identity.people AS owner ON owner.id = live.person_id AND owner.disabled_at IS NULL;
    END IF;
END $$;

CREATE FUNCTION identity.has_second_factor(of_person uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM identity.phones WHERE person_id = of_person)
        OR EXISTS (SELECT FROM identity.authenticators WHERE person_id = of_person AND confirmed_at IS NOT NULL)
        OR EXISTS (SELECT FROM identity.passkeys WHERE person_id = of_person)
$$;

-- Whether a session has proved itself in the last ten minutes: by a second factor where there is one, by the password elsewhere.
CREATE FUNCTION identity.is_proved(of_session uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce((SELECT CASE WHEN identity.has_second_factor(held.person_id)
            THEN held.second_factor_at > now() - interval '10 minutes'
            ELSE held.password_at > now() - interval '10 minutes' END
        FROM identity.sessions AS held WHERE held.id = of_session), false)
$$;

-- The same for the session of the scope. A run has none: agents never count as proved.
CREATE FUNCTION scope.recently_proved() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce(scope.scope_kind() = 'person' AND identity.is_proved(scope.scope_session()), false)
$$;
GRANT EXECUTE ON FUNCTION scope.recently_proved TO operalta_web;

-- 'known': a second factor was proved on it before (and not guessed at 20 times since, nor 100 times in a year). 'trusted': the mailed link was opened
-- on it. 'stranger': anything else.
CREATE FUNCTION identity.standing_of(of_person uuid, device bytea, on_way text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    last_success timestamptz := (SELECT max(tried.at) FROM identity.factor_attempts AS tried WHERE tried.person_id = of_person
        AND tried.device_digest = device AND tried.way = on_way AND tried.succeeded);
BEGIN
    IF EXISTS (SELECT FROM identity.sessions AS earlier WHERE earlier.person_id = of_person
            AND earlier.device_digest = device AND earlier.second_factor_at IS NOT NULL)
        AND (SELECT count(*) FROM identity.factor_attempts AS tried WHERE tried.person_id = of_person AND tried.way = on_way
            AND tried.device_digest = device AND tried.standing = 'known' AND NOT tried.succeeded
            AND tried.at > coalesce(last_success, '-infinity')) < 20
        AND (SELECT count(*) FROM identity.factor_attempts AS tried WHERE tried.person_id = of_person AND tried.way = on_way
            AND tried.device_digest = device AND tried.standing = 'known' AND NOT tried.succeeded
            AND tried.at > now() - interval '365 days') < 100
    THEN
        RETURN 'known';
    END IF;
    IF EXISTS (SELECT FROM identity.trusted_devices AS trusted WHERE trusted.person_id = of_person
            AND trusted.device_digest = device AND trusted.at > now() - interval '30 days')
    THEN
        RETURN 'trusted';
    END IF;
    RETURN 'stranger';
END $$;

-- How many tries of one way a year may bring: with 1 in 1,000,000 for a code by SMS and 3 in 1,000,000 for an authenticator's
-- (three steps are accepted; each try is held against every app, so they share the budget), all of them together guess right
-- less than once in 10,000 years.
CREATE FUNCTION identity.is_paused(of_person uuid, on_way text, of_standing text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT of_standing <> 'known' AND (SELECT count(*) FROM identity.factor_attempts AS tried
            WHERE tried.person_id = of_person AND tried.way = on_way AND tried.standing = of_standing AND NOT tried.succeeded
              AND tried.at > now() - interval '365 days')
        >= CASE WHEN on_way = 'phone' AND of_standing = 'stranger' THEN 40 WHEN on_way = 'phone' THEN 10
            ELSE (CASE of_standing WHEN 'stranger' THEN 12 ELSE 4 END) / greatest(1, (SELECT count(*)
                FROM identity.authenticators AS app WHERE app.person_id = of_person AND app.confirmed_at IS NOT NULL)) END
$$;

-- Counts a try before it is looked at, and returns it; NULL where this way is paused for such devices, which the owner is told
-- by mail, once an hour at most, with a link that makes the device it is opened on a trusted one.
CREATE FUNCTION identity.begin_attempt(of_person uuid, device bytea, on_way text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner record;
    standing_now text;
    made uuid;
BEGIN
    -- Tries of one account stand in line here, so that no two of them see the same count.
    SELECT people.email, people.name INTO owner FROM identity.people WHERE people.id = of_person FOR NO KEY UPDATE;
    standing_now := identity.standing_of(of_person, device, on_way);
    IF identity.is_paused(of_person, on_way, standing_now) THEN
        IF NOT EXISTS (SELECT FROM delivery.messages AS sent WHERE sent.person_id = of_person AND sent.kind = 'trust_device'
                AND sent.created_at > now() - interval '1 hour') THEN
            PERFORM delivery.enqueue('trust_device', owner.email, owner.name, of_person, NULL, NULL, NULL,
                jsonb_build_object('way', on_way));
            PERFORM audit.append_as(NULL, 'system', of_person, NULL, 'factor.paused', 'person', of_person::text, 'succeeded',
                NULL, NULL, jsonb_build_object('way', on_way));
        END IF;
        RETURN NULL;
    END IF;
    INSERT INTO identity.factor_attempts AS tried (person_id, way, standing, device_digest)
        VALUES (of_person, on_way, standing_now, device) RETURNING tried.id INTO made;
    RETURN made;
END $$;

-- For functions below: the bearer has proved a second factor now.
CREATE FUNCTION identity.mark_proved(of_ticket uuid, of_session uuid, attempt uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE identity.tickets SET proved_at = now() WHERE id = of_ticket;
    UPDATE identity.sessions SET second_factor_at = now() WHERE id = of_session;
    UPDATE identity.factor_attempts SET succeeded = true WHERE id = attempt;
END $$;

-- For functions below: tells the owner by mail, and the log, what changed about the account's factors.
CREATE FUNCTION identity.tell_factor_change(of_person uuid, action text, change text, which text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    owner record;
BEGIN
    SELECT people.email, people.name INTO owner FROM identity.people WHERE people.id = of_person;
    PERFORM delivery.enqueue('factor_changed', owner.email, owner.name, of_person, NULL, NULL, NULL,
        jsonb_build_object('change', change));
    PERFORM audit.append_as(NULL, 'person', of_person, NULL, action, 'person', of_person::text, 'succeeded', NULL, NULL,
        jsonb_build_object('change', change, 'which', which));
END $$;

-- ── What a bearer may ask ──────────────────────────────────────────────────────────────────────────────
-- Whose bearer this is, and whether the account knows the device (its attempts are counted apart then).
CREATE FUNCTION signin.bearer(kind text, secret text, device bytea)
RETURNS TABLE (person_id uuid, purpose text, on_device bytea, known boolean) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY SELECT held.person, held.purpose, held.on_device, EXISTS (SELECT FROM identity.sessions AS earlier
            WHERE earlier.person_id = held.person AND earlier.device_digest = held.on_device
              AND earlier.second_factor_at IS NOT NULL)
            OR EXISTS (SELECT FROM identity.trusted_devices AS trusted WHERE trusted.person_id = held.person
                AND trusted.device_digest = held.on_device AND trusted.at > now() - interval '30 days')
        FROM identity.bearer(kind, secret, device) AS held;
END $$;

-- The ways by which this bearer may prove a second factor. `label` tells the owner which one it is and nobody else anything.
CREATE FUNCTION signin.ways(kind text, secret text, device bytea)
RETURNS TABLE (id uuid, way text, label text, paused boolean, credential_id bytea, transports text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF held.person IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT phone.id, 'phone'::text, '…' || right(phone.number, 2),
            identity.is_paused(held.person, 'phone', identity.standing_of(held.person, held.on_device, 'phone')), NULL::bytea, NULL::text[]
        FROM identity.phones AS phone WHERE phone.person_id = held.person ORDER BY phone.created_at;
    RETURN QUERY SELECT app.id, 'authenticator'::text, app.name,
            identity.is_paused(held.person, 'authenticator', identity.standing_of(held.person, held.on_device, 'authenticator')),
            NULL::bytea, NULL::text[]
        FROM identity.authenticators AS app WHERE app.person_id = held.person AND app.confirmed_at IS NOT NULL ORDER BY app.created_at;
    RETURN QUERY SELECT passkey.id, 'passkey'::text, passkey.name, false, passkey.credential_id, passkey.transports
        FROM identity.passkeys AS passkey WHERE passkey.person_id = held.person ORDER BY passkey.created_at;
    RETURN QUERY SELECT NULL::uuid, 'recovery_code'::text, count(*)::text, false, NULL::bytea, NULL::text[]
        FROM identity.recovery_codes AS spare WHERE spare.person_id = held.person AND spare.used_at IS NULL HAVING count(*) > 0;
END $$;

-- ── Codes by SMS ───────────────────────────────────────────────────────────────────────────────────────
CREATE FUNCTION delivery.enqueue_code(code uuid, number text) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    made uuid;
BEGIN
    INSERT INTO delivery.messages AS message (kind, recipient, code_id) VALUES ('code', number, code)
        RETURNING message.id INTO made;
    PERFORM jobs.defer_task('deliver_message', made);
END $$;

-- For functions below: one live code a bearer and purpose; an earlier one is void from now on.
CREATE FUNCTION identity.issue_code(of_person uuid, of_ticket uuid, of_session uuid, wanted text, to_number text, in_country text,
    by_known boolean)
RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    made uuid;
BEGIN
    UPDATE identity.codes AS earlier SET used_at = now() WHERE earlier.purpose = wanted AND earlier.used_at IS NULL
        AND (earlier.ticket_id = of_ticket OR earlier.session_id = of_session);
    INSERT INTO identity.codes AS code (person_id, ticket_id, session_id, purpose, number, country, known)
        VALUES (of_person, of_ticket, of_session, wanted, to_number, in_country, by_known) RETURNING code.id INTO made;
    PERFORM delivery.enqueue_code(made, to_number);
    PERFORM audit.append_as(NULL, 'person', of_person, NULL, 'code.sent', 'person', of_person::text, 'succeeded', NULL, NULL,
        jsonb_build_object('purpose', wanted, 'country', in_country));
    RETURN made;
END $$;

-- The number of one of the bearer's phones, by which sending is counted. NULL: no such phone, or no such bearer.
CREATE FUNCTION signin.phone_number(kind text, secret text, device bytea, phone uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT owned.number FROM identity.bearer(kind, secret, device) AS held
        JOIN identity.phones AS owned ON owned.person_id = held.person AND owned.id = phone
$$;

-- Sends a code to one of the bearer's phones. 'sent', 'paused' (the owner is told by mail), 'enough' (20 a day, counted apart
-- for devices that the account knows) or 'none'.
CREATE FUNCTION signin.send_code(kind text, secret text, device bytea, phone uuid, country text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    number_to text := signin.phone_number(kind, secret, device, phone);
    standing_now text;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF held.person IS NULL OR number_to IS NULL THEN
        RETURN 'none';
    END IF;
    PERFORM 1 FROM identity.people AS owner WHERE owner.id = held.person FOR NO KEY UPDATE;
    standing_now := identity.standing_of(held.person, held.on_device, 'phone');
    IF identity.is_paused(held.person, 'phone', standing_now) THEN
        PERFORM identity.begin_attempt(held.person, held.on_device, 'phone');
        RETURN 'paused';
    END IF;
    IF (SELECT count(*) FROM identity.codes AS sent WHERE sent.person_id = held.person AND sent.purpose <> 'enrol_phone'
            AND sent.known = (standing_now <> 'stranger') AND sent.created_at > now() - interval '1 day') >= 20 THEN
        RETURN 'enough';
    END IF;
    PERFORM identity.issue_code(held.person, held.ticket, held.session, held.purpose, number_to, country,
        standing_now <> 'stranger');
    RETURN 'sent';
END $$;

-- Whether a code may go to a number that is to become a factor: 'yes'. 'unproved': prove yourself first. 'enough': this person
-- has asked for too many today, or the number got two such codes in five minutes (a third is left for its owner, whose limit it
-- shares). 'pumped': most people who ask for codes to that country never use them. 'taken': it is a factor already.
CREATE FUNCTION signin.may_enrol_phone(secret text, to_number text, in_country text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    asked bigint;
    used bigint;
BEGIN
    SELECT * INTO held FROM identity.bearer('session', secret, NULL);
    IF held.person IS NULL THEN
        RETURN 'none';
    END IF;
    -- Requests of one person, and for one number, stand in line here.
    PERFORM 1 FROM identity.people AS owner WHERE owner.id = held.person FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock(hashtextextended(to_number, 0));
    IF NOT identity.is_proved(held.session) THEN
        RETURN 'unproved';
    END IF;
    IF EXISTS (SELECT FROM identity.phones AS owned WHERE owned.person_id = held.person AND owned.number = to_number) THEN
        RETURN 'taken';
    END IF;
    IF (SELECT count(*) FROM identity.codes AS sent WHERE sent.person_id = held.person AND sent.purpose = 'enrol_phone'
            AND sent.created_at > now() - interval '1 day') >= 6
        OR (SELECT count(*) FROM identity.phones AS owned WHERE owned.person_id = held.person) >= 3
        OR (SELECT count(*) FROM identity.codes AS sent WHERE sent.number = to_number AND sent.purpose = 'enrol_phone'
            AND sent.created_at > now() - interval '5 minutes') >= 2 THEN
        RETURN 'enough';
    END IF;
    -- People, not codes: a handful who never use theirs must not close a country to everybody else.
    SELECT count(DISTINCT sent.person_id), count(DISTINCT sent.person_id) FILTER (WHERE sent.accepted_at IS NOT NULL) INTO asked, used
        FROM identity.codes AS sent WHERE sent.country = in_country AND sent.purpose = 'enrol_phone'
          AND sent.created_at BETWEEN now() - interval '1 day' AND now() - interval '10 minutes';
    IF asked >= 30 AND used * 5 < asked THEN
        PERFORM audit.append_as(NULL, 'system', NULL, NULL, 'code.refused', 'country', in_country, 'refused', NULL, NULL,
            jsonb_build_object('reason', 'most people who ask for codes to this country never use them', 'asked', asked, 'used', used));
        RETURN 'pumped';
    END IF;
    RETURN 'yes';
END $$;

-- Sends it: 'sent', or why not, as above.
CREATE FUNCTION signin.send_enrolment_code(secret text, to_number text, in_country text) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    verdict text := signin.may_enrol_phone(secret, to_number, in_country);
BEGIN
    IF verdict <> 'yes' THEN
        RETURN verdict;
    END IF;
    SELECT * INTO held FROM identity.bearer('session', secret, NULL);
    PERFORM identity.issue_code(held.person, NULL, held.session, 'enrol_phone', to_number, in_country, true);
    RETURN 'sent';
END $$;

-- Counts a try of the bearer's live code, then gives what it is compared with. 'tried', 'none' (no live code, or its three tries
-- are used up) or 'paused'. `wanted` 'enrol_phone' or 'prove'. The count is committed before anything is compared.
CREATE FUNCTION signin.try_code(kind text, secret text, device bytea, wanted text)
RETURNS TABLE (outcome text, code_id uuid, digest bytea, attempt_id uuid) LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    tried uuid;
    code record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF held.person IS NULL THEN
        RETURN QUERY SELECT 'none'::text, NULL::uuid, NULL::bytea, NULL::uuid;
        RETURN;
    END IF;
    IF wanted <> 'enrol_phone' THEN
        tried := identity.begin_attempt(held.person, held.on_device, 'phone');
        IF tried IS NULL THEN
            RETURN QUERY SELECT 'paused'::text, NULL::uuid, NULL::bytea, NULL::uuid;
            RETURN;
        END IF;
    END IF;
    UPDATE identity.codes AS live SET attempts = live.attempts + 1
        WHERE live.id = (SELECT latest.id FROM identity.codes AS latest
                WHERE (latest.ticket_id = held.ticket OR latest.session_id = held.session)
                  AND latest.purpose = CASE wanted WHEN 'enrol_phone' THEN 'enrol_phone' ELSE held.purpose END
                ORDER BY latest.created_at DESC, latest.id LIMIT 1)
          AND live.used_at IS NULL AND live.expires_at > now() AND live.attempts < 3
        RETURNING live.id, live.digest INTO code;
    IF code.id IS NULL THEN
        -- Nothing was there to be guessed, so nothing is counted against the account.
        DELETE FROM identity.factor_attempts AS unused WHERE unused.id = tried;
        RETURN QUERY SELECT 'none'::text, NULL::uuid, NULL::bytea, NULL::uuid;
        RETURN;
    END IF;
    RETURN QUERY SELECT 'tried'::text, code.id, code.digest, tried;
END $$;

-- Uses a code up that was found to be right: of any number of takers one gets true, and only the bearer whose code it is.
CREATE FUNCTION signin.accept_code(kind text, secret text, device bytea, code uuid, attempt uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    taken record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    PERFORM 1 FROM identity.people AS owner WHERE owner.id = held.person FOR NO KEY UPDATE;
    -- A phone that was removed meanwhile proves nothing any more.
    UPDATE identity.codes AS live SET used_at = now(), accepted_at = now()
        WHERE live.id = code AND live.used_at IS NULL AND live.attempts > 0 AND live.expires_at > now()
          AND (live.ticket_id = held.ticket OR live.session_id = held.session)
          AND CASE WHEN live.purpose = 'enrol_phone' THEN identity.is_proved(held.session)
                  AND (SELECT count(*) FROM identity.phones AS owned WHERE owned.person_id = held.person) < 3
              ELSE EXISTS (SELECT FROM identity.phones AS owned WHERE owned.person_id = held.person
                  AND owned.number = live.number) END
        RETURNING * INTO taken;
    IF taken.id IS NULL THEN
        RETURN false;
    END IF;
    PERFORM identity.mark_proved(held.ticket, held.session, attempt);
    PERFORM audit.append_as(NULL, 'person', held.person, NULL, 'code.accepted', 'person', held.person::text, 'succeeded', NULL,
        NULL, jsonb_build_object('purpose', taken.purpose));
    IF taken.purpose = 'enrol_phone' THEN
        INSERT INTO identity.phones (person_id, number) VALUES (held.person, taken.number) ON CONFLICT DO NOTHING;
        PERFORM identity.tell_factor_change(held.person, 'factor.enrolled', 'phone_added', '…' || right(taken.number, 2));
    ELSE
        UPDATE identity.phones AS owned SET last_used_at = now() WHERE owned.person_id = held.person AND owned.number = taken.number;
    END IF;
    RETURN true;
END $$;

-- Leaves a wrong code of any way in the log and in the sign-in history.
CREATE FUNCTION signin.record_wrong_code(kind text, secret text, device bytea, on_way text, user_agent text, address text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF held.person IS NOT NULL THEN
        INSERT INTO identity.sign_in_history (person_id, outcome, user_agent, address)
            VALUES (held.person, 'refused', left(user_agent, 400), left(address, 64));
        PERFORM audit.append_as(NULL, 'visitor', held.person, NULL, 'code.refused', 'person', held.person::text, 'refused', NULL,
            address, jsonb_build_object('way', on_way, 'purpose', held.purpose));
    END IF;
END $$;

-- ── Authenticator apps ─────────────────────────────────────────────────────────────────────────────────
-- Counts a try, then gives the sealed secrets that it is compared with. No row: no bearer, no app, or paused (`paused` true).
CREATE FUNCTION signin.try_authenticator(kind text, secret text, device bytea)
RETURNS TABLE (paused boolean, attempt_id uuid, id uuid, sealed bytea, last_step bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
    tried uuid;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF NOT EXISTS (SELECT FROM identity.authenticators AS app WHERE app.person_id = held.person AND app.confirmed_at IS NOT NULL) THEN
        RETURN;
    END IF;
    tried := identity.begin_attempt(held.person, held.on_device, 'authenticator');
    IF tried IS NULL THEN
        RETURN QUERY SELECT true, NULL::uuid, NULL::uuid, NULL::bytea, NULL::bigint;
        RETURN;
    END IF;
    RETURN QUERY SELECT false, tried, app.id, app.sealed, app.last_step FROM identity.authenticators AS app
        WHERE app.person_id = held.person AND app.confirmed_at IS NOT NULL;
END $$;

-- Uses up the time step whose code was found to be right. False: that step, or a later one, is used up already.
CREATE FUNCTION signin.accept_authenticator(kind text, secret text, device bytea, app_id uuid, step bigint, attempt uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    UPDATE identity.authenticators AS app SET last_step = step, last_used_at = now()
        WHERE app.id = app_id AND app.person_id = held.person AND app.confirmed_at IS NOT NULL AND app.last_step < step;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM identity.mark_proved(held.ticket, held.session, attempt);
    PERFORM audit.append_as(NULL, 'person', held.person, NULL, 'factor.proved', 'person', held.person::text, 'succeeded', NULL,
        NULL, jsonb_build_object('way', 'authenticator', 'purpose', held.purpose));
    RETURN true;
END $$;

-- ── Recovery codes (each is a secret that cannot be guessed, so their tries are not counted here) ──────────────
CREATE FUNCTION signin.use_recovery_code(kind text, secret text, device bytea, presented bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    UPDATE identity.recovery_codes AS spare SET used_at = now()
        WHERE spare.person_id = held.person AND spare.digest = presented AND spare.used_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM identity.mark_proved(held.ticket, held.session, NULL);
    PERFORM identity.tell_factor_change(held.person, 'factor.proved', 'recovery_code_used', held.purpose);
    RETURN true;
END $$;

-- ── Passkeys ───────────────────────────────────────────────────────────────────────────────────────────
-- Keeps a challenge for this bearer (`kind` '' for a visitor who signs in without a password). False: no such bearer.
CREATE FUNCTION signin.keep_challenge(kind text, secret text, device bytea, wanted text, fresh bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    IF wanted = 'sign_in' THEN
        INSERT INTO identity.challenges (challenge, purpose, device_digest) VALUES (fresh, 'sign_in', device);
        RETURN true;
    END IF;
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF held.person IS NULL OR (wanted = 'enrol_passkey' AND NOT identity.is_proved(held.session)) THEN
        RETURN false;
    END IF;
    INSERT INTO identity.challenges (challenge, purpose, ticket_id, session_id, device_digest)
        VALUES (fresh, wanted, held.ticket, held.session, held.on_device);
    RETURN true;
END $$;

-- Uses a challenge up before its answer is looked at. False: not ours, not this bearer's, not this purpose's, late or used.
CREATE FUNCTION signin.take_challenge(kind text, secret text, device bytea, wanted text, presented bytea) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    UPDATE identity.challenges AS asked SET used_at = now()
        WHERE asked.challenge = presented AND asked.purpose = wanted AND asked.used_at IS NULL AND asked.expires_at > now()
          AND CASE WHEN wanted = 'sign_in' THEN asked.device_digest = device
              ELSE asked.ticket_id = held.ticket OR asked.session_id = held.session END;
    RETURN FOUND;
END $$;

CREATE FUNCTION signin.passkey(credential bytea) RETURNS TABLE (id uuid, person_id uuid, public_key bytea, sign_count bigint)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT held.id, held.person_id, held.public_key, held.sign_count FROM identity.passkeys AS held
        JOIN identity.people AS owner ON owner.id = held.person_id AND owner.disabled_at IS NULL
        WHERE held.credential_id = credential
$$;

-- For functions below: notes a use. False: gone, or its counter did not grow (a copy of the key was used).
CREATE FUNCTION identity.count_passkey(passkey uuid, counted bigint) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
BEGIN
    UPDATE identity.passkeys AS held SET sign_count = counted, last_used_at = now()
        WHERE held.id = passkey AND (counted > held.sign_count OR (counted = 0 AND held.sign_count = 0));
    RETURN FOUND;
END $$;

CREATE FUNCTION signin.accept_passkey(kind text, secret text, device bytea, passkey uuid, counted bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    held record;
BEGIN
    SELECT * INTO held FROM identity.bearer(kind, secret, device);
    IF NOT EXISTS (SELECT FROM identity.passkeys AS owned WHERE owned.id = passkey AND owned.person_id = held.person)
        OR NOT identity.count_passkey(passkey, counted) THEN
        RETURN false;
    END IF;
    PERFORM identity.mark_proved(held.ticket, held.session, NULL);
    PERFORM audit.append_as(NULL, 'person', held.person, NULL, 'factor.proved', 'person', held.person::text, 'succeeded', NULL,
        NULL, jsonb_build_object('way', 'passkey', 'purpose', held.purpose));
    RETURN true;
END $$;

GRANT EXECUTE ON FUNCTION signin.bearer, signin.ways, signin.phone_number, signin.send_code,
    signin.may_enrol_phone, signin.send_enrolment_code, signin.try_code,
    signin.accept_code, signin.record_wrong_code, signin.try_authenticator, signin.accept_authenticator, signin.use_recovery_code,
    signin.keep_challenge, signin.take_challenge, signin.passkey, signin.accept_passkey TO operalta_signin;
