"""What a chart says about each event, in a few letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from actors.events import Cleaned, DeadLetter, Event, Failed, Frozen, Started, Stopped
from actors.testing import Entry
from supervision import plan
from supervision.events import BackingOff, Crashed, Escalated, Restarted, Stuck
from supervision.testing.faults import Point
from supervision.testing.history import Run
from supervision.testing.points import (
    Answered,
    Blocked,
    Decided,
    Ended,
    Entered,
    Idle,
    Leaving,
    Left,
    Made,
    Sent,
    Stopping,
)

LEGEND = "+ made ● up » sent ┌ └ handler « answer ✗ failed ▽ ▼ cleanup ■ end ↻ restart"
"""For those who see a chart for the first time."""


@attrs.frozen
class Mark:
    """Something to write into the column of an actor."""

    entry: Entry
    path: str
    text: str


def marks(run: Run) -> Iterator[Mark]:
    """What happened, in order; a burst of one message is one mark."""
    burst: _Burst | None = None
    for entry in run.entries:
        event = entry.event
        if burst is not None:
            if isinstance(event, Sent) and burst.takes(entry, event):
                burst = attrs.evolve(burst, last=event.number)
                continue
            yield burst.mark()
            burst = None
        if isinstance(event, Sent):
            burst = _Burst(entry, event, event.number)
        elif text := words(event):
            yield Mark(entry, event.path, text)
    if burst is not None:
        yield burst.mark()


@attrs.frozen
class _Burst:
    """The same message, sent to one actor in one step: once or more often."""

    entry: Entry
    event: Sent
    last: int

    def takes(self, entry: Entry, event: Sent) -> bool:
        """Tell whether that is one more of them."""
        mine = self.event
        return (
            (event.path, event.what) == (mine.path, mine.what)
            and entry.step == self.entry.step
            and event.number == self.last + 1
        )

    def mark(self) -> Mark:
        """All of them in one line."""
        first = self.event.number
        numbers = f"{first}" if first == self.last else f"{first}-{self.last}"
        return Mark(self.entry, self.event.path, f"» {numbers} {self.event.what}")


def words(event: Event) -> str:
    """Say what happened; empty for what goes without saying."""
    say = _WORDS.get(type(event))
    return f"* {type(event).__name__}" if say is None else say(event)


def _failed(event: Failed) -> str:
    failure = event.exit.failure
    return "✗ failed" if failure is None else f"✗ {type(failure).__name__}"


_BEGIN: Mapping[Point, str] = {
    "start": "▷ start",
    "run": "▷ run",
    "handle": "┌",
    "stopping": "▽",
    "cleanup": "▽ last step",
    "deliver": "≈",
}


def _entered(event: Entered) -> str:
    if event.fault is None and event.point in ("start", "run"):
        return ""  # it is up, or it is not: that is told
    handled = event.point == "handle" and event.number is not None
    number = f" {event.number}" if handled else ""
    fault = "" if event.fault is None else f" ⚡{event.fault.kind}"
    return f"{_BEGIN[event.point]}{number}{fault}"


def _left(event: Left) -> str:
    if event.point == "handle":
        number = "" if event.number is None else f" {event.number}"
        return f"└{number} {event.ending}"
    shown = event.point in ("stopping", "cleanup") and event.ending != "done"
    return f"▽ {event.ending}" if shown else ""


def _dead_letter(event: DeadLetter) -> str:
    return "" if event.reason == "crashed" else f"† {event.reason}"


def _decided(event: Decided) -> str:
    does: list[str] = []
    for action in event.actions:
        match action:
            case plan.Start():
                does.append(f"start {action.name}")
            case plan.Stop():
                does.append(f"stop {action.name}")
            case _:
                pass  # what comes of it is an event
    return ", ".join(does)


def _idle(event: Idle) -> str:
    if event.busy:
        return "· busy"
    if event.waiting:
        return f"· {event.waiting} waiting"
    return "" if event.state == "running" else f"· {event.state}"


def _nothing(_event: Event) -> str:
    return ""


_WORDS: Mapping[type[Event], Callable[[Any], str]] = {
    Made: lambda event: f"+ #{event.incarnation}",
    Started: lambda _: "● up",
    Failed: _failed,
    Cleaned: lambda _: "▼",
    Stopped: lambda event: f"■ {event.exit.kind}",
    BackingOff: lambda event: f"↻ in {event.delay:.3g} s",
    Stuck: lambda _: "‼ stuck",
    Frozen: lambda _: "‼ frozen",
    Escalated: lambda _: "✗ gives up",
    Leaving: lambda _: "■ leaves",
    Entered: _entered,
    Left: _left,
    Answered: lambda event: f"« {event.number} {event.outcome}",
    DeadLetter: _dead_letter,
    Decided: _decided,
    Blocked: lambda event: f"clock +{event.seconds:g} s",
    Idle: _idle,
    Stopping: lambda event: f"■ {event.why}",
    Ended: lambda event: f"═ {event.outcome}",
    Restarted: _nothing,  # is up, has failed: the others say so
    Crashed: _nothing,
}
"""By the class of the event; any other is shown by its name."""
