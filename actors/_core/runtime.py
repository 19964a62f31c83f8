"""What all actors of one system share: time, chance, names, and where events go."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from actors._core.alarms import Alarms
from actors._core.bus import Subscription
from actors._core.registry import Registry
from actors.events import Event, Sink

if TYPE_CHECKING:
    from actors.events import DeadLetter

E = TypeVar("E", bound=Event)

REMEMBERED = 100
"""Dead letters that are kept for whoever asks."""


class Runtime:
    """Shared by the actors of one system; holds no global state."""

    __slots__ = (
        "_ended",
        "_measure",
        "_sinks",
        "_subscriptions",
        "alarms",
        "dead_letter_counts",
        "dead_letters",
        "metrics",
        "now",
        "random",
        "registry",
        "thread",
    )

    def __init__(
        self,
        on_event: Sequence[Sink] = (),
        random: Random | None = None,
        *,
        metrics: bool = True,
        measure: Callable[[], object] | None = None,
    ) -> None:
        self._sinks = tuple(on_event)
        """Those of subscriptions, too."""
        self._subscriptions: list[Subscription[Any]] = []
        self._ended = False
        self.metrics = metrics
        """Whether messages are timed: how long they wait in mailboxes."""
        self._measure = measure or (lambda: None)
        self.now: Callable[[], float] = trio.current_time
        """Trio time, seconds; once it runs, without the detour of finding the clock."""
        self.thread = get_ident()
        """Where its trio run is: nobody else may touch its mailboxes."""
        self.alarms = Alarms()
        self.random = random or Random()
        """All jitter is drawn from here, so that a seed reproduces a run."""
        self.registry = Registry(self)
        self.dead_letters: deque[DeadLetter] = deque(maxlen=REMEMBERED)
        self.dead_letter_counts: Counter[str] = Counter()
        """By reason, since the start."""

    async def run(  # noqa: ASYNC128 - the alarms do that
        self, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Serve until cancelled."""
        self.thread = get_ident()
        self.now = trio.lowlevel.current_clock().current_time
        try:
            await self.alarms.run(task_status=task_status)
        finally:
            self._ended = True
            for subscription in self._subscriptions:
                subscription.end()

    def emit(self, event: Event) -> None:
        """Hand an event to every sink, in order; one that fails is logged."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                logging.getLogger("actors").exception("event sink failed on %r", event)

    def measure(self) -> object:
        """Read what the process uses, for the events of operations; None: it failed."""
        try:
            return self._measure()
        except Exception:
            # Also called by the alarms, which must not fail.
            logging.getLogger("actors").exception("measuring failed")
            return None

    def subscribe(self, *kinds: type[E], capacity: int = 1000) -> Subscription[E]:
        """Collect events of some kinds from now on.

        Raises:
            ValueError: ``capacity`` is less than 1, or there are no kinds.
        """
        if not kinds:
            raise ValueError("subscribe to what? `Event` is the kind of all events")
        subscription = Subscription(kinds, capacity, self._unsubscribe)
        self._subscriptions.append(subscription)
        self._sinks = (*self._sinks, subscription.put)
        if self._ended:
            subscription.end()
        return subscription

    def _unsubscribe(self, subscription: Subscription[E]) -> None:
        self._subscriptions = [s for s in self._subscriptions if s is not subscription]
        self._sinks = tuple(s for s in self._sinks if s != subscription.put)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Report and remember a message that will not be handled."""
        self.dead_letters.append(letter)
        self.dead_letter_counts[letter.reason] += 1
        self.emit(letter)

    def wrong_thread(self, path: str) -> RuntimeError:
        """Say how to reach an actor from outside its trio run."""
        return RuntimeError(
            f"{path} lives in the trio run of another thread. From a thread that trio "
            "started use `trio.from_thread.run_sync(ref.tell, message)` or "
            "`trio.from_thread.run(ref.ask, question)`; elsewhere pass the "
            "`trio_token` of that run to them"
        )
