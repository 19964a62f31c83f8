from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from hypothesis import given, strategies as st

from validator.domain.dst import DstSeries, merge, parse
from validator.domain.schedule import HOUR
from validator.simulation.storm import ONSET, synthetic_storm

START = datetime(2015, 1, 30, 7, tzinfo=UTC)


def storm(seed: int, days: int = 4) -> DstSeries:
    text = synthetic_storm(START, days=days, random=Random(seed))
    return merge([parse(text, source="storm")])


seeds = st.integers(0, 2**32)


@given(seeds)
def test_a_seed_makes_one_storm(seed: int) -> None:
    assert storm(seed) == storm(seed)
    assert storm(seed) != storm(seed + 1)


@given(seeds)
def test_the_storm_covers_every_hour_across_the_turn_of_the_month(seed: int) -> None:
    assert list(storm(seed)) == [START + index * HOUR for index in range(4 * 24)]


@given(seeds)
def test_a_quiet_day_a_sudden_commencement_a_main_phase_and_a_recovery(
    seed: int,
) -> None:
    values = list(storm(seed).values())
    deepest = values.index(min(values))

    assert all(-20 <= value <= 5 for value in values[:ONSET])
    assert max(values) == max(values[ONSET : ONSET + 3])
    assert -250 <= min(values) <= -150
    assert ONSET + 7 <= deepest <= ONSET + 12
    assert values[-1] > min(values) / 2
