-- The company's memory: records, metrics, files with their passages, conversations.

-- ── Memory ledger ──────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE workspace.records (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('decision', 'hypothesis', 'experiment', 'blocker')),
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    body text NOT NULL DEFAULT '' CHECK (length(body) <= 20000),
    status text NOT NULL CHECK (length(status) <= 40),
    evidence text NOT NULL DEFAULT '' CHECK (length(evidence) <= 4000),
    owner_id uuid NOT NULL REFERENCES identity.people (id),
    recorded_by uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    approval_id uuid,
    supersedes_id uuid,
    superseded_by_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    words tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', body), 'B')
        || setweight(to_tsvector('english', evidence), 'C')) STORED,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, supersedes_id) REFERENCES workspace.records (company_id, id),
    FOREIGN KEY (company_id, superseded_by_id) REFERENCES workspace.records (company_id, id)
);
CREATE INDEX records_kind ON workspace.records (company_id, kind, created_at DESC, id DESC);
CREATE INDEX records_words ON workspace.records USING gin (words);
CALL scope.guard_table('workspace.records');
GRANT SELECT ON workspace.records TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, kind, title, body, status, evidence, owner_id, recorded_by, run_id, approval_id, supersedes_id)
    ON workspace.records TO operalta_web, operalta_worker;
GRANT UPDATE (status, superseded_by_id, updated_at) ON workspace.records TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.records FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('memory:read')));
CREATE POLICY scoped_insert ON workspace.records FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('memory:write')))
        AND recorded_by = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run())
        AND (approval_id IS NULL OR (SELECT scope.scope_run()) IS NOT NULL));
CREATE POLICY scoped_update ON workspace.records FOR UPDATE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('memory:write'))))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('memory:write'))));

CREATE TABLE workspace.record_history (
    company_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    record_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    person_id uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    change text NOT NULL CHECK (change IN ('recorded', 'status changed', 'superseded')),
    before text CHECK (length(before) <= 400),
    after text CHECK (length(after) <= 400),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, record_id) REFERENCES workspace.records (company_id, id) ON DELETE CASCADE
);
CREATE INDEX record_history_record ON workspace.record_history (company_id, record_id, at);
CALL scope.guard_table('workspace.record_history');
GRANT SELECT ON workspace.record_history TO operalta_web, operalta_worker;
GRANT INSERT (company_id, record_id, person_id, run_id, change, before, after, note) ON workspace.record_history
    TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.record_history FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('memory:read')));
CREATE POLICY scoped_insert ON workspace.record_history FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('memory:write')))
        AND person_id = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()));

-- Text search through one narrow function: under row security the planner may not use the index, because `@@` is not
-- leakproof. It checks the scope, and returns ids, ranks and nothing else; the caller joins them under row security.
CREATE FUNCTION workspace.search_records(query text, wanted_kind text, most integer)
RETURNS TABLE (record_id uuid, rank real) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    asked tsquery := websearch_to_tsquery('english', left(query, 400));
    here uuid := scope.scope_company();
BEGIN
    IF here IS NULL OR NOT scope.may('memory:read') THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT record.id, ts_rank(record.words, asked) AS rank FROM workspace.records AS record
        WHERE record.company_id = here AND record.words @@ asked AND (wanted_kind IS NULL OR record.kind = wanted_kind)
        ORDER BY rank DESC, record.id DESC LIMIT least(greatest(most, 0), 200);
END $$;
GRANT EXECUTE ON FUNCTION workspace.search_records TO operalta_web, operalta_worker;

