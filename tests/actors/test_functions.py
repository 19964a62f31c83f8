"""Functions as actors: they read their mailbox themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    AskCycle,
    AskTimeout,
    Exit,
    GetState,
    Inbox,
    Ref,
    Rejected,
    Resume,
    Stop,
    Suspend,
    Tell,
    function_actor,
    open_actor,
)
from actors.events import Cleaned, DeadLetter, Event, Failed, Started, Stopped


class Desk:
    """What the actors here accept."""


@attrs.frozen
class Note(Tell[Desk]):
    text: str


@attrs.frozen
class Count(Ask[Desk, int]):
    pass


@attrs.frozen
class Price(Ask[Desk, float]):
    abandon = "cancel"


@attrs.frozen
class Names(Ask[Desk, list[str]]):
    pass


@attrs.frozen
class Nothing(Ask[Desk, None]):
    pass


@attrs.frozen
class Urgent(Tell[Desk]):
    system = True


@function_actor
async def clerk(inbox: Inbox[Desk], log: list[str]) -> None:
    async for envelope in inbox:
        match envelope.message:
            case Note(text):
                log.append(text)
            case Count():
                envelope.reply(len(log))
            case other:
                log.append(type(other).__name__)
    log.append("closing")


async def test_a_loop_over_the_inbox_sees_all_messages_in_order_and_ends_with_it() -> (
    None
):
    log: list[str] = []
    async with open_actor(clerk(log)) as desk:
        await desk.send(Note("a"))
        desk.tell(Note("b"))
        assert await desk.ask(Count()) == 2
        assert desk.snapshot().kind == "clerk"
        assert desk.snapshot().handled == 3
    assert log == ["a", "b", "closing"]
    assert desk.gone == Exit("shutdown")


async def test_what_the_loop_leaves_unanswered_ends_as_a_crash() -> None:
    async with open_actor(clerk([])) as desk:
        async with trio.open_nursery() as nursery:
            with pytest.raises(ActorCrashed, match="no reply"):
                nursery.start_soon(desk.send, Note("next"))
                await desk.ask(Nothing())


async def test_selective_receive_leaves_the_others_where_they_are() -> None:
    log: list[str] = []

    @function_actor
    async def picky(inbox: Inbox[Desk]) -> None:
        question = await inbox.receive(Count, Price)
        note = await inbox.receive(Note)
        log.append(note.message.text)
        if isinstance(question.message, Count):
            question.reply(1)
        log.append((await inbox.receive(Note)).message.text)

    async with open_actor(picky()) as desk:
        desk.tell(Note("first"))
        desk.tell(Note("second"))
        await wait_all_tasks_blocked()
        assert desk.snapshot().mailbox == 2
        assert await desk.ask(Count()) == 1
        await desk.stopped()
    assert log == ["first", "second"]
    assert desk.gone == Exit("normal"), "it returned"


async def test_it_has_started_once_it_waits_for_its_inbox(events: list[Event]) -> None:
    @function_actor
    async def slow(inbox: Inbox[Desk]) -> None:
        await trio.sleep(3)
        await inbox.receive()

    async with open_actor(slow(), on_event=[events.append]):
        assert trio.current_time() == 3
    assert [type(e) for e in events] == [Started, Cleaned, Stopped]


async def test_one_that_returns_at_once_has_started_and_ended_normally(
    events: list[Event],
) -> None:
    @function_actor
    async def step(inbox: Inbox[Desk], log: list[str]) -> None:
        log.append("done")

    log: list[str] = []
    async with open_actor(step(log), on_event=[events.append]) as ref:
        await ref.stopped()
    assert log == ["done"]
    assert ref.gone == Exit("normal")
    assert isinstance(events[0], Started)


async def test_a_failure_before_it_has_started_is_a_failed_start() -> None:
    @function_actor
    async def broken(inbox: Inbox[Desk]) -> None:
        raise OSError("no desk")

    with pytest.raises(OSError, match="no desk"):
        async with open_actor(broken()) as ref:
            assert ref is None, "never up"


async def test_a_failure_ends_what_it_had_in_hand_and_what_it_held(
    events: list[Event],
) -> None:
    @function_actor
    async def fragile(inbox: Inbox[Desk]) -> None:
        await inbox.receive(Count)
        await inbox.receive(Note)
        raise ValueError("broken")

    outcomes: list[Any] = []
    with pytest.raises(ValueError, match="broken"):
        async with open_actor(fragile(), on_event=[events.append]) as desk:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(ActorCrashed) as caught:
                        await desk.ask(Count())
                    outcomes.append(caught.value.__cause__)

                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                desk.tell(Note("bad"))
                desk.tell(Note("never read"))
            await trio.sleep_forever()
    (cause,) = outcomes
    assert isinstance(cause, ValueError)
    (failed,) = [e for e in events if isinstance(e, Failed)]
    assert failed.exit.message == Note("bad")
    letters = [(e.message, e.reason) for e in events if isinstance(e, DeadLetter)]
    assert letters == [(Note("bad"), "crashed"), (Note("never read"), "gone")]


async def test_replies_are_checked_when_they_are_given() -> None:
    errors: list[Exception] = []

    def note(fn: Callable[[], object]) -> None:
        try:
            fn()
        except Exception as error:
            errors.append(error)

    @function_actor
    async def wrong(inbox: Inbox[Desk]) -> None:
        count = await inbox.receive(Count)
        note(lambda: count.reply("many"))  # type: ignore[arg-type]
        count.reply(1)
        note(lambda: count.reply(2))
        told = await inbox.receive(Note)
        note(lambda: told.reply(1))  # type: ignore[misc, arg-type]
        nothing = await inbox.receive(Nothing)
        note(lambda: nothing.reply(0))  # type: ignore[arg-type]
        nothing.reply(None)
        names = await inbox.receive(Names)
        note(lambda: names.reply(("a",)))  # type: ignore[arg-type]
        names.reply(["a"])
        price = await inbox.receive(Price)
        price.reply(3)

    async with open_actor(wrong()) as desk:
        assert await desk.ask(Count()) == 1
        desk.tell(Note("x"))
        await desk.ask(Nothing())
        assert await desk.ask(Names()) == ["a"]
        assert await desk.ask(Price()) == 3
        await desk.stopped()
    kinds = [type(e) for e in errors]
    assert kinds == [TypeError, RuntimeError, TypeError, TypeError, TypeError]
    assert "Count (" in str(errors[0]), "class and line"
    assert "is answered with <class 'int'>, got 'many'" in str(errors[0])
    assert "has been answered already" in str(errors[1])
    assert "Note was told, not asked" in str(errors[2])


async def test_a_domain_error_is_an_answer() -> None:
    @function_actor
    async def strict(inbox: Inbox[Desk]) -> None:
        async for envelope in inbox:
            if isinstance(envelope.message, Count):
                envelope.reject(Rejected("not today"))

    async with open_actor(strict()) as desk:
        for _ in range(2):
            with pytest.raises(Rejected, match="not today"):
                await desk.ask(Count())


async def test_abandoned_and_overdue_asks_are_never_received() -> None:
    log: list[str] = []

    @function_actor
    async def sleepy(inbox: Inbox[Desk]) -> None:
        async for envelope in inbox:
            log.append(type(envelope.message).__name__)
            if isinstance(envelope.message, Note):
                await trio.sleep(5)

    async with open_actor(sleepy(), mailbox=2) as desk:
        desk.tell(Note("x"))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await desk.ask(Count())
        with pytest.raises(AskTimeout) as caught:
            await desk.ask(Price(), timeout=1)
        assert not caught.value.started
        await desk.send(Note("y"))
        await desk.send(Note("z"))
        await trio.sleep(20)
    assert log == ["Note", "Note", "Note"]


async def test_the_asker_of_a_cancel_ask_may_leave_and_the_function_goes_on() -> None:
    @function_actor
    async def busy(inbox: Inbox[Desk]) -> None:
        async for envelope in inbox:
            await trio.sleep(5)
            if isinstance(envelope.message, Price | Count):
                envelope.reply(1)

    async with open_actor(busy()) as desk:
        with trio.move_on_after(1):
            await desk.ask(Price())
        assert await desk.ask(Count()) == 1
        assert trio.current_time() == 10


async def test_it_is_inspected_suspended_and_resumed_while_it_waits() -> None:
    log: list[str] = []
    async with open_actor(clerk(log)) as desk:
        actor: Ref[Any] = desk
        assert await actor.ask(GetState()) == {}
        await actor.ask(Suspend())
        assert desk.snapshot().state == "suspended"
        await desk.send(Note("later"))
        desk.tell(Urgent())
        await wait_all_tasks_blocked()
        assert log == ["Urgent"]
        await actor.ask(Resume())
        await wait_all_tasks_blocked()
    assert log == ["Urgent", "later", "closing"]


async def test_it_has_timers_and_news_of_others_like_any_actor() -> None:
    log: list[Any] = []

    @function_actor
    async def timed(inbox: Inbox[Desk], other: Ref[Actor]) -> None:
        inbox.ctx.after(2, Note("tick"))
        inbox.ctx.watch(other, as_=lambda exit_: Note(exit_.kind))
        log.append((await inbox.receive()).message)
        log.append(trio.current_time())
        await inbox.receive()

    async with open_actor(Actor) as other:
        async with open_actor(timed(other)):
            await trio.sleep(3)
    assert log == [Note("tick"), 2]


async def test_asking_oneself_is_found_out() -> None:
    @function_actor
    async def narcissus(inbox: Inbox[Desk]) -> None:
        envelope = await inbox.receive(Count)
        with pytest.raises(AskCycle):
            await inbox.ctx.me.ask(Count())
        envelope.reply(0)

    async with open_actor(narcissus()) as desk:
        assert await desk.ask(Count()) == 0


async def test_it_is_stopped_killed_and_cleaned_up_like_any_actor(
    events: list[Event],
) -> None:
    @function_actor
    async def deaf(inbox: Inbox[Desk]) -> None:
        inbox.ctx.cleanup("tidy", partial(trio.sleep, 0))
        await inbox.receive()
        await trio.sleep_forever()

    async with open_actor(deaf(), shutdown=3, on_event=[events.append]) as desk:
        desk.tell(Note("x"))
        await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(3)
    (cleaned,) = [e for e in events if isinstance(e, Cleaned)]
    assert cleaned.done == ["tidy"]
    with pytest.raises(ActorGone):
        await desk.ask(Count())


async def test_stop_ends_it_normally_when_nobody_has_asked_it_to() -> None:
    @function_actor
    async def quitter(inbox: Inbox[Desk]) -> None:
        await inbox.receive()
        raise Stop

    async with open_actor(quitter()) as desk:
        desk.tell(Note("x"))
        assert await desk.stopped() == Exit("normal")


async def test_cancellation_of_a_receive_loses_no_message() -> None:
    log: list[str] = []

    @function_actor
    async def impatient(inbox: Inbox[Desk]) -> None:
        with trio.move_on_after(1):
            await inbox.receive(Count)
        log.append("gave up")
        log.append((await inbox.receive(Note)).message.text)

    async with open_actor(impatient()) as desk:
        desk.tell(Note("kept"))
        await desk.stopped()
    assert log == ["gave up", "kept"]


def test_a_plain_function_is_refused_with_its_line() -> None:
    with pytest.raises(TypeError, match=r"plain \(.*test_functions.py:\d+\): the func"):

        @function_actor  # type: ignore[arg-type]
        def plain(inbox: Inbox[Desk]) -> None:
            pass
