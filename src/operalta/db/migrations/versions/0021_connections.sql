-- Connections.
SELECT 1;
