"""API keys, as they look in use."""

from datetime import timedelta
from uuid import UUID

from operalta.access.rules import KEY_SCOPES, Permission
from operalta.kernel.ids import ApiKeyId, PersonId, new_id
from operalta.vault.api_keys.rules import ApiKey, KeyKind, KeyState
from operalta.web.pages.api_keys import LIVES, OVERLAPS
from operalta.web.permission_labels import LABELS
from tests.web.samples_ground import NOW, Context, Sample, before, page

_ADA, _JONAS = PersonId(UUID(int=1)), PersonId(UUID(int=2))


def _key(
    name: str,
    kind: KeyKind,
    state: KeyState,
    *scopes: Permission,
    lacks: tuple[Permission, ...] = (),
    addresses: tuple[str, ...] = (),
    holder: PersonId = _ADA,
    rotated: bool = False,
) -> ApiKey:
    return ApiKey(
        id=ApiKeyId(new_id()),
        kind=kind,
        name=name,
        scopes=scopes,
        addresses=addresses,
        holder_id=holder,
        holder_name="Ada Okafor" if holder == _ADA else "Jonas Weber",
        shown="op_7Gk2xLmP9QaZ",
        state=state,
        role_lacks=lacks,
        created_at=before(days=40),
        rotated_at=before(hours=3) if rotated else None,
        expires_at=NOW + timedelta(days=50) if state is not KeyState.EXPIRED else before(days=2),
        previous_shown="op_0Bc4dEf6GhJk" if rotated else None,
        previous_expires_at=NOW + timedelta(hours=21) if rotated else None,
        last_used_at=before(minutes=4) if state is KeyState.LIVE else None,
        last_used_from="203.0.113.7" if state is KeyState.LIVE else None,
        refused_at=before(days=1) if state is KeyState.REVOKED else None,
        revoked_at=before(days=2) if state is KeyState.REVOKED else None,
        is_own=holder == _ADA,
    )


KEYS = (
    _key("Notebook", KeyKind.PERSONAL, KeyState.LIVE, Permission.MEMORY_READ, Permission.METRICS_READ),
    _key(
        "Nightly metrics import",
        KeyKind.COMPANY,
        KeyState.LIVE,
        Permission.METRICS_READ,
        Permission.METRICS_WRITE,
        lacks=(Permission.METRICS_WRITE,),
        addresses=("203.0.113.0/24", "2001:db8::/32"),
        holder=_JONAS,
        rotated=True,
    ),
    _key("Website form", KeyKind.COMPANY, KeyState.WITHOUT_HOLDER, Permission.MEMORY_WRITE, holder=_JONAS),
    _key("Old laptop", KeyKind.PERSONAL, KeyState.REVOKED, Permission.FILES_READ),
    _key("Pilot", KeyKind.PERSONAL, KeyState.EXPIRED, Permission.AGENTS_RUN),
)
_OFFERED = [(each.value, LABELS[each]) for each in Permission if each in KEY_SCOPES]


def _context(**more: object) -> Context:
    return {
        "page": page("keys"),
        "keys": KEYS,
        "may_manage": True,
        "scopes": _OFFERED,
        "lives": list(LIVES.items()),
        "overlaps": list(OVERLAPS.items()),
        "form": {},
        **more,
    }


def credential_pages() -> list[Sample]:
    """Return the pages of API keys."""
    shown = {"name": "Nightly metrics import", "api_key": "op_7Gk2xLmP9QaZ" + "x" * 38, "is_new": True}
    return [
        Sample("api-keys", "api_keys.html", _context()),
        Sample("api-key-shown", "api_key_shown.html", {"page": page("keys"), **shown}),
    ]


def credentials_with_errors() -> list[Sample]:
    """Return the form as it comes back."""
    errors = [{"field": "scopes", "text": "Choose at least one scope."}]
    form: Context = {"name": "Import", "kind": "company", "scopes": [], "days": "30", "addresses": "203.0.113.0/24"}
    return [Sample("api-keys-errors", "api_keys.html", _context(page=page("keys", errors=errors), form=form))]
