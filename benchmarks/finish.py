"""Waiting for the last of many."""

from __future__ import annotations

import trio


class Finish:
    """Counts what has come to its end, until all has."""

    def __init__(self) -> None:
        self._expected = 0
        self._over = trio.Event()

    def expect(self, number: int) -> None:
        """Begin to count anew."""
        self._expected, self._over = number, trio.Event()

    def one(self) -> None:
        """One more is there."""
        self._expected -= 1
        if not self._expected:
            self._over.set()

    async def wait(self) -> None:
        """Wait until all are."""
        await self._over.wait()
