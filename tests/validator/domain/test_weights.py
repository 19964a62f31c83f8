from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, strategies as st

from validator.domain.scoring import ScoreRow, Task
from validator.domain.weights import compute_weights, merits, quantise, spread

NOW = datetime(2015, 3, 17, 20, tzinfo=UTC)


def row(
    scores: Mapping[int, float], *, hours: float = 0, task: Task = "geomagnetic"
) -> ScoreRow:
    return ScoreRow(task, NOW - timedelta(hours=hours), scores)


def close(expected: Mapping[int, float]) -> object:
    return pytest.approx(dict(expected), rel=1e-9)


# Every worked number below was computed with 40 decimal digits by a program that
# shares no line with the code, from the formula as printed in its docstrings.

# --- merits ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("geomagnetic", "soil", "merit"),
    [
        # 0.40 / (1 + exp(-20 (g - 0.93))) + 0.60 s
        (0.93, 0.0, 0.20),
        (1.0, 0.0, 0.32087355542343),
        (0.9, 0.0, 0.14173747750968),
        (0.5, 0.0, 0.00007362876198),
        (0.0, 0.5, 0.30),
        (0.95, 0.5, 0.53947506404498),
    ],
)
def test_merit_is_two_fifths_geomagnetic_and_three_fifths_soil(
    geomagnetic: float, soil: float, merit: float
) -> None:
    rows = [row({7: geomagnetic}), row({7: soil}, task="soil_moisture")]

    assert merits(rows, now=NOW, uids={7})[7] == pytest.approx(merit, rel=1e-9)


def test_a_row_loses_half_its_weight_in_a_day_and_silence_counts_as_zero() -> None:
    # decay after 12 h = 2^-0.5 = 0.70710678
    # uid 0: g = (0.98 + 0.96 * 0.70710678) / 1.70710678 = 0.97171572875253
    # uid 1: g = 1 / 1.70710678 = 0.58578643762690, for it was silent 12 h ago
    rows = [row({0: 0.98, 1: 1.0}), row({0: 0.96}, hours=12)]

    earned = merits(rows, now=NOW, uids=[0, 1])

    assert earned == close({0: 0.27890658015475, 1: 0.00040908597442})


def test_nan_is_silence() -> None:
    silent = [row({0: 0.98, 1: 1.0}), row({0: 0.96}, hours=12)]
    nan = [row({0: 0.98, 1: 1.0}), row({0: 0.96, 1: math.nan}, hours=12)]

    assert merits(nan, now=NOW, uids=[0, 1]) == merits(silent, now=NOW, uids=[0, 1])


def test_to_who_is_excused_it_is_as_if_the_question_had_never_been() -> None:
    answered = [row({0: 0.98, 1: 0.97}), row({0: 0.96, 1: 0.95}, hours=12)]
    excusing = attrs.evolve(row({1: 0.5}, hours=6), excused=frozenset({0}))

    earned = merits([*answered, excusing], now=NOW, uids=[0, 1, 2])

    assert earned[0] == merits(answered, now=NOW, uids=[0])[0]
    silent = attrs.evolve(excusing, excused=frozenset())
    assert earned[1] == merits([*answered, silent], now=NOW, uids=[1])[1]


def test_who_is_excused_from_everything_has_earned_nothing() -> None:
    excusing = attrs.evolve(row({1: 0.98}), excused=frozenset({0}))

    assert merits([excusing], now=NOW, uids=[0, 1]).keys() == {1}


def test_an_hour_nobody_answered_lowers_everybody() -> None:
    answered = [row({0: 0.98}, hours=1)]

    before = merits(answered, now=NOW, uids=[0])[0]
    after = merits([*answered, row({})], now=NOW, uids=[0])[0]
    assert after < before


def test_a_mean_of_zero_earns_nothing() -> None:
    # Without the rule the logistic curve would give a little even for 0.
    assert merits([row({0: 0.0, 1: math.nan})], now=NOW, uids=[0, 1, 2]) == {}


