"""Actors as guests: in any trio program, in another's event loop, without a sound."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from outcome import Outcome
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    Deferred,
    Inbox,
    Ref,
    Rejected,
    Tell,
    function_actor,
    open_actor,
)
from actors.events import Event, Failed, Stopped
from supervision import Child, System


@attrs.frozen
class Add(Ask["Counter", int]):
    n: int


@attrs.frozen
class Fail(Tell["Counter"]):
    error: BaseException


@attrs.frozen
class Later(Ask["Counter", int]):
    work: Callable[[], Any]


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @Add.handled
    async def add(self, m: Add) -> int:
        await trio.lowlevel.checkpoint()
        self.total += m.n
        return self.total

    @Fail.handled
    def fail(self, m: Fail) -> None:
        raise m.error

    @Later.handled
    def later(self, m: Later) -> Deferred[int]:
        return self.ctx.defer(m.work)


# -- one run, many systems; another's loop -------------------------------------


async def test_several_systems_in_one_run_share_nothing() -> None:
    children = Child("counter", Counter), Child("counter", Counter)
    one, two = System(children[0], name="one"), System(children[1], name="two")
    async with one, two, open_actor(Counter, name="three") as three:
        a, b = one.ref(children[0]), two.ref(children[1])
        assert [await ref.ask(Add(n)) for n, ref in enumerate((a, b, three))] == [
            0,
            1,
            2,
        ]
        assert one.find("one/counter", Counter) is a
        with pytest.raises(LookupError):
            two.find("one/counter", Counter)
        # Across systems a ref is as good as within one.
        assert await a.ask(Later(lambda: b.ask(Add(10)))) == 11


def test_a_system_is_entered_in_the_run_in_which_it_lives() -> None:
    async def main() -> int:
        async with open_actor(Counter) as counter:
            refs.append(counter)
            return await counter.ask(Add(1))

    refs: list[Ref[Counter]] = []
    clock = partial(MockClock, autojump_threshold=0)
    assert [trio.run(main, clock=clock()) for _ in range(2)] == [1, 1]

    async def use_later() -> None:
        for ref in refs:
            assert not ref.tell(Fail(ValueError()))
            with pytest.raises(ActorGone):
                await ref.ask(Add(1))
            with pytest.raises(ActorGone):
                await ref.send(Fail(ValueError()))
            assert (await ref.stopped()).kind == "shutdown"

    trio.run(use_later, clock=clock())


def test_actors_live_in_the_event_loop_of_another() -> None:
    todo: queue.Queue[Callable[[], object]] = queue.Queue()
    done: list[Outcome[int]] = []

    async def main() -> int:
        async with System(child := Child("counter", Counter)) as system:
            await trio.sleep(0.001)
            return await system.ref(child).ask(Add(42), timeout=5)

    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=todo.put,
        done_callback=done.append,
    )
    while not done:
        todo.get(timeout=10)()
    assert done[0].unwrap() == 42


async def test_nothing_is_printed_or_logged(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    child = Child("counter", Counter, restart="transient")
    async with System(child) as system:
        counter = system.ref(child)
        await counter.ask(Add(1))
        counter.tell(Fail(ValueError("crash")))
        await trio.sleep(60)
        assert await counter.ask(Add(1)) == 1, "it was restarted"
        with pytest.raises(Rejected):
            await counter.ask(Later(_rejects))
    counter.tell(Fail(ValueError("dead letter")))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


async def _rejects() -> int:
    await trio.lowlevel.checkpoint()
    raise Rejected("no")


# -- cancellation and failure at once ------------------------------------------


class Stubborn(Actor):
    """Fails, in a nursery of its own, while it is being cancelled."""

    async def started(self) -> None:
        self.ctx._life.workshop.start_soon(trio.sleep_forever)

    @Fail.handled
    async def fail(self, m: Fail) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise m.error


async def test_a_failure_while_being_cancelled_is_one_failure_not_a_group(
    events: list[Event],
) -> None:
    with trio.move_on_after(5) as scope:
        async with open_actor(Stubborn, shutdown=1, on_event=[events.append]) as ref:
            ref.tell(Fail(OSError("cut off")))  # type: ignore[arg-type]
            await trio.sleep_forever()
    assert scope.cancelled_caught, "what is cancelled is cancelled"
    assert trio.current_time() == 6
    (stopped,) = [e for e in events if isinstance(e, Stopped | Failed)]
    assert stopped.exit.kind == "killed"
    assert str(stopped.exit.failure) == "cut off"
    assert ref.gone == stopped.exit


async def test_a_failure_of_a_handler_over_its_limit_is_that_failure() -> None:
    with pytest.raises(OSError, match="cut off"):
        async with open_actor(Stubborn, handler_timeout=1) as ref:
            ref.tell(Fail(OSError("cut off")))  # type: ignore[arg-type]
            await trio.sleep_forever()


async def test_several_failures_of_one_handler_stay_a_group() -> None:
    class Twofold(Actor):
        @Fail.handled
        async def fail(self, m: Fail) -> None:
            async with trio.open_nursery() as nursery:
                for n in range(2):
                    nursery.start_soon(self._fail, n)

        async def _fail(self, n: int) -> None:
            raise ValueError(n)

    with pytest.raises(Exception, match="nursery") as caught:
        async with open_actor(Twofold) as ref:
            ref.tell(Fail(ValueError()))  # type: ignore[arg-type]
            await trio.sleep_forever()
    assert [type(e) for e in _leaves(caught.value)] == [ValueError, ValueError]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_handler_ends_the_program_and_cleans_up(
    kind: type[BaseException],
) -> None:
    log: list[str] = []

    class Tidy(Counter):
        async def stopping(self, exit_: object) -> None:
            await trio.lowlevel.checkpoint()
            log.append("tidy")

    async def main() -> None:
        child = Child("tidy", Tidy)
        async with System(child) as system:
            system.ref(child).tell(Fail(kind()))
            await trio.sleep_forever()

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert kind in [type(leaf) for leaf in _leaves(caught.value)]
    assert log == ["tidy"]


async def test_an_asker_is_told_when_an_interrupt_ends_the_handler() -> None:
    @attrs.frozen
    class Interrupt(Ask[Counter, None]):
        pass

    class Interrupted(Counter):
        @Interrupt.handled
        def interrupt(self, m: Interrupt) -> None:
            raise KeyboardInterrupt

    async def ask() -> None:
        with pytest.raises(ActorCrashed):
            await ref.ask(Interrupt())

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        async with trio.open_nursery() as nursery:
            async with open_actor(Interrupted) as ref:
                with trio.CancelScope(shield=True):
                    nursery.start_soon(ask)
                    await wait_all_tasks_blocked()
    assert [type(leaf) for leaf in _leaves(caught.value)] == [KeyboardInterrupt]


# -- without metrics ------------------------------------------------------------


async def test_messages_are_not_timed_without_metrics() -> None:
    async with open_actor(Counter, metrics=False) as counter:
        await trio.sleep(5)
        await counter.ask(Add(1))
        await trio.lowlevel.checkpoint()
        assert counter.snapshot().handled == 1
        assert counter.snapshot().mailbox_time == 0
        assert counter.snapshot().oldest_age is None


async def test_functions_know_their_peak_and_how_long_messages_wait() -> None:
    @attrs.frozen
    class Note(Tell[Counter]):
        pass

    @function_actor
    async def slow(inbox: Inbox[Counter]) -> None:
        async for _ in inbox:
            await trio.sleep(1)

    for metrics in (True, False):
        async with open_actor(slow(), metrics=metrics) as ref:
            for _ in range(3):
                ref.tell(Note())
            await trio.sleep(5)
            seen = ref.snapshot()
        assert (seen.peak, seen.handled) == (3, 3)
        assert seen.mailbox_time == (1 + 2 if metrics else 0)
