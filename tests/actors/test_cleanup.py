"""Tasks, managers and files of an incarnation end with it, in order."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorCrashed, Ask, Context, Deferred, Exit, Tell, open_actor
from actors.events import Cleaned, Event, Failed
from supervision import Backoff, Child, System


@attrs.frozen
class Hold(Tell[Any]):
    """Shield yourself for 3 seconds."""


AT_ONCE = Backoff(first=0, cap=0)


@attrs.frozen
class Crash(Tell["Tidy"]):
    pass


@attrs.frozen
class Wait(Ask["Tidy", None]):
    pass


@attrs.frozen
class Later(Ask["Tidy", None]):
    pass


@attrs.frozen
class Ping(Ask["Tidy", None]):
    pass


class Tidy(Actor):
    """Fails when told to."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log

    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise ValueError("told to")

    @Wait.handled
    async def wait(self, m: Wait) -> None:
        await trio.sleep_forever()

    @Ping.handled
    def ping(self, m: Ping) -> None:
        """Answer."""


def cleaned(events: list[Event]) -> Cleaned:
    (report,) = [e for e in events if isinstance(e, Cleaned)]
    return report


# Virtual time jumps while a thread removes a directory: no matter, but not wanted here.


# -- steps -----------------------------------------------------------------------------


@pytest.mark.real
async def test_the_temp_directory_goes_last_whatever_fails_before(
    events: list[Event],
) -> None:
    places: list[Path] = []

    class Untidy(Tidy):
        async def started(self) -> None:
            places.append(self.ctx.temp_dir())
            assert self.ctx.temp_dir() is places[0]
            (places[0] / "deep").mkdir()
            (places[0] / "deep" / "file").write_text("x")
            self.ctx.cleanup("check", self._check)
            self.ctx.cleanup("fail", self._fail)

        async def stopping(self, exit_: Exit) -> None:
            raise OSError("stopping")

        async def _check(self) -> None:
            assert (places[0] / "deep" / "file").exists()

        async def _fail(self) -> None:
            raise OSError("step")

    async with open_actor(Untidy, on_event=[events.append]):
        assert places[0].is_dir()
    assert not places[0].exists()
    report = cleaned(events)
    assert report.done == ["check", "temp_dir"]
    assert [name for name, _ in report.failed] == ["stopping", "fail"]


@pytest.mark.real
async def test_every_incarnation_has_a_temp_directory_of_its_own() -> None:
    places: list[Path] = []

    class Untidy(Tidy):
        async def started(self) -> None:
            assert not any(place.exists() for place in places), "cleaned up before"
            places.append(self.ctx.temp_dir())

    child = Child("tidy", Untidy)
    async with System(child, backoff=AT_ONCE) as system:
        system.ref(child).tell(Crash())
        await system.ref(child).ask(Ping())
    assert len(places) == 2
    assert not any(place.exists() for place in places)


@pytest.mark.real
async def test_what_the_cleanup_itself_opens_is_cleaned_up_too(
    events: list[Event],
) -> None:
    log: list[str] = []
    places: list[Path] = []

    class Late(Tidy):
        async def started(self) -> None:
            self.ctx.cleanup("early", partial(self._step, "early"))

        async def stopping(self, exit_: Exit) -> None:
            places.append(self.ctx.temp_dir())
            self.ctx.cleanup("late", partial(self._step, "late"))

        async def _step(self, name: str) -> None:
            assert places[0].exists()
            log.append(name)

    async with open_actor(Late, on_event=[events.append]):
        pass
    assert log == ["late", "early"]
    assert cleaned(events).done == ["stopping", "late", "early", "temp_dir"]
    assert not places[0].exists()


