"""QR codes as drawings: text in, one path of an SVG out. The template draws it, dark on light in light and dark."""

from dataclasses import dataclass, field

import segno

QUIET_MODULES = 4
"""ISO/IEC 18004 asks for a margin of four modules, without which some cameras find nothing."""


@dataclass(frozen=True, slots=True)
class QrCode:
    """A code to draw: `size` is its width and height in modules, margin included; `path` strokes the dark ones."""

    size: int
    path: str = field(repr=False)


def qr_code(text: str) -> QrCode:
    """Return the QR code of `text`, with the second of the four levels of error correction (about 15 %)."""
    rows = segno.make_qr(text, error="m", boost_error=False).matrix
    strokes = [
        f"M{start + QUIET_MODULES} {number + QUIET_MODULES}.5h{length}"
        for number, row in enumerate(rows)
        for start, length in _runs(row)
    ]
    return QrCode(len(rows) + 2 * QUIET_MODULES, "".join(strokes))


def _runs(row: bytearray) -> list[tuple[int, int]]:
    """Return where dark modules begin in a row, and how many there are side by side."""
    runs: list[tuple[int, int]] = []
    for place, dark in enumerate(row):
        if not dark:
            continue
        if runs and sum(runs[-1]) == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((place, 1))
    return runs
