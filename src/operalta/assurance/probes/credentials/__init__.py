"""Probes of credentials: who makes them, who sees them, who opens them, how they end."""

from operalta.assurance.probes.credentials import ending, integrations, making, sealing

MODULES = (making, sealing, ending, integrations)
