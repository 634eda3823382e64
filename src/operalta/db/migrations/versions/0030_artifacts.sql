-- Artifacts: texts that people and agents work on together and keep. The row holds what a text says now, its versions all that it
-- ever said; a private one is its person's alone, as with conversations.

CREATE TABLE workspace.artifacts (
    company_id uuid NOT NULL REFERENCES tenancy.companies (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
    kind text NOT NULL CHECK (kind IN ('document', 'table', 'text')),
    content text NOT NULL CHECK (length(content) BETWEEN 1 AND 80000),
    version integer NOT NULL DEFAULT 1 CHECK (version BETWEEN 1 AND 10000),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    private_to uuid REFERENCES identity.people (id),
    -- Where it was begun, while that is there.
    conversation_id uuid,
    created_by uuid NOT NULL REFERENCES identity.people (id),
    -- Who did the last thing to it, in which run, with which key; under which approval what it says now was written.
    changed_by uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    api_key_id uuid,
    approval_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    words tsvector GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A') || setweight(to_tsvector('english', content), 'B')) STORED,
    PRIMARY KEY (company_id, id),
    FOREIGN KEY (company_id, conversation_id) REFERENCES workspace.conversations (company_id, id) ON DELETE SET NULL (conversation_id)
);
CREATE INDEX artifacts_recent ON workspace.artifacts (company_id, updated_at DESC, id DESC);
CREATE INDEX artifacts_words ON workspace.artifacts USING gin (words);
CALL scope.guard_table('workspace.artifacts');
GRANT SELECT ON workspace.artifacts TO operalta_web, operalta_worker;
GRANT INSERT (company_id, id, title, kind, content, note, private_to, conversation_id, created_by, changed_by, run_id, api_key_id,
    approval_id) ON workspace.artifacts TO operalta_web, operalta_worker;
GRANT UPDATE (title, content, note, changed_by, run_id, api_key_id, approval_id, updated_at, archived_at) ON workspace.artifacts
    TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.artifacts FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('files:read'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));
CREATE POLICY scoped_insert ON workspace.artifacts FOR INSERT TO operalta_web, operalta_worker
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND created_by = (SELECT scope.scope_person()) AND changed_by = (SELECT scope.scope_person())
        AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()) AND api_key_id IS NOT DISTINCT FROM (SELECT scope.scope_key())
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader()))
        AND (conversation_id IS NULL OR EXISTS (SELECT FROM workspace.conversations AS talk
            WHERE talk.company_id = artifacts.company_id AND talk.id = artifacts.conversation_id)));
CREATE POLICY scoped_update ON workspace.artifacts FOR UPDATE TO operalta_web, operalta_worker
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())))
    WITH CHECK (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND changed_by = (SELECT scope.scope_person())
        AND run_id IS NOT DISTINCT FROM (SELECT scope.scope_run()) AND api_key_id IS NOT DISTINCT FROM (SELECT scope.scope_key()));

CREATE TABLE workspace.artifact_versions (
    company_id uuid NOT NULL,
    artifact_id uuid NOT NULL,
    version integer NOT NULL,
    private_to uuid REFERENCES identity.people (id),
    content text NOT NULL,
    note text NOT NULL,
    changed_by uuid NOT NULL REFERENCES identity.people (id),
    run_id uuid,
    api_key_id uuid,
    approval_id uuid,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (company_id, artifact_id, version),
    FOREIGN KEY (company_id, artifact_id) REFERENCES workspace.artifacts (company_id, id) ON DELETE CASCADE
);
CALL scope.guard_table('workspace.artifact_versions');
GRANT SELECT ON workspace.artifact_versions TO operalta_web, operalta_worker;
CREATE POLICY scoped_read ON workspace.artifact_versions FOR SELECT TO operalta_web, operalta_worker
    USING (company_id = (SELECT scope.company_permitting('files:read'))
        AND (private_to IS NULL OR private_to = (SELECT scope.scope_reader())));

-- Whoever writes a text, by whatever statement, leaves a version, and nobody chooses its number. The row is locked by the change.
CREATE FUNCTION workspace.keep_artifact_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
    END IF;
    INSERT INTO workspace.artifact_versions (company_id, artifact_id, version, private_to, content, note, changed_by, run_id,
            api_key_id, approval_id)
        VALUES (NEW.company_id, NEW.id, NEW.version, NEW.private_to, NEW.content, NEW.note, NEW.changed_by, NEW.run_id,
            NEW.api_key_id, CASE WHEN NEW.run_id IS NOT NULL THEN NEW.approval_id END);
    RETURN NEW;
END $$;
CREATE TRIGGER keep_first_version AFTER INSERT ON workspace.artifacts FOR EACH ROW
    EXECUTE FUNCTION workspace.keep_artifact_version();
CREATE TRIGGER keep_version BEFORE UPDATE ON workspace.artifacts FOR EACH ROW WHEN (OLD.content IS DISTINCT FROM NEW.content)
    EXECUTE FUNCTION workspace.keep_artifact_version();

-- Opens a private artifact to the company, with all its versions: by its person, in a session of their own, and for good.
CREATE FUNCTION workspace.open_artifact(artifact uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    here uuid := credentials.here('files:write');
BEGIN
    IF here IS NULL OR scope.scope_kind() IS DISTINCT FROM 'person' THEN
        RETURN false;
    END IF;
    UPDATE workspace.artifacts AS kept SET private_to = NULL
        WHERE kept.company_id = here AND kept.id = artifact AND kept.private_to = scope.scope_reader();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE workspace.artifact_versions AS kept SET private_to = NULL WHERE kept.company_id = here AND kept.artifact_id = artifact;
    RETURN true;
END $$;

-- As workspace.search_records: ids and ranks alone, of what the scope may be shown and is not archived.
CREATE FUNCTION workspace.search_artifacts(query text, most integer)
RETURNS TABLE (artifact_id uuid, rank real) LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 50 AS $$
DECLARE
    asked tsquery := websearch_to_tsquery('english', left(query, 400));
    here uuid := scope.company_permitting('files:read');
    reader uuid := scope.scope_reader();
BEGIN
    IF here IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT kept.id, ts_rank(kept.words, asked) AS rank FROM workspace.artifacts AS kept
        WHERE kept.company_id = here AND (kept.private_to IS NULL OR kept.private_to = reader) AND kept.archived_at IS NULL
          AND kept.words @@ asked
        ORDER BY rank DESC, kept.id DESC LIMIT least(greatest(most, 0), 200);
END $$;
GRANT EXECUTE ON FUNCTION workspace.search_artifacts TO operalta_web, operalta_worker;
GRANT EXECUTE ON FUNCTION workspace.open_artifact TO operalta_web;
