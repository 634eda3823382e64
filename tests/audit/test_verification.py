import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.audit.findings import FINDINGS_KEPT, FindingKind, LogReport, LogVerdict
from operalta.audit.heads import KeyUnknown, SignedHead, sign_head
from operalta.audit.rules import Action, AuditEvent, EventActor, Outcome, StoredLeaf, commitment
from operalta.audit.tree import Frontier, inclusion_proof
from operalta.audit.verification import CompanyEntry, StoredContent, verify_company_log, verify_log
from operalta.kernel.ids import CompanyId, PersonId

COMPANIES = (CompanyId(UUID(int=1)), CompanyId(UUID(int=2)), None)
BEGIN = datetime(2026, 3, 16, tzinfo=UTC)


def sign(message: bytes) -> bytes:
    return hashlib.sha256(b"private" + message).digest()


def verify(key_id: str, message: bytes, signature: bytes) -> bool:
    assert key_id == "key-1"
    return signature == sign(message)


@dataclasses.dataclass
class Log:
    """A log as it is stored, which a test may falsify; the heads stand outside."""

    leaves: list[StoredLeaf] = dataclasses.field(default_factory=list[StoredLeaf])
    contents: list[StoredContent] = dataclasses.field(default_factory=list[StoredContent])
    heads: list[SignedHead] = dataclasses.field(default_factory=list[SignedHead])
    nodes: dict[tuple[int, int], bytes] = dataclasses.field(default_factory=dict[tuple[int, int], bytes])

    def report(self, erasures: set[UUID] | None = None) -> LogReport:
        return verify_log(self.leaves, self.contents, self.heads, verify, erasures=erasures)

    def erase(self, *indexes: int) -> set[UUID]:
        """Drop content and salt of these, as a lawful erasure does, and return their ids."""
        for index in indexes:
            self.contents[index] = dataclasses.replace(self.contents[index], event=None, salt=None)
        return {self.contents[index].event_id for index in indexes}


def make_log(companies: Sequence[CompanyId | None], batch: int = 4) -> Log:
    """Seal one event for each entry of `companies`, a head after every `batch` and at the end."""
    log, frontier, numbers = Log(), Frontier(), dict.fromkeys(COMPANIES, 0)
    for index, company in enumerate(companies):
        numbers[company] += 1
        event = AuditEvent(
            id=UUID(int=1000 + index),
            company_id=company,
            company_number=numbers[company] if company else None,
            occurred_at=BEGIN + timedelta(seconds=index),
            actor_kind=EventActor.PERSON,
            actor_person_id=PersonId(UUID(int=7)),
            actor_run_id=None,
            action=Action.MEMBER_INVITED,
            target_kind="invitation",
            target_id=str(index),
            outcome=Outcome.SUCCEEDED,
            detail={"role": "advisor"},
        )
        salt = hashlib.sha256(bytes([index])).digest()
        leaf = StoredLeaf(index, commitment(event, salt), company, event.company_number, event.id)
        log.leaves.append(leaf)
        log.contents.append(StoredContent(event.id, event, salt))
        log.nodes.update({(node.level, node.index): node.hash for node in frontier.append(leaf.hash)})
        if index % batch == batch - 1 or index == len(companies) - 1:
            log.heads.append(
                sign_head(
                    size=index + 1,
                    root=frontier.root(),
                    sealed_at=event.occurred_at,
                    previous=log.heads[-1] if log.heads else None,
                    key_id="key-1",
                    sign=sign,
                )
            )
    return log


histories = st.lists(st.sampled_from(COMPANIES), min_size=2, max_size=20)


@pytest.mark.proves("2.5.5")
@given(data=st.data(), companies=histories)
def test_an_honest_log_is_whole_whatever_was_erased(data: st.DataObject, companies: list[CompanyId | None]) -> None:
    log = make_log(companies)
    indexes = data.draw(st.sets(st.integers(0, len(companies) - 1)))
    erased = log.erase(*indexes)
    for erasures in (None, erased):
        report = log.report(erasures)
        assert report.verdict is LogVerdict.WHOLE
        assert report.findings == ()
        assert report.counts.erased == len(indexes)
        assert report.counts.proved == len(companies) - len(indexes)


