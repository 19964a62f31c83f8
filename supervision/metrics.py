"""Metrics per actor, as plain values: folded from events, completed by a snapshot.

The fold is pure: time is an argument, and nothing is measured here. What it keeps is
bounded by the number of actors, of their operations and of kinds of errors.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import attrs
import trio

from actors import Context, Exit, Snapshot
from actors.events import (
    Cleaned,
    Event,
    Failed,
    OperationEnded,
    OperationStarted,
    Started,
    Stopped,
)
from supervision.events import LeftOver, Waited
from supervision.resources import MemoryUse, OperationMemory, Resources

Ending = Literal["completed", "failed", "cancelled"]

WINDOWS = (60.0, 300.0, 900.0)
"""Seconds over which errors are counted."""

_RESOLUTION = 15.0
"""Seconds of one bucket: a window is longer than it says by up to this."""

_KINDS = 20
"""Kinds of errors told apart per bucket; what a bug makes up beyond is "other"."""


@attrs.frozen
class Runs:
    """How often and how long something ran: an actor's lives, or one operation.

    Times are trio's, in seconds.
    """

    started: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    last_start: float | None = None
    last_completion: float | None = None
    last_error: float | None = None
    error: str = ""
    """What the last error was."""
    total: float = 0.0
    """Seconds of all runs that are over."""

    @property
    def average(self) -> float | None:
        """Seconds per run that is over."""
        over = self.completed + self.failed + self.cancelled
        return self.total / over if over else None

    def current(self, now: float) -> float | None:
        """Seconds since the latest start, while one is under way."""
        over = self.completed + self.failed + self.cancelled
        if self.last_start is None or self.started <= over:
            return None
        return now - self.last_start

    def begin(self, now: float) -> Runs:
        """One more has begun."""
        return attrs.evolve(self, started=self.started + 1, last_start=now)

    def end(self, now: float, ending: Ending, seconds: float, error: str = "") -> Runs:
        """One has ended, after ``seconds``."""
        runs = attrs.evolve(self, total=self.total + seconds)
        if ending == "completed":
            return attrs.evolve(runs, completed=self.completed + 1, last_completion=now)
        if ending == "cancelled":
            return attrs.evolve(runs, cancelled=self.cancelled + 1)
        return attrs.evolve(runs, failed=self.failed + 1, last_error=now, error=error)


@attrs.frozen
class Cleanups:
    """What cleanups did; figures are of steps, but for ``attempted``."""

    attempted: int = 0
    """Incarnations that were cleaned up."""
    done: int = 0
    failed: int = 0
    abandoned: int = 0
    leftovers: int = 0
    """What was found later, that a cleanup should have removed."""


@attrs.frozen
class Waits:
    """How long was waited for one thing that others had."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> Waits:
        """One more wait is over."""
        longest = max(self.longest, seconds)
        return Waits(self.count + 1, self.total + seconds, longest)


