"""What all actors of one system share: where events go, and who watches deadlines."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Sequence
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import trio

from actors._core.registry import Registry
from actors.events import Event, Sink

if TYPE_CHECKING:
    from actors._core.reply import Call


class Runtime:
    """Shared by the actors of one system; holds no global state."""

    __slots__ = ("_sinks", "deadlines", "random", "registry")

    def __init__(
        self, on_event: Sequence[Sink] = (), random: Random | None = None
    ) -> None:
        self._sinks = tuple(on_event)
        self.deadlines = Deadlines()
        self.random = random or Random()
        """All jitter is drawn from here, so that a seed reproduces a run."""
        self.registry = Registry(self)

    def emit(self, event: Event) -> None:
        """Hand an event to every sink, in order; one that fails is logged."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                logging.getLogger("actors").exception("event sink failed on %r", event)


class Deadlines:
    """One task that ends overdue asks: exact, and without a cancel scope per ask."""

    __slots__ = ("_compact_at", "_heap", "_scope", "_tick", "running")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Call]] = []
        # Entries of answered asks stay until they are due or outnumber the rest:
        # removing each on its answer would cost more than the ask.
        self._compact_at = 256
        self._tick = count()
        self._scope = trio.CancelScope()
        self.running = False

    def arm(self, deadline: float, call: Call) -> None:
        """End ``call`` with `AskTimeout` at ``deadline`` (trio time, seconds)."""
        heap = self._heap
        if len(heap) >= self._compact_at:
            heap[:] = [entry for entry in heap if entry[2].task is not None]
            heapq.heapify(heap)
            self._compact_at = max(256, 2 * len(heap))
        heapq.heappush(heap, (deadline, next(self._tick), call))
        if heap[0][2] is call:
            self._scope.deadline = deadline

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled."""
        self.running = True
        try:
            task_status.started()
            while True:
                self._expire(trio.current_time())
                due = self._heap[0][0] if self._heap else math.inf
                # A scope is spent once its deadline has passed: one per wake-up.
                self._scope = trio.CancelScope(deadline=due)
                with self._scope:
                    await trio.sleep_forever()
        finally:
            self.running = False

    def _expire(self, now: float) -> None:
        heap = self._heap
        while heap and (heap[0][0] <= now or heap[0][2].task is None):
            heapq.heappop(heap)[2].expire()
