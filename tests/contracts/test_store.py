"""What every store promises, asked of the one in memory and of PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from validator.adapters.postgres import postgres_opener
from validator.domain.dst import Nanotesla, ScaledDst
from validator.domain.metagraph import Miner
from validator.domain.scoring import EarnedRow, Excuse, Prediction, Score, ScoredHour
from validator.ports import PRUNED_AT_ONCE, OpenStore
from validator.simulation.store import MemoryStore

SCHEMA = "contract"
START = datetime(2015, 3, 17, 20, tzinfo=UTC)
HOURS = [START + timedelta(hours=n) for n in range(3)]
HOUR, NEXT_HOUR, LATER = HOURS


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.real)])
def opener(request: pytest.FixtureRequest) -> OpenStore:
    if request.param == "memory":
        return MemoryStore().open
    dsn: str = request.getfixturevalue("dsn")
    return postgres_opener(dsn, schema=SCHEMA, fresh=True)


def miner(uid: int, hotkey: str) -> Miner:
    return Miner(uid, hotkey, "127.0.0.1", 8000 + uid)


def prediction(hotkey: str, hour: datetime = HOUR, value: float = -2.5) -> Prediction:
    return Prediction(hour, hotkey, ScaledDst(value))


def outcome(*scores: tuple[str, float], hour: datetime = HOUR) -> ScoredHour:
    given = tuple(Score(hotkey, ScaledDst(-2.5), score) for hotkey, score in scores)
    return ScoredHour(hour, Nanotesla(-234), given)


async def test_miners_come_back_by_uid(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(255, "b")])
        await store.register_miners([miner(0, "a")])

        assert await store.miners() == (miner(0, "a"), miner(255, "b"))


async def test_what_is_stored_is_there_at_the_next_opening(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
    async with opener() as store:
        assert await store.miners() == (miner(1, "a"),)


async def test_a_newcomer_inherits_nothing(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "old")])
        await store.record_scores(outcome(("old", 0.5)))
        await store.save_predictions([prediction("old", NEXT_HOUR)])

        await store.register_miners([miner(1, "new")])

        assert await store.miners() == (miner(1, "new"),)
        assert await store.score_rows(HOUR) == (EarnedRow("geomagnetic", HOUR, {}),)
        claimed = await store.claim_predictions(NEXT_HOUR, owner="geo", incarnation=1)
        assert claimed == ()


async def test_many_are_registered_one_after_the_other_and_again_without_harm(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a"), miner(2, "b"), miner(3, "c")])
        await store.record_scores(outcome(("a", 0.5), ("b", 0.25), ("c", 0.125)))

        # b takes the seat of a newcomer's predecessor, and c moves to where b was.
        some = [miner(1, "b"), miner(2, "c"), miner(3, "d")]
        for _ in range(2):
            await store.register_miners(some)
            assert await store.miners() == tuple(some)
            (row,) = await store.score_rows(HOUR)
            assert row.scores == {"b": 0.25, "c": 0.125}

        for _ in range(2):
            await store.forget_miners(["b", "nobody", "d"])
            assert await store.miners() == (miner(2, "c"),)
            (row,) = await store.score_rows(HOUR)
            assert row.scores == {"c": 0.125}
        await store.register_miners([])
        await store.forget_miners([])
        assert await store.miners() == (miner(2, "c"),)


async def test_a_miner_that_comes_back_starts_from_nothing(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.record_scores(outcome(("a", 0.5)))
        await store.forget_miners(["a"])
        await store.register_miners([miner(1, "a")])

        assert await store.score_rows(HOUR) == (EarnedRow("geomagnetic", HOUR, {}),)


async def test_a_known_miner_that_takes_anothers_uid_keeps_what_it_earned(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.register_miners([miner(2, "b")])
        await store.record_scores(outcome(("a", 0.25), ("b", 0.75)))

        await store.register_miners([miner(2, "a")])

        assert await store.miners() == (miner(2, "a"),)
        (row,) = await store.score_rows(HOUR)
        assert row.scores == {"a": 0.25}


async def test_predictions_of_unknown_miners_are_dropped(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])

        assert await store.save_predictions([prediction("a"), prediction("x")]) == 1

        claimed = await store.claim_predictions(HOUR, owner="geo", incarnation=1)
        assert claimed == (prediction("a"),)


async def test_the_first_prediction_for_an_hour_stays(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        first, second = prediction("a", value=-1.0), prediction("a", value=-2.0)

        assert await store.save_predictions([first, second]) == 2
        assert await store.save_predictions([second]) == 1

        claimed = await store.claim_predictions(HOUR, owner="geo", incarnation=1)
        assert claimed == (first,)


async def test_who_is_excused_goes_with_the_row_of_the_hour(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.register_miners([miner(2, "b")])
        excuses = [Excuse(HOUR, "b"), Excuse(HOUR, "x"), Excuse(NEXT_HOUR, "a")]

        for _ in range(2):
            assert await store.save_predictions([prediction("a")], excuses) == 1
        await store.save_predictions([], [Excuse(HOUR, "a")])  # has answered after all
        await store.record_scores(outcome(("a", 0.5)))
        await store.save_predictions([], [Excuse(HOUR, "a")])  # it is scored already

        assert await store.score_rows(HOUR) == (
            EarnedRow("geomagnetic", HOUR, {"a": 0.5}, frozenset({"b"})),
        )
        assert await store.pending_hours(LATER) == (NEXT_HOUR,), "an hour of excuses"
        await store.forget_miners(["b"])
        assert await store.score_rows(HOUR) == (
            EarnedRow("geomagnetic", HOUR, {"a": 0.5}),
        )


async def test_nothing_to_save_is_no_work(opener: OpenStore) -> None:
    async with opener() as store:
        assert await store.save_predictions([]) == 0


async def test_hours_asked_and_not_scored_are_pending(opener: OpenStore) -> None:
    async with opener() as store:
        await store.open_hour(LATER)
        await store.open_hour(NEXT_HOUR)
        await store.open_hour(HOUR)
        await store.open_hour(HOUR)
        await store.record_scores(outcome(hour=NEXT_HOUR))
        await store.open_hour(NEXT_HOUR)

        assert await store.pending_hours(LATER) == (HOUR,)
        assert await store.pending_hours(LATER + timedelta(1)) == (HOUR, LATER)


async def test_a_claim_keeps_others_out_until_it_is_released(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.save_predictions([prediction("a")])
        mine = (prediction("a"),)

        assert await store.claim_predictions(HOUR, owner="geo", incarnation=1) == mine
        assert await store.claim_predictions(HOUR, owner="geo", incarnation=1) == mine
        assert await store.claim_predictions(HOUR, owner="geo", incarnation=2) == ()
        assert await store.claim_predictions(HOUR, owner="other", incarnation=1) == ()
        assert await store.processing_rows() == 1

        assert await store.release_claims(owner="other") == 0
        assert await store.release_claims(owner="geo") == 1
        assert await store.processing_rows() == 0
        assert await store.claim_predictions(HOUR, owner="geo", incarnation=2) == mine


async def test_scores_replace_the_predictions_of_the_hour(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.register_miners([miner(2, "b")])
        await store.save_predictions([prediction("a"), prediction("b", NEXT_HOUR)])
        await store.claim_predictions(HOUR, owner="geo", incarnation=1)

        await store.record_scores(outcome(("a", 1.0), ("unknown", 1.0)))

        assert await store.processing_rows() == 0
        assert await store.score_rows(HOUR) == (
            EarnedRow("geomagnetic", HOUR, {"a": 1.0}),
        )
        assert await store.pending_hours(LATER) == (NEXT_HOUR,)


async def test_scores_of_an_hour_are_recorded_once(opener: OpenStore) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.record_scores(outcome(("a", 0.5)))
        await store.record_scores(outcome(("a", 1.0)))

        assert await store.score_rows(HOUR) == (
            EarnedRow("geomagnetic", HOUR, {"a": 0.5}),
        )


async def test_an_hour_is_not_scored_without_a_prediction_that_is_there(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.register_miners([miner(2, "b")])
        await store.save_predictions([prediction("a"), prediction("b")])

        assert not await store.record_scores(outcome(("a", 1.0)))

        assert await store.score_rows(HOUR) == ()
        assert await store.pending_hours(LATER) == (HOUR,)
        assert await store.record_scores(outcome(("a", 1.0), ("b", 0.5)))
        assert await store.record_scores(outcome()), "it is scored already"


async def test_a_prediction_for_a_scored_hour_is_counted_and_not_kept(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.record_scores(outcome())

        assert await store.save_predictions([prediction("a")]) == 1
        assert await store.claim_predictions(HOUR, owner="geo", incarnation=1) == ()


async def test_score_rows_start_at_the_time_given_oldest_first(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        for hour in (LATER, HOUR, NEXT_HOUR):
            await store.record_scores(outcome(hour=hour))

        rows = await store.score_rows(NEXT_HOUR)

        assert [row.at for row in rows] == [NEXT_HOUR, LATER]


async def test_old_hours_are_pruned_with_all_that_belongs_to_them(
    opener: OpenStore,
) -> None:
    async with opener() as store:
        await store.register_miners([miner(1, "a")])
        await store.record_scores(outcome(("a", 0.5)))
        await store.open_hour(NEXT_HOUR)
        await store.save_predictions([prediction("a", LATER)])

        assert await store.prune(HOUR) == 0
        assert await store.prune(LATER) == 3  # two hours and a score row
        assert await store.prune(LATER) == 0

        assert await store.score_rows(HOUR) == ()
        assert await store.pending_hours(LATER + timedelta(1)) == (LATER,)


async def test_pruning_takes_the_oldest_first_and_not_all_at_once(
    opener: OpenStore,
) -> None:
    hours = [HOUR + timedelta(hours=n) for n in range(PRUNED_AT_ONCE + 2)]
    async with opener() as store:
        for hour in reversed(hours):
            await store.open_hour(hour)

        assert await store.prune(LATER + timedelta(9)) == PRUNED_AT_ONCE
        assert await store.pending_hours(LATER + timedelta(9)) == tuple(hours[-2:])
        assert await store.prune(LATER + timedelta(9)) == 2
