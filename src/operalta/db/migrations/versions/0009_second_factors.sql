-- Second factors: phones, authenticator apps, passkeys, recovery codes; and what is in the air while one is proved.

-- When this session last proved the password, and a second factor. A session of before keeps what it had.
ALTER TABLE identity.sessions ADD COLUMN password_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN second_factor_at timestamptz;
UPDATE identity.sessions SET password_at = created_at;
CREATE INDEX sessions_device ON identity.sessions (device_digest, person_id);

CREATE TABLE identity.phones (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    number text NOT NULL CHECK (number ~ '^\+[1-9][0-9]{6,14}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    UNIQUE (person_id, number)
);
CALL scope.guard_table('identity.phones');

-- `sealed` holds the shared secret under the deployment's root key; `last_step` is the last time step that was used up.
CREATE TABLE identity.authenticators (
    id uuid PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    sealed bytea NOT NULL CHECK (length(sealed) <= 400),
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX authenticators_person ON identity.authenticators (person_id);
CALL scope.guard_table('identity.authenticators');

CREATE TABLE identity.passkeys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    credential_id bytea NOT NULL UNIQUE CHECK (length(credential_id) BETWEEN 1 AND 1023),
    public_key bytea NOT NULL CHECK (length(public_key) <= 4096),
    sign_count bigint NOT NULL DEFAULT 0,
    transports text[] NOT NULL DEFAULT '{}' CHECK (cardinality(transports) <= 10),
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz
);
CREATE INDEX passkeys_person ON identity.passkeys (person_id);
CALL scope.guard_table('identity.passkeys');

CREATE TABLE identity.recovery_codes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    digest bytea NOT NULL CHECK (length(digest) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz,
    UNIQUE (person_id, digest)
);
CALL scope.guard_table('identity.recovery_codes');

-- The way between the right password (or the mailed link of a reset) and the second factor. Bound to one device.
CREATE TABLE identity.tickets (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'reset_password')),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    device_digest bytea NOT NULL,
    seen_hash text,                                   -- sign_in: the hash that the password was compared with
    link_id uuid REFERENCES identity.links (id) ON DELETE CASCADE,
    scheme text, pepper_version integer, hash text,   -- reset_password: the new password, until the factor is proved
    user_agent text NOT NULL CHECK (length(user_agent) <= 400),
    address text NOT NULL CHECK (length(address) <= 64),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '15 minutes',
    proved_at timestamptz,
    used_at timestamptz,
    CHECK ((purpose = 'sign_in') = (seen_hash IS NOT NULL)),
    CHECK ((purpose = 'reset_password') = (link_id IS NOT NULL AND hash IS NOT NULL))
);
CREATE INDEX tickets_person ON identity.tickets (person_id);
CALL scope.guard_table('identity.tickets');

-- One-time codes by SMS. The digest (keyed, clause 2.2.5) comes with the sender, who makes the code; until then there is none.
CREATE TABLE identity.codes (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    ticket_id uuid REFERENCES identity.tickets (id) ON DELETE CASCADE,
    session_id uuid REFERENCES identity.sessions (id) ON DELETE CASCADE,
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'reset_password', 'step_up', 'enrol_phone')),
    number text NOT NULL CHECK (number ~ '^\+[1-9][0-9]{6,14}$'),
    country text NOT NULL CHECK (length(country) BETWEEN 2 AND 3),
    digest bytea CHECK (length(digest) = 32),
    known boolean NOT NULL DEFAULT false,             -- whether the account knew the device that asked
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 3),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    used_at timestamptz,                              -- used, or void because a newer one was asked for
    accepted_at timestamptz,
    CHECK (num_nonnulls(ticket_id, session_id) = 1),
    CHECK ((digest IS NULL) = (expires_at IS NULL))
);
CREATE INDEX codes_ticket ON identity.codes (ticket_id) WHERE ticket_id IS NOT NULL;
CREATE INDEX codes_session ON identity.codes (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX codes_sent ON identity.codes (country, created_at);
CREATE INDEX codes_person ON identity.codes (person_id, created_at);
CALL scope.guard_table('identity.codes');

-- What an authenticator has to sign (WebAuthn), once.
CREATE TABLE identity.challenges (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    challenge bytea NOT NULL UNIQUE CHECK (length(challenge) BETWEEN 32 AND 64),
    purpose text NOT NULL CHECK (purpose IN ('sign_in', 'second_factor', 'step_up', 'enrol_passkey')),
    ticket_id uuid REFERENCES identity.tickets (id) ON DELETE CASCADE,
    session_id uuid REFERENCES identity.sessions (id) ON DELETE CASCADE,
    device_digest bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '5 minutes',
    used_at timestamptz,
    CHECK (CASE purpose WHEN 'sign_in' THEN num_nonnulls(ticket_id, session_id) = 0
        WHEN 'second_factor' THEN ticket_id IS NOT NULL AND session_id IS NULL
        ELSE session_id IS NOT NULL AND ticket_id IS NULL END)
);
CREATE INDEX challenges_expiry ON identity.challenges (expires_at);
CALL scope.guard_table('identity.challenges');

-- Every try of a code that can be guessed. `standing`: what the account knew of the device when it tried.
CREATE TABLE identity.factor_attempts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    way text NOT NULL CHECK (way IN ('phone', 'authenticator')),
    standing text NOT NULL CHECK (standing IN ('stranger', 'trusted', 'known')),
    device_digest bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    succeeded boolean NOT NULL DEFAULT false
);
CREATE INDEX factor_attempts_person ON identity.factor_attempts (person_id, way, at);
CALL scope.guard_table('identity.factor_attempts');

