"""Comprehensive cleanups, and what a cleanup had to leave over."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import attrs
import pytest
import trio
from parts import AT_ONCE, Crash, Freeze, Life, Nap, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import Ask, Exit, Rejected
from actors.events import Cleaned, Event, Started, Stopped, TempFilesRemoved
from supervision import Child, CleanUp, StopChild, Supervisor, System, run_app
from supervision.app import App
from supervision.events import (
    CleanupCompleted,
    CleanupStarted,
    GarbageCollected,
    LeftOver,
)

WHOLE = [CleanupStarted, GarbageCollected, CleanupCompleted]


def of_cleanups(events: list[Event], path: str = "app/a") -> list[type[Event]]:
    return [type(e) for e in events if type(e) in WHOLE and e.path == path]


# -- on request ---------------------------------------------------------------------


async def test_garbage_is_collected_between_the_cleanup_and_the_start(
    events: list[Event],
) -> None:
    (part,) = parts("a")
    async with System(part, on_event=[events.append]) as system:
        events.clear()
        await system.clean_up(part)
        assert await system.ref(part).ask(Life()) == 2
        order = [type(e) for e in events if e.path == "app/a"]
    assert order[:6] == [CleanupStarted, Cleaned, Stopped, *WHOLE[1:], Started]
    (garbage,) = [e for e in events if isinstance(e, GarbageCollected)]
    assert garbage.objects >= 0
    assert garbage.seconds > 0


async def test_what_nobody_can_reach_is_found(events: list[Event]) -> None:
    class Untidy(Part):
        async def stopping(self, exit_: Exit) -> None:
            gc.disable()  # so that nobody else finds it first
            for _ in range(5000):
                circle: list[object] = []
                circle.append([circle])

    part = Child("a", Untidy)
    try:
        async with System(part, on_event=[events.append]) as system:
            await system.clean_up(part)
    finally:
        gc.enable()
    (garbage,) = [e for e in events if isinstance(e, GarbageCollected)]
    assert garbage.objects > 500


async def test_garbage_is_collected_once_a_minute_at_the_most_in_a_whole_system(
    events: list[Event],
) -> None:
    (part,) = parts("a")
    inner = Child("inner", lambda: Supervisor(part))
    async with System(inner, on_event=[events.append]) as system:
        await system.clean_up(inner)
        await system.ref(inner).ask(CleanUp("a"))
        assert of_cleanups(events, "app/inner") == WHOLE
        assert of_cleanups(events, "app/inner/a") == [CleanupStarted, CleanupCompleted]
        await trio.sleep(60)
        await system.ref(inner).ask(CleanUp("a"))
        assert of_cleanups(events, "app/inner/a")[2:] == WHOLE


async def test_a_cleanup_is_complete_also_if_the_child_was_down_and_does_not_start(
    events: list[Event],
) -> None:
    class Moody(Part):
        async def started(self) -> None:
            if self.ctx.incarnation > 1:
                raise OSError("not today")

    part = Child("a", Moody)
    async with System(part, on_event=[events.append]) as system:
        await system.root.ask(StopChild("a", forget=False))
        with pytest.raises(Rejected, match="not today"):
            await system.clean_up(part)
        assert of_cleanups(events) == WHOLE


async def test_who_joins_a_cleanup_under_way_waits_for_the_same_one(
    events: list[Event],
) -> None:
    (part,) = parts("a")
    async with System(part, on_event=[events.append]) as system:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.ref(part).ask, Nap(3))
            await wait_all_tasks_blocked()
            for _ in range(2):
                nursery.start_soon(system.clean_up, part)
        assert of_cleanups(events) == WHOLE
        assert await system.ref(part).ask(Life()) == 2


async def test_what_is_stuck_is_not_taken_for_cleaned_up(events: list[Event]) -> None:
    (part,) = parts("a", shutdown=1, cleanup=1)
    async with System(part, on_event=[events.append]) as system:
        async with trio.open_nursery() as nursery:

            async def freeze() -> None:
                with pytest.raises(Exception, match="ended while handling"):
                    await system.ref(part).ask(Freeze(20))

            nursery.start_soon(freeze)
            await wait_all_tasks_blocked()
            with pytest.raises(Rejected, match="is stuck"):
                await system.clean_up(part)
            assert of_cleanups(events) == [CleanupStarted]
        await trio.sleep(30)
        assert of_cleanups(events) == WHOLE
        assert await system.ref(part).ask(Life()) == 2


async def test_a_restart_and_a_crash_collect_no_garbage(events: list[Event]) -> None:
    (part,) = parts("a")
    async with System(part, backoff=AT_ONCE, on_event=[events.append]) as system:
        await system.restart(part)
        system.ref(part).tell(Crash())
        assert await system.ref(part).ask(Life()) == 3
    assert of_cleanups(events) == []


async def test_a_cleanup_of_nobody_is_rejected(events: list[Event]) -> None:
    async with System(on_event=[events.append]) as system:
        with pytest.raises(Rejected, match="no child 'a'"):
            await system.root.ask(CleanUp("a"))
    assert of_cleanups(events) == []


# -- at the exit --------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("fails", [False, True])
def test_the_exit_of_a_process_is_a_comprehensive_cleanup(
    events: list[Event], *, fails: bool
) -> None:
    async def main(app: App) -> None:
        async with app.serve(System(*parts("a"), on_event=[events.append])):
            assert of_cleanups(events, "app") == []
            if fails:
                raise ZeroDivisionError

    if fails:
        with pytest.raises(ZeroDivisionError):
            run_app(main)
    else:
        assert run_app(main) == 0
    kinds = [type(e) for e in events]
    assert of_cleanups(events, "app") == WHOLE
    assert kinds[-2:] == WHOLE[1:]
    stopped = [e.path for e in events if isinstance(e, Stopped)]
    assert stopped == ["app/a", "app"]
    assert kinds.index(CleanupStarted) < kinds.index(Stopped)


@pytest.mark.real
def test_what_did_not_start_needs_no_comprehensive_cleanup(
    events: list[Event],
) -> None:
    class Broken(Part):
        async def started(self) -> None:
            raise OSError("no")

    async def main(app: App) -> None:
        async with app.serve(System(Child("a", Broken), on_event=[events.append])):
            raise AssertionError

    with pytest.raises(Exception, match="did not start"):
        run_app(main)
    assert of_cleanups(events, "app") == []


# -- temporary files ----------------------------------------------------------------
# Removed in threads, for which no mock clock waits.


@attrs.frozen
class Scribble(Ask["Scribbler", Path]):
    """Leave files in your directory; the answer is where that is."""

    files: int = 2


class Scribbler(Part):
    """Its cleanup takes ``slow`` seconds."""

    def __init__(self, slow: float = 0) -> None:
        super().__init__()
        self.slow = slow

    async def stopping(self, exit_: Exit) -> None:
        if self.ctx.incarnation == 1:
            await trio.sleep(self.slow)

    @Scribble.handled
    def scribble(self, m: Scribble) -> Path:
        directory = self.ctx.temp_dir()
        (directory / "below").mkdir()
        for n in range(m.files):
            (directory / "below" / f"{n:02}.tif").touch()
        return directory


@pytest.mark.real
async def test_temporary_files_that_were_removed_are_counted_and_named(
    events: list[Event],
) -> None:
    part = Child("a", Scribbler)
    async with System(part, on_event=[events.append]) as system:
        directory = await system.ref(part).ask(Scribble(25))
        await system.restart(part)
        assert not directory.exists()
        await system.ref(part).ask(Scribble(0))
    (removed,) = [e for e in events if isinstance(e, TempFilesRemoved)]
    assert (removed.path, removed.incarnation, removed.count) == ("app/a", 1, 25)
    assert [*removed.names] == [f"below/{n:02}.tif" for n in range(20)]


@pytest.mark.real
async def test_a_directory_that_was_left_over_is_removed_by_the_next_incarnation(
    events: list[Event],
) -> None:
    part = Child("a", lambda: Scribbler(slow=100), cleanup=0.05)
    async with System(part, on_event=[events.append]) as system:
        with system.subscribe(LeftOver) as found:
            directory = await system.ref(part).ask(Scribble())
            await system.restart(part)
            (cleaned,) = [e for e in events if isinstance(e, Cleaned)]
            assert [*cleaned.abandoned] == ["stopping", "temp_dir"]
            assert await anext(found) == LeftOver("app/a", "temp_dir", 1)
        assert not directory.exists()
        await system.restart(part)
        await wait_all_tasks_blocked()
    assert sum(isinstance(e, LeftOver) for e in events) == 1


@pytest.mark.real
async def test_what_was_removed_by_somebody_else_is_not_left_over(
    events: list[Event],
) -> None:
    part = Child("a", lambda: Scribbler(slow=100), cleanup=0.05)
    async with System(part, on_event=[events.append]) as system:
        directory = await system.ref(part).ask(Scribble())
        shutil.rmtree(directory)
        await system.restart(part)
        await system.ref(part).ask(Scribble())
        # A thread has looked for what was left over.
        with trio.move_on_after(0.2), system.subscribe(LeftOver) as found:
            await anext(found)
        assert not any(isinstance(e, LeftOver) for e in events)


@pytest.mark.real
async def test_what_cannot_be_removed_is_reported_at_every_start_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(directory: Path) -> list[str]:
        raise PermissionError(directory)

    part = Child("a", Scribbler)
    async with System(part) as system:
        with monkeypatch.context() as patched, system.subscribe(LeftOver) as found:
            patched.setattr("actors._core.incarnation.remove_directory", refuse)
            patched.setattr("supervision.role.remove_directory", refuse)
            directory = await system.ref(part).ask(Scribble())
            for _ in range(2):
                await system.restart(part)
                await anext(found)
        assert directory.exists()
        with system.subscribe(LeftOver) as found:
            await system.restart(part)
            await anext(found)
        assert not directory.exists()
