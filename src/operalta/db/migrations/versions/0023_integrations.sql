-- Integrations.
SELECT 1;
