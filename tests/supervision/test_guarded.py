"""Guarded refs: callers do not change, and what they hear is what counts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from guarding import Answer, Peer, Query, stage
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    ActorCrashed,
    ActorGone,
    AskTimeout,
    MailboxFull,
    Ref,
    Rejected,
)
from supervision import (
    BreakerOpen,
    Child,
    ForceOpen,
    GetBreakers,
    StopChild,
    guard,
)
from supervision.breaker import Permit
from supervision.breakers import Admit

# -- what counts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "timeout", "answer", "error"),
    [
        (Query(), None, RuntimeError("bug"), ActorCrashed),
        (Query(5), 1.0, "fine", AskTimeout),
        (Query(31), 31.5, RuntimeError("slower than a lease"), ActorCrashed),
        (Query(100), 45.0, "fine", AskTimeout),
    ],
)
async def test_crashes_and_timeouts_are_failures(
    query: Query, timeout: float | None, answer: str | Exception, error: type[Exception]
) -> None:
    async with stage() as on:
        for _ in range(2):
            on.plain.tell(Answer(answer))
            with pytest.raises(error):
                await on.peer.ask(query, timeout=timeout)
            await trio.sleep(200)
        assert "BreakerOpened" in on.told()


async def test_what_crashed_is_named() -> None:
    async with stage() as on:
        for _ in range(2):
            on.plain.tell(Answer(RuntimeError("bug")))
            with pytest.raises(ActorCrashed):
                await on.peer.ask(Query())
        assert (await on.refused()).last_failure == "RuntimeError('bug')"


async def test_a_peer_that_is_gone_is_a_failure() -> None:
    async with stage() as on:
        late = await on.system.start(Child("late", lambda: Peer([])))
        guarded = guard(late, on.breakers, "late")
        await on.system.root.ask(StopChild("late"))
        for _ in range(2):
            with pytest.raises(ActorGone):
                await guarded.ask(Query())
        with pytest.raises(BreakerOpen):
            await guarded.ask(Query())


async def test_a_rejection_is_an_answer() -> None:
    async with stage() as on:
        await on.fails()
        on.plain.tell(Answer(Rejected("no such thing")))
        with pytest.raises(Rejected):
            await on.peer.ask(Query())
        await on.fails()
        assert await on.state() == "closed"


async def test_without_a_verdict_every_reply_is_a_success() -> None:
    async with stage() as on:
        guarded = guard(on.plain, on.breakers, "peer")
        on.plain.tell(Answer("bad"))
        for _ in range(9):
            assert await guarded.ask(Query()) == "bad"
        assert await on.state() == "closed"


async def test_our_own_overload_is_no_verdict_and_takes_no_probe() -> None:
    async with stage(mailbox=1) as on, trio.open_nursery() as nursery:
        await on.fails(2)
        await trio.sleep(10)
        on.plain.tell(Answer("fine"))
        for _ in range(2):  # one in hand, one in the mailbox
            nursery.start_soon(on.plain.ask, Query(1))
            await wait_all_tasks_blocked()
        full = _Full(on.plain)
        guarded = guard(full, on.breakers, "peer")
        with pytest.raises(MailboxFull):
            await guarded.ask(Query())
        assert await on.state() == "half_open"
        assert await on.peer.ask(Query()) == "fine"
        assert await on.state() == "closed"


async def test_a_verdict_that_raises_is_no_verdict_and_takes_no_probe() -> None:
    async with stage() as on:
        guarded = guard(on.plain, on.breakers, "peer", _raises)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await guarded.ask(Query())
        status = (await on.breakers.ask(GetBreakers()))["peer"]
        assert (status.state, status.permits) == ("closed", 0)


async def test_tells_pass_as_they_are() -> None:
    async with stage() as on:
        await on.breakers.ask(ForceOpen("peer"))
        assert on.peer.tell(Answer("told"))
        await on.peer.send(Answer("sent"))
        assert await on.plain.ask(Query()) == "sent"


async def test_guards_may_be_nested_and_an_open_one_is_no_failure() -> None:
    async with stage() as on:
        outer = guard(on.peer, on.breakers, "outer")
        assert await outer.ask(Query()) == "fine"
        await on.breakers.ask(ForceOpen("peer"))
        for _ in range(3):
            with pytest.raises(BreakerOpen, match="'peer'"):
                await outer.ask(Query())
        assert await on.state("outer") == "closed"


# -- cancelled callers ---------------------------------------------------------


async def test_a_cancelled_caller_is_no_verdict() -> None:
    async with stage() as on:
        for _ in range(5):
            with trio.move_on_after(1):
                await on.peer.ask(Query(5))
            await trio.sleep(5)
        status = (await on.breakers.ask(GetBreakers()))["peer"]
        assert (status.state, status.failures, status.permits) == ("closed", 0, 0)


async def test_a_cancelled_probe_makes_room_at_once() -> None:
    async with stage() as on:
        await on.fails(2)
        on.plain.tell(Answer("fine"))
        await trio.sleep(10)
        with trio.move_on_after(1) as scope:
            await on.peer.ask(Query(5))
        assert scope.cancelled_caught
        assert await on.peer.ask(Query()) == "fine"
        assert await on.state() == "closed"
        assert on.told() == ["BreakerOpened", "BreakerHalfOpen", "BreakerClosed"]


@pytest.mark.parametrize("steps", range(8))
def test_whenever_a_prober_is_cancelled_its_place_is_free_again(steps: int) -> None:
    """Cancelled after each possible number of steps of the scheduler."""

    async def scenario() -> None:
        async with stage() as on:
            await on.fails(2)
            on.plain.tell(Answer("fine"))
            await trio.sleep(10)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(on.peer.ask, Query(5))
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            await on.breakers.ask(GetBreakers())
            assert await on.peer.ask(Query()) == "fine"

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_half_open_lets_one_of_many_callers_through() -> None:
    async with stage() as on:
        await on.fails(2)
        on.plain.tell(Answer("fine"))
        await trio.sleep(10)
        on.seen.clear()
        outcomes: list[str] = []

        async def ask() -> None:
            try:
                outcomes.append(await on.peer.ask(Query(1), timeout=5))
            except BreakerOpen:
                outcomes.append("refused")

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
        assert sorted(outcomes) == ["fine"] + 19 * ["refused"]
        assert len(on.seen) == 1


async def test_a_permit_that_nobody_settles_frees_its_place_in_time() -> None:
    async with stage() as on:
        await on.fails(2)
        await trio.sleep(10)
        assert isinstance(await on.breakers.ask(Admit("peer")), Permit)
        assert (await on.refused()).retry_after == 30
        await trio.sleep(30)
        on.plain.tell(Answer("fine"))
        assert await on.peer.ask(Query()) == "fine"


# -- what cannot be meant ------------------------------------------------------


async def test_a_guard_refuses_a_key_that_no_breaker_could_have() -> None:
    async with stage() as on:
        with pytest.raises(TypeError, match="unhashable"):
            guard(on.plain, on.breakers, [])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="patience"):
            guard(on.plain, on.breakers, "k", patience=0)
        assert repr(on.peer) == "<Ref app/peer, guarded as 'peer'>"


def _raises(_reply: object) -> bool:
    raise ZeroDivisionError


class _Full(Ref[Peer]):
    """A ref whose asks find no room."""

    __slots__ = ()

    def __init__(self, ref: Ref[Peer]) -> None:
        super().__init__(ref._mailbox)

    async def ask(self, request: Any, /, *, timeout: float | None = None) -> Any:
        return await super().ask(request, timeout=0)
