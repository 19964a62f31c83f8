"""A program is cancelled at every step; what breaks is raised, with its moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from actors.events import Event
from actors.testing import Deadlock, Site, Trace, World, explore_cancellation

HERE = Path(__file__).name


@attrs.frozen
class Said(Event):
    pass


async def opens_and_closes(world: World) -> None:
    """Something that is put away in any case."""
    world.trace(Said("open"))
    try:
        await trio.sleep(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
            nursery.start_soon(trio.sleep, 2)
    finally:
        world.trace(Said("closed"))


def closed(trace: Trace) -> None:
    assert [event.path for event in trace.events(Said)] == ["open", "closed"]


def test_every_step_is_tried_with_every_target() -> None:
    tried: list[int] = []
    report = explore_cancellation(
        opens_and_closes, check=lambda t: tried.append(len(t))
    )
    assert report.skipped == 0
    assert report.runs == len(tried) > report.steps - 5
    both = explore_cancellation(opens_and_closes, targets=["outer", "task"])
    assert both.runs == 2 * report.runs - 1


def test_a_promise_that_is_kept_throughout_is_reported_as_such() -> None:
    assert explore_cancellation(opens_and_closes, check=closed).runs > 5


async def forgets_when_cancelled(world: World) -> None:
    world.trace(Said("open"))
    await trio.sleep(1)
    await trio.sleep(1)
    world.trace(Said("closed"))


async def leaves_a_waiter(world: World) -> None:
    """Whoever waits for the other waits for ever, if that one is cancelled."""
    done = trio.Event()

    async def other() -> None:
        with trio.CancelScope() as scope:
            world.offer("other", scope.cancel)
            await trio.sleep(1)
            done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await done.wait()


async def raises_when_cancelled(world: World) -> None:
    try:
        await trio.sleep(1)
    finally:
        if trio.current_effective_deadline() == -math.inf:
            raise LookupError("was cancelled")


@pytest.mark.parametrize(
    ("main", "error"),
    [
        (forgets_when_cancelled, AssertionError),
        (leaves_a_waiter, Deadlock),
        (raises_when_cancelled, LookupError),
    ],
)
def test_a_promise_that_is_broken_is_raised_with_its_moment(
    main: Callable[[World], object], error: type[Exception]
) -> None:
    check = closed if main is forgets_when_cancelled else None
    with pytest.raises(error) as caught:
        explore_cancellation(main, check=check)  # type: ignore[arg-type]
    (note,) = [n for n in caught.value.__notes__ if "cancelled right" in n]
    assert note.startswith("'other'" if main is leaves_a_waiter else "'outer'")


def test_the_undisturbed_run_is_checked_too() -> None:
    def never(trace: Trace) -> None:
        raise LookupError("at once")

    with pytest.raises(LookupError):
        explore_cancellation(opens_and_closes, check=never)


def test_what_is_offered_is_a_target_from_then_on() -> None:
    called: list[int] = []

    async def main(world: World) -> None:
        await trio.sleep(1)
        begin = world.step
        world.offer("mine", lambda: called.append(world.step))
        await trio.sleep(1)
        called.append(-begin)

    explore_cancellation(main, targets=["mine"])
    (begin,) = {-n for n in called if n < 0}
    assert [n for n in called if n > 0] == [begin, begin + 1]


def test_a_target_that_is_not_there_is_refused() -> None:
    with pytest.raises(LookupError, match="'mine' was never offered; there are outer"):
        explore_cancellation(opens_and_closes, targets=["mine"])


def test_a_sample_is_drawn_where_there_is_too_much() -> None:
    report = explore_cancellation(opens_and_closes, max_runs=3)
    whole = explore_cancellation(opens_and_closes)
    assert (report.runs, report.skipped) == (4, whole.runs - 4)
    with pytest.raises(ValueError, match="at least 1"):
        explore_cancellation(opens_and_closes, max_runs=0)


def test_a_task_alone_may_be_the_target() -> None:
    ended: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        with trio.CancelScope() as scope:
            await trio.sleep(seconds)
        ended.append(f"{name} {scope.cancelled_caught}")

    async def main(world: World) -> None:
        ended.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper, "a", 1)
            nursery.start_soon(sleeper, "b", 2)

    seen: set[tuple[str, ...]] = set()
    explore_cancellation(
        main, targets=["task"], check=lambda _trace: seen.add(tuple(sorted(ended)))
    )
    assert {("a False", "b True"), ("a True", "b False")} <= seen


# -- await sites ----------------------------------------------------------------------

MODULE = """
import trio

async def covered(event):
    await trio.sleep(
        1
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 1)

async def shielded():
    with trio.CancelScope(shield=True):
        await trio.sleep(1)

async def unused(source):
    async for item in source:
        [await f() for f in item]
"""


def test_sites_where_nothing_was_cancelled_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walked.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import walked  # type: ignore[import-not-found]

    async def first(world: World) -> None:
        await walked.covered(None)

    async def second(world: World) -> None:
        await walked.shielded()

    def uncovered(*mains: Callable[[World], object]) -> list[tuple[int, str]]:
        first, *others = [explore_cancellation(m) for m in mains]  # type: ignore[arg-type]
        return [
            (site.line, site.function)
            for site in sum(others, first).uncovered("walked")
        ]

    never = [(13, "shielded"), (16, "unused"), (17, "unused")]
    assert uncovered(second) == [(5, "covered"), (8, "covered"), *never]
    assert uncovered(first, second) == never


def test_modules_can_be_left_out() -> None:
    report = explore_cancellation(opens_and_closes)
    files = {site.file for site in report.uncovered("actors", without=["actors._core"])}
    assert any(file.endswith("actors/host.py") for file in files)
    assert not any("_core" in file for file in files)


def test_a_site_says_where_it_is() -> None:
    assert str(Site("a.py", 3, 4, "go")) == "a.py:3 go"


def test_a_package_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModuleNotFoundError):
        explore_cancellation(opens_and_closes).uncovered("nowhere")
