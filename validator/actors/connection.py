"""One connection to the database, as an actor; several of them make the pool."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio

from actors import Ref, Rejected, Tell
from supervision import Standby
from supervision.breaker import Outcome, Refused
from supervision.breakers import Admit, Breakers, Settle, brief
from validator.actors.health import FailedAt, Health, Succeeded
from validator.actors.loop import GetOpener, Loop
from validator.actors.questions import Database, Question
from validator.events import DatabaseTimedOut, SlowDatabase
from validator.ports import (
    ConnectionLost,
    OpenStore,
    OutcomeUnknown,
    Store,
    StoreUnavailable,
)

R = TypeVar("R")

SLOW = 5.0
"""Seconds after which an operation is reported as slow."""

KEY = "database"
"""Of the circuit breaker: there is one for all connections."""


@attrs.frozen(kw_only=True)
class Patience:
    """How long a connection waits for what, in seconds."""

    question: float = 200.0
    """For a question; the store has limits of its own, which are shorter."""
    connect: float = 10.0
    """For a connection to be made, and for an idle one to prove that it lives."""
    idle: float = 60.0
    """Before a connection that is not kept is closed for want of work."""
    doubt: float = 30.0
    """A connection that was idle for longer is tried before it is used."""
    pause: float = 4.0
    """Between two tries, to connect or to ask, at the most; it begins with nothing, and
    then an eighth."""
    settle: float = 5.0
    """For a connection to be closed."""


@attrs.frozen
class LookIdle(Tell["Connection"]):
    """Close the connection if it has had nothing to do for long."""


@attrs.define(eq=False)
class _Held:
    """A connection that is there."""

    store: Store
    scope: trio.CancelScope
    since: float
    used: float


@attrs.define
class Losses:
    """What all connections know of each other."""

    last: float = -math.inf
    """When one of them was lost. Others that were there may be lost as well."""


class Connection(Standby, Database):
    """Answers one question after the other, on one connection, each once.

    It connects, or makes sure that its connection still lives, before it is given a
    question. So questions are answered by whoever can do so first.
    """

    def __init__(
        self,
        loop: Ref[Loop],
        breaker: Ref[Breakers],
        health: Ref[Health],
        losses: Losses,
        *,
        kept: int,
        patience: Patience,
    ) -> None:
        self._loop = loop
        self._breaker = breaker
        self._health = health
        self._losses = losses
        self._kept = kept
        self._patience = patience
        self._held: _Held | None = None
        self._pause = 0.0
        """After the next try to connect that fails."""

    async def started(self) -> None:
        number = int(self.ctx.me.path.rpartition("/")[2])
        if number >= self._kept:
            self.ctx.every(self._patience.idle / 4, LookIdle())

    @LookIdle.handled
    def look_idle(self, m: LookIdle) -> None:
        held = self._held
        if held and trio.current_time() - held.used >= self._patience.idle:
            self._drop()

    @Question[Any].handled
    async def answer(self, m: Question[R]) -> R:
        path, begin = self.ctx.me.path, trio.current_time()
        try:
            answer = await self._put(m)
        except TimeoutError as error:
            seconds = trio.current_time() - begin
            self.ctx.emit(DatabaseTimedOut(path, m.operation, seconds))
            self._failed(str(error))
            raise Rejected(str(error)) from error
        except (StoreUnavailable, OutcomeUnknown) as error:
            raise Rejected(str(error)) from error
        self._health.tell(Succeeded())
        seconds = trio.current_time() - begin
        if seconds > SLOW:
            self.ctx.emit(SlowDatabase(path, m.operation, seconds))
        event = m.report(path, answer)
        if event is not None:
            self.ctx.emit(event)
        return answer

    async def _put(self, m: Question[R]) -> R:
        held = self._held
        if held is None:  # closed for want of work at the very moment it came
            raise ConnectionLost(f"no database connection for {m.operation}")
        try:
            answer = await m.put(held.store)
        except (ConnectionLost, OutcomeUnknown) as error:
            self._lost(held, str(error))
            raise
        held.used = trio.current_time()
        return answer

    # -- the connection ---------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether there is a connection that most likely lives."""
        held = self._held
        if held is None or held.used < self._losses.last:
            return False
        return trio.current_time() - held.used <= self._patience.doubt

    async def get_ready(self) -> None:
        """Find out whether the connection lives; else connect."""
        held = self._held
        if held is not None and await self._lives(held):
            return
        try:
            async with self._admitted():
                limit = self._patience.connect
                opener = await self._loop.ask(GetOpener(), timeout=limit)
                self._held = await self._connect(opener)
            self._pause = 0.0
        except StoreUnavailable:
            await trio.sleep(self._pause)
            longest = self._patience.pause
            self._pause = min(2 * self._pause, longest) or longest / 8

    async def _lives(self, held: _Held) -> bool:
        why = "the database did not answer a ping"
        with trio.move_on_after(self._patience.connect):
            try:
                await held.store.ping()
            except (StoreUnavailable, OutcomeUnknown, TimeoutError) as error:
                why = str(error)
            else:
                held.used = trio.current_time()
                return True
        self._lost(held, why)
        return False

    @asynccontextmanager
    async def _admitted(self) -> AsyncGenerator[None]:
        """Connect only if the breaker says so, and tell it how that went."""
        admit = Admit(KEY)
        answer = await self._breaker.ask(admit, timeout=self._patience.connect)
        if isinstance(answer, Refused):
            raise StoreUnavailable(
                f"the database is down, last because of {answer.last_failure}; it is "
                f"probed again in {answer.retry_after:.1f} s"
            )
        outcome: Outcome = "no verdict"
        why = ""
        try:
            yield
            outcome = "ok"
        except StoreUnavailable as error:
            outcome, why = "failed", brief(error)
            raise
        finally:
            self._breaker.tell(Settle(KEY, answer, outcome, why))

    async def _connect(self, opener: OpenStore) -> _Held:
        begin, limit = trio.current_time(), self._patience.connect
        with trio.move_on_after(limit):
            try:
                store, scope = await self.ctx.start(self._hold, opener)
            except TimeoutError as error:
                raise self._no_connection(begin) from error
            now = trio.current_time()
            return _Held(store, scope, since=now, used=now)
        raise self._no_connection(begin)

    def _no_connection(self, begin: float) -> StoreUnavailable:
        seconds = trio.current_time() - begin
        self.ctx.emit(DatabaseTimedOut(self.ctx.me.path, "connect", seconds))
        return StoreUnavailable(f"no connection to the database within {seconds:.1f} s")

    async def _hold(
        self,
        opener: OpenStore,
        *,
        task_status: trio.TaskStatus[tuple[Store, trio.CancelScope]],
    ) -> None:
        with trio.CancelScope() as scope:
            async with opener() as store:
                task_status.started((store, scope))
                await trio.sleep_forever()

    def _lost(self, held: _Held, why: str) -> None:
        self._losses.last = trio.current_time()
        self._failed(why, held.since)
        self._drop()

    def _drop(self) -> None:
        """Close the connection; that goes on beside whatever comes next."""
        held, self._held = self._held, None
        if held is not None:
            held.scope.cancel(reason="its connection is not wanted any more")

    def _failed(self, why: str, since: float = math.inf) -> None:
        self._health.tell(FailedAt(trio.current_time(), why, since))
