"""The nursery of one incarnation: for `run`, deferred answers and tasks of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import trio

from actors._core.exits import collapse
from actors._core.refs import serving

Job = Callable[..., Awaitable[object]]


class Workshop:
    """A nursery in a task of its own.

    It is made when it is first needed. Most actors never need one, and an idle nursery
    costs as much memory as its task.
    """

    __slots__ = (
        "_closing",
        "_failed",
        "_jobs",
        "_nursery",
        "_opened",
        "_over",
        "_path",
    )

    def __init__(
        self, home: trio.Nursery, path: str, failed: Callable[[Exception], None]
    ) -> None:
        """Open it, as a task of ``home``, for the actor at ``path``.

        ``failed`` is told when a task of the nursery has failed and all others are
        over.
        """
        self._path = path
        self._failed = failed
        self._nursery: trio.Nursery | None = None
        self._jobs: tuple[tuple[Job, tuple[object, ...]], ...] = ()
        """What is to be started as soon as the nursery is open."""
        self._opened = trio.Event()
        self._over = trio.Event()
        self._closing = False
        _spawn(home, self._run)

    @property
    def nursery(self) -> trio.Nursery:
        """That of its tasks, which somebody has waited for with `open`."""
        return cast("trio.Nursery", self._nursery)

    def start_soon(self, job: Job, *args: object) -> None:
        """Spawn a task; if it raises, the others are cancelled and ``failed`` told.

        It serves nobody: what it waits for keeps nobody waiting.
        """
        if self._nursery is None:
            self._jobs = (*self._jobs, (job, args))
        else:
            _spawn(self._nursery, job, *args)

    async def open(self) -> trio.Nursery:
        """Wait until the nursery is open, and return it.

        Raises:
            RuntimeError: it has been closed, or one of its tasks has failed.
        """
        await self._opened.wait()
        if self._nursery is None:
            raise too_late(self._path)
        return self._nursery

    def close(self) -> trio.Event:
        """Cancel all tasks; return what is set once none is left."""
        self._closing = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel(reason="its incarnation has ended")
        return self._over

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._opened.set()
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
            self._over.set()


def too_late(path: str) -> RuntimeError:
    """Say that no task can be started for an incarnation any more, and why."""
    return RuntimeError(
        f"{path}: no task can be started, as this incarnation of it has ended, or "
        "another task of it has failed"
    )


def _spawn(nursery: trio.Nursery, job: Job, *args: object) -> None:
    token = serving.set(None)  # a task inherits the context of whoever spawns it
    try:
        nursery.start_soon(job, *args)
    finally:
        serving.reset(token)
