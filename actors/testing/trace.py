"""What happened in a simulation, in order: events, each with its time and step."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import TypeVar

import attrs

from actors.events import Event

E = TypeVar("E", bound=Event)

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@attrs.frozen
class Entry:
    """One event of a trace."""

    at: float
    """Virtual seconds since the simulation began."""
    step: int
    """The scheduler's step in which it was emitted; see `World.step`."""
    event: Event

    def describe(self) -> str:
        """Say it in one line, which is the same in every process."""
        # The default repr of an object names its address.
        what = _ADDRESS.sub("", repr(self.event))
        return f"t={self.at:g} step {self.step}: {what}"


class Trace:
    """A sink of events: pass it as ``on_event=[world.trace]``.

    The trace of a run that was found to hang ends where it was found: what its tasks
    do while they are taken down is not part of it.
    """

    def __init__(self, now: Callable[[], float], step: Callable[[], int]) -> None:
        self._now = now
        self._step = step
        self._entries: list[Entry] = []
        self._closed = False

    def __call__(self, event: Event) -> None:
        """Take down an event."""
        if not self._closed:
            self._entries.append(Entry(self._now(), self._step(), event))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def events(self, *kinds: type[E]) -> list[E]:
        """The events of these kinds, in order."""
        return [e.event for e in self._entries if isinstance(e.event, kinds)]

    def digest(self) -> str:
        """A short text that is the same iff the same has happened."""
        text = "\n".join(entry.describe() for entry in self._entries)
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def close(self) -> None:
        """Take nothing down any more. Idempotent."""
        self._closed = True
