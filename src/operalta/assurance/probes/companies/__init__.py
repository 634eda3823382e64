"""Probes of what keeps companies apart: layers, narrow gates, staff, and queries."""

from operalta.assurance.probes.companies import gates, layers, queries, staff

MODULES = (gates, layers, queries, staff)
