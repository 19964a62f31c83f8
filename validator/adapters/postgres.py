"""The store in PostgreSQL: how it is opened.

What is asked of the database stands in ``postgres_store``, how units of work run in
``postgres_session``, and what is in the database in ``postgres_schema``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from validator.adapters.groups import ungrouped
from validator.adapters.lanes import Lanes, open_lanes
from validator.adapters.postgres_schema import have_alone, look, prepare
from validator.adapters.postgres_session import Connection, Limits, connected
from validator.adapters.postgres_store import PostgresStore
from validator.ports import (
    ConnectionLost,
    OpenDatabase,
    OpenStore,
    OutcomeUnknown,
    Store,
    StoreUnavailable,
)


def postgres(
    dsn: str, *, schema: str, fresh: bool, limits: Limits | None = None
) -> OpenDatabase:
    """Return what opens the database, as often as needed.

    It connects at once, so that whatever is wrong is told before anything begins, and
    brings the schema up to date. With ``fresh``, the first opening that succeeds
    empties the schema; later ones (after a crash, say) find what was stored since. All
    raise what ``open_store`` does.
    """
    emptied = False
    limits = limits or Limits()

    @asynccontextmanager
    async def open_database() -> AsyncGenerator[OpenStore]:
        nonlocal emptied
        with ungrouped():
            async with open_lanes() as lanes:
                empty = fresh and not emptied
                async with _opened(lanes, dsn, schema, limits, fresh=empty):
                    emptied = True
                yield partial(_opened, lanes, dsn, schema, limits, fresh=False)

    return open_database


def postgres_opener(
    dsn: str, *, schema: str, fresh: bool, limits: Limits | None = None
) -> OpenStore:
    """Return what opens a store of its own, as often as needed; see ``postgres``."""
    opening = postgres(dsn, schema=schema, fresh=fresh, limits=limits)

    @asynccontextmanager
    async def reopen() -> AsyncGenerator[Store]:
        async with opening() as connect, connect() as store:
            yield store

    return reopen


@asynccontextmanager
async def open_store(
    dsn: str, *, schema: str, fresh: bool, limits: Limits | None = None
) -> AsyncGenerator[Store]:
    """Connect, bring the schema up to date, and hold the store during the block.

    Everything lives in ``schema``, which is created where it is missing; with
    ``fresh`` it is emptied first. Others may open stores in the same schema, but
    nobody may change the schema itself until the block ends. The connection is closed
    on every way out, within 2 s.

    Units of work run one after the other. A cancelled or timed out unit is rolled
    back (unless its commit was already under way) and leaves the connection usable
    or, where the server does not answer within 2 s, closed; then, and after the
    connection was lost, every method raises ``ConnectionLost``: open anew.

    Raises:
        StoreInUse: the schema must be changed, and others are working in it.
        SchemaRefused: the schema is another product's or of a newer program, the
            server is too old, or rights are missing.
        StoreUnavailable: the server cannot be reached or refuses us.
        TimeoutError: connecting or migrating took longer than its limit.
    """
    with ungrouped():
        async with open_lanes() as lanes:
            opening = _opened(lanes, dsn, schema, limits or Limits(), fresh=fresh)
            async with opening as store:
                yield store


async def check_dsn(dsn: str, *, schema: str) -> None:
    """Connect once and look whether the store would open, also ``fresh``.

    Nothing is changed.

    Raises:
        StoreUnavailable: it would not (see ``open_store``), or the server did not
            answer within 10 s. The text is one line and holds no password.
    """

    async def unit(connection: Connection) -> None:
        await have_alone(connection, schema)
        await look(connection, schema, fresh=True)

    try:
        with ungrouped():
            async with (
                open_lanes() as lanes,
                connected(lanes, dsn, schema, Limits(query=10)) as session,
            ):
                await session.run("check schema", unit)
    except TimeoutError as error:
        raise StoreUnavailable(
            "the database server did not answer within 10 s"
        ) from error
    except OutcomeUnknown as error:
        raise StoreUnavailable("the database connection was lost") from error


@asynccontextmanager
async def _opened(
    lanes: Lanes, dsn: str, schema: str, limits: Limits, *, fresh: bool
) -> AsyncGenerator[Store]:
    async with connected(lanes, dsn, schema, limits) as session:
        try:
            await session.run(
                "prepare schema",
                lambda connection: prepare(connection, schema, fresh=fresh),
            )
        except OutcomeUnknown as error:
            # Nobody asked for a write: whoever opens anew finds it done, or does it.
            raise ConnectionLost(str(error)) from error
        yield PostgresStore(session)
