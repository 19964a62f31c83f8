"""Predictions and scores: the values that travel between the tasks and the store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from validator.domain.dst import Nanotesla, ScaledDst

Task = Literal["geomagnetic", "soil_moisture"]


@attrs.frozen
class Prediction:
    """One miner's forecast of the Dst of one hour (``hour``: its start, UTC)."""

    hour: datetime
    hotkey: str
    value: ScaledDst


@attrs.frozen
class Score:
    """What one prediction turned out to be worth, within [0, 1]."""

    hotkey: str
    predicted: ScaledDst
    score: float = attrs.field()

    @score.validator
    def _check_score(self, _attribute: object, value: float) -> None:
        if not 0 <= value <= 1:  # refuses NaN too
            raise ValueError(f"score must be within [0, 1], got {value!r}")


@attrs.frozen
class ScoredHour:
    """The outcome of one geomagnetic question.

    ``scores`` may be empty: an hour nobody answered lowers everybody's mean.
    """

    hour: datetime
    truth: Nanotesla
    scores: tuple[Score, ...]


@attrs.frozen
class ScoreRow:
    """One scored question as the weights see it: uid -> score, absent = no answer."""

    task: Task
    at: datetime
    scores: Mapping[int, float]
