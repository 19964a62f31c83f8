"""A blocked event loop is noticed from outside, and whoever blocks it is named."""

from __future__ import annotations

import contextlib
import inspect
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, Tell
from supervision import Child, System
from supervision.loopwatch import EXIT_BLOCKED, Blocked, watch_loop

pytestmark = pytest.mark.real

PATIENCE = 30.0
"""Seconds after which a test gives up; it does not depend on the speed."""


class Alarm:
    """Lets a test block the loop until the thread has noticed, and no longer."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._rung = threading.Event()

    def __call__(self, text: str) -> None:
        self.texts.append(text)
        self._rung.set()

    def block_until_noticed(self) -> None:
        assert self._rung.wait(PATIENCE)


@attrs.frozen
class Block(Tell["Blocker"]):
    pass


class Blocker(Actor):
    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    @Block.handled
    async def block(self, m: Block) -> None:
        await trio.lowlevel.checkpoint()
        self._alarm.block_until_noticed()


class InTheBackground(Actor):
    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm

    async def started(self) -> None:
        await self.ctx.start(self.spawned)

    async def spawned(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        self._alarm.block_until_noticed()


def line_of(function: Callable[..., object], text: str) -> str:
    lines, first = inspect.getsourcelines(function)
    (offset,) = [n for n, line in enumerate(lines) if text in line]
    return f"{__file__}:{first + offset} {function.__qualname__}"


def names(stack: Sequence[str], function: Callable[..., object]) -> bool:
    return line_of(function, "block_until_noticed()") in stack


def watchers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "actor-tree loop watch"]


@pytest.mark.parametrize(
    ("make", "function"),
    [(Blocker, Blocker.block), (InTheBackground, InTheBackground.spawned)],
)
async def test_actor_file_and_line_are_named_at_once_and_when_it_is_over(
    make: Callable[[Alarm], Actor], function: Callable[..., object]
) -> None:
    alarm, over, seen = Alarm(), trio.Event(), list[tuple[Blocked, float]]()

    def note(blocked: Blocked, seconds: float) -> None:
        seen.append((blocked, seconds))
        over.set()

    child = Child("culprit", lambda: make(alarm))
    async with watch_loop(note, limit=0.1, alarm=alarm):
        async with System(child) as system:
            if make is Blocker:
                system.ref(child).tell(Block())  # type: ignore[arg-type]
            with trio.fail_after(PATIENCE):
                await over.wait()

    (blocked, seconds), *_ = seen
    assert blocked.actor == "app/culprit"
    assert seconds >= 0.1
    assert names(blocked.stack, function)
    assert blocked.where == line_of(Alarm.block_until_noticed, "wait(PATIENCE)")
    assert "threading.py" in blocked.stack[-1], "where that waits is no news"
    assert "by app/culprit at" in alarm.texts[0]
    assert line_of(function, "block_until_noticed()") in alarm.texts[0]
    assert watchers() == []


async def test_a_task_of_no_actor_is_named_as_trio_names_it() -> None:
    alarm = Alarm()
    async with watch_loop(lambda blocked, seconds: None, limit=0.1, alarm=alarm):
        async with trio.open_nursery() as nursery:
            await nursery.start(InTheBackground(alarm).spawned, name="a task of mine")
            await trio.lowlevel.checkpoint()
    assert "by a task of mine at" in alarm.texts[0]


async def test_the_thread_ends_with_its_block_also_when_that_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        async with watch_loop(lambda blocked, seconds: None):
            assert len(watchers()) == 1
            raise ZeroDivisionError
    assert watchers() == []


@pytest.mark.parametrize(("limit", "hard"), [(0, None), (1, float("nan"))])
async def test_a_limit_that_is_none_is_refused(limit: float, hard: float) -> None:
    with pytest.raises(ValueError, match="positive and finite seconds"):
        async with watch_loop(lambda blocked, seconds: None, limit=limit, hard=hard):
            pass
    assert watchers() == []


def test_in_guest_mode_a_host_that_blocks_is_noticed() -> None:
    alarm, noticed = Alarm(), list[Blocked]()
    todo: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
    outcomes: list[Any] = []

    async def main() -> None:
        over = trio.Event()

        def note(blocked: Blocked, seconds: float) -> None:
            noticed.append(blocked)
            over.set()

        async with watch_loop(note, limit=0.1, alarm=alarm):
            todo.put(alarm.block_until_noticed)
            with trio.fail_after(PATIENCE):
                await over.wait()

    trio.lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=todo.put, done_callback=outcomes.append
    )
    while not outcomes:
        todo.get(timeout=PATIENCE)()
    outcomes[0].unwrap()

    assert noticed[0].actor is None
    assert noticed[0].task == ""
    assert any("block_until_noticed" in frame for frame in noticed[0].stack)
    assert "by no task at" in alarm.texts[0]
    assert watchers() == []


ENDLESS = """
import trio
from supervision.loopwatch import watch_loop

async def main():
    async with watch_loop(lambda blocked, seconds: None, limit=0.1, hard=0.3):
        endless()

def endless():
    while True:
        pass

trio.run(main)
"""


def test_past_the_hard_limit_the_process_ends_and_says_where() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == EXIT_BLOCKED == 71
    assert "by __main__.main at <string>:" in done.stderr
    assert "endless; the process ends with exit code 71" in done.stderr


def test_nobody_reading_standard_error_does_not_keep_the_process_alive() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        command = [sys.executable, "-c", ENDLESS]
        with subprocess.Popen(command, stderr=writer) as process:
            assert process.wait(PATIENCE) == EXIT_BLOCKED
    finally:
        os.close(reader)
        os.close(writer)
