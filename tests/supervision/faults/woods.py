"""Trees of many shapes, and an actor that does all that an actor can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from itertools import count
from random import Random
from typing import Any, ClassVar, Literal

import attrs
import trio

from actors import (
    Actor,
    ActorError,
    Ask,
    Deferred,
    Envelope,
    Inbox,
    Message,
    Rejected,
    Stop,
    Tell,
    function_actor,
)
from supervision import (
    AutoShutdown,
    Backoff,
    Child,
    DynamicSupervisor,
    Intensity,
    Restart,
    StartChild,
    Strategy,
    Supervisor,
    pool_of,
)
from supervision.testing import Tree

STRATEGIES: Sequence[Strategy] = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS: Sequence[Restart] = ("permanent", "permanent", "transient", "temporary")
ENDINGS: Sequence[AutoShutdown] = (
    "never",
    "never",
    "any_significant",
    "all_significant",
)


@attrs.frozen
class Note(Tell["Hand"]):
    pass


@attrs.frozen
class End(Tell["Hand"]):
    """End yourself."""


@attrs.frozen
class Ping(Ask["Hand", int]):
    pass


@attrs.frozen
class Nap(Ask["Hand", int]):
    seconds: float


@attrs.frozen
class Doze(Ask["Hand", int]):
    """As `Nap`, but it ends with its asker."""

    seconds: float
    abandon: ClassVar[Literal["finish", "cancel"]] = "cancel"


@attrs.frozen
class Refuse(Ask["Hand", int]):
    pass


@attrs.frozen
class Later(Ask["Hand", int]):
    pass


@attrs.frozen
class Pass(Ask["Hand", int]):
    """Ask another, who may ask in turn."""

    to: str


class Hand(Actor):
    @Note.handled
    def note(self, m: Note) -> None:
        pass

    @End.handled
    def end(self, m: End) -> None:
        raise Stop

    @Ping.handled
    def ping(self, m: Ping) -> int:
        return self.ctx.incarnation

    @Nap.handled
    async def nap(self, m: Nap) -> int:
        await trio.sleep(m.seconds)
        return self.ctx.incarnation

    @Doze.handled
    async def doze(self, m: Doze) -> int:
        await trio.sleep(m.seconds)
        return self.ctx.incarnation

    @Refuse.handled
    def refuse(self, m: Refuse) -> int:
        raise Rejected("no")

    @Later.handled
    def later(self, m: Later) -> Deferred[int]:
        return self.ctx.defer(self._work)

    async def _work(self) -> int:
        await trio.sleep(1)
        return self.ctx.incarnation

    @Pass.handled
    async def give(self, m: Pass) -> int:
        try:
            other = self.ctx.find(m.to, Hand)
        except LookupError:
            raise Rejected("nobody there") from None
        return await other.ask(Ping(), timeout=5)


class BusyHand(Hand):
    """Has a start that takes time, and a body and a timer beside its messages."""

    async def started(self) -> None:
        self.ctx.every(2.0, Note())
        await trio.sleep(0.01)

    async def run(self) -> None:
        await trio.sleep(7)


class Opener(Hand):
    """Starts others while it starts itself."""

    async def started(self) -> None:
        others = self.ctx.find("app/others", DynamicSupervisor)
        for name in "xy":
            with suppress(Rejected, ActorError):
                child = Child(name, Hand, mailbox=3, restart="transient")
                await others.ask(StartChild(child), timeout=5)


@function_actor
async def reading_hand(inbox: Inbox[Hand]) -> None:
    async for envelope in inbox:
        answer(envelope)


def answer(envelope: Envelope[Any]) -> None:
    if isinstance(envelope.message, End):
        raise Stop
    if isinstance(envelope.message, Ask):
        envelope.reply(1)


class Growth:
    """Draws one tree: three levels, all strategies, policies and kinds of children."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.paths: list[str] = []
        self._names = count()

    def children(self) -> list[Child[Any]]:
        """Those of the root; the first is a plain actor."""
        return [self.hand("app", "never"), *self.some("app", 2, "never")]

    def some(self, path: str, depth: int, auto: AutoShutdown) -> Iterator[Child[Any]]:
        for _ in range(self.random.randint(1, 3)):
            if depth and self.random.random() < 0.4:
                yield self.branch(path, depth - 1, auto)
            elif self.random.random() < 0.15:
                yield self.pool(path)
            else:
                yield self.hand(path, auto)

    def policy(self, auto: AutoShutdown) -> dict[str, Any]:
        restart = self.random.choice(RESTARTS)
        may = auto != "never" and restart != "permanent"
        return {"restart": restart, "significant": may and self.random.random() < 0.5}

    def hand(self, path: str, auto: AutoShutdown) -> Child[Any]:
        name = f"h{next(self._names)}"
        self.paths.append(f"{path}/{name}")
        kinds: Sequence[Callable[[], Any]] = (Hand, Hand, BusyHand, reading_hand())
        return Child(
            name,
            self.random.choice(kinds),
            mailbox=self.random.choice([1, 3]),
            overflow=self.random.choice(["wait", "wait", "drop_oldest"]),
            shutdown=self.random.choice([None, 1.0]),
            handler_timeout=self.random.choice([30.0, 4.0, None]),
            **self.policy(auto),
        )

    def pool(self, path: str) -> Child[Any]:
        name = f"p{next(self._names)}"
        self.paths.append(f"{path}/{name}")
        worker = Child(name, Hand, mailbox=3)
        route: Any = self.random.choice(["idle", "round_robin"])
        return pool_of(worker, size=2, route=route, intensity=Intensity(9, 99))

    def branch(self, path: str, depth: int, auto: AutoShutdown) -> Child[Any]:
        name, own = f"s{next(self._names)}", self.random.choice(ENDINGS)
        children = [*self.some(f"{path}/{name}", depth, own)]
        options: dict[str, Any] = {
            "strategy": self.random.choice(STRATEGIES),
            "intensity": Intensity(self.random.randint(0, 4), within=20),
            "backoff": self.random.choice([Backoff(0, 1, 0), Backoff(0.1, 2, 1)]),
        }
        make = partial(Supervisor, *children, auto_shutdown=own, **options)
        return Child(name, make, **self.policy(auto))


def opened() -> Tree:
    """One whose children come and go."""
    paths = ("app/others/x", "app/others/y", "app/opener")
    messages: list[Message[Any]] = [
        *(Note(), End(), Ping(), Nap(3), Later()),
        *map(Pass, paths),
    ]
    limit = Intensity(3, within=20)
    return Tree(
        lambda: [
            Child("others", lambda: DynamicSupervisor(intensity=limit)),
            Child("opener", Opener, mailbox=3),
        ],
        strategy="rest_for_one",
        messages=dict.fromkeys(paths, messages),
    )


@cache
def tree(seed: int) -> Tree:
    """One of as many trees as there are numbers."""
    growth = Growth(Random(seed))
    growth.children()
    messages: list[Message[Any]] = [
        *(Note(), End(), Ping(), Nap(0.5), Nap(3), Doze(2), Refuse(), Later()),
        *map(Pass, growth.paths[:3]),
    ]
    return Tree(
        lambda: Growth(Random(seed)).children(),
        strategy=Random(seed).choice(STRATEGIES),
        intensity=Intensity(6, within=30),
        messages=dict.fromkeys(growth.paths, messages),
    )
