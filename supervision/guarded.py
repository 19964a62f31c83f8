"""Refs that ask a circuit breaker before every call.

`guard` makes a ref of the same protocol; whoever uses it need not know::

    store = guard(ref, breakers, "store")
    await store.ask(Save(1), timeout=5)     # BreakerOpen while the store is down
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import trio

from actors import (
    ActorCrashed,
    ActorError,
    ActorGone,
    Ask,
    AskTimeout,
    MailboxFull,
    Message,
    Ref,
    Rejected,
)
from supervision.breaker import Permit
from supervision.breakers import (
    NO_VERDICT,
    OK,
    Admit,
    Breakers,
    Judged,
    Settle,
    brief,
)
from supervision.specs import check_seconds

P = TypeVar("P")
P_co = TypeVar("P_co", covariant=True)
R = TypeVar("R")


class BreakerOpen(ActorError):
    """Refused by a circuit breaker. The message was **never executed**.

    Nothing is known about whoever was to be called but that it failed before: do not
    count this as a failure of its own. Try again after ``retry_after`` seconds (inf:
    once somebody has reset the breaker); ``last_failure`` says what failed.
    """

    def __init__(
        self,
        path: str,
        message: object,
        detail: str,
        *,
        retry_after: float = 0.0,
        last_failure: str = "",
    ) -> None:
        super().__init__(path, message, detail)
        self.retry_after = retry_after
        self.last_failure = last_failure


def guard(
    ref: Ref[P],
    breakers: Ref[Breakers],
    key: Hashable,
    verdict: Callable[[Any], bool] | None = None,
    *,
    patience: float = 1.0,
) -> Ref[P]:
    """Return a ref to the same role whose asks go through the breaker of ``key``.

    While that is open, an ask ends in `BreakerOpen` without being sent. Otherwise
    its outcome is settled with the breaker:

    * a reply counts as ``verdict(reply)`` says, True for a success; without a
      verdict every reply is one. It sees the replies to all asks of the ref;
    * `Rejected` is a success: whoever was asked has answered;
    * `AskTimeout`, `ActorCrashed` and `ActorGone` are failures;
    * all else is no verdict, and takes no probe's place: `MailboxFull` is our own
      overload, and a cancelled caller has learnt nothing. So limit an ask by its
      ``timeout`` and not by a scope of your own, or a peer that hangs never counts.

    The timeout of an ask covers the question to the breaker too. A breaker actor that
    does not answer within ``patience`` seconds, or is gone, stops nobody: the ask is
    sent, and nothing is counted. ``tell`` and ``send`` pass as they are, for nobody
    learns how they fare. The result is not equal to ``ref``, but may itself be guarded.

    Raises:
        TypeError: the key is not hashable.
        ValueError: ``patience`` is no positive number of seconds.
    """
    hash(key)
    check_seconds("patience", patience)
    return _Guarded(ref, breakers, key, verdict, patience)


class _Guarded(Ref[P_co]):
    __slots__ = ("_breakers", "_guarded", "_key", "_patience", "_verdict")

    def __init__(
        self,
        guarded: Ref[P_co],
        breakers: Ref[Breakers],
        key: Hashable,
        verdict: Callable[[Any], bool] | None,
        patience: float,
    ) -> None:
        super().__init__(guarded._mailbox)
        self._guarded = guarded
        self._breakers = breakers
        self._key = key
        self._verdict = verdict
        self._patience = patience

    def __repr__(self) -> str:
        return f"<Ref {self.path}, guarded as {self._key!r}>"

    async def ask(
        self: _Guarded[P], request: Ask[P, R], /, *, timeout: float | None = None
    ) -> R:
        """See `Ref.ask`; in addition raises `BreakerOpen`: never executed."""
        begin = trio.current_time()
        permit = await self._admit(request, timeout)
        # No checkpoint from here to the `try`: a caller who is cancelled must not
        # take the permit with him.
        if timeout is not None:
            timeout -= trio.current_time() - begin
            if timeout <= 0:
                self._settle(permit, NO_VERDICT)
                late = "no time was left once the circuit breaker had been asked"
                raise AskTimeout(self.path, request, late)
        judged = NO_VERDICT
        try:
            reply = await self._guarded.ask(request, timeout=timeout)
            judged = self._judge(reply)
        except Rejected:
            judged = OK
            raise
        except (AskTimeout, ActorCrashed, ActorGone) as error:
            judged = ("failed", brief(error.__cause__ or error))
            raise
        finally:
            self._settle(permit, judged)
        return reply

    async def _admit(
        self, request: Message[Any], timeout: float | None
    ) -> Permit | None:
        """Ask the breaker; None: it is out of order, and must not stop anybody.

        Raises:
            BreakerOpen: no call now.
        """
        # Twice, so that a call that times out has its vote before the lease ends.
        lease = 2 * timeout if timeout is not None else 0.0
        admit = Admit(self._key, lease if 0 < lease < math.inf else None)
        patience = self._patience if timeout is None else min(self._patience, timeout)
        try:
            answer = await self._breakers.ask(admit, timeout=patience)
        except (AskTimeout, ActorCrashed, ActorGone, MailboxFull):
            return None
        if isinstance(answer, Permit):
            return answer
        after, failure = answer.retry_after, answer.last_failure
        raise BreakerOpen(
            self.path,
            request,
            f"refused by the circuit breaker of {self._key!r}; try again in {after:g} "
            f"s; the last failure was {failure or 'none: it was opened by hand'}",
            retry_after=after,
            last_failure=failure,
        )

    def _settle(self, permit: Permit | None, judged: Judged) -> None:
        if permit is not None:
            self._breakers.tell(Settle(self._key, permit, *judged))

    def _judge(self, reply: object) -> Judged:
        if self._verdict is None or self._verdict(reply):
            return OK
        return "failed", f"reply: {brief(reply)}"
