"""What every store promises about soil moisture, in memory and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from validator.adapters.postgres import postgres_opener
from validator.domain.metagraph import Miner
from validator.domain.scoring import EarnedRow
from validator.domain.soil import (
    CELLS,
    DueTarget,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
    SoilScore,
)
from validator.ports import OpenStore
from validator.simulation.store import MemoryStore

T = datetime(2015, 3, 17, 19, 30, tzinfo=UTC)
LATER = T + timedelta(hours=6)


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.real)])
def opener(request: pytest.FixtureRequest) -> OpenStore:
    if request.param == "memory":
        return MemoryStore().open
    dsn: str = request.getfixturevalue("dsn")
    return postgres_opener(dsn, schema="contract", fresh=True)


def miner(uid: int, hotkey: str) -> Miner:
    return Miner(uid, hotkey, "127.0.0.1", 8000 + uid)


def prepared(
    number: int, at: datetime = T, *, x: float | None = None
) -> PreparedRegion:
    west = float(number) if x is None else x
    region = Region(at, number, (west, 0, west + 1, 1), (0, 0, 109.8, 109.8), 32633)
    return PreparedRegion(region, b"II*\0" + bytes([number]))


def forecast(number: int, hotkey: str, value: float = 0.25) -> SoilForecast:
    return SoilForecast(
        T, number, hotkey, (value,) * CELLS, tuple(map(float, range(CELLS)))
    )


def score(number: int, hotkey: str, worth: float) -> SoilScore:
    return SoilScore(number, hotkey, 0.05, 0.06, worth)


async def test_regions_are_read_back_as_they_were_prepared(opener: OpenStore) -> None:
    async with opener() as store:
        await store.save_regions([prepared(1), prepared(0), prepared(0, LATER)])

        assert await store.unsent_regions(T) == (prepared(0), prepared(1))
        assert await store.regions(T) == (prepared(0).region, prepared(1).region)
        assert await store.regions(LATER) == (prepared(0, LATER).region,)


async def test_a_region_that_exists_is_not_replaced(opener: OpenStore) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0, x=5)])
        await store.save_regions([prepared(0), prepared(1, x=5), prepared(2)])

        assert await store.unsent_regions(T) == (prepared(0, x=5), prepared(2))


async def test_unsent_regions_come_in_pages(opener: OpenStore) -> None:
    async with opener() as store:
        await store.save_regions([prepared(n) for n in range(12)])

        after, pages = -1, list[list[int]]()
        while page := await store.unsent_regions(T, after=after):
            pages.append([each.region.number for each in page])
            after = pages[-1][-1]
            await store.region_sent(T, pages[-1][0])

        assert pages == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


async def test_a_region_that_was_sent_is_not_sent_again(opener: OpenStore) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0), prepared(1)])
        await store.region_sent(T, 0)
        await store.save_regions([prepared(0)])

        assert await store.unsent_regions(T) == (prepared(1),)
        assert len(await store.regions(T)) == 2


async def test_forecasts_come_in_pages_by_the_bytes_of_hotkeys(
    opener: OpenStore,
) -> None:
    hotkeys = ["B", "a", "b", "B_", "ä"]
    async with opener() as store:
        await store.save_regions([prepared(0), prepared(1)])
        for uid, hotkey in enumerate(hotkeys):
            await store.register_miners([miner(uid, hotkey)])
        given = [forecast(0, hotkey) for hotkey in hotkeys]
        assert await store.save_soil_forecasts([*given, forecast(1, "a")]) == 6

        first = await store.soil_forecasts(T, 0, limit=3)
        rest = await store.soil_forecasts(T, 0, after=first[-1].hotkey, limit=3)

        assert [each.hotkey for each in first] == ["B", "B_", "a"]
        assert [each.hotkey for each in rest] == ["b", "ä"]
        assert {*first, *rest} == {*given}
        assert await store.soil_forecasts(T, 0, after="ä") == ()


async def test_forecasts_that_belong_nowhere_are_dropped(opener: OpenStore) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0)])
        await store.register_miners([miner(1, "a")])
        given = [forecast(0, "a"), forecast(0, "a", 0.5), forecast(7, "a")]

        assert await store.save_soil_forecasts([*given, forecast(0, "x")]) == 3

        assert await store.soil_forecasts(T, 0) == (forecast(0, "a"),)
        assert await store.soil_forecasts(T, 7) == ()


async def test_scores_close_the_target_and_drop_what_is_of_no_more_use(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0), prepared(1)])
        await store.register_miners([miner(1, "a")])
        await store.register_miners([miner(2, "b")])
        await store.save_soil_forecasts([forecast(0, "a"), forecast(1, "a")])
        assert await store.claim_target(T, owner="soil", incarnation=1)
        given = ("a", 0, 0.25), ("a", 1, 0.75), ("b", 1, 0.5), ("x", 0, 1), ("b", 9, 1)
        scores = tuple(score(number, hotkey, worth) for hotkey, number, worth in given)

        await store.record_soil_scores(ScoredTarget(T, scores))
        await store.record_soil_scores(ScoredTarget(T, ()))

        row = EarnedRow("soil_moisture", T, {"a": 0.5, "b": 0.5})
        assert await store.score_rows(T) == (row,)
        assert await store.unsent_regions(T) == ()
        assert await store.soil_forecasts(T, 0) == ()
        assert await store.processing_rows() == 0
        assert await store.due_targets(until=LATER, now=LATER) == ()
        assert not await store.claim_target(T, owner="soil", incarnation=1)


async def test_what_comes_after_the_end_of_a_target_is_dropped(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.save_regions([prepared(0)])
        await store.abandon_target(T)
        await store.save_regions([prepared(1)])
        await store.save_soil_forecasts([forecast(0, "a")])
        await store.record_soil_scores(ScoredTarget(T, (score(0, "a", 1),)))

        assert await store.regions(T) == (prepared(0).region,)
        assert await store.unsent_regions(T) == ()
        assert await store.soil_forecasts(T, 0) == ()
        assert await store.score_rows(T) == ()


async def test_a_claimed_target_keeps_others_out(opener: OpenStore) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0)])
        assert await store.claim_target(T, owner="soil", incarnation=1)
        assert await store.claim_target(T, owner="soil", incarnation=1)
        assert not await store.claim_target(T, owner="soil", incarnation=2)
        assert not await store.claim_target(LATER, owner="soil", incarnation=1)
        assert await store.processing_rows() == 1
        assert await store.release_claims(owner="other") == 0
        assert await store.release_claims(owner=None) == 1
        assert await store.claim_target(T, owner="soil", incarnation=2)


async def test_a_target_that_could_not_be_scored_is_tried_again_later(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0)])
        await store.claim_target(T, owner="soil", incarnation=1)
        for _ in range(2):  # its outcome was unknown
            await store.postpone_target(T, attempt=1, retry_at=LATER, error="no file")
        await store.postpone_target(LATER, attempt=1, retry_at=LATER, error="no such")

        before = LATER - timedelta(seconds=1)
        assert await store.processing_rows() == 0
        assert await store.due_targets(until=T, now=before) == ()
        assert await store.due_targets(until=T, now=LATER) == (DueTarget(T, 1),)
        assert await store.due_targets(until=T - timedelta(1), now=LATER) == ()


async def test_an_attempt_that_is_recorded_again_or_late_changes_nothing(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.save_regions([prepared(0)])
        await store.postpone_target(T, attempt=2, retry_at=T, error="no file")
        await store.claim_target(T, owner="soil", incarnation=2)
        await store.postpone_target(T, attempt=2, retry_at=LATER, error="repeated")
        await store.postpone_target(T, attempt=1, retry_at=LATER, error="late")

        assert await store.processing_rows() == 1, "the next try goes on"
        assert await store.due_targets(until=T, now=T) == (DueTarget(T, 2),)


async def test_a_newcomer_inherits_no_forecast(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "old")])
        await store.save_regions([prepared(0), prepared(0, LATER)])
        await store.save_soil_forecasts([forecast(0, "old")])
        await store.record_soil_scores(ScoredTarget(LATER, (score(0, "old", 1),)))

        await store.register_miners([miner(1, "new")])

        assert await store.soil_forecasts(T, 0) == ()
        row = EarnedRow("soil_moisture", LATER, {})
        assert await store.score_rows(T) == (row,)
