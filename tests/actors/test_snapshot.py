"""A picture of an actor that asks nobody: every field of it."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorCrashed,
    Ask,
    AskTimeout,
    Ref,
    Rejected,
    Snapshot,
    Tell,
    open_actor,
)
from supervision import Backoff, Child, Intensity, Supervisor, System

AT_ONCE = Backoff(first=0, cap=0)


@attrs.frozen
class Nap(Ask["Part", None]):
    seconds: float = 1


@attrs.frozen
class Doze(Tell["Part"]):
    seconds: float = 1


@attrs.frozen
class Refuse(Ask["Part", None]):
    pass


@attrs.frozen
class Crash(Tell["Part"]):
    pass


@attrs.frozen
class Relay(Ask["Part", None]):
    """Ask the first of these to ask the next, and so on."""

    refs: tuple[Ref[Part], ...]


@attrs.frozen
class RelayBoth(Ask["Part", None]):
    """Ask both at once."""

    refs: tuple[Ref[Part], Ref[Part]]


@attrs.frozen
class Push(Ask["Part", None]):
    """Wait for room at another."""

    ref: Ref[Part]


@attrs.frozen
class Freeze(Tell["Part"]):
    seconds: float


class Part(Actor):
    @Nap.handled
    async def nap(self, m: Nap) -> None:
        self.ctx.progress("napping")
        await trio.sleep(m.seconds)

    @Doze.handled
    async def doze(self, m: Doze) -> None:
        await trio.sleep(m.seconds)

    @Refuse.handled
    def refuse(self, m: Refuse) -> None:
        raise Rejected("no")

    @Crash.handled
    async def crash(self, m: Crash) -> None:
        await trio.sleep(1)
        raise ValueError("told to")

    @Relay.handled
    async def relay(self, m: Relay) -> None:
        if m.refs:
            await m.refs[0].ask(Relay(m.refs[1:]))
        else:
            await trio.sleep(10)

    @RelayBoth.handled
    async def relay_both(self, m: RelayBoth) -> None:
        async with trio.open_nursery() as nursery:
            for ref in m.refs:
                nursery.start_soon(ref.ask, Nap(10))

    @Push.handled
    async def push(self, m: Push) -> None:
        await m.ref.send(Doze())

    @Freeze.handled
    async def freeze(self, m: Freeze) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(m.seconds)


async def test_of_an_idle_actor_all_is_zero() -> None:
    async with open_actor(Part, mailbox=7) as part:
        assert part.snapshot() == Snapshot(
            path="actor",
            kind="Part",
            state="running",
            incarnation=1,
            restarts=0,
            mailbox=0,
            capacity=7,
            peak=0,
            senders_waiting=0,
            oldest_age=None,
            current=None,
            current_age=None,
            progress="",
            operations=[],
            handled=0,
            rejected=0,
            failed=0,
            expired=0,
            handling_time=0,
            mailbox_time=0,
            room_waits=0,
            room_wait_time=0,
            waits_for=[],
            last_exit=None,
            children=[],
        )


@pytest.mark.parametrize("metrics", [True, False])
async def test_what_waits_and_what_is_handled(*, metrics: bool) -> None:
    await trio.sleep(1000)  # a clock that does not begin with the actor
    async with open_actor(Part, mailbox=2, metrics=metrics) as part:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part.ask, Nap(4))
            await trio.sleep(1)
            part.tell(Doze(2))
            await trio.sleep(1)
            for _ in range(3):
                nursery.start_soon(part.send, Doze(0))
            await trio.sleep(1)
            seen = part.snapshot()
            assert (seen.mailbox, seen.peak, seen.senders_waiting) == (2, 2, 2)
            assert (seen.current, seen.progress) == ("Nap", "napping")
            assert seen.current_age == pytest.approx(3)
            assert seen.oldest_age == (pytest.approx(2) if metrics else None)
            assert (seen.handled, seen.room_waits) == (0, 2)
            assert not part.tell(Doze())
        await trio.sleep(5)
        seen = part.snapshot()
    assert (seen.mailbox, seen.senders_waiting, seen.handled) == (0, 0, 5)
    assert (seen.peak, seen.room_waits) == (2, 2)
    assert seen.handling_time == pytest.approx(6)
    # Waited 3 for the nap; then 2 + 2 for it, 0 + 2 and 0 + 0 after that.
    assert seen.room_wait_time == (pytest.approx(2 + 4) if metrics else 0)
    assert seen.mailbox_time == (pytest.approx(3 + 4 + 2 + 0) if metrics else 0)


async def test_abandoned_asks_are_no_messages_that_wait() -> None:
    async with open_actor(Part, mailbox=2) as part:
        part.tell(Doze(10))
        await wait_all_tasks_blocked()
        for _ in range(5):
            with pytest.raises(AskTimeout, match=r"[012] of 2 messages"):
                await part.ask(Nap(), timeout=0.5)
        part.tell(Doze())
        seen = part.snapshot()
        assert (seen.mailbox, seen.expired) == (1, 5)
        assert seen.oldest_age == pytest.approx(0)
        await trio.sleep(20)
        assert part.snapshot().peak <= 2


async def test_what_came_of_messages_is_counted_over_all_incarnations() -> None:
    child = Child("part", Part)
    async with System(child, backoff=AT_ONCE) as system:
        part = system.ref(child)
        for _ in range(2):
            for _ in range(3):
                with pytest.raises(Rejected):
                    await part.ask(Refuse())
            part.tell(Crash())
            await wait_all_tasks_blocked()
            with pytest.raises(AskTimeout):
                await part.ask(Nap(), timeout=0.5)
            await part.ask(Nap(0))
        seen = part.snapshot()
    assert (seen.incarnation, seen.restarts, seen.failed) == (3, 2, 2)
    assert (seen.rejected, seen.handled, seen.expired) == (6, 8, 2)
    assert seen.handling_time == pytest.approx(2), "that of failed handlers too"
    assert seen.last_exit is not None
    assert (seen.last_exit.kind, seen.last_exit.message) == ("failed", Crash())
    assert part.snapshot().last_exit != seen.last_exit, "a picture does not change"


async def test_an_ask_whose_handler_had_begun_has_not_expired() -> None:
    async with open_actor(Part) as part:
        with pytest.raises(AskTimeout):
            await part.ask(Nap(5), timeout=1)
        await trio.sleep(5)
        seen = part.snapshot()
    assert (seen.expired, seen.handled) == (0, 1)


async def test_states_over_a_life() -> None:
    states: list[str] = []

    class Watched(Part):
        async def started(self) -> None:
            states.append(self.ctx.me.snapshot().state)

        async def stopping(self, exit_: object) -> None:
            states.append(self.ctx.me.snapshot().state)

    child = Child("part", Watched)
    system = System(
        child, backoff=Backoff(first=5, cap=5), intensity=Intensity(within=99)
    )
    part = system.ref(child)
    assert (part.snapshot().state, part.snapshot().kind) == ("starting", "")
    async with system:
        states.append(part.snapshot().state)
        part.tell(Crash())
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        states.append(part.snapshot().state)
        await trio.sleep(6)
        states.append(part.snapshot().state)
    states.append(part.snapshot().state)
    life = ["starting", "running", "stopping"]
    assert states == [*life, "backing off", *life, "stopped"]


async def test_who_waits_for_whom() -> None:
    children = [Child(name, Part, mailbox=1) for name in "abcde"]
    async with System(*children) as system, trio.open_nursery() as nursery:
        a, b, c, d, e = (system.ref(child) for child in children)

        def graph() -> dict[str, list[str]]:
            tree = system.snapshot().children
            return {s.path[-1]: sorted(p[-1] for p in s.waits_for) for s in tree}

        nursery.start_soon(a.ask, Relay((b, c)))
        await wait_all_tasks_blocked()
        assert graph() == {"a": ["b"], "b": ["c"], "c": [], "d": [], "e": []}
        c.tell(Doze())
        nursery.start_soon(d.ask, Push(c))
        await wait_all_tasks_blocked()
        nursery.start_soon(e.ask, RelayBoth((a, d)))
        await wait_all_tasks_blocked()
        assert graph() == {"a": ["b"], "b": ["c"], "c": [], "d": ["c"], "e": ["a", "d"]}
        await trio.sleep(10.5)
        assert graph() == {"a": [], "b": [], "c": [], "d": [], "e": ["a", "d"]}
        await trio.sleep(30)
        assert not any(graph().values())


async def test_who_is_killed_or_cancelled_waits_for_nobody() -> None:
    a, b = Child("a", Part, handler_timeout=3), Child("b", Part)
    async with System(a, b, backoff=AT_ONCE) as system:
        with pytest.raises(ActorCrashed):
            await system.ref(a).ask(Relay((system.ref(b),)))
        assert system.ref(a).snapshot().waits_for == []
        assert system.ref(b).snapshot().current == "Relay", "its handler finishes"


async def test_it_works_when_an_actor_is_stuck() -> None:
    part = Child("part", Part, handler_timeout=2, cleanup=1)
    inner = Child("inner", lambda: Supervisor(part))
    async with System(inner, backoff=AT_ONCE) as system:
        system.ref(part).tell(Freeze(50))
        await trio.sleep(10)
        ((seen,),) = (child.children for child in system.snapshot().children)
        assert (seen.path, seen.state) == ("app/inner/part", "stuck")
        assert seen.current == "Freeze"
        assert seen.current_age == pytest.approx(10)
        assert seen.last_exit is None
        await trio.sleep(50)
        ((seen,),) = (child.children for child in system.snapshot().children)
        assert (seen.state, seen.incarnation, seen.current) == ("running", 2, None)
