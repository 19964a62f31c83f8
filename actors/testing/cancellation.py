"""Cancel a program at every step, and see whether it keeps its promises each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from random import Random

import attrs
import trio
from trio.lowlevel import Task, current_task

from actors.testing import _seams
from actors.testing._run import Rules
from actors.testing.schedule import FIFO, Schedule
from actors.testing.simulation import World, check_call, run_once
from actors.testing.sites import Cancellations, Site, never_in, sites_of
from actors.testing.trace import Trace


@attrs.frozen
class Moment:
    """What is cancelled, and when."""

    target: str
    step: int
    after: bool

    def __str__(self) -> str:
        when = "after" if self.after else "before"
        return f"{self.target!r} cancelled right {when} step {self.step}"


@attrs.frozen
class CancelReport:
    """What an exploration has covered. There is one only if nothing was found."""

    steps: int
    """How many steps the program has when nothing is cancelled."""
    runs: int
    skipped: int
    """Moments that were left out because there were more than ``max_runs``."""
    lines: frozenset[tuple[str, int]] = attrs.field(repr=False)
    """The files and lines at which some task waited when it was cancelled."""

    def __add__(self, other: CancelReport) -> CancelReport:
        """What both have covered together."""
        return CancelReport(
            self.steps + other.steps,
            self.runs + other.runs,
            self.skipped + other.skipped,
            self.lines | other.lines,
        )

    def uncovered(self, *packages: str, without: Sequence[str] = ()) -> list[Site]:
        """Where these packages wait and nothing was ever cancelled.

        Every ``await``, ``async with`` and ``async for`` counts. ``without`` names
        packages and modules that do not.

        Raises:
            ModuleNotFoundError: there is no such package.
        """
        sites = sites_of(*packages, without=tuple(without))
        return never_in(sites, set(self.lines))


def explore_cancellation(
    main: Callable[[World], Awaitable[object]],
    *,
    targets: Sequence[str] | None = None,
    check: Callable[[Trace], object] | None = None,
    schedule: Schedule = FIFO,
    seed: int = 0,
    max_runs: int = 20_000,
    max_virtual: float = 86_400,
) -> CancelReport:
    """Run ``main`` once, and then once for every moment and target, cancelling it.

    The moments are right after every step, and right before every step for which time
    has moved; right before any other is no other moment. A target is what can be
    cancelled then:

    * ``outer``: a scope round all of ``main``;
    * ``task``: the innermost scope of the task whose step it is. In a system that may
      be a scope of the runtime's own, which nobody else could cancel: name it for
      plain programs;
    * whatever ``main`` offers with `World.offer`, from then on: the ``cancel`` of a
      scope of its own, ``system.hurry``, any plain function.

    A run has failed if ``main`` raises, if it hangs (see `simulate`), or if ``check``,
    called with its trace, raises. The error is raised here, with a note that names the
    moment.

    Args:
        main: As for `simulate`; called for every run.
        targets: Which to explore; None: ``outer`` and all that is offered.
        check: Called after every run, also the first, in which nothing is cancelled.
        schedule: As for `simulate`.
        seed: As for `simulate`; also draws which moments are left out.
        max_runs: If there are more moments, so many of them are drawn.
        max_virtual: As for `simulate`.

    Raises:
        LookupError: a target that was never offered.
        ValueError: ``max_runs`` is less than 1.
    """
    check_call(main, schedule)
    if max_runs < 1:
        raise ValueError(f"max_runs must be at least 1, got {max_runs!r}")
    rules = Rules(schedule, seed, max_virtual, 20_000, "inline")
    explorer = _Explorer(main, check or (lambda _trace: None), rules)
    moments = [*explorer.moments(targets)]
    chosen = Random(seed).sample(moments, min(len(moments), max_runs))
    for moment in sorted(chosen, key=lambda m: (m.step, m.after)):
        try:
            explorer.run(moment)
        except BaseException as error:
            error.add_note(str(moment))
            raise
    return CancelReport(
        explorer.steps,
        len(chosen) + 1,
        len(moments) - len(chosen),
        frozenset(explorer.cancellations.lines),
    )


def _cancel_innermost(task: Task, outer: trio.CancelScope) -> None:
    scopes = [*_seams.scopes(task)]
    if outer in scopes:  # else it is one of trio's own, or was one of ours
        scopes[0].cancel(reason="the exploration cancels this task")


class _Explorer:
    def __init__(
        self,
        main: Callable[[World], Awaitable[object]],
        check: Callable[[Trace], object],
        rules: Rules,
    ) -> None:
        self.cancellations = Cancellations()
        self.steps = 0
        self._main = main
        self._check = check
        self._rules = rules

    def moments(self, targets: Sequence[str] | None) -> Iterator[Moment]:
        """Run it undisturbed, to see what moments there are."""

        async def main(world: World) -> Mapping[str, int]:
            with trio.CancelScope() as outer:
                world.offer("outer", outer.cancel)
                await self._main(world)
            self.steps = world.step
            return world._offered_at

        result = run_once(main, self._rules)
        self._check(result.trace)
        offered = {**result.value, "task": result.value["outer"]}
        for target in result.value if targets is None else targets:
            if target not in offered:
                names = ", ".join(offered)
                raise LookupError(f"{target!r} was never offered; there are {names}")
            for step in range(offered[target], self.steps + 1):
                if step in result._run.jumps and step > offered[target]:
                    yield Moment(target, step, after=False)
                if step < self.steps:  # after the last, main is over
                    yield Moment(target, step, after=True)

    def run(self, moment: Moment) -> None:
        """Run it, with one thing cancelled at one moment."""

        async def main(world: World) -> None:
            with trio.CancelScope() as outer:
                world.offer("outer", outer.cancel)
                world.offer("task", lambda: _cancel_innermost(current_task(), outer))
                # Cancelled earlier than it is offered, it is not cancelled at all.
                strike = partial(world.take_up, moment.target)
                world.at_step(moment.step, strike, after=moment.after)
                await self._main(world)

        self._check(run_once(main, self._rules, self.cancellations.look).trace)
