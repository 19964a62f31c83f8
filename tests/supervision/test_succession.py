"""Whoever is restarted at once lives in the task of its predecessor, and finds nothing
of it there."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from contextvars import ContextVar

import attrs
import pytest
import trio
from parts import AT_ONCE, CALM, Crash, Life, Nap, Part
from trio.testing import wait_all_tasks_blocked

from actors import ActorCrashed, Ask, Exit, Tell
from supervision import Child, Intensity, MaxRestarts, System, SystemFailed

seen: ContextVar[str] = ContextVar("seen", default="nothing")


@attrs.frozen
class Seen(Ask["Successor", str]):
    """What does the context variable say?"""


@attrs.frozen
class CrashLater(Tell["Successor"]):
    """Wait, then fail."""

    seconds: float


@attrs.frozen
class NameTask(Ask["Successor", trio.lowlevel.Task]):
    """In which task are you?"""


class Successor(Part):
    async def started(self) -> None:
        self.at_start = seen.get()

    @Seen.handled
    def seen(self, m: Seen) -> str:
        before = f"{self.at_start}, {seen.get()}"
        seen.set(f"what {self.ctx.incarnation} set")
        return before

    @CrashLater.handled
    async def crash_later(self, m: CrashLater) -> None:
        await trio.sleep(m.seconds)
        raise ValueError("crash")

    @NameTask.handled
    def name_task(self, m: NameTask) -> trio.lowlevel.Task:
        return trio.lowlevel.current_task()


async def test_it_lives_in_the_task_of_its_predecessor() -> None:
    child = Child("child", Successor)
    async with System(child, backoff=AT_ONCE) as system:
        ref = system.ref(child)
        first = await ref.ask(NameTask())
        ref.tell(Crash())
        assert await ref.ask(NameTask()) is first


async def test_it_does_not_see_its_predecessors_context_variables() -> None:
    child = Child("child", Successor)
    async with System(child, backoff=AT_ONCE) as system:
        ref = system.ref(child)
        for _ in range(3):
            assert await ref.ask(Seen()) == "nothing, nothing"
            ref.tell(Crash())


async def test_the_limit_of_its_predecessors_handler_does_not_end_it() -> None:
    child = Child("child", Successor, handler_timeout=2)
    async with System(child, backoff=AT_ONCE) as system:
        ref = system.ref(child)
        ref.tell(CrashLater(1))
        await trio.sleep(3)
        await ref.ask(Nap(1.5))
        assert await ref.ask(Life()) == 2
        with pytest.raises(ActorCrashed, match="timeout"):
            await ref.ask(Nap(3))


async def test_it_is_not_cancelled_because_its_predecessor_was_while_it_ended() -> None:
    class Untidy(Successor):
        async def run(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("fails when it is cancelled, which cancels the rest")

    child = Child("child", Untidy)
    async with System(child, backoff=AT_ONCE, intensity=CALM) as system:
        ref = system.ref(child)
        for life in range(1, 4):
            await ref.ask(Nap(1))
            assert await ref.ask(Life()) == life
            ref.tell(Crash())


async def test_a_crash_loop_lets_others_have_their_turn() -> None:
    class Hopeless(Part):
        def __init__(self) -> None:
            raise OSError("what it needs is away")

    kinds: Iterator[type[Part]] = iter((Part, *[Hopeless] * 10_000))

    def make() -> Part:
        return next(kinds)()

    child, other = Child("child", make), Child("other", Part)
    many = Intensity(1_000, within=3600)
    with pytest.raises(SystemFailed) as caught:
        async with System(child, other, backoff=AT_ONCE, intensity=many) as system:
            system.ref(child).tell(Crash())
            await trio.lowlevel.checkpoint()
            assert await system.ref(other).ask(Life()) == 1
            await trio.sleep_forever()
    assert isinstance(caught.value.__cause__, MaxRestarts)


async def test_who_fails_at_every_message_lets_others_have_their_turn() -> None:
    lives: list[int] = []

    class Touchy(Part):
        async def stopping(self, exit_: Exit) -> None:
            lives.append(self.ctx.incarnation)

    child, crashes = Child("child", Touchy), 5
    async with System(child, backoff=AT_ONCE, intensity=CALM) as system:
        for _ in range(crashes):
            system.ref(child).tell(Crash())
        seen: list[int] = []
        while len(lives) < crashes:
            await trio.lowlevel.checkpoint()
            seen.append(len(lives))
    assert {1, 2, 3, 4} <= set(seen)


async def test_of_a_long_history_an_escalation_tells_the_latest() -> None:
    child = Child("child", Part)
    many = Intensity(100, within=3600)
    with pytest.raises(SystemFailed, match="gave up after 101 failures") as caught:
        async with System(child, backoff=AT_ONCE, intensity=many) as system:
            while True:
                system.ref(child).tell(Crash())
                await wait_all_tasks_blocked()
    reason = caught.value.__cause__
    assert isinstance(reason, MaxRestarts)
    assert (reason.failures, len(reason.history)) == (101, 32)


@pytest.mark.skipif(
    sys.version_info >= (3, 12),
    reason="from 3.12 on the frames of coroutines that raised hold each other",
)
async def test_what_has_crashed_goes_without_the_help_of_the_collector() -> None:
    lives: list[weakref.ref[Part]] = []

    def make() -> Part:
        part = Part()
        lives.append(weakref.ref(part))
        return part

    child = Child("child", make)
    few = Intensity(10, within=1)
    gc.disable()
    try:
        async with System(child, backoff=AT_ONCE, intensity=few) as system:
            for _ in range(500):
                system.ref(child).tell(Crash())
                await trio.sleep(1)
            alive = sum(life() is not None for life in lives)
    finally:
        gc.enable()
    assert len(lives) == 501
    assert alive < 100, "some are remembered, with their failures"
