"""How agents are observed: what they know, what they may, whom they ask, and over which model."""

from operalta.assurance.probes.agents import asking, context, helpers, rights, routes

MODULES = (asking, context, helpers, rights, routes)
"""Every module with probes."""
