"""What a function has not asked for yet stays in its mailbox."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorGone,
    Ask,
    Exit,
    Inbox,
    Rejected,
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
