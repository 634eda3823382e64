"""How agents are observed: what they know, what they may, whom they ask, and over which model."""

from operalta.assurance.probes.agents import asking, context, routes

MODULES = (asking, context, routes)
"""Every module with probes."""
