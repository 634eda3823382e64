"""Model routes and their ledger, as they look in use."""

from datetime import date

from tests.web.samples_ground import Context, Sample, before, page

_RECORD = [
    ("Region", "EU"),
    ("Terms", "Data processing agreement of 3 March 2026, section 4"),
    ("Retention", "30 days, then deleted"),
    ("Training", "Ruled out"),
    ("Logging", "Off by contract"),
]


def _route(slug: str, title: str, **changes: object) -> Context:
    usual: Context = {
        "slug": slug,
        "title": title,
        "provider": "anthropic",
        "host": "api.provider.example",
        "model": "large-3",
        "record": _RECORD,
        "approved_by": "Nia Park",
        "approved_on": date(2026, 3, 3),
        "price": "3 in, 15 out",
        "fall_back": None,
        "seen": f"{slug} {'0' * 64}",
        "is_builtin": False,
        "may_be_allowed": True,
        "is_ticked": True,
        "is_usable": True,
        "why_not": None,
        "allowed_by": "Ada Okafor",
        "allowed_at": before(days=12),
    }
    return usual | changes


def _routes() -> Context:
    nobody: Context = {"is_ticked": False, "is_usable": False, "allowed_by": None, "allowed_at": None}
    built_in = _route(
        "built-in",
        "Built-in: commands and quotations",
        provider=None,
        host=None,
        record=[("Region", "This deployment"), ("Terms", "None needed: no provider is involved.")],
        price=None,
        is_builtin=True,
        may_be_allowed=False,
        allowed_by=None,
        allowed_at=None,
    )
    refused = "The company does not allow this model route. Choose another one, or have it allowed under Model routes."
    changed = "The operator has changed this model route since the company allowed it. Look at it again."
    return {
        "routes": [
            built_in,
            _route("large", "Large, in Europe", fall_back="own"),
            _route("own", "Our own server", **nobody, host="models.inside.example:8443", why_not=refused),
            _route("moved", "Small, moved abroad", is_ticked=False, is_usable=False, why_not=changed),
            _route(
                "new", "Not looked at yet", **nobody, record=[], approved_by=None, approved_on=None,
                may_be_allowed=False, why_not="This model route is not approved for use here.",
            ),
        ],
        "regions": [
            {"name": "EU", "is_allowed": True, "allowed_by": "Ada Okafor", "allowed_at": before(days=12)},
            {"name": "US, under standard contractual clauses", "is_allowed": False, "allowed_by": None,
             "allowed_at": None},
        ],
        "gone": ["old-large"],
    }  # fmt: skip


def _request(outcome: str, **changes: object) -> Context:
    usual: Context = {
        "asked_at": before(minutes=12),
        "agent": "Analyst",
        "route": "large",
        "model": "large-3",
        "provider": "anthropic",
        "host": "api.provider.example",
        "region": "EU",
        "input_tokens": 1840,
        "output_tokens": 312,
        "cost": "0.0102",
        "outcome": outcome,
        "reason": None,
    }
    return usual | changes


def model_pages() -> list[Sample]:
    unknown: Context = {"input_tokens": None, "output_tokens": None, "cost": None}
    nowhere: Context = {"provider": None, "host": None, "region": "This deployment", "route": "built-in"}
    requests = [
        _request("no answer yet", **unknown),
        _request("answered"),
        _request("failed", **unknown, reason="The model's provider does not answer right now. Try again in a minute."),
        _request("refused", **unknown, reason="The company does not allow the region of this model route."),
        _request("stopped", **unknown),
        _request("lost", **unknown, agent=None),
        _request("answered", **nowhere, cost="0.0000"),
    ]
    observing = page("company", permissions={"agents:read"})
    pages: Context = {"previous_url": None, "next_url": "/c/lumen/model-use?cursor=x"}
    nothing: Context = {"requests": [], "previous_url": None, "next_url": None}
    alone: Context = {"routes": _routes()["routes"][:1], "regions": [], "gone": []}
    return [
        Sample("model-routes", "model_routes.html", {"page": page("company"), **_routes()}),
        Sample("model-routes-reading", "model_routes.html", {"page": observing, **_routes()}),
        Sample("model-routes-built-in", "model_routes.html", {"page": page("company"), **alone}),
        Sample("model-use", "model_use.html", {"page": page("company"), "requests": requests, **pages}),
        Sample("model-use-empty", "model_use.html", {"page": page("company"), **nothing}),
    ]
