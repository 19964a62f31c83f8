"""The watchdog as part of a tree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, Ask, Tell
from actors.events import Event
from supervision import Child, System
from supervision.events import (
    Contended,
    HighMemory,
    LoopBlocked,
    Summary,
    Waited,
)
from supervision.metrics import Metrics, waiting
from supervision.resources import Meter, Resources, holdings
from supervision.watchdog import GetMetrics, GetOpenFiles, Watchdog


class Readings(Meter):
    """A process whose memory a test sets."""

    rss = 100

    def __call__(self) -> Resources:
        return Resources(rss=self.rss, vms=0, cpu=0.0, threads=1, descriptors=3)


def system_with(
    *children: Child[Any],
    meter: Meter,
    events: list[Event],
    metrics: Metrics | None = None,
    **options: Any,
) -> tuple[System, Child[Watchdog]]:
    metrics = metrics or Metrics()
    options = {"loop_limit": None, "meter": meter, **options}
    watchdog = Child("watchdog", lambda: Watchdog(system.root, metrics, **options))
    system = System(
        watchdog, *children, on_event=[metrics, events.append], measure=meter
    )
    return system, watchdog


def only(events: list[Event], kind: type[Event]) -> Iterator[Event]:
    return (event for event in events if isinstance(event, kind))


# -- memory -------------------------------------------------------------------------


@attrs.frozen
class Load(Ask["Loader", None]):
    """Two readings apart by ``seconds``; the second is ``rss``."""

    rss: int
    seconds: float = 0.0


class Loader(Actor):
    def __init__(self, meter: Readings) -> None:
        self._meter = meter

    @Load.handled
    async def load(self, m: Load) -> None:
        async with self.ctx.operation("load"):
            self._meter.rss = m.rss
            await trio.sleep(m.seconds)


async def test_memory_over_the_previous_peak_is_reported(events: list[Event]) -> None:
    meter = Readings()
    loader = Child("loader", lambda: Loader(meter))
    system, _ = system_with(loader, meter=meter, events=events)
    async with system:
        await system.ref(loader).ask(Load(150))
        await system.ref(loader).ask(Load(226))
        await system.ref(loader).ask(Load(226))
        await trio.sleep(1)
    assert list(only(events, HighMemory)) == [
        HighMemory("app/loader", "load", current=226, previous_peak=150)
    ]


async def test_memory_is_looked_at_while_an_operation_goes_on(
    events: list[Event],
) -> None:
    meter, at = Readings(), list[float]()
    loader = Child("loader", lambda: Loader(meter))
    system, _ = system_with(loader, meter=meter, events=events, every=10)
    async with system:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(system.ref(loader).ask, Load(160, seconds=25))
            await trio.sleep(10.5)
            at.append(len(list(only(events, HighMemory))))
    assert at == [1], "not only at its end"
    assert len(list(only(events, HighMemory))) == 1


# -- contention ---------------------------------------------------------------------


class Crowd(Actor):
    """Three that need the one permit for a minute each."""

    async def run(self) -> None:
        self._permits = trio.Semaphore(1)
        for _ in range(3):
            await self.ctx.start(self.work)
        await trio.sleep_forever()

    async def work(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        for _ in range(10):
            with waiting(self.ctx, "permit"):
                await self._permits.acquire()
            await trio.sleep(1)
            self._permits.release()
        await trio.sleep_forever()


async def test_too_many_that_wait_for_a_permit_are_contention(
    events: list[Event],
) -> None:
    system, _ = system_with(
        Child("crowd", Crowd), meter=Readings(), events=events, every=10
    )
    async with system:
        await trio.sleep(60)
    (contended,) = only(events, Contended)
    assert isinstance(contended, Contended)
    assert (contended.path, contended.what) == ("app/crowd", "permit")
    assert 1.5 < contended.waiting <= 2


@attrs.frozen
class Chew(Tell["Slow"]):
    pass


class Slow(Actor):
    @Chew.handled
    async def chew(self, m: Chew) -> None:
        await trio.sleep(5)


async def test_senders_that_wait_for_room_are_contention(events: list[Event]) -> None:
    slow = Child("slow", Slow, mailbox=1)
    system, _ = system_with(slow, meter=Readings(), events=events, every=10)
    async with system, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(system.ref(slow).send, Chew())
    paths = {(e.path, e.what) for e in only(events, Contended)}  # type: ignore[attr-defined]
    assert paths == {("app/slow", "room")}


async def test_what_was_waited_before_the_watchdog_began_is_no_contention(
    events: list[Event],
) -> None:
    metrics = Metrics()
    metrics.see(Waited("app/watchdog", "permit", 1000.0), 0.0)
    system, watchdog = system_with(
        meter=Readings(), events=events, metrics=metrics, every=10
    )
    async with system:
        await trio.sleep(15)
        await system.restart(watchdog)
        await trio.sleep(15)
    assert list(only(events, Contended)) == []


# -- what is over -------------------------------------------------------------------


async def test_an_actor_that_is_gone_is_forgotten_at_the_next_look(
    events: list[Event],
) -> None:
    metrics, meter = Metrics(), Readings()
    system, _ = system_with(meter=meter, events=events, metrics=metrics, every=10)
    async with system:
        first = Child("loader", lambda: Loader(meter))
        await (await system.start(first)).ask(Load(1000))
        await system.stop(first)
        await trio.sleep(10.5)
        assert set(metrics._actors) == {"app", "app/watchdog"}

        meter.rss = 100
        second = await system.start(Child("loader", lambda: Loader(meter)))
        await second.ask(Load(160))
        await trio.sleep(1)
    peaks = [e.previous_peak for e in events if isinstance(e, HighMemory)]
    assert peaks == [100, 100], "not the 1000 of its predecessor"


# -- the loop -----------------------------------------------------------------------


@attrs.frozen
class Block(Tell["Blocker"]):
    until: Callable[[], object]


class Blocker(Actor):
    @Block.handled
    def block(self, m: Block) -> None:
        m.until()


@pytest.mark.real
async def test_a_blocked_loop_becomes_an_event_about_whoever_blocked_it(
    events: list[Event], capfd: pytest.CaptureFixture[str]
) -> None:
    blocker = Child("blocker", Blocker)
    system, _ = system_with(
        blocker, meter=Readings(), events=events, loop_limit=0.1, every=0.05
    )
    with trio.fail_after(30):
        async with system:
            # The test cannot know when the thread has noticed: it keeps asking.
            while not any(only(events, LoopBlocked)):
                system.ref(blocker).tell(Block(lambda: threading.Event().wait(0.3)))
                await trio.sleep(0.05)
    blocked = next(only(events, LoopBlocked))
    assert isinstance(blocked, LoopBlocked)
    assert blocked.path == "app/blocker"
    assert blocked.seconds >= 0.1
    assert blocked.where.startswith(__file__)
    assert "blocked for" in capfd.readouterr().err, "said at once, by the thread"
    assert "actor-tree loop watch" not in {t.name for t in threading.enumerate()}


# -- looking ------------------------------------------------------------------------


async def test_a_summary_of_the_tree_comes_at_regular_intervals(
    events: list[Event],
) -> None:
    class Fickle(Actor):
        async def run(self) -> None:
            await trio.sleep(200)
            raise ValueError("tired")

    meter = Readings()
    system, _ = system_with(
        Child("fickle", Fickle), meter=meter, events=events, summary=300
    )
    async with system:
        await trio.sleep(301)
    (summary,) = only(events, Summary)
    assert summary == Summary(
        "app/watchdog",
        actors=3,
        not_running={},
        restarts=1,
        errors={"ValueError": 1},
        resources=meter(),
    )


async def test_metrics_of_the_whole_tree_are_one_question(events: list[Event]) -> None:
    system, watchdog = system_with(Child("slow", Slow), meter=Readings(), events=events)
    async with system:
        metrics = await system.ref(watchdog).ask(GetMetrics())
    assert set(metrics) == {"app", "app/watchdog", "app/slow"}
    assert metrics["app/slow"].lives.started == 1


@pytest.mark.real
async def test_open_files_are_named_on_demand(
    events: list[Event], tmp_path: Path
) -> None:
    system, watchdog = system_with(meter=Meter(), events=events)
    with (tmp_path / "held").open("w") as file:
        async with system:
            assert file.name in await system.ref(watchdog).ask(GetOpenFiles())


# -- what an incarnation holds ------------------------------------------------------


class Holder(Actor):
    async def started(self) -> None:
        self.ctx.cleanup("close the file", self._close)
        (self.ctx.temp_dir() / "part").write_bytes(b"12345")
        self._file = (self.ctx.temp_dir() / "open").open("wb")

    async def _close(self) -> None:
        self._file.close()


@pytest.mark.real
async def test_what_an_incarnation_holds_is_known_as_far_as_it_said_so() -> None:
    holder, bare = Child("holder", Holder), Child("bare", Actor)
    async with System(holder, bare) as system:
        held = await holdings(system.ref(holder))
        assert (held.temp_files, held.temp_bytes, held.descriptors) == (2, 5, 1)
        assert "close the file" in held.steps
        assert (await holdings(system.ref(bare))).temp_files == 0
    assert (await holdings(system.ref(holder))).steps == ()
