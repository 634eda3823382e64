-- One card for calls proposed together; who may decide which class of tool, held by the rows themselves; a decision that is void
-- once its giver may no longer give it; mail that only opens the page.

-- ── Cards: the first question of a card stands for it, the others refer to it (NULL: it is the first, or alone) ──────────
ALTER TABLE agents.approvals
    ADD COLUMN card_id uuid,
    ADD COLUMN mailed_at timestamptz,
    ADD UNIQUE (company_id, run_id, id),
    ADD FOREIGN KEY (company_id, run_id, card_id) REFERENCES agents.approvals (company_id, run_id, id) ON DELETE CASCADE;
CREATE INDEX approvals_card ON agents.approvals (company_id, run_id, card_id) WHERE card_id IS NOT NULL;
-- What waits since before is not written about now.
UPDATE agents.approvals SET mailed_at = asked_at;
CREATE INDEX approvals_unmailed ON agents.approvals (asked_at) WHERE decision IS NULL AND mailed_at IS NULL;
GRANT INSERT (card_id) ON agents.approvals TO operalta_worker;

-- ── Who may decide about which class of tool: only ever fewer than those who hold approvals:decide, founders always ──────
CREATE TABLE agents.approval_rules (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    tool_class text NOT NULL CHECK (tool_class IN ('read', 'delegate', 'write_own', 'write_shared', 'egress', 'execute', 'money', 'identity',
        'publish', 'destroy')),
    roles text[] NOT NULL CHECK ('founder' = ANY (roles) AND cardinality(roles) <= 10),
    -- Whoever asked for it may not decide it.
    second_person boolean NOT NULL,
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, tool_class),
    FOREIGN KEY (company_id, changed_by) REFERENCES tenancy.memberships (company_id, person_id)
);
CREATE INDEX approval_rules_changed_by ON agents.approval_rules (company_id, changed_by);
CALL scope.guard_table('agents.approval_rules');

-- Who wants mail about questions that wait: about those of their own agents (also without a row), about all, or about none.
CREATE TABLE agents.approval_mail (
    company_id uuid NOT NULL,
    person_id uuid NOT NULL,
    wanted text NOT NULL CHECK (wanted IN ('own', 'all', 'none')),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, person_id),
    FOREIGN KEY (company_id, person_id) REFERENCES tenancy.memberships (company_id, person_id) ON DELETE CASCADE
);
CALL scope.guard_table('agents.approval_mail');

