"""A finished run, and what the rules want to know about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property

import attrs

from actors.events import Cleaned, Event, Failed, Frozen, Started, Stopped
from actors.testing import Entry, SimResult, SimulationError, Trace
from supervision.events import Stuck
from supervision.testing.faults import Point
from supervision.testing.points import (
    Answered,
    Blocked,
    Ended,
    Entered,
    Idle,
    Left,
    Made,
    Sent,
)
from supervision.testing.scenario import Scenario
from supervision.testing.trees import Node, Tree


@attrs.define(eq=False)
class Passage:
    """An incarnation at a point: a handler, its start, its cleanup."""

    entered: Entry
    event: Entered
    left: Entry | None = None
    """None: it never was past it."""

    @property
    def ending(self) -> str:
        """How it was left; empty: not."""
        event = None if self.left is None else self.left.event
        return event.ending if isinstance(event, Left) else ""


@attrs.define(eq=False)
class Life:
    """One incarnation, from its factory to the end of its cleanup."""

    path: str
    number: int
    made: Entry
    up: Entry | None = None
    failed: Entry | None = None
    cleaned: Entry | None = None
    """With its cleanup its life is over."""
    stopped: Entry | None = None
    overlapped: Entry | None = None
    """What belongs to it and came when the next had begun."""
    passages: list[Passage] = attrs.field(factory=list)

    @property
    def over(self) -> Entry | None:
        """Its end; None: it has none.

        Who never began to start is not cleaned up, as there is nothing to clean up.
        """
        begun = self.up is not None or self.at("start")
        return self.cleaned or (None if begun else self.stopped or self.failed)

    @property
    def interrupted(self) -> bool:
        """Whether an interrupt cut even its cleanup short, as it may."""
        return any(
            passage.ending == "interrupted"
            for passage in self.passages
            if passage.event.point in ("stopping", "cleanup")
        )

    def at(self, point: Point) -> list[Passage]:
        """What it did at a point."""
        return [each for each in self.passages if each.event.point == point]


@attrs.define(eq=False)
class Sending:
    """A message of the script, and what became of it."""

    sent: Entry
    event: Sent
    answers: list[Entry] = attrs.field(factory=list)
    handled: list[Passage] = attrs.field(factory=list)

    @property
    def answer(self) -> Answered | None:
        """What came of a question; None: nothing."""
        for entry in self.answers:
            if isinstance(entry.event, Answered):
                return entry.event
        return None


@attrs.define(eq=False, slots=False)
class Run:
    """What happened when a scenario was played on a tree."""

    scenario: Scenario
    tree: Tree
    trace: Trace
    nodes: Mapping[str, Node]
    """Whoever was there at some time, by path."""
    hung: SimulationError | None = None
    """If it came to no end: what the simulation says."""
    result: SimResult[None] | None = None
    """What the simulation leaves behind, if it ended."""

    _of: dict[tuple[type[Event], ...], Sequence[Entry]] = attrs.field(
        factory=dict, init=False, repr=False
    )
    """What `of` has found before: many rules ask for the same."""

    @property
    def done(self) -> SimResult[None] | SimulationError | None:
        """What the simulation leaves behind, however it ended."""
        return self.hung or self.result

    @cached_property
    def entries(self) -> Sequence[Entry]:
        """The trace."""
        return tuple(self.trace)

    def of(self, *kinds: type[Event]) -> Sequence[Entry]:
        """The entries whose events are of exactly these classes, in order."""
        if kinds not in self._of:
            self._of[kinds] = [e for e in self.entries if type(e.event) in kinds]
        return self._of[kinds]

    @cached_property
    def lives(self) -> Mapping[str, Sequence[Life]]:
        """All incarnations, by path, in order."""
        return self._read[0]

    @cached_property
    def sendings(self) -> Mapping[int, Sending]:
        """What the script has sent, by its number."""
        return self._read[1]

    def all_lives(self) -> Iterator[Life]:
        """All incarnations of all paths."""
        for lives in self.lives.values():
            yield from lives

    @cached_property
    def ended(self) -> Entry | None:
        """The end of the system."""
        return next(iter(self.of(Ended)), None)

    @cached_property
    def idle(self) -> Collection[str]:
        """The paths of those who were up and at rest when all was left alone at last.

        Empty if the script did not get that far.
        """
        events = (entry.event for entry in self.of(Idle))
        return {
            event.path
            for event in events
            if isinstance(event, Idle) and event.state == "running" and not event.busy
        }

    @cached_property
    def interrupted(self) -> bool:
        """Whether a ``base_exception`` was raised."""
        return any(
            isinstance(entry.event, Left) and entry.event.ending == "interrupted"
            for entry in self.of(Left)
        )

    @cached_property
    def stuck(self) -> Collection[str]:
        """The paths of those that could not be ended, and of all above them."""
        paths: set[str] = set()
        for entry in self.of(Stuck, Frozen):
            parts = entry.event.path.split("/")
            paths.update("/".join(parts[: n + 1]) for n in range(len(parts)))
        return paths

    @cached_property
    def root_failed(self) -> bool:
        """Whether the root has failed, or was not stopped in time."""
        ends = (entry.event for entry in self.of(Failed, Stopped))
        return any(
            isinstance(event, Failed)
            or (isinstance(event, Stopped) and event.exit.kind == "killed")
            for event in ends
            if event.path == self.tree.name
        )

    @cached_property
    def _blocked(self) -> Sequence[tuple[float, float]]:
        return [
            (entry.at, entry.event.seconds)
            for entry in self.of(Blocked)
            if isinstance(entry.event, Blocked)
        ]

    def blocked(self, begin: float, end: float) -> float:
        """For how long nobody could run between two times."""
        return sum(
            seconds
            for at, seconds in self._blocked
            if begin - seconds <= at <= end + EPSILON
        )

    def shielded(self, path: str = "") -> float:
        """Seconds for which somebody at or below a path cannot be cancelled."""
        return sum(
            fault.seconds * fault.repeat
            for fault in self.scenario.faults
            if fault.kind == "shielded_hang"
            and (not path or f"{fault.path}/".startswith(f"{path}/"))
        )

    @cached_property
    def _read(self) -> tuple[dict[str, list[Life]], dict[int, Sending]]:
        return _Reading(self.entries).result()


EPSILON = 1e-6
"""Times are sums of floating point numbers."""


class _Reading:
    """Reads a trace once, from the first entry to the last."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._lives: dict[str, list[Life]] = defaultdict(list)
        self._sendings: dict[int, Sending] = {}
        self._numbered: dict[int, list[Passage]] = defaultdict(list)
        self._open: dict[tuple[str, int, Point, int], Passage] = {}

    def result(self) -> tuple[dict[str, list[Life]], dict[int, Sending]]:
        for entry in self._entries:
            event = entry.event
            match event:
                case Made():
                    life = Life(event.path, event.incarnation, entry)
                    self._lives[event.path].append(life)
                case Entered():
                    self._enter(entry, event)
                case Left():
                    key = (event.path, event.incarnation, event.point, event.nth)
                    if (passage := self._open.pop(key, None)) is not None:
                        passage.left = entry
                case Started() | Failed() | Cleaned() | Stopped():
                    self._end(entry, event)
                case _:
                    self._talk(entry)
        for number, passages in self._numbered.items():
            if number in self._sendings:
                self._sendings[number].handled = passages
        return self._lives, self._sendings

    def _talk(self, entry: Entry) -> None:
        match event := entry.event:
            case Sent():
                self._sendings[event.number] = Sending(entry, event)
            case Answered():
                self._sendings[event.number].answers.append(entry)
            case _:
                pass

    def _latest(self, path: str) -> Life | None:
        lives = self._lives.get(path)
        return lives[-1] if lives else None

    def _enter(self, entry: Entry, event: Entered) -> None:
        passage = Passage(entry, event)
        key = (event.path, event.incarnation, event.point, event.nth)
        self._open[key] = passage
        if event.number is not None and event.point == "handle":
            self._numbered[event.number].append(passage)
        life = self._latest(event.path)
        if life is not None:
            life.passages.append(passage)
            if life.number != event.incarnation or life.cleaned is not None:
                life.overlapped = entry

    def _end(self, entry: Entry, event: Started | Failed | Cleaned | Stopped) -> None:
        life = self._latest(event.path)
        if life is None or life.number != event.incarnation:
            return  # its factory failed
        match event:
            case Started():
                life.up = entry
            case Failed():
                life.failed = entry
            case Cleaned():
                if life.cleaned is not None:
                    life.overlapped = entry
                life.cleaned = entry
            case Stopped():
                life.stopped = entry
