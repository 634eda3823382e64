"""How second factors are observed: how codes travel, where they are worth what, what asks for them, their limits."""

from operalta.assurance.probes.factors import binding, codes, limits, sms, step_up

MODULES = (binding, codes, limits, sms, step_up)
"""Every module with probes."""
