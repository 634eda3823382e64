import re

import pytest
import segno

from operalta.web.qr_code import QUIET_MODULES, qr_code


@pytest.mark.parametrize(
    "text", ["a", "otpauth://totp/Operalta:ada%40lumen.example?secret=JBSWY3DPEHPK3PXP", "é" * 200]
)
def test_the_path_strokes_exactly_the_dark_modules(text: str) -> None:
    drawn = qr_code(text)
    dark = {
        (int(start) + step, int(row))
        for start, row, length in re.findall(r"M(\d+) (\d+)\.5h(\d+)", drawn.path)
        for step in range(int(length))
    }
    rows = segno.make_qr(text, error="m", boost_error=False).matrix
    expected = {
        (x + QUIET_MODULES, y + QUIET_MODULES) for y, row in enumerate(rows) for x, module in enumerate(row) if module
    }
    assert dark == expected
    assert drawn.size == len(rows) + 2 * QUIET_MODULES
