"""Schedules: who runs next, as plain values that shrink, print and replay."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

import attrs

Choose = Callable[[int], int]
"""Told how many tasks could run, answers who does: 0: all of them, the oldest first;
k: the k-th oldest alone, and the others wait."""


class Schedule(Protocol):
    """Decides about every moment at which more than one task could run.

    A schedule is a value. What changes during a run is in the function that ``begin``
    makes, so the same schedule can be used again and again.
    """

    def begin(self) -> Choose:
        """Start from the beginning, for one run."""
        ...


def _without_tail(choices: bytes) -> bytes:
    return choices.rstrip(b"\0")


@attrs.frozen
class Tape:
    """One choice per moment at which more than one task could run, as a byte.

    0 lets all of them run, the oldest first. Any other number picks one that runs
    alone, counted from the oldest and round again, and lets the others wait for the
    next choice. When the tape is over, all run. So the empty tape is first in, first
    out, and a tape with few other bytes is a story of few sentences.
    """

    choices: bytes = attrs.field(default=b"", converter=_without_tail)

    def begin(self) -> Choose:
        """Start from the beginning, for one run."""
        tape = iter(self.choices)

        def choose(runnable: int) -> int:
            choice = next(tape, 0)
            return choice and (choice - 1) % runnable + 1

        return choose


FIFO: Final = Tape()
"""Whoever can run does, the oldest task first."""


@attrs.frozen
class OneAtATime:
    """At every moment one task runs, drawn with a seed: finds much, shrinks not at all.

    For long runs without Hypothesis. `SimResult.tape` is what it has done, as a `Tape`
    that can be shortened by hand or by Hypothesis.
    """

    seed: int

    def begin(self) -> Choose:
        """Start from the beginning, for one run."""
        draw = Random(self.seed).randrange
        return lambda runnable: 1 + draw(runnable)
