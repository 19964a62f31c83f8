"""Start, run, stop, cleanup: once per incarnation, whatever ends it."""

from __future__ import annotations

from functools import partial

import attrs
import pytest
import trio
from parts import Crash, Life, Part
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Ask, Exit, OperationTimeout, Tell, open_actor
from actors.events import (
    Cleaned,
    DeadLetter,
    Event,
    Failed,
    OperationEnded,
    OperationStarted,
    Started,
    Stopped,
)
from supervision import Child, Intensity, System, SystemFailed


@attrs.frozen
class Work(Ask["Careful", float]):
    seconds: float
    hard: float = 1000


@attrs.frozen
class Break(Tell["Careful"]):
    """Fail."""


class Careful(Actor):
    """Writes down what happens to it."""

    def __init__(self, log: list[str], slow_step: float = 0) -> None:
        self.log = log
        self.slow_step = slow_step

    async def started(self) -> None:
        self.ctx.cleanup("first", partial(self._step, "first"))
        self.ctx.cleanup("second", partial(self._step, "second"))

    async def stopping(self, exit_: Exit) -> None:
        await trio.sleep(self.slow_step)
        self.log.append(f"stopping {exit_.kind}")

    async def _step(self, name: str) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append(name)
        if name == "second":
            raise OSError("second is broken")

    @Work.handled
    async def work(self, m: Work) -> float:
        async with self.ctx.operation("work", hard=m.hard):
            await trio.sleep(m.seconds)
        return trio.current_time()

    @Break.handled
    def break_(self, m: Break) -> None:
        raise ValueError("broken")


async def test_cleanup_runs_in_reverse_and_a_broken_step_costs_no_other(
    events: list[Event],
) -> None:
    log: list[str] = []
    async with open_actor(lambda: Careful(log), on_event=[events.append]):
        pass
    assert log == ["stopping shutdown", "second", "first"]
    started, cleaned, stopped = events
    assert isinstance(started, Started)
    assert isinstance(cleaned, Cleaned)
    assert isinstance(stopped, Stopped)
    assert cleaned.done == ["stopping", "first"]
    assert [name for name, _ in cleaned.failed] == ["second"]


async def test_cleanup_runs_on_a_crash_and_the_failure_is_reported_before_it(
    events: list[Event],
) -> None:
    log: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        async with open_actor(
            lambda: Careful(log), on_event=[events.append]
        ) as careful:
            careful.tell(Break())
            await trio.sleep_forever()
    assert log == ["stopping failed", "second", "first"]
    assert [type(e) for e in events] == [Started, Failed, DeadLetter, Cleaned]


async def test_cleanup_runs_although_the_host_cancels() -> None:
    log: list[str] = []
    with trio.move_on_after(5):
        async with open_actor(lambda: Careful(log)):
            await trio.sleep_forever()
    assert log == ["stopping shutdown", "second", "first"]


async def test_cleanup_is_bounded_and_says_what_it_abandoned(
    events: list[Event],
) -> None:
    log: list[str] = []
    async with open_actor(
        lambda: Careful(log, slow_step=100), cleanup=3, on_event=[events.append]
    ):
        pass
    assert trio.current_time() == pytest.approx(3)
    (cleaned,) = [e for e in events if isinstance(e, Cleaned)]
    assert cleaned.abandoned == ["stopping", "second", "first"]