-- ── For functions alone ────────────────────────────────────────────────────────────────────────────────
-- What holds in a company for each class: its own rule, else founders alone for what moves money, changes who may do what,
-- publishes or destroys, and everybody who decides approvals for the rest.
CREATE FUNCTION agents.class_rules(in_company uuid)
RETURNS TABLE (tool_class text, roles text[], second_person boolean, changed_by uuid, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT known.tool_class,
        ARRAY(SELECT granted.role FROM access.role_permissions AS granted
            WHERE granted.company_kind = host.kind AND granted.permission = 'approvals:decide'
              AND CASE WHEN granted.role = 'founder' THEN true
                  WHEN rule.roles IS NULL THEN known.tool_class NOT IN ('money', 'identity', 'publish', 'destroy')
                  ELSE granted.role = ANY (rule.roles) END ORDER BY granted.role),
        coalesce(rule.second_person, false), rule.changed_by, rule.changed_at
    FROM tenancy.companies AS host
    CROSS JOIN unnest(ARRAY['read', 'delegate', 'write_own', 'write_shared', 'egress', 'execute', 'money', 'identity', 'publish', 'destroy'])
        WITH ORDINALITY AS known (tool_class, place)
    LEFT JOIN agents.approval_rules AS rule ON rule.company_id = host.id AND rule.tool_class = known.tool_class
    WHERE host.id = in_company ORDER BY known.place
$$;

-- The classes that somebody may decide about, now: where they ask for it themselves, or where somebody else does.
CREATE FUNCTION agents.classes_of(in_company uuid, person uuid, asked_by_themselves boolean) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce(array_agg(rule.tool_class ORDER BY rule.tool_class), '{}') FROM tenancy.memberships AS membership
        JOIN identity.people AS member ON member.id = membership.person_id AND member.disabled_at IS NULL
        CROSS JOIN agents.class_rules(in_company) AS rule
        WHERE membership.company_id = in_company AND membership.person_id = person AND membership.ended_at IS NULL
          AND membership.role = ANY (rule.roles) AND NOT (rule.second_person AND asked_by_themselves)
$$;

-- ── For policies and statements ────────────────────────────────────────────────────────────────────────
-- The classes that the person of the scope, in a session of their own, may decide about.
CREATE FUNCTION scope.classes_to_decide(asked_by_themselves boolean) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT CASE WHEN scope.scope_kind() = 'person' AND scope.may('approvals:decide')
        THEN agents.classes_of(scope.scope_company(), scope.scope_person(), asked_by_themselves) ELSE '{}' END
$$;

-- Whether a yes of the scope's company still counts: whoever gave it is a member since before, may decide about that class now, and
-- the session in which it was given was not taken from them, nor their password changed by another one. Signing out is no such end.
CREATE FUNCTION scope.decision_stands(approval uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM agents.approvals AS given
        JOIN identity.sessions AS held ON held.id = given.decided_session AND held.person_id = given.decided_by
        JOIN tenancy.memberships AS membership ON membership.company_id = given.company_id
            AND membership.person_id = given.decided_by AND membership.created_at <= given.decided_at
        WHERE given.company_id = scope.scope_company() AND given.id = approval AND given.decision IN ('once', 'conversation')
          AND (given.private_to IS NULL OR given.private_to = scope.scope_reader())
          AND (held.ended_at IS NULL OR held.ended_reason = 'signed out' AND NOT EXISTS (SELECT FROM identity.passwords AS password
              WHERE password.person_id = given.decided_by AND password.changed_at > given.decided_at))
          AND given.tool_class = ANY (agents.classes_of(given.company_id, given.decided_by, given.decided_by = given.requester_id)))
$$;
-- Those of the scope's own run that can still be used, for the policy of the statement that uses one up.
CREATE FUNCTION scope.decisions_to_use() RETURNS uuid[] LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT coalesce(array_agg(given.id), '{}') FROM agents.approvals AS given
        WHERE given.company_id = scope.scope_company() AND given.run_id = scope.scope_run() AND given.consumed_at IS NULL
          AND given.decision IN ('once', 'conversation') AND scope.decision_stands(given.id)
$$;
GRANT EXECUTE ON FUNCTION scope.classes_to_decide TO operalta_web;
GRANT EXECUTE ON FUNCTION scope.decisions_to_use TO operalta_worker;
GRANT EXECUTE ON FUNCTION scope.decision_stands TO operalta_web, operalta_worker;

-- A question is about the run that asks it, in every part that says for whom and where.
ALTER POLICY run_insert ON agents.approvals
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND requester_id = (SELECT scope.scope_person())
        AND expires_at <= now() + interval '7 days'
        AND EXISTS (SELECT FROM agents.runs AS run WHERE run.company_id = approvals.company_id AND run.id = approvals.run_id
            AND run.conversation_id = approvals.conversation_id AND run.agent_id = approvals.agent_id
            AND run.private_to IS NOT DISTINCT FROM approvals.private_to));
ALTER POLICY run_consume ON agents.approvals
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND run_id = (SELECT scope.scope_run()) AND consumed_at IS NULL AND decision IN ('once', 'conversation')
        AND expires_at > now() AND id = ANY ((SELECT scope.decisions_to_use())::uuid[]));
ALTER POLICY person_decide ON agents.approvals
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND (SELECT scope.scope_kind()) = 'person' AND decision IS NULL AND expires_at > now()
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader()))
        AND CASE WHEN requester_id = (SELECT scope.scope_person()) THEN tool_class = ANY ((SELECT scope.classes_to_decide(true))::text[])
            ELSE tool_class = ANY ((SELECT scope.classes_to_decide(false))::text[]) END)
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND decided_by = (SELECT scope.scope_person()) AND decided_session = (SELECT scope.scope_session())
        AND decided_at = now() AND decision IS NOT NULL
        AND (decision <> 'conversation' OR tool_class NOT IN ('money', 'identity', 'publish', 'destroy', 'execute')));
-- A grant comes with its decision, in that transaction: what was revoked is not given once more without a new question.
ALTER POLICY person_insert ON agents.grants
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('approvals:decide')))
        AND (SELECT scope.scope_kind()) = 'person' AND given_by = (SELECT scope.scope_person())
        AND EXISTS (SELECT FROM agents.approvals AS approval WHERE approval.company_id = grants.company_id
            AND approval.id = grants.approval_id AND approval.decision = 'conversation' AND approval.decided_at = now()
            AND approval.decided_by = (SELECT scope.scope_person()) AND approval.requester_id = grants.requester_id
            AND approval.conversation_id = grants.conversation_id AND approval.tool = grants.tool
            AND approval.tool_hash = grants.tool_hash AND approval.argument_shape = grants.argument_shape
            AND approval.private_to IS NOT DISTINCT FROM grants.private_to));

