"""When a schedule is due: days and a time of the clock in a time zone, turned into moments. Pure.

A clock is changed twice a year in many places. A time that a day skips is taken by the clock from before the change, so
it comes later by what was skipped; a time that a day has twice is the first of the two. Either comes once.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from operalta.kernel.errors import InvalidInput
from operalta.kernel.texts import checked_line, checked_text

LONGEST_TITLE = 120
LONGEST_PROMPT = 20_000
LONGEST_ZONE = 64
LONGEST_PAUSE_DAYS = 40
"""No two times of a schedule are further apart than this."""
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Rhythm(StrEnum):
    """On which days. Every day is every week on all of its days."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Times:
    """When a schedule is due: `weekdays` from Monday, 0, or `month_day`; a month without that day has its last."""

    rhythm: Rhythm
    weekdays: tuple[int, ...]
    month_day: int | None
    at: time
    zone: str

    def falls_on(self, day: date) -> bool:
        """Tell whether it is due on this day."""
        if self.rhythm is Rhythm.WEEKLY:
            return day.weekday() in self.weekdays
        last = monthrange(day.year, day.month)[1]
        return self.month_day is not None and day.day == min(self.month_day, last)

    def says(self) -> str:
        """Return the days and the time in words."""
        if self.rhythm is Rhythm.MONTHLY:
            days = f"Every month on day {self.month_day}"
        elif len(self.weekdays) == len(WEEKDAYS):
            days = "Every day"
        else:
            days = "Every " + ", ".join(WEEKDAYS[each].capitalize() for each in self.weekdays)
        return f"{days} at {self.at:%H:%M} ({self.zone})"


@dataclass(frozen=True, slots=True)
class Draft:
    """A schedule as its owner wants it. Made by `draft`, which checks it."""

    title: str
    prompt: str
    times: Times


@cache
def zones() -> tuple[str, ...]:
    """Return the names of the time zones there are: places, and UTC."""
    places = {name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix", "right"))}
    return ("UTC", *sorted(places))


def draft(title: str, prompt: str, times: Times) -> Draft:
    """Return a schedule that can be kept. Raise InvalidInput with the field at fault."""
    weekdays = tuple(sorted(set(times.weekdays)))
    if times.zone not in zones():
        raise InvalidInput("Choose a time zone from the list, such as Europe/Zurich.", field="zone")
    if times.rhythm is Rhythm.WEEKLY and (not weekdays or not set(weekdays) <= set(range(len(WEEKDAYS)))):
        raise InvalidInput("Choose at least one day of the week.", field="weekdays")
    if times.rhythm is Rhythm.MONTHLY and (times.month_day is None or not 1 <= times.month_day <= 31):  # noqa: PLR2004
        raise InvalidInput("Choose a day of the month from 1 to 31.", field="month_day")
    weekly = times.rhythm is Rhythm.WEEKLY
    return Draft(
        checked_line(title, "title", LONGEST_TITLE, 1),
        checked_text(prompt, "prompt", LONGEST_PROMPT, 1).strip(),
        Times(
            times.rhythm,
            weekdays if weekly else (),
            None if weekly else times.month_day,
            times.at.replace(second=0, microsecond=0, tzinfo=None, fold=0),
            times.zone,
        ),
    )


def following(times: Times, now: datetime) -> datetime:
    """Return the first moment after `now` at which it is due, in UTC.

    What was missed meanwhile is not made up for. Raise ValueError where there is none: its time zone is unknown here.
    """
    return next(_moments(times, now))


def next_times(times: Times, now: datetime, count: int) -> tuple[datetime, ...]:
    """Return the next moments at which it is due, in its own time zone."""
    zone = ZoneInfo(times.zone)
    coming = _moments(times, now)
    return tuple(next(coming).astimezone(zone) for _ in range(count))


def _moments(times: Times, now: datetime) -> Iterator[datetime]:
    try:
        zone = ZoneInfo(times.zone)
    except (ZoneInfoNotFoundError, OSError) as unknown:
        raise ValueError(f"no time zone {times.zone} here") from unknown
    # From yesterday on: a time that yesterday skipped at midnight comes today.
    day, after = now.astimezone(zone).date() - timedelta(days=1), now
    waited = 0
    while waited <= LONGEST_PAUSE_DAYS:
        moment = datetime.combine(day, times.at, zone).astimezone(UTC)
        if times.falls_on(day) and moment > after:
            after, waited = moment, 0
            yield moment
        day += timedelta(days=1)
        waited += 1
    raise ValueError("it is never due")
