"""The tool policy against AgentDojo, with a model that belongs to the attacker from its first token."""
