"""The actors of the scenes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import ClassVar, Literal

import attrs
import trio
from seen import Crashing, Handled, Made, PutAway, ask

from actors import (
    Actor,
    Ask,
    Deferred,
    Exit,
    Inbox,
    Ref,
    Tell,
    function_actor,
)
from actors.events import Failed, Started
from actors.testing import World


@attrs.frozen
class Do(Ask["Worker", int]):
    number: int
    seconds: float = 0.0


@attrs.frozen
class DoWhileWanted(Ask["Worker", int]):
    abandon: ClassVar[Literal["finish", "cancel"]] = "cancel"
    number: int
    seconds: float = 0.0


@attrs.frozen
class DoLater(Ask["Worker", int]):
    number: int
    seconds: float = 0.0


@attrs.frozen
class PassOn(Ask["Worker", int]):
    """Ask somebody else, and tell it something, before answering."""

    number: int
    to: Ref[Worker]


@attrs.frozen
class Note(Tell["Worker | Quiet | Stubborn"]):
    seconds: float = 0.0


@attrs.frozen
class Crash(Tell["Worker"]):
    system: ClassVar[bool] = True


class Worker(Actor):
    """Has things to put away, and answers in every way there is."""

    def __init__(self, world: World, start: float = 0.1) -> None:
        self._world = world
        self._start = start

    def _emit(self, kind: type[Made | PutAway], what: str) -> None:
        self._world.trace(kind(f"{self.ctx.me.path}#{self.ctx.incarnation}", what))

    async def started(self) -> None:
        self._emit(Made, "step")
        self.ctx.cleanup("step", self._put_away)
        await self.ctx.enter(self._held())
        await self.ctx.start(self._beside)
        (self.ctx.temp_dir() / "file").write_text("x")
        await trio.sleep(self._start)

    async def run(self) -> None:
        with self.ctx.subscribe(Started, Failed) as events:
            async for _ in events:
                await trio.lowlevel.checkpoint()

    async def stopping(self, exit_: Exit) -> None:
        await trio.sleep(0.1)

    async def _put_away(self) -> None:
        self._emit(PutAway, "step")
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def _held(self) -> AsyncGenerator[None]:
        self._emit(Made, "held")
        try:
            await trio.lowlevel.checkpoint()
            yield
        finally:
            self._emit(PutAway, "held")

    async def _beside(self, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()
        task_status.started()
        await trio.sleep_forever()

    def _begin(self, number: int) -> None:
        self._world.trace(Handled(self.ctx.me.path, number))

    @Do.handled
    async def do(self, m: Do) -> int:
        self._begin(m.number)
        async with self.ctx.operation("do", soft=0.5, hard=5):
            await trio.sleep(m.seconds)
        return m.number

    @DoWhileWanted.handled
    async def do_while_wanted(self, m: DoWhileWanted) -> int:
        self._begin(m.number)
        await trio.sleep(m.seconds)
        return m.number

    @DoLater.handled
    def do_later(self, m: DoLater) -> Deferred[int]:
        self._begin(m.number)

        async def work() -> int:
            await trio.sleep(m.seconds)
            return m.number

        return self.ctx.defer(work)

    @PassOn.handled
    async def pass_on(self, m: PassOn) -> int:
        self._begin(m.number)
        for _ in range(3):
            await m.to.send(Note(0.1))
        await ask(self._world, m.to, Do(m.number + 100, 0.1), timeout=5)
        return m.number

    @Note.handled
    async def note(self, m: Note) -> None:
        await trio.sleep(m.seconds)

    @Crash.handled
    def crash(self, m: Crash) -> None:
        raise Crashing


class Quiet(Actor):
    """Has neither a start nor an end of its own, only a handler."""

    @Note.handled
    async def note(self, m: Note) -> None:
        await trio.sleep(m.seconds)


@attrs.frozen
class Blip(Tell["Quick"]):
    pass


class Quick(Actor):
    @Blip.handled
    def blip(self, m: Blip) -> None:
        pass


@attrs.frozen
class Tick(Tell["Reader"]):
    pass


@attrs.frozen
class Get(Ask["Reader", int]):
    number: int


class Reader:
    """The protocol of a function."""


@function_actor
async def reader(inbox: Inbox[Reader], world: World) -> None:
    slow = inbox.ctx.find("app/slow", Quiet)
    await trio.sleep(0.1)
    await inbox.receive(Tick)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(slow.send, Note(0.1))
    async for envelope in inbox:
        if isinstance(envelope.message, Get):
            world.trace(Handled(inbox.ctx.me.path, envelope.message.number))
            await trio.sleep(0.1)
            envelope.reply(envelope.message.number)


class Stubborn(Actor):
    """Shields itself for a while: in its start, or in a handler."""

    def __init__(self, start: float, handler: float) -> None:
        self._start = start
        self._handler = handler

    async def started(self) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self._start)

    @Note.handled
    async def note(self, m: Note) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self._handler)
