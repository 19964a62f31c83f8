"""Hypothesis' state machines with steps that are async: one trio run for each example.

Trio runs in a greenlet of its own. A step switches into it and is awaited there, beside
whatever tasks are under way; between two steps Hypothesis draws the next one in the
main greenlet, and time stands still.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import outcome
import trio
from greenlet import greenlet
from hypothesis.stateful import RuleBasedStateMachine
from trio.testing import MockClock

A = ParamSpec("A")
M = TypeVar("M", bound="TrioStateMachine")
R = TypeVar("R")

Job = Callable[[], Awaitable[Any]]


class TrioStateMachine(RuleBasedStateMachine):
    """A state machine whose steps may be async: decorate them with `awaited` as well.

    ``self.nursery`` is for tasks beside the steps, ``self.stack`` for what is to be
    entered for the rest of the example, such as a `System`; both are left when it is
    over. Time is virtual and goes on while a step waits, and only then. What a task
    raises fails the step under way, or the next.
    """

    nursery: trio.Nursery
    stack: AsyncExitStack

    def __init__(self) -> None:
        super().__init__()
        self._drawing = greenlet.getcurrent()
        self._trio = greenlet(self._run)
        self._trio.switch()

    def teardown(self) -> None:
        """End the run."""
        super().teardown()
        if not self._trio.dead:
            self._trio.switch(None)

    def _run(self) -> None:
        trio.run(self._serve, clock=MockClock(autojump_threshold=0))

    async def _serve(self) -> None:
        async with trio.open_nursery() as self.nursery:
            async with AsyncExitStack() as self.stack:
                result: outcome.Outcome[Any] | None = None
                while (job := self._drawing.switch(result)) is not None:
                    result = await outcome.acapture(job)
                    error = getattr(result, "error", None)
                    if isinstance(error, trio.Cancelled):
                        raise error  # a task has failed: that is the news
            self.nursery.cancel_scope.cancel(reason="the example is over")

    def wait_for(self, job: Job) -> Any:
        """Await something in the run, and return what it returns."""
        return self._trio.switch(job).unwrap()


def awaited(
    step: Callable[Concatenate[M, A], Awaitable[R]],
) -> Callable[Concatenate[M, A], R]:
    """Decorator for async steps: ``@rule(n=st.integers()) @awaited async def ...``.

    Below ``rule``, ``initialize``, ``invariant`` and ``precondition``.
    """

    @wraps(step)
    def switch(machine: M, /, *args: A.args, **kwargs: A.kwargs) -> R:
        return cast("R", machine.wait_for(partial(step, machine, *args, **kwargs)))

    return switch