-- ── A run that is over asks nothing any more ───────────────────────────────────────────────────────────
CREATE FUNCTION agents.end_questions_of_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE agents.approvals AS asked SET expires_at = now() WHERE asked.company_id = NEW.company_id AND asked.run_id = NEW.id
        AND asked.decision IS NULL AND asked.expires_at > now();
    RETURN NULL;
END $$;
CREATE TRIGGER end_questions AFTER UPDATE OF status ON agents.runs FOR EACH ROW
    WHEN (NEW.status IN ('finished', 'failed', 'stopped')) EXECUTE FUNCTION agents.end_questions_of_run();
UPDATE agents.approvals AS asked SET expires_at = now() FROM agents.runs AS run WHERE run.company_id = asked.company_id
    AND run.id = asked.run_id AND run.status IN ('finished', 'failed', 'stopped') AND asked.decision IS NULL
    AND asked.expires_at > now();

-- ── Looking at the rules, and changing them ────────────────────────────────────────────────────────────
CREATE FUNCTION agents.approval_rules_here()
RETURNS TABLE (tool_class text, roles text[], second_person boolean, changed_by uuid, changed_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT rule.tool_class, rule.roles, rule.second_person, rule.changed_by, rule.changed_at
        FROM agents.class_rules(scope.company_permitting('approvals:read')) AS rule
$$;

-- 'changed'; 'unchanged'; 'unproved': prove yourself first; 'refused': no such class, a role that decides nothing, or not theirs.
CREATE FUNCTION agents.change_approval_rule(class text, for_roles text[], second boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('company:manage');
    wanted text[];
    before record;
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR for_roles IS NULL OR second IS NULL
        OR NOT for_roles <@ scope.roles_permitted('approvals:decide') OR array_position(for_roles, NULL) IS NOT NULL THEN
        RETURN 'refused';
    END IF;
    -- One after the other: the log says from what to what.
    PERFORM FROM tenancy.companies AS host WHERE host.id = in_company FOR NO KEY UPDATE;
    SELECT rule.roles, rule.second_person INTO before FROM agents.class_rules(in_company) AS rule WHERE rule.tool_class = class;
    IF NOT FOUND THEN
        RETURN 'refused';
    END IF;
    wanted := ARRAY(SELECT DISTINCT each.role FROM unnest(for_roles || 'founder'::text) AS each (role) ORDER BY each.role);
    IF before.roles = wanted AND before.second_person = second THEN
        RETURN 'unchanged';
    ELSIF NOT scope.recently_proved() THEN
        RETURN 'unproved';
    END IF;
    INSERT INTO agents.approval_rules AS known (company_id, tool_class, roles, second_person, changed_by)
        VALUES (in_company, class, wanted, second, scope.scope_person())
        ON CONFLICT (company_id, tool_class) DO UPDATE SET roles = excluded.roles, second_person = excluded.second_person,
            changed_by = excluded.changed_by, changed_at = now();
    PERFORM audit.append_as(in_company, 'person', scope.scope_person(), NULL, 'approval_rule.changed', 'tool_class', class, 'succeeded',
        NULL, NULL, jsonb_build_object('roles', wanted, 'second_person', second, 'before_roles', before.roles,
            'before_second_person', before.second_person));
    RETURN 'changed';
END $$;

-- What the person of the scope wants mail about here; NULL where they decide nothing.
CREATE FUNCTION agents.own_approval_mail() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT CASE WHEN scope.scope_kind() = 'person' AND scope.may('approvals:decide') THEN coalesce(
        (SELECT chosen.wanted FROM agents.approval_mail AS chosen WHERE chosen.company_id = scope.scope_company()
            AND chosen.person_id = scope.scope_person()), 'own') END
$$;
CREATE FUNCTION agents.choose_approval_mail(mail text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    in_company uuid := credentials.here('approvals:decide');
BEGIN
    IF in_company IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' OR mail IS NULL OR mail NOT IN ('own', 'all', 'none') THEN
        RETURN false;
    END IF;
    INSERT INTO agents.approval_mail AS chosen (company_id, person_id, wanted) VALUES (in_company, scope.scope_person(), mail)
        ON CONFLICT (company_id, person_id) DO UPDATE SET wanted = excluded.wanted, changed_at = now();
    RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION agents.approval_rules_here, agents.change_approval_rule, agents.own_approval_mail,
    agents.choose_approval_mail TO operalta_web;

-- ── Mail about a card that has waited for a minute: who asks, which agent, which tools; no argument, and no link that decides ──
ALTER TABLE delivery.messages DROP CONSTRAINT messages_kind_check;
ALTER TABLE delivery.messages ADD CONSTRAINT messages_kind_check CHECK (kind IN ('confirm_sign_up', 'already_registered',
    'verify_address', 'reset_password', 'password_changed', 'invitation', 'new_device', 'factor_changed', 'trust_device', 'code',
    'staff_access', 'ownership', 'approval_waiting'));

-- For functions: whether a card holds a question that waits and about which somebody wants mail, who may decide it.
CREATE FUNCTION agents.card_waits_for(in_company uuid, card uuid, person uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM agents.approvals AS asked
        LEFT JOIN agents.approval_mail AS chosen ON chosen.company_id = asked.company_id AND chosen.person_id = person
        WHERE asked.company_id = in_company AND coalesce(asked.card_id, asked.id) = card
          AND asked.decision IS NULL AND asked.expires_at > now() AND (asked.private_to IS NULL OR asked.private_to = person)
          AND CASE coalesce(chosen.wanted, 'own') WHEN 'all' THEN true WHEN 'own' THEN asked.requester_id = person ELSE false END
          AND asked.tool_class = ANY (agents.classes_of(in_company, person, asked.requester_id = person)))
$$;

-- One mail for a card and reader, six an hour for each reader. Returns how many are on their way.
CREATE FUNCTION elevated.mail_waiting_approvals() RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    card record;
    reader record;
    facts jsonb;
    told integer := 0;
BEGIN
    FOR card IN
        WITH due AS (SELECT asked.company_id, asked.id FROM agents.approvals AS asked
                WHERE asked.mailed_at IS NULL AND asked.decision IS NULL AND asked.expires_at > now()
                  AND asked.asked_at < now() - interval '1 minute' ORDER BY asked.asked_at LIMIT 100 FOR UPDATE SKIP LOCKED),
            marked AS (UPDATE agents.approvals AS asked SET mailed_at = now() FROM due
                WHERE asked.company_id = due.company_id AND asked.id = due.id
                RETURNING asked.company_id, coalesce(asked.card_id, asked.id) AS id, asked.run_id, asked.agent_id, asked.requester_id,
                    asked.tool)
        SELECT marked.company_id, marked.id, marked.run_id, marked.agent_id, marked.requester_id, count(*) AS questions,
                string_agg(DISTINCT marked.tool, ', ' ORDER BY marked.tool) AS tools
            FROM marked WHERE NOT EXISTS (SELECT FROM agents.approvals AS earlier WHERE earlier.company_id = marked.company_id
                AND marked.id IN (earlier.id, earlier.card_id) AND earlier.mailed_at IS NOT NULL)
            GROUP BY 1, 2, 3, 4, 5
    LOOP
        SELECT jsonb_build_object('company', host.name, 'slug', host.slug, 'card', card.id, 'agent', agent.name,
                'requester', requester.name, 'tools', left(card.tools, 400), 'questions', card.questions) INTO facts
            FROM tenancy.companies AS host JOIN agents.agents AS agent ON agent.company_id = host.id AND agent.id = card.agent_id
            JOIN identity.people AS requester ON requester.id = card.requester_id WHERE host.id = card.company_id;
        PERFORM audit.append_as(card.company_id, 'system', NULL, card.run_id, 'elevated.used', 'approval', card.id::text, 'succeeded',
            NULL, NULL, '{"purpose": "deliver mail"}');
        FOR reader IN SELECT person.id, person.email, person.name FROM tenancy.memberships AS membership
            JOIN identity.people AS person ON person.id = membership.person_id
            WHERE membership.company_id = card.company_id AND membership.ended_at IS NULL
              AND agents.card_waits_for(card.company_id, card.id, person.id)
              AND (SELECT count(*) FROM delivery.messages AS sent WHERE sent.person_id = person.id
                  AND sent.kind = 'approval_waiting' AND sent.created_at > now() - interval '1 hour') < 6
        LOOP
            PERFORM delivery.enqueue('approval_waiting', reader.email, reader.name, reader.id, NULL, card.company_id, NULL, facts);
            told := told + 1;
        END LOOP;
    END LOOP;
    RETURN told;
END $$;
GRANT EXECUTE ON FUNCTION elevated.mail_waiting_approvals TO operalta_job;

-- The sender looks once more: what was decided, or is not theirs to decide any more, is not written about.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'elevated.take_message'::regproc));
END $$;
CREATE OR REPLACE FUNCTION elevated.take_message(message uuid) RETURNS SETOF delivery.messages
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
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
    IF taken.kind = 'approval_waiting'
        AND NOT agents.card_waits_for(taken.company_id, (taken.facts ->> 'card')::uuid, taken.person_id) THEN
        DELETE FROM delivery.messages AS waiting WHERE waiting.id = message;
        RETURN;
    END IF;
    RETURN QUERY SELECT waiting.* FROM delivery.messages AS waiting WHERE waiting.id = message;
END $$;
RESET ROLE;
