"""Data time at another pace than the clock's: an hour may last seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import trio


class SimulatedCalendar:
    """Stands still at ``start`` until it is set going; a ``Calendar``."""

    def __init__(self, start: datetime, *, hour: float) -> None:
        """``hour``: how many seconds of trio's clock an hour of data time lasts."""
        self._start = start
        self._pace = hour / 3600
        self._began: float | None = None
        self._going = trio.Event()

    def go(self) -> None:
        """Let time pass from now on."""
        self._began = trio.current_time()
        self._going.set()

    def now(self) -> datetime:
        if self._began is None:
            return self._start
        passed = (trio.current_time() - self._began) / self._pace
        return self._start + timedelta(seconds=passed)

    async def sleep_until(self, when: datetime) -> None:
        await self._going.wait()
        left = (when - self.now()).total_seconds() * self._pace
        # A microsecond more, for data time is rounded to microseconds.
        await trio.sleep(max(0.0, left + 1e-6))
