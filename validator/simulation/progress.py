"""Follows a demonstration by its events: counts, tells, and notices the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from statistics import mean

import trio

from actors.events import Event
from supervision.events import Restarted
from validator.domain.schedule import HOUR
from validator.events import (
    HourScored,
    MinerJoined,
    MinerLeft,
    NothingEarned,
    RoundEnded,
    RoundStarted,
    WeightsSet,
)
from validator.simulation.chaos import ChaosMet
from validator.simulation.report import by_kind


class Progress:
    """A sink of events.

    ``done`` is set once ``cycles`` questions are scored, and the weights that follow
    from them are set or found to be none.
    """

    def __init__(self, cycles: int, tell: Callable[[str], None]) -> None:
        self.rounds: dict[datetime, RoundEnded] = {}
        """Hour asked about -> how the round went."""
        self.scored: dict[datetime, HourScored] = {}
        self.restarts = 0
        self.chaos: dict[str, Counter[str]] = {}
        """What chaos has done -> to which task, how often."""
        self.done = trio.Event()
        self._cycles = cycles
        self._tell = tell
        self._started = False
        self._known: set[str] = set()

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912 - a table
        match event:
            case Restarted():
                self.restarts += 1
                self._tell(f"restarted {event.path}, life {event.incarnation}")
            case ChaosMet(kind=kind, task=task):
                self.chaos.setdefault(kind, Counter())[task] += 1
                self._tell(f"chaos: {kind} in {task}")
            case MinerLeft():
                self._tell(f"miner {event.hotkey[:8]} at uid {event.uid} has left")
            case MinerJoined():
                # After a restart of the follower, all miners join once more.
                if self._started and event.hotkey not in self._known:
                    name = event.hotkey[:8]
                    self._tell(f"miner {name} has joined at uid {event.uid}")
                self._known.add(event.hotkey)
            case RoundStarted():
                self._started = True
                asked_at = event.hour - HOUR
                self._tell(
                    f"{asked_at:%Y-%m-%d %H:%M} asking {event.miners} miners about the "
                    f"hour from {event.hour:%H:%M}"
                )
            case RoundEnded():
                self._round_ended(event)
            case HourScored():
                self._hour_scored(event)
            case WeightsSet():
                self._tell(
                    f"weights of {event.miners} miners set in block {event.block}"
                )
                if len(self.scored) >= self._cycles and event.through >= max(
                    self.scored
                ):
                    self.done.set()
            case NothingEarned():
                if len(self.scored) >= self._cycles and event.rows >= self._cycles:
                    self.done.set()
            case _:
                pass

    def _round_ended(self, event: RoundEnded) -> None:
        self.rounds[event.hour] = event
        failed = by_kind(event.failed)
        self._tell(
            f"    asked {event.asked}, answered {event.answered}"
            + (f", failed: {failed}" if failed else "")
        )

    def _hour_scored(self, event: HourScored) -> None:
        if len(self.scored) >= self._cycles:
            return
        self.scored[event.hour] = event
        scores = [score.score for score in event.outcome.scores]
        self._tell(
            f"    Dst of the hour from {event.hour:%H:%M} was {event.truth} nT: "
            f"{event.scored} answers scored"
            + (f", mean {mean(scores):.3f}" if scores else "")
            + f" ({len(self.scored)} of {self._cycles})"
        )
