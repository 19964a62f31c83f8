"""What a circuit breaker decides: pure; time and jitter are arguments.

A call is admitted with a permit, and its outcome is settled with that permit. Two
rules keep a breaker from lying and from wedging. A permit votes only in the
generation that gave it out: what was asked before the breaker changed its state says
nothing about the state it is in. And a permit is a lease: one that is never settled
frees its place by itself.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, assert_never

import attrs

from supervision.specs import BreakerPolicy, FailureRate

State = Literal["closed", "open", "half_open", "forced_open"]

Outcome = Literal["ok", "failed", "no verdict"]
"""How a call ended: ``no verdict`` says nothing about whoever was called."""

Reason = Literal[
    "consecutive failures",
    "failure rate",
    "probe failed",
    "forced",
    "waited",
    "probes succeeded",
    "reset",
]

PARTS = 10
"""A window of time is counted in so many parts, and slides by one part at a time."""


@attrs.frozen
class Permit:
    """One call may be made; settle it with its outcome, whatever that is."""

    generation: int
    number: int


@attrs.frozen
class Refused:
    """No call now."""

    retry_after: float
    """Seconds; inf: until somebody resets the breaker."""
    last_failure: str
    """What failed last; empty if nothing did."""


@attrs.frozen
class Change:
    """One transition, and the figures that led to it."""

    state: State
    reason: Reason
    failures: int
    """Consecutive failures."""
    calls: int = 0
    """Calls within the window of the rate; 0 without one."""
    failed: int = 0
    """How many of those failed."""
    wait: float = 0.0
    """Seconds until it is half-open; inf: until somebody resets it."""


class Breaker:
    """One circuit breaker: ask `admit` before a call, `settle` the permit after it.

    ``generation`` is where its generations begin to count. Give every breaker of one
    thing another beginning, so that the permits of its predecessor have no vote.
    """

    def __init__(self, policy: BreakerPolicy, generation: int = 0) -> None:
        self.policy = policy
        self.state: State = "closed"
        self.failures = 0
        """Consecutive ones."""
        self.last_failure = ""
        self.last_change: Change | None = None
        self._generation = generation
        self._number = 0
        # Permits of this generation that are out: number -> when the lease ends.
        # Invariant: while half-open, no more than policy.probes.
        self._leases: dict[int, float] = {}
        self._first_expiry = math.inf  # no lease ends before
        self._window = _Window(policy.rate)
        self._until = 0.0  # when open or forced_open ends
        self._closed_at = -math.inf
        self._openings = 0  # since it was last healthy: the exponent of the wait
        self._successes = 0  # of probes, while half-open

    @property
    def leases(self) -> int:
        """How many permits are out."""
        return len(self._leases)

    def retry_after(self, now: float) -> float:
        """Seconds until a call may be admitted; 0: now."""
        match self.state:
            case "closed":
                return 0.0
            case "open" | "forced_open":
                return max(0.0, self._until - now)
            case "half_open":
                self._forget_lost(now)
                if len(self._leases) < self.policy.probes - self._successes:
                    return 0.0
                return min(self._leases.values()) - now
            case _:
                assert_never(self.state)

    def admit(self, now: float, lease: float = 0.0) -> Permit | Refused:
        """Give out a permit, unless it is open, or enough probes are on their way.

        The permit lasts ``lease`` seconds, at the least those of the policy.
        """
        self._forget_lost(now)
        wait = self.retry_after(now)
        if wait > 0:
            return Refused(wait, self.last_failure)
        if self.state in ("open", "forced_open"):
            self._become("half_open", "waited")
        self._number += 1
        expires = now + max(lease, self.policy.lease)
        self._leases[self._number] = expires
        self._first_expiry = min(self._first_expiry, expires)
        return Permit(self._generation, self._number)

    def settle(
        self,
        permit: Permit,
        outcome: Outcome,
        now: float,
        jitter: float,
        failure: str = "",
    ) -> None:
        """Give a permit back. Counts once, and only in the state that gave it out.

        ``jitter`` is drawn from [0, 1]: the share of the longest wait to take if this
        opens the breaker. ``failure`` says what failed.
        """
        self._forget_lost(now)
        if permit.generation != self._generation:
            return
        if self._leases.pop(permit.number, None) is None or outcome == "no verdict":
            return
        failed = outcome == "failed"
        self.failures = self.failures + 1 if failed else 0
        if failed:
            self.last_failure = failure
        if self.state == "half_open":
            if failed:
                # Waiting for so many failures again would send that many more
                # calls to somebody who is known to be down.
                self._open("probe failed", now, jitter)
                return
            self._successes += 1
            if self._successes >= self.policy.probes:
                self._close("probes succeeded", now)
            return
        self._window.add(now, failed=failed)
        limit = self.policy.failures
        if limit is not None and self.failures >= limit:
            self._open("consecutive failures", now, jitter)
        elif failed and self._window.trips():
            self._open("failure rate", now, jitter)

    def force_open(self, now: float, seconds: float = math.inf) -> None:
        """Refuse every call for so long, whatever happens; then probe."""
        self._until = now + seconds
        self._become("forced_open", "forced", seconds)

    def reset(self, now: float) -> None:
        """Close it and forget what it knew."""
        self._openings = 0
        self._close("reset", now)

    def _open(self, reason: Reason, now: float, jitter: float) -> None:
        wait = self.policy.wait
        if self.state == "closed" and now - self._closed_at >= wait.healthy:
            self._openings = 0
        seconds = jitter * wait.longest(self._openings)
        self._openings += 1
        self._until = now + seconds
        self._become("open", reason, seconds)

    def _close(self, reason: Reason, now: float) -> None:
        self._become("closed", reason)
        self._closed_at = now
        self.failures = 0
        self.last_failure = ""

    def _become(self, state: State, reason: Reason, wait: float = 0.0) -> None:
        window = self._window
        self.last_change = Change(
            state, reason, self.failures, window.calls, window.failed, wait
        )
        self.state = state
        self._generation += 1
        self._leases.clear()
        self._first_expiry = math.inf
        self._successes = 0
        self._window = _Window(self.policy.rate)

    def _forget_lost(self, now: float) -> None:
        if now >= self._first_expiry:
            self._leases = {n: end for n, end in self._leases.items() if end > now}
            self._first_expiry = min(self._leases.values(), default=math.inf)


class _Window:
    """The verdicts of the last seconds, as counts."""

    def __init__(self, rate: FailureRate | None) -> None:
        self._rate = rate
        # (which part of time, calls, failed), oldest first.
        self._parts: deque[tuple[int, int, int]] = deque()
        self.calls = 0
        self.failed = 0

    def add(self, now: float, *, failed: bool) -> None:
        if self._rate is None:
            return
        part = int(now / (self._rate.within / PARTS))
        calls = bad = 0
        if self._parts and self._parts[-1][0] == part:
            _, calls, bad = self._parts.pop()
        self._parts.append((part, calls + 1, bad + failed))
        self.calls += 1
        self.failed += failed
        while self._parts[0][0] <= part - PARTS:
            _, calls, bad = self._parts.popleft()
            self.calls -= calls
            self.failed -= bad

    def trips(self) -> bool:
        rate = self._rate
        return (
            rate is not None
            and self.calls >= rate.minimum
            and self.failed >= rate.share * self.calls
        )
