"""How the way out is observed: which addresses are reached, what holds from hop to hop, and the policies' ceilings."""

from operalta.assurance.probes.egress import addresses, ceilings, hops

MODULES = (addresses, ceilings, hops)
"""Every module with probes."""
