"""What an idle actor takes: ``python -m benchmarks.memory`` prints bytes."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import psutil
import trio

from benchmarks.echo import Echo
from benchmarks.table import Row, at_most
from supervision import Child, System

ACTORS = 20_000
IDLE = at_most("idle actor", 7, 4, "kB")


def rows() -> Iterator[Row]:
    """In a process of its own: a heap that was used before would hide the growth."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory"],
        stdout=subprocess.PIPE,
        check=True,
    )
    note = f"resident memory, {ACTORS} children of one system"
    yield IDLE.found(float(done.stdout) / 1000, note)


async def bytes_per_actor() -> float:
    """How much the process grows by one child, all there is of it."""
    async with System(Child("first", Echo)):
        before = _resident()
        children = [Child(str(n), Echo) for n in range(ACTORS)]
        async with System(*children):
            return (_resident() - before) / ACTORS


def _resident() -> int:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


if __name__ == "__main__":
    print(trio.run(bytes_per_actor))
