"""Garbage collection, as a step of comprehensive cleanups and of nothing else."""

from __future__ import annotations

import gc
import math
from time import perf_counter

import trio

from actors.events import Sink
from supervision.events import CleanupCompleted, GarbageCollected

PAUSE = 60.0
"""Seconds between two collections, at the least."""


class Collector:
    """Collects the garbage of comprehensive cleanups, at most once a minute.

    In the thread of the loop: a collection holds the interpreter lock from begin to
    end, so that another thread would stop the loop all the same.
    """

    def __init__(self) -> None:
        self._not_before = -math.inf

    def complete(self, path: str, emit: Sink) -> None:
        """The actor has stopped and is cleaned up: do the rest, and report it."""
        now = trio.current_time()
        if now >= self._not_before:
            self._not_before = now + PAUSE
            begin = perf_counter()
            objects = gc.collect()
            emit(GarbageCollected(path, objects, perf_counter() - begin))
        emit(CleanupCompleted(path))
