"""The probes, one module for each room that upholds clauses. Importing this package registers them all."""

from operalta.assurance.probes import (
    access,
    agents,
    audit,
    authentication,
    commands,
    companies,
    cookies,
    credentials,
    database,
    egress,
    entry,
    errors,
    factors,
    files,
    guard,
    identity,
    infrastructure,
    output,
    sessions,
    transport,
)

MODULES = (
    *agents.MODULES,
    *companies.MODULES,
    *credentials.MODULES,
    *egress.MODULES,
    *factors.MODULES,
    access,
    audit,
    authentication,
    commands,
    cookies,
    database,
    entry,
    errors,
    files,
    guard,
    identity,
    infrastructure,
    output,
    sessions,
    transport,
)
"""Every module with probes."""

__all__ = ["MODULES"]
