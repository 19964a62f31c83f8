"""How many restarts are too many: those of the window that ends now."""

from __future__ import annotations

from hypothesis import given, strategies as st

from supervision import Intensity
from supervision.decisions import RestartWindow


def test_a_restart_leaves_the_window_when_more_than_that_time_has_passed() -> None:
    window = RestartWindow(Intensity(2, within=5))
    charged = [window.charge(now) for now in (0, 4, 5, 5.5, 9, 10.6)]
    # At 5 that of 0 is there still, at 5.5 no more; at 10.6 only that of 9 is.
    assert charged == [True, True, False, False, False, True]


def test_with_an_intensity_of_nothing_the_first_is_too_many() -> None:
    assert not RestartWindow(Intensity(0, within=5)).charge(0)


@given(st.lists(st.integers(0, 8), max_size=20), st.integers(0, 4), st.integers(1, 10))
def test_it_is_too_many_when_more_than_allowed_lie_within_the_window(
    pauses: list[int], restarts: int, within: int
) -> None:
    window = RestartWindow(Intensity(restarts, within=within))
    times: list[int] = []
    for pause in pauses:
        times.append(pause + (times[-1] if times else 0))
        recent = [at for at in times if at >= times[-1] - within]
        assert window.charge(times[-1]) == (len(recent) <= restarts)
