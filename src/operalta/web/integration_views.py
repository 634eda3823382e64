"""Integrations as pages show them. Pure, and never a credential."""

from collections.abc import Iterable

from operalta.vault.integrations.rules import KINDS, Form, Health, Integration, Kind, Lends, health_of
from operalta.vault.oauth.rules import Client

_TONES = {
    Health.OFF: ("Off", "neutral"),
    Health.WORKS: ("On", "ok"),
    Health.UNTRIED: ("On", "ok"),
    Health.FAILING: ("On, failing", "warn"),
    Health.STOPPED: ("Stopped", "bad"),
}
FORMS = [
    (Form.BEARER.value, "Authorization: Bearer …"),
    (Form.HEADER.value, "A header of its own"),
    (Form.BASIC.value, "User name and password (Basic)"),
]
_LENT = {
    Lends.NONE: "Nothing",
    Lends.KEY: "The company's credential, sealed",
    Lends.CONNECTION: "The account of whoever asks",
}


def creation_choices(clients: Iterable[Client]) -> dict[str, object]:
    """Return what the form for a new integration offers."""
    return {
        "kinds": [(kind.value, title) for kind, (title, _) in KINDS.items()],
        "kind_sentences": [{"title": title, "says": says} for title, says in KINDS.values()],
        "forms": FORMS,
        "accounts": [("", "None"), *((str(client.id), client.title) for client in clients)],
    }


def service_card(found: Integration) -> dict[str, object]:
    """Return what the list shows of one integration."""
    health, advice = health_of(found)
    word, tone = _TONES[health]
    facts = [
        ("Host", found.host),
        ("Address", found.base_url),
        ("Carries", _LENT[found.lends]),
        ("Agents may", _may(found)),
        ("Entered by", f"{found.held_by_name or 'somebody'}" if found.has_key else None),
    ]
    return {
        "id": found.id,
        "slug": found.slug,
        "name": found.name,
        "kind": KINDS[found.kind][0],
        "says": KINDS[found.kind][1],
        "base_url": found.base_url,
        "host": found.host,
        "is_on": found.is_on,
        "word": word,
        "tone": tone,
        "advice": advice,
        "facts": facts,
        "takes_key": found.lends is Lends.KEY,
        "form": found.form.value,
        "header_name": found.header_name or "",
        "user_name": found.user_name or "",
        "is_service": found.kind is not Kind.MCP_SERVER,
        "allows_writes": found.allows_writes,
        "tools": [{"name": each.name, "description": each.description} for each in found.tools],
        "switched_by": found.switched_by_name,
        "switched_at": found.switched_at,
        "last_used_at": found.last_used_at,
        "checked_at": found.checked_at,
        "failure": found.failure if found.failed_at else None,
        "failed_at": found.failed_at,
    }


def _may(found: Integration) -> str:
    if found.kind is Kind.MCP_SERVER:
        return "Use its tools, each time after asking"
    return "Read, and write after asking" if found.allows_writes else "Read only"
