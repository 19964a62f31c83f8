from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from validator.adapters.fiber.wire import Response
from validator.domain.answers import AnswerRefused
from validator.domain.dst import Nanotesla
from validator.domain.tasks import geomagnetic
from validator.simulation.behaviours import (
    BEHAVIOURS,
    DISHONEST,
    HONEST,
    Behaviour,
    NotAQuestion,
    Question,
    Reaction,
    assign,
    parse_question,
    react,
)

HOUR = datetime(2015, 3, 17, 22, tzinfo=UTC)


def payload(**data: object) -> dict[str, object]:
    return {
        "data": {
            "timestamp": "2015-03-17T20:00:00+00:00",
            "value": -1.6,
            "historical_values": [{"timestamp": "", "Dst": -1.6}],
            **data,
        }
    }


def reaction(behaviour: Behaviour, *, uid: int = 3, **data: object) -> Reaction:
    question = parse_question(payload(**data))
    return react(behaviour, question, truth=None, seed=1, uid=uid, hotkey="5Miner")


def answer(behaviour: Behaviour, *, uid: int = 3, **data: object) -> Any:
    response = reaction(behaviour, uid=uid, **data).response
    assert isinstance(response, Response)
    return json.loads(response.body)


@given(seed=st.integers(), count=st.integers(16, 256))
def test_from_16_miners_on_every_behaviour_occurs(seed: int, count: int) -> None:
    drawn = assign(seed, count)

    assert drawn == assign(seed, count)
    assert len(drawn) == count
    others = Counter(each for each in drawn if each not in HONEST)
    assert set(others) >= set(DISHONEST)
    assert others.total() == count - round(0.7 * count)
    assert set(drawn) >= {*HONEST, *DISHONEST}
    if count >= 70:
        assert set(drawn) == set(BEHAVIOURS)


@given(count=st.integers(0, 256))
def test_at_an_honest_share_of_one_nobody_is_dishonest(count: int) -> None:
    assert set(assign(0, count, 1.0)) <= set(HONEST)


def test_seeds_differ_in_who_behaves_how() -> None:
    assert assign(1, 64) != assign(2, 64)
    assert Counter(assign(1, 64)) == Counter(assign(2, 64))


def test_the_validators_question_is_one_that_miners_take() -> None:
    series = {
        datetime(2015, 3, 17, hour, tzinfo=UTC): Nanotesla(-10 * hour)
        for hour in range(21)
    }
    question = geomagnetic.question(series, datetime(2015, 3, 17, 21, tzinfo=UTC))
    assert isinstance(question, geomagnetic.Question)

    taken = parse_question(question.payload)

    assert taken.hour == question.hour == HOUR
    assert taken.latest == -2.0


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"data": []},
        {"data": "text"},
        payload(timestamp="noon"),
        payload(timestamp=None),
        payload(timestamp="9999-12-31T23:00:00+00:00"),
        payload(value="much"),
        payload(value=10**400),
    ],
    ids=str,
)
def test_another_question_is_not_taken(bad: dict[str, object]) -> None:
    with pytest.raises(NotAQuestion):
        parse_question(bad)


@pytest.mark.parametrize("behaviour", HONEST)
def test_honest_miners_answer_the_question_each_by_its_skill(
    behaviour: Behaviour,
) -> None:
    first, second = answer(behaviour, uid=3), answer(behaviour, uid=4)

    assert not isinstance(geomagnetic.parse_answer(first), AnswerRefused)
    assert first["timestamp"] == HOUR.isoformat()
    assert first["miner_hotkey"] == "5Miner"
    assert first["predicted_values"] != second["predicted_values"]


@given(uid=st.integers(0, 255), change=st.floats(-4, 4))
def test_an_honest_forecast_beats_persistence_and_is_not_perfect(
    uid: int, change: float
) -> None:
    question = Question(HOUR, latest=-0.5)
    reaction = react(
        "honest", question, truth=-0.5 + change, seed=1, uid=uid, hotkey="5Miner"
    )
    assert isinstance(reaction.response, Response)

    forecast = json.loads(reaction.response.body)["predicted_values"]

    assert abs(forecast - (-0.5 + change)) <= 0.4 * abs(change) + 0.1


def test_an_answer_depends_on_seed_uid_and_hour_and_on_nothing_else() -> None:
    before = [reaction(each) for each in BEHAVIOURS]

    after = [reaction(each) for each in reversed(BEHAVIOURS)]

    assert before == list(reversed(after)) or "nan" in str(before)
    later = answer("honest", timestamp="2015-03-17T21:00:00+00:00")
    assert later["predicted_values"] != answer("honest")["predicted_values"]


def test_slow_is_a_share_of_an_hour_and_nothing_else_is_slow() -> None:
    delays = {each: reaction(each).delay for each in BEHAVIOURS}

    assert 0.15 <= delays.pop("slow") <= 0.25
    assert set(delays.values()) == {0.0}


@pytest.mark.parametrize(
    ("behaviour", "kind"), [("nan", "not_finite"), ("wrong_shape", "wrong_shape")]
)
def test_the_domain_refuses_what_is_json_and_no_forecast(
    behaviour: Behaviour, kind: str
) -> None:
    refused = geomagnetic.parse_answer(answer(behaviour))

    assert isinstance(refused, AnswerRefused)
    assert refused.kind == kind


def test_garbage_comes_inside_and_outside_of_http() -> None:
    kinds = {
        type(reaction("garbage", timestamp=f"2015-03-17T{h:02}:00:00+00:00").response)
        for h in range(24)
    }

    assert kinds == {bytes, Response}


def test_hanging_is_no_answer_at_all() -> None:
    assert reaction("hanging").response == "hang"
