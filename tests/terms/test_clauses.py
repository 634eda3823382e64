import re
import tomllib
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from operalta.terms.clauses import (
    Clause,
    ClauseKind,
    Figures,
    UnknownClause,
    clause,
    clauses,
    parse_terms,
    sections,
)

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
TOO_ALIKE = 0.8

SECTION = '[[section]]\nid = "2.2"\ntitle = "Second factor"\n'
CLAUSE = """[[clause]]
id = "2.2.2"
says = "A code is short."
kind = "test"
room = "identity"
proof = "It is counted."
"""


def rooms() -> set[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (floors,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return {room.strip(" ()") for floor in floors for room in floor.split("|")}


def test_there_are_119_clauses_with_ids_of_their_own() -> None:
    ids = [each.id for each in clauses()]
    assert len(ids) == len(set(ids)) == 119
    assert all(re.fullmatch(r"[0-8]\.[0-9]\.[0-9]{1,2}", each) for each in ids)
    assert ids == sorted(ids, key=lambda each: [int(part) for part in each.split(".")])


def test_every_kind_occurs_and_every_room_stands_on_a_floor() -> None:
    assert {each.kind for each in clauses()} == set(ClauseKind)
    assert {each.room for each in clauses()} <= rooms()


def test_every_section_has_a_title_and_a_clause() -> None:
    titles = [section.title for section in sections()]
    assert len(titles) == len(set(titles))
    assert {section.id for section in sections()} == {each.section_id for each in clauses()}


def test_figures_are_read_as_numbers() -> None:
    assert clause("3.1.2").figures == Figures(limit=5, window_seconds=900, key="email")
    assert clause("3.1.3").figures == Figures(limit=3, window_seconds=300, key="phone")
    assert clause("3.1.4").figures == Figures(limit=10, window_seconds=300, per_code=3)
    assert clause("3.1.5").figures == Figures(limit=40, window_seconds=60, key="user")
    assert [each.id for each in clauses() if each.figures] == ["3.1.2", "3.1.3", "3.1.4", "3.1.5"]


def test_documents_are_asked_for_where_software_cannot_know() -> None:
    for each in clauses():
        if each.kind is ClauseKind.ATTEST:
            assert each.needs_attestation
            assert not each.needs_tests
    assert [each.id for each in clauses() if each.attested_besides] == ["4.1.1", "4.2.2", "4.4.4"]
    assert clause("4.1.1").needs_attestation
    assert clause("4.1.1").needs_tests
    assert not clause("2.2.2").needs_attestation


def test_a_clause_is_found_by_its_id_and_others_are_unknown() -> None:
    assert clause("2.2.2").kind is ClauseKind.TEST
    for wrong in ("2.2.99", "", "2.2", "2.2.2 "):
        with pytest.raises(UnknownClause):
            clause(wrong)


def test_the_voice_is_the_products() -> None:
    for each in clauses():
        words = set(re.findall(r"[a-z']+", f"{each.says} {each.proof}".lower()))
        assert not words & {"we", "us", "our", "ours", "ourselves"}, each.id


def test_references_between_proofs_lead_somewhere() -> None:
    for each in clauses():
        for reference in re.findall(r"\b\d\.\d\.\d{1,2}\b", each.proof):
            assert clause(reference).id != each.id


@pytest.mark.parametrize(
    "broken",
    [
        SECTION,
        CLAUSE,
        SECTION + CLAUSE + CLAUSE,
        SECTION + SECTION + CLAUSE,
        SECTION + CLAUSE + CLAUSE.replace("2.2.2", "2.2.1"),
        SECTION + CLAUSE.replace("2.2.2", "2.2"),
        SECTION + CLAUSE.replace("2.2.2", "2.3.2"),
        SECTION + CLAUSE.replace('"test"', '"hope"'),
        SECTION + CLAUSE.replace("identity", "Identity Room"),
        SECTION + CLAUSE.replace("A code is short.", ""),
        SECTION + CLAUSE + "severity = 5\n",
        SECTION + CLAUSE + "figures = { limit = '5', window_seconds = 900 }\n",
        SECTION + CLAUSE + "figures = { limit = 0, window_seconds = 900 }\n",
        SECTION + CLAUSE + "figures = { limit = 5, window_seconds = 900, key = 'shoe' }\n",
    ],
)
def test_terms_that_are_not_whole_are_refused(broken: str) -> None:
    parse_terms(SECTION + CLAUSE)
    with pytest.raises(ValidationError):
        parse_terms(broken)


def source() -> dict[str, dict[str, Any]]:
    file = SHARED / "terms" / "clauses.toml"
    if not file.exists():
        pytest.skip("not run: the clauses that ours reword are not beside the project")
    return {each["id"]: each for each in tomllib.loads(file.read_text())["clause"]}


@pytest.mark.external
def test_ids_kinds_rooms_and_figures_are_those_of_the_source() -> None:
    theirs = source()
    assert {each.id for each in clauses()} == theirs.keys()
    for each in clauses():
        figures = each.figures.model_dump(exclude_none=True) if each.figures else None
        expected = theirs[each.id]
        assert (each.kind, each.room, figures) == (
            expected["kind"],
            expected["room"],
            expected.get("figures"),
        ), each.id


def _sentences(text: str) -> set[str]:
    return {part.strip(" .\n").lower() for part in re.split(r"(?<=[.;:])\s", text) if part.strip()}


def _too_alike(ours: Clause, theirs: dict[str, Any]) -> list[float]:
    pairs = [(ours.says, theirs["says"]), (ours.proof, theirs["proof"])]
    ratios = [SequenceMatcher(None, mine.lower(), other.lower()).ratio() for mine, other in pairs]
    return [ratio for ratio in ratios if ratio >= TOO_ALIKE]


@pytest.mark.external
def test_the_wording_is_our_own() -> None:
    theirs = source()
    copied = Counter(
        sentence for each in theirs.values() for field in ("says", "proof") for sentence in _sentences(each[field])
    )
    document = SHARED / "seed" / "security-terms.txt"
    copied.update(_sentences(document.read_text().replace("\n", ". ").replace("•", "")))
    for each in clauses():
        assert _too_alike(each, theirs[each.id]) == [], each.id
        assert (_sentences(each.says) | _sentences(each.proof)) & copied.keys() == set(), each.id


@pytest.mark.external
def test_no_line_of_the_document_behind_the_terms_is_repeated() -> None:
    document = SHARED / "seed" / "security-terms.txt"
    if not document.exists():
        pytest.skip("not run: the document behind the terms is not beside the project")
    lines = [line.strip(" •").lower() for line in document.read_text().splitlines() if len(line) > 25]
    for each in clauses():
        for line in lines:
            ratio = SequenceMatcher(None, each.says.lower(), line).quick_ratio()
            if ratio >= TOO_ALIKE:
                ratio = SequenceMatcher(None, each.says.lower(), line).ratio()
            assert ratio < TOO_ALIKE, (each.id, line)
