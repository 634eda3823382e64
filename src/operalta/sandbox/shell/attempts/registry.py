"""The attempts by name: each returns what it got hold of, or raises where it was held."""

from collections.abc import Callable
from typing import Any

Attempt = Callable[[dict[str, Any]], object]
ATTEMPTS: dict[str, Attempt] = {}


def attempt(name: str) -> Callable[[Attempt], Attempt]:
    """Register an attempt. It is given what the server planted for it to find."""

    def register(tried: Attempt) -> Attempt:
        ATTEMPTS[name] = tried
        return tried

    return register
