"""API keys: how they look, who makes, rotates and revokes them. What one opens, the database decides at each use."""
