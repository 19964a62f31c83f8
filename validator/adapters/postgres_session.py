"""One asyncpg connection, and how units of work run on it.

A unit is one asyncio coroutine, transaction included. Stepping in and out of asyncio
between statements would skip the rollback when the trio side is cancelled.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg
import attrs
import structlog
import trio

from validator.adapters.lanes import Lane, LaneClosed, Lanes
from validator.adapters.postgres_schema import SchemaRefused
from validator.ports import ConnectionLost, OutcomeUnknown, StoreUnavailable

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Unit: TypeAlias = Callable[[Connection], Coroutine[Any, Any, T]]

OLDEST_SERVER = 13

LAST_PORT = 65535

_NOT_A_DSN = "the DSN is not valid; expected postgresql://user@host:port/database"
_SETTLE_LIMIT = 2.0  # seconds a broken-off unit may take to roll back
_SERVER_LIMITS = {"57014", "55P03", "25P03", "25P04"}
"""SQLSTATEs: statement, lock, idle-in-transaction and transaction timeout."""
_UNAVAILABLE = {"08", "40", "53", "57", "58", "XX"}
"""SQLSTATE classes: connection, rolled back for the sake of another transaction, out
of resources, operator intervention, system error, internal error. A full disk shows as
the third or one of the last two."""


@attrs.frozen(kw_only=True)
class Limits:
    """How long an operation may take, in seconds, until ``TimeoutError``.

    The server is told to give up about a second before, so that normally it is the
    server that ends an overlong statement, and the connection lives on.
    """

    query: float = 30.0
    transaction: float = 180.0
    connect: float = 10.0


@attrs.define
class Session:
    """Runs units of work on one connection, one after the other, as they come."""

    connection: Connection
    _lane: Lane
    _limits: Limits

    async def run(self, operation: str, unit: Unit[T], *, writes: bool = True) -> T:
        """Run ``unit`` as one piece of asyncio, in a transaction if it ``writes``.

        Cancelled, or out of time, it is rolled back, unless the server has been told
        to commit. Where that is not answered within 2 s, the connection is closed.

        Raises:
            TimeoutError: it was not done within the limit; nothing was stored.
            ConnectionLost: so it was; nothing was stored.
            StoreUnavailable: the server cannot do it now; nothing was stored.
            OutcomeUnknown: the connection was lost, or the limit passed, when the
                server had been told to commit.
        """
        if self.connection.is_closed():
            raise ConnectionLost(f"no database connection for {operation}")
        limit = self._limits.transaction if writes else self._limits.query
        attempt = _Attempt(self.connection, unit)
        with trio.move_on_after(limit):
            try:
                return await self._lane.run(
                    attempt.in_transaction if writes else attempt.alone
                )
            except Exception as error:
                translated = self._translate(operation, error, attempt)
                if translated is None:
                    raise
                raise translated from error
        raise self._out_of_time(operation, attempt)

    def _translate(
        self, operation: str, error: Exception, attempt: _Attempt[Any]
    ) -> Exception | None:
        sqlstate = str(getattr(error, "sqlstate", None) or "")
        if sqlstate in _SERVER_LIMITS:
            return timed_out(operation)
        if self.connection.is_closed() or isinstance(error, LaneClosed):
            if attempt.committing:
                return _unknown(operation)
            return ConnectionLost(f"database connection lost during {operation}")
        if sqlstate[:2] in _UNAVAILABLE:
            reason = str(error).partition("\n")[0]
            return StoreUnavailable(f"the database cannot do {operation}: {reason}")
        return None

    def _out_of_time(self, operation: str, attempt: _Attempt[Any]) -> Exception:
        if attempt.committing:
            return _unknown(operation)
        return timed_out(operation)

    async def close(self) -> None:
        """Take leave of the server; hang up if it objects or this is cancelled."""
        try:
            await self._lane.run(self.connection.close)
        except Exception as error:
            structlog.get_logger().debug("database.close", error=repr(error))


def timed_out(operation: str) -> TimeoutError:
    """Say so in the words that operators look for."""
    return TimeoutError(f"Database operation timed out: {operation}")


def _unknown(operation: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the database did not confirm {operation}: it may be stored or not"
    )


@attrs.define
class _Attempt(Generic[T]):
    """One run of a unit, and how far it got."""

    _connection: Connection
    _unit: Unit[T]
    committing: bool = False
    """From when the server is told to commit until it answers."""

    async def alone(self) -> T:
        try:
            return await self._unit(self._connection)
        except BaseException:
            # asyncio knows no shields; it needs none here, because the trio side
            # cancels a coroutine once and then waits. The deadline is inside.
            await _roll_back(self._connection)  # noqa: ASYNC102
            raise

    async def in_transaction(self) -> T:
        connection = self._connection
        try:
            await connection.execute("BEGIN")
            result = await self._unit(connection)
            self.committing = True
            await connection.execute("COMMIT")
        except BaseException as error:
            if isinstance(error, asyncpg.PostgresError) and not connection.is_closed():
                self.committing = False  # it was the server that said no
            await _roll_back(connection)  # noqa: ASYNC102 - as above
            raise
        return result


async def _roll_back(connection: Connection) -> None:
    # Also outside a transaction: asyncpg answers only after it has cancelled what
    # was running on the server, so whoever comes next finds the connection idle.
    settled = False
    # The caller raises its own error. Cancellation is named here because early
    # releases of Python 3.11 let a deadline inside a cancelled task out as one.
    with suppress(Exception, asyncio.CancelledError):
        async with asyncio.timeout(_SETTLE_LIMIT):
            await connection.execute("ROLLBACK")
            settled = True
    if not settled:
        connection.terminate()


# -- connecting -----------------------------------------------------------------------


@asynccontextmanager
async def connected(
    lanes: Lanes, dsn: str, schema: str, limits: Limits
) -> AsyncGenerator[Session]:
    """Hold a session during the block; it is closed on every way out, within 2 s.

    Raises:
        SchemaRefused: the server is too old.
        StoreUnavailable: the server cannot be reached or refuses us.
        TimeoutError: connecting took longer than its limit.
    """
    lane = lanes.lane()
    try:
        connection: Connection | None = None
        with trio.move_on_after(limits.connect):
            connection = await lane.run(partial(_connect, dsn, schema, limits))
        if connection is None:
            raise timed_out("connect")
        session = Session(connection, lane, limits)
        try:
            yield session
        finally:
            with trio.move_on_after(_SETTLE_LIMIT, shield=True):
                await session.close()
            _hang_up(connection)
    finally:
        lane.close()


def _hang_up(connection: Connection) -> None:
    # Not closed in order, as something was still under way or nobody answered. If the
    # loop has ended, so have its connections.
    if not connection.is_closed():
        with suppress(RuntimeError):
            connection.terminate()


async def _connect(dsn: str, schema: str, limits: Limits) -> Connection:
    if not re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{,62}", schema):
        raise ValueError(
            "a schema name is lower case and plain, of 63 letters at the most, and "
            f"does not begin with pg_; got {schema!r}"
        )
    # The driver would take what an empty DSN lacks from the environment, and of a port
    # the lower 16 bits.
    ports = re.findall(r":(\d+)(?=[,/?]|$)", dsn)
    if not dsn.startswith(("postgresql://", "postgres://")) or any(
        int(port) > LAST_PORT for port in ports
    ):
        raise StoreUnavailable(_NOT_A_DSN)
    try:
        connection = await asyncpg.connect(
            dsn, timeout=limits.connect, server_settings={"search_path": schema}
        )
    except (asyncpg.InterfaceError, ValueError, OverflowError):
        # Not chained and not quoted: the driver's text repeats parts of the DSN,
        # and so perhaps the password.
        raise StoreUnavailable(_NOT_A_DSN) from None
    except TimeoutError:
        raise timed_out("connect") from None
    except (OSError, asyncpg.PostgresError) as error:
        raise _cannot_connect(error) from None
    try:
        await _set_limits(connection, limits)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        connection.terminate()
        raise _cannot_connect(error) from error
    except BaseException:
        connection.terminate()
        raise
    return connection


def _cannot_connect(error: Exception) -> StoreUnavailable:
    reason = str(error).partition("\n")[0] or type(error).__name__
    return StoreUnavailable(f"cannot connect to the database: {reason}")


async def _set_limits(connection: Connection, limits: Limits) -> None:
    version = connection.get_server_version().major
    if version < OLDEST_SERVER:
        raise SchemaRefused(
            f"the server is PostgreSQL {version}; at least {OLDEST_SERVER} is needed"
        )
    for name, value in server_settings(version, limits).items():
        await connection.execute("SELECT set_config($1, $2, false)", name, value)


def server_settings(version: int, limits: Limits) -> Mapping[str, str]:
    """What a server of that major version is told of the limits."""
    seconds = {
        "statement_timeout": limits.query,
        "lock_timeout": limits.query,
        "idle_in_transaction_session_timeout": limits.query,
    }
    if version >= 17:
        seconds["transaction_timeout"] = limits.transaction
    below = {name: max(each - 1, each * 0.8) for name, each in seconds.items()}
    settings = {name: f"{each * 1000:.0f}ms" for name, each in below.items()}
    if version >= 14:
        # Or a statement of ours would run on, and hold our lock, after we are gone.
        settings["client_connection_check_interval"] = "1s"
    return settings