-- Devices on which the mailed link was opened that lifts a pause.
CREATE TABLE identity.trusted_devices (
    person_id uuid NOT NULL REFERENCES identity.people (id) ON DELETE CASCADE,
    device_digest bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person_id, device_digest)
);
CALL scope.guard_table('identity.trusted_devices');

ALTER TABLE identity.links DROP CONSTRAINT links_purpose_check;
ALTER TABLE identity.links ADD CONSTRAINT links_purpose_check
    CHECK (purpose IN ('confirm_sign_up', 'verify_address', 'reset_password', 'invitation', 'operator', 'trust_device'));

-- A refused attempt on an address without an account leaves a row as well (of nobody, gone within the hour), so that the
-- work, and with it the time, is the same for everybody.
ALTER TABLE identity.sign_in_history ALTER COLUMN person_id DROP NOT NULL;

-- ── Messages: SMS beside mail ──────────────────────────────────────────────────────────────────────────
ALTER TABLE delivery.messages DROP CONSTRAINT messages_kind_check;
ALTER TABLE delivery.messages ADD CONSTRAINT messages_kind_check CHECK (kind IN ('confirm_sign_up', 'already_registered',
    'verify_address', 'reset_password', 'password_changed', 'invitation', 'new_device', 'factor_changed', 'trust_device', 'code'));
ALTER TABLE delivery.messages DROP CONSTRAINT messages_status_check;
ALTER TABLE delivery.messages ADD CONSTRAINT messages_status_check
    CHECK (status IN ('queued', 'sent', 'failed', 'delivered', 'undelivered'));
ALTER TABLE delivery.messages ADD COLUMN code_id uuid REFERENCES identity.codes (id) ON DELETE CASCADE,
    ADD COLUMN provider_reference text UNIQUE CHECK (length(provider_reference) <= 100);
ALTER TABLE delivery.messages ADD CONSTRAINT messages_code_check CHECK ((kind = 'code') = (code_id IS NOT NULL));
ALTER TABLE delivery.outbox ADD COLUMN channel text NOT NULL DEFAULT 'mail' CHECK (channel IN ('mail', 'sms'));

-- ── What a person may see of it ────────────────────────────────────────────────────────────────────────
GRANT SELECT (id, person_id, number, created_at, last_used_at) ON identity.phones TO operalta_web;
CREATE POLICY self_read ON identity.phones FOR SELECT TO operalta_web USING (person_id = (SELECT scope.scope_person()));
GRANT SELECT (id, person_id, name, created_at, confirmed_at, last_used_at) ON identity.authenticators TO operalta_web;
CREATE POLICY self_read ON identity.authenticators FOR SELECT TO operalta_web USING (person_id = (SELECT scope.scope_person()));
GRANT SELECT (id, person_id, name, created_at, last_used_at) ON identity.passkeys TO operalta_web;
CREATE POLICY self_read ON identity.passkeys FOR SELECT TO operalta_web USING (person_id = (SELECT scope.scope_person()));
GRANT SELECT (person_id, created_at, used_at) ON identity.recovery_codes TO operalta_web;
CREATE POLICY self_read ON identity.recovery_codes FOR SELECT TO operalta_web USING (person_id = (SELECT scope.scope_person()));
-- Hashes stay out of every serving role's reach; when the password was set is told by itself.
CREATE FUNCTION identity.own_password_changed_at() RETURNS timestamptz LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT changed_at FROM identity.passwords WHERE person_id = scope.scope_person()
$$;
GRANT EXECUTE ON FUNCTION identity.own_password_changed_at TO operalta_web;
