from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, strategies as st

from validator.domain.answers import FailureKind
from validator.domain.trouble import CLOCK_TOLERANCE, clock_error, trouble

KINDS: tuple[FailureKind, ...] = get_args(FailureKind)


def test_when_nobody_is_heard_the_network_is_to_blame() -> None:
    down: FailureKind = "unreachable"
    failed: list[FailureKind] = ["timeout", down, down, down, down]

    assert trouble(answered=0, failed=failed, clock_error=None) == "network"
    assert trouble(answered=0, failed=failed[:4], clock_error=None) is None
    failed.append("refused")
    assert trouble(answered=0, failed=failed, clock_error=None) is None


@given(
    failed=st.lists(st.sampled_from(KINDS)),
    answered=st.integers(1, 256),
    error=st.none() | st.floats(),
)
def test_a_single_answer_clears_us(
    failed: list[FailureKind], answered: int, error: float | None
) -> None:
    assert trouble(answered=answered, failed=failed, clock_error=error) is None


def test_when_all_refuse_and_our_clock_is_off_the_clock_is_to_blame() -> None:
    refused: FailureKind = "refused"
    failed = [refused] * 5

    assert trouble(answered=0, failed=failed, clock_error=90.0) == "clock"
    assert trouble(answered=0, failed=failed, clock_error=None) is None


@pytest.mark.parametrize(
    ("offsets", "error"),
    [
        ([90.0, 91.0, 92.0, 0.0, 0.0], 90.0),
        ([-90.0, -91.0, -92.0, 0.0, 0.0], -90.0),
        ([90.0, 91.0, 0.0, 0.0, 0.0], None),
        ([90.0, 90.0, -90.0, -90.0, 0.0], None),
        ([90.0] * 4, None),
        ([CLOCK_TOLERANCE] * 5, None),
        ([], None),
    ],
)
def test_our_clock_is_wrong_if_most_miners_agree_on_it(
    offsets: list[float], error: float | None
) -> None:
    assert clock_error(offsets) == error


@given(
    honest=st.lists(st.floats(-5, 5), min_size=8),
    liars=st.lists(st.floats(-1e9, 1e9), max_size=7),
)
def test_a_minority_cannot_make_our_clock_look_wrong(
    honest: list[float], liars: list[float]
) -> None:
    assert clock_error([*honest, *liars]) is None
