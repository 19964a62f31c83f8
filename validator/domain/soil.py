"""Soil moisture: the regions that are asked about, forecasts of them, and scores.

A target is a time that forecasts are about, with a few regions. Truth for it comes some
days later, for all its regions in one file, so a target is scored as a whole.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from statistics import fmean

import attrs

CELLS = 121
"""A forecast has 11 rows of 11 values; here they stand in one tuple, row by row."""

REGIONS_AT_ONCE = 5
"""How many images, of some 5 MB each, are in memory together at the most."""

LARGEST_IMAGE = 16 * 2**20
"""Bytes."""

_TIFF = (b"II*\0", b"MM\0*")

Box = tuple[float, float, float, float]
"""West, south, east, north."""
Grid = tuple[float, ...]


def _check_box(_owner: object, attribute: attrs.Attribute[Box], value: Box) -> None:
    west, south, east, north = value
    if not (all(map(math.isfinite, value)) and west < east and south < north):
        raise ValueError(f"{attribute.name} must be finite and not empty, got {value}")


def _check_grid(_owner: object, attribute: attrs.Attribute[Grid], value: Grid) -> None:
    if len(value) != CELLS or not all(map(math.isfinite, value)):
        raise ValueError(f"{attribute.name} must be {CELLS} finite values")


def _check_image(_owner: object, _attribute: object, value: bytes) -> None:
    if not value.startswith(_TIFF):
        raise ValueError("an image must be a TIFF")
    if len(value) > LARGEST_IMAGE:
        raise ValueError(
            f"an image must have at most {LARGEST_IMAGE} bytes, got {len(value)}"
        )


def _check_error(
    _owner: object, attribute: attrs.Attribute[float], value: float
) -> None:
    if not 0 <= value < math.inf:  # refuses NaN too
        raise ValueError(f"{attribute.name} must be finite and >= 0, got {value!r}")


@attrs.frozen
class Region:
    """One square that miners are asked about; ``number`` tells those of a target apart.

    The number is the place in the sequence that is drawn for the target, so the same
    region has the same number whenever it is prepared again.
    """

    target_time: datetime
    number: int = attrs.field(validator=attrs.validators.ge(0))
    box: Box = attrs.field(validator=_check_box)
    """In degrees, as drawn."""
    bounds: Box = attrs.field(validator=_check_box)
    """Of the image, in metres of its coordinate system ``crs`` (EPSG)."""
    crs: int = attrs.field(validator=attrs.validators.gt(0))


@attrs.frozen
class PreparedRegion:
    """A region with what miners get to see of it, a GeoTIFF."""

    region: Region
    image: bytes = attrs.field(validator=_check_image, repr=False)


@attrs.frozen
class SoilForecast:
    """One miner's forecast of one region, in cubic metres of water per cubic metre."""

    target_time: datetime
    number: int
    hotkey: str
    surface: Grid = attrs.field(validator=_check_grid, repr=False)
    rootzone: Grid = attrs.field(validator=_check_grid, repr=False)


@attrs.frozen
class SoilScore:
    """What one forecast turned out to be worth, within [0, 1]."""

    number: int
    hotkey: str
    surface_rmse: float = attrs.field(validator=_check_error)
    rootzone_rmse: float = attrs.field(validator=_check_error)
    score: float = attrs.field(
        validator=[attrs.validators.ge(0), attrs.validators.le(1)]  # NaN is neither
    )


def _check_unique(
    _owner: object, _attribute: object, value: tuple[SoilScore, ...]
) -> None:
    if len({(score.number, score.hotkey) for score in value}) < len(value):
        raise ValueError("a miner has two scores for one region")


@attrs.frozen
class ScoredTarget:
    """The outcome of one target: at most one score for each region and miner."""

    target_time: datetime
    scores: tuple[SoilScore, ...] = attrs.field(validator=_check_unique)

    def means(self) -> Mapping[str, float]:
        """Each miner's mean over the regions it answered: what counts for weights."""
        by_miner: defaultdict[str, list[float]] = defaultdict(list)
        for score in self.scores:
            by_miner[score.hotkey].append(score.score)
        return {hotkey: fmean(scores) for hotkey, scores in by_miner.items()}


@attrs.frozen
class DueTarget:
    """A target that can be scored, and how often that was tried in vain."""

    target_time: datetime
    attempts: int
