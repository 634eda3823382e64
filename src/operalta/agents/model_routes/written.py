"""The operator's file of model routes as it is written: read at start, refused with words where it is wrong.

A key is never in it; it names the secret file or the variable that holds one. An approval record may be missing or
have gaps: then the route is listed, and nothing is sent over it. Nothing here can ask a model, so that whoever only
looks need not load what can.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from operalta.agents.route_rules import BUILTIN, ApprovalRecord, ListedRoute
from operalta.sandbox.destinations import parse_destination
from operalta.sandbox.errors import DestinationRefused
from operalta.sandbox.policies import ALLOW_LISTED
from operalta.settings import Settings, SettingsError
from operalta.terms.registry import upholds

# Model routes: one address is asked, with POST, and leads nowhere else.
MODELS = replace(ALLOW_LISTED, name="models", methods=frozenset({"POST"}), redirects=0)
LARGEST_FILE = 1_000_000

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=400)]
Statement = Annotated[str, StringConstraints(strip_whitespace=True, max_length=400)]
Price = Annotated[Decimal, Field(ge=0, le=100_000)]


class Kind(StrEnum):
    """Who is spoken to."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    MISTRAL = "mistral"
    COMPATIBLE = "compatible"


_USUAL_ADDRESS = {
    Kind.OPENAI: "https://api.openai.com/v1",
    Kind.ANTHROPIC: "https://api.anthropic.com/v1",
    Kind.MISTRAL: "https://api.mistral.ai/v1",
}


class WrittenApproval(BaseModel):
    """An approval record as it stands in the file; what is left out is a gap."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    terms_reference: Statement = ""
    region: Statement = ""
    retention: Statement = ""
    training_opt_out: bool = False
    logging: Statement = ""
    approved_by: Statement = ""
    approved_on: date | None = None

    def record(self) -> ApprovalRecord | None:
        """Return the record; None without a day."""
        if self.approved_on is None:
            return None
        return ApprovalRecord(
            terms_reference=self.terms_reference,
            region=self.region,
            retention=self.retention,
            training_opt_out=self.training_opt_out,
            logging=self.logging,
            approved_by=self.approved_by,
            approved_on=self.approved_on,
        )


class WrittenRoute(BaseModel):
    """A route as it stands in the file. `local` opens its very host and port inside, for this route alone.

    `invocation_logging` is off and stays off: it can be stated, and nothing here could switch it on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slug: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")]
    title: Text
    kind: Kind
    model: Text
    base_url: Text | None = None
    local: bool = False
    key_file: Annotated[str, StringConstraints(pattern=r"^model-[a-z0-9-]{1,80}$")] | None = None
    key_variable: Annotated[str, StringConstraints(pattern=r"^OPERALTA_MODEL_KEY_[A-Z0-9_]{1,80}$")] | None = None
    input_price: Price = Decimal(0)
    output_price: Price = Decimal(0)
    most_output: Annotated[int, Field(ge=1, le=200_000)] = 4096
    seconds: Annotated[float, Field(ge=1, le=MODELS.seconds)] = MODELS.seconds
    fall_back: Text | None = None
    invocation_logging: bool = False
    approval: WrittenApproval | None = None

    @property
    def address(self) -> str:
        """The base URL, the provider's usual one where none is given."""
        return self.base_url or _USUAL_ADDRESS.get(self.kind, "")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.key_file and self.key_variable:
            raise ValueError("give key_file or key_variable, not both")
        if self.kind is not Kind.COMPATIBLE and not (self.key_file or self.key_variable):
            raise ValueError("name the key: key_file (a file in the secrets folder) or key_variable")
        if not self.address:
            raise ValueError("a compatible server needs its base_url")
        try:
            there = parse_destination(self.address)
        except DestinationRefused:
            raise ValueError("base_url is no address that can be used") from None
        if there.query or (there.scheme != "https" and not self.local):
            raise ValueError("base_url begins with https:// and has no query; http:// takes local = true")
        return self

    @model_validator(mode="after")
    @upholds("5.6.4")
    def _logs_nothing_that_is_said(self) -> Self:
        if self.invocation_logging:
            raise ValueError("invocation_logging = true: prompts and answers go into no log here; take the line out")
        return self


class WrittenFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    route: tuple[WrittenRoute, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        slugs = [route.slug for route in self.route]
        if len(set(slugs)) != len(slugs):
            raise ValueError("each slug is given once")
        if BUILTIN.slug in slugs:
            raise ValueError(f"{BUILTIN.slug} is the product's own route; choose another slug")
        for route in self.route:
            if route.fall_back is not None and (route.fall_back not in slugs or route.fall_back == route.slug):
                raise ValueError(f"{route.slug} falls back to {route.fall_back}, which is no other route of this file")
        return self


def listed_routes(settings: Settings) -> tuple[ListedRoute, ...]:
    """Return every route, the built-in one first, without its key and without a way to use it. Raise SettingsError."""
    return (BUILTIN, *(listed(each) for each in written_routes(settings)))


def written_routes(settings: Settings) -> tuple[WrittenRoute, ...]:
    """Return the routes as they stand in the file that the settings name; none without one. Raise SettingsError."""
    return () if settings.model_routes is None else _written(settings.model_routes).route


def _written(path: Path) -> WrittenFile:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SettingsError(f"{path} is too large for a file of model routes")
        return WrittenFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"OPERALTA_MODEL_ROUTES: {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()]
        raise SettingsError(f"OPERALTA_MODEL_ROUTES: {path} cannot be used:\n" + "\n".join(faults)) from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise SettingsError(f"OPERALTA_MODEL_ROUTES: {path} is no TOML: {error}") from error


def listed(written: WrittenRoute) -> ListedRoute:
    """Return what people see of a route of the file."""
    return ListedRoute(
        slug=written.slug,
        title=written.title,
        provider=written.kind.value,
        host=parse_destination(written.address).authority,
        model=written.model,
        approval=written.approval.record() if written.approval else None,
        input_price=written.input_price,
        output_price=written.output_price,
        fall_back=written.fall_back,
    )


@upholds("7.2.1")
def key_of(written: WrittenRoute, settings: Settings, environment: Mapping[str, str]) -> str | None:
    """Return the key of a route, None where it has none. Raise SettingsError where it should and has not."""
    if written.key_file is not None:
        key = settings.secret(written.key_file).decode("ascii", errors="replace")
        place = written.key_file
    elif written.key_variable is not None:
        key, place = environment.get(written.key_variable, "").strip(), written.key_variable
        if not key:
            raise SettingsError(f"{place} is not set, and the model route {written.slug} takes its key from there")
    else:
        return None
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingsError(f"{place} holds no key: it is one word of plain characters")
    return key
