-- What a person answered to a question of an agent's: kept with the decision, written once as that is.
ALTER TABLE agents.approvals ADD COLUMN answer text
    CHECK (answer IS NULL OR (decision = 'once' AND tool = 'ask_person' AND length(answer) BETWEEN 1 AND 4000));
GRANT UPDATE (answer) ON agents.approvals TO operalta_web;
