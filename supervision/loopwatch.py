"""A thread that notices when the event loop is blocked, and names who blocks it.

Nothing inside the loop can do that: what does not return to the loop keeps every
watchdog that lives there from running as well. So a thread asks the loop for a sign
of life, and if none comes it looks at what the loop's thread is executing.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from queue import Empty, SimpleQueue
from time import perf_counter
from types import FrameType
from typing import Literal, NoReturn

import attrs
import trio

from actors._core.refs import owner
from supervision.specs import check_seconds

EXIT_BLOCKED = 71
"""The exit code of a process that was ended because its loop was blocked."""

_LIBRARY = os.path.join(os.path.dirname(os.__file__), "")  # noqa: PTH118, PTH120


@attrs.frozen
class Blocked:
    """What the loop's thread was doing while it did not answer."""

    actor: str | None
    """The path of the actor whose task is running; None: no actor's."""
    task: str
    """The name of the trio task; empty if the loop runs none, as in guest mode."""
    where: str
    """``file:line function``: the innermost that is not the standard library's."""
    stack: Sequence[str]
    """The same per frame, outermost first, from the task's own function on."""

    def describe(self, seconds: float) -> str:
        """Say it in one line."""
        who = self.actor or self.task or "no task"
        return f"event loop blocked for {seconds:.1f} s by {who} at {self.where}"


def write_alarm(text: str) -> None:
    """Write to standard error, unless that could wait.

    What blocks the loop may be a pipe that nobody reads, and that pipe may be this.
    """
    poll = select.poll()
    try:
        poll.register(sys.__stderr__ or 2, select.POLLOUT)
        if poll.poll(0):
            os.write(2, text.encode(errors="replace")[: select.PIPE_BUF])
    except (OSError, ValueError):
        pass  # closed: there is nobody to tell


def end_process(code: int, text: str) -> NoReturn:
    """End the process now, without any cleanup, having said why."""
    write_alarm(text)
    os._exit(code)


@asynccontextmanager
async def watch_loop(
    over: Callable[[Blocked, float], None],
    *,
    limit: float = 1.0,
    hard: float | None = None,
    alarm: Callable[[str], None] = write_alarm,
) -> AsyncGenerator[None, None]:
    """Watch the loop that runs this block, from a thread that ends with the block.

    A block of ``limit`` seconds (real time, whatever trio's clock) is reported twice:
    at once by ``alarm``, called in the thread with a text that ends in the stack; and
    when the loop runs again by ``over``, called in the loop with the seconds it took.
    One that lasts less than 1.5 times the limit may go unnoticed. Past ``hard``
    seconds (None: never) the process ends with `EXIT_BLOCKED`, after saying where.

    ``over`` must not raise. An idle loop is woken twice per ``limit``. What keeps the
    interpreter's lock while it blocks, as some C extensions do, is noticed only once
    it has let go of it.

    Raises:
        ValueError: ``limit`` or ``hard`` is no positive number of seconds.
    """
    check_seconds("limit", limit)
    if hard is not None:
        check_seconds("hard", hard)
    watch = _Watch(over, limit, hard, alarm)
    watch.thread.start()
    try:
        yield
    finally:
        watch.inbox.put("stop")
        # It waits for nothing but its inbox; an alarm of the user's might.
        watch.thread.join(timeout=1)


class _Watch:
    """The thread, and what it has to know of the loop it watches."""

    def __init__(
        self,
        over: Callable[[Blocked, float], None],
        limit: float,
        hard: float | None,
        alarm: Callable[[str], None],
    ) -> None:
        self.inbox: SimpleQueue[Literal["alive", "stop"]] = SimpleQueue()
        """The one thing the thread waits for."""
        self.thread = threading.Thread(
            target=self._run, name="actor-tree loop watch", daemon=True
        )
        self._over = over
        self._limit = limit
        self._hard = hard
        self._alarm = alarm
        self._loop = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._root = trio.lowlevel.current_root_task()

    def _run(self) -> None:
        try:
            while self._next(self._limit / 2) is None:
                begin = perf_counter()
                self._token.run_sync_soon(self.inbox.put, "alive")
                word = self._next(self._limit) or self._blocked(begin)
                if word == "stop":
                    return
        except trio.RunFinishedError:
            pass  # the run ended without leaving the block that owns this thread

    def _next(self, seconds: float) -> Literal["alive", "stop"] | None:
        try:
            return self.inbox.get(timeout=seconds)
        except Empty:
            return None

    def _blocked(self, begin: float) -> Literal["alive", "stop"]:
        """Report, and wait until it is over."""
        blocked = observe(self._loop, self._root)
        text = blocked.describe(perf_counter() - begin)
        self._alarm("\n  ".join([text, *blocked.stack]) + "\n")
        if self._hard is None:
            word = self.inbox.get()
        else:
            left = max(0, begin + self._hard - perf_counter())
            word = self._next(left) or self._end_process(begin)
        self._token.run_sync_soon(self._over, blocked, perf_counter() - begin)
        return word

    def _end_process(self, begin: float) -> NoReturn:
        blocked = observe(self._loop, self._root)
        text = blocked.describe(perf_counter() - begin)
        text = f"{text}; the process ends with exit code {EXIT_BLOCKED}"
        end_process(EXIT_BLOCKED, "\n  ".join([text, *blocked.stack]) + "\n")


def observe(thread: int, root: trio.lowlevel.Task | None) -> Blocked:
    """Say what ``thread``, whose loop has the root task ``root``, executes now.

    Callable from any thread. If that loop is not blocked it may have moved on before
    the answer is complete.
    """
    frame = sys._current_frames().get(thread)
    task = None if root is None else _running(root)
    begin = None if task is None else getattr(task.coro, "cr_frame", None)
    stack = list(_stack(frame, begin))[::-1]
    box = None if task is None else task.context.get(owner)
    return Blocked(
        actor=None if box is None else box.path,
        task="" if task is None else task.name,
        where=next(filter(_is_ours, reversed(stack)), "an unknown place"),
        stack=stack,
    )


def _is_ours(frame: str) -> bool:
    """Whether a frame is of the application, or of a package installed for it."""
    inside = frame.removeprefix(_LIBRARY)
    return inside == frame or inside.startswith("site-packages/")


def _running(root: trio.lowlevel.Task) -> trio.lowlevel.Task | None:
    """The task that is being executed: the one whose coroutine says so."""
    todo = [root]
    while todo:
        task = todo.pop()
        if getattr(task.coro, "cr_running", False):
            return task
        for nursery in task.child_nurseries:
            # One step in C, so that the loop cannot change the set meanwhile.
            todo.extend(tuple(nursery.child_tasks))
    return None


def _stack(frame: FrameType | None, begin: FrameType | None) -> Iterator[str]:
    """The frames from the innermost to ``begin``, or all if it is not among them."""
    while frame is not None:
        code = frame.f_code
        yield f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}"
        if frame is begin:
            return
        frame = frame.f_back
