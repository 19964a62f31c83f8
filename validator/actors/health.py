"""The health of the database: failures are counted, and the pool reset for too many."""

from __future__ import annotations

import math
from typing import ClassVar

import attrs
import trio

from actors import Actor, ActorError, Ref, Rejected, Tell
from supervision import RestartChild, Supervisor
from validator.actors.asking import DatabaseClient
from validator.actors.questions import Database, Ping
from validator.events import (
    HealthCheckFailed,
    ManyDatabaseFailures,
    PoolReset,
    ResettingPool,
    SlowHealthCheck,
)

SLOW_CHECK = 5.0
"""Seconds from which a health check is slow."""

PAUSE = 0.5
"""Seconds between two tries to find out whether a pool that was reset works."""

CHECK_LIMIT = 60.0
"""Seconds after which a health check has failed."""


@attrs.frozen
class Succeeded(Tell["Health"]):
    """The database has done what it was asked to."""

    system: ClassVar[bool] = True


@attrs.frozen
class FailedAt(Tell["Health"]):
    """It has not: a connection was lost, or time ran out.

    What the database refuses with an error of SQL is no failure of it. Nor does it
    count if no connection could be made: there would be nothing to reset.
    """

    system: ClassVar[bool] = True
    at: float
    """When, in trio time."""
    why: str
    connected_at: float = math.inf
    """Since when there had been the connection that was lost; inf: time ran out."""


@attrs.frozen
class Check(Tell["Health"]):
    """Find out whether the database answers."""


class Health(Actor):
    """Resets the pool after so many failures in a row, and looks now and then.

    A success ends the row. All connections that a restart of the server costs count
    once: a loss says something new only of a connection that is younger than the last
    loss.
    """

    def __init__(
        self,
        database: Ref[Supervisor],
        connections: Ref[Database],
        *,
        failures: int,
        every: float,
    ) -> None:
        self.failures = 0
        """In a row."""
        self._database = database
        self._connections = connections
        self._limit = failures
        self._every = every
        self._lost_at = -math.inf
        self._reset_at = -math.inf

    async def started(self) -> None:
        self.ctx.every(self._every, Check())

    @Succeeded.handled
    def succeeded(self, m: Succeeded) -> None:
        self.failures = 0

    @FailedAt.handled
    async def failed(self, m: FailedAt) -> None:
        if m.at <= self._reset_at or m.connected_at <= self._lost_at:
            return
        if m.connected_at < math.inf:
            self._lost_at = m.at
        self.failures += 1
        if self.failures >= self._limit:
            await self._reset(m.why)

    async def _reset(self, why: str) -> None:
        path, begin = self.ctx.me.path, trio.current_time()
        self.ctx.emit(ManyDatabaseFailures(path, self.failures, why))
        self.ctx.emit(ResettingPool(path))
        name = self._connections.path.rpartition("/")[2]
        try:
            # No new work meanwhile: what is asked waits in the mailbox.
            await self._database.ask(RestartChild(name), timeout=CHECK_LIMIT)
            while await self._find_fault() is not None:  # noqa: ASYNC110 - it is asked
                await trio.sleep(PAUSE)
        except ActorError as error:
            self.ctx.emit(HealthCheckFailed(path, str(error)))
            return
        finally:
            self.failures, self._reset_at = 0, trio.current_time()
        self.ctx.emit(PoolReset(path, self._reset_at - begin))

    @Check.handled
    async def check(self, m: Check) -> None:
        path, begin = self.ctx.me.path, trio.current_time()
        fault = await self._find_fault()
        seconds = trio.current_time() - begin
        if fault is not None:
            self.ctx.emit(HealthCheckFailed(path, fault))
        elif seconds > SLOW_CHECK:
            self.ctx.emit(SlowHealthCheck(path, seconds))

    async def _find_fault(self) -> str | None:
        try:
            await DatabaseClient(self._connections).ask(Ping(), timeout=CHECK_LIMIT)
        except (Rejected, ActorError) as error:
            return str(error)
        return None
