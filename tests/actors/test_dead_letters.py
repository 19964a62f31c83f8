"""What will not be handled, and nobody waits to be told so."""

from __future__ import annotations

from collections import Counter
from functools import partial

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorGone,
    Ask,
    Exit,
    MailboxFull,
    Stop,
    Tell,
    open_actor,
)
from actors.events import DeadLetter, Event
from supervision import Backoff, Child, System

AT_ONCE = Backoff(first=0, cap=0)


@attrs.frozen
class Put(Tell["Box"]):
    n: int = 0
    seconds: float = 1


@attrs.frozen
class Get(Ask["Box", int]):
    n: int = 0


@attrs.frozen
class PutForNow(Put):
    volatile = True


@attrs.frozen
class GetForNow(Get):
    volatile = True


@attrs.frozen
class UrgentForNow(Tell["Box"]):
    volatile = True
    system = True


@attrs.frozen
class Urgent(Tell["Box"]):
    system = True


@attrs.frozen
class End(Tell["Box"]):
    """End normally."""


@attrs.frozen
class Crash(Tell["Box"]):
    pass


@attrs.frozen
class Strange(Tell["Box"]):
    """No handler."""


class Box(Actor):
    def __init__(self, log: list[object] | None = None) -> None:
        self.log = [] if log is None else log

    @Put.handled
    async def put(self, m: Put) -> None:
        if m.seconds:
            await trio.sleep(m.seconds)
        self.log.append(m)

    @Get.handled
    async def get(self, m: Get) -> int:
        self.log.append(m)
        return m.n

    @Urgent.handled
    def urgent(self, m: Urgent) -> None:
        self.log.append(m)

    @UrgentForNow.handled
    def urgent_for_now(self, m: UrgentForNow) -> None:
        self.log.append(m)

    @Crash.handled
    async def crash(self, m: Crash) -> None:
        await trio.sleep(1)
        raise ValueError("told to")

    @End.handled
    async def end(self, m: End) -> None:
        raise Stop


def letters(events: list[Event]) -> list[tuple[object, str]]:
    return [(e.message, e.reason) for e in events if isinstance(e, DeadLetter)]


async def test_what_is_told_to_a_stopped_actor_and_what_it_leaves_behind(
    events: list[Event],
) -> None:
    async with open_actor(Box, on_event=[events.append]) as box:
        box.tell(Put(0))
        await wait_all_tasks_blocked()
        box.tell(Put(1))
        box.tell(Urgent())
    assert not box.tell(Put(2))
    assert letters(events) == [(Put(1), "gone"), (Put(2), "gone")]


async def test_what_is_told_to_a_full_mailbox(events: list[Event]) -> None:
    async with open_actor(Box, mailbox=1, on_event=[events.append]) as box:
        box.tell(Put(0))
        await wait_all_tasks_blocked()
        assert box.tell(Put(1))
        assert not box.tell(Put(2))
        await trio.sleep(5)
    assert letters(events) == [(Put(2), "overflow")]


async def test_what_a_full_mailbox_throws_out(events: list[Event]) -> None:
    log: list[object] = []
    async with open_actor(
        lambda: Box(log), mailbox=2, overflow="drop_oldest", on_event=[events.append]
    ) as box:
        box.tell(Put(0))
        await wait_all_tasks_blocked()
        for n in range(1, 5):
            assert box.tell(Put(n))
        await trio.sleep(10)
    assert letters(events) == [(Put(1), "overflow"), (Put(2), "overflow")]
    assert log == [Put(0), Put(3), Put(4)]


async def test_an_ask_that_is_thrown_out_ends_as_mailbox_full(
    events: list[Event],
) -> None:
    log: list[object] = []
    async with (
        open_actor(
            lambda: Box(log),
            mailbox=1,
            overflow="drop_oldest",
            on_event=[events.append],
        ) as box,
        trio.open_nursery() as nursery,
    ):

        async def ask() -> None:
            with pytest.raises(MailboxFull, match="thrown out as the oldest"):
                await box.ask(Get(1))
            assert trio.current_time() == 0, "at once"

        box.tell(Put(0))
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await box.send(Put(2))
        await trio.sleep(5)
    assert log == [Put(0), Put(2)]
    assert letters(events) == []


async def test_throwing_out_passes_over_abandoned_asks(events: list[Event]) -> None:
    log: list[object] = []
    async with open_actor(
        lambda: Box(log), mailbox=2, overflow="drop_oldest", on_event=[events.append]
    ) as box:
        box.tell(Put(0))
        await wait_all_tasks_blocked()
        for _ in range(2):
            with trio.move_on_after(0):
                await box.ask(Get())
        for n in range(1, 5):
            box.tell(Put(n))
        await trio.sleep(10)
        assert box.snapshot().mailbox == 0
        for n in range(5, 8):
            box.tell(Put(n))
        await trio.sleep(10)
    assert log == [Put(n) for n in (0, 3, 4, 6, 7)]
    assert [m for m, _ in letters(events)] == [Put(1), Put(2), Put(5)]


