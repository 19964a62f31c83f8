"""The store in PostgreSQL: one asyncpg connection, driven from trio.

The only file that knows asyncio and the driver; what is asked of the database stands
in ``postgres_store``. Three rules keep it sound:

* A method is one asyncio coroutine, transaction included (see ``_Session.run``).
  Stepping in and out of asyncio between statements would skip the rollback when the
  trio side is cancelled.
* The loop is an object we hold, never the one a context variable names: handlers run
  in tasks that were not started below ``open_loop``.
* The loop's exception handler is ours: trio-asyncio's own ends the whole loop for
  what asyncpg merely wants to mention.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, TypeVar, cast

import asyncpg
import attrs
import structlog
import trio
import trio_asyncio

from validator.adapters.groups import ungrouped
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.schema import Migration, SchemaConflict, migrations, pending
from validator.ports import OpenStore, Store, StoreUnavailable

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Unit: TypeAlias = Callable[[Connection], Coroutine[Any, Any, T]]

PRODUCT = "actor-tree validator"
"""Written into every schema of ours; a schema without it is never touched."""
OLDEST_SERVER = 13

_NOT_A_DSN = "the DSN is not valid; expected postgresql://user@host:port/database"
_SETTLE_LIMIT = 2.0  # seconds a broken-off unit may take to roll back
_LOCK_WAIT = "3s"  # the server may need a moment to notice a dead predecessor
_SERVER_LIMITS = {"57014", "55P03", "25P03", "25P04"}
"""SQLSTATEs: statement, lock, idle-in-transaction and transaction timeout."""
_AWAY = {"08", "53", "57"}
"""SQLSTATE classes: connection, out of resources, operator intervention."""


class StoreInUse(StoreUnavailable):
    """Another running validator works in the same schema; nothing was changed."""


class SchemaRefused(StoreUnavailable):
    """The schema or the server is not one we may work on; nothing was changed."""


@attrs.frozen(kw_only=True)
class Limits:
    """How long an operation may take, in seconds, until ``TimeoutError``.

    The server is told to give up about a second before, so that normally it is the
    server that ends an overlong statement, and the connection lives on.
    """

    query: float = 30.0
    transaction: float = 180.0
    connect: float = 10.0


def postgres_opener(
    dsn: str, *, schema: str, fresh: bool, limits: Limits | None = None
) -> OpenStore:
    """Return what opens the store, as often as needed.

    With ``fresh``, the first opening that succeeds empties the schema; later ones
    (after a crash, say) find what was stored since. For the rest see ``open_store``.
    """
    emptied = False

    @asynccontextmanager
    async def reopen() -> AsyncGenerator[Store]:
        nonlocal emptied
        opening = open_store(
            dsn, schema=schema, fresh=fresh and not emptied, limits=limits
        )
        async with opening as store:
            emptied = True
            yield store

    return reopen


@asynccontextmanager
async def open_store(
    dsn: str, *, schema: str, fresh: bool, limits: Limits | None = None
) -> AsyncGenerator[Store]:
    """Connect, bring the schema up to date, and hold the store during the block.

    Everything lives in ``schema``, which is created where it is missing; with
    ``fresh`` it is emptied first. One store at a time: the schema is locked until
    the block ends. The connection is closed on every way out, within 2 s.

    Units of work run one after the other. A cancelled or timed out unit is rolled
    back (unless its commit was already under way) and leaves the connection usable
    or, where the server does not answer within 2 s, closed; then, and after the
    connection was lost, every method raises ``StoreUnavailable``: open anew.

    Raises:
        StoreInUse: another validator holds the schema.
        SchemaRefused: the schema is another product's or of a newer program, the
            server is too old, or rights are missing.
        StoreUnavailable: the server cannot be reached or refuses us.
        TimeoutError: connecting or migrating took longer than its limit.
    """
    limits = limits or Limits()
    known = migrations()
    async with _connected(dsn, schema, limits) as session:
        await session.run(
            "prepare schema",
            lambda connection: _prepare(connection, schema, known, fresh=fresh),
        )
        yield PostgresStore(session)


async def check_dsn(dsn: str, *, schema: str) -> None:
    """Connect once and look, without changing anything, whether the store would open.

    Raises:
        StoreUnavailable: it would not (see ``open_store``), or the server did not
            answer within 10 s. The text is one line and holds no password.
    """
    try:
        async with _connected(dsn, schema, Limits(query=10)) as session:
            await session.run(
                "check schema", lambda connection: _examine(connection, schema)
            )
    except TimeoutError as error:
        raise StoreUnavailable(
            "the database server did not answer within 10 s"
        ) from error


# --- the connection ----------------------------------------------------------


@attrs.define
class _Session:
    """One connection, one unit of work at a time."""

    _loop: Any  # trio_asyncio is untyped
    connection: Connection
    _limits: Limits
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    async def run(self, operation: str, unit: Unit[T], *, writes: bool = True) -> T:
        """Run ``unit`` as one piece of asyncio, in a transaction if it ``writes``.

        Raises:
            TimeoutError: it was not done within the limit; a write may be stored.
            StoreUnavailable: the connection is lost; a write may be stored.
        """
        limits = self._limits
        with trio.move_on_after(limits.transaction if writes else limits.query):
            async with self._turn:
                whole = (_transaction if writes else _settled)(self.connection, unit)
                try:
                    return cast("T", await self._loop.run_aio_coroutine(whole))
                except Exception as error:
                    translated = self._translate(operation, error)
                    if translated is None:
                        raise
                    raise translated from error
        raise _timed_out(operation)

    def _translate(self, operation: str, error: Exception) -> Exception | None:
        sqlstate = str(getattr(error, "sqlstate", None) or "")
        if sqlstate in _SERVER_LIMITS:
            return _timed_out(operation)
        if self.connection.is_closed() or sqlstate[:2] in _AWAY:
            return StoreUnavailable(f"database connection lost during {operation}")
        return None

    async def close(self) -> None:
        """Take leave of the server; hang up if it objects or this is cancelled."""
        try:
            await self._loop.run_aio_coroutine(self.connection.close())
        except Exception as error:
            structlog.get_logger().debug("database.close", error=repr(error))


def _timed_out(operation: str) -> TimeoutError:
    return TimeoutError(f"Database operation timed out: {operation}")


async def _settled(connection: Connection, unit: Unit[T]) -> T:
    try:
        return await unit(connection)
    except BaseException:
        # asyncio knows no shields; it needs none here, because the trio side
        # cancels a coroutine once and then waits. The deadline is inside.
        await _roll_back(connection)  # noqa: ASYNC102
        raise


async def _transaction(connection: Connection, unit: Unit[T]) -> T:
    async def whole(connection: Connection) -> T:
        await connection.execute("BEGIN")
        result = await unit(connection)
        await connection.execute("COMMIT")
        return result

    return await _settled(connection, whole)


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


@asynccontextmanager
async def _connected(dsn: str, schema: str, limits: Limits) -> AsyncGenerator[_Session]:
    with ungrouped():
        async with _open_loop() as loop:
            connection: Connection | None = None
            with trio.move_on_after(limits.connect):
                connection = await loop.run_aio_coroutine(_connect(dsn, schema, limits))
            if connection is None:
                raise _timed_out("connect")
            session = _Session(loop, connection, limits)
            try:
                yield session
            finally:
                with trio.move_on_after(_SETTLE_LIMIT, shield=True):
                    await session.close()


@asynccontextmanager
async def _open_loop() -> AsyncGenerator[Any]:
    opening = trio_asyncio.open_loop()  # pyright: ignore[reportUnknownMemberType] - untyped
    async with opening as loop:
        loop.set_exception_handler(_on_loop_error)
        yield loop


async def _connect(dsn: str, schema: str, limits: Limits) -> Connection:
    if not re.fullmatch(r"[a-z_][a-z0-9_]*", schema):
        raise ValueError(f"a schema name is lower case and plain, got {schema!r}")
    # The driver would take what an empty DSN lacks from the environment.
    if not dsn.startswith(("postgresql://", "postgres://")):
        raise StoreUnavailable(_NOT_A_DSN)
    try:
        connection = await asyncpg.connect(
            dsn, timeout=limits.connect, server_settings={"search_path": schema}
        )
    except (asyncpg.InterfaceError, ValueError):
        # Not chained and not quoted: the driver's text repeats parts of the DSN,
        # and so perhaps the password.
        raise StoreUnavailable(_NOT_A_DSN) from None
    except TimeoutError:
        raise _timed_out("connect") from None
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
    settings = {
        "statement_timeout": limits.query,
        "lock_timeout": limits.query,
        "idle_in_transaction_session_timeout": limits.query,
    }
    if version >= 17:
        settings["transaction_timeout"] = limits.transaction
    for name, seconds in settings.items():
        below = max(seconds - 1, seconds * 0.8)
        await connection.execute(
            "SELECT set_config($1, $2, false)", name, f"{below * 1000:.0f}ms"
        )
    if version >= 14:
        # Or a statement of ours would run on, and hold our lock, after we are gone.
        await connection.execute("SET client_connection_check_interval = '1s'")


def _on_loop_error(_loop: object, context: Mapping[str, Any]) -> None:
    structlog.get_logger().warning(
        "database.loop_error",
        text=context.get("message"),
        error=repr(context.get("exception")),
    )


# --- the schema --------------------------------------------------------------


async def _prepare(
    connection: Connection, schema: str, known: Sequence[Migration], *, fresh: bool
) -> None:
    await _lock(connection, schema)
    recorded = await _recorded(connection, schema)
    try:
        if recorded is not None and fresh:
            await connection.execute(f"DROP SCHEMA {schema} CASCADE")
            recorded = None
        if recorded is None:
            await connection.execute(f"CREATE SCHEMA {schema}")
            await connection.execute(
                "CREATE TABLE migrations (number integer PRIMARY KEY, name text NOT "
                "NULL, digest text NOT NULL, product text NOT NULL, applied_at "
                "timestamptz NOT NULL DEFAULT now())"
            )
        for step in pending(known, recorded or {}):
            await connection.execute(step.sql)
            await connection.execute(
                "INSERT INTO migrations (number, name, digest, product) "
                "VALUES ($1, $2, $3, $4)",
                *(step.number, step.name, step.digest, PRODUCT),
            )
    except SchemaConflict as error:
        raise SchemaRefused(str(error)) from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise SchemaRefused(f"rights are missing: {error}") from None


async def _lock(connection: Connection, schema: str) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'")
    try:
        await connection.execute(
            "SELECT pg_advisory_lock(hashtext($1), hashtext($2))", PRODUCT, schema
        )
    except asyncpg.LockNotAvailableError:
        raise StoreInUse(
            f"schema {schema!r} of this database is in use by another validator; "
            "stop that one first or use another database"
        ) from None


async def _examine(connection: Connection, schema: str) -> None:
    await _lock(connection, schema)  # for as long as this connection lives
    recorded = await _recorded(connection, schema)
    may_create = await connection.fetchval(
        "SELECT has_database_privilege(current_database(), 'CREATE')"
    )
    if recorded is None and not may_create:
        raise SchemaRefused(f"rights are missing: may not create schema {schema!r}")


async def _recorded(connection: Connection, schema: str) -> Mapping[int, str] | None:
    """Return number -> digest of what was applied; None: there is no such schema."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema
    ):
        return None
    columns = await connection.fetchval(
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = $1 AND "
        "table_name = 'migrations' AND column_name IN ('number', 'digest', 'product')",
        schema,
    )
    rows = (
        await connection.fetch("SELECT number, digest, product FROM migrations")
        if columns == 3
        else []
    )
    if {row["product"] for row in rows} != {PRODUCT}:
        raise SchemaRefused(
            f"schema {schema!r} was not made by this program and is left alone; "
            "rename it or use another database"
        )
    return {row["number"]: row["digest"] for row in rows}