class ErrorRate:
    """Errors by kind over the last 1, 5 and 15 minutes."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, Counter[str]]] = deque()

    def note(self, kind: str, now: float) -> None:
        """An error has happened."""
        begin = now - now % _RESOLUTION
        if not self._buckets or self._buckets[-1][0] != begin:
            self._drop_old(now)
            self._buckets.append((begin, Counter()))
        kinds = self._buckets[-1][1]
        kinds[kind if kind in kinds or len(kinds) < _KINDS else "other"] += 1

    def counts(self, now: float) -> Mapping[str, tuple[int, int, int]]:
        """How many of each kind there were in each of the `WINDOWS`."""
        self._drop_old(now)
        short, middle, long = (self._within(seconds, now) for seconds in WINDOWS)
        return {kind: (short[kind], middle[kind], long[kind]) for kind in long}

    def _within(self, seconds: float, now: float) -> Counter[str]:
        found: Counter[str] = Counter()
        for begin, kinds in self._buckets:
            if begin + _RESOLUTION > now - seconds:
                found.update(kinds)
        return found

    def _drop_old(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] + _RESOLUTION <= now - WINDOWS[-1]:
            self._buckets.popleft()


@attrs.frozen
class ActorMetrics:
    """Everything that is known of one actor."""

    now: Snapshot
    """How it is: state, messages, handling and mailbox time; without children."""
    lives: Runs
    current_life: float | None
    """Seconds the present incarnation has lived."""
    operations: Mapping[str, Runs]
    memory: Mapping[str, MemoryUse]
    """Per operation, from its latest reading; of the whole process."""
    waits: Mapping[str, Waits]
    """What it waited for. How long others waited for room in its mailbox: see `now`."""
    cleanups: Cleanups
    errors: Mapping[str, tuple[int, int, int]]
    """Crashes and failed operations by kind, within 1, 5 and 15 minutes."""


@attrs.define
class _Actor:
    """What events told of one actor."""

    lives: Runs = Runs()
    cleanups: Cleanups = Cleanups()
    operations: dict[str, Runs] = attrs.field(factory=dict[str, Runs])
    memory: dict[str, MemoryUse] = attrs.field(factory=dict[str, MemoryUse])
    waits: dict[str, Waits] = attrs.field(factory=dict[str, Waits])
    errors: ErrorRate = attrs.field(factory=ErrorRate)


class Metrics:
    """Counts what happens; a sink: ``System(..., on_event=[metrics])``."""

    def __init__(self) -> None:
        self._actors: dict[str, _Actor] = {}
        self._memory = OperationMemory()

    def __call__(self, event: Event) -> None:
        """Count an event that happens now."""
        self.see(event, trio.current_time())

    def see(self, event: Event, now: float) -> None:
        """Count an event that happened at ``now``, in trio time."""
        match event:
            case Started() | Failed() | Stopped():
                self._see_life(self._of(event), event, now)
            case OperationStarted() | OperationEnded():
                self._see_operation(self._of(event), event, now)
            case Cleaned():
                actor = self._of(event)
                actor.cleanups = _cleaned(actor.cleanups, event)
            case LeftOver():
                actor = self._of(event)
                found = actor.cleanups.leftovers + event.count
                actor.cleanups = attrs.evolve(actor.cleanups, leftovers=found)
            case Waited():
                waits = self._of(event).waits
                waits[event.what] = waits.get(event.what, Waits()).add(event.seconds)
            case _:
                pass

    def read(self, tree: Snapshot, now: float) -> Mapping[str, ActorMetrics]:
        """The metrics of every actor in the tree, by path."""
        return {each.path: self._metrics(each, now) for each in walk(tree)}

    def forget_all_but(self, paths: Collection[str]) -> None:
        """Forget the actors that are in the tree no longer."""
        for path in [path for path in self._actors if path not in paths]:
            del self._actors[path]
        self._memory.forget_all_but(paths)

    def waited(self, tree: Snapshot) -> Mapping[tuple[str, str], float]:
        """Seconds waited so far, by path and what was waited for; ``room`` included."""
        totals = {(each.path, "room"): each.room_wait_time for each in walk(tree)}
        for path, actor in self._actors.items():
            for what, waits in actor.waits.items():
                totals[path, what] = waits.total
        return totals

    def _of(self, event: Event) -> _Actor:
        return self._actors.setdefault(event.path, _Actor())

    def _see_life(
        self, actor: _Actor, event: Started | Failed | Stopped, now: float
    ) -> None:
        if isinstance(event, Started):
            actor.lives = actor.lives.begin(now)
            return
        kind, text = _error(event.exit)
        if event.exit.failed:
            actor.errors.note(kind, now)
        seconds = actor.lives.current(now)
        if seconds is not None:
            ending = _ENDINGS[event.exit.kind]
            actor.lives = actor.lives.end(now, ending, seconds, text)
        elif event.exit.failed:
            # It has failed to start: an error, but no life has ended.
            actor.lives = attrs.evolve(actor.lives, last_error=now, error=text)

    def _see_operation(
        self, actor: _Actor, event: OperationStarted | OperationEnded, now: float
    ) -> None:
        name = event.operation
        runs = actor.operations.get(name, Runs())
        if isinstance(event, OperationStarted):
            runs, read = runs.begin(now), self._memory.begin
        else:
            outcome = "failed" if event.outcome == "timed out" else event.outcome
            runs = runs.end(now, outcome, event.seconds, event.outcome)
            read = self._memory.end
            if outcome == "failed":
                actor.errors.note(f"{name} {event.outcome}", now)
        actor.operations[name] = runs
        if isinstance(event.resources, Resources):
            actor.memory[name] = read(event.path, name, event.resources.rss)

    def _metrics(self, tree: Snapshot, now: float) -> ActorMetrics:
        actor = self._actors.get(tree.path) or _Actor()
        return ActorMetrics(
            now=attrs.evolve(tree, children=()),
            lives=actor.lives,
            current_life=actor.lives.current(now),
            operations=dict(actor.operations),
            memory=dict(actor.memory),
            waits=dict(actor.waits),
            cleanups=actor.cleanups,
            errors=actor.errors.counts(now),
        )


_ENDINGS: Mapping[str, Ending] = {
    "normal": "completed",
    "shutdown": "completed",
    "failed": "failed",
    "timeout": "failed",
    "killed": "cancelled",
}


def _error(exit_: Exit) -> tuple[str, str]:
    """The kind of a failure, and the failure in one line."""
    if exit_.failure is None:
        return exit_.kind, exit_.kind
    kind = type(exit_.failure).__name__
    first, *_ = [*str(exit_.failure).splitlines(), ""]
    return kind, f"{kind}: {first}"


def _cleaned(so_far: Cleanups, event: Cleaned) -> Cleanups:
    return attrs.evolve(
        so_far,
        attempted=so_far.attempted + 1,
        done=so_far.done + len(event.done),
        failed=so_far.failed + len(event.failed),
        abandoned=so_far.abandoned + len(event.abandoned),
    )


def walk(tree: Snapshot) -> Iterator[Snapshot]:
    """An actor, and all that are below it."""
    yield tree
    for child in tree.children:
        yield from walk(child)


# -- the waits that replace locks ---------------------------------------------------


@contextmanager
def waiting(ctx: Context, what: str) -> Generator[None, None, None]:
    """Measure a wait for what others have.

    Use it as ``with waiting(self.ctx, "connection"): await pool.acquire()``, with
    nothing but the wait itself in the block. It is reported as `Waited`, also when it
    was cut off, unless it was over at once.
    """
    begin = trio.current_time()
    try:
        yield
    finally:
        seconds = trio.current_time() - begin
        if seconds > 0:
            ctx.emit(Waited(ctx.me.path, what, seconds))


class Contention:
    """Finds what too many wait for, out of seconds waited so far.

    Seconds waited per second are the average number of those who wait. What had been
    waited before it began to look says nothing, hence the first ``totals``.
    """

    def __init__(
        self, limit: float, totals: Mapping[tuple[str, str], float], now: float
    ) -> None:
        self._limit = limit
        self._at = now
        self._totals = totals
        self._contended: set[tuple[str, str]] = set()

    def look(
        self, totals: Mapping[tuple[str, str], float], now: float
    ) -> Mapping[tuple[str, str], float]:
        """What has become contended since the last look, with how many wait for it."""
        seconds, before = now - self._at, self._totals
        self._at, self._totals = now, totals
        if seconds <= 0:
            return {}
        waiting = {
            key: (total - before.get(key, 0.0)) / seconds
            for key, total in totals.items()
        }
        contended = {key for key, many in waiting.items() if many >= self._limit}
        new, self._contended = contended - self._contended, contended
        return {key: waiting[key] for key in new}
