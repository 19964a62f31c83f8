from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from validator.domain.answers import AnswerRefused
from validator.domain.dst import DstSeries, Nanotesla, ScaledDst
from validator.domain.schedule import HOUR
from validator.domain.tasks import geomagnetic
from validator.domain.tasks.geomagnetic import NotAskable, Question

ASKED = datetime(2015, 3, 17, 20, tzinfo=UTC)


def series(hours: int, *, last: datetime = ASKED - HOUR) -> DstSeries:
    """``hours`` values up to ``last``, which is -8 nT; one nT more each hour back."""
    return {last - back * HOUR: Nanotesla(-8 + back) for back in reversed(range(hours))}


# --- the question ------------------------------------------------------------


@pytest.mark.parametrize("late", [timedelta(0), timedelta(minutes=59)])
def test_the_question_of_an_hour_is_about_the_next_one(late: timedelta) -> None:
    asked = geomagnetic.question(series(2), ASKED + late)

    assert isinstance(asked, Question)
    assert asked.hour == ASKED + HOUR == geomagnetic.target(ASKED + late)


def test_the_question_carries_the_latest_value_and_what_led_to_it() -> None:
    asked = geomagnetic.question(series(2), ASKED)

    assert isinstance(asked, Question)
    assert json.loads(json.dumps(asked.payload)) == {
        "data": {
            "name": "Geomagnetic Data",
            "timestamp": "2015-03-17T19:00:00+00:00",
            "value": -0.08,
            "historical_values": [
                {"timestamp": "2015-03-17T18:00:00+00:00", "Dst": -0.07},
                {"timestamp": "2015-03-17T19:00:00+00:00", "Dst": -0.08},
            ],
        }
    }


def timestamps(asked: Question | NotAskable) -> list[str]:
    assert isinstance(asked, Question)
    data = asked.payload["data"]
    assert isinstance(data, dict)
    return [entry["timestamp"] for entry in data["historical_values"]]


def test_history_reaches_back_thirty_days_across_the_turn_of_the_month() -> None:
    asked_at = datetime(2015, 4, 1, 0, tzinfo=UTC)
    asked = geomagnetic.question(series(24 * 40, last=asked_at - HOUR), asked_at)

    sent = timestamps(asked)
    assert len(sent) == 30 * 24
    assert sent[0] == "2015-03-02T00:00:00+00:00"
    assert sent[-1] == "2015-03-31T23:00:00+00:00"


def test_values_of_later_hours_are_not_disclosed() -> None:
    asked = geomagnetic.question(series(5, last=ASKED + HOUR), ASKED)

    assert timestamps(asked)[-1] == "2015-03-17T19:00:00+00:00"
    assert len(timestamps(asked)) == 3


def test_a_stale_latest_value_is_not_asked_about() -> None:
    asked = geomagnetic.question(series(3, last=ASKED - 2 * HOUR), ASKED)

    assert asked == NotAskable(
        "no Dst of 2015-03-17T19 yet, the latest is 2015-03-17T18"
    )


def test_nothing_known_is_not_asked_about() -> None:
    assert geomagnetic.question({}, ASKED) == NotAskable(
        "no Dst of 2015-03-17T19 yet, nor any before"
    )


# --- the answer --------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "forecast"),
    [
        ({"predicted_values": -2.34}, -2.34),
        ({"predicted_values": 1}, 1.0),
        ({"predicted_value": -0.5}, -0.5),
        ({"predicted_values": 0.25, "predicted_value": 9}, 0.25),
        ({"predicted_values": -1.5, "miner_hotkey": "another", "timestamp": 0}, -1.5),
        # Beyond the scale, but a number: it is scored, with 0.
        ({"predicted_values": -234}, -234.0),
    ],
)
def test_a_number_is_an_answer(answer: object, forecast: float) -> None:
    assert geomagnetic.parse_answer(answer) == forecast


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (None, "wrong_shape"),
        ([-0.5], "wrong_shape"),
        (-0.5, "wrong_shape"),
        ({}, "wrong_shape"),
        ({"text": {"predicted_values": -0.5}}, "wrong_shape"),
        ({"predicted_values": "N/A"}, "wrong_shape"),
        ({"predicted_values": "-0.5"}, "wrong_shape"),
        ({"predicted_values": True}, "wrong_shape"),
        ({"predicted_values": None, "predicted_value": -0.5}, "wrong_shape"),
        ({"predicted_values": [-0.5]}, "wrong_shape"),
        ({"predicted_values": math.nan}, "not_finite"),
        ({"predicted_values": math.inf}, "not_finite"),
        ({"predicted_values": -math.inf}, "not_finite"),
        ({"predicted_values": 10**400}, "out_of_range"),
    ],
)
def test_anything_else_is_refused_by_kind(answer: object, kind: str) -> None:
    refused = geomagnetic.parse_answer(answer)

    assert isinstance(refused, AnswerRefused)
    assert refused.kind == kind
    assert refused.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["predicted_values", "predicted_value", "data"]), inner
        )
    ),
)


@given(json_values)
def test_no_json_gets_past_as_anything_but_a_finite_number(answer: object) -> None:
    taken = geomagnetic.parse_answer(answer)

    if isinstance(taken, AnswerRefused):
        assert len(taken.detail) < 100
    else:
        assert isinstance(taken, float)
        assert math.isfinite(taken)


# --- the score ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        (-2.34, -234, 1.0),
        (-2.0, -234, 0.66),
        (-1.0, -234, 0.0),
        (0.0, 0, 1.0),
        (0.5, -25, 0.25),
        (5.0, 480, 0.8),
        (5.0001, 500, 0.0),
        (-5.0, -510, 0.9),
        (-5.0001, -500, 0.0),
        (-234.0, -234, 0.0),
    ],
)
def test_a_forecast_is_worth_one_less_its_distance(
    predicted: float, truth: int, expected: float
) -> None:
    worth = geomagnetic.score(ScaledDst(predicted), Nanotesla(truth))

    assert worth == pytest.approx(expected)


@given(st.floats(), st.integers(-2000, 2000))
def test_a_score_is_always_between_zero_and_one(predicted: float, truth: int) -> None:
    assert 0.0 <= geomagnetic.score(ScaledDst(predicted), Nanotesla(truth)) <= 1.0
