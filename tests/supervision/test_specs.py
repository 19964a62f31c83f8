"""Children and policies refuse what cannot be meant, and say why."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from actors import Actor
from supervision import Backoff, Child, Intensity, Supervisor, System


@pytest.mark.parametrize("name", ["", "a/b", "/"])
def test_a_name_is_one_part_of_a_path(name: str) -> None:
    with pytest.raises(ValueError, match="one part of a path"):
        Child(name, Actor)


@pytest.mark.parametrize(
    "field", ["mailbox", "start_timeout", "shutdown", "cleanup", "handler_timeout"]
)
def test_negative_budgets_are_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        Child("x", Actor, **{field: -1})  # type: ignore[arg-type]


def test_an_unknown_restart_type_is_refused() -> None:
    with pytest.raises(ValueError, match="one of permanent, transient, temporary"):
        Child("x", Actor, restart="sometimes")  # type: ignore[arg-type]


def test_a_significant_child_must_be_able_to_end_for_good() -> None:
    with pytest.raises(ValueError, match="'x' is significant and permanent"):
        Child("x", Actor, significant=True)
    Child("x", Actor, restart="transient", significant=True)
    Child("x", Actor, restart="temporary", significant=True)


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"twice: \['x'\]"):
        Supervisor(Child("x", Actor), Child("x", Actor))


def test_a_limit_that_no_crash_loop_reaches_is_refused_with_the_smallest_window() -> (
    None
):
    backoff = Backoff(first=1, factor=2, cap=4)
    # The slowest loop: restarts after at most 1, 2, 4 and 4 s.
    with pytest.raises(ValueError, match="within=11 or more"):
        Supervisor(intensity=Intensity(3, within=10), backoff=backoff)
    Supervisor(intensity=Intensity(3, within=11), backoff=backoff)
    Supervisor(intensity=Intensity(0, within=1), backoff=backoff)


def test_the_longest_delay_doubles_up_to_its_cap() -> None:
    backoff = Backoff(first=0.1, factor=2, cap=1)
    assert [backoff.longest(n) for n in range(5)] == [0.1, 0.2, 0.4, 0.8, 1]
    assert backoff.longest(10_000) == 1
    assert Backoff(first=0).longest(10_000) == 0


@pytest.mark.parametrize(
    ("make", "given", "options", "why"),
    [
        (Child, ("x", Actor), {"mailbox": 2.5}, "mailbox must be a whole number"),
        (Child, ("x", Actor), {"cleanup": math.inf}, "cleanup must be finite"),
        (Child, ("x", Actor), {"shutdown": math.nan}, "shutdown must not be negative"),
        (Child, (7, Actor), {}, "one part of a path"),
        (Child, ("x", Actor()), {}, "pass the class, or a function"),
        (Intensity, (1.5,), {}, "restarts must be a whole number"),
        (Intensity, (-1,), {}, "restarts must not be negative"),
        (Intensity, (1, 0), {}, "within must be positive"),
        (Supervisor, (Actor,), {}, "wrap its factory: Child"),
        (Supervisor, (), {"strategy": "all"}, "strategy must be one of one_for_one"),
        (
            Supervisor,
            (),
            {"auto_shutdown": "yes"},
            "auto_shutdown must be one of",
        ),
        (System, (), {"strategy": "all"}, "strategy must be one of one_for_one"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(
    make: Callable[..., object],
    given: tuple[object, ...],
    options: dict[str, object],
    why: str,
) -> None:
    with pytest.raises((ValueError, TypeError), match=why):
        make(*given, **options)


def test_one_group_is_a_list_of_one() -> None:
    with pytest.raises(TypeError, match=r"use \['workers'\]"):
        Child("x", Actor, groups="workers")
