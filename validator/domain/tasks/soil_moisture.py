"""The soil-moisture task: forecast 11 x 11 cells of one region, at two depths.

Only what goes out and what comes back is here; what it is worth is in ``domain.soil``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import cast

from validator.domain.answers import AnswerRefused
from validator.domain.soil import CELLS, Grid, PreparedRegion, Region, SoilForecast

PATH = "/soilmoisture-request"

ANSWER_LIMIT = 256_000
"""Bytes of a miner's answer that are read; one has some 5,000."""

_SIDE = 11
_DEPTHS = ("surface_sm", "rootzone_sm")


def question(prepared: PreparedRegion) -> Mapping[str, object]:
    """Build the question about one region; its text has 4/3 the size of the image."""
    region = prepared.region
    data = {
        "region_id": region.number,
        "combined_data": base64.b64encode(prepared.image).decode(),
        "sentinel_bounds": list(region.bounds),
        "sentinel_crs": region.crs,
        "target_time": region.target_time.isoformat(),
    }
    return {"data": data}


def parse_answer(
    answer: object, region: Region, hotkey: str
) -> SoilForecast | AnswerRefused:
    """Take a forecast of ``region`` out of a decoded JSON answer.

    Both grids must be 11 x 11 shares of water, finite and within [0, 1], and the
    answer must be about the region that was asked about: a forecast for another place
    is none. Who answered is whom we asked, whatever the answer says.
    """
    if not isinstance(answer, dict):
        return AnswerRefused("wrong_shape", f"no object but {type(answer).__name__}")
    fields = cast("dict[str, object]", answer)
    if (elsewhere := _elsewhere(fields, region)) is not None:
        return elsewhere
    grids: list[Grid] = []
    for name in _DEPTHS:
        grid = _grid(name, fields.get(name))
        if isinstance(grid, AnswerRefused):
            return grid
        grids.append(grid)
    return SoilForecast(region.target_time, region.number, hotkey, grids[0], grids[1])


def _elsewhere(fields: Mapping[str, object], region: Region) -> AnswerRefused | None:
    """Say so if the answer is about another place."""
    bounds = _numbers(fields.get("sentinel_bounds"), len(region.bounds))
    if bounds is None:
        return AnswerRefused("wrong_shape", "sentinel_bounds are no 4 numbers")
    if not all(map(_same, bounds, region.bounds)):
        return AnswerRefused("wrong_shape", "sentinel_bounds are of another region")
    crs = fields.get("sentinel_crs")
    if isinstance(crs, bool) or crs != region.crs:
        return AnswerRefused("wrong_shape", "sentinel_crs is another than asked about")
    return None


def _same(theirs: float, ours: float) -> bool:
    # In metres, so that who rounds to centimetres is still at the place.
    return math.isclose(theirs, ours, rel_tol=1e-9, abs_tol=0.01)


def _grid(name: str, value: object) -> Grid | AnswerRefused:
    rows = cast("list[object]", value) if isinstance(value, list) else []
    cells: list[float] = []
    for row in rows[: _SIDE + 1]:
        numbers = _numbers(row, _SIDE)
        if numbers is None:
            break
        cells.extend(numbers)
    if len(rows) != _SIDE or len(cells) != CELLS:
        return AnswerRefused("wrong_shape", f"{name} is not {_SIDE} x {_SIDE} numbers")
    if not all(map(math.isfinite, cells)):
        return AnswerRefused("not_finite", f"{name} holds NaN or an infinity")
    if not all(0 <= cell <= 1 for cell in cells):
        return AnswerRefused("out_of_range", f"{name} holds values outside [0, 1]")
    return tuple(cells)


def _numbers(value: object, count: int) -> list[float] | None:
    """Read so many numbers; None: they are not that. Infinite if beyond any float."""
    if not isinstance(value, list) or len(cast("list[object]", value)) != count:
        return None
    numbers: list[float] = []
    for each in cast("list[object]", value):
        if isinstance(each, bool) or not isinstance(each, int | float):
            return None
        try:
            numbers.append(float(each))
        except OverflowError:  # JSON integers have no limit
            numbers.append(math.inf)
    return numbers
