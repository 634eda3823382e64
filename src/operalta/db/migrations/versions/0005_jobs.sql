-- The queue's own schema (made by procrastinate before this runs). Serving roles defer through one function.

-- Its functions and triggers find its tables whatever the caller's search path is.
DO $$
DECLARE
    routine regprocedure;
BEGIN
    FOR routine IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = 'jobs'::regnamespace LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = jobs, pg_catalog', routine);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', routine);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO operalta_dispatch, operalta_definer', routine);
    END LOOP;
END $$;
CALL scope.guard_table('jobs.procrastinate_jobs');
CALL scope.guard_table('jobs.procrastinate_workers');
CALL scope.guard_table('jobs.procrastinate_periodic_defers');
CALL scope.guard_table('jobs.procrastinate_events');
CREATE POLICY queue ON jobs.procrastinate_jobs TO operalta_dispatch USING (true) WITH CHECK (true);
CREATE POLICY queue ON jobs.procrastinate_workers TO operalta_dispatch USING (true) WITH CHECK (true);
CREATE POLICY queue ON jobs.procrastinate_periodic_defers TO operalta_dispatch USING (true) WITH CHECK (true);
CREATE POLICY queue ON jobs.procrastinate_events TO operalta_dispatch USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA jobs TO operalta_dispatch;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA jobs TO operalta_dispatch, operalta_definer;

-- Puts a task of the fixed list into the queue, in the caller's own transaction. It carries an id, never content.
CREATE FUNCTION jobs.defer_task(task text, subject uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS $$
DECLARE
    made bigint;
BEGIN
    IF task NOT IN ('run_agent', 'deliver_message') OR subject IS NULL THEN
        RAISE EXCEPTION 'no such task' USING ERRCODE = 'OP004';
    END IF;
    INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, lock, args)
        VALUES (CASE task WHEN 'run_agent' THEN 'runs' ELSE 'delivery' END, task, task || ':' || subject,
            jsonb_build_object('subject', subject))
        RETURNING id INTO made;
    RETURN made;
END $$;
GRANT EXECUTE ON FUNCTION jobs.defer_task TO operalta_worker;
