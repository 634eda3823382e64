"""Rows of a table become lines, and lines become passages that tell which rows they hold."""

from . import limits
from .answer import Answer

_BETWEEN = " | "


class Rows:
    """Collects the rows of one table and hands them over in passages of whole rows, as long as they fit."""

    def __init__(self, answer: Answer, name: str = "") -> None:
        """Begin a table, with a `name` where it has one."""
        self._answer = answer
        self._name = f"sheet {name}, " if name else ""
        self._lines: list[str] = []
        self._length = 0
        self._first = 0
        self._last = 0

    def add(self, number: int, cells: list[str]) -> None:
        """Add row `number` (the first is 1), empty rows excepted. Raise Full."""
        shown = [" ".join(cell[: limits.CELL_CHARACTERS].split()) for cell in cells[: limits.COLUMNS]]
        if len(cells) > limits.COLUMNS or any(len(cell) > limits.CELL_CHARACTERS for cell in cells):
            self._answer.cut = True
        while shown and not shown[-1]:
            shown.pop()
        if not shown:
            return
        line = _BETWEEN.join(shown)
        if self._lines and self._length + len(line) >= limits.BODY_CHARACTERS:
            self.hand_over()
        self._first = self._first if self._lines else number
        self._last = number
        self._lines.append(line)
        self._length += len(line) + 1

    def hand_over(self) -> None:
        """Hand over what was collected. Raise Full."""
        if not self._lines:
            return
        rows = f"row {self._first}" if self._first == self._last else f"rows {self._first}-{self._last}"
        self._answer.begin(place=f"{self._name}{rows}")
        self._answer.add("\n".join(self._lines))
        self._lines.clear()
        self._length = 0
