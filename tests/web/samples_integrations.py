"""Integrations, as they look in use."""

from dataclasses import replace
from typing import Any

from operalta.kernel.ids import new_id
from operalta.vault.integrations.rules import Form, Integration, Kind, Lends, ToolSeen
from operalta.vault.oauth.providers import GENERIC, Provider, providers
from operalta.web.integration_views import creation_choices, service_card
from tests.web.samples_ground import Context, Sample, before, page

REDIRECT_URI = "https://operalta.lumen.example/connections/callback"


def integration_pages() -> list[Sample]:
    """Return the list in use, and the way to a provider."""
    github = providers()["github"]
    return [
        Sample("integrations", "integrations.html", {"page": page("integrations"), **_in_use()}),
        Sample(
            "connect",
            "connect.html",
            {
                "page": page("integrations"),
                "title": github.title,
                "host": "github.com",
                "url": "https://github.com/login/oauth/authorize?response_type=code&state=4f9c",
                "scopes": ["See your profile", "Read and change all repositories, private ones too"],
                "minutes": 10,
            },
        ),
    ]


def integration_errors() -> list[Sample]:
    """Return the list after a registration that was refused."""
    wrong = {"field": "client_secret", "text": "The client secret is one word. Copy it from the provider."}
    typed = {"provider": "github", "client_id": "Iv1.8a61f9b3a7aba766", "issuer": ""}
    used = {**_in_use(), "page": page("integrations", errors=[wrong]), "form": typed}
    missing = {"field": "credential", "text": "The credential is one word of 8 to 4000 plain characters."}
    service = {"slug": "acme-billing", "service_name": "Acme billing", "kind": "api_key_service", "writes": "yes"}
    adding = {**_in_use(), "page": page("integrations", errors=[missing]), "service": service}
    return [
        Sample("integrations-errors", "integrations.html", used),
        Sample("integrations-service-errors", "integrations.html", adding),
    ]


def _in_use() -> Context:
    defined = providers()
    return {
        "clients": [_client(defined[name]) for name in ("github", "google", "notion")],
        "connections": [
            _connection("GitHub", "you", "Works", "ok", "It works."),
            _connection(
                "Google",
                "you",
                "Broken",
                "bad",
                "The provider no longer accepts this connection. Connect it again.",
                missing=["Read your mail"],
            ),
            _connection("Notion", "Jonas Weber", "Ends soon", "warn", "It ends soon and cannot be refreshed."),
            _connection("Slack", "Jonas Weber", "Revoked", "neutral", "It is revoked here and at the provider."),
        ],
        "providers": [*((each.name, each.title) for each in defined.values()), (GENERIC, "Another, by its issuer")],
        "redirect_uri": REDIRECT_URI,
        "form": {},
        "services": [service_card(each) for each in _SERVICES],
        "service": {},
        "told": {"id": _SERVICES[0].id, "text": "It answers (with the status 200)."},
        **creation_choices(()),
    }


def _integration(name: str, kind: Kind, **changes: Any) -> Integration:  # noqa: ANN401 - the fields of an integration
    plain = Integration(
        id=new_id(), slug=name.lower().replace(" ", "-"), name=name, kind=kind,
        base_url="https://api.acme-billing.example/v1", lends=Lends.KEY, form=Form.BEARER, header_name=None,
        user_name=None, client_id=None, has_key=True, held_by_name="Ada Okafor", held_at=before(days=9),
        allows_writes=False, is_on=True, switched_by_name="Ada Okafor", switched_at=before(days=8), revision=1,
        tools_sha256=None, tools=(), drifted_at=None, made_by_name="Ada Okafor", created_at=before(days=9),
        last_used_at=before(minutes=4), checked_at=before(hours=2), answered_at=before(minutes=4), failed_at=None,
        failure=None,
    )  # fmt: skip
    return replace(plain, **changes)


_LEFT = "Whoever entered its credential has left. Enter a new one, made by somebody who is still here."
_SERVICES = (
    _integration("Acme billing", Kind.API_KEY_SERVICE, allows_writes=True),
    _integration("Issues", Kind.OAUTH_API, lends=Lends.CONNECTION, has_key=False, is_on=False, last_used_at=None),
    _integration(
        "Catalogue",
        Kind.MCP_SERVER,
        base_url="https://mcp.catalogue-of-everything-that-there-is.example/mcp",
        tools=(ToolSeen("lookup", "Looks something up in the catalogue."), ToolSeen("order_by_number", "")),
        failed_at=before(minutes=2),
        failure="The service failed (it answered 503). It is tried again at the next use.",
    ),
    _integration("Payroll", Kind.API_KEY_SERVICE, has_key=False, is_on=False, failure=_LEFT, failed_at=before(days=1)),
)


def _client(provider: Provider) -> Context:
    return {
        "id": str(new_id()),
        "title": provider.title,
        "says": provider.says,
        "lifetime": provider.lifetime,
        "client_id": "Iv1.8a61f9b3a7aba766",
        "created_at": before(days=40),
        "scopes": [
            {"name": name, "meaning": meaning, "is_usual": name in provider.default_scopes}
            for name, meaning in provider.scopes.items()
        ],
    }


def _connection(title: str, owner: str, word: str, tone: str, advice: str, missing: list[str] | None = None) -> Context:
    return {
        "id": str(new_id()),
        "title": title,
        "account": "Lumen Labs" if title == "Notion" else None,
        "owner": owner,
        "is_own": owner == "you",
        "is_over": word == "Revoked",
        "word": word,
        "tone": tone,
        "advice": advice,
        "granted": ["See your profile", "See your e-mail addresses"],
        "missing": missing or [],
        "further": [],
        "connected_at": before(days=32),
        "last_used_at": before(minutes=4) if owner == "you" else None,
        "refreshed_at": before(hours=1) if title == "Google" else None,
        "ends_at": before(days=-4) if word == "Ends soon" else None,
    }
