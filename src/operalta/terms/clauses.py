"""The clauses of the security terms: what is promised, how it is decided, where it is upheld.

`clauses.toml` beside this file is the one source; it is read once and checked as a whole, so a clause that is
misspelled, doubled or without a section stops the start and not a page.
"""

import tomllib
from enum import StrEnum
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

ClauseId = Annotated[str, StringConstraints(pattern=r"^[0-9]\.[0-9]\.[0-9]{1,2}$")]
SectionId = Annotated[str, StringConstraints(pattern=r"^[0-9]\.[0-9]$")]
Sentence = Annotated[str, StringConstraints(min_length=10, max_length=1_000, pattern=r"^[A-Z0-9].*\.$")]


class UnknownClause(LookupError):  # noqa: N818 - says what is wrong with the id
    """The terms have no clause with this id."""


class ClauseKind(StrEnum):
    """What decides a clause."""

    TEST = "test"
    EXAMINE = "examine"
    ATTEST = "attest"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Figures(_Frozen):
    """A promised limit: `limit` uses in `window_seconds`, counted by `key`; `per_code` tries of one code."""

    limit: Annotated[int, Field(gt=0)]
    window_seconds: Annotated[int, Field(gt=0)]
    key: Literal["email", "phone", "user"] | None = None
    per_code: Annotated[int, Field(gt=0)] | None = None


class Section(_Frozen):
    """A heading of the terms."""

    id: SectionId
    title: Annotated[str, StringConstraints(min_length=3, max_length=80)]


class Clause(_Frozen):
    """One promise. `says` and `proof` are for people; `attested_besides` asks for a document as well."""

    id: ClauseId
    says: Sentence
    kind: Annotated[ClauseKind, Field(strict=False)]
    room: Annotated[str, StringConstraints(pattern=r"^[a-z]+$")]
    proof: Sentence
    figures: Figures | None = None
    attested_besides: bool = False

    @property
    def section_id(self) -> str:
        """The id of the section it stands in."""
        return self.id.rpartition(".")[0]

    @property
    def needs_attestation(self) -> bool:
        """Whether somebody outside the software has to vouch for it, alone or besides."""
        return self.kind is ClauseKind.ATTEST or self.attested_besides

    @property
    def needs_tests(self) -> bool:
        """Whether tests have to prove it; a document from outside cannot be tested."""
        return self.kind is not ClauseKind.ATTEST


class _Terms(_Frozen):
    section: tuple[Section, ...]
    clause: tuple[Clause, ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        headings = [section.id for section in self.section]
        _require_ascending("section", headings)
        _require_ascending("clause", [clause.id for clause in self.clause])
        used = {clause.section_id for clause in self.clause}
        if used != set(headings):
            raise ValueError(f"Sections and clauses do not fit together: {sorted(used ^ set(headings))}.")
        return self


def _require_ascending(what: str, ids: list[str]) -> None:
    numbers = [tuple(map(int, each.split("."))) for each in ids]
    for before, after in pairwise(numbers):
        if before >= after:
            raise ValueError(f"The {what} after {before} must have a higher number, not {after}.")


def parse_terms(text: str) -> tuple[tuple[Section, ...], tuple[Clause, ...]]:
    """Return sections and clauses of a TOML text, in order; `ValueError` names what is wrong with it."""
    decoded: dict[str, Any] = tomllib.loads(text)
    # Strict mode takes no list for a tuple, and TOML knows lists only.
    terms = _Terms.model_validate({name: tuple(entries) for name, entries in decoded.items()})
    return terms.section, terms.clause


@cache
def _terms() -> tuple[tuple[Section, ...], dict[str, Clause]]:
    headings, entries = parse_terms(files("operalta.terms").joinpath("clauses.toml").read_text("utf-8"))
    return headings, {entry.id: entry for entry in entries}


def sections() -> tuple[Section, ...]:
    """Return the headings in the order of the document."""
    return _terms()[0]


def clauses() -> tuple[Clause, ...]:
    """Return all clauses in the order of the document."""
    return tuple(_terms()[1].values())


def clause(clause_id: str) -> Clause:
    """Return the clause with this id; `UnknownClause` where there is none."""
    try:
        return _terms()[1][clause_id]
    except KeyError:
        raise UnknownClause(f"The terms have no clause {clause_id}.") from None
