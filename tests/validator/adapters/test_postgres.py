"""What only PostgreSQL can do wrong: connections, limits, rights, constraints."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import trio
import trio_asyncio
from pretender import pretending

from validator.adapters.postgres import (
    check_dsn,
    open_store,
    postgres_opener,
)
from validator.adapters.postgres_schema import SchemaRefused, StoreInUse
from validator.adapters.postgres_session import Limits
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.postgres_units import Connection
from validator.domain.dst import Nanotesla, ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Excuse, Prediction, Score, ScoredHour
from validator.domain.soil import CELLS, PreparedRegion, Region, SoilForecast
from validator.ports import ConnectionLost, StoreUnavailable

SCHEMA = "adapter_test"
HOUR = datetime(2015, 3, 17, 20, tzinfo=UTC)
MINER = Miner(1, "a", "127.0.0.1", 8001)


@asynccontextmanager
async def fresh_store(
    dsn: str, limits: Limits | None = None
) -> AsyncGenerator[PostgresStore]:
    opening = open_store(dsn, schema=SCHEMA, fresh=True, limits=limits)
    async with opening as store:
        assert isinstance(store, PostgresStore)
        yield store


async def sql(store: PostgresStore, *statements: str, writes: bool = True) -> Any:
    """Run statements as one unit of work; return the last one's value."""

    async def unit(connection: Connection) -> Any:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])

    return await store._session.run("test", unit, writes=writes)


async def fill(store: PostgresStore) -> None:
    await store.register_miners([MINER])
    prediction, excuse = Prediction(HOUR, "a", ScaledDst(-1.0)), Excuse(HOUR, "a")
    await store.save_predictions([prediction], [excuse])
    score = Score("a", ScaledDst(-1.0), 0.5)
    await store.record_scores(ScoredHour(HOUR, Nanotesla(-234), (score,)))
    region = Region(HOUR, 0, (0, 0, 1, 1), (0, 0, 1, 1), 32633)
    await store.save_regions([PreparedRegion(region, b"II*\0")])
    grid = (0.5,) * CELLS
    await store.save_soil_forecasts([SoilForecast(HOUR, 0, "a", grid, grid)])


def with_values(statement: str) -> str:
    values = {
        "hour": f"'{HOUR}'",
        "box": "'{0,0,1,1}'",
        "tiff": r"'\x49492a00'",
        "grid": "array_fill(0.5::float8, '{121}')",
    }
    for name, value in values.items():
        statement = statement.replace(f":{name}", value)
    return statement


# --- what cannot be stored ---------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO miners VALUES (256, 'b', '', 1)",
        "INSERT INTO miners VALUES (-1, 'b', '', 1)",
        "INSERT INTO miners VALUES (1, 'b', '', 1)",
        "INSERT INTO miners VALUES (2, 'a', '', 1)",
        "INSERT INTO score_rows VALUES ('geomagnetic', :hour)",
        "INSERT INTO score_rows VALUES ('another', :hour)",
        "INSERT INTO scores VALUES ('geomagnetic', :hour, 'a', 1)",
        "INSERT INTO scores VALUES ('geomagnetic', :hour, 'stranger', 1)",
        "INSERT INTO scores VALUES ('geomagnetic', '2000-01-01', 'a', 1)",
        "UPDATE scores SET score = 'NaN'",
        "UPDATE scores SET score = 1.01",
        "UPDATE scores SET score = -0.01",
        "INSERT INTO geomagnetic_history VALUES (:hour, 'a', 0, 0)",
        "INSERT INTO geomagnetic_history VALUES (:hour, 'stranger', 0, 0)",
        "UPDATE geomagnetic_history SET score = 'NaN'",
        "UPDATE geomagnetic_history SET predicted = 'NaN'",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', 'NaN')",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', 'infinity')",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', '-infinity')",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'stranger', 0)",
        "INSERT INTO geomagnetic_predictions VALUES ('2000-01-01', 'a', 0)",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', 0, 'processing')",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', 0, 'pending', 'x', 1)",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', 0, 'processing', 'x')",
        "INSERT INTO geomagnetic_predictions VALUES (:hour, 'a', 0, 'scored')",
        "INSERT INTO geomagnetic_excuses VALUES (:hour, 'a')",
        "INSERT INTO geomagnetic_excuses VALUES (:hour, 'stranger')",
        "INSERT INTO geomagnetic_excuses VALUES ('2000-01-01', 'a')",
        "INSERT INTO soil_regions VALUES (:hour, 0, :box, :box, 1)",
        "INSERT INTO soil_regions VALUES (:hour, 1, :box, :box, 1)",
        "INSERT INTO soil_regions VALUES ('2000-01-01', 1, :box, :box, 1)",
        "INSERT INTO soil_images VALUES (:hour, 0, :tiff)",
        "INSERT INTO soil_images VALUES (:hour, 7, :tiff)",
        "UPDATE soil_images SET image = 'PNG'",
        "INSERT INTO soil_predictions VALUES (:hour, 0, 'a', :grid, :grid)",
        "INSERT INTO soil_predictions VALUES (:hour, 7, 'a', :grid, :grid)",
        "INSERT INTO soil_predictions VALUES (:hour, 0, 'stranger', :grid, :grid)",
        "UPDATE soil_predictions SET surface[7] = 'NaN'",
        "UPDATE soil_predictions SET surface[7] = 'infinity'",
        "UPDATE soil_predictions SET surface[7] = NULL",
        "UPDATE soil_predictions SET rootzone = rootzone || 1::float8",
        "UPDATE soil_predictions SET rootzone = NULL",
        "INSERT INTO soil_history VALUES (:hour, 0, 'a', 0, 0, 'NaN')",
        "INSERT INTO soil_history VALUES (:hour, 0, 'a', 'NaN', 0, 0)",
        "INSERT INTO soil_history VALUES (:hour, 0, 'stranger', 0, 0, 0)",
        "UPDATE soil_targets SET owner = 'x'",
        "UPDATE soil_targets SET closed = 'scored', owner = 'x', incarnation = 1",
    ],
)
async def test_the_schema_itself_refuses(dsn: str, statement: str) -> None:
    async with fresh_store(dsn) as store:
        await fill(store)

        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await sql(store, with_values(statement))

        (row,) = await store.score_rows(HOUR)
        assert row.scores == {"a": 0.5}


