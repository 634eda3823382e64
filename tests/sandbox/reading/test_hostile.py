"""Every hostile document ends with a refusal or with bounded text: under limits, in silence, touching nothing."""

import pytest

from operalta.kernel.errors import Refusal
from operalta.sandbox.reading.program import limits
from operalta.sandbox.reading.program.run import READ, REFUSED
from operalta.sandbox.reading.rules import DocumentText
from operalta.sandbox.reading.service import read_document
from tests.sandbox.reading.hostile_archives import ARCHIVES, SHEETS_AND_SLIDES, XML, Sample
from tests.sandbox.reading.hostile_documents import IMAGES, LIES, PDFS, TEXTS
from tests.sandbox.reading.running import RunUnderLimits

CUT = frozenset({
    "all rows declared", "too many shared strings", "one long string often", "many sheets", "one page many times",
    "page of many words", "table with many rows", "table with many fields", "table with a long field",
    "one long line", "headings alone",
})  # fmt: skip
"""Those of which people must be told that there is more than was read."""

GROUPS = (ARCHIVES, XML, SHEETS_AND_SLIDES, PDFS, IMAGES, TEXTS, LIES)
SAMPLES: dict[str, Sample] = {title: sample for group in GROUPS for title, sample in group.items()}


def check_bounds(found: DocumentText) -> None:
    assert len(found.passages) <= limits.PASSAGES
    for passage in found.passages:
        assert 0 < len(passage.body) <= limits.BODY_CHARACTERS
        assert len(passage.heading) <= limits.HEADING_CHARACTERS
        assert len(passage.place) <= limits.PLACE_CHARACTERS
        assert "root:" not in passage.body
    said = found.text + found.title
    assert not {"\0", "\u202e", "\u2066", "\u200b"} & set(said)
    said.encode()  # no lone surrogates


@pytest.mark.parametrize("title", SAMPLES)
async def test_a_hostile_document_is_refused_or_bounded(run: RunUnderLimits, title: str) -> None:
    name, made, outcome = SAMPLES[title]
    if isinstance(outcome, str):
        found = await read_document(run, name, made())
        check_bounds(found)
        assert outcome in found.text
        assert found.cut or title not in CUT
    else:
        with pytest.raises(Refusal) as refusal:
            await read_document(run, name, made())
        assert type(refusal.value) is outcome
    assert run.complaints == b""
    assert not list(run.folder.iterdir())
    if run.report is not None:  # it ended by itself, within its limits, and strayed nowhere
        assert run.report.ended == "finished"
        assert run.report.exit_code in {READ, REFUSED}
