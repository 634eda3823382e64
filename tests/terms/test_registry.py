"""Where the code that upholds a clause stands is told below the package, wherever the checkout lies."""

from pathlib import Path

import operalta.app
from operalta.terms.registry import upheld

SOURCE = Path(operalta.app.__file__).resolve().parents[1]


def test_each_reference_leads_to_its_file() -> None:
    references = [reference for found in upheld().values() for reference in found]
    assert references
    for reference in references:
        assert reference.file.startswith("operalta/"), reference
        assert (SOURCE / reference.file).is_file(), reference
