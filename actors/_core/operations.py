"""Stretches of work with a name, limits, and a report."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

import trio

from actors._core.errors import OperationTimeout
from actors.events import (
    OperationEnded,
    OperationOutcome,
    OperationSlow,
    OperationStarted,
)

if TYPE_CHECKING:
    from actors._core.alarms import ScheduledCall
    from actors._core.incarnation import Incarnation

REPEAT = 60.0
"""Seconds between two reports of the same frozen work."""


def stack_of(task: trio.lowlevel.Task | None) -> list[str]:
    """Where a task waits: one ``file:line function`` per frame, the outermost first."""
    if task is None:
        return []  # pragma: no cover - before its first step no task hangs
    return [
        f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
        for frame, line in task.iter_await_frames()
    ]


class Operation:
    """An open operation; see `Context.operation`."""

    def __init__(self, life: Incarnation, name: str) -> None:
        self.name = name
        self.note = ""
        self._life = life
        self._task = trio.lowlevel.current_task()
        self._begin = life.runtime.now()
        self._alarms: dict[Callable[[], None], ScheduledCall] = {}

    def progress(self, what: str) -> None:
        """Say what it is at; reports and snapshots show it."""
        self.note = what
        self._life.progress = what

    @asynccontextmanager
    async def run(self, soft: float, hard: float) -> AsyncGenerator[Operation, None]:
        """Be open while a block runs."""
        life, path = self._life, self._life.mailbox.path
        life.runtime.emit(OperationStarted(path, self.name, life.runtime.measure()))
        self._call_in(soft, lambda: self._slow(soft))
        self._call_in(hard + life.cleanup, self._frozen)
        outcome: OperationOutcome = "cancelled"
        scope = trio.CancelScope(deadline=self._begin + hard)
        life.operations = (*life.operations, self)
        try:
            own = nullcontext() if math.isinf(hard) else life.without_limit()
            with own, scope:
                yield self
                outcome = "completed"
        except Exception:
            outcome = "failed"
            raise
        finally:
            if scope.cancelled_caught:
                outcome = "timed out"
            for alarm in self._alarms.values():
                alarm.cancel()
            life.operations = tuple(o for o in life.operations if o is not self)
            life.progress = life.operations[-1].note if life.operations else ""
            ended = OperationEnded(
                path, self.name, self._seconds(), outcome, life.runtime.measure()
            )
            life.runtime.emit(ended)
        if scope.cancelled_caught:
            raise OperationTimeout(f"{path}: {self.name} exceeded {hard:g} s")

    def _seconds(self) -> float:
        return self._life.runtime.now() - self._begin

    def _call_in(self, seconds: float, fn: Callable[[], None]) -> None:
        if math.isfinite(seconds):
            runtime = self._life.runtime
            self._alarms[fn] = runtime.alarms.call_at(runtime.now() + seconds, fn)

    def _slow(self, soft: float) -> None:
        runtime = self._life.runtime
        slow = OperationSlow(
            self._life.mailbox.path,
            self.name,
            self._seconds(),
            soft,
            self.note,
            stack_of(self._task),
            runtime.measure(),
        )
        runtime.emit(slow)

    def _frozen(self) -> None:
        """The hard limit has passed, and the budget to unwind after it."""
        self._life.frozen(self.name, self._seconds(), stack_of(self._task))
        self._call_in(REPEAT, self._frozen)
