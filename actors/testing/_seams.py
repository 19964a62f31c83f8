"""The only module that knows private names of trio, and what each is needed for.

Every seam has a self-test, which `check_seams` runs before the first simulation: on a
trio where one does not do what it should, nothing is simulated at all.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from threading import get_ident
from typing import Any, cast

import outcome
import trio
import trio._core._run
from trio.lowlevel import Task
from trio.testing import MockClock

_run: Any = trio._core._run

Order = Callable[[list[Task]], tuple[list[Task], list[Task]]]
"""Told who can run, the oldest first; answers who does, in order, and who waits."""


class UnknownTrio(RuntimeError):
    """This version of trio cannot be simulated: one of its inner parts is not as known.

    Nothing was run. The message names the part; use a version of trio that this
    package was tested with.
    """


class _Dice(Random):
    """Stands in for the Random from which trio's scheduler draws.

    Trio shuffles who can run in place, once for every batch, and then runs the last
    of them first.
    """

    def __init__(self, order: Order, real: Random) -> None:
        super().__init__(0)
        self._order = order
        self._real = real
        self._thread = get_ident()

    def shuffle(self, x: Any) -> None:
        if get_ident() != self._thread:
            self._real.shuffle(x)  # another thread has a run of its own
            return
        run, wait = self._order([*x])
        x[:] = run[::-1]
        if wait:
            _run.GLOBAL_RUN_CONTEXT.runner.runq.extend(wait)


@contextmanager
def scheduling(order: Order) -> Generator[None, None, None]:
    """Decide who runs in the trio runs of this thread.

    Raises:
        RuntimeError: another thread of the process is doing that already.
    """
    real = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING
    if isinstance(real[0], _Dice):
        raise RuntimeError(  # noqa: TRY004 - it is no argument
            "another thread of this process is running a simulation, and there can be "
            "one at a time; use processes to run several"
        )
    # With the flag, trio sorts a batch by age before it is shuffled.
    _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = _Dice(order, real[0]), True
    try:
        yield
    finally:
        _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = real


class Clock:
    """A clock that jumps to the next deadline as soon as nobody can run.

    ``jumps`` is called before every jump, with the seconds that it will be; inf:
    nobody ever will run again. It says whether to jump.
    """

    def __init__(self, jumps: Callable[[float], bool]) -> None:
        self.trio = cast("Any", MockClock(autojump_threshold=0))
        jump = self.trio._autojump

        def autojump() -> None:
            if jumps(trio.lowlevel.current_statistics().seconds_to_next_deadline):
                jump()

        self.trio._autojump = autojump

    def now(self) -> float:
        """Virtual seconds."""
        now: float = self.trio.current_time()
        return now


def number(task: Task) -> int:
    """A number that is greater for every task that is spawned later."""
    counter: int = task._counter
    return counter


def scopes(task: Task) -> Iterator[trio.CancelScope]:
    """The scopes that a task is in, the innermost first."""
    status: Any = _status(task)
    while status is not None:
        yield status._scope
        status = status._parent


def finds_itself_cancelled(task: Task) -> bool:
    """Whether a task that is about to run has been cancelled where it waits."""
    status = _status(task)
    if status is None or not status.effectively_cancelled:
        return False
    error = getattr(task._next_send, "error", None)
    # A nursery keeps the Cancelled of whoever leaves it until its tasks are over.
    return isinstance(error, trio.Cancelled) or _waits_in(
        task, "_nested_child_finished"
    )


def _status(task: Task) -> Any:
    """Of the innermost scope; not that with which trio's sleep wakes itself up."""
    status: Any = task._cancel_status
    return status._parent if status and _waits_in(task, "sleep_until") else status


def _waits_in(task: Task, function: str) -> bool:
    """Whether a task waits inside of a function of trio."""
    return any(
        frame.f_code.co_name == function
        and frame.f_globals.get("__name__", "").startswith("trio.")
        for frame, _ in task.iter_await_frames()
    )


def children(task: Task) -> list[Task]:
    """The tasks in the nurseries of a task, the oldest first."""
    tasks = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return sorted(tasks, key=number)


def everybody(task: Task | None) -> Iterable[Task]:
    """A task, and all below it."""
    todo = [] if task is None else [task]
    while todo:
        each = todo.pop()
        yield each
        todo.extend(children(each))


@contextmanager
def threads_as(run_sync: Callable[..., Awaitable[Any]]) -> Generator[None, None, None]:
    """Let ``trio.to_thread.run_sync`` be another function."""
    module: Any = trio.to_thread
    real, module.run_sync = module.run_sync, run_sync
    try:
        yield
    finally:
        module.run_sync = real