async def test_what_came_before_the_first_incarnation_and_has_no_handler(
    events: list[Event],
) -> None:
    child = Child("box", Box)
    system = System(child, on_event=[events.append])
    system.ref(child).tell(Strange())
    async with system:
        await wait_all_tasks_blocked()
    assert letters(events) == [(Strange(), "unhandled")]


async def test_what_was_in_hand_when_its_actor_failed(events: list[Event]) -> None:
    child = Child("box", Box)
    async with System(child, on_event=[events.append], backoff=AT_ONCE) as system:
        system.ref(child).tell(Crash())
        system.ref(child).tell(Put(1))
        await trio.sleep(5)
    assert letters(events) == [(Crash(), "crashed")]


async def test_what_was_in_hand_when_its_actor_ended_itself_was_handled(
    events: list[Event],
) -> None:
    async with open_actor(Box, on_event=[events.append]) as box:
        box.tell(End())
        await trio.sleep(1)
    assert letters(events) == []


async def test_what_was_handled_in_the_same_turn_as_a_stop_is_no_dead_letter(
    events: list[Event],
) -> None:
    log: list[object] = []
    async with open_actor(lambda: Box(log), on_event=[events.append]) as box:
        box.tell(Urgent())
    assert log == [Urgent()]
    assert letters(events) == []


async def test_what_was_handled_before_a_failing_news_is_no_dead_letter(
    events: list[Event],
) -> None:
    def fail(_exit: Exit) -> Urgent:
        raise OSError("no news")

    class Watcher(Box):
        @Put.handled
        async def put(self, m: Put) -> None:
            self.ctx.watch(other, as_=fail)

    with pytest.raises(OSError, match="no news"):
        async with open_actor(Box) as other:
            pass
        async with open_actor(Watcher, on_event=[events.append]) as box:
            box.tell(Put())
            await trio.sleep_forever()
    assert letters(events) == []


async def test_what_is_volatile_ends_with_the_incarnation_it_was_sent_to(
    events: list[Event],
) -> None:
    log: list[object] = []
    child = Child("box", lambda: Box(log))
    async with (
        System(child, on_event=[events.append], backoff=AT_ONCE) as system,
        trio.open_nursery() as nursery,
    ):
        box = system.ref(child)

        async def ask() -> None:
            with pytest.raises(ActorGone, match="incarnation"):
                await box.ask(GetForNow(1))
            assert trio.current_time() == pytest.approx(1)

        box.tell(Crash())
        await wait_all_tasks_blocked()
        box.tell(PutForNow(2))
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        box.tell(Put(3))
        box.tell(UrgentForNow())
        box.tell(Urgent())
        await trio.sleep(5)
    assert log == [Urgent(), Put(3)]
    assert letters(events) == [
        (Crash(), "crashed"),
        (UrgentForNow(), "volatile"),
        (PutForNow(2), "volatile"),
    ]


async def test_blocked_senders_keep_their_place_at_a_restart(
    events: list[Event],
) -> None:
    log: list[object] = []
    child = Child("box", lambda: Box(log), mailbox=1)
    async with System(child, on_event=[events.append], backoff=AT_ONCE) as system:
        box = system.ref(child)
        box.tell(Crash())
        await wait_all_tasks_blocked()
        box.tell(PutForNow(1))
        async with trio.open_nursery() as nursery:

            async def ask_for_now() -> None:
                with pytest.raises(ActorGone):
                    await box.ask(GetForNow(3))

            for send in (
                partial(box.send, Put(2)),
                ask_for_now,
                partial(box.ask, Get(4)),
                partial(box.send, Put(5)),
            ):
                nursery.start_soon(send)
                await wait_all_tasks_blocked()
        await trio.sleep(5)
    assert log == [Put(2), Get(4), Put(5)]
    assert letters(events) == [(Crash(), "crashed"), (PutForNow(1), "volatile")]


async def test_an_abandoned_volatile_ask_frees_its_place_once() -> None:
    child = Child("box", Box, mailbox=1)
    async with System(child, backoff=AT_ONCE) as system:
        box = system.ref(child)
        box.tell(Crash())
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.1):
            await box.ask(GetForNow())
        await trio.sleep(5)
        box.tell(Put(0))
        await wait_all_tasks_blocked()
        assert box.tell(Put(1))
        assert not box.tell(Put(2))


async def test_the_latest_hundred_are_kept_and_all_are_counted() -> None:
    child = Child("box", Box, mailbox=1)
    system = System(child)
    async with system:
        box = system.ref(child)
        box.tell(Put(-1))
        await wait_all_tasks_blocked()
        box.tell(Put(-1))
        for n in range(130):
            box.tell(Put(n))
        counts = system.dead_letter_counts
        assert [d.message for d in system.dead_letters] == [
            Put(n) for n in range(30, 130)
        ]
        assert counts == {"overflow": 130}
    box.tell(Put(130))
    assert counts == {"overflow": 130}, "what was handed out does not change"
    assert system.dead_letter_counts == Counter(overflow=130, gone=2)
    assert [d.reason for d in system.dead_letters][-3:] == ["overflow", "gone", "gone"]
