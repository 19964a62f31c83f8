"""Whoever wants to know of an actor's end is told once, when it is for good."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Ask, Exit, Ref, Stop, Tell, open_actor
from actors.events import Event, Failed
from supervision import Backoff, Child, System
from supervision.specs import Restart

AT_ONCE = Backoff(first=0, cap=0)


@attrs.frozen
class Watch(Ask["Part", None]):
    ref: Ref[Part]
    name: str = "it"


@attrs.frozen
class WatchBadly(Ask["Part", None]):
    ref: Ref[Part]


@attrs.frozen
class Ended(Tell["Part"]):
    name: str
    kind: str


@attrs.frozen
class Nap(Tell["Part"]):
    seconds: float


@attrs.frozen
class Crash(Tell["Part"]):
    pass


@attrs.frozen
class CrashLater(Tell["Part"]):
    seconds: float


@attrs.frozen
class End(Tell["Part"]):
    pass


@attrs.frozen
class Log(Ask["Part", list[object]]):
    pass


class Part(Actor):
    """Watches others, and writes down what comes."""

    def __init__(self) -> None:
        self.log: list[object] = []

    @Watch.handled
    def watch(self, m: Watch) -> None:
        self.ctx.watch(m.ref, as_=lambda exit_: Ended(m.name, exit_.kind))

    @WatchBadly.handled
    def watch_badly(self, m: WatchBadly) -> None:
        def fail(_exit: Exit) -> Ended:
            raise LookupError("no such message")

        self.ctx.watch(m.ref, as_=fail)

    @Ended.handled
    def ended(self, m: Ended) -> None:
        self.log.append(m)

    @Nap.handled
    async def nap(self, m: Nap) -> None:
        await trio.sleep(m.seconds)
        self.log.append(m)

    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise ValueError("told to")

    @CrashLater.handled
    async def crash_later(self, m: CrashLater) -> None:
        await trio.sleep(m.seconds)
        raise ValueError("told to")

    @End.handled
    def end(self, m: End) -> None:
        raise Stop

    @Log.handled
    def get_log(self, m: Log) -> list[object]:
        return self.log


async def gone() -> Ref[Part]:
    async with open_actor(Part) as ref:
        pass
    return ref


async def test_an_end_is_told_once_before_all_user_messages() -> None:
    async with open_actor(Part) as watcher:
        async with open_actor(Part, name="other") as other:
            await watcher.ask(Watch(other))
            watcher.tell(Nap(1))
            watcher.tell(Nap(2))
            await wait_all_tasks_blocked()
        await trio.sleep(10)
        assert await watcher.ask(Log()) == [Nap(1), Ended("it", "shutdown"), Nap(2)]


async def test_of_an_end_in_the_past_one_is_told_at_once() -> None:
    async with open_actor(Part) as watcher:
        await watcher.ask(Watch(await gone()))
        assert await watcher.ask(Log()) == [Ended("it", "shutdown")]
        assert trio.current_time() == 0


async def test_who_watches_twice_is_told_twice() -> None:
    async with open_actor(Part) as watcher:
        async with open_actor(Part, name="other") as other:
            for name in "ab":
                await watcher.ask(Watch(other, name))
        assert await watcher.ask(Log()) == [
            Ended("a", "shutdown"),
            Ended("b", "shutdown"),
        ]


async def test_a_restart_is_no_end() -> None:
    watcher, other = Child("watcher", Part), Child("other", Part, restart="transient")
    async with System(watcher, other, backoff=AT_ONCE) as system:
        await system.ref(watcher).ask(Watch(system.ref(other)))
        system.ref(other).tell(Crash())
        await trio.sleep(5)
        assert await system.ref(watcher).ask(Log()) == []
        system.ref(other).tell(End())
        await trio.sleep(5)
        assert await system.ref(watcher).ask(Log()) == [Ended("it", "normal")]


async def test_watching_ends_with_the_incarnation_that_watches() -> None:
    watcher, other = Child("watcher", Part), Child("other", Part)
    async with System(watcher, other, backoff=AT_ONCE) as system:
        ref = system.ref(watcher)
        await ref.ask(Watch(system.ref(other)))
        ref.tell(Crash())
        assert await ref.ask(Log()) == []
        assert not system.ref(other)._mailbox.watchers, "nothing is left behind"
        await ref.ask(Watch(system.ref(other), "again"))
        await system.stop(other)
        assert await ref.ask(Log()) == [Ended("again", "shutdown")]


async def test_news_that_were_not_read_die_with_the_incarnation() -> None:
    watcher, other = Child("watcher", Part), Child("other", Part)
    async with System(watcher, other, backoff=AT_ONCE) as system:
        ref = system.ref(watcher)
        await ref.ask(Watch(system.ref(other)))
        ref.tell(CrashLater(3))
        await wait_all_tasks_blocked()
        await system.stop(other)
        await trio.sleep(5)
        assert await ref.ask(Log()) == []
        assert ref.snapshot().incarnation == 2


async def test_a_message_that_cannot_be_made_fails_the_watcher_alone(
    events: list[Event],
) -> None:
    watcher, other = Child("watcher", Part), Child("other", Part, restart="temporary")
    third = Child("third", Part)
    tree = (watcher, other, third)
    async with System(*tree, backoff=AT_ONCE, on_event=[events.append]) as system:
        await system.ref(watcher).ask(WatchBadly(system.ref(other)))
        await system.ref(third).ask(Watch(system.ref(other)))
        await system.stop(other)
        await trio.sleep(1)
        assert await system.ref(third).ask(Log()) == [Ended("it", "shutdown")]
        assert system.ref(watcher).snapshot().incarnation == 2
        assert system.ref(third).snapshot().incarnation == 1
    failures = [(e.path, repr(e.exit.failure)) for e in events if isinstance(e, Failed)]
    assert failures == [("app/watcher", "LookupError('no such message')")]
    (failed,) = [e for e in events if isinstance(e, Failed)]
    assert failed.exit.message is None, "no message was being handled"


@pytest.mark.parametrize("end", ["stop", "crash", "temporary"])
async def test_stopped_waits_for_the_end_and_says_how_it_was(end: str) -> None:
    ends: list[tuple[str, float]] = []

    async def wait() -> None:
        exit_ = await system.ref(child).stopped()
        assert exit_ == system.ref(child).gone
        ends.append((exit_.kind, trio.current_time()))

    restart: Restart = "temporary" if end == "temporary" else "permanent"
    child = Child("part", Part, restart=restart)
    async with trio.open_nursery() as nursery:
        async with System(child, backoff=AT_ONCE) as system:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.sleep(1)
            if end != "stop":
                system.ref(child).tell(Crash())
            await trio.sleep(1)
            assert len(ends) == (3 if end == "temporary" else 0)
    how = ("failed", 1.0) if end == "temporary" else ("shutdown", 2.0)
    assert ends == [how] * 3


async def test_stopped_is_at_once_for_what_is_gone_and_may_be_given_up() -> None:
    assert (await (await gone()).stopped()).kind == "shutdown"
    async with open_actor(Part) as part:
        with trio.move_on_after(3):
            await part.stopped()
        assert not part._mailbox.watchers, "nothing is left behind"
    assert trio.current_time() == 3


async def test_an_actor_that_stops_is_told_of_nothing_any_more() -> None:
    class Careful(Part):
        async def stopping(self, exit_: Exit) -> None:
            self.ctx.watch(other, as_=lambda exit_: Ended("late", exit_.kind))

    async with open_actor(Part, name="other") as other, open_actor(Careful) as careful:
        await careful.ask(Watch(careful))
    assert other.gone == Exit("shutdown")


async def test_two_that_watch_each_other_end() -> None:
    a, b = Child("a", Part), Child("b", Part)
    async with System(a, b) as system:
        await system.ref(a).ask(Watch(system.ref(b)))
        await system.ref(b).ask(Watch(system.ref(a)))
    assert trio.current_time() == 0


async def test_how_it_ended_stays_as_it_was_whatever_ends_later() -> None:
    failing, stopped, ended = (
        Child(name, Part, restart="temporary") for name in ("a", "b", "c")
    )
    async with System(failing, stopped, ended) as system:
        refs = [system.ref(child) for child in (failing, stopped, ended)]
        refs[0].tell(Crash())
        await system.stop(stopped)
        refs[2].tell(End())
        await trio.sleep(1)
        before = [ref.gone for ref in refs]
        assert [exit_ and exit_.kind for exit_ in before] == [
            *("failed", "shutdown", "normal")
        ]
    assert [ref.gone for ref in refs] == before
