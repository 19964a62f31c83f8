"""An answer that comes later than the handler that was asked for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from outcome import Error

from actors._core.errors import Rejected
from actors._core.reply import Call

if TYPE_CHECKING:
    from actors._core.reader import Reader


class Answer:
    """Works on a deferred answer, and can be told that it is not wanted."""

    __slots__ = ("_call", "_reader", "_scope")

    def __init__(self, reader: Reader, call: Call) -> None:
        self._reader = reader
        self._call = call
        self._scope = trio.CancelScope()

    def abandoned(self, _call: Call) -> None:
        """The asker of a ``cancel`` ask has gone."""
        self._scope.cancel(reason="its asker has gone")

    async def work_out(self, work: Callable[[], Awaitable[object]]) -> None:
        """Answer with what ``work`` returns, or rejects.

        If it raises anything else, the actor ends, and that settles the call.
        """
        call = self._call
        with self._scope:
            try:
                value = await work()
            except Rejected as error:
                self._reader.mailbox.rejected += 1
                call.settle(Error(error))
            else:
                call.answer(value)
        self._reader.release(call)
