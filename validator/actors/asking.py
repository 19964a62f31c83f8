"""How the database is asked: again, if need be, for as long as somebody waits."""

from __future__ import annotations

from typing import Any, TypeVar

import attrs
import trio

from actors import ActorCrashed, ActorError, HandlerTimeout, Ref, Rejected, Stopped
from validator.actors.questions import Database, Question
from validator.ports import ConnectionLost, OutcomeUnknown, StoreUnavailable

R = TypeVar("R")

LOSSES = 5
"""Connections that one question may cost: it may be what kills them."""


@attrs.frozen
class DatabaseClient:
    """Asks the database on behalf of somebody, and repeats what was lost.

    So a lost connection, a restart of the server and a reset of the pool cost time
    only, and a repetition may go to another connection. No harm is done by it, as all
    writes are idempotent. Nothing is repeated once the question has timed out, or
    whoever asks is cancelled.
    """

    _ref: Ref[Database]
    _pause: float = 4.0
    """Seconds between two tries, at the most; at first none, then an eighth."""

    async def ask(self, question: Question[R], *, timeout: float) -> R:
        """Ask, and wait for the answer.

        ``timeout`` (seconds) covers everything. Cancelled, a write that was begun runs
        to its end or its limit, but is not repeated.

        Raises:
            Rejected: the cause says why. `StoreUnavailable` or ``TimeoutError``:
                nothing is stored. `OutcomeUnknown`: it may be.
            AskTimeout: time ran out. Only if it had ``started``, it may be stored.
            ActorCrashed: a bug, which is the cause; it may be stored.
            ActorGone: the database has been stopped for good; nothing is stored.
        """
        until = trio.current_time() + timeout
        unknown: OutcomeUnknown | None = None
        losses, pause = 0, 0.0
        while True:
            try:
                left = until - trio.current_time()
                return await self._ref.ask(question, timeout=left)
            except (Rejected, ActorError) as error:
                why = _why(question, error)
                if isinstance(why, OutcomeUnknown):
                    unknown = why
                losses += isinstance(why, (OutcomeUnknown, ConnectionLost))
                late = trio.current_time() + pause >= until
                if late or losses >= LOSSES or not _is_repeated(why, unknown):
                    if unknown is None:
                        raise
                    raise Rejected(str(unknown)) from unknown
            await trio.sleep(pause)
            pause = min(2 * pause, self._pause) or self._pause / 8


def _why(question: Question[Any], error: Exception) -> BaseException | None:
    if isinstance(error, Rejected):
        return error.__cause__
    how = error.__cause__ if isinstance(error, ActorCrashed) else None
    if isinstance(how, (Stopped, HandlerTimeout)):
        # By a reset of the pool, say. It may have been committing.
        return OutcomeUnknown(f"{question.operation} was cut off: {error}")
    return error


def _is_repeated(why: BaseException | None, unknown: OutcomeUnknown | None) -> bool:
    if isinstance(why, TimeoutError):
        return unknown is not None  # else it is certain: nothing is stored
    return isinstance(why, (OutcomeUnknown, StoreUnavailable))
