-- What came of reading a document: counts and notes for people, or why it was not read. Of the present version only.
ALTER TABLE workspace.files ADD COLUMN reading jsonb CHECK (jsonb_typeof(reading) = 'object' AND length(reading::text) <= 20000);
GRANT UPDATE (reading) ON workspace.files TO operalta_web, operalta_worker;
