"""The simulated chain refuses what the real one would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio

from validator.domain.metagraph import Miner
from validator.ports import WeightsRefused
from validator.simulation.calendar import SimulatedCalendar
from validator.simulation.chain import BLOCK, RATE_LIMIT, Registration, SimulatedChain

START = datetime(2015, 3, 17, 20, tzinfo=UTC)
OLD, NEW = Miner(3, "old", "127.0.0.1", 1), Miner(3, "new", "127.0.0.1", 2)


def started(hour: float = 3600) -> tuple[SimulatedCalendar, SimulatedChain]:
    calendar = SimulatedCalendar(START, hour=hour)
    half = START + timedelta(minutes=30)
    chain = SimulatedChain(
        [Registration(half, NEW), Registration(START, OLD)], calendar=calendar
    )
    calendar.go()
    return calendar, chain


async def test_data_time_runs_at_its_own_pace_and_stands_still_before() -> None:
    calendar = SimulatedCalendar(START, hour=5)
    await trio.sleep(100)
    assert calendar.now() == START

    calendar.go()
    begin = trio.current_time()
    await calendar.sleep_until(START + timedelta(hours=2))

    assert trio.current_time() - begin == pytest.approx(10)
    assert calendar.now() >= START + timedelta(hours=2), "never a moment too early"
    await calendar.sleep_until(START)


async def test_a_uid_belongs_to_whoever_registered_last() -> None:
    calendar, chain = started()
    assert (await chain.metagraph()).miners == (OLD,)

    await calendar.sleep_until(START + timedelta(minutes=30))

    metagraph = await chain.metagraph()
    assert metagraph.miners == (NEW,)
    assert metagraph.block == 150


async def test_weights_are_accepted_once_in_a_while() -> None:
    calendar, chain = started()
    assert await chain.blocks_until_weights() == 0
    assert await chain.set_weights({3: 65535}) == 0
    with pytest.raises(WeightsRefused, match=f"too soon by {RATE_LIMIT} blocks"):
        await chain.set_weights({3: 1})

    await calendar.sleep_until(START + RATE_LIMIT * BLOCK)

    await chain.set_weights({3: 1})
    assert chain.weights == {3: 1}


@pytest.mark.parametrize("weights", [{4: 1}, {3: 65536}, {3: -1}])
async def test_wrong_weights_are_refused_and_change_nothing(
    weights: dict[int, int],
) -> None:
    _, chain = started()
    with pytest.raises(WeightsRefused):
        await chain.set_weights(weights)
    assert chain.weights == {}
