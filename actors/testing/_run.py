"""One simulated run: who runs next, how many steps there were, and does it go on?"""

from __future__ import annotations

import math
import random as random_module
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from random import Random
from typing import Literal, TypeVar, cast

import attrs
import outcome
import trio
from trio.lowlevel import Task

from actors.testing import _seams
from actors.testing.outcomes import Deadlock, Livelock, Pick, SimulationError
from actors.testing.schedule import Schedule, Tape
from actors.testing.tasks import label, tree
from actors.testing.trace import Trace

T = TypeVar("T")

SHOWN = 20
"""Lines of a schedule that an error shows."""

UNWINDING = 3600.0
"""Seconds of virtual time for which a run that was found to hang may still unwind."""

Threads = Literal["inline", "forbid"]
"""inline: what is run in a thread is called whole at one moment, after a virtual delay
of up to 0.1 s, drawn by the seed; forbid: to start one is a ``RuntimeError``."""


@attrs.frozen
class Rules:
    """What decides how a run goes; see `simulate`."""

    schedule: Schedule
    seed: int
    max_virtual: float
    max_batches: int
    threads: Threads


class Run:
    """Decides who runs, counts steps, and notices when nothing goes on."""

    def __init__(
        self, rules: Rules, watch: Callable[[Task], object] | None = None
    ) -> None:
        self.clock = _seams.Clock(self._jumps)
        self.step = 0
        self.trace = Trace(self.clock.now, lambda: self.step)
        self.order: list[int] = []
        """Who ran, step by step; tasks are numbered from the first of the run, as
        earlier runs in the process do not matter."""
        self.jumps: set[int] = set()
        """The steps before which time has moved."""
        self._rules = rules
        self._choose = rules.schedule.begin()
        self._watch = watch
        """Called before every step with the task that is about to run."""
        self._everything = trio.CancelScope()
        self._main: Task | None = None
        self._first = -1
        """The number of the first task in trio's own count."""
        self._tasks: dict[int, Task] = {}
        self._choices = bytearray()
        self._picks: list[tuple[int, int, list[int]]] = []
        """The step, who ran alone, and who had to wait."""
        self._batches = 0
        """Since virtual time has moved."""
        self._planned: dict[tuple[int, bool], list[Callable[[], object]]] = {}
        self._broken: BaseException | None = None
        """What something that trio has called for us has raised. It would end trio in
        disorder, or be logged and forgotten: so it is kept until the run is over."""
        self._hung: SimulationError | None = None
        self._limit = rules.max_virtual
        """Until when it may go on; moved on by each measure."""
        self._measures = 0
        """How many have been taken to end what hangs."""

    # -- running --------------------------------------------------------------------

    def to_the_end(self, main: Callable[[], Awaitable[T]], name: str) -> T:
        """Run it, and raise what matters most of what went wrong."""

        def run() -> T | None:
            steps = _Steps(self)
            return trio.run(
                self._body, main, name, clock=self.clock.trio, instruments=[steps]
            )

        with _seams.scheduling(self._who_runs), self._seeded(), self._threads():
            result = outcome.capture(run)
        error = result.error if isinstance(result, outcome.Error) else None
        if not isinstance(error, KeyboardInterrupt):
            error = self._broken or self._hung or error
        if error is not None:
            if isinstance(error, Exception) and self._picks:
                error.add_note(self._told())
            raise error
        return cast("T", result.unwrap())

    async def _body(self, main: Callable[[], Awaitable[T]], name: str) -> T | None:
        self._main = trio.lowlevel.current_task()
        self._main.name = name
        with self._everything:
            return await main()
        return None

    @contextmanager
    def _seeded(self) -> Generator[None, None, None]:
        state = random_module.getstate()
        random_module.seed(self._rules.seed)
        try:
            yield
        finally:
            random_module.setstate(state)

    def _threads(self) -> AbstractContextManager[None]:
        if self._rules.threads == "forbid":
            return _seams.threads_as(_forbidden)
        delays = Random(f"threads {self._rules.seed}")
        return _seams.threads_as(_seams.inline_threads(lambda: delays.uniform(0, 0.1)))

    # -- deciding -------------------------------------------------------------------

    def _who_runs(self, batch: list[Task]) -> tuple[list[Task], list[Task]]:
        self._batches += 1
        if self._batches > self._rules.max_batches:
            self._batches = 0
            rounds = self._rules.max_batches
            self._hangs(Livelock, f"{rounds} rounds and no time has passed")
        if not batch:
            return batch, batch  # the clock was moved, and that is all
        if self._first < 0:
            self._first = _seams.number(batch[0])
        numbers = [_seams.number(task) - self._first for task in batch]
        self._tasks.update(zip(numbers, batch, strict=True))
        own, choice = 1, 0
        if len(batch) > 1:  # in most there is one, and nothing to choose
            own = self._trios_own(batch)
            choice = self._choice(len(batch) - own)
        if choice == 0:
            self.order += numbers
            return batch, []
        alone = own + choice - 1
        self.order += [*numbers[:own], numbers[alone]]
        waiting = [number for number in numbers[own:] if number != numbers[alone]]
        self._picks.append((self.step + own + 1, numbers[alone], waiting))
        run = [*batch[:own], batch[alone]]
        return run, [task for task in batch[own:] if task is not batch[alone]]

    def _trios_own(self, batch: list[Task]) -> int:
        """How many are trio's own tasks: they come first, and always run."""
        if self._main is None:
            return len(batch)
        main = _seams.number(self._main)
        return sum(_seams.number(task) < main for task in batch[:2])

    def _choice(self, runnable: int) -> int:
        if runnable < 2 or self._broken is not None or self._hung is not None:
            return 0
        result = outcome.capture(self._choose, runnable)
        if isinstance(result, outcome.Error):
            self._breaks(result.error)
            return 0
        choice = result.unwrap()
        if not 0 <= choice <= runnable:
            what = f"the schedule chose {choice!r} of {runnable} tasks"
            self._breaks(ValueError(f"{what}: 0 is all, 1 to {runnable} one of them"))
            return 0
        self._choices.append(min(choice, 255))
        return choice

    def plan(self, step: int, fn: Callable[[], object], *, after: bool) -> None:
        """See `World.at_step`."""
        self._planned.setdefault((step, after), []).append(fn)

    def passes(self, task: Task, *, after: bool) -> None:
        """A step begins, or has ended."""
        if self._planned:
            for fn in self._planned.pop((self.step, after), ()):
                self._call(fn)
        if self._watch is not None and not after:
            self._call(self._watch, task)

    def _call(self, fn: Callable[..., object], *args: object) -> None:
        result = outcome.capture(fn, *args)
        if isinstance(result, outcome.Error):
            self._breaks(result.error)

    def _breaks(self, error: BaseException) -> None:
        """Keep an error until the run is over, and let that be soon."""
        self._broken = self._broken or error
        self.trace.close()
        self._everything.cancel(reason="the simulation is broken")

    # -- hanging --------------------------------------------------------------------

    def _jumps(self, seconds: float) -> bool:
        self._batches = 0
        if seconds == math.inf:
            self._hangs(Deadlock, "nobody will ever run again")
            return False
        if self.clock.now() + seconds > self._limit:
            self._hangs(Livelock, f"it is not over after {self._limit:g} s")
            return False
        self.jumps.add(self.step + 1)
        return True

    def _hangs(self, kind: type[SimulationError], what: str) -> None:
        """Say so once; then take everything down, by ever stronger measures."""
        if self._hung is None:
            lines = [f"{what}, at {self.clock.now():g} s"]
            if self._main is not None:
                lines += tree(self._main)
            text = "\n  ".join(lines)
            self._hung = kind(text, self.trace, self.picks(), self.tape())
            self.trace.close()
        self._measures += 1
        self._limit = self.clock.now() + UNWINDING
        if self._measures == 1:
            self._everything.cancel(reason=what)
        elif self._measures == 2:
            for task in _seams.everybody(trio.lowlevel.current_root_task()):
                for scope in _seams.scopes(task):
                    scope.shield = False
        else:
            # Something swallows its cancellation: trio itself has to end, in disorder.
            raise self._hung

    # -- looking back -----------------------------------------------------------------

    def _names(self) -> dict[int, str]:
        """The tasks in words; the second of a name is called so."""
        names: dict[int, str] = {}
        count: Counter[str] = Counter()
        for number, task in sorted(self._tasks.items()):
            name = label(task)
            count[name] += 1
            names[number] = name if count[name] == 1 else f"{name} #{count[name]}"
        return names

    def picks(self) -> list[Pick]:
        """How it differed from first in, first out."""
        names = self._names()
        return [
            Pick(step, names[ran], [names[each] for each in waiting])
            for step, ran, waiting in self._picks
        ]

    def _told(self) -> str:
        """The schedule in words, for an error; the first of many lines."""
        lines = [str(pick) for pick in self.picks()]
        if len(lines) > SHOWN:
            lines[SHOWN:] = [f"and so on, {len(lines) - SHOWN} times"]
        return "\n  ".join(["schedule: first in, first out, but", *lines])

    def tape(self) -> Tape:
        """What was decided, as data."""
        return Tape(bytes(self._choices))

    def history(self) -> Iterator[str]:
        """Who ran and what was emitted, a line for each."""
        names, entries = self._names(), deque(self.trace)
        for step, number in enumerate(self.order, start=1):
            yield f"step {step}: {names[number]} runs"
            while entries and entries[0].step <= step:
                yield entries.popleft().describe()


async def _forbidden(*_args: object, **_kwargs: object) -> None:
    raise RuntimeError(
        "this simulation forbids threads, and one was to be started; use "
        "threads='inline', or hand in something that needs none"
    )


class _Steps(trio.abc.Instrument):
    """Counts the steps. Trio forgets about an instrument that raises: it must not."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def before_task_step(self, task: Task) -> None:
        self._run.step += 1
        self._run.passes(task, after=False)

    def after_task_step(self, task: Task) -> None:
        self._run.passes(task, after=True)
