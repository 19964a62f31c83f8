from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from validator.domain.soil import (
    CELLS,
    LARGEST_IMAGE,
    PreparedRegion,
    Region,
    ScoredTarget,
    SoilForecast,
    SoilScore,
)

T = datetime(2015, 3, 17, 19, 30, tzinfo=UTC)
BOX = (0.0, 0.0, 1.0, 1.0)
GRID = (0.5,) * CELLS


def score(number: int, hotkey: str, worth: float) -> SoilScore:
    return SoilScore(number, hotkey, 0.1, 0.2, worth)


def test_what_counts_is_the_mean_over_the_regions_a_miner_answered() -> None:
    given = score(0, "a", 0.25), score(1, "a", 0.75), score(1, "b", 1.0)

    assert ScoredTarget(T, given).means() == {"a": 0.5, "b": 1.0}


def test_nobody_has_two_scores_for_one_region() -> None:
    with pytest.raises(ValueError, match="two scores"):
        ScoredTarget(T, (score(0, "a", 0), score(0, "a", 1)))


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"crs": 0},
        {"box": (1.0, 0.0, 1.0, 1.0)},
        {"bounds": (0.0, 1.0, 1.0, 0.0)},
        {"box": (0.0, 0.0, math.nan, 1.0)},
        {"bounds": (0.0, 0.0, math.inf, 1.0)},
    ],
)
def test_a_region_is_a_place(change: dict[str, Any]) -> None:
    whole: dict[str, Any] = {"number": 0, "box": BOX, "bounds": BOX, "crs": 1}
    with pytest.raises(ValueError, match=next(iter(change))):
        Region(T, **(whole | change))


def test_an_image_is_a_tiff_of_bearable_size() -> None:
    region = Region(T, 0, BOX, BOX, 1)
    with pytest.raises(ValueError, match="TIFF"):
        PreparedRegion(region, b"PNG")
    with pytest.raises(ValueError, match="at most"):
        PreparedRegion(region, b"II*\0" + bytes(LARGEST_IMAGE))


@pytest.mark.parametrize("wrong", [GRID[1:], (*GRID, 0.5), (*GRID[1:], math.nan)])
def test_a_forecast_has_121_finite_values(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="surface must be 121 finite"):
        SoilForecast(T, 0, "a", wrong, GRID)
    with pytest.raises(ValueError, match="rootzone must be 121 finite"):
        SoilForecast(T, 0, "a", GRID, wrong)


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf, 2.0])
def test_a_score_is_within_its_range(wrong: float) -> None:
    with pytest.raises(ValueError, match="score"):
        score(0, "a", wrong)
    if wrong != 2.0:
        with pytest.raises(ValueError, match="rmse"):
            SoilScore(0, "a", wrong, 0, 0)
