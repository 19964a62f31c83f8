"""Circuit breakers as one actor: one breaker per key, asked by message."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from random import Random
from reprlib import Repr
from typing import ClassVar, assert_never

import attrs
import trio

from actors import Actor, Ask, Tell
from supervision.breaker import Breaker, Change, Outcome, Permit, Refused, State
from supervision.events import (
    BreakerClosed,
    BreakerHalfOpen,
    BreakerOpened,
    BreakerRefused,
)
from supervision.specs import BreakerPolicy, check_seconds

Probe = Callable[[], Awaitable[bool]]
"""Tells whether whoever a breaker protects is well again; raising means no."""

REPORT_EVERY = 60.0
"""Seconds between two reports of refused calls of one key."""

Judged = tuple[Outcome, str]
"""An outcome, and what failed."""
OK: Judged = ("ok", "")
NO_VERDICT: Judged = ("no verdict", "")

# -- messages --------------------------------------------------------------------------


@attrs.frozen
class Admit(Ask["Breakers", Permit | Refused]):
    """May a call be made? If so, `Settle` its permit, however the call ends."""

    key: Hashable
    lease: float | None = None
    """Seconds until the permit is lost; at the least those of the policy."""

    def __attrs_post_init__(self) -> None:
        if self.lease is not None:
            check_seconds("lease", self.lease)


@attrs.frozen
class Settle(Tell["Breakers"]):
    """How a call ended.

    Read before all that waits, and never refused, so that it may be told by whoever
    is being cancelled. Counts once, and not at all after the breaker has changed its
    state, its lease has ended or its actor has been restarted.
    """

    system: ClassVar[bool] = True
    key: Hashable
    permit: Permit
    outcome: Outcome
    failure: str = ""


@attrs.frozen
class ForceOpen(Ask["Breakers", None]):
    """Refuse all calls of a key for ``seconds``, then probe."""

    key: Hashable
    seconds: float | None = None
    """None: until `ResetBreaker`."""

    def __attrs_post_init__(self) -> None:
        if self.seconds is not None:
            check_seconds("seconds", self.seconds)


@attrs.frozen
class ResetBreaker(Ask["Breakers", None]):
    """Close the breaker of a key, and forget what it knew."""

    key: Hashable


@attrs.frozen
class BreakerStatus:
    """One breaker as it is."""

    state: State
    failures: int
    """Consecutive ones."""
    retry_after: float
    """Seconds until a call may be admitted; 0: now."""
    permits: int
    """Calls under way."""
    last_failure: str


@attrs.frozen
class GetBreakers(Ask["Breakers", Mapping[Hashable, BreakerStatus]]):
    """All breakers that are remembered."""


# -- the actor -------------------------------------------------------------------------


@attrs.define
class _Entry:
    breaker: Breaker
    probe: Probe | None
    used: float
    """When it was last asked for, in trio time."""
    refused: int = 0
    """Not yet reported."""
    reported: float = -math.inf
    recovery: trio.CancelScope | None = None
    """Set iff a task probes for us."""


class Breakers(Actor):
    """One circuit breaker per key, made on first use and forgotten when idle.

    ``policy_for(key)`` says when it opens. ``probe_for(key)`` may give it a probe of
    its own: then no caller is let through before that has succeeded, and recovery
    needs neither traffic nor a caller who stays. A probe may take half a lease.

    Its memory is lost in a restart: all breakers are closed then, and the outcomes of
    calls admitted before count no more. A key not asked for within ``idle`` seconds
    is forgotten, unless it was forced open or its probe is at work; let that be longer
    than the pause between two calls of one key, or its failures never add up.
    """

    def __init__(
        self,
        policy_for: Callable[[Hashable], BreakerPolicy] = lambda _key: BreakerPolicy(),
        *,
        probe_for: Callable[[Hashable], Probe | None] = lambda _key: None,
        idle: float = 86_400.0,
    ) -> None:
        check_seconds("idle", idle)
        self._policy_for = policy_for
        self._probe_for = probe_for
        self._idle = idle
        # Invariant: ordered by `used`, the longest unused first.
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    @Admit.handled
    def admit(self, m: Admit) -> Permit | Refused:
        # A plain function: the permit reaches its asker in the step that takes the
        # place. Were there an await between, a cancelled asker would lose a probe.
        now = trio.current_time()
        entry = self._entry(m.key, now)
        breaker = entry.breaker
        if entry.recovery is None:
            answer = self._admit(m.key, entry, m.lease or 0.0)
        else:
            answer = Refused(breaker.retry_after(now), breaker.last_failure)
        if isinstance(answer, Refused):
            entry.refused += 1
            if now - entry.reported >= REPORT_EVERY:
                self._report_refused(m.key, entry)
        return answer

    @Settle.handled
    async def settle(self, m: Settle) -> None:
        entry = self._entries.get(m.key)
        if entry is None:
            return
        self._settle(m.key, entry, m.permit, (m.outcome, m.failure))
        if entry.breaker.state == "open":
            await self._recover(m.key, entry)

    @ForceOpen.handled
    async def force_open(self, m: ForceOpen) -> None:
        now = trio.current_time()
        entry = self._entry(m.key, now)
        self._end_recovery(entry)
        before = entry.breaker.last_change
        seconds = math.inf if m.seconds is None else m.seconds
        entry.breaker.force_open(now, seconds)
        self._report(m.key, entry, before)
        if m.seconds is not None:
            await self._recover(m.key, entry)

    @ResetBreaker.handled
    def reset(self, m: ResetBreaker) -> None:
        entry = self._entries.get(m.key)
        if entry is None:
            return
        self._end_recovery(entry)
        closed, before = entry.breaker.state == "closed", entry.breaker.last_change
        entry.breaker.reset(trio.current_time())
        if not closed:
            self._report(m.key, entry, before)

    @GetBreakers.handled
    def describe(self, m: GetBreakers) -> Mapping[Hashable, BreakerStatus]:
        now = trio.current_time()
        return {
            key: BreakerStatus(
                breaker.state,
                breaker.failures,
                breaker.retry_after(now),
                breaker.leases,
                breaker.last_failure,
            )
            for key, entry in self._entries.items()
            for breaker in [entry.breaker]
        }

    # -- the breakers ------------------------------------------------------------------

    def _entry(self, key: Hashable, now: float) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            self._forget_idle(now)
            # Nobody before it began to count there: neither a breaker of this key
            # that was forgotten, nor one of an earlier incarnation.
            generation = self._random.getrandbits(62)
            breaker = Breaker(self._policy_for(key), generation)
            entry = _Entry(breaker, self._probe_for(key), now)
            self._entries[key] = entry
        entry.used = now
        self._entries.move_to_end(key)
        return entry

    def _forget_idle(self, now: float) -> None:
        idle: list[Hashable] = []
        for key, entry in self._entries.items():
            if now - entry.used < self._idle:
                break
            if entry.breaker.state != "forced_open" and entry.recovery is None:
                idle.append(key)
        for key in idle:
            del self._entries[key]

    def _admit(self, key: Hashable, entry: _Entry, lease: float) -> Permit | Refused:
        before = entry.breaker.last_change
        answer = entry.breaker.admit(trio.current_time(), lease)
        self._report(key, entry, before)
        return answer

    def _settle(
        self, key: Hashable, entry: _Entry, permit: Permit, judged: Judged
    ) -> None:
        before = entry.breaker.last_change
        outcome, failure = judged
        now, jitter = trio.current_time(), self._random.random()
        entry.breaker.settle(permit, outcome, now, jitter, failure)
        self._report(key, entry, before)

    @property
    def _random(self) -> Random:
        return self.ctx._life.runtime.random

    # -- recovery by probes of our own ---

    async def _recover(self, key: Hashable, entry: _Entry) -> None:
        if entry.probe is not None and entry.recovery is None:
            await self.ctx.start(self._probe_until_closed, key, entry, entry.probe)

    def _end_recovery(self, entry: _Entry) -> None:
        if entry.recovery is not None:
            entry.recovery.cancel(reason="its breaker was set by hand")
            entry.recovery = None

    async def _probe_until_closed(
        self,
        key: Hashable,
        entry: _Entry,
        probe: Probe,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        breaker = entry.breaker
        recovery = entry.recovery = trio.CancelScope()
        with recovery:
            task_status.started()
            while breaker.state != "closed":
                permit = self._admit(key, entry, 0.0)
                if isinstance(permit, Refused):
                    await trio.sleep(permit.retry_after)
                    continue
                judged = NO_VERDICT
                try:
                    judged = await _ask_probe(probe, breaker.policy.lease / 2)
                finally:
                    self._settle(key, entry, permit, judged)
        if entry.recovery is recovery:
            entry.recovery = None

    # -- what is reported ---

    def _report(self, key: Hashable, entry: _Entry, before: Change | None) -> None:
        """Report what has changed since ``before``, if anything has."""
        change = entry.breaker.last_change
        if change is None or change is before:
            return
        if entry.refused:
            self._report_refused(key, entry)
        entry.reported = -math.inf
        path = self.ctx.me.path
        match change.state:
            case "open" | "forced_open":
                opened = BreakerOpened(
                    path,
                    key,
                    change.reason,
                    change.failures,
                    change.calls,
                    change.failed,
                    change.wait if math.isfinite(change.wait) else None,
                    entry.breaker.last_failure,
                )
                self.ctx.emit(opened)
            case "half_open":
                self.ctx.emit(BreakerHalfOpen(path, key))
            case "closed":
                self.ctx.emit(BreakerClosed(path, key, change.reason))
            case _:
                assert_never(change.state)

    def _report_refused(self, key: Hashable, entry: _Entry) -> None:
        self.ctx.emit(BreakerRefused(self.ctx.me.path, key, entry.refused))
        entry.refused, entry.reported = 0, trio.current_time()


async def _ask_probe(probe: Probe, limit: float) -> Judged:
    with trio.move_on_after(limit):
        try:
            well = await probe()
        except Exception as error:
            return "failed", f"probe: {brief(error)}"
        return OK if well else ("failed", "probe: not well yet")
    return "failed", f"probe: took longer than {limit:g} s"


def brief(failure: object) -> str:
    """Say in a few words what failed; it is kept, so no exception with its frames."""
    short = Repr()
    short.maxother = short.maxstring = 200
    return short.repr(failure)
