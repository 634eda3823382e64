"""Integrations, as they look in use."""

from operalta.kernel.ids import new_id
from operalta.vault.oauth.providers import GENERIC, Provider, providers
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
    return [Sample("integrations-errors", "integrations.html", used)]


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
    }


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
