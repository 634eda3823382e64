-- Files that are moved, a bin that is listed, restored from and emptied, and the folders that an agent is declared to reach.

-- ── Moving and restoring under another name ────────────────────────────────────────────────────────────
GRANT UPDATE (path) ON workspace.files TO operalta_web, operalta_worker;

-- ── The bin ────────────────────────────────────────────────────────────────────────────────────────────
CREATE INDEX files_bin ON workspace.files (company_id, deleted_at DESC, id DESC) WHERE deleted_at IS NOT NULL;

-- For good, and from the bin alone; versions and passages go with their file. No run of an agent may.
GRANT DELETE ON workspace.files TO operalta_web;
CREATE POLICY scoped_delete ON workspace.files FOR DELETE TO operalta_web
    USING (scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('files:write')))
        AND deleted_at IS NOT NULL);

-- ── Declared folders: empty means all of the company's files ───────────────────────────────────────────
ALTER TABLE agents.agents ADD COLUMN directories text[] NOT NULL DEFAULT '{}'
    CHECK (cardinality(directories) <= 20 AND length(array_to_string(directories, '/', '')) <= 8020
        AND array_position(directories, NULL) IS NULL);
GRANT UPDATE (directories) ON agents.agents TO operalta_web;

-- Agents that are there already get no new tools by themselves: their company's people decide.
-- Replaced as its owner: in a new database that is still the owner of the tables, in one that was hardened already the definer.
DO $$ BEGIN
    EXECUTE format('SET LOCAL ROLE %I', (SELECT owner.rolname FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_roles AS owner
        ON owner.oid = function.proowner WHERE function.oid = 'agents.install_first_agents'::regproc));
END $$;
CREATE OR REPLACE FUNCTION agents.install_first_agents(company uuid) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER
    SET search_path = '' SET client_min_messages = error SET debug_print_parse = off SET debug_print_rewritten = off
    SET debug_print_plan = off
AS $$
    INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools, created_at) VALUES
        (company, 'chief-of-staff', 'Chief of staff', 'Answers from the company''s memory and files, and keeps them in order.',
            'Answer from the company''s own memory and files, and cite them. Say so when nothing is recorded. Propose what should be written down; never guess a figure.',
            '{"memory_search": "allow", "memory_record": "allow", "metrics_read": "allow", "files_list": "allow", "files_read": "allow", "files_search": "allow", "files_write": "allow", "files_append": "allow", "files_move": "allow", "files_delete": "allow", "web_fetch": "allow", "shell_run": "ask", "delegate": "allow"}', now()),
        (company, 'analyst', 'Analyst', 'Reads the metrics and the files behind them.',
            'Work from recorded metrics and files only. Show the dates and sources of every figure.',
            '{"memory_search": "allow", "metrics_read": "allow", "files_list": "allow", "files_read": "allow", "files_search": "allow"}', now() + interval '1 millisecond')
$$;
RESET ROLE;
