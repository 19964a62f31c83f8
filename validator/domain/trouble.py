"""Whose fault it is when everybody fails at once.

A miner that does not answer has earned nothing. But when nobody answers, the likeliest
cause is what all have in common: our network, or our clock, after which miners judge
the age of a request.
"""

from __future__ import annotations

from collections.abc import Collection
from statistics import median
from typing import Literal

from validator.domain.answers import FailureKind

Trouble = Literal[
    "network",  # nobody was heard of at all
    "clock",  # they were, and agree that our clock is wrong
]

MINIMUM = 5
"""With fewer miners than that, they may be down all at once."""

CLOCK_TOLERANCE = 60.0
"""Seconds: half of what miners tolerate."""

UNHEARD: frozenset[FailureKind] = frozenset(
    {"timeout", "unreachable", "forbidden_address", "breaker_open", "ours"}
)
"""Failures in which not a word came from the miner."""


def clock_error(offsets: Collection[float]) -> float | None:
    """Seconds that our clock is behind those of most miners; None: it is right.

    ``offsets`` are seconds that each miner's clock is ahead of ours, of those that say.
    Half of them would have to lie to make our clock look wrong.
    """
    if len(offsets) < MINIMUM:
        return None
    middle = median(offsets)
    return middle if abs(middle) > CLOCK_TOLERANCE else None


def trouble(
    *, answered: int, failed: Collection[FailureKind], clock_error: float | None
) -> Trouble | None:
    """Say what of ours is to blame for a round; None: each miner for itself.

    A single answer clears us. So no group of miners can have a round declared void in
    which others have done well.
    """
    if answered or len(failed) < MINIMUM:
        return None
    if clock_error is not None:
        return "clock"
    return "network" if UNHEARD.issuperset(failed) else None
