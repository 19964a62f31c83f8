"""Subscriptions to events, for those who read them at their own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

import trio

from actors.events import Event

E = TypeVar("E", bound=Event)


class Subscription(Generic[E]):
    """Events of some kinds, in the order of the decisions they report.

    Use it as ``with ctx.subscribe(Failed) as events: async for event in events``.
    It holds ``capacity`` events at the most; a reader that is slower than that loses
    the oldest, never holds anybody up, and finds in ``missed`` how many it lost.
    One task reads it.
    """

    def __init__(
        self,
        kinds: tuple[type[E], ...],
        capacity: int,
        leave: Callable[[Subscription[E]], None],
    ) -> None:
        if capacity < 1:
            raise ValueError(
                f"a subscription holds at least 1 event, got capacity={capacity!r}"
            )
        self.kinds = kinds
        self.missed = 0
        """Events that were dropped because the reader was slower."""
        self._events: deque[E] = deque(maxlen=capacity)
        self._leave = leave
        self._arrived = trio.Event()
        self._ended = False

    def put(self, event: Event) -> None:
        """Add an event, if it is of these kinds; never waits."""
        if not isinstance(event, self.kinds):
            return
        if len(self._events) == self._events.maxlen:
            self.missed += 1
        self._events.append(event)
        self._arrived.set()

    def end(self) -> None:
        """Nothing will follow: the reader reads what there is, and is done."""
        self._ended = True
        self._arrived.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        """Wait for the next event. Cancellation loses none; ends with its system."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._events.popleft()
