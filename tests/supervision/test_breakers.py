"""Guarded refs: what fails outside is cut off and probed, and callers do not change."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    AskTimeout,
    MailboxFull,
    Ref,
    Rejected,
    Tell,
)
from actors.events import DeadLetter, Event
from supervision import (
    Backoff,
    BreakerOpen,
    BreakerPolicy,
    Breakers,
    Child,
    ForceOpen,
    GetBreakers,
    Intensity,
    ResetBreaker,
    StopChild,
    System,
    guard,
)
from supervision.breaker import Permit
from supervision.breakers import Admit, Probe, Settle
from supervision.events import (
    BreakerClosed,
    BreakerHalfOpen,
    BreakerOpened,
    BreakerRefused,
)


@attrs.frozen
class Query(Ask["Peer", str]):
    """Answers what the peer was told to: a reply, or an error to raise."""

    seconds: float = 0.0


@attrs.frozen
class Answer(Tell["Peer"]):
    what: str | Exception


class Peer(Actor):
    def __init__(self, seen: list[float]) -> None:
        self.seen = seen
        self.answer: str | Exception = "fine"

    @Answer.handled
    def set_answer(self, m: Answer) -> None:
        self.answer = m.what

    @Query.handled
    async def query(self, m: Query) -> str:
        self.seen.append(trio.current_time())
        await trio.sleep(m.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@attrs.frozen
class Break(Tell[Breakers]):
    """Makes the breaker actor fail."""


class Fragile(Breakers):
    @Break.handled
    def fail(self, m: Break) -> None:
        raise RuntimeError("planted")


class Certain(Random):
    """Always the longest wait."""

    def random(self) -> float:
        return 1.0

    def uniform(self, a: float, b: float) -> float:
        return b


POLICY = BreakerPolicy(failures=2, wait=Backoff(first=10, cap=40, healthy=60), lease=30)


@attrs.frozen
class Stage:
    system: System
    breakers: Ref[Breakers]
    peer: Ref[Peer]
    plain: Ref[Peer]
    seen: list[float]
    events: list[Event]

    def told(self) -> list[str]:
        kinds = (BreakerOpened, BreakerHalfOpen, BreakerClosed)
        return [type(event).__name__ for event in self.events if type(event) in kinds]

    async def fails(self, times: int = 1) -> None:
        """Let the peer fail by its reply."""
        self.plain.tell(Answer("bad"))
        for _ in range(times):
            assert await self.peer.ask(Query()) == "bad"

    async def refused(self) -> BreakerOpen:
        with pytest.raises(BreakerOpen) as info:
            await self.peer.ask(Query())
        return info.value

    async def state(self, key: str = "peer") -> str:
        return (await self.breakers.ask(GetBreakers()))[key].state


@asynccontextmanager
async def stage(
    probe: Probe | None = None,
    policy: BreakerPolicy = POLICY,
    mailbox: int = 64,
    restart_in: float = 0.1,
) -> AsyncGenerator[Stage]:
    seen: list[float] = []
    events: list[Event] = []
    breakers = Child(
        "breakers", lambda: Fragile(lambda _: policy, probe_for=lambda _: probe)
    )
    peer = Child("peer", lambda: Peer(seen), mailbox=mailbox, handler_timeout=None)
    system = System(
        breakers,
        peer,
        intensity=Intensity(100, within=100_000),
        backoff=Backoff(first=restart_in, cap=restart_in),
        random=Certain(1),
        on_event=[events.append],
    )
    async with system:
        plain, asked = system.ref(peer), system.ref(breakers)
        guarded = guard(plain, asked, "peer", lambda reply: reply != "bad")
        yield Stage(system, asked, guarded, plain, seen, events)


# -- the way of a breaker --------------------------------------------------------------


async def test_a_peer_that_fails_is_left_alone_and_probed_until_it_is_well() -> None:
    async with stage() as on:
        await on.fails(2)
        error = await on.refused()
        assert error.retry_after == 10
        assert error.last_failure == "reply: 'bad'"
        assert "'peer'; try again in 10 s" in str(error)
        await trio.sleep(10)
        await on.fails()
        assert (await on.refused()).retry_after == 20
        on.plain.tell(Answer("fine"))
        await trio.sleep(20)
        assert await on.peer.ask(Query()) == "fine"
        assert await on.peer.ask(Query()) == "fine"
        assert await on.state() == "closed"
    assert on.told() == [
        "BreakerOpened",
        "BreakerHalfOpen",
        "BreakerOpened",
        "BreakerHalfOpen",
        "BreakerClosed",
    ]
    first, *_, last = (e for e in on.events if isinstance(e, BreakerOpened))
    assert (first.path, first.key) == ("app/breakers", "peer")
    assert (first.reason, first.failures) == ("consecutive failures", 2)
    assert (last.reason, last.wait) == ("probe failed", 20)
    assert last.last_failure == "reply: 'bad'"


async def test_keys_do_not_know_of_each_other() -> None:
    async with stage() as on:
        other = guard(on.plain, on.breakers, ("peer", 2))
        await on.fails(2)
        await on.refused()
        assert await other.ask(Query()) == "bad"


async def test_many_refusals_are_few_events() -> None:
    async with stage() as on:
        await on.breakers.ask(ForceOpen("peer", seconds=100))
        for _ in range(70):
            await on.refused()
            await trio.sleep(1)
        await trio.sleep(30)
        assert await on.peer.ask(Query()) == "fine"
    refused = [e for e in on.events if isinstance(e, BreakerRefused)]
    assert [e.count for e in refused] == [1, 60, 9]


# -- what counts -----------------------------------------------------------------------


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


# -- cancelled callers -----------------------------------------------------------------


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


# -- the breaker actor itself ----------------------------------------------------------


async def test_restarted_it_has_forgotten_and_old_permits_have_no_vote() -> None:
    async with stage() as on:
        await on.fails(2)
        on.breakers.tell(Break())
        await trio.sleep(1)
        permits = [await on.breakers.ask(Admit("peer")) for _ in range(3)]
        on.breakers.tell(Break())
        await trio.sleep(1)
        for _ in permits:
            assert isinstance(await on.breakers.ask(Admit("peer")), Permit)
        for permit in permits:
            assert isinstance(permit, Permit)
            on.breakers.tell(Settle("peer", permit, "failed"))
        assert await on.state() == "closed"


async def test_while_it_is_down_it_stops_nobody() -> None:
    async with stage(restart_in=50.0) as on:
        on.breakers.tell(Break())
        await wait_all_tasks_blocked()
        begin = trio.current_time()
        assert await on.peer.ask(Query()) == "fine"
        assert trio.current_time() - begin == 1, "its patience"
        with pytest.raises(AskTimeout) as info:
            await on.peer.ask(Query(), timeout=0.5)
        assert not info.value.started
        assert len(on.seen) == 1
        await on.system.root.ask(StopChild("breakers"))
        assert await on.peer.ask(Query()) == "fine"
        assert not any(
            isinstance(e, DeadLetter) and e.reason != "crashed" for e in on.events
        )


async def test_a_call_under_way_survives_a_restart_of_the_breakers() -> None:
    async with stage() as on, trio.open_nursery() as nursery:
        nursery.start_soon(on.peer.ask, Query(5))
        await wait_all_tasks_blocked()
        on.breakers.tell(Break())
    assert on.told() == []


async def test_verdicts_are_read_although_the_mailbox_is_full_of_questions() -> None:
    async with stage() as on:
        permit = await on.breakers.ask(Admit("peer"))
        assert isinstance(permit, Permit)
        while on.breakers.tell(Break()):
            pass
        assert on.breakers.tell(Settle("peer", permit, "ok"))


async def test_the_timeout_covers_the_question_to_the_breaker_too() -> None:
    async with stage() as on:
        begin = trio.current_time()
        with pytest.raises(AskTimeout):
            await on.peer.ask(Query(9), timeout=2)
        assert trio.current_time() - begin == 2


async def test_idle_keys_are_forgotten_but_not_what_was_forced() -> None:
    breakers = Child("breakers", lambda: Breakers(idle=60))
    async with System(breakers) as system:
        ref = system.ref(breakers)
        for key in ("old", "used"):
            await ref.ask(Admit(key))
        await ref.ask(ForceOpen("forced"))
        await trio.sleep(59)
        await ref.ask(Admit("used"))
        await trio.sleep(1)
        await ref.ask(Admit("new"))
        assert set(await ref.ask(GetBreakers())) == {"used", "forced", "new"}


# -- by hand ---------------------------------------------------------------------------


async def test_forced_open_it_refuses_until_reset() -> None:
    async with stage() as on:
        await on.breakers.ask(ForceOpen("peer"))
        await trio.sleep(80_000)
        error = await on.refused()
        assert error.retry_after == float("inf")
        assert "opened by hand" in str(error)
        await on.breakers.ask(ResetBreaker("peer"))
        await on.breakers.ask(ResetBreaker("peer"))
        await on.breakers.ask(ResetBreaker("unknown"))
        assert await on.peer.ask(Query()) == "fine"
        assert on.told() == ["BreakerOpened", "BreakerClosed"]
        (opened,) = (e for e in on.events if isinstance(e, BreakerOpened))
        assert (opened.reason, opened.wait) == ("forced", None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Admit("k", lease=0),
        lambda: Admit("k", lease=float("inf")),
        lambda: ForceOpen("k", seconds=-1),
        lambda: Breakers(idle=0),
    ],
)
def test_messages_that_cannot_be_meant_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be positive and finite seconds"):
        make()


async def test_a_guard_refuses_a_key_that_no_breaker_could_have() -> None:
    async with stage() as on:
        with pytest.raises(TypeError, match="unhashable"):
            guard(on.plain, on.breakers, [])  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="patience"):
            guard(on.plain, on.breakers, "k", patience=0)
        assert repr(on.peer) == "<Ref app/peer, guarded as 'peer'>"


# -- probes of its own -----------------------------------------------------------------


async def test_its_own_probe_closes_it_without_any_caller() -> None:
    answers: list[bool | Exception] = [False, ValueError("still down"), True]
    at: list[float] = []

    async def probe() -> bool:
        at.append(trio.current_time())
        await trio.sleep(1)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with stage(probe) as on:
        begin = trio.current_time()
        await on.fails(2)
        await trio.sleep(10.5)
        error = await on.refused()
        assert error.retry_after > 0, "no caller takes part while its probe is at work"
        await trio.sleep(1)
        assert (await on.refused()).last_failure == "probe: not well yet"
        await trio.sleep(21)
        assert "still down" in (await on.refused()).last_failure
        await trio.sleep(100)
        assert await on.state() == "closed"
        await on.fails(2)
        assert await on.state() == "open"
        answers.append(True)
        await trio.sleep(100)
        assert await on.state() == "closed"
    assert [t - begin for t in at[:3]] == [10, 31, 72]
    assert len(at) == 4


async def test_while_its_own_probe_is_at_work_no_caller_is_let_through() -> None:
    policy = attrs.evolve(POLICY, probes=2)
    async with stage(trio.sleep_forever, policy) as on:
        await on.fails(2)
        await trio.sleep(10.5)
        assert await on.state() == "half_open"
        await on.refused()


async def test_a_probe_that_hangs_has_failed() -> None:
    async with stage(trio.sleep_forever) as on:
        await on.fails(2)
        await trio.sleep(10 + 15.5)
        assert "took longer than 15 s" in (await on.refused()).last_failure


async def test_set_by_hand_it_ends_the_probe_at_work() -> None:
    spans: list[tuple[float, float]] = []

    async def probe() -> bool:
        begin = trio.current_time()
        try:
            await trio.sleep_forever()
        finally:
            spans.append((begin, trio.current_time()))

    async with stage(probe) as on:
        start = trio.current_time()
        await on.fails(2)
        await trio.sleep(12)
        await on.breakers.ask(ForceOpen("peer", seconds=5))
        await trio.sleep(7)
        assert await on.state() == "half_open"
        await on.breakers.ask(ResetBreaker("peer"))
        on.plain.tell(Answer("fine"))
        assert await on.peer.ask(Query()) == "fine"
        await trio.sleep(100)
        assert on.told()[-1] == "BreakerClosed"
        assert [(a - start, b - start) for a, b in spans] == [(10, 12), (17, 19)]


def _raises(_reply: object) -> bool:
    raise ZeroDivisionError


class _Full(Ref[Peer]):
    """A ref whose asks find no room."""

    __slots__ = ()

    def __init__(self, ref: Ref[Peer]) -> None:
        super().__init__(ref._mailbox)

    async def ask(self, request: Any, /, *, timeout: float | None = None) -> Any:
        return await super().ask(request, timeout=0)
