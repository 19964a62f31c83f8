"""A geomagnetic storm that never happened, for runs without observed data."""

from __future__ import annotations

import math
from datetime import datetime
from random import Random

from validator.domain.dst import Nanotesla, format_days
from validator.domain.schedule import HOUR, floor_hour

ONSET = 30
"""Hours from the start to the sudden commencement: a day of quiet to forecast from."""

_QUIET = -8.0  # nT; the ring current never vanishes
_MAIN_PHASE = 9  # hours from the commencement to the deepest value


def synthetic_storm(start: datetime, *, days: int, random: Random) -> str:
    """Make up ``days`` of hourly Dst with one storm, in the WDC exchange format.

    A sudden commencement 30 hours after ``start`` lifts Dst for two hours, a main
    phase of some nine hours takes it to between -250 and -150 nT, and the ring current
    decays over days. The same ``random`` gives the same text.

    Args:
        start: the first hour, UTC; minutes are dropped.
        days: how long, at least 2 to reach the storm and its deepest value.
        random: where noise and depth are drawn from.
    """
    first = floor_hour(start)
    depth = random.uniform(-235.0, -165.0)
    commencement = random.uniform(20.0, 40.0)
    series = {
        first + index * HOUR: Nanotesla(
            round(
                _undisturbed(index - ONSET, depth, commencement)
                + max(-8.0, min(8.0, random.gauss(0.0, 3.0)))
            )
        )
        for index in range(days * 24)
    }
    return format_days(series, version=0)


def _undisturbed(hour: int, depth: float, commencement: float) -> float:
    """Dst without noise, ``hour`` hours after the commencement."""
    if hour < 0:
        return _QUIET
    if hour < 2:
        return _QUIET + commencement
    if hour <= _MAIN_PHASE:
        # A cosine: the fall begins and ends gently, as injection grows and fades.
        part = (hour - 1) / (_MAIN_PHASE - 1)
        top = _QUIET + commencement
        return top + (depth - top) * (1.0 - math.cos(math.pi * part)) / 2.0
    # Two decays: oxygen is lost from the ring current within hours, protons in days.
    since = hour - _MAIN_PHASE
    share = 0.6 * math.exp(-since / 8.0) + 0.4 * math.exp(-since / 60.0)
    return _QUIET + (depth - _QUIET) * share