def inline_threads(delay: Callable[[], float]) -> Callable[..., Awaitable[Any]]:
    """Make a ``run_sync`` that needs no thread.

    The function is called whole at one moment, ``delay()`` virtual seconds after its
    thread would have begun. Abandoned, it is called all the same, as nothing can stop
    a thread.
    """

    async def run_sync(
        fn: Callable[..., Any],
        *args: Any,
        thread_name: str | None = None,
        abandon_on_cancel: bool = False,
        limiter: Any = None,
    ) -> Any:
        await trio.lowlevel.checkpoint_if_cancelled()
        limiter = limiter or trio.to_thread.current_default_thread_limiter()
        context, thread, over = contextvars.copy_context(), object(), trio.Event()
        results: list[outcome.Outcome[Any]] = []
        await limiter.acquire_on_behalf_of(thread)

        async def work() -> None:
            try:
                await trio.sleep(delay())
                results.append(outcome.capture(context.run, fn, *args))
            finally:
                limiter.release_on_behalf_of(thread)
                over.set()

        name = thread_name or f"thread {getattr(fn, '__name__', 'of no name')}"
        trio.lowlevel.spawn_system_task(work, name=name)
        with trio.CancelScope(shield=not abandon_on_cancel):
            await over.wait()
        return results[0].unwrap()

    return run_sync


# -- the self-test --------------------------------------------------------------------


@cache
def check_seams() -> None:
    """Try every seam out, once per process: it takes some milliseconds.

    Raises:
        UnknownTrio: naming the seam that does not hold.
    """
    for seam, holds in (
        ("the order of a batch, and deferring a part of it", _order_holds),
        ("being asked before the clock jumps", _clock_holds),
        ("the scopes of a task, and whether it is cancelled", _scopes_hold),
        ("threads", _threads_hold),
    ):
        try:
            held = holds()
        except Exception as error:
            raise _unknown(seam) from error
        if not held:
            raise _unknown(seam)


def _unknown(seam: str) -> UnknownTrio:
    return UnknownTrio(
        f"trio {trio.__version__} cannot be simulated, as this is not what it was: "
        f"{seam}. Use a version that this package was tested with (0.31 to 0.35)"
    )


def _order_holds() -> bool:
    ran: list[int] = []
    seen: list[list[int]] = []

    async def note(name: int) -> None:
        ran.append(name)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name in range(3):
                nursery.start_soon(note, name)

    def youngest_alone(batch: list[Task]) -> tuple[list[Task], list[Task]]:
        seen.append([number(task) for task in batch])
        return batch[-1:], batch[:-1]

    with scheduling(youngest_alone):
        trio.run(main)
    sorted_by_age = all(batch == sorted(batch) for batch in seen)
    return ran == [2, 1, 0] and sorted_by_age and max(map(len, seen)) >= 3


def _clock_holds() -> bool:
    asked: list[float] = []
    scope = trio.CancelScope()

    def jumps(seconds: float) -> bool:
        asked.append(seconds)
        if seconds == float("inf"):
            scope.cancel()
            return False
        return True

    clock = Clock(jumps)

    async def main() -> None:
        await trio.sleep(5)
        with scope:
            await trio.sleep_forever()

    trio.run(main, clock=clock.trio)
    return asked == [5, float("inf")] and clock.now() == 5


def _scopes_hold() -> bool:
    found: list[object] = []
    inner = trio.CancelScope(shield=True)

    class Look(trio.abc.Instrument):
        def before_task_step(self, task: Task) -> None:
            if next(scopes(task), None) is inner or (
                task.name.endswith("main") and task.child_nurseries
            ):
                found.append(finds_itself_cancelled(task))

    async def shielded() -> None:
        with inner:
            await trio.sleep_forever()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shielded)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            (task,) = children(trio.lowlevel.current_task())
            found.append([scope.shield for scope in scopes(task)][:2])
            for scope in scopes(task):
                scope.shield = False
            found.append(inner.shield)
            inner.shield = False  # else it would hang where the seam does not hold

    trio.run(main, instruments=[Look()])
    return found == [False, [True, False], False, True, True]


def _threads_hold() -> bool:
    async def main() -> bool:
        here = await trio.to_thread.run_sync(get_ident)
        return trio.current_time() == 1 and here == get_ident()

    with threads_as(inline_threads(lambda: 1.0)):
        return trio.run(main, clock=Clock(lambda _seconds: True).trio)
