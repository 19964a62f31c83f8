"""Bounded, first come first served, and nothing lost."""

from __future__ import annotations

import pickle

import attrs
import pytest
import trio
from hypothesis import given, strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, ActorError, ActorGone, Ask, GetState, Tell, open_actor
from actors._core.runtime import Runtime
from actors.events import Event, MailboxHigh, MailboxNormal
from actors.host import Host


@attrs.frozen
class Put(Tell["Slow"]):
    n: int


@attrs.frozen
class Count(Ask["Slow", int]):
    n: int = 0


class Slow(Actor):
    """Takes a second for each message."""

    def __init__(self, log: list[int] | None = None) -> None:
        self.log = [] if log is None else log

    @Put.handled
    async def put(self, m: Put) -> None:
        await trio.sleep(1)
        self.log.append(m.n)

    @Count.handled
    async def count(self, m: Count) -> int:
        await trio.sleep(1)
        self.log.append(m.n)
        return len(self.log)


async def test_senders_wait_for_room_in_the_order_they_came() -> None:
    log: list[int] = []
    async with open_actor(lambda: Slow(log), mailbox=1) as slow:
        async with trio.open_nursery() as nursery:
            for n in range(6):
                nursery.start_soon(slow.send, Put(n))
                await wait_all_tasks_blocked()
        await slow.ask(Count(6))
    assert log == [0, 1, 2, 3, 4, 5, 6]


async def test_whoever_has_nothing_to_do_is_woken_by_each_message() -> None:
    log: list[int] = []
    async with open_actor(lambda: Slow(log)) as slow:
        for n in range(3):
            await slow.send(Put(n))
            await trio.sleep(2)
            assert log == [*range(n + 1)]


async def test_a_cancelled_sender_did_not_send() -> None:
    log: list[int] = []
    async with open_actor(lambda: Slow(log), mailbox=1) as slow:
        slow.tell(Put(0))
        await wait_all_tasks_blocked()
        slow.tell(Put(1))
        with trio.move_on_after(0.5):
            await slow.send(Put(2))
        await slow.ask(Count(3))
    assert log == [0, 1, 3]


async def test_senders_waiting_at_the_end_are_told_so() -> None:
    async with trio.open_nursery() as nursery:
        async with open_actor(Slow, mailbox=1) as slow:
            slow.tell(Put(0))
            await wait_all_tasks_blocked()
            slow.tell(Put(1))

            async def send() -> None:
                with pytest.raises(ActorGone):
                    await slow.send(Put(2))

            nursery.start_soon(send)
            await trio.sleep(0.25)
    seen = slow.snapshot()
    assert (seen.senders_waiting, seen.room_wait_time) == (0, 1)


async def test_abandoned_asks_take_nobodys_place() -> None:
    async with open_actor(Slow, mailbox=2) as slow:
        slow.tell(Put(0))
        await wait_all_tasks_blocked()
        for _ in range(300):
            with trio.move_on_after(0):
                await slow.ask(Count())
        assert slow.tell(Put(1))
        assert slow.tell(Put(2))
        assert not slow.tell(Put(3))
        assert len(slow._mailbox.user) < 100, "they do not pile up either"


async def test_a_full_mailbox_is_reported_once_until_it_has_drained(
    events: list[Event],
) -> None:
    async with open_actor(Slow, mailbox=4, on_event=[events.append]) as slow:
        for _ in range(2):
            for n in range(9):
                slow.tell(Put(n))
            await trio.sleep(20)
    told = [e for e in events if isinstance(e, MailboxHigh | MailboxNormal)]
    assert [type(e) for e in told] == [MailboxHigh, MailboxNormal] * 2
    assert [e.length for e in told] == [4, 2] * 2


async def test_a_ref_cannot_be_pickled() -> None:
    async with open_actor(Slow) as slow:
        with pytest.raises(TypeError, match="nobody reads"):
            pickle.dumps(slow)


Action = tuple[str, float, float]


@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(["tell", "send", "ask"]),
            st.sampled_from([0.0, 0.5, 1.0, 2.5]),
            st.sampled_from([0.0, 0.7, 1.0, 3.0, 100.0]),
        ),
        max_size=12,
    ),
    st.sampled_from([2.5, 50.0]),
)
def test_whatever_was_accepted_is_handled_once_and_the_rest_never(
    capacity: int, actions: list[Action], life: float
) -> None:
    """Random senders with patience, against an actor that may stop under them."""

    async def scenario() -> None:
        log: list[int] = []
        fate: dict[int, str] = {}

        async def act(n: int, action: Action) -> None:
            how, delay, patience = action
            await trio.sleep(delay)
            with trio.move_on_after(patience) as scope:
                try:
                    if how == "tell":
                        fate[n] = "sent" if slow.tell(Put(n)) else "refused"
                    elif how == "send":
                        await slow.send(Put(n))
                        fate[n] = "sent"
                    else:
                        await slow.ask(Count(n))
                        fate[n] = "answered"
                except ActorError as error:
                    fate[n] = type(error).__name__
            if scope.cancelled_caught:
                fate[n] = "cancelled " + how

        async with trio.open_nursery() as nursery:
            async with open_actor(lambda: Slow(log), mailbox=capacity) as slow:
                for n, action in enumerate(actions):
                    nursery.start_soon(act, n, action)
                await trio.sleep(life)
        assert len(set(log)) == len(log), "nothing is handled twice"
        for n in range(len(actions)):
            if fate[n] == "answered":
                assert n in log
            if fate[n] in ("refused", "ActorGone", "cancelled send"):
                assert n not in log
            if fate[n] == "sent" and life == 50:
                assert n in log

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_how_long_all_have_waited_for_room_is_known() -> None:
    async with open_actor(Slow, mailbox=1) as slow:
        async with trio.open_nursery() as nursery:
            slow.tell(Put(0))
            await wait_all_tasks_blocked()
            slow.tell(Put(1))
            nursery.start_soon(slow.send, Put(2))
            await wait_all_tasks_blocked()
            nursery.start_soon(slow.ask, Count(3))
            await wait_all_tasks_blocked()
            with trio.move_on_after(0.5):
                await slow.send(Put(4))
        seen = slow.snapshot()
    assert (seen.room_waits, seen.room_wait_time) == (3, 1 + 2 + 0.5)


async def test_the_wait_for_room_counts_from_when_somebody_reads() -> None:
    host = Host(Slow, name="slow", runtime=Runtime(), mailbox=1)
    host.ref.tell(Put(0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.ref.send, Put(1))
        await trio.sleep(5)
        async with host:
            await trio.sleep(1.5)
            assert host.ref.snapshot().room_wait_time == 0


async def test_abandoned_system_asks_take_and_give_no_place() -> None:
    async with open_actor(Slow, mailbox=2) as slow:
        for _ in range(2):
            slow.tell(Put(0))
            await wait_all_tasks_blocked()
            for _ in range(5):
                with trio.move_on_after(0):
                    await slow.ask(GetState())
            assert [slow.tell(Put(n)) for n in range(3)] == [True, True, False]
            assert slow.snapshot().mailbox == 2
            await trio.sleep(10)


async def test_an_ask_that_was_given_up_while_it_waited_for_room_makes_none() -> None:
    async with open_actor(Slow, mailbox=1) as slow:
        slow.tell(Put(0))
        await wait_all_tasks_blocked()
        assert slow.tell(Put(1))
        for _ in range(5):
            with trio.move_on_after(0.1):
                await slow.ask(Count())
        assert not slow.tell(Put(2))
        assert slow.snapshot().mailbox == 1