@pytest.mark.parametrize("hours", [24.001, 48, -0.001])
def test_rows_of_another_day_or_of_the_future_do_not_count(hours: float) -> None:
    rows = [row({0: 0.98}), row({0: 0.1}, hours=hours)]

    assert merits(rows, now=NOW, uids=[0]) == merits(rows[:1], now=NOW, uids=[0])


def test_whoever_is_not_registered_gets_nothing() -> None:
    rows = [row({0: 0.98, 1: 0.98})]

    assert list(compute_weights(rows, now=NOW, uids=[1, 2])) == [1]


# --- spread ------------------------------------------------------------------


def test_the_best_tenth_is_drawn_far_above_the_rest() -> None:
    earned = {1: 0.1, 2: 0.3, 3: 0.5, 4: 0.7, 5: 0.9}

    assert spread(earned) == close(
        {
            1: 0.005606358360,
            2: 0.016819075086,
            3: 0.028031848990,
            4: 0.039836288989,
            5: 0.909706428572,
        }
    )


def test_weights_of_a_small_subnet_are_as_computed_by_hand() -> None:
    rows = [
        row({1: 0.95, 3: 0.95}),
        row({1: 0.5, 2: 0.5}, task="soil_moisture"),
    ]

    assert compute_weights(rows, now=NOW, uids=range(4)) == close(
        {1: 0.94738513313348, 2: 0.02925895093731, 3: 0.02335591592920}
    )


def test_equal_merits_are_equal_weights() -> None:
    assert spread({3: 0.2, 5: 0.2}) == close({3: 0.5, 5: 0.5})


def test_the_only_one_takes_it_all() -> None:
    assert spread({3: 0.0001}) == {3: 1.0}


def test_nobody_has_earned_anything() -> None:
    assert compute_weights([], now=NOW, uids=range(256)) == {}


scores = st.dictionaries(
    st.integers(0, 255), st.floats(0, 1) | st.just(math.nan), max_size=40
)
rows_ = st.lists(
    st.builds(
        row,
        scores,
        hours=st.floats(0, 24),
        task=st.sampled_from(["geomagnetic", "soil_moisture"]),
    ),
    max_size=10,
)


@given(rows_)
def test_weights_are_positive_and_sum_to_one(rows: list[ScoreRow]) -> None:
    weights = compute_weights(rows, now=NOW, uids=range(256))

    assert all(weight > 0 for weight in weights.values())
    assert list(weights) == sorted(weights)
    assert not weights or math.fsum(weights.values()) == pytest.approx(1.0)


@given(st.dictionaries(st.integers(0, 255), st.floats(1e-9, 1), min_size=1))
def test_who_has_earned_more_never_gets_less(earned: dict[int, float]) -> None:
    weights = spread(earned)
    ranked = sorted(earned, key=lambda uid: earned[uid])

    assert [weights[uid] for uid in ranked] == sorted(weights.values())


def test_scores_outside_their_range_never_reach_the_formula() -> None:
    with pytest.raises(ValueError, match=r"uid 3 must be within \[0, 1\] or NaN"):
        row({3: 1.01})


# --- quantise ----------------------------------------------------------------


def test_the_largest_weight_becomes_the_largest_number() -> None:
    assert quantise({1: 0.1, 2: 0.4, 3: 0.5, 4: 0.0}) == {1: 13107, 2: 52428, 3: 65535}


def test_a_weight_too_small_for_sixteen_bits_is_left_out() -> None:
    assert quantise({1: 1.0, 2: 0.9 / 131070, 3: 1.1 / 131070}) == {1: 65535, 3: 1}


@pytest.mark.parametrize("weights", [{}, {1: 0.0}])
def test_no_weight_is_no_number(weights: dict[int, float]) -> None:
    assert quantise(weights) == {}


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_what_is_no_weight_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight of uid 2 must be >= 0"):
        quantise({1: 1.0, 2: weight})


@given(st.dictionaries(st.integers(0, 255), st.floats(0, 1)))
def test_numbers_fit_the_chain(weights: dict[int, float]) -> None:
    assert all(0 < value <= 65535 for value in quantise(weights).values())
