"""What goes over the wire, as values: requests to a provider, and what its answers mean. Pure, without any network.

Nothing that a provider writes is repeated to anybody: of an error only a code from a list of ours counts, and its
description is never looked at, since it may hold the secrets that we sent.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit, urlunsplit

from operalta.terms.registry import upholds
from operalta.vault.oauth.errors import AnswerUnusable, ProviderAway, ProviderRefused
from operalta.vault.oauth.providers import MOST_SCOPES, Encoding, Provider, Revocation

LONGEST_TOKEN = 8_192
LONGEST_LIFETIME_SECONDS = 400 * 24 * 3600
"""What lives longer is looked at again after this long all the same."""

UNSURE_SECONDS = 300
"""How long a token is taken to live whose lifetime is told in a form that says nothing, such as a negative number."""

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")  # RFC 6749 appendix A.12, without blanks: it becomes a header
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
_LONGEST_ACCOUNT = 80

_DEAD = frozenset({
    "invalid_grant", "bad_refresh_token", "invalid_refresh_token", "token_revoked", "token_expired",
    "account_inactive", "bad_verification_code", "invalid_code", "code_already_used", "bad_auth_code",
})  # fmt: skip
_PASSING = frozenset({
    "temporarily_unavailable", "server_error", "slow_down", "ratelimited", "internal_error", "fatal_error",
    "service_unavailable", "request_timeout",
})  # fmt: skip
_SUCCESS = range(200, 300)


class GrantDead(Exception):  # noqa: N818 - says what is so, not whose fault it is
    """The code or the refresh token is no longer accepted (RFC 6749 section 5.2, invalid_grant)."""


class Unreadable(AnswerUnusable):
    """The provider's answer cannot be used. Try again later; if it stays so, check the registration there."""

    def __init__(self, refresh_token: str | None = None) -> None:
        """Hold the refresh token that the answer had nevertheless: the one before it may be dead already."""
        super().__init__()
        self.refresh_token = refresh_token


class Ended(StrEnum):
    """How an attempt to revoke at a provider ended."""

    REVOKED = "revoked"
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Registration:
    """What a provider knows us by. The secret never shows in a representation."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WireRequest:
    """One request, ready to be sent."""

    url: str = field(repr=False)
    method: Literal["GET", "POST", "DELETE"]
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a provider has given. `expires_in` is in seconds, None for a token that lasts; `scopes` None: as asked."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    scopes: tuple[str, ...] | None
    account: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """The tokens of a connection that is to be revoked."""

    access_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    account: str | None


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def authorization_url(
    provider: Provider, client_id: str, redirect_uri: str, state: str, verifier: str, scopes: tuple[str, ...]
) -> str:
    """Return where the browser goes to be asked for consent (RFC 6749 section 4.1.1)."""
    parts = urlsplit(provider.authorization)
    fields = [
        *parse_qsl(parts.query, keep_blank_values=True),
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", redirect_uri),
        ("state", state),
        *provider.parameters.items(),
    ]
    if scopes:
        fields.append((provider.scopes_param, provider.separator.join(scopes)))
    if provider.pkce == "S256":
        fields += [("code_challenge", challenge_of(verifier)), ("code_challenge_method", "S256")]
    return urlunsplit(parts._replace(query=urlencode(fields)))


def code_request(
    provider: Provider, registration: Registration, redirect_uri: str, code: str, verifier: str
) -> WireRequest:
    """Return the request that gives the code for tokens (RFC 6749 section 4.1.3)."""
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
    if provider.pkce == "S256":
        fields["code_verifier"] = verifier
    return _token_request(provider, registration, fields)


def refresh_request(provider: Provider, registration: Registration, refresh_token: str) -> WireRequest:
    """Return the request that gives a refresh token for a new access token (RFC 6749 section 6)."""
    return _token_request(provider, registration, {"grant_type": "refresh_token", "refresh_token": refresh_token})


def revocation_request(
    provider: Provider, revocation: Revocation, registration: Registration, held: Held
) -> WireRequest | None:
    """Return the request that ends the tokens at the provider (RFC 7009 section 2.1).

    None where what it asks for is not there: nothing can be said to the provider then.
    """
    known = {
        "access_token": held.access_token,
        "refresh_token": held.refresh_token,
        "token": held.refresh_token or held.access_token,
        "client_id": registration.client_id,
        "account": held.account,
    }
    fields = {name: known[what] for name, what in revocation.fields.items()}
    url = revocation.endpoint
    for name in ("client_id", "refresh_token"):
        if f"{{{name}}}" in url:
            fields[f"{{{name}}}"] = known[name]
            url = url.replace(f"{{{name}}}", quote(known[name] or "", safe=""))
    present = {name: value for name, value in fields.items() if value}
    if len(present) < len(fields):
        return None
    sent = {name: value for name, value in present.items() if not name.startswith("{")}
    headers = {"accept": "application/json", **provider.headers}
    match revocation.auth:
        case "basic":
            headers["authorization"] = _basic(registration)
        case "post":
            sent |= {"client_id": registration.client_id, "client_secret": registration.client_secret}
        case "bearer":
            if held.access_token is None:
                return None
            headers["authorization"] = f"Bearer {held.access_token}"
        case "secret":
            headers["authorization"] = f"Bearer {registration.client_secret}"
        case "none":
            pass
    return _written(url, revocation.method, headers, sent, revocation.body)


@upholds("1.3.4")
def read_tokens(provider: Provider, status: int, content_type: str, body: bytes, *, fresh: bool) -> Tokens:
    """Return the tokens in an answer of the token endpoint (RFC 6749 section 5).

    `fresh`: the answer to a code, which has to say the type of its token. Raise GrantDead where code or refresh token
    are no longer accepted, ProviderRefused for a fault of the registration, ProviderAway for one that passes, and
    Unreadable for what no client should use.
    """
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ProviderAway
    content = _content(content_type, body)
    _raise_error(status, content)
    told = content
    if provider.answer != "top":
        # The answer to a refresh has no wrapping.
        inner = content.get(provider.answer)
        if isinstance(inner, dict) and "access_token" in inner:
            told = {**content, **cast("dict[str, Any]", inner)}
    refresh = told.get("refresh_token")
    refresh = refresh if isinstance(refresh, str) and _TOKEN.fullmatch(refresh) else None
    access, kind = told.get("access_token"), told.get("token_type")
    if not isinstance(access, str) or not _TOKEN.fullmatch(access):
        raise Unreadable(refresh)
    if (kind is None and fresh) or (kind is not None and not _is_bearer(kind)):
        raise Unreadable(refresh)
    return Tokens(
        access, refresh, _lifetime(provider, told), _scopes(provider, told.get("scope")), _account(provider, content)
    )


def read_revocation(revocation: Revocation, status: int, content_type: str, body: bytes) -> Ended:
    """Tell how a request to revoke ended. A token that is gone already counts as revoked."""
    if status in revocation.gone:
        return Ended.REVOKED
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.REQUEST_TIMEOUT,
    }:
        return Ended.LATER
    if status not in _SUCCESS:
        return Ended.REFUSED
    if revocation.gone_errors:  # a provider that answers 200 whatever happened
        try:
            content = _content(content_type, body)
        except Unreadable:
            return Ended.LATER
        if content.get("ok") is not True and _error_code(content) not in revocation.gone_errors:
            return Ended.LATER
    return Ended.REVOKED


def _token_request(provider: Provider, registration: Registration, fields: dict[str, str]) -> WireRequest:
    headers = {"accept": "application/json", **provider.headers}
    if provider.client_auth == "basic":
        headers["authorization"] = _basic(registration)
    else:
        fields |= {"client_id": registration.client_id, "client_secret": registration.client_secret}
    return _written(provider.token, "POST", headers, fields, provider.body)


def _written(
    url: str, method: Literal["POST", "DELETE"], headers: dict[str, str], fields: Mapping[str, str], encoding: Encoding
) -> WireRequest:
    if method == "DELETE" and not fields:
        return WireRequest(url, method, headers, None)
    if encoding == "json":
        return WireRequest(url, method, {**headers, "content-type": "application/json"}, json.dumps(fields).encode())
    form = {**headers, "content-type": "application/x-www-form-urlencoded"}
    return WireRequest(url, method, form, urlencode(fields).encode())


def _basic(registration: Registration) -> str:
    """RFC 6749 section 2.3.1: both are form-encoded before they are put together."""
    pair = f"{quote_plus(registration.client_id)}:{quote_plus(registration.client_secret)}"
    return "Basic " + base64.b64encode(pair.encode("ascii")).decode("ascii")


def _content(content_type: str, body: bytes) -> dict[str, Any]:
    """Return the members of an answer. Raise Unreadable for what is no JSON object (or form, from the oldest)."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode("utf-8")
        if media_type == "application/x-www-form-urlencoded":
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
        if media_type != "application/json" and not media_type.endswith("+json"):
            raise Unreadable
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable from None
    if not isinstance(content, dict):
        raise Unreadable
    return cast("dict[str, Any]", content)


