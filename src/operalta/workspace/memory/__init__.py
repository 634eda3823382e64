"""The memory ledger: decisions, hypotheses, experiments and blockers, superseded and never overwritten."""
