"""The database actor: every question to the store passes through here.

Reads are cancelled when nobody waits for them any more; a write once begun runs to its
end or its limit.
"""

from __future__ import annotations

from typing import Any, TypeVar

import trio

from actors import Actor, Rejected
from validator.actors.questions import Database, Question
from validator.events import DatabaseTimedOut, SlowDatabase
from validator.ports import OpenStore, Store

R = TypeVar("R")

SLOW = 5.0
"""Seconds after which an operation is reported as slow."""


class Connection(Actor, Database):
    """Owns one connection to the store, for as long as an incarnation lives.

    Every question is `Rejected` if it exceeds the store's limit. If the database goes
    away the actor fails, and its next incarnation connects anew: the asker of the
    write in hand gets `ActorCrashed` and may repeat it, as writes are idempotent.
    """

    _store: Store

    def __init__(self, open_store: OpenStore) -> None:
        self._open = open_store

    async def started(self) -> None:
        self._store = await self.ctx.enter(self._open())

    @Question[Any].handled
    async def answer(self, m: Question[R]) -> R:
        path, begin = self.ctx.me.path, trio.current_time()
        try:
            answer = await m.put(self._store)
        except TimeoutError as error:
            seconds = trio.current_time() - begin
            self.ctx.emit(DatabaseTimedOut(path, m.operation, seconds))
            raise Rejected(str(error)) from error
        seconds = trio.current_time() - begin
        if seconds > SLOW:
            self.ctx.emit(SlowDatabase(path, m.operation, seconds))
        event = m.report(path, answer)
        if event is not None:
            self.ctx.emit(event)
        return answer