async def test_the_root_shield_is_bounded_too() -> None:
    log: list[str] = []
    with trio.move_on_after(5):
        async with (
            open_actor(lambda: Careful(log), shutdown=7) as careful,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(careful.ask, Work(1000))
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(5 + 7)
    assert log[0] == "stopping killed"


async def test_what_the_block_raises_leaves_unchanged() -> None:
    log: list[str] = []
    with pytest.raises(KeyError) as caught:
        async with open_actor(lambda: Careful(log)):
            raise KeyError("mine") from OSError("its cause")
    assert isinstance(caught.value.__cause__, OSError)
    assert log


async def test_a_failing_start_is_raised_and_cleaned_up() -> None:
    log: list[str] = []

    class Unstartable(Careful):
        async def started(self) -> None:
            await super().started()
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        async with open_actor(lambda: Unstartable(log)):
            raise AssertionError("unreachable")
    assert log == ["stopping failed", "second", "first"]


async def test_an_operation_is_reported_and_replaces_the_handlers_limit(
    events: list[Event],
) -> None:
    async with open_actor(
        lambda: Careful([]), handler_timeout=5, on_event=[events.append]
    ) as careful:
        assert await careful.ask(Work(50)) == pytest.approx(50)
    begin, end = (e for e in events if isinstance(e, OperationStarted | OperationEnded))
    assert begin == OperationStarted("actor", "work")
    assert isinstance(end, OperationEnded)
    assert end.outcome == "completed"
    assert end.seconds == pytest.approx(50)


async def test_an_operation_over_its_hard_limit_fails_its_actor(
    events: list[Event],
) -> None:
    with pytest.raises(OperationTimeout):
        async with open_actor(lambda: Careful([]), on_event=[events.append]) as careful:
            with trio.CancelScope(), pytest.raises(Exception, match="ended while"):
                await careful.ask(Work(50, hard=2))
            await trio.sleep_forever()
    (end,) = [e for e in events if isinstance(e, OperationEnded)]
    assert end.outcome == "timed out"


class Background(Actor):
    def __init__(self, log: list[str], *, fails: bool = False) -> None:
        self.log = log
        self.fails = fails

    async def started(self) -> None:
        assert await self.ctx.start(self._helper, "helper up") == 42

    async def _helper(self, text: str, *, task_status: trio.TaskStatus[int]) -> None:
        self.log.append(text)
        task_status.started(42)
        await trio.sleep_forever()

    async def run(self) -> None:
        self.log.append("running")
        await trio.sleep(5)
        if self.fails:
            raise ConnectionError("lost")


async def test_tasks_of_an_actor_end_with_it() -> None:
    log: list[str] = []
    async with open_actor(lambda: Background(log)):
        await wait_all_tasks_blocked()
    assert log == ["helper up", "running"]
    assert trio.current_time() == 0


async def test_a_failing_body_fails_its_actor() -> None:
    with pytest.raises(ConnectionError, match="lost"):
        async with open_actor(lambda: Background([], fails=True)):
            await trio.sleep_forever()


async def test_a_sink_that_fails_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def sink(event: Event) -> None:
        raise RuntimeError("sink")

    async with open_actor(lambda: Careful([]), on_event=[sink]):
        pass
    assert "event sink failed" in caplog.text


async def test_a_stack_report_sees_through_a_suspended_handler() -> None:
    frames: list[str] = []

    def look(task: trio.lowlevel.Task) -> None:
        frames.extend(f.f_code.co_name for f, _ in task.iter_await_frames())
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                look(child)

    async with (
        open_actor(lambda: Careful([])) as careful,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(careful.ask, Work(5))
        await wait_all_tasks_blocked()
        root = trio.lowlevel.current_root_task()
        assert root is not None
        look(root)
    assert "work" in frames


async def test_every_incarnation_is_a_new_object() -> None:
    made: list[Part] = []

    def make() -> Part:
        made.append(Part())
        return made[-1]

    part = Child("part", make)
    async with System(part) as system:
        system.ref(part).tell(Crash())
        assert await system.ref(part).ask(Life()) == 2
    first, second = made
    assert first is not second


async def test_a_factory_that_makes_the_same_object_again_is_told_so() -> None:
    same = Part()
    part = Child("part", lambda: same)
    with pytest.raises(SystemFailed) as caught:
        async with System(part, intensity=Intensity(1)) as system:
            system.ref(part).tell(Crash())
            await trio.sleep(60)
    failure = caught.value.__cause__
    while failure is not None and not isinstance(failure, TypeError):
        failure = failure.__cause__
    assert "the factory of app/part must make a new object each time" in str(failure)


async def test_what_a_class_decorator_adds_is_called_too() -> None:
    log: list[str] = []

    def noted(cls: type[Part]) -> type[Part]:
        async def started(self: Part) -> None:
            log.append("started")

        async def stopping(self: Part, exit_: Exit) -> None:
            log.append("stopping")

        setattr(cls, "started", started)  # noqa: B010 - a checker would refuse it
        setattr(cls, "stopping", stopping)  # noqa: B010
        return cls

    @noted
    class Decorated(Part):
        pass

    async with open_actor(Decorated) as part:
        assert await part.ask(Life()) == 1
    assert log == ["started", "stopping"]


async def test_a_mixin_that_keeps_init_subclass_to_itself_costs_no_cleanup() -> None:
    log: list[str] = []

    class Plugin:
        def __init_subclass__(cls) -> None:
            """Tell no other base."""

    class Mixed(Plugin, Part):
        async def started(self) -> None:
            log.append("started")

        async def stopping(self, exit_: Exit) -> None:
            log.append("stopping")

    async with open_actor(Mixed) as part:
        assert await part.ask(Life()) == 1
    assert log == ["started", "stopping"]
