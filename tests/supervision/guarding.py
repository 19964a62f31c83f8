"""A peer that fails as it is told, behind a guarded ref: for the tests of breakers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random

import attrs
import pytest
import trio

from actors import (
    Actor,
    Ask,
    Ref,
    Tell,
)
from actors.events import Event
from supervision import (
    Backoff,
    BreakerOpen,
    BreakerPolicy,
    Breakers,
    Child,
    GetBreakers,
    Intensity,
    System,
    guard,
)
from supervision.breakers import Probe
from supervision.events import (
    BreakerClosed,
    BreakerHalfOpen,
    BreakerOpened,
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
