"""Units of work beside each other, each on a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs
import pytest
import trio

from validator.adapters.postgres import postgres
from validator.adapters.postgres_store import PostgresStore
from validator.adapters.postgres_units import Connection, Session
from validator.domain.dst import Nanotesla, ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import Prediction, Score, ScoredHour
from validator.domain.soil import (
    CELLS,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
    SoilScore,
)
from validator.ports import StoreUnavailable

pytestmark = pytest.mark.real

T = TypeVar("T")

HOUR = datetime(2015, 3, 17, 20, tzinfo=UTC)
MINER = Miner(1, "a", "127.0.0.1", 8001)
PREDICTION = Prediction(HOUR, "a", ScaledDst(-1.0))
REGION = Region(HOUR, 0, (0, 0, 1, 1), (0, 0, 1, 1), 32633)
GRID = (0.5,) * CELLS
FORECAST = SoilForecast(HOUR, 0, "a", GRID, GRID)


@attrs.frozen
class Lingering:
    """A session whose units have done all their work a moment before their end."""

    _session: Session
    done: trio.Event = attrs.field(factory=trio.Event)

    async def run(
        self,
        operation: str,
        unit: Callable[[Connection], Coroutine[Any, Any, T]],
        *,
        writes: bool = True,
    ) -> T:
        token = trio.lowlevel.current_trio_token()

        async def lingering(connection: Connection) -> T:
            result = await unit(connection)
            token.run_sync_soon(self.done.set)
            await connection.execute("SELECT pg_sleep(0.3)")
            return result

        return await self._session.run(operation, lingering, writes=writes)


@asynccontextmanager
async def two_stores(dsn: str) -> AsyncGenerator[tuple[PostgresStore, PostgresStore]]:
    database = postgres(dsn, schema="units_test", fresh=True)
    async with database() as connect, connect() as one, connect() as other:
        assert isinstance(one, PostgresStore)
        assert isinstance(other, PostgresStore)
        yield one, other


@asynccontextmanager
async def about_to_end(
    store: PostgresStore, work: Callable[[PostgresStore], Coroutine[Any, Any, Any]]
) -> AsyncGenerator[None]:
    """The block runs while ``work`` is done and not committed."""
    lingering = Lingering(store._session)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, PostgresStore(lingering))
        await lingering.done.wait()
        yield


async def test_a_prediction_that_comes_while_its_hour_is_scored_is_not_lost(
    dsn: str,
) -> None:
    async with two_stores(dsn) as (one, other):
        await one.register_miners([MINER])
        await one.open_hour(HOUR)
        async with about_to_end(one, lambda s: s.save_predictions([PREDICTION])):
            assert not await other.record_scores(ScoredHour(HOUR, Nanotesla(-234), ()))

        assert await one.pending_hours(HOUR + timedelta(1)) == (HOUR,)
        claim = one.claim_predictions(HOUR, owner="geo", incarnation=1)
        assert await claim == (PREDICTION,)


async def test_a_forecast_that_comes_while_its_target_is_closed_is_not_left_over(
    dsn: str,
) -> None:
    async with two_stores(dsn) as (one, other):
        await one.register_miners([MINER])
        await one.save_regions([PreparedRegion(REGION, b"II*\0")])
        async with about_to_end(one, lambda s: s.save_soil_forecasts([FORECAST])):
            await other.abandon_target(HOUR)

        assert await one.soil_forecasts(HOUR, 0) == ()


async def test_what_a_miner_sent_while_it_was_forgotten_is_dropped(dsn: str) -> None:
    score = Score("a", ScaledDst(-1.0), 1.0)
    soil_score = SoilScore(0, "a", 0, 0, 1)
    async with two_stores(dsn) as (one, other):
        await one.register_miners([MINER])
        await one.save_regions([PreparedRegion(REGION, b"II*\0")])
        async with about_to_end(one, lambda s: s.forget_miners(["a"])):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other.save_predictions, [PREDICTION])
                nursery.start_soon(
                    other.record_scores, ScoredHour(HOUR, Nanotesla(-234), (score,))
                )
                nursery.start_soon(other.save_soil_forecasts, [FORECAST])
                nursery.start_soon(
                    other.record_soil_scores, ScoredTarget(HOUR, (soil_score,))
                )

        assert [row.scores for row in await one.score_rows(HOUR)] == [{}, {}]
        assert await one.soil_forecasts(HOUR, 0) == ()


async def test_who_writes_about_many_miners_at_once_is_in_nobodys_way(
    dsn: str,
) -> None:
    crowd = [Miner(uid, f"hk{uid}", "127.0.0.1", 8001) for uid in range(32)]
    hotkeys = [each.hotkey for each in crowd]
    given = [Prediction(HOUR, hotkey, ScaledDst(-1.0)) for hotkey in hotkeys]
    async with two_stores(dsn) as (one, other):
        await one.register_miners(crowd)

        async def move_about() -> None:
            for n in range(20):
                seats = [crowd[(uid + n) % 32].uid for uid in range(32)]
                await one.forget_miners(hotkeys[n % 10 :: 4])
                await one.register_miners(
                    [
                        Miner(seat, hotkey, "127.0.0.1", 8001)
                        for seat, hotkey in zip(seats, hotkeys, strict=True)
                    ]
                )

        # A deadlock would be a StoreUnavailable.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(move_about)
            for n in range(20):
                await other.save_predictions(given[:: -1 if n % 2 else 1])

        assert len(await one.miners()) == 32


async def test_of_two_miners_at_one_uid_the_later_one_stays(dsn: str) -> None:
    newcomer = Miner(1, "b", "127.0.0.1", 8002)
    async with two_stores(dsn) as (one, other):
        async with about_to_end(one, lambda s: s.register_miners([MINER])):
            await other.register_miners([newcomer])

        assert await one.miners() == (newcomer,)


async def test_the_same_write_twice_at_once_is_done_once(dsn: str) -> None:
    outcome = ScoredHour(HOUR, Nanotesla(-234), (Score("a", ScaledDst(-1.0), 0.5),))
    async with two_stores(dsn) as (one, other):
        await one.register_miners([MINER])
        async with about_to_end(one, lambda s: s.save_predictions([PREDICTION])):
            assert await other.save_predictions([PREDICTION]) == 1
        async with about_to_end(one, lambda s: s.record_scores(outcome)):
            await other.record_scores(outcome)

        (row,) = await one.score_rows(HOUR)
        assert row.scores == {"a": 0.5}


async def test_every_statement_is_prepared_once(dsn: str) -> None:
    counts: list[int] = []

    async def count(connection: Connection) -> None:
        query = "SELECT count(*) FROM pg_prepared_statements"
        counts.append(await connection.fetchval(query))

    async with two_stores(dsn) as (store, _):
        for _ in range(3):
            await store.register_miners([MINER])
            await store.save_predictions([PREDICTION])
            await store.claim_predictions(HOUR, owner="geo", incarnation=1)
            await store.release_claims(owner="geo")
            await store.save_regions([PreparedRegion(REGION, b"II*\0")])
            await store.save_soil_forecasts([FORECAST])
            await store.soil_forecasts(HOUR, 0)
            await store._session.run("count", count)

    assert counts[0] > 10
    assert counts == [counts[0]] * 3


async def test_of_two_units_that_wait_for_each_other_one_is_told_that_it_was_not_done(
    dsn: str,
) -> None:
    first, second = Miner(1, "a", "", 1), Miner(2, "b", "", 2)
    errors: list[StoreUnavailable] = []

    async def touch(store: PostgresStore, *hotkeys: str) -> None:
        async def unit(connection: Connection) -> None:
            for hotkey in hotkeys:
                query = "UPDATE miners SET port = port WHERE hotkey = $1"
                await connection.execute(query, hotkey)
                await connection.execute("SELECT pg_sleep(0.2)")

        try:
            await store._session.run("touch", unit)
        except StoreUnavailable as error:
            errors.append(error)

    async with two_stores(dsn) as (one, other):
        await one.register_miners([first])
        await one.register_miners([second])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(touch, one, "a", "b")
            nursery.start_soon(touch, other, "b", "a")

        (error,) = errors
        assert "deadlock" in str(error)
        assert await one.miners() == await other.miners() == (first, second)
