"""One task that rings when something is due: exact, without a scope for each."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from itertools import count
from typing import Protocol, cast

import trio


class Alarm(Protocol):
    """Something that is due at some time.

    ``ring`` is called only while it is pending, and must not wait, and not raise.
    """

    @property
    def pending(self) -> bool:
        """Whether it still is to ring."""
        ...

    def ring(self) -> None:
        """It is due."""
        ...


class Alarms:
    """The alarms of one runtime: deadlines of asks, timers, limits of operations."""

    __slots__ = ("_compact_at", "_heap", "_scope", "_tick", "running")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        # Entries that need not ring any more stay until they are due or outnumber
        # the rest: removing each at once would cost more than an ask.
        self._compact_at = 256
        self._tick = count()
        self._scope = trio.CancelScope()
        self.running = False

    def arm(self, deadline: float, alarm: Alarm) -> None:
        """Let ``alarm`` ring at ``deadline`` (trio time, seconds; inf: never)."""
        heap = self._heap
        if heap and deadline >= heap[0][0] and len(heap) < self._compact_at:
            heapq.heappush(heap, (deadline, next(self._tick), alarm))
            return
        if len(heap) >= self._compact_at:
            heap[:] = [entry for entry in heap if entry[2].pending]
            heapq.heapify(heap)
            self._compact_at = max(256, 2 * len(heap))
        heapq.heappush(heap, (deadline, next(self._tick), alarm))
        if heap[0][2] is alarm:
            self._scope.deadline = deadline

    def call_at(self, deadline: float, fn: Callable[[], object]) -> ScheduledCall:
        """Call a plain function at ``deadline``, unless the result is cancelled."""
        call = ScheduledCall(fn)
        self.arm(deadline, call)
        return call

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        self.running = True
        try:
            task_status.started()
            while True:
                self._ring(trio.current_time())
                due = self._heap[0][0] if self._heap else math.inf
                # A scope is spent once its deadline has passed: one per wake-up.
                self._scope = trio.CancelScope(deadline=due)
                with self._scope:
                    await trio.sleep_forever()
        finally:
            self.running = False

    def _ring(self, now: float) -> None:
        heap = self._heap
        while heap and (heap[0][0] <= now or not heap[0][2].pending):
            alarm = heapq.heappop(heap)[2]
            if alarm.pending:
                alarm.ring()


class ScheduledCall:
    """A function that will be called, once."""

    __slots__ = ("_fn",)

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn: Callable[[], object] | None = fn

    @property
    def pending(self) -> bool:
        """Whether it has neither been called nor cancelled."""
        return self._fn is not None

    def cancel(self) -> None:
        """Do not call it. Idempotent."""
        self._fn = None

    def ring(self) -> None:
        """Call it."""
        fn, self._fn = self._fn, None
        cast("Callable[[], object]", fn)()
