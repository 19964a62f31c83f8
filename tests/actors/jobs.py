"""An actor that does what it is handed, for the tests of who waits for whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from actors import Actor, Ask, Deferred, Ref, Tell
from supervision import Child, System

Job = Callable[["Worker"], Awaitable[Any]]


@attrs.frozen
class Do(Ask["Worker", Any]):
    """Do something in a handler."""

    job: Job


@attrs.frozen
class Later(Ask["Worker", Any]):
    """Do it in a task that answers later."""

    job: Job


@attrs.frozen
class Told(Tell["Worker"]):
    job: Job


@attrs.frozen
class Ping(Ask["Worker", str]):
    pass


class Worker(Actor):
    nursery: trio.Nursery

    async def started(self) -> None:
        self.nursery = await self.ctx.enter(trio.open_nursery())

    @Do.handled
    async def do(self, m: Do) -> Any:
        return await m.job(self)

    @Later.handled
    def later(self, m: Later) -> Deferred[Any]:
        return self.ctx.defer(lambda: m.job(self))

    @Told.handled
    async def told(self, m: Told) -> None:
        await m.job(self)

    @Ping.handled
    def ping(self, m: Ping) -> str:
        return self.ctx.me.path


def asks(ref: Ref[Worker], message: Ask[Worker, Any]) -> Job:
    async def job(worker: Worker) -> Any:
        return await ref.ask(message)

    return job


def sleeps(seconds: float) -> Job:
    async def job(worker: Worker) -> None:
        await trio.sleep(seconds)

    return job


def system_of(names: str, **options: Any) -> tuple[System, list[Ref[Worker]]]:
    children = [Child(name, Worker, **options) for name in names]
    system = System(*children, name="app")
    return system, [system.ref(child) for child in children]
