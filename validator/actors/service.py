"""Anything that is opened and closed, as a supervised actor."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from actors import Actor


class Service(Actor):
    """Holds a context manager open: a server that must run while others do.

    If what it holds fails, the actor fails, and its supervisor opens it anew.
    """

    def __init__(
        self, open_service: Callable[[], AbstractAsyncContextManager[object]]
    ) -> None:
        self._open = open_service

    async def started(self) -> None:
        await self.ctx.enter(self._open())
