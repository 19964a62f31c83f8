"""Run a trio program in virtual time, under a given schedule, to the end, at once.

Time stands still while anybody can run, and then jumps to the next deadline. So
nothing is ever waited for, and if there is no deadline, nobody will run again: that is
a deadlock, found at the moment it comes about.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import blake2b
from itertools import zip_longest
from random import Random
from typing import Generic, TypeVar, get_args
from zlib import crc32

import attrs
import trio

from actors.testing._run import Rules, Run, Threads
from actors.testing._seams import check_seams
from actors.testing.outcomes import NonDeterministic, Pick
from actors.testing.schedule import FIFO, Schedule, Tape
from actors.testing.trace import Trace

T = TypeVar("T")


class World:
    """What ``main`` gets from the simulation that it runs in."""

    def __init__(self, run: Run, seed: int) -> None:
        self._run = run
        self.random = Random(seed)
        """Draws the same in every run with the same seed."""
        self.trace = run.trace
        """A sink: ``System(..., on_event=[world.trace], random=world.random)``."""
        self._offers: dict[str, Callable[[], object]] = {}
        self._offered_at: dict[str, int] = {}

    @property
    def step(self) -> int:
        """How many steps have been made, with the one under way.

        One step is what one task does from where it waited to where it waits next.
        """
        return self._run.step

    def at_step(
        self, step: int, fn: Callable[[], object], *, after: bool = False
    ) -> None:
        """Call a plain function right before a step begins, or right after it ended.

        If the simulation has fewer steps, it is never called. What it raises ends the
        simulation, and is raised by `simulate`.

        Raises:
            ValueError: that step is over, or under way.
        """
        if step < self.step or (step == self.step and not after):
            raise ValueError(f"step {step} has begun already: this is step {self.step}")
        self._run.plan(step, fn, after=after)

    def offer(self, name: str, fn: Callable[[], object]) -> None:
        """Let `explore_cancellation` call a plain function, at any step from now on.

        Such as the ``cancel`` of a scope, or ``system.hurry``. Of several with one name
        the last counts.
        """
        self._offered_at.setdefault(name, self.step)
        self._offers[name] = fn

    def take_up(self, name: str) -> None:
        """Call what is offered under a name, if anything is."""
        if name in self._offers:
            self._offers[name]()


@attrs.frozen(eq=False)
class SimResult(Generic[T]):
    """What a simulation leaves behind."""

    value: T
    """What ``main`` has returned."""
    _run: Run = attrs.field(repr=False)

    @property
    def trace(self) -> Trace:
        """What was emitted to ``world.trace``."""
        return self._run.trace

    @property
    def seconds(self) -> float:
        """How much virtual time has passed."""
        return self._run.clock.now()

    @property
    def steps(self) -> int:
        """How many steps there were, of all tasks together; see `World.step`."""
        return self._run.step

    @property
    def schedule(self) -> Sequence[Pick]:
        """How the schedule differed from first in, first out: one line per moment."""
        return self._run.picks()

    @property
    def tape(self) -> Tape:
        """What the schedule has decided, as data: it leads to the same run again.

        As long as no more than 255 tasks could run at one moment.
        """
        return self._run.tape()

    @property
    def digest(self) -> str:
        """A short text that is the same iff the same tasks ran and the same happened.

        It is the same in every process and on every machine, unless an event shows
        something of these.
        """
        text = f"{self._run.order}\n{self.trace.digest()}"
        return blake2b(text.encode(), digest_size=8).hexdigest()


def simulate(
    main: Callable[[World], Awaitable[T]],
    *,
    schedule: Schedule = FIFO,
    seed: int = 0,
    max_virtual: float = 86_400,
    max_batches: int = 20_000,
    threads: Threads = "inline",
    check: int = 0,
) -> SimResult[T]:
    """Run ``main(world)`` to its end in virtual time, under the given schedule.

    Synchronous: each call is a fresh ``trio.run`` with a clock that starts at 0. What
    ``main`` raises is raised here, with a note that tells the schedule in words. If it
    hangs, it is cancelled, and where something shields itself the shields are taken
    away, so that it ends all the same.

    The same ``main``, schedule and seed do the same again, as long as ``main`` makes
    all that it uses. The module ``random`` is seeded for the run and restored after it.
    ``time`` and ``uuid`` are left alone, as the tools round a test use them too: what
    depends on them is found out by ``check``. Real sockets and processes are not
    simulated: waiting for one looks like a deadlock.

    Args:
        main: Called once with a `World`; twice if the run is checked.
        schedule: Who runs when several tasks could: `FIFO`, a `Tape`, what `schedules`
            draws.
        seed: For ``world.random``, the module ``random`` and the delays of threads.
        max_virtual: Seconds of virtual time, after which a run is a `Livelock`.
        max_batches: The same for rounds of the scheduler in which no time passes.
        threads: What becomes of ``trio.to_thread.run_sync``; see `Threads`.
        check: Run about one in so many twice, and compare; 1: every one; 0: none. Which
            ones depends on what they do, not on a count, so it is no matter in which
            order they are run.

    Raises:
        Deadlock: nobody will ever run again.
        Livelock: a limit was reached.
        NonDeterministic: a second run did something else.
        RuntimeError: called inside of a trio run, or beside another simulation.
        TypeError: that is no function, or no schedule.
        UnknownTrio: this version of trio is not known well enough.
        ValueError: a limit that cannot be meant.
    """
    check_call(main, schedule)
    if not max_virtual > 0 or not max_batches > 0 or check < 0:
        raise ValueError(
            "max_virtual and max_batches must be positive, and check not negative; got "
            f"{max_virtual!r}, {max_batches!r} and {check!r}"
        )
    if threads not in get_args(Threads):
        raise ValueError(f"threads must be 'inline' or 'forbid', got {threads!r}")
    rules = Rules(schedule, seed, max_virtual, max_batches, threads)
    result = run_once(main, rules)
    if check and _number(result) % check == 0:
        _compare(result, run_once(main, rules))
    return result


def check_call(main: object, schedule: object) -> None:
    """Refuse what cannot be simulated, before anything runs.

    Raises:
        RuntimeError: called inside of a trio run.
        TypeError: that is no function, or no schedule.
        UnknownTrio: as `simulate`.
    """
    if not callable(main):
        raise TypeError(
            f"main is called with a World, got {main!r}; pass the async function itself"
        )
    if not callable(getattr(schedule, "begin", None)):
        raise TypeError(f"a schedule is FIFO, or such as Tape(b'..'); got {schedule!r}")
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "a simulation is a run of its own, and this was called inside of one; call "
            "it in a plain function"
        )
    check_seams()


def run_once(
    main: Callable[[World], Awaitable[T]],
    rules: Rules,
    watch: Callable[[trio.lowlevel.Task], object] | None = None,
) -> SimResult[T]:
    """One run, whose ``main`` and rules have been checked."""
    run = Run(rules, watch)
    world = World(run, rules.seed)
    name = getattr(main, "__qualname__", "main")
    return SimResult(run.to_the_end(partial(main, world), name), run)


def _number(result: SimResult[T]) -> int:
    """One that depends on what it did, and costs less than the digest."""
    last = [entry.describe() for entry in [*result.trace][-1:]]
    text = f"{result._run.order}\n{len(result.trace)} {last}"
    return crc32(text.encode())


def _compare(first: SimResult[T], second: SimResult[T]) -> None:
    for once, again in zip_longest(first._run.history(), second._run.history()):
        if once != again:
            raise NonDeterministic(
                "run again with the same schedule and seed, it did something else\n"
                f"  first: {once or 'it was over'}\n  then:  {again or 'it was over'}",
                first.trace,
                first.schedule,
                first.tape,
            )
