"""What is wrong with the operator's file of model routes, route by route, and how to mend it. No key is told."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from operalta.agents.model_routes.written import WrittenRoute, key_of, listed, written_routes
from operalta.settings import Settings, SettingsError

_BY_OTHERS = stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class RouteFault:
    """Something that is wrong, for whoever runs the deployment."""

    says: str
    mend: str


def examine_routes(settings: Settings) -> tuple[int, tuple[RouteFault, ...]]:
    """Return how many routes the file has, and what is wrong with it."""
    if settings.model_routes is None:
        return 0, ()
    try:
        routes = written_routes(settings)
    except SettingsError as error:
        return 0, (RouteFault(str(error), "see docs/model-routes.md; neither web nor worker starts with it"),)
    return len(routes), tuple(_faults(settings, routes))


def _faults(settings: Settings, routes: tuple[WrittenRoute, ...]) -> Iterator[RouteFault]:
    path = settings.model_routes
    if path is not None and path.stat().st_mode & _BY_OTHERS:
        says = f"{path} can be written by everybody, who thereby say where prompts are sent"
        yield RouteFault(says, f"run `chmod o-w {path}`")
    approved = {each.slug for each in routes if listed(each).is_approved}
    for route in routes:
        try:
            key_of(route, settings, os.environ)
        except SettingsError as error:
            yield RouteFault(
                f"{route.slug}: {error}", "put the provider's key there; the worker does not start without"
            )
        if route.slug not in approved:
            mend = "complete [route.approval], or take the route out; nothing is sent over it meanwhile"
            yield RouteFault(f"{route.slug}: {_missing(route)}", mend)
        elif route.fall_back is not None and route.fall_back not in approved:
            says = f"{route.slug}: it falls back to {route.fall_back}, which is not approved"
            yield RouteFault(says, f"approve {route.fall_back}, or take `fall_back` out; it is never taken meanwhile")


def _missing(route: WrittenRoute) -> str:
    record = listed(route).approval
    if route.approval is None:
        return "it has no approval record"
    gaps = record.gaps if record else ("the day of the approval",)
    return f"its approval record does not state {', '.join(gaps)}"