def edit_event(log: Log, index: int) -> None:
    content = log.contents[index]
    assert content.event
    edited = dataclasses.replace(content.event, outcome=Outcome.REFUSED)
    log.contents[index] = dataclasses.replace(content, event=edited)


def edit_event_and_commit_to_it_anew(log: Log, index: int) -> None:
    edit_event(log, index)
    content = log.contents[index]
    assert content.event
    assert content.salt
    log.leaves[index] = dataclasses.replace(log.leaves[index], commitment=commitment(content.event, content.salt))


def edit_detail_beyond_canonical(log: Log, index: int) -> None:
    content = log.contents[index]
    assert content.event
    edited = dataclasses.replace(content.event, detail={"role": 0.5})
    log.contents[index] = dataclasses.replace(content, event=edited)


def edit_salt(log: Log, index: int) -> None:
    log.contents[index] = dataclasses.replace(log.contents[index], salt=bytes(32))


def cut_salt(log: Log, index: int) -> None:
    content = log.contents[index]
    assert content.salt
    log.contents[index] = dataclasses.replace(content, salt=content.salt[:-1])


def remove_event(log: Log, index: int) -> None:
    del log.contents[index]


def remove_content(log: Log, index: int) -> None:
    log.contents[index] = dataclasses.replace(log.contents[index], event=None)


def remove_leaf(log: Log, index: int) -> None:
    del log.leaves[index]


def remove_leaf_and_close_the_gap(log: Log, index: int) -> None:
    del log.leaves[index]
    del log.contents[index]
    log.leaves = [dataclasses.replace(leaf, index=place) for place, leaf in enumerate(log.leaves)]


def cut_tail(log: Log, index: int) -> None:
    del log.leaves[index:]
    del log.contents[index:]


def repeat_leaf(log: Log, index: int) -> None:
    log.leaves.insert(index, log.leaves[index])


def swap_leaves(log: Log, index: int) -> None:
    other = (index + 1) % len(log.leaves)
    log.leaves[index], log.leaves[other] = log.leaves[other], log.leaves[index]


def swap_leaves_and_their_places(log: Log, index: int) -> None:
    swap_leaves(log, index)
    log.leaves = [dataclasses.replace(leaf, index=place) for place, leaf in enumerate(log.leaves)]


def swap_contents(log: Log, index: int) -> None:
    other = (index + 1) % len(log.contents)
    mine, theirs = log.contents[index], log.contents[other]
    log.contents[index] = dataclasses.replace(theirs, event_id=mine.event_id)
    log.contents[other] = dataclasses.replace(mine, event_id=theirs.event_id)


def break_commitment(log: Log, index: int) -> None:
    log.leaves[index] = dataclasses.replace(log.leaves[index], commitment=b"short")


def other_commitment(log: Log, index: int) -> None:
    log.leaves[index] = dataclasses.replace(log.leaves[index], commitment=bytes(32))


def other_number(log: Log, index: int) -> None:
    number = (log.leaves[index].company_number or 0) + 1
    log.leaves[index] = dataclasses.replace(log.leaves[index], company_number=number)


def other_company(log: Log, index: int) -> None:
    log.leaves[index] = dataclasses.replace(log.leaves[index], company_id=UUID(int=3))


def no_company(log: Log, index: int) -> None:
    if log.leaves[index].company_id is None:
        other_company(log, index)
    else:
        log.leaves[index] = dataclasses.replace(log.leaves[index], company_id=None, company_number=None)


def other_event(log: Log, index: int) -> None:
    log.leaves[index] = dataclasses.replace(log.leaves[index], event_id=UUID(int=5))


ON_CONTENT = [
    edit_event,
    edit_event_and_commit_to_it_anew,
    edit_detail_beyond_canonical,
    edit_salt,
    cut_salt,
    remove_content,
    swap_contents,
]
ON_LEAVES = [
    remove_event,
    remove_leaf,
    remove_leaf_and_close_the_gap,
    cut_tail,
    repeat_leaf,
    swap_leaves,
    swap_leaves_and_their_places,
    break_commitment,
    other_commitment,
    other_number,
    other_company,
    no_company,
    other_event,
]


