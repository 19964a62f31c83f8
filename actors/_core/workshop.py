"""The nursery of one incarnation: for `run`, deferred answers and tasks of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import trio

from actors._core.exits import collapse
from actors._core.refs import serving

Job = Callable[..., Awaitable[object]]


class Workshop:
    """A nursery that is opened on first use, in a task of its own.

    Most actors never need one, and an idle nursery costs as much memory as its task.
    """

    __slots__ = ("_closing", "_failed", "_jobs", "_nursery", "_over", "home")

    def __init__(self, home: trio.Nursery, failed: Callable[[Exception], None]) -> None:
        self.home = home
        """Where the task of the nursery runs, beside that of the reader."""
        self._failed = failed
        """Told when a task of the nursery has failed and all others are over."""
        self._nursery: trio.Nursery | None = None
        self._jobs: tuple[tuple[Job, tuple[object, ...]], ...] = ()
        """What is to be started as soon as the nursery is open."""
        # Invariant: set iff its task was spawned.
        self._over: trio.Event | None = None
        self._closing = False

    @property
    def used(self) -> bool:
        """Whether there is, or has been, a task of it."""
        return self._over is not None

    @property
    def nursery(self) -> trio.Nursery:
        """That of its tasks, which somebody has waited for with `open`."""
        return cast("trio.Nursery", self._nursery)

    def start_soon(self, job: Job, *args: object) -> None:
        """Spawn a task; if it raises, the others are cancelled and ``failed`` told.

        It serves nobody: what it waits for keeps nobody waiting.
        """
        token = serving.set(None)  # a task inherits the context of whoever spawns it
        try:
            if self._nursery is not None:
                self._nursery.start_soon(job, *args)
                return
            self._jobs = (*self._jobs, (job, args))
            if self._over is None:
                self._over = trio.Event()
                self.home.start_soon(self._run, self._over)
        finally:
            serving.reset(token)

    async def open(self) -> trio.Nursery:
        """Wait until the nursery is open, and return it.

        Raises:
            RuntimeError: the incarnation has ended.
        """
        opened = trio.Event()
        if not self._closing:
            self.start_soon(_set, opened)
            await opened.wait()
        if self._nursery is None:
            raise RuntimeError(
                "a task was to be started for an incarnation that has ended"
            )
        return self._nursery

    def close(self) -> trio.Event | None:
        """Cancel all tasks; return what is set once none is left, if there were any."""
        self._closing = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason="its incarnation has ended")
        elif self._over is None or self._over.is_set():
            # The incarnation, which has us, would else go only with the collector.
            self._failed = _nobody
        return self._over

    async def _run(self, over: trio.Event) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for job, args in self._jobs:
                    nursery.start_soon(job, *args)
                self._jobs = ()
                if self._closing:
                    nursery.cancel_scope.cancel(reason="its incarnation has ended")
                await trio.sleep_forever()
        except Exception as error:
            self._failed(collapse(error))
        except BaseExceptionGroup as group:
            # Cancelled from outside, and something failed: only the first travels on.
            failed, rest = group.split(Exception)
            if failed is None or rest is None:
                raise
            self._failed(collapse(failed))
            raise rest from None
        finally:
            self._nursery = None
            over.set()


def _nobody(_error: Exception) -> None:
    """There is no task that could fail."""


async def _set(event: trio.Event) -> None:
    event.set()
