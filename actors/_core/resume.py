"""Continuing a coroutine whose first step was run by hand."""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import Any, Self, cast


@types.coroutine
def resume(coroutine: Any, trap: object) -> Generator[Any, Any, Any]:
    """Await the rest of ``coroutine``, which has just yielded ``trap``."""
    rest = cast("Generator[Any, Any, Any]", _Resumed(coroutine, trap))
    return (yield from rest)


class _Resumed:
    """A coroutine whose first trap has been taken by hand.

    ``cr_frame`` and ``cr_await`` let ``trio.lowlevel.Task.iter_await_frames`` see
    through it: without them no stack report would name the handler.
    """

    __slots__ = ("_coroutine", "_trap", "send", "throw")

    def __init__(self, coroutine: Any, trap: object) -> None:
        self._coroutine = coroutine
        self._trap = trap
        self.send = coroutine.send
        self.throw = coroutine.throw

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        trap, self._trap = self._trap, None
        return trap if trap is not None else self._coroutine.send(None)

    @property
    def cr_frame(self) -> Any:
        return self._coroutine.cr_frame

    @property
    def cr_await(self) -> Any:
        return self._coroutine.cr_await
