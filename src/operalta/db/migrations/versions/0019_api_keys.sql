-- Api keys.
SELECT 1;
