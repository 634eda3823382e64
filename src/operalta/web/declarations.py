"""What every route declares, and which of them declare too little: the part of `operalta policy-check` about routes.

A route says once who may call it, and how often, by a dependency of `entry.py`; in a company also which permission is
needed. What is open to everybody without being counted is a closed list.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from operalta.db.policy_check import Gap
from operalta.guard.rules import rules
from operalta.terms.registry import upholds
from operalta.web.application import add_routes
from operalta.web.entry import Audience, Declaration

IN_COMPANY = "{company}"

OPEN = MappingProxyType(
    {
        "GET /healthz": "whether the process lives",
        "GET /readyz": "whether its parts answer",
        "POST /csp-reports": "what browsers report under the content policy; it counts by itself",
        "GET /.well-known/security.txt": "where to report a weakness",
        "GET /.well-known/change-password": "where password managers look",
        "GET /api/docs": "the form for trying the API",
        "GET /api/docs/{part}": "its files",
        "GET /api/openapi.json": "the description of the API",
        "ANY /static": "files that never change",
    }
)
"""What is for everybody, without a session and cheap, with what it is."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way to call the application. A route as it should be has exactly one declaration."""

    method: str
    path: str
    declarations: tuple[Declaration, ...]

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.method} {self.path}"


def routes(application: FastAPI) -> list[Route]:
    """Return every route and method, those that are not the framework's own kind among them."""
    found: list[Route] = []
    for context in iter_route_contexts(application.routes):
        original: Any = context.original_route
        path: str = context.path or getattr(original, "path", "")
        declared = tuple(_declarations(original.dependant)) if isinstance(original, APIRoute) else ()
        methods: set[str] = getattr(original, "methods", None) or {"ANY"}
        found += [Route(method, path, declared) for method in sorted(methods)]
    return found


def declared_routes(application: FastAPI) -> list[Route]:
    """Return every route but the open ones."""
    return [route for route in routes(application) if route.name not in OPEN]


@upholds("2.4.1", "3.1.1")
def check_routes() -> list[Gap]:
    """Return every gap in the declarations of the application's routes. Nothing is opened or connected for it."""
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    add_routes(application)
    return find_gaps(routes(application))


def find_gaps(walked: list[Route]) -> list[Gap]:
    """Return every gap in the declarations of these routes, sorted."""
    gaps = [Gap(route.name, fault, mend) for route in walked for fault, mend in _faults(route)]
    present = Counter(route.name for route in walked)
    gaps += [Gap(name, "it is there twice; the first one answers", "keep one") for name in present if present[name] > 1]
    gaps += [
        Gap(name, "it is open to everybody but is no route", "take it out of OPEN in web/declarations.py")
        for name in OPEN.keys() - present.keys()
    ]
    return sorted(gaps, key=lambda gap: (gap.place, gap.fault))


def _faults(route: Route) -> Iterator[tuple[str, str]]:
    if route.name in OPEN:
        return
    if len(route.declarations) != 1:
        counted = f"it is declared {len(route.declarations)} times" if route.declarations else "nothing is declared"
        yield (
            f"{counted}: who may call it, and how often, is not certain",
            "depend once on ForVisitors, ForPeople, InCompany or InCompanyOfKey of web/entry.py",
        )
        return
    (declaration,) = route.declarations
    if not any(declaration.rule is rule for rule in rules()):
        yield f"its limit “{declaration.rule.name}” is none of the table", "declare a rule of guard/rules.py"
    in_company = IN_COMPANY in route.path
    if in_company and declaration.audience is not Audience.COMPANY:
        yield (
            f"it lies in a company, but is declared for any {declaration.audience.value}",
            "depend on InCompany(Permission…, rules…)",
        )
    if not in_company and declaration.audience is Audience.COMPANY:
        yield "it is declared for a company, but its address names none", f"put {IN_COMPANY} into its address"
    if (declaration.permission is None) is (declaration.audience in {Audience.COMPANY, Audience.KEY}):
        yield (
            "no permission is declared" if declaration.permission is None else "a permission is declared out of place",
            "InCompany and InCompanyOfKey take the permission that is needed; nothing else takes one",
        )


def _declarations(dependant: Dependant) -> list[Declaration]:
    own = getattr(dependant.call, "declaration", None)
    found = [own] if isinstance(own, Declaration) else []
    return found + [each for inner in dependant.dependencies for each in _declarations(inner)]