async def test_a_stopping_that_starts_tasks_is_told_that_it_is_too_late(
    events: list[Event],
) -> None:
    async def task(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()

    class Late(Tidy):
        async def started(self) -> None:
            await self.ctx.start(task)

        async def stopping(self, exit_: Exit) -> None:
            await self.ctx.start(task)

    class LateOnly(Late):
        async def started(self) -> None:
            """Without tasks until then."""

    for factory in (Late, LateOnly):
        events.clear()
        async with open_actor(factory, on_event=[events.append]):
            pass
        ((name, error),) = cleaned(events).failed
        assert (name, type(error)) == ("stopping", RuntimeError)
        assert "has ended" in str(error)
        assert trio.current_time() == 0


async def test_once_a_task_has_failed_a_further_one_is_refused_at_once() -> None:
    contexts: list[Context] = []

    class Shielded(Actor):
        async def started(self) -> None:
            contexts.append(self.ctx)
            await self.ctx.start(self.fail)

        async def fail(self, *, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            await trio.sleep(1)
            raise ValueError("a task of its own")

        @Hold.handled
        async def hold(self, m: Hold) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)

    child = Child("actor", Shielded, restart="temporary")
    async with System(child, backoff=AT_ONCE) as system:
        system.ref(child).tell(Hold())
        await trio.sleep(2)
        with trio.move_on_after(10), pytest.raises(RuntimeError, match="app/actor: "):
            await contexts[0].start(trio.sleep_forever)
        assert trio.current_time() == 2


# -- managers --------------------------------------------------------------------------


@asynccontextmanager
async def manager(log: list[str]) -> AsyncGenerator[str, None]:
    log.append("entered")
    try:
        yield "value"
    finally:
        log.append("left")


@pytest.mark.parametrize("crash", [False, True])
async def test_what_was_entered_is_left_before_stopping(*, crash: bool) -> None:
    log: list[str] = []

    class Holder(Tidy):
        async def started(self) -> None:
            self.ctx.cleanup("step", self._step)
            assert await self.ctx.enter(manager(log)) == "value"

        async def _step(self) -> None:
            log.append("step")

        async def stopping(self, exit_: Exit) -> None:
            log.append("stopping")

    child = Child("holder", Holder, restart="temporary")
    async with System(child) as system:
        if crash:
            system.ref(child).tell(Crash())
            await trio.sleep(1)
    assert log == ["entered", "left", "stopping", "step"]


async def test_a_manager_that_cannot_be_entered_fails_where_it_was_to_be() -> None:
    @asynccontextmanager
    async def door(*, there: bool) -> AsyncGenerator[None, None]:
        if not there:
            raise OSError("no such door")
        yield

    log: list[str] = []

    class Holder(Tidy):
        async def started(self) -> None:
            with pytest.raises(OSError, match="no such door"):
                await self.ctx.enter(door(there=False))
            await self.ctx.enter(manager(log))

    async with open_actor(Holder):
        assert log == ["entered"], "one failure costs the others nothing"


async def test_a_manager_that_fails_later_fails_its_actor() -> None:
    @asynccontextmanager
    async def collapsing() -> AsyncGenerator[None, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self_destruct)
            yield

    async def self_destruct() -> None:
        await trio.sleep(3)
        raise OSError("collapsed")

    class Holder(Tidy):
        async def started(self) -> None:
            await self.ctx.enter(collapsing())

    with pytest.raises(OSError, match="collapsed"):
        async with open_actor(Holder):
            await trio.sleep(10)
    assert trio.current_time() == pytest.approx(3)


# -- tasks -----------------------------------------------------------------------------


async def test_a_task_that_fails_before_it_has_started_fails_who_starts_it() -> None:
    async def broken(*, task_status: trio.TaskStatus[None]) -> None:
        raise OSError("not today")

    async def forgetful(*, task_status: trio.TaskStatus[None]) -> None:
        """Does not say that it has started."""

    class Starter(Tidy):
        async def started(self) -> None:
            with pytest.raises(OSError, match="not today"):
                await self.ctx.start(broken)
            with pytest.raises(RuntimeError, match="started"):
                await self.ctx.start(forgetful)

    async with open_actor(Starter) as starter:
        await wait_all_tasks_blocked()
        assert starter.gone is None


async def test_a_failing_task_fails_its_actor_and_the_message_in_hand(
    events: list[Event],
) -> None:
    class Busy(Tidy):
        async def run(self) -> None:
            await trio.sleep(3)
            raise ConnectionError("lost")

    with pytest.raises(ConnectionError, match="lost"):
        async with open_actor(Busy, on_event=[events.append]) as busy:
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed) as caught:
                await busy.ask(Wait())
            assert isinstance(caught.value.__cause__, ConnectionError)
            await trio.sleep(1)
    (failed,) = [e for e in events if isinstance(e, Failed)]
    assert failed.exit.message == Wait()


async def test_the_first_failure_is_the_cause() -> None:
    class Twice(Tidy):
        async def run(self) -> None:
            try:
                await trio.sleep(3)
                raise ConnectionError("first")
            finally:
                self.log.append("run over")

        @Wait.handled
        async def wait(self, m: Wait) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("second, because of the first")

    log: list[str] = []
    with pytest.raises(ConnectionError, match="first"):
        async with open_actor(lambda: Twice(log)) as twice:
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed) as caught:
                await twice.ask(Wait())
            assert isinstance(caught.value.__cause__, ConnectionError)
            await trio.sleep(1)


async def test_a_failing_handler_comes_before_the_task_that_it_cancels() -> None:
    class Sore(Tidy):
        async def run(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("second")

    with pytest.raises(ValueError, match="told to"):
        async with open_actor(Sore) as sore:
            await wait_all_tasks_blocked()
            sore.tell(Crash())
            await trio.sleep(1)


async def test_a_body_may_end_and_its_actor_goes_on() -> None:
    class Brief(Tidy):
        async def run(self) -> None:
            self.log.append("done")

    log: list[str] = []
    async with open_actor(lambda: Brief(log)) as brief:
        await trio.sleep(10)
        assert brief.gone is None
    assert log == ["done"]


async def test_a_task_that_had_no_turn_before_the_end_is_ended_too() -> None:
    class Hasty(Tidy):
        @Later.handled
        def later(self, m: Later) -> Deferred[None]:
            self.ctx.me.tell(Crash())  # handled in the same turn
            return self.ctx.defer(trio.sleep_forever)

    with pytest.raises(ValueError, match="told to"):
        async with open_actor(Hasty) as hasty:
            with trio.CancelScope(shield=True), pytest.raises(ActorCrashed) as caught:
                await hasty.ask(Later())
            assert repr(caught.value.__cause__) == "ValueError('told to')"
            await trio.sleep(1)


@pytest.mark.parametrize("where", ["handler", "task"])
async def test_cancelled_from_outside_a_failure_is_told_and_the_end_is_killed(
    where: str, events: list[Event]
) -> None:
    async def sore() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("sore")

    class Sore(Tidy):
        async def run(self) -> None:
            if where == "task":
                await sore()

        @Wait.handled
        async def wait(self, m: Wait) -> None:
            if where == "handler":
                await sore()
            await trio.sleep_forever()

    with trio.move_on_after(1):
        async with (
            open_actor(Sore, shutdown=2, on_event=[events.append]) as part,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(part.ask, Wait())
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(3)
    exit_ = part.snapshot().last_exit
    assert exit_ is not None
    assert exit_.kind == "killed"
    if where == "handler":
        assert repr(exit_.failure) == "OSError('sore')"
