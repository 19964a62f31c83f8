"""Tasks beside a block of code, that end with it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import trio


class Beside:
    """What has a nursery for the length of a block.

    Leaving the block cancels all tasks in it. What one of them raises cancels the
    block. What the block itself raises leaves unchanged.
    """

    _nursery: trio.Nursery | None = None
    """None outside of the block."""
    _manager: AbstractAsyncContextManager[trio.Nursery]

    async def __aenter__(self) -> Self:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.cancel_scope.cancel(reason="the block beside it is over")
        try:
            # Nothing is waited for but the end of what was just cancelled.
            return await self._manager.__aexit__(kind, error, traceback)  # noqa: ASYNC102
        except BaseExceptionGroup as group:
            # The nursery wraps what the block raised; alone, it leaves as it came.
            if group.exceptions == (error,):
                return False
            raise

    def _inside(self) -> trio.Nursery:
        """Where to start a task.

        Raises:
            RuntimeError: the block has not begun, or is over.
        """
        if self._nursery is None:
            raise RuntimeError(
                f"this works in a block: `async with {type(self).__name__}(...)`"
            )
        return self._nursery
