"""Mistakes that ordinary tests do not find are found, and come out short."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest
from hypothesis import find, settings
from planted import leaves_no_session_open, prints_all_pages, trades

from actors.testing import Deadlock, Schedule, World, schedules, simulate

Main = Callable[[World], Awaitable[Any]]

CASES = pytest.mark.parametrize(
    ("main", "error"),
    [
        (prints_all_pages, Deadlock),
        (leaves_no_session_open, AssertionError),
        (trades, Deadlock),
    ],
    ids=["lost wake-up", "restart versus stop", "two that wait for each other"],
)


def failure(main: Main, schedule: Schedule) -> Exception | None:
    try:
        simulate(main, schedule=schedule)
    except (Deadlock, AssertionError) as error:
        return error
    return None


@CASES
def test_first_in_first_out_nothing_is_wrong(main: Main, error: type) -> None:
    simulate(main)


@CASES
def test_it_is_found_and_shrunk_to_a_few_lines(main: Main, error: type) -> None:
    schedule = find(
        schedules(length=32),
        lambda schedule: failure(main, schedule) is not None,
        settings=settings(max_examples=10_000, database=None),
        random=Random(0),
    )
    found = failure(main, schedule)
    assert found is not None
    assert isinstance(found, error)
    _, *lines = found.__notes__[-1].splitlines()
    assert 1 <= len(lines) <= 6, lines
