"""Definitions of providers: read from `providers.toml`, or made of an issuer's own metadata (RFC 8414).

Pure. A definition says everything in which one provider differs from another, so that no other module names one.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from operalta.sandbox.destinations import parse_destination
from operalta.sandbox.errors import DestinationRefused
from operalta.vault.oauth.errors import ProviderUnusable

GENERIC = "generic"
LONGEST_URL = 2_000
MOST_SCOPES = 100

Url = Annotated[str, Field(min_length=8, max_length=LONGEST_URL, pattern=r"^https?://[!-~]+$")]
ScopeName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]
"""RFC 6749 section 3.3."""

ClientAuth = Literal["basic", "post"]
Encoding = Literal["form", "json"]
Secret = Literal["access_token", "refresh_token", "token", "client_id", "account"]


class _Definition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Revocation(_Definition):
    """How a provider is told that a token is to end: RFC 7009 section 2.1, or what it has instead."""

    endpoint: Url
    method: Literal["POST", "DELETE"] = "POST"
    auth: Literal["basic", "post", "bearer", "secret", "none"] = "post"
    body: Encoding = "form"
    fields: Mapping[str, Secret] = Field(default_factory=lambda: {"token": "token"})
    gone: tuple[int, ...] = ()
    gone_errors: tuple[str, ...] = ()


class Provider(_Definition):
    """One provider. URLs are absolute, scopes in the provider's own words with what they mean for people."""

    name: Annotated[str, Field(pattern=r"^[a-z]{2,20}$")]
    title: Annotated[str, Field(min_length=1, max_length=80)]
    says: str = ""
    authorization: Url
    token: Url
    issuer: Url | None = None
    iss_required: bool = False
    client_auth: ClientAuth = "basic"
    body: Encoding = "form"
    pkce: Literal["S256", "none"] = "S256"
    scopes_param: str = "scope"
    separator: Literal[" ", ","] = " "
    received_separator: Literal[" ", ","] = " "
    answer: str = "top"
    rotates: bool = True
    lifetime: str = "As the provider says."
    expires_in: int | None = None
    parameters: Mapping[str, str] = Field(default_factory=dict[str, str])
    headers: Mapping[str, str] = Field(default_factory=dict[str, str])
    account: tuple[str, ...] = ()
    api_hosts: tuple[str, ...] = ()
    default_scopes: tuple[ScopeName, ...] = ()
    scopes: Mapping[ScopeName, str] = Field(default_factory=dict[str, str])
    revocation: Revocation | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.scopes) > MOST_SCOPES:
            raise ValueError("a provider has at most a hundred scopes")
        return self

    def meaning(self, scope: str) -> str:
        """Return what a scope lets one do, in words; its own name where we know none."""
        return self.scopes.get(scope, scope)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts, with a port where one is named, that the client itself asks: never the browser's."""
        asked = [self.token, *([self.revocation.endpoint] if self.revocation else [])]
        return tuple(dict.fromkeys(urlsplit(each).netloc for each in asked))


class Metadata(BaseModel):
    """What is used of an authorization server's metadata (RFC 8414 section 2); the rest is left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    issuer: Url
    authorization_endpoint: Url
    token_endpoint: Url
    revocation_endpoint: Url | None = None
    scopes_supported: Annotated[tuple[ScopeName, ...], Field(max_length=1_000)] = ()
    response_types_supported: Annotated[tuple[str, ...], Field(max_length=100)] = ("code",)
    grant_types_supported: Annotated[tuple[str, ...], Field(max_length=100)] = ("authorization_code",)
    code_challenge_methods_supported: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    token_endpoint_auth_methods_supported: Annotated[tuple[str, ...], Field(max_length=100)] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


@cache
def providers() -> Mapping[str, Provider]:
    """Return every provider that is defined, by name, in the order of the file."""
    text = files("operalta.vault.oauth").joinpath("providers.toml").read_text("utf-8")
    return {name: Provider(name=name, **fields) for name, fields in tomllib.loads(text).items()}


def metadata_url(issuer: str) -> str:
    """Return where an issuer's metadata is (RFC 8414 section 3.1). Raise ProviderUnusable for what is no issuer."""
    parts = urlsplit(clean_issuer(issuer))
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"


def clean_issuer(issuer: str) -> str:
    """Return an issuer's identifier: an absolute URL without query and fragment. Raise ProviderUnusable."""
    text = issuer.strip()
    try:
        parsed = parse_destination(text)
    except DestinationRefused as refusal:
        raise ProviderUnusable(refusal.public_text, field="issuer") from refusal
    if parsed.query or "#" in text or "?" in text or len(text) > LONGEST_URL:
        raise ProviderUnusable("Give the issuer's address without a query and without #.", field="issuer")
    return text


def generic_provider(issuer: str, content: Mapping[str, Any]) -> Provider:
    """Return the definition that an issuer's metadata makes.

    The metadata must name the issuer that was asked, character by character (RFC 8414 section 3.3): else one server
    could speak for another. Endpoints lie at the issuer's own host, so that a token endpoint cannot be somebody else's.
    S256 must be announced. Raise ProviderUnusable.
    """
    try:
        told = Metadata.model_validate(content)
    except ValidationError as fault:
        raise ProviderUnusable("What the issuer publishes about itself cannot be read.", field="issuer") from fault
    if told.issuer != issuer:
        raise ProviderUnusable("The issuer calls itself by another name. Give exactly that one.", field="issuer")
    endpoints = [told.authorization_endpoint, told.token_endpoint, *filter(None, [told.revocation_endpoint])]
    if any(_origin(each) != _origin(issuer) for each in endpoints):
        raise ProviderUnusable("The issuer sends us to another host than its own.", field="issuer")
    if "S256" not in told.code_challenge_methods_supported or "code" not in told.response_types_supported:
        raise ProviderUnusable("The issuer does not announce authorization codes with PKCE S256.", field="issuer")
    auth = _client_auth(told.token_endpoint_auth_methods_supported)
    return Provider(
        name=GENERIC,
        title=urlsplit(issuer).netloc[:80],
        authorization=told.authorization_endpoint,
        token=told.token_endpoint,
        issuer=told.issuer,
        iss_required=told.authorization_response_iss_parameter_supported,
        client_auth=auth,
        api_hosts=(urlsplit(issuer).netloc,),
        default_scopes=told.scopes_supported[:0],
        scopes={scope: scope for scope in told.scopes_supported[:MOST_SCOPES]},
        revocation=Revocation(endpoint=told.revocation_endpoint, auth=auth) if told.revocation_endpoint else None,
    )


def _client_auth(methods: tuple[str, ...]) -> ClientAuth:
    if "client_secret_basic" in methods:
        return "basic"
    if "client_secret_post" in methods:
        return "post"
    raise ProviderUnusable("The issuer takes none of the ways in which we prove who we are.", field="issuer")


def _origin(url: str) -> tuple[str, str, int]:
    try:
        return parse_destination(url).origin
    except DestinationRefused as refusal:
        raise ProviderUnusable(refusal.public_text, field="issuer") from refusal
