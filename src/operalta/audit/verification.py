"""Checking the whole log, or one company's part of it, against heads from outside the database.

Pure and streaming: the caller reads leaves in their order with what is left of each event; nothing here knows
where they come from. One event or a hundred million need the same memory, but for a number a company and a
root a head.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from operalta.audit.canonical import NotCanonical
from operalta.audit.findings import FindingKind, Findings, LogCounts, LogReport
from operalta.audit.heads import SignedHead, VerifySignature, check_heads, verify_head
from operalta.audit.rules import AuditEvent, StoredLeaf, commitment
from operalta.audit.tree import Frontier, verify_inclusion
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class StoredContent:
    """What is left of an event: all of it with its salt, or, once erased, no salt and perhaps no event."""

    event_id: UUID
    event: AuditEvent | None
    salt: bytes | None


@dataclass(frozen=True, slots=True)
class CompanyEntry:
    """One of a company's leaves with its event and the proof that it is in the tree."""

    leaf: StoredLeaf
    content: StoredContent | None
    proof: Sequence[bytes]


class LogCheck:
    """Goes through the log leaf by leaf; `finish` compares what came together with the heads.

    `heads` come from outside the database. `erasures` are the events that may have lost their salt, from the
    ledger of erasures outside the database; None where there is no ledger to ask, and erased events are
    counted only.
    """

    def __init__(self, heads: Iterable[SignedHead], *, erasures: Collection[UUID] | None = None) -> None:
        self._heads = tuple(heads)
        self._findings = Findings()
        self._contents = _ContentCheck(self._findings, erasures)
        self._numbers: dict[UUID, int] = {}
        self._frontier = Frontier()
        self._next_index = 0
        self._wanted = {head.size for head in self._heads}
        self._roots = {0: self._frontier.root()}

    def add(self, leaf: StoredLeaf, content: StoredContent | None) -> None:
        """Take the next leaf, in the order of their indexes, with what is stored of its event."""
        self._check_index(leaf)
        self._check_number(leaf)
        self._contents.check(leaf, content)
        try:
            self._frontier.append(leaf.hash)
        except NotCanonical as error:
            self._findings.note(FindingKind.UNREADABLE_LEAF, f"leaf {leaf.index}", str(error))
            return
        if self._frontier.size in self._wanted:
            self._roots[self._frontier.size] = self._frontier.root()

    def finish(self, verify: VerifySignature, *, unsealed: int = 0) -> LogReport:
        """Return the report. `unsealed` is how many events wait for the tree; they are counted only."""
        self._findings.extend(check_heads(self._heads, self._roots.get, verify))
        if not self._heads and self._frontier.size:
            text = "There is no head from outside the database to compare the tree with."
            self._findings.note(FindingKind.NO_HEADS, "heads", text)
        covered = max((head.size for head in self._heads), default=0)
        counts = LogCounts(
            leaves=self._frontier.size,
            proved=self._contents.proved,
            erased=self._contents.erased,
            unsealed=unsealed,
            heads=len(self._heads),
            beyond_heads=max(0, self._frontier.size - covered),
            companies=len(self._numbers),
        )
        return self._findings.report(counts)

    def _check_index(self, leaf: StoredLeaf) -> None:
        place = f"leaf {leaf.index}"
        if leaf.index > self._next_index:
            text = f"Leaves {self._next_index} to {leaf.index - 1} are gone."
            self._findings.note(FindingKind.MISSING_LEAF, place, text)
        elif leaf.index < self._next_index:
            self._findings.note(FindingKind.MISPLACED_LEAF, place, "It stands behind a later leaf.")
        self._next_index = max(self._next_index, leaf.index + 1)

    def _check_number(self, leaf: StoredLeaf) -> None:
        if leaf.company_id is None:
            if leaf.company_number is not None:
                text = "It has a company's number and no company."
                self._findings.note(FindingKind.MISLABELLED_EVENT, f"leaf {leaf.index}", text)
            return
        expected = self._numbers.get(leaf.company_id, 0) + 1
        _check_number(self._findings, leaf, expected)
        self._numbers[leaf.company_id] = leaf.company_number or expected


@upholds("2.5.5")
def verify_log(
    leaves: Iterable[StoredLeaf],
    contents: Iterable[StoredContent],
    heads: Iterable[SignedHead],
    verify: VerifySignature,
    *,
    erasures: Collection[UUID] | None = None,
) -> LogReport:
    """Check a log that fits into memory: leaves in their order, contents in any order.

    Contents without a leaf count as unsealed. For a log of any size feed a `LogCheck`.
    """
    by_event = {content.event_id: content for content in contents}
    check = LogCheck(heads, erasures=erasures)
    for leaf in leaves:
        check.add(leaf, by_event.pop(leaf.event_id, None))
    return check.finish(verify, unsealed=len(by_event))


