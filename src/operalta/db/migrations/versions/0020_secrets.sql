-- Secrets.
SELECT 1;
