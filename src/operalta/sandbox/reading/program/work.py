"""Bounds on the time that the processor spends: for the whole, and for one page of it."""

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from . import limits
from .answer import OutOfTime


def start_clock() -> None:
    """From now on, raise OutOfTime in the reader when the work has taken too long."""
    signal.signal(signal.SIGPROF, _out_of_time)
    _arm(_left())


def stop_clock() -> None:
    """Let what is left (writing the answer down) take its time."""
    signal.setitimer(signal.ITIMER_PROF, 0)


def is_work_over() -> bool:
    """Tell whether there is no time left for anything more."""
    return _left() <= 0


@contextmanager
def limited_to(seconds: float) -> Generator[None]:
    """Raise OutOfTime within the block after so many seconds of the processor, or when all time is over."""
    _arm(min(seconds, _left()))
    try:
        yield
    finally:
        _arm(_left())


def _left() -> float:
    return limits.CPU_SECONDS - time.process_time()


def _arm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, max(seconds, 0.001))


def _out_of_time(_signal: int, _frame: FrameType | None) -> Never:
    raise OutOfTime
