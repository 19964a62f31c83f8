"""One actor beside a block of code: what `open_actor` and a system are made of."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import trio

from actors._core.exits import KILLED, Exit
from actors._core.incarnation import Incarnation
from actors._core.mailbox import STOP, Mailbox, Overflow
from actors._core.refs import Ref
from actors._core.runtime import Runtime
from actors.events import Sink

P = TypeVar("P")


class Host(Generic[P]):
    """Runs one actor while a block runs.

    Leaving the block, by whatever way, asks the actor to stop and waits for it. So
    it stops in order also when the host cancels: the actor runs behind a shield,
    the only one there is, and from the moment a stop is wanted the shield lasts
    ``shutdown`` seconds at the most. Cancelled while entering, the start is
    interrupted.

    If the actor ends first, the block is cancelled. What the block itself raises
    leaves unchanged.
    """

    def __init__(
        self,
        factory: Callable[[], P],
        *,
        name: str,
        runtime: Runtime,
        mailbox: int = 64,
        overflow: Overflow = "wait",
        handler_timeout: float | None = 30.0,
        shutdown: float = 30.0,
        cleanup: float = 2.0,
    ) -> None:
        _check(name, factory, handler_timeout, shutdown, cleanup)
        self.ref: Ref[P] = Ref(Mailbox(name, mailbox, runtime, overflow))
        runtime.registry.root(self.ref)
        self.runtime = runtime
        self._life = partial(
            Incarnation,
            self.ref,
            factory,
            handler_timeout=handler_timeout,
            cleanup=cleanup,
        )
        self.exit: Exit | None = None
        """How the actor ended; None while it lives."""
        self._shutdown = shutdown
        self._shield = trio.CancelScope(shield=True)
        self._ready = trio.Event()
        self.was_up = False
        """Whether it ever got as far as having started. If not, so that the block
        is about to be cancelled, enter nothing and leave at once."""
        self._nursery: AbstractAsyncContextManager[trio.Nursery]
        self._block = trio.CancelScope()
        self.leaving = trio.Event()
        """Set once the block is being left, by whatever way."""

    @property
    def deadline(self) -> float:
        """When the shield ends, in trio time; inf until the block is being left."""
        return self._shield.deadline

    def cancel_block(self, reason: str) -> None:
        """End the block, or the wait for it to begin; the actor is asked to stop."""
        self._ready.set()
        self._block.cancel(reason=reason)

    async def __aenter__(self) -> Self:
        self._nursery = trio.open_nursery()
        nursery = await self._nursery.__aenter__()
        self._block = nursery.cancel_scope
        nursery.start_soon(self._main)
        try:
            await self._ready.wait()
        except BaseException as error:
            if (life := self.ref._mailbox.life) is not None:
                life.interrupt(None, reason="cancelled while starting")
            # Bounded by the shield, whose deadline is what this sets first.
            await self.__aexit__(type(error), error, error.__traceback__)  # noqa: ASYNC102
            raise
        return self

    async def _main(self) -> None:
        exit_ = KILLED
        try:
            # What all actors rely on outlives them: also one that shields itself
            # beyond the bound.
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as services:
                    await services.start(self.runtime.run)
                    with self._shield:
                        async with trio.open_nursery() as home:
                            exit_ = await self._live(home)
                    services.cancel_scope.cancel()
        finally:
            # What was cancelled from outside has no result, but has left its exit.
            self.exit = exit_ = self.ref._mailbox.last_exit or exit_
            self.runtime.registry.close(self.ref, exit_)
            self.runtime.registry.close_all(exit_)
            self.cancel_block(f"{self.ref.path} has ended ({exit_.kind})")

    async def _live(self, home: trio.Nursery) -> Exit:
        if self.leaving.is_set():
            return KILLED  # cancelled before there was a life
        life = self._life(home, self._started)
        life.make()
        life.settle_in(trio.lowlevel.current_task())
        try:
            return await life.live()
        finally:
            life.leash.let_go()

    def _started(self) -> None:
        self.was_up = True
        self._ready.set()

    def hurry(self) -> None:
        """Let what is left of ``shutdown`` be over now."""
        self._shutdown = 0
        self._shield.deadline = trio.current_time()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._shield.deadline = trio.current_time() + self._shutdown
        self.leaving.set()
        self.ref._mailbox.post(STOP)
        try:
            # Whoever waits here is shielded itself, until the deadline just set.
            return await self._nursery.__aexit__(kind, error, traceback)  # noqa: ASYNC102
        except BaseExceptionGroup as group:
            # The nursery wraps what the block raised; alone, it leaves as it came.
            if group.exceptions == (error,):
                return False
            raise


def _check(
    name: str,
    factory: object,
    handler_timeout: float | None,
    shutdown: float,
    cleanup: float,
) -> None:
    if not name or "/" in name:
        raise ValueError(
            f"an actor's name is one part of a path: not empty, no '/'; got {name!r}"
        )
    if not callable(factory):
        raise TypeError(
            f"the factory of {name!r} is called to make the actor, got {factory!r}; "
            "pass the class, or a function that makes a fresh one"
        )
    if handler_timeout is not None and not handler_timeout > 0:
        raise ValueError(
            f"{name}: handler_timeout must be positive, got {handler_timeout!r}; "
            "None: no limit"
        )
    if not shutdown >= 0:
        raise ValueError(f"{name}: shutdown must not be negative, got {shutdown!r}")
    if not 0 <= cleanup < math.inf:
        raise ValueError(
            f"{name}: cleanup must be 0 or more seconds and finite, as nobody could "
            f"interrupt it; got {cleanup!r}"
        )


@asynccontextmanager
async def open_actor(
    factory: Callable[[], P],
    *,
    name: str = "actor",
    mailbox: int = 64,
    overflow: Overflow = "wait",
    handler_timeout: float | None = 30.0,
    shutdown: float = 30.0,
    cleanup: float = 2.0,
    on_event: Sequence[Sink] = (),
    metrics: bool = True,
) -> AsyncGenerator[Ref[P], None]:
    """Run one actor beside a block of code.

    Use it as ``async with open_actor(Counter) as counter:``, with a `Ref`.

    Leaving the block stops the actor after the message in hand. Nobody restarts it:
    if it fails, the block is cancelled, and unless the block raised something itself
    the failure is raised here. Cancelled, it stops in order too: behind a shield that
    lasts ``shutdown`` seconds from then on at the most, and the cleanup after it.

    Raises:
        TypeError: the factory cannot be called.
        ValueError: a name, a size or a number of seconds that cannot be meant.
    """
    host: Host[Any] = Host(
        factory,
        name=name,
        runtime=Runtime(on_event, metrics=metrics),
        mailbox=mailbox,
        overflow=overflow,
        handler_timeout=handler_timeout,
        shutdown=shutdown,
        cleanup=cleanup,
    )
    async with host:
        if host.was_up:
            yield host.ref
    if host.exit is not None and host.exit.failure is not None:
        raise host.exit.failure
