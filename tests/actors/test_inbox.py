"""What a function has not asked for yet stays in its mailbox."""

from __future__ import annotations

from typing import Literal

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorGone,
    Ask,
    AskTimeout,
    Exit,
    Inbox,
    Rejected,
    Suspend,
    Tell,
    function_actor,
    open_actor,
)
from supervision import Backoff, Child, System


class Desk:
    """What the actors here accept."""


@attrs.frozen
class Note(Tell[Desk]):
    text: str


@attrs.frozen
class Count(Ask[Desk, int]):
    pass


@attrs.frozen
class Urgent(Tell[Desk]):
    system = True


@attrs.frozen
class UrgentCount(Ask[Desk, int]):
    system = True


@attrs.frozen
class Tick(Tell[Desk]):
    pass


@attrs.frozen
class News(Tell[Desk]):
    exit_: Exit


@function_actor
async def picky(inbox: Inbox[Desk], log: list[str]) -> None:
    """Waits for a note, fails for a bad one, then takes whatever there is."""
    inbox.ctx.every(1, Tick(), key="tick")
    other = inbox.ctx.after(0.5, Urgent())
    note = await inbox.receive(Note)
    if note.message.text == "bad":
        raise ValueError("bad note")
    other.cancel()
    while True:
        envelope = await inbox.receive()
        if isinstance(envelope.message, UrgentCount):
            envelope.reply(len(log))
        log.append(type(envelope.message).__name__)


async def test_timers_do_not_pile_up_while_it_waits_for_something_else() -> None:
    log: list[str] = []
    async with open_actor(picky(log)) as desk:
        await trio.sleep(100.5)
        desk.tell(Note("go on"))
        await wait_all_tasks_blocked()
        assert log == ["Tick"], "and the one that was cancelled though due is not there"
        await trio.sleep(2)
        assert log == ["Tick"] * 3


async def test_an_urgent_ask_it_has_not_received_yet_ends_with_its_actor() -> None:
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(ActorGone):
                await desk.ask(UrgentCount())

        with pytest.raises(ValueError, match="bad note"):
            async with open_actor(picky([])) as desk:
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                desk.tell(Note("bad"))
                await trio.sleep_forever()


async def test_an_urgent_ask_it_has_not_received_is_kept_across_a_restart() -> None:
    child = Child("desk", picky([]))
    async with System(child, backoff=Backoff(first=0, cap=0)) as system:
        desk = system.ref(child)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.ask, UrgentCount())
            await wait_all_tasks_blocked()
            desk.tell(Note("bad"))
            await wait_all_tasks_blocked()
            desk.tell(Note("good"))


async def test_what_it_handles_is_counted() -> None:
    @function_actor
    async def three(inbox: Inbox[Desk]) -> None:
        for _ in range(3):
            envelope = await inbox.receive()
            await trio.sleep(1)
            if isinstance(envelope.message, Count):
                envelope.reject(Rejected("no"))

    async with open_actor(three()) as desk:
        with pytest.raises(Rejected):
            await desk.ask(Count())
        desk.tell(Note(""))
        desk.tell(Note(""))
        await wait_all_tasks_blocked()
        seen = desk.snapshot()
        assert (seen.handled, seen.rejected, seen.peak) == (1, 1, 2)
        await trio.sleep(5)
    seen = desk.snapshot()
    assert (seen.handled, seen.peak) == (3, 2)
    assert seen.handling_time == pytest.approx(3)
    assert seen.mailbox_time == pytest.approx(1)


async def test_senders_wait_for_room_at_a_function_in_the_order_they_came() -> None:
    log: list[str] = []
    async with open_actor(scribe(log), mailbox=1) as desk:
        async with trio.open_nursery() as nursery:
            for text in "abcde":
                nursery.start_soon(desk.send, Note(text))
                await wait_all_tasks_blocked()
            nursery.start_soon(desk.ask, Count())
        await wait_all_tasks_blocked()
    assert log == [*"abcde", "counted"]


@function_actor
async def scribe(inbox: Inbox[Desk], log: list[str]) -> None:
    async for envelope in inbox:
        await trio.sleep(1)
        if isinstance(envelope.message, Count):
            envelope.reply(len(log))
            log.append("counted")
        else:
            log.append(envelope.message.text)


async def test_it_is_woken_by_what_gets_the_place_of_an_ask_that_was_given_up() -> None:
    log: list[str] = []
    async with open_actor(picky(log), mailbox=1) as desk:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.1):
                nursery.start_soon(desk.send, Note("go on"))
                await desk.ask(Count())
        await trio.sleep(0.1)
        assert desk.snapshot().handled == 1, "the note"


@function_actor
async def busy(inbox: Inbox[Desk], jump: float, log: list[str]) -> None:
    """Takes three seconds for a note, ``jump`` of them in one step."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    async for envelope in inbox:
        await trio.sleep(3 - jump)
        clock.jump(jump)
        assert isinstance(envelope.message, Note)
        log.append(envelope.message.text)


@pytest.mark.parametrize("attempt", range(4))
@pytest.mark.parametrize("jump", [0, 1, 2.5])
async def test_a_suspension_nobody_waits_for_any_more_does_not_happen(
    jump: float, attempt: int
) -> None:
    """Whoever has its turn first after the step: the function, or the deadlines."""
    log: list[str] = []
    async with open_actor(busy(jump, log)) as desk:
        desk.tell(Note("in hand"))
        await wait_all_tasks_blocked()
        with pytest.raises(AskTimeout) as caught:
            await desk.ask(Suspend(), timeout=2.8)
        assert not caught.value.started
        desk.tell(Note("next"))
        await trio.sleep(5)
        assert desk.snapshot().state == "running"
    assert log == ["in hand", "next"]


@attrs.frozen
class Choose(Ask[Desk, Literal["yes", "no"]]):
    pass


async def test_a_reply_of_a_kind_that_only_checkers_know_is_given_as_it_is() -> None:
    @function_actor
    async def decided(inbox: Inbox[Desk]) -> None:
        (await inbox.receive(Choose)).reply("yes")

    async with open_actor(decided()) as desk:
        assert await desk.ask(Choose()) == "yes"