@pytest.mark.proves("2.5.5")
@pytest.mark.parametrize("falsify", ON_CONTENT + ON_LEAVES)
@given(data=st.data(), companies=histories)
def test_any_single_change_is_found(
    falsify: Callable[[Log, int], None], data: st.DataObject, companies: list[CompanyId | None]
) -> None:
    log = make_log(companies)
    falsify(log, data.draw(st.integers(0, len(companies) - 1)))
    assert log.report().verdict is LogVerdict.TAMPERED


@pytest.mark.proves("2.5.5")
@pytest.mark.parametrize("falsify", ON_LEAVES)
@given(data=st.data(), companies=histories)
def test_a_change_is_found_even_where_every_salt_has_been_erased(
    falsify: Callable[[Log, int], None], data: st.DataObject, companies: list[CompanyId | None]
) -> None:
    log = make_log(companies)
    erasures = log.erase(*range(len(companies)))
    falsify(log, data.draw(st.integers(0, len(companies) - 1)))
    assert log.report(erasures).verdict is LogVerdict.TAMPERED


def found(report: LogReport) -> set[FindingKind]:
    return set(report.totals)


def test_findings_name_what_was_done() -> None:
    one = [COMPANIES[0]] * 8
    shifted = {FindingKind.NUMBER_GAP, FindingKind.WRONG_ROOT}
    expected: dict[Callable[[Log, int], None], set[FindingKind]] = {
        edit_event: {FindingKind.EDITED_EVENT},
        edit_event_and_commit_to_it_anew: {FindingKind.WRONG_ROOT},
        remove_event: {FindingKind.MISSING_EVENT},
        cut_tail: {FindingKind.CUT_TAIL},
        remove_leaf: {FindingKind.MISSING_LEAF, FindingKind.NUMBER_GAP, FindingKind.CUT_TAIL},
        swap_leaves: {FindingKind.MISSING_LEAF, FindingKind.MISPLACED_LEAF, *shifted},
        swap_leaves_and_their_places: shifted,
        other_commitment: {FindingKind.EDITED_EVENT, FindingKind.WRONG_ROOT},
        break_commitment: {FindingKind.EDITED_EVENT, FindingKind.UNREADABLE_LEAF, FindingKind.CUT_TAIL},
        other_number: {FindingKind.NUMBER_GAP, FindingKind.MISLABELLED_EVENT, FindingKind.WRONG_ROOT},
    }
    for falsify, kinds in expected.items():
        log = make_log(one)
        falsify(log, 5)
        assert found(log.report()) == kinds, falsify.__name__


def test_a_number_without_a_company_is_named_even_where_the_salt_is_gone() -> None:
    log = make_log([None] * 8)
    log.erase(5)
    other_number(log, 5)
    assert found(log.report()) == {FindingKind.MISLABELLED_EVENT, FindingKind.WRONG_ROOT}


def test_a_log_rebuilt_from_the_start_is_betrayed_by_the_heads_outside() -> None:
    honest, rebuilt = make_log([COMPANIES[0]] * 8), make_log([COMPANIES[1]] * 8)
    rebuilt.heads = honest.heads
    assert found(rebuilt.report()) == {FindingKind.WRONG_ROOT}


def test_an_erasure_that_no_ledger_knows_is_tampering() -> None:
    log = make_log([COMPANIES[0]] * 4)
    known = log.erase(0)
    log.erase(2)
    report = log.report(known)
    assert report.totals == {FindingKind.UNEXPLAINED_ERASURE: 1}
    assert report.verdict is LogVerdict.TAMPERED


def test_without_heads_from_outside_nothing_is_called_whole() -> None:
    log = make_log([COMPANIES[0]] * 4)
    log.heads = []
    report = log.report()
    assert found(report) == {FindingKind.NO_HEADS}
    assert report.verdict is LogVerdict.COULD_NOT_CHECK
    edit_event(log, 0)
    assert log.report().verdict is LogVerdict.TAMPERED


