from __future__ import annotations

import math

import pytest

from validator.domain.dst import ScaledDst
from validator.domain.scoring import Score


@pytest.mark.parametrize("score", [-0.001, 1.001, math.nan])
def test_a_score_outside_its_range_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"score must be within \[0, 1\]"):
        Score("hotkey", ScaledDst(-0.5), score)


@pytest.mark.parametrize("score", [0, 1])
def test_both_ends_of_the_range_are_scores(score: float) -> None:
    assert Score("hotkey", ScaledDst(-0.5), score).score == score