def _error_code(content: Mapping[str, Any]) -> str:
    """Return the code of an error in lower case; empty where there is none. HubSpot calls it `status`."""
    for name in ("error", "status"):
        code = content.get(name)
        if isinstance(code, str) and code:
            return code[:60].lower()
    return "unknown" if "error" in content or content.get("ok") is False else ""


def _raise_error(status: int, content: Mapping[str, Any]) -> None:
    failed = status not in _SUCCESS or bool(content.get("error")) or content.get("ok") is False
    if not failed:
        return
    code = _error_code(content)
    if code in _DEAD:
        raise GrantDead
    if code in _PASSING:
        raise ProviderAway
    raise ProviderRefused


def _is_bearer(kind: object) -> bool:
    # Slack calls its own "user" and "bot"; both are sent as bearer tokens (RFC 6750).
    return isinstance(kind, str) and kind.lower() in {"bearer", "user", "bot"}


def _lifetime(provider: Provider, told: Mapping[str, Any]) -> int | None:
    """Return the seconds that a token lives (RFC 6749 section 5.1). Nonsense never costs us the token."""
    if "expires_in" not in told or told["expires_in"] is None:
        return provider.expires_in
    value = told["expires_in"]
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 12:  # noqa: PLR2004
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return UNSURE_SECONDS
    return min(value, LONGEST_LIFETIME_SECONDS)


def _scopes(provider: Provider, told: object) -> tuple[str, ...] | None:
    if isinstance(told, str):
        parts = told[:LONGEST_TOKEN].replace(provider.received_separator, " ").split(" ")
    elif isinstance(told, list):
        parts = [each for each in cast("list[object]", told)[:MOST_SCOPES] if isinstance(each, str)]
    else:
        return None
    return tuple(dict.fromkeys(each for each in parts if _SCOPE.fullmatch(each)))[:MOST_SCOPES]


def _account(provider: Provider, content: Mapping[str, Any]) -> str | None:
    for path in provider.account:
        value: object = content
        for name in path.split("."):
            value = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and value.strip() and value.isprintable():
            return value.strip()[:_LONGEST_ACCOUNT]
    return None
