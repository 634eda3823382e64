"""Addresses of pages with what is asked for in them, so that a filtered page can be kept and sent."""

from collections.abc import Mapping
from urllib.parse import urlencode


def address_of(path: str, query: Mapping[str, str | None]) -> str:
    """Return `path` with those parts of `query` that say something."""
    said = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(said)}" if said else path
