"""The actor that keeps the breakers: what fails outside is cut off and probed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from guarding import Answer, Break, Query, stage
from trio.testing import wait_all_tasks_blocked

from actors import (
    AskTimeout,
)
from actors.events import DeadLetter
from supervision import (
    Breakers,
    Child,
    ForceOpen,
    GetBreakers,
    ResetBreaker,
    StopChild,
    System,
    guard,
)
from supervision.breaker import Permit
from supervision.breakers import Admit, Settle
from supervision.events import (
    BreakerOpened,
    BreakerRefused,
)

# -- its way -------------------------------------------------------------------


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


async def test_the_first_refusal_after_each_opening_is_an_event_at_once() -> None:
    async with stage() as on:
        await on.breakers.ask(ForceOpen("peer", seconds=10))
        for _ in range(3):
            await on.refused()
        await trio.sleep(10)
        await on.breakers.ask(ForceOpen("peer", seconds=10))
        await on.refused()
        refused = [e.count for e in on.events if isinstance(e, BreakerRefused)]
        assert refused == [1, 2, 1]


# -- its own restarts ----------------------------------------------------------


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


# -- by hand -------------------------------------------------------------------


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