def test_a_signing_key_that_is_not_at_hand_leaves_the_log_unchecked() -> None:
    def unknown(key_id: str, _message: bytes, _signature: bytes) -> bool:
        raise KeyUnknown(key_id)

    log = make_log([COMPANIES[0]] * 4)
    report = verify_log(log.leaves, log.contents, log.heads, unknown)
    assert report.verdict is LogVerdict.COULD_NOT_CHECK
    cut_tail(log, 2)
    report = verify_log(log.leaves, log.contents, log.heads, unknown)
    assert report.verdict is LogVerdict.TAMPERED


def test_what_waits_for_the_tree_and_for_a_head_is_counted() -> None:
    log = make_log(list(COMPANIES) * 3, batch=4)
    log.heads.pop()
    later = dataclasses.replace(log.contents[0], event_id=UUID(int=9999))
    log.contents.append(later)
    report = log.report()
    assert report.verdict is LogVerdict.WHOLE
    counts = report.counts
    assert (counts.leaves, counts.proved, counts.unsealed, counts.beyond_heads) == (9, 9, 1, 1)
    assert (counts.heads, counts.companies) == (2, 2)


def test_an_empty_log_is_whole() -> None:
    assert Log().report().verdict is LogVerdict.WHOLE


def test_a_report_counts_all_findings_and_spells_out_the_first() -> None:
    log = make_log([COMPANIES[0]] * (FINDINGS_KEPT + 50))
    log.contents.clear()
    report = log.report()
    assert report.totals == {FindingKind.MISSING_EVENT: FINDINGS_KEPT + 50}
    assert len(report.findings) == FINDINGS_KEPT


def company_entries(log: Log) -> list[CompanyEntry]:
    size = len(log.leaves)

    def node(level: int, index: int) -> bytes:
        return log.nodes[level, index]

    return [
        CompanyEntry(leaf, content, inclusion_proof(leaf.index, size, node))
        for leaf, content in zip(log.leaves, log.contents, strict=True)
        if leaf.company_id == COMPANIES[0]
    ]


@given(companies=histories)
def test_a_company_checks_its_own_events_alone(companies: list[CompanyId | None]) -> None:
    log = make_log(companies)
    entries = company_entries(log)
    report = verify_company_log(UUID(int=1), entries, log.heads[-1], verify, known=len(entries))
    assert report.verdict is LogVerdict.WHOLE
    assert report.counts.proved == report.counts.leaves == companies.count(COMPANIES[0])


def test_a_company_notices_what_was_done_to_its_events() -> None:
    log = make_log([COMPANIES[0], COMPANIES[1], None] * 5)
    entries = company_entries(log)
    head = log.heads[-1]

    def kinds(changed: list[CompanyEntry], known: int = 5, head: SignedHead = head) -> set[FindingKind]:
        return found(verify_company_log(UUID(int=1), changed, head, verify, known=known))

    edited = dataclasses.replace(entries[2], content=entries[1].content)
    foreign_leaf = dataclasses.replace(entries[2].leaf, company_id=UUID(int=2))
    short_leaf = dataclasses.replace(entries[2].leaf, commitment=b"")
    assert kinds(entries) == set()
    assert kinds(entries[:-1]) == {FindingKind.CUT_TAIL}
    assert kinds(entries[1:]) == {FindingKind.NUMBER_GAP}
    assert FindingKind.MISPLACED_LEAF in kinds([*entries[:2], entries[3], entries[2], entries[4]])
    assert kinds([*entries[:2], edited, *entries[3:]]) == {FindingKind.MISSING_EVENT}
    foreign = dataclasses.replace(entries[2], leaf=foreign_leaf)
    assert {FindingKind.MISLABELLED_EVENT, FindingKind.NOT_INCLUDED} <= kinds([*entries[:2], foreign, *entries[3:]])
    short = dataclasses.replace(entries[2], leaf=short_leaf)
    assert FindingKind.UNREADABLE_LEAF in kinds([*entries[:2], short, *entries[3:]])
    theirs = verify_company_log(UUID(int=2), entries, head, verify)
    assert theirs.totals == {FindingKind.MISLABELLED_EVENT: 5}
    assert kinds(entries, head=dataclasses.replace(head, signature=b"")) == {FindingKind.BAD_SIGNATURE}
    assert FindingKind.NOT_INCLUDED in kinds(entries, head=log.heads[0])