-- ── Metrics ────────────────────────────────────────────────────────────────────────────────────────────
CREATE TABLE workspace.metrics (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    slug text NOT NULL CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$'),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 120),
    definition text NOT NULL DEFAULT '' CHECK (length(definition) <= 2000),
    unit text NOT NULL DEFAULT '' CHECK (length(unit) <= 20),
    source text NOT NULL DEFAULT '' CHECK (length(source) <= 200),
    created_by uuid NOT NULL REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, slug)
);
CALL scope.guard_table('workspace.metrics');
GRANT SELECT ON workspace.metrics TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, slug, name, definition, unit, source, created_by) ON workspace.metrics TO operalta_web, operalta_worker;
GRANT UPDATE (name, definition, unit, source) ON workspace.metrics TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.metrics FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('metrics:read')));
CREATE POLICY scoped_insert ON workspace.metrics FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('metrics:write')))
        AND created_by = (SELECT scope.scope_person()));
CREATE POLICY scoped_update ON workspace.metrics FOR UPDATE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('metrics:write'))))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('metrics:write'))));

CREATE TABLE workspace.metric_points (
    company_id uuid NOT NULL,
    metric_id uuid NOT NULL,
    on_date date NOT NULL,
    value numeric(24, 6) NOT NULL,
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 400),
    recorded_by uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, metric_id, on_date),
    FOREIGN KEY (company_id, metric_id) REFERENCES workspace.metrics (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('workspace.metric_points');
GRANT SELECT ON workspace.metric_points TO operalta_web, operalta_worker;
GRANT INSERT (company_id, metric_id, on_date, value, note, recorded_by, run_id),
    UPDATE (value, note, recorded_by, run_id, recorded_at) ON workspace.metric_points TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.metric_points FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('metrics:read')));
CREATE POLICY scoped_insert ON workspace.metric_points FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('metrics:write')))
        AND recorded_by = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()));
CREATE POLICY scoped_update ON workspace.metric_points FOR UPDATE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('metrics:write'))))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('metrics:write')))
        AND recorded_by = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()));

-- ── Files: rows here, bytes below var/workspaces ───────────────────────────────────────────────────────
CREATE TABLE workspace.files (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    path text NOT NULL CHECK (length(path) BETWEEN 1 AND 400),
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    size bigint NOT NULL CHECK (size >= 0),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    content_type text NOT NULL CHECK (length(content_type) <= 120),
    origin text NOT NULL CHECK (origin IN ('upload', 'agent')),
    changed_by uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (company_id, id)
);
CREATE UNIQUE INDEX files_path ON workspace.files (company_id, path) WHERE deleted_at IS NULL;
CALL scope.guard_table('workspace.files');
GRANT SELECT ON workspace.files TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, path, size, sha256, content_type, origin, changed_by, run_id),
    UPDATE (version, size, sha256, content_type, origin, changed_by, run_id, changed_at, deleted_at)
    ON workspace.files TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.files FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('files:read')));
CREATE POLICY scoped_insert ON workspace.files FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND changed_by = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()));
CREATE POLICY scoped_update ON workspace.files FOR UPDATE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write'))))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND changed_by = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()));

CREATE TABLE workspace.file_versions (
    company_id uuid NOT NULL,
    file_id uuid NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    size bigint NOT NULL CHECK (size >= 0),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    changed_by uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, file_id, version),
    FOREIGN KEY (company_id, file_id) REFERENCES workspace.files (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('workspace.file_versions');
GRANT SELECT ON workspace.file_versions TO operalta_web, operalta_worker;
GRANT INSERT (company_id, file_id, version, size, sha256, changed_by, run_id) ON workspace.file_versions
    TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.file_versions FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('files:read')));
CREATE POLICY scoped_insert ON workspace.file_versions FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND changed_by = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()));

-- Passages of text files, for search and citations.
CREATE TABLE workspace.passages (
    company_id uuid NOT NULL,
    file_id uuid NOT NULL,
    position integer NOT NULL CHECK (position >= 0),
    heading text NOT NULL DEFAULT '' CHECK (length(heading) <= 200),
    body text NOT NULL CHECK (length(body) <= 4000),
    words tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', heading), 'A') || setweight(to_tsvector('english', body), 'B')) STORED,
    PRIMARY KEY (company_id, file_id, position),
    FOREIGN KEY (company_id, file_id) REFERENCES workspace.files (company_id, id) ON DELETE CASCADE
);
CREATE INDEX passages_words ON workspace.passages USING gin (words);
CALL scope.guard_table('workspace.passages');
GRANT SELECT, DELETE ON workspace.passages TO operalta_web, operalta_worker;
GRANT INSERT (company_id, file_id, position, heading, body) ON workspace.passages TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.passages FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('files:read')));
CREATE POLICY scoped_insert ON workspace.passages FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write'))));
CREATE POLICY scoped_delete ON workspace.passages FOR DELETE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write'))));