@pytest.mark.real
async def test_a_forgotten_miner_leaves_no_row_behind(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        await fill(store)
        await store.forget_miners(["a"])

        for table in (
            *("scores", "geomagnetic_history", "geomagnetic_predictions"),
            *("soil_predictions", "soil_history"),
        ):
            assert await sql(store, f"SELECT count(*) FROM {table}") == 0  # noqa: S608


@pytest.mark.real
async def test_pruning_leaves_no_row_behind(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        await fill(store)
        while await store.prune(HOUR + timedelta(hours=1)):
            pass

        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
        assert await sql(store, tables) == 13
        for table in (
            *("scores", "score_rows", "geomagnetic_hours", "geomagnetic_history"),
            *("geomagnetic_predictions", "geomagnetic_excuses", "soil_targets"),
            *("soil_regions", "soil_images", "soil_predictions", "soil_history"),
        ):
            assert await sql(store, f"SELECT count(*) FROM {table}") == 0  # noqa: S608
        assert await store.miners() == (MINER,)


# --- cancellation, limits, losses --------------------------------------------

COMMON = {
    "statement_timeout": "29s",
    "lock_timeout": "29s",
    "idle_in_transaction_session_timeout": "29s",
}


@pytest.mark.real
@pytest.mark.parametrize(
    ("version", "settings"),
    [
        (13, COMMON),
        (14, {**COMMON, "client_connection_check_interval": "1s"}),
        (16, {**COMMON, "client_connection_check_interval": "1s"}),
        (
            17,
            {
                **COMMON,
                "client_connection_check_interval": "1s",
                "transaction_timeout": "179s",
            },
        ),
    ],
)
async def test_a_server_is_told_of_the_limits_that_its_version_knows(
    dsn: str, version: int, settings: dict[str, str]
) -> None:
    every = {*COMMON, "client_connection_check_interval", "transaction_timeout"}
    with pretending(dsn, version) as through:
        async with open_store(through, schema="limits", fresh=True) as store:
            assert isinstance(store, PostgresStore)
            for name in every:
                assert await sql(store, f"SHOW {name}") == settings.get(name, "0")


@pytest.mark.real
async def test_a_query_cancelled_in_the_middle_leaves_its_connection_usable(
    dsn: str,
) -> None:
    async with fresh_store(dsn) as store:
        backend = await sql(store, "SELECT pg_backend_pid()")

        with trio.fail_after(2), trio.move_on_after(0.1) as scope:
            await sql(store, "SELECT pg_sleep(30)", writes=False)

        assert scope.cancelled_caught
        assert await sql(store, "SELECT pg_backend_pid()") == backend


@pytest.mark.real
async def test_a_transaction_cancelled_in_the_middle_leaves_nothing(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        with trio.move_on_after(0.1):
            await sql(
                store,
                "INSERT INTO miners VALUES (7, 'half', '', 1)",
                "SELECT pg_sleep(30)",
            )

        assert await store.miners() == ()


@pytest.mark.real
async def test_cancelled_anywhere_a_connection_stays_whole(dsn: str) -> None:
    rng = random.Random(57)
    async with fresh_store(dsn) as store:
        for _ in range(100):
            with trio.move_on_after(rng.uniform(0, 0.004)):
                await sql(
                    store,
                    "INSERT INTO miners VALUES (7, 'half', '', 1)",
                    "SELECT pg_sleep(0.002)",
                    "DELETE FROM miners WHERE hotkey = 'half'",
                    "SELECT 1",
                )
            assert await store.miners() == ()
        connections = "SELECT count(*) FROM pg_stat_activity WHERE client_port = -1"
        assert await sql(store, connections) == 1


@pytest.mark.real
async def test_the_server_ends_a_statement_before_our_limit_does(dsn: str) -> None:
    async with fresh_store(dsn, Limits(query=1)) as store:
        backend = await sql(store, "SELECT pg_backend_pid()")

        with pytest.raises(
            TimeoutError, match=r"^Database operation timed out: test$"
        ) as caught:
            await sql(store, "SELECT pg_sleep(30)", writes=False)

        assert isinstance(caught.value.__cause__, asyncpg.QueryCanceledError)
        assert await sql(store, "SELECT pg_backend_pid()") == backend


@pytest.mark.real
async def test_our_limit_holds_where_the_server_does_not_keep_its_own(
    dsn: str,
) -> None:
    async with fresh_store(dsn, Limits(query=0.5)) as store:
        with trio.fail_after(3):
            with pytest.raises(TimeoutError, match=r"^Database operation timed out"):
                await sql(
                    store,
                    "SET statement_timeout = 0",
                    "SELECT pg_sleep(30)",
                    writes=False,
                )

        assert await store.miners() == ()


@pytest.mark.real
async def test_a_server_that_stopped_answering_cannot_hold_us(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        backend = await sql(store, "SELECT pg_backend_pid()")
        os.kill(backend, signal.SIGSTOP)
        try:
            with trio.fail_after(5), trio.move_on_after(0.1) as scope:
                await store.miners()
        finally:
            os.kill(backend, signal.SIGCONT)

        assert scope.cancelled_caught
        with pytest.raises(StoreUnavailable):
            await store.miners()
    async with fresh_store(dsn) as store:
        assert await store.miners() == ()


@pytest.mark.real
async def test_a_lost_connection_is_unavailable_until_opened_anew(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        with pytest.raises(ConnectionLost, match="during test"):
            await sql(store, "SELECT pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(ConnectionLost, match="no database connection"):
            await store.miners()
    async with fresh_store(dsn) as store:
        assert await store.miners() == ()


@pytest.mark.real
async def test_units_asked_for_at_once_run_one_after_the_other(dsn: str) -> None:
    async with fresh_store(dsn) as store, trio.open_nursery() as nursery:
        for uid in range(20):
            nursery.start_soon(store.register_miners, [Miner(uid, f"hk{uid}", "", 1)])


@pytest.mark.real
async def test_what_the_driver_mentions_in_passing_ends_nothing(dsn: str) -> None:
    async with fresh_store(dsn) as store:

        async def unit(connection: Connection) -> None:
            loop = trio_asyncio.current_loop.get()
            loop.call_exception_handler({"message": "by the way"})
            await connection.execute("SELECT 1")

        await store._session.run("mention", unit)

        assert await store.miners() == ()


# --- whose schema it is ------------------------------------------------------


@pytest.mark.real
async def test_two_stores_may_work_in_one_schema(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        await fill(store)
        async with open_store(dsn, schema=SCHEMA, fresh=False) as other:
            assert await other.miners() == (MINER,)


@pytest.mark.real
async def test_several_that_start_at_once_bring_the_schema_up_to_date_once(
    dsn: str,
) -> None:
    started: list[object] = []
    all_started = trio.Event()

    async def start() -> None:
        async with open_store(dsn, schema="at_once", fresh=False) as store:
            started.append(store)
            if len(started) == 4:
                all_started.set()
            await all_started.wait()

    async with fresh_store(dsn) as store:
        await sql(store, "DROP SCHEMA IF EXISTS at_once CASCADE", "SELECT 1")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(start)


@pytest.mark.real
async def test_a_schema_that_others_work_in_is_not_emptied(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        await fill(store)
        with pytest.raises(StoreInUse, match="in use by another validator"):
            async with fresh_store(dsn):
                pytest.fail("opened twice")

        assert await store.miners() == (MINER,)


@pytest.mark.real
async def test_only_the_first_opening_empties_the_schema(dsn: str) -> None:
    opener = postgres_opener(dsn, schema=SCHEMA, fresh=True)
    async with fresh_store(dsn) as store:
        await fill(store)
    async with opener() as store:
        assert await store.miners() == ()
        await store.register_miners([MINER])
    async with opener() as store:
        assert await store.miners() == (MINER,)


@pytest.mark.real
@pytest.mark.parametrize(
    "table", ["treasure (gold text)", "migrations (number int, digest text)"]
)
async def test_another_products_schema_is_refused_and_left_alone(
    dsn: str, table: str
) -> None:
    foreign = "somebody_elses"
    async with fresh_store(dsn) as store:
        await sql(
            store,
            f"DROP SCHEMA IF EXISTS {foreign} CASCADE",
            f"CREATE SCHEMA {foreign}",
            f"CREATE TABLE {foreign}.{table}",
            "SELECT 1",
        )
        for fresh in (True, False):
            with pytest.raises(SchemaRefused, match="left alone"):
                async with open_store(dsn, schema=foreign, fresh=fresh):
                    pytest.fail("opened")
        with pytest.raises(SchemaRefused, match="left alone"):
            await check_dsn(dsn, schema=foreign)

        name = table.partition(" ")[0]
        assert await sql(store, f"SELECT count(*) FROM {foreign}.{name}") == 0  # noqa: S608


@pytest.mark.real
async def test_a_schema_of_a_newer_program_is_refused(dsn: str) -> None:
    async with fresh_store(dsn) as store:
        await fill(store)
        await sql(
            store,
            "INSERT INTO migrations SELECT 9999, 'later', '', product FROM migrations "
            "LIMIT 1",
        )
    with pytest.raises(SchemaRefused, match="at migration 9999"):
        async with open_store(dsn, schema=SCHEMA, fresh=False):
            pytest.fail("opened")


# --- the border --------------------------------------------------------------


@pytest.mark.real
async def test_a_schema_in_use_is_noticed_before_anything_is_started(dsn: str) -> None:
    async with fresh_store(dsn):
        with pytest.raises(StoreInUse, match="in use by another validator"):
            await check_dsn(dsn, schema=SCHEMA)
    await check_dsn(dsn, schema=SCHEMA)


@pytest.mark.real
async def test_a_good_dsn_passes_and_nothing_is_created(dsn: str) -> None:
    await check_dsn(dsn, schema="never_made")

    async with fresh_store(dsn) as store:
        query = "SELECT count(*) FROM pg_namespace WHERE nspname = 'never_made'"
        assert await sql(store, query) == 0


@pytest.mark.real
@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("", "not valid"),
        ("mysql://u:secret@localhost/x", "not valid"),
        ("postgresql://u:se@secret:x@localhost/x", "not valid"),
        ("postgresql://u:secret@127.0.0.1:1/x", "cannot connect"),
        ("postgresql://u:secret@/x?host=/nowhere", "cannot connect"),
        ("postgresql://u:secret@host.invalid/x", "cannot connect"),
    ],
)
async def test_a_dsn_that_leads_nowhere_is_told_in_one_line_without_its_password(
    dsn: str, reason: str
) -> None:
    with pytest.raises(StoreUnavailable, match=reason) as caught:
        await check_dsn(dsn, schema=SCHEMA)

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.real
async def test_a_database_that_does_not_exist_is_told(dsn: str) -> None:
    with pytest.raises(StoreUnavailable, match='"missing" does not exist'):
        await check_dsn(dsn.replace("/postgres?", "/missing?"), schema=SCHEMA)


async def test_a_server_that_never_answers_is_given_ten_seconds() -> None:
    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(
            trio.serve_tcp, silence, 0
        )
        port = listeners[0].socket.getsockname()[1]
        started = trio.current_time()

        with pytest.raises(StoreUnavailable, match="did not answer within 10 s"):
            await check_dsn(f"postgresql://u:p@127.0.0.1:{port}/x", schema=SCHEMA)

        assert trio.current_time() - started == pytest.approx(10)
        nursery.cancel_scope.cancel()


async def silence(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()
