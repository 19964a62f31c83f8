"""Whatever comes together, the promises are kept."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import trio
from hypothesis import given, settings, strategies as st
from parts import Crash, End, Freeze, Life, Nap, Part
from trio.testing import MockClock

from actors import ActorCrashed, ActorGone, Exit, Ref, Rejected
from actors.events import Cleaned, Event, Failed, Started, Stopped
from supervision import (
    AutoShutdown,
    Backoff,
    Child,
    DynamicSupervisor,
    GetTree,
    Intensity,
    Restart,
    RestartChild,
    StartChild,
    StopChild,
    Strategy,
    Supervisor,
    System,
    SystemFailed,
)
from supervision.events import Crashed

STRATEGIES: list[Strategy] = ["one_for_one", "one_for_all", "rest_for_one"]
RESTARTS: list[Restart] = ["permanent", "transient", "temporary"]
ENDINGS: list[AutoShutdown] = ["never", "any_significant", "all_significant"]


class Moody(Part):
    """Starts slowly, or not at all, and is as slow to leave."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random

    async def started(self) -> None:
        # A tree that does not start shows little.
        if self.ctx.incarnation > 1 or self.random.random() < 0.05:
            await self._bide()
            if self.random.random() < 0.15:
                raise OSError("not today")
        await super().started()

    async def run(self) -> None:
        if self.random.random() < 0.3:
            await trio.sleep(self.random.uniform(0, 30))
            if self.random.random() < 0.5:
                raise KeyError("in the background")

    async def stopping(self, exit_: Exit) -> None:
        await self._bide()
        if self.random.random() < 0.1:
            raise OSError("on the way out")

    async def _bide(self) -> None:
        kind = self.random.random()
        if kind < 0.3:
            await trio.sleep(self.random.uniform(0, 4))
        elif kind < 0.35:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.random.uniform(0, 12))


class Chaos:
    """A random tree, and a random course of events."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.events: list[Event] = []
        self.parts: list[Child[Any]] = []
        self.supervisors: list[Child[Any]] = []
        self.unanswered = 0
        self._names = iter(range(1000))

    def part(self, auto: AutoShutdown = "never") -> Child[Any]:
        random, restart = self.random, self.random.choice(RESTARTS)
        may = auto != "never" and restart != "permanent"
        child: Child[Any] = Child(
            f"p{next(self._names)}",
            lambda: Moody(random),
            restart=restart,
            significant=may and random.random() < 0.5,
            start_timeout=2,
            shutdown=2,
            cleanup=1,
            handler_timeout=5,
        )
        self.parts.append(child)
        return child

    def supervisor(self, depth: int, auto: AutoShutdown) -> Child[Any]:
        random = self.random
        make: Callable[[], Supervisor]
        if random.random() < 0.2:
            make = lambda: DynamicSupervisor(intensity=Intensity(3, 20))  # noqa: E731
        else:
            options = self.options()
            own = options["auto_shutdown"]
            children = [self.member(depth, own) for _ in range(random.randint(1, 4))]
            make = lambda: Supervisor(*children, **options)  # noqa: E731
        child: Child[Any] = Child(
            f"s{next(self._names)}",
            make,
            restart=random.choice(RESTARTS),
            start_timeout=random.choice([5, 60]),
            shutdown=random.choice([None, None, 3]),
        )
        self.supervisors.append(child)
        return child

    def member(self, depth: int, auto: AutoShutdown) -> Child[Any]:
        if depth and self.random.random() < 0.4:
            return self.supervisor(depth - 1, auto)
        return self.part(auto)

    def options(self) -> dict[str, Any]:
        return {
            "strategy": self.random.choice(STRATEGIES),
            "auto_shutdown": self.random.choice(ENDINGS),
            "intensity": Intensity(self.random.randint(0, 6), within=100),
            "backoff": self.random.choice(
                [Backoff(first=0, cap=0), Backoff(first=1, cap=8, healthy=5)]
            ),
        }

    # -- the course of events ---------------------------------------------------------

    async def run(self) -> None:
        random = self.random
        options = self.options()
        own = options["auto_shutdown"]
        # One part at least, for there are random trees of supervisors only.
        children = [self.part(own), *(self.member(2, own) for _ in range(2))]
        options["intensity"] = Intensity(random.choice([3, 50]), within=1000)
        system = System(
            *children,
            **options,
            shutdown=random.choice([5, 30]),
            on_event=[self.events.append],
            random=Random(random.random()),
        )
        with trio.move_on_after(random.choice([1, 20, 1000])):
            try:
                async with system, trio.open_nursery() as nursery:
                    for _ in range(random.randint(1, 30)):
                        nursery.start_soon(self.act, system)
                        if random.random() < 0.5:
                            await trio.sleep(random.uniform(0, 3))
            except* SystemFailed:
                pass

    async def act(self, system: System) -> None:
        random = self.random
        part = system.ref(random.choice(self.parts))
        boss: Ref[Supervisor] = system.root
        if self.supervisors and random.random() < 0.6:
            boss = system.ref(random.choice(self.supervisors))
        name = random.choice([*self.parts, *self.supervisors]).name
        acts: list[Callable[[], Any]] = [
            lambda: part.send(Crash()),
            lambda: part.send(End()),
            lambda: part.ask(Life()),
            lambda: part.ask(Nap(random.uniform(0, 8))),
            lambda: part.ask(Freeze(random.uniform(0, 12))),
            lambda: boss.ask(StopChild(name, forget=random.random() < 0.5)),
            lambda: boss.ask(RestartChild(name)),
            lambda: boss.ask(StartChild(self.part())),
            lambda: boss.ask(GetTree()),
        ]
        self.unanswered += 1
        try:
            await random.choice(acts)()
        except (ActorGone, ActorCrashed, Rejected):
            pass
        finally:
            self.unanswered -= 1


@given(st.integers(0, 2**32))
@settings(max_examples=150)
def test_whatever_happens_lives_do_not_overlap_and_all_is_over_at_the_end(
    seed: int,
) -> None:
    chaos = Chaos(seed)

    async def bounded() -> None:
        with trio.fail_after(3000):
            await chaos.run()

    trio.run(bounded, clock=MockClock(autojump_threshold=0))
    assert chaos.unanswered == 0
    began: dict[str, int] = {}
    for event in chaos.events:
        path = event.path
        if isinstance(event, Started):
            assert path not in began, f"{path}: two lives at once"
            began[path] = event.incarnation
        elif isinstance(event, Cleaned):
            assert began.pop(path, event.incarnation) == event.incarnation
    assert began == {}, "each life was cleaned up"
    cleaned = [(e.path, e.incarnation) for e in chaos.events if isinstance(e, Cleaned)]
    ended = [
        (e.path, e.incarnation) for e in chaos.events if isinstance(e, Failed | Stopped)
    ]
    assert len(set(cleaned)) == len(cleaned), "once"
    assert len(set(ended)) == len(ended), "one end each"
    crashed = [(e.path, e.incarnation) for e in chaos.events if isinstance(e, Crashed)]
    assert len(set(crashed)) == len(crashed), "one report each"