@upholds("2.5.5")
def verify_company_log(
    company_id: UUID,
    entries: Iterable[CompanyEntry],
    head: SignedHead,
    verify: VerifySignature,
    *,
    erasures: Collection[UUID] | None = None,
    known: int = 0,
) -> LogReport:
    """Check one company's events without seeing anybody else's.

    Each entry, in the order of its number, must be in the tree of the signed `head`, carry the next number,
    stand behind the entry before it, and fit its content. `known` is how many events the company saw when it
    last checked: fewer now means that the end was cut off.
    """
    findings = Findings()
    wrong = verify_head(head, verify)
    if wrong:
        findings.extend([wrong])
    contents = _ContentCheck(findings, erasures)
    number = leaves = 0
    index = -1
    for entry in entries:
        leaf = entry.leaf
        leaves += 1
        if leaf.company_id != company_id:
            text = "It is another company's, or nobody's."
            findings.note(FindingKind.MISLABELLED_EVENT, f"leaf {leaf.index}", text)
        _check_number(findings, leaf, number + 1)
        number = leaf.company_number or number + 1
        if leaf.index <= index:
            findings.note(FindingKind.MISPLACED_LEAF, f"leaf {leaf.index}", "It stands behind a later leaf.")
        index = leaf.index
        contents.check(leaf, entry.content)
        _check_inclusion(findings, entry, head)
    if number < known:
        text = f"There were {known} events before, and now there are {number}."
        findings.note(FindingKind.CUT_TAIL, f"company {company_id}", text)
    counts = LogCounts(leaves=leaves, proved=contents.proved, erased=contents.erased, heads=1, companies=1)
    return findings.report(counts)


def _check_number(findings: Findings, leaf: StoredLeaf, expected: int) -> None:
    if leaf.company_number != expected:
        text = f"Its number in the company is {leaf.company_number}; {expected} comes next."
        findings.note(FindingKind.NUMBER_GAP, f"leaf {leaf.index}", text)


def _check_inclusion(findings: Findings, entry: CompanyEntry, head: SignedHead) -> None:
    leaf = entry.leaf
    place = f"leaf {leaf.index}"
    try:
        leaf_hash = leaf.hash
    except NotCanonical as error:
        findings.note(FindingKind.UNREADABLE_LEAF, place, str(error))
        return
    included = verify_inclusion(leaf=leaf_hash, index=leaf.index, size=head.size, proof=entry.proof, root=head.root)
    if not included:
        text = f"The proof does not lead from it to the head of size {head.size}."
        findings.note(FindingKind.NOT_INCLUDED, place, text)


class _ContentCheck:
    """Compares what is left of each event with what its leaf committed to."""

    def __init__(self, findings: Findings, erasures: Collection[UUID] | None) -> None:
        self._findings = findings
        self._erasures = erasures
        self.proved = 0
        self.erased = 0

    def check(self, leaf: StoredLeaf, content: StoredContent | None) -> None:
        place = f"leaf {leaf.index}, event {leaf.event_id}"
        if content is None or content.event_id != leaf.event_id:
            self._findings.note(FindingKind.MISSING_EVENT, place, "Its event is gone.")
        elif content.salt is None:
            self.erased += 1
            if self._erasures is not None and content.event_id not in self._erasures:
                text = "Its salt is gone, and no erasure accounts for that."
                self._findings.note(FindingKind.UNEXPLAINED_ERASURE, place, text)
        elif content.event is None:
            self._findings.note(FindingKind.MISSING_EVENT, place, "Its content is gone, but not its salt.")
        else:
            self._check_event(place, leaf, content.event, content.salt)

    def _check_event(self, place: str, leaf: StoredLeaf, event: AuditEvent, salt: bytes) -> None:
        told = (event.id, event.company_id, event.company_number)
        if told != (leaf.event_id, leaf.company_id, leaf.company_number):
            text = "The leaf names another event, company or number than the event itself."
            self._findings.note(FindingKind.MISLABELLED_EVENT, place, text)
        try:
            fits = commitment(event, salt) == leaf.commitment
        except NotCanonical:
            fits = False
        if fits:
            self.proved += 1
        else:
            self._findings.note(FindingKind.EDITED_EVENT, place, "It is not what was committed to.")
