"""Whether two kinds of cases can be told apart by how long they take."""

import random
import time
from collections.abc import Callable, Sequence
from itertools import groupby

Case = Callable[[], object]


def separation(some: Sequence[float], others: Sequence[float]) -> float:
    """How often a guess by time alone is right: 0.5 for a coin, 1 for an oracle (the Mann-Whitney AUC, mirrored)."""
    merged = sorted([(value, 0) for value in some] + [(value, 1) for value in others])
    ranks, below = 0.0, 0
    for _, tied in groupby(merged, key=lambda pair: pair[0]):
        group = [kind for _, kind in tied]
        ranks += group.count(0) * (below + (len(group) + 1) / 2)
        below += len(group)
    area = (ranks - len(some) * (len(some) + 1) / 2) / (len(some) * len(others))
    return max(area, 1 - area)


def measure(some: Callable[[int], Case], others: Callable[[int], Case], pairs: int, warm_up: int = 50) -> float:
    """Time both kinds of cases in turn, in an order that chance decides, and return how well they separate.

    `some` and `others` prepare the case of a number, which is not timed.
    """
    chance = random.Random(pairs)  # noqa: S311 - the order, and nothing else
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs + warm_up):
        cases = [(0, some(number)), (1, others(number))]
        chance.shuffle(cases)
        for kind, case in cases:
            started = time.perf_counter()
            case()
            took = time.perf_counter() - started
            if number >= warm_up:
                seconds[kind].append(took)
    return separation(*seconds)
