"""How a workbook's numbers look to its readers: dates as dates, shares as per cent, all others in plain digits."""

import re
from datetime import datetime, timedelta
from enum import Enum

from . import limits
from .answer import Reason, Refused
from .xml import Attributes

_DATES = frozenset([*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)])
"""The built-in formats of ECMA-376 part 1, 18.8.30 that show a date or a time, those of East Asian editions too."""

_SHARES = frozenset({9, 10})
_LONGEST_CODE = 255
_NOT_SHOWN = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.|_.|\*.')
_LAST_DAY = 2_958_466  # 9999-12-31, counted from 1900
_FIRST_SOUND_DAY = 60  # the format counts a 29 February 1900 that never was
_DIGITS = 15
_LONGEST_NUMBER = 40
_LONGEST_INDEX = 8


class Shown(Enum):
    """As what a number is shown."""

    PLAIN = "plain"
    DATE = "date"
    SHARE = "share"


class DateSystem(Enum):
    """The day before the first, from which a workbook counts."""

    FROM_1900 = datetime(1899, 12, 30)  # noqa: DTZ001 - a date on a sheet has no zone
    FROM_1904 = datetime(1904, 1, 1)  # noqa: DTZ001 - as above


class NumberFormats:
    """The formats that cells point to by the number of their style."""

    def __init__(self) -> None:
        """Begin without any."""
        self._codes: dict[str, Shown] = {}
        self._styles: list[Shown] = []
        self._is_inside = False

    def start(self, tag: str, given: Attributes) -> None:
        """Follow the workbook's styles."""
        if tag == "cellXfs":
            self._is_inside = True
        elif tag == "numFmt":
            self._codes[given.get("numFmtId", "")[:10]] = _kind_of_code(given.get("formatCode", ""))
        elif tag == "xf" and self._is_inside:
            self._styles.append(self._kind_of(given.get("numFmtId", "")[:10]))
        if len(self._codes) + len(self._styles) > 2 * limits.STYLES:
            raise Refused(Reason.TOO_LARGE)

    def end(self, tag: str) -> None:
        """Follow the workbook's styles."""
        if tag == "cellXfs":
            self._is_inside = False

    def of(self, style: str) -> Shown:
        """Return how cells of the style with this number are shown; plainly where there is none."""
        number = number_below(len(self._styles), style)
        return Shown.PLAIN if number is None else self._styles[number]

    def _kind_of(self, number: str) -> Shown:
        if number in self._codes:
            return self._codes[number]
        built_in = number_below(max(_DATES) + 1, number)
        return Shown.DATE if built_in in _DATES else Shown.SHARE if built_in in _SHARES else Shown.PLAIN


def number_below(most: int, digits: str) -> int | None:
    """Return the number that `digits` are where it is below `most`, which has eight digits at most itself."""
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > _LONGEST_INDEX or int(digits) >= most:
        return None
    return int(digits)


def shown_number(value: str, shown: Shown, dates: DateSystem) -> str:
    """Return a number as its readers see it; as it stands where it is none."""
    if len(value) > _LONGEST_NUMBER:
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if shown is Shown.SHARE:
        return f"{_plain(number * 100)}%"
    if shown is Shown.DATE and 0 <= number < _LAST_DAY:
        return _date(number, dates)
    return _plain(number)


def _kind_of_code(code: str) -> Shown:
    seen = _NOT_SHOWN.sub("", code[:_LONGEST_CODE].partition(";")[0]).lower()
    if "general" in seen or "@" in seen:
        return Shown.PLAIN
    if any(sign in seen for sign in "dmyhs") or ("h" in code.lower() and "[h" in code.lower()):
        return Shown.DATE
    return Shown.SHARE if "%" in seen else Shown.PLAIN


def _plain(number: float) -> str:
    return format(number, f".{_DIGITS}g")


def _date(number: float, dates: DateSystem) -> str:
    days = number + 1 if dates is DateSystem.FROM_1900 and number < _FIRST_SOUND_DAY else number
    try:
        moment = dates.value + timedelta(seconds=round(days * 86_400))
    except OverflowError:  # past the last day that there is
        return _plain(number)
    time = moment.strftime("%H:%M:%S").removesuffix(":00")
    if number < 1:
        return time
    day = moment.date().isoformat()
    return day if number == int(number) else f"{day} {time}"
