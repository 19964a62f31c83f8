"""A coroutine that says when it really waits."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar, cast

R = TypeVar("R")


class Watched(Generic[R]):
    """Awaits a coroutine, and calls ``waits`` each time it is about to be suspended.

    What is yielded goes to trio: so whoever is between knows of every suspension,
    at no cost for what is awaited without one.
    """

    __slots__ = ("_coroutine", "_send", "_waits")

    def __init__(
        self, coroutine: Coroutine[Any, Any, R], waits: Callable[[], object]
    ) -> None:
        self._coroutine = coroutine
        self._waits = waits
        self._send = coroutine.send

    def __await__(self) -> Generator[Any, Any, R]:
        return cast("Generator[Any, Any, R]", self)

    def __next__(self) -> Any:
        trap = self._send(None)
        self._waits()
        return trap

    def send(self, value: Any) -> Any:
        """Go on."""
        trap = self._send(value)
        self._waits()
        return trap

    # Trio only sends; these complete the protocol.

    def throw(self, error: BaseException, /) -> Any:
        """Raise in the coroutine."""
        return self._coroutine.throw(error)

    def close(self) -> None:
        """Give it up."""
        self._coroutine.close()

    # ``trio.lowlevel.Task.iter_await_frames`` looks for these: without them no report
    # would name what the coroutine waits for.

    @property
    def cr_frame(self) -> Any:
        """The frame of the coroutine."""
        return self._coroutine.cr_frame  # type: ignore[attr-defined]

    @property
    def cr_await(self) -> Any:
        """What the coroutine awaits."""
        return self._coroutine.cr_await  # type: ignore[attr-defined]
