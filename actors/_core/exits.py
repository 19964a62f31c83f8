"""Why an incarnation ended, as a value."""

from __future__ import annotations

from typing import Literal, cast

import attrs

ExitKind = Literal["normal", "shutdown", "failed", "timeout", "killed"]


@attrs.frozen(slots=False)  # for the reason given in `actors.events`
class Exit:
    """Why an incarnation ended.

    ``normal``: it raised `Stop`. ``shutdown``: it was asked to stop and did.
    ``failed``: its code raised ``failure``. ``timeout``: a handler exceeded its
    limit. ``killed``: it was cancelled from outside.
    """

    kind: ExitKind
    failure: Exception | None = None
    """What was raised, without `trio.Cancelled`; a group of one is that one."""
    message: object = None
    """The message that was being handled."""

    @property
    def failed(self) -> bool:
        """Whether it was the incarnation's own fault."""
        return self.kind in ("failed", "timeout")


KILLED = Exit("killed")
"""For whatever has not come to an end of its own."""


def collapse(error: Exception) -> Exception:
    """Return the one leaf of a group, or the group; ``Cancelled`` is left out.

    Call it on what has already passed the cancelled scope: an ``ExceptionGroup``
    cannot hold a ``Cancelled``, so nothing that must travel on is lost here.
    """
    while isinstance(error, ExceptionGroup):
        group = cast("ExceptionGroup[Exception]", error)
        first, *others = group.exceptions
        if others:
            return group
        error = first
    return error
