"""Artifacts: texts that people and agents work on together, kept with every version."""
