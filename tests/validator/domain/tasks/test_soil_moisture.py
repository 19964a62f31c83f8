from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from validator.domain.answers import AnswerRefused
from validator.domain.payload import Payload
from validator.domain.soil import PreparedRegion, Region, SoilForecast
from validator.domain.tasks import soil_moisture
from validator.domain.tasks.soil_moisture import parse_answer

REGION = Region(
    target_time=datetime(2025, 1, 7, 1, 30, tzinfo=UTC),
    number=3,
    box=(10.0, 50.0, 11.0, 51.0),
    bounds=(300000.0, 5490240.0, 409800.0, 5600040.0),
    crs=32633,
)
GRID = [[0.01 * (row + column) for column in range(11)] for row in range(11)]


def answer(**changed: object) -> dict[str, object]:
    return {
        "surface_sm": GRID,
        "rootzone_sm": GRID,
        "uncertainty_surface": None,
        "uncertainty_rootzone": None,
        "miner_hotkey": "whoever",
        "sentinel_bounds": list(REGION.bounds),
        "sentinel_crs": REGION.crs,
        "target_time": "2025-01-07T07:30:00+00:00",
        **changed,
    }


def spoilt(value: object) -> list[list[Any]]:
    rows: list[list[Any]] = [list(row) for row in GRID]
    rows[5][5] = value
    return rows


def test_an_answer_becomes_a_forecast_row_by_row() -> None:
    forecast = parse_answer(json.loads(json.dumps(answer())), REGION, "5Miner")

    assert isinstance(forecast, SoilForecast)
    assert (forecast.number, forecast.hotkey) == (3, "5Miner")
    assert forecast.target_time == REGION.target_time
    assert forecast.surface[:11] == tuple(GRID[0])
    assert forecast.rootzone[-1] == GRID[10][10]


@pytest.mark.parametrize(
    ("bad", "kind", "word"),
    [
        (answer(surface_sm=None), "wrong_shape", "surface_sm is not 11 x 11"),
        (answer(rootzone_sm=GRID[:10]), "wrong_shape", "rootzone_sm is not"),
        (answer(rootzone_sm=[*GRID, GRID[0]]), "wrong_shape", "rootzone_sm is not"),
        (answer(surface_sm=[*GRID[:10], GRID[0][:10]]), "wrong_shape", "surface_sm"),
        (answer(surface_sm=[[0.1] * 121]), "wrong_shape", "surface_sm"),
        (answer(surface_sm="x" * 11), "wrong_shape", "surface_sm"),
        (answer(surface_sm=spoilt("0.1")), "wrong_shape", "surface_sm"),
        (answer(surface_sm=spoilt(True)), "wrong_shape", "surface_sm"),
        (answer(surface_sm=spoilt(None)), "wrong_shape", "surface_sm"),
        (answer(surface_sm=spoilt(math.nan)), "not_finite", "surface_sm"),
        (answer(rootzone_sm=spoilt(math.inf)), "not_finite", "rootzone_sm"),
        (answer(surface_sm=spoilt(10**400)), "not_finite", "surface_sm"),
        (answer(surface_sm=spoilt(-0.01)), "out_of_range", "surface_sm"),
        (answer(rootzone_sm=spoilt(1.01)), "out_of_range", "rootzone_sm"),
        (answer(sentinel_bounds=None), "wrong_shape", "sentinel_bounds"),
        (answer(sentinel_bounds=[1, 2, 3]), "wrong_shape", "sentinel_bounds"),
        (answer(sentinel_bounds=[0, 0, 1, 1]), "wrong_shape", "another region"),
        (answer(sentinel_bounds=[math.nan] * 4), "wrong_shape", "another region"),
        (answer(sentinel_crs=32634), "wrong_shape", "sentinel_crs"),
        (answer(sentinel_crs="32633"), "wrong_shape", "sentinel_crs"),
        (answer(sentinel_crs=None), "wrong_shape", "sentinel_crs"),
        ([], "wrong_shape", "no object"),
        (None, "wrong_shape", "no object"),
    ],
)
def test_what_is_no_forecast_of_the_region_is_refused_for_a_reason(
    bad: object, kind: str, word: str
) -> None:
    refused = parse_answer(bad, REGION, "5Miner")

    assert isinstance(refused, AnswerRefused)
    assert refused.kind == kind
    assert word in refused.detail


def test_who_rounds_to_centimetres_is_still_at_the_place() -> None:
    near = [bound + 0.004 for bound in REGION.bounds]

    assert isinstance(
        parse_answer(answer(sentinel_bounds=near), REGION, "m"), SoilForecast
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from([*answer()]), JSON).map(lambda some: answer(**some))
    | JSON
)
def test_any_json_is_a_forecast_or_refused_and_never_an_error(decoded: object) -> None:
    result = parse_answer(decoded, REGION, "5Miner")

    assert isinstance(result, SoilForecast | AnswerRefused)
    if isinstance(result, AnswerRefused):
        assert "\n" not in result.detail
        assert len(result.detail) < 100


def test_the_question_holds_the_image_and_the_place() -> None:
    prepared = PreparedRegion(REGION, b"II*\0" + bytes(100))

    asked = json.loads(Payload.of(soil_moisture.question(prepared)).text)["data"]

    assert base64.b64decode(asked["combined_data"]) == prepared.image
    assert asked["sentinel_bounds"] == list(REGION.bounds)
    assert asked["sentinel_crs"] == 32633
    assert asked["target_time"] == "2025-01-07T01:30:00+00:00"
    assert asked["region_id"] == 3
