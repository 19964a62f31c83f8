"""Permits: how much may be under way at once, counted in exchanges and in bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from actors import Context
from supervision import waiting


class Permits:
    """First come, first served; who wants more bytes than there are gets all of them.

    Waits are reported as those of ``ctx`` for a "permit".
    """

    def __init__(self, ctx: Context, *, count: int, size: int) -> None:
        self._ctx = ctx
        self._size = size
        # What is free. Invariant: nobody waits who would fit and is first in line.
        self._count_left = count
        self._size_left = size
        self._line: deque[tuple[int, trio.Event]] = deque()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncGenerator[None]:
        """Hold one permit, and ``size`` bytes, for the length of the block."""
        size = min(size, self._size)
        if self._line or not self._fits(size):
            await self._wait(size)
        else:
            self._give(size)
        try:
            yield
        finally:
            self._take_back(size)

    async def _wait(self, size: int) -> None:
        turn = trio.Event()
        self._line.append((size, turn))
        try:
            with waiting(self._ctx, "permit"):
                await turn.wait()
        except trio.Cancelled:
            if turn.is_set():
                self._take_back(size)
            else:
                self._line.remove((size, turn))
                self._admit()  # who is behind may need less
            raise

    def _fits(self, size: int) -> bool:
        return self._count_left > 0 and size <= self._size_left

    def _give(self, size: int) -> None:
        self._count_left -= 1
        self._size_left -= size

    def _take_back(self, size: int) -> None:
        self._count_left += 1
        self._size_left += size
        self._admit()

    def _admit(self) -> None:
        while self._line and self._fits(self._line[0][0]):
            size, turn = self._line.popleft()
            self._give(size)
            turn.set()
