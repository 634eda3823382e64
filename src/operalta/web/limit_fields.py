"""Limits as people type them into a form: one field for each, `limits.{name}`, empty where nothing is said."""

from collections.abc import Iterable, Mapping

from starlette.datastructures import FormData

from operalta.kernel.errors import InvalidInput

LONGEST_NUMBER = 20


def typed_limits(form: FormData, names: Iterable[str]) -> dict[str, str]:
    """Return what was typed for each limit, by the field's name."""
    return {f"limits.{name}": str(form.get(f"limits.{name}", "")).strip()[:LONGEST_NUMBER] for name in names}


def limits_of(typed: Mapping[str, str], titles: Mapping[str, str]) -> dict[str, int]:
    """Return the limits that were typed, by their names. Raise InvalidInput for what is no whole number."""
    return {name: _number(f"limits.{name}", title, typed) for name, title in titles.items() if typed[f"limits.{name}"]}


def _number(field: str, title: str, typed: Mapping[str, str]) -> int:
    if not (typed[field].isascii() and typed[field].isdigit()):
        raise InvalidInput(f"{title}: write a whole number.", field=field)
    return int(typed[field])
