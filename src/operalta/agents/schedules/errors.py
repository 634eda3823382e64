"""How schedules refuse."""

from operalta.kernel.errors import Conflict, NotAllowed, NotFound, TooLarge


class NoSuchSchedule(NotFound):
    """There is no such schedule of yours. It may have been removed: look at the list."""


class TooManySchedules(TooLarge):
    """You have twenty schedules here already. Remove one that is no longer needed."""


class ScheduledByPeopleOnly(NotAllowed):
    """Schedules are made by people in a session of their own. No API key does it."""


class NothingBegun(Conflict):
    """Nothing was begun: the run before is not over, or the schedule has to be confirmed first."""
