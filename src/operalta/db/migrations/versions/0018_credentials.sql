-- The ground for API keys, sealed secrets, connections and integrations.
CREATE SCHEMA credentials;
GRANT USAGE, CREATE ON SCHEMA credentials TO operalta_definer;
GRANT USAGE ON SCHEMA credentials TO operalta_web, operalta_worker;
