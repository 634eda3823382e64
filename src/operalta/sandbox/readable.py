"""What a fetched page says, as plain text: no markup, no hidden signs, nothing that a reader could not see. Pure."""

import re

import anyio.to_thread

from operalta.sandbox.egress import FetchedPage
from operalta.sandbox.reading.program.visible import text_of
from operalta.terms.registry import upholds

LONGEST_SOURCE = 1_000_000
"""Characters of a page that are read; what comes after them is left out."""

_TEXT_TYPES = re.compile(r"text/.*|application/(?:.*\+)?(?:json|xml)")
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})


@upholds("5.4.3")
async def readable_text(page: FetchedPage) -> str:
    """Return what `page` says; of one that is no text, a sentence about what it is. Other tasks go on meanwhile."""
    if not _TEXT_TYPES.fullmatch(page.content_type):
        kind = page.content_type or "an unnamed kind"
        return f"This is a file of the kind {kind}, {len(page.body)} bytes. It is not text, so nothing of it is shown."
    return await anyio.to_thread.run_sync(text_of, page.text[:LONGEST_SOURCE], page.content_type in _HTML_TYPES)
