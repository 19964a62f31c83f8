"""An asyncio loop on top of trio: the only file that knows trio-asyncio."""

# pyright: basic
# As trio-asyncio is untyped.

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from heapq import heappop, heappush
from typing import Any

import trio
import trio_asyncio
from sniffio import thread_local as sniffio


@asynccontextmanager
async def open_loop() -> AsyncGenerator[Any]:
    """Run a loop during the block."""
    async with trio_asyncio.open_loop() as loop:
        loop.__class__ = _Loop  # as open_loop() knows one class only
        yield loop


class _Loop(trio_asyncio.TrioEventLoop):  # type: ignore[misc]  # untyped
    """The same loop at half the cost.

    For every callback, of which a query has some five, trio-asyncio opens a cancel
    scope, lets all of trio run, and inspects the function that is called. It goes on
    doing so for timers that are waited for, and for what starts tasks in trio.
    """

    BATCH = 32
    """Callbacks in a row before all of trio has its turn."""

    def call_soon(
        self, callback: Callable[..., object], *args: Any, **context: Any
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, **context)
        self._queue_handle(handle)
        return handle

    async def _main_loop_one(self, no_wait: bool = False) -> None:  # noqa: FBT001, FBT002 - theirs
        for n in range(self.BATCH):
            handle = self._take()
            if handle is not None:
                await self._call(handle)
            elif no_wait and n == 0:
                raise trio.WouldBlock
            else:
                break
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return
        if not no_wait:
            handle = None
            when = self._timers[0].when() if self._timers else math.inf
            with trio.move_on_at(when) if self._timers else nullcontext():
                handle = await self._q_recv.receive()
            if handle is not None:
                await self._call(handle)

    def _take(self) -> Any:
        """What is due, or None."""
        if self._timers and self._timers[0].when() <= self.time():
            return heappop(self._timers)
        try:
            return self._q_recv.receive_nowait()
        except trio.WouldBlock:
            return None

    async def _call(self, handle: Any) -> None:
        started = getattr(handle, "_started", None)
        if started is not None:
            nursery: Any = self._nursery
            handle._context.run(nursery.start_soon, handle._run)
            await started.wait()
        elif isinstance(handle, asyncio.TimerHandle) and handle.when() > self.time():
            heappush(self._timers, handle)
        elif not handle.cancelled():
            before, sniffio.name = sniffio.name, "asyncio"
            try:
                handle._run()
            finally:
                sniffio.name = before
