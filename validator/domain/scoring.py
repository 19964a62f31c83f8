"""Predictions and scores: the values that travel between the tasks and the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import attrs

from validator.domain.dst import Nanotesla, ScaledDst

Task = Literal["geomagnetic", "soil_moisture"]


def _check_score(_score: object, _attribute: object, value: float) -> None:
    if not 0 <= value <= 1:  # refuses NaN too
        raise ValueError(f"score must be within [0, 1], got {value!r}")


def _check_finite(_owner: object, _attribute: object, value: ScaledDst) -> None:
    if not math.isfinite(value):
        raise ValueError(f"a predicted value must be finite, got {value!r}")


def _check_scores(_row: object, _attribute: object, value: Mapping[int, float]) -> None:
    for uid, score in value.items():
        if not (0 <= score <= 1 or math.isnan(score)):
            raise ValueError(
                f"score of uid {uid} must be within [0, 1] or NaN, got {score!r}"
            )


@attrs.frozen
class Prediction:
    """One miner's forecast of the Dst of one hour (``hour``: its start, UTC)."""

    hour: datetime
    hotkey: str
    value: ScaledDst = attrs.field(validator=_check_finite)


@attrs.frozen
class Excuse:
    """One miner that was not asked about one hour, through a fault of ours."""

    hour: datetime
    hotkey: str


@attrs.frozen
class Score:
    """What one prediction turned out to be worth, within [0, 1]."""

    hotkey: str
    predicted: ScaledDst = attrs.field(validator=_check_finite)
    score: float = attrs.field(validator=_check_score)


@attrs.frozen
class ScoredHour:
    """The outcome of one geomagnetic question.

    ``scores`` may be empty: an hour nobody answered lowers everybody's mean.
    """

    hour: datetime
    truth: Nanotesla
    scores: tuple[Score, ...]


@attrs.frozen
class EarnedRow:
    """One scored question as it is kept: hotkey -> score, wherever the miner sits."""

    task: Task
    at: datetime
    scores: Mapping[str, float]
    excused: frozenset[str] = frozenset()
    """Hotkeys for which the row does not count; none of them has a score."""

    def seated(self, uids: Mapping[str, int]) -> ScoreRow:
        """The row with hotkeys at these uids; those that have none are left out."""
        scores = {
            uids[hotkey]: score
            for hotkey, score in self.scores.items()
            if hotkey in uids
        }
        excused = frozenset(uids[hotkey] for hotkey in self.excused & uids.keys())
        return ScoreRow(self.task, self.at, scores, excused)


@attrs.frozen
class ScoreRow:
    """One scored question as the weights see it: uid -> score.

    Absent and NaN both mean: no answer. ``at`` is the hour the question is about.
    """

    task: Task
    at: datetime
    scores: Mapping[int, float] = attrs.field(validator=_check_scores)
    excused: frozenset[int] = frozenset()
    """Uids for which the row does not count; none of them has a score."""
