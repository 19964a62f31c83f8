"""Answers that come later, from a task beside the messages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, ActorCrashed, Ask, Deferred, Rejected, Tell, open_actor
from actors.events import Event, LateReply
from supervision import Child, StopChild, System


@attrs.frozen
class Add(Ask["Counter", int]):
    n: int


@attrs.frozen
class Note(Tell["Counter"]):
    pass


@attrs.frozen
class Later(Ask["Counter", int]):
    work: Callable[[], Any]


class Counter(Actor):
    def __init__(self) -> None:
        self.total = 0

    @Add.handled
    def add(self, m: Add) -> int:
        self.total += m.n
        return self.total

    @Later.handled
    def later(self, m: Later) -> Deferred[int]:
        return self.ctx.defer(m.work)


async def _rejects() -> int:
    await trio.lowlevel.checkpoint()
    raise Rejected("no")


async def test_deferred_work_may_reject_and_the_actor_lives_on() -> None:
    async with open_actor(Counter) as counter:
        with pytest.raises(Rejected, match="no"):
            await counter.ask(Later(_rejects))
        assert counter.snapshot().rejected == 1
        assert await counter.ask(Add(1)) == 1


async def test_deferred_work_that_fails_is_a_crash_of_its_actor() -> None:
    async def fails() -> int:
        await trio.sleep(1)
        raise OSError("lost")

    outcomes: list[BaseException | None] = []

    async def ask(work: Callable[[], Any]) -> None:
        with pytest.raises(ActorCrashed) as caught:
            await counter.ask(Later(work))
        outcomes.append(caught.value.__cause__)

    with pytest.raises(OSError, match="lost"):
        async with open_actor(Counter) as counter:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, fails)
                nursery.start_soon(ask, partial(trio.sleep, 50))
            await trio.sleep_forever()
    assert [str(outcome) for outcome in outcomes] == ["lost", "lost"]


async def test_deferred_work_nobody_waits_for_ends_if_its_ask_says_so(
    events: list[Event],
) -> None:
    @attrs.frozen
    class Drop(Ask[Counter, int]):
        abandon = "cancel"

    @attrs.frozen
    class Keep(Ask[Counter, int]):
        pass

    log: list[str] = []

    class Deferring(Counter):
        async def _work(self, name: str) -> int:
            try:
                await trio.sleep(5)
            except trio.Cancelled:
                log.append(f"{name} cancelled at {trio.current_time():g}")
                raise
            log.append(f"{name} done")
            return 1

        @Drop.handled
        def drop(self, m: Drop) -> Deferred[int]:
            return self.ctx.defer(lambda: self._work("drop"))

        @Keep.handled
        def keep(self, m: Keep) -> Deferred[int]:
            return self.ctx.defer(lambda: self._work("keep"))

    async with open_actor(Deferring, on_event=[events.append]) as actor:
        with trio.move_on_after(1):
            await actor.ask(Keep())
        with trio.move_on_after(1):
            await actor.ask(Drop())
        await trio.sleep(10)
        assert await actor.ask(Add(1)) == 1
    assert log == ["drop cancelled at 2", "keep done"]
    assert [e.message for e in events if isinstance(e, LateReply)] == [Keep()]


async def test_what_was_deferred_for_one_ask_is_no_answer_to_another() -> None:
    class Forgetful(Counter):
        answer: Deferred[int] | None = None

        def later(self, m: Later) -> Deferred[int]:
            self.answer = self.answer or self.ctx.defer(m.work)
            return self.answer

    with pytest.raises(RuntimeError, match="for another ask does not answer Later"):
        async with open_actor(Forgetful) as forgetful:
            with pytest.raises(Rejected):
                await forgetful.ask(Later(_rejects))
            with pytest.raises(ActorCrashed):
                await forgetful.ask(Later(_rejects), timeout=60)
            await trio.sleep_forever()


async def test_a_supervisor_does_not_mind_that_who_waits_for_its_child_leaves() -> None:
    @attrs.frozen
    class Hasty(StopChild):
        abandon = "cancel"

    class Slow(Counter):
        async def stopping(self, exit_: object) -> None:
            await trio.sleep(1)

    child, other = Child("slow", Slow), Child("other", Counter)
    async with System(child, other) as system:
        with trio.move_on_after(0.5):
            await system.root.ask(Hasty("slow"))
        await trio.sleep(1)
        assert system.ref(child).gone is not None, "it is stopped all the same"
        assert await system.ref(other).ask(Add(1)) == 1


async def test_only_an_ask_in_hand_can_be_deferred() -> None:
    class Misled(Counter):
        async def started(self) -> None:
            with pytest.raises(RuntimeError, match=r"misled: defer\(\) answers an ask"):
                self.ctx.defer(_rejects)

        @Note.handled
        def note(self, m: Note) -> None:
            with pytest.raises(RuntimeError, match=r"use ctx.start\(\)"):
                self.ctx.defer(_rejects)

    async with open_actor(Misled, name="misled") as misled:
        misled.tell(Note())
        assert await misled.ask(Add(1)) == 1
