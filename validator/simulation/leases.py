"""Leases in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from validator.ports import Lease


@attrs.define
class MemoryLeases:
    """The leases of one hotkey: at most one is held at a time."""

    _holder: object | None = attrs.field(default=None, init=False)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Lease]:
        """An ``OpenLease``."""
        await trio.lowlevel.checkpoint()
        lease = _MemoryLease(self)
        try:
            yield lease
        finally:
            if self._holder is lease:
                self._holder = None

    def take(self, lease: object) -> bool:
        """Give it to ``lease``, if nobody has it."""
        if self._holder is None:
            self._holder = lease
        return self._holder is lease


@attrs.frozen(eq=False)
class _MemoryLease:
    _leases: MemoryLeases

    async def take(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self._leases.take(self)
