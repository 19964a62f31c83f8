"""Work for asyncio, handed over by trio tasks.

What is asyncio's runs in lanes: long-lived asyncio tasks, each of which does one piece
of work after the other. A call from trio is one wake-up of such a task, and its end one
of the caller's; a task for every call would cost as much as a small query.

The loop is an object we hold, never the one a context variable names: callers are
tasks that were not started below it. Its exception handler is ours, as trio-asyncio's
own ends the whole loop for what a driver merely wants to mention.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import attrs
import outcome
import structlog
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    Task,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from validator.adapters.aio_loop import open_loop

T = TypeVar("T")
Work: TypeAlias = Callable[[], Coroutine[Any, Any, T]]


class LaneClosed(Exception):
    """The lane was closed: the work was not begun, or was broken off somewhere."""


class Lanes:
    """An asyncio loop on top of trio, for work in lanes. Made by `open_lanes`."""

    def __init__(self, loop: Any) -> None:  # trio_asyncio is untyped
        self._loop = loop
        self._open: set[Lane] = set()
        self._ended = False

    def lane(self) -> Lane:
        """Open a lane; close it at the end.

        Raises:
            LaneClosed: too late.
        """
        if self._ended:
            raise LaneClosed
        lane = Lane(self._loop, self._open.discard)
        self._open.add(lane)
        return lane

    def end(self) -> None:
        """Tell all who wait for anything that it will not come."""
        self._ended = True
        for lane in tuple(self._open):
            lane.close()


@asynccontextmanager
async def open_lanes() -> AsyncGenerator[Lanes]:
    """Run a loop during the block; whoever waits for it then gets `LaneClosed`."""
    async with open_loop() as loop:
        loop.set_exception_handler(_on_loop_error)
        lanes = Lanes(loop)
        try:
            yield lanes
        finally:
            lanes.end()


def _on_loop_error(_loop: object, context: Mapping[str, Any]) -> None:
    structlog.get_logger().warning(
        "database.loop_error",
        text=context.get("message"),
        error=repr(context.get("exception")),
    )


@attrs.define(eq=False)
class _Job:
    """A piece of work, and the trio task that waits for it."""

    work: Work[Any]
    # Invariant: the task waits iff it is set. So the first outcome wins.
    task: Task | None
    raise_cancel: RaiseCancelT | None = None
    """Set once the task has been cancelled while the work was on."""

    def settle(self, result: outcome.Outcome[Any]) -> None:
        task, self.task = self.task, None
        if task is not None:
            reschedule(task, result)


class Lane:
    """One asyncio task that does one piece of work after the other, as they come."""

    def __init__(self, loop: Any, on_close: Callable[[Lane], None]) -> None:
        self._loop = loop
        self._on_close = on_close
        self._closed = False
        self._waiting: deque[_Job] = deque()
        self._at: _Job | None = None
        """What it is at."""
        self._idle: asyncio.Future[None] | None = None
        """Set iff it waits for work."""
        self._task: asyncio.Task[None] = loop.create_task(self._serve())

    async def run(self, work: Work[T]) -> T:
        """Do the work in asyncio; return or raise what comes of it.

        Cancelled, it takes the work back if that has not begun. Else it cancels it
        once and waits until it has ended: what that does to end must have limits.

        Raises:
            LaneClosed: the lane was closed.
        """
        if self._closed:
            raise LaneClosed
        job = _Job(work, current_task())
        self._waiting.append(job)
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None
        return cast("T", await wait_task_rescheduled(partial(self._abandon, job)))

    def close(self) -> None:
        """Break off what it is at, and refuse what is to come."""
        self._closed = True
        self._on_close(self)
        for job in (*filter(None, [self._at]), *self._waiting):
            job.settle(outcome.Error(LaneClosed()))
        self._waiting.clear()
        self._task.cancel()

    def _abandon(self, job: _Job, raise_cancel: RaiseCancelT) -> Abort:
        if job is not self._at:
            self._waiting.remove(job)
            return Abort.SUCCEEDED
        job.raise_cancel = raise_cancel
        self._task.cancel()
        return Abort.FAILED

    async def _serve(self) -> None:
        while not self._closed:
            while self._waiting:
                job = self._at = self._waiting.popleft()
                result = await self._do(job)
                self._at = None
                job.settle(result)
            idle: asyncio.Future[None] = self._loop.create_future()
            self._idle = idle
            await idle

    async def _do(self, job: _Job) -> outcome.Outcome[Any]:
        result: outcome.Outcome[Any] = await outcome.acapture(job.work)
        error = getattr(result, "error", None)
        if isinstance(error, asyncio.CancelledError) and job.raise_cancel is not None:
            result = outcome.capture(job.raise_cancel)
        elif error is not None and not isinstance(error, Exception):
            raise error  # it is the lane that ends, or the program
        # Or a deadline in the next piece of work would take itself for cancelled.
        while self._task.uncancel():
            pass
        return result