CREATE FUNCTION workspace.search_passages(query text, most integer)
RETURNS TABLE (file_id uuid, passage_position integer, rank real) LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    asked tsquery := websearch_to_tsquery('english', left(query, 400));
    here uuid := scope.scope_company();
BEGIN
    IF here IS NULL OR NOT scope.may('files:read') THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT passage.file_id, passage.position, ts_rank(passage.words, asked) AS rank
        FROM workspace.passages AS passage
        JOIN workspace.files AS file ON file.company_id = passage.company_id AND file.id = passage.file_id
        WHERE passage.company_id = here AND file.deleted_at IS NULL AND passage.words @@ asked
        ORDER BY rank DESC, passage.file_id, passage.position LIMIT least(greatest(most, 0), 50);
END $$;
GRANT EXECUTE ON FUNCTION workspace.search_passages TO operalta_web, operalta_worker;

-- ── Conversations: private to their owner, or for everybody in the company (private_to NULL) ───────────
CREATE TABLE workspace.conversations (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    created_by uuid NOT NULL REFERENCES identity.people (id),
    private_to uuid REFERENCES identity.people (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (company_id, id)
);
CREATE INDEX conversations_recent ON workspace.conversations (company_id, updated_at DESC, id DESC);
CALL scope.guard_table('workspace.conversations');
GRANT SELECT ON workspace.conversations TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, title, created_by, private_to) ON workspace.conversations TO operalta_web;
GRANT UPDATE (title, updated_at) ON workspace.conversations TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.conversations FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('agents:run'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY scoped_insert ON workspace.conversations FOR INSERT TO operalta_web
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND created_by = (SELECT scope.scope_person()) AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
CREATE POLICY scoped_update ON workspace.conversations FOR UPDATE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));

CREATE TABLE workspace.messages (
    company_id uuid NOT NULL,
    id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    private_to uuid REFERENCES identity.people (id),
    author_kind text NOT NULL CHECK (author_kind IN ('person', 'agent')),
    person_id uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    body text NOT NULL CHECK (length(body) BETWEEN 1 AND 40000),
    idempotency_key text CHECK (length(idempotency_key) BETWEEN 8 AND 200),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, id),
    UNIQUE (company_id, person_id, idempotency_key),
    FOREIGN KEY (company_id, conversation_id) REFERENCES workspace.conversations (company_id, id) ON DELETE CASCADE
);
CREATE INDEX messages_conversation ON workspace.messages (company_id, conversation_id, created_at, id);
CALL scope.guard_table('workspace.messages');
GRANT SELECT ON workspace.messages TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, conversation_id, private_to, author_kind, person_id, run_id, body, idempotency_key)
    ON workspace.messages TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.messages FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.scope_company()) AND (SELECT scope.may('agents:run'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_person())));
-- A person writes as a person in a session, an agent as an agent in its run; both only where the conversation is theirs to see.
CREATE POLICY scoped_insert ON workspace.messages FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('agents:run')))
        AND person_id = (SELECT scope.scope_person()) AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run())
        AND author_kind = CASE (SELECT scope.scope_kind()) WHEN 'run' THEN 'agent' ELSE 'person' END
        AND EXISTS (SELECT FROM workspace.conversations AS conversation WHERE conversation.company_id = messages.company_id
            AND conversation.id = messages.conversation_id AND conversation.private_to IS NOT DISTINCT FROM messages.private_to));
