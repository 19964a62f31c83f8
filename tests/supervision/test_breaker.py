"""A breaker opens by its rule, never wedges, and listens to nobody who is late."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import attrs
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from supervision import Backoff, BreakerPolicy, FailureRate
from supervision.breaker import Breaker, Outcome, Permit, Refused, State

WAIT = Backoff(first=10, factor=2, cap=40, healthy=60)


def admitted(breaker: Breaker, now: float, lease: float = 0.0) -> Permit:
    permit = breaker.admit(now, lease)
    assert isinstance(permit, Permit)
    return permit


def state_of(breaker: Breaker) -> State:
    """As a function, or a type checker believes that calls change nothing."""
    return breaker.state


def call(breaker: Breaker, outcome: Outcome, now: float = 0.0) -> None:
    breaker.settle(admitted(breaker, now), outcome, now, 1.0, "down")


def opened(probes: int = 1, lease: float = 5.0) -> Breaker:
    """Open from 0 to 10."""
    breaker = Breaker(BreakerPolicy(failures=1, wait=WAIT, probes=probes, lease=lease))
    call(breaker, "failed")
    assert state_of(breaker) == "open"
    return breaker


# -- opening ---------------------------------------------------------------------------


def test_it_opens_at_the_fifth_consecutive_failure() -> None:
    breaker = Breaker(BreakerPolicy())
    for _ in range(4):
        call(breaker, "failed")
    call(breaker, "ok")
    for _ in range(4):
        call(breaker, "failed")
    call(breaker, "no verdict")
    assert state_of(breaker) == "closed"
    call(breaker, "failed")
    assert state_of(breaker) == "open"
    assert breaker.last_change is not None
    assert breaker.last_change.reason == "consecutive failures"
    assert breaker.last_change.failures == 5


def test_it_opens_by_rate_once_there_are_enough_calls() -> None:
    rate = FailureRate(share=0.5, within=10, minimum=4)
    breaker = Breaker(BreakerPolicy(failures=None, rate=rate))
    for outcome in ("failed", "ok", "failed"):
        call(breaker, outcome, now=1)
        assert state_of(breaker) == "closed"
    call(breaker, "ok", now=1)
    assert state_of(breaker) == "closed", "a success opens nothing, whatever the rate"
    call(breaker, "failed", now=1)
    change = breaker.last_change
    assert change is not None
    assert (change.state, change.reason) == ("open", "failure rate")
    assert (change.calls, change.failed) == (5, 3)


def test_failures_leave_the_window_of_the_rate() -> None:
    rate = FailureRate(share=0.5, within=10, minimum=4)
    breaker = Breaker(BreakerPolicy(failures=None, rate=rate))
    for now in (0, 1, 2, 11.5, 12.5, 13.5):
        call(breaker, "failed", now)
    assert state_of(breaker) == "closed"
    call(breaker, "failed", 14)
    assert state_of(breaker) == "open"


def test_failures_that_have_left_the_window_count_no_more() -> None:
    rate = FailureRate(share=0.6, within=10, minimum=4)
    breaker = Breaker(BreakerPolicy(failures=None, rate=rate))
    for now in (0, 1, 2):
        call(breaker, "failed", now)
    for outcome in ("ok", "ok", "failed", "failed"):
        call(breaker, outcome, now=20)
    assert state_of(breaker) == "closed", "a half of the last four failed"
    call(breaker, "failed", now=21)
    assert state_of(breaker) == "open", "three of the last five did"
    assert breaker.last_change is not None
    assert (breaker.last_change.calls, breaker.last_change.failed) == (5, 3)


# -- open ------------------------------------------------------------------------------


def test_open_it_refuses_and_says_for_how_long_and_why() -> None:
    breaker = opened()
    assert breaker.admit(4.0) == Refused(6.0, "down")
    assert breaker.admit(9.5) == Refused(0.5, "down")
    admitted(breaker, 10.0)
    assert state_of(breaker) == "half_open"


def test_the_wait_is_jittered_in_full_and_grows_to_its_cap() -> None:
    breaker = Breaker(BreakerPolicy(failures=1, wait=WAIT))
    now, waits = 0.0, []
    for jitter in (1.0, 0.5, 1.0, 1.0, 0.0, 0.25):
        breaker.settle(admitted(breaker, now), "failed", now, jitter)
        waits.append(breaker.retry_after(now))
        now += waits[-1]
    assert waits == [10, 10, 40, 40, 0, 10]


@pytest.mark.parametrize(("closed_for", "wait"), [(59, 20), (60, 10)])
def test_waits_grow_on_unless_it_was_healthy(closed_for: float, wait: float) -> None:
    breaker = opened()
    call(breaker, "ok", 10.0)
    assert state_of(breaker) == "closed"
    call(breaker, "failed", 10.0 + closed_for)
    assert breaker.retry_after(10.0 + closed_for) == wait


# -- half-open -------------------------------------------------------------------------


def test_half_open_admits_as_many_as_it_has_probes() -> None:
    breaker = opened(probes=2)
    admitted(breaker, 10.0)
    admitted(breaker, 11.0)
    assert breaker.admit(12.0) == Refused(3.0, "down")


def test_as_many_successes_as_probes_close_it() -> None:
    breaker = opened(probes=2)
    first, second = admitted(breaker, 10.0), admitted(breaker, 10.0)
    breaker.settle(first, "ok", 10.0, 1.0)
    assert isinstance(breaker.admit(10.0), Refused), "one more could prove nothing"
    breaker.settle(second, "ok", 10.0, 1.0)
    assert state_of(breaker) == "closed"
    assert breaker.failures == 0


def test_probes_that_succeeded_before_one_failed_count_no_more() -> None:
    breaker = opened(probes=2)
    first, second = admitted(breaker, 10), admitted(breaker, 10)
    breaker.settle(first, "ok", 10, 1.0)
    breaker.settle(second, "failed", 10, 1.0)
    now = 10 + breaker.retry_after(10)
    call(breaker, "ok", now)
    assert state_of(breaker) == "half_open"
    call(breaker, "ok", now)
    assert state_of(breaker) == "closed"


def test_one_failed_probe_opens_it_again_for_longer() -> None:
    breaker = opened(probes=2)
    call(breaker, "ok", 10.0)
    call(breaker, "failed", 10.0)
    assert state_of(breaker) == "open"
    assert breaker.retry_after(10.0) == 20.0


def test_a_probe_without_a_verdict_makes_room_for_another() -> None:
    breaker = opened()
    call(breaker, "no verdict", 10.0)
    assert state_of(breaker) == "half_open"
    admitted(breaker, 10.0)


def test_a_lost_probe_makes_room_when_its_lease_ends_and_has_no_vote_then() -> None:
    breaker = opened(lease=5.0)
    lost = admitted(breaker, 10.0)
    assert isinstance(breaker.admit(14.9), Refused)
    admitted(breaker, 15.0)
    breaker.settle(lost, "ok", 15.0, 1.0)
    assert state_of(breaker) == "half_open"
    assert breaker.leases == 1


def test_a_caller_may_ask_for_a_longer_lease_and_not_for_a_shorter_one() -> None:
    breaker = opened(probes=2, lease=5.0)
    long = admitted(breaker, 10.0, lease=20.0)
    admitted(breaker, 10.0, lease=1.0)
    assert breaker.admit(14.0) == Refused(1.0, "down")
    breaker.settle(long, "failed", 29.0, 1.0)
    assert state_of(breaker) == "open"


def test_what_was_asked_before_a_change_has_no_vote_after_it() -> None:
    breaker = Breaker(BreakerPolicy(failures=1, wait=WAIT))
    stale = [admitted(breaker, 0.0) for _ in range(3)]
    call(breaker, "failed")
    probe = admitted(breaker, 10.0)
    breaker.settle(stale[0], "ok", 10.0, 1.0)
    breaker.settle(stale[1], "failed", 10.0, 1.0)
    assert state_of(breaker) == "half_open"
    breaker.settle(probe, "ok", 10.0, 1.0)
    breaker.settle(stale[2], "failed", 10.0, 1.0)
    assert state_of(breaker) == "closed"
    assert breaker.failures == 0


def test_a_permit_of_a_predecessor_has_no_vote() -> None:
    policy = BreakerPolicy(failures=1)
    old, new = Breaker(policy, generation=7), Breaker(policy, generation=1000)
    permit = admitted(old, 0.0)
    admitted(new, 0.0)
    new.settle(permit, "failed", 0.0, 1.0)
    assert new.state == "closed"


# -- by hand ---------------------------------------------------------------------------


def test_forced_open_it_refuses_until_its_end_and_then_probes() -> None:
    breaker = Breaker(BreakerPolicy())
    under_way = admitted(breaker, 0.0)
    breaker.force_open(0.0, 30.0)
    breaker.settle(under_way, "ok", 1.0, 1.0)
    assert breaker.admit(1.0) == Refused(29.0, "")
    admitted(breaker, 30.0)
    assert state_of(breaker) == "half_open"


def test_forced_open_without_an_end_it_waits_for_a_reset() -> None:
    breaker = opened()
    breaker.force_open(0.0)
    assert breaker.admit(1e9) == Refused(math.inf, "down")
    breaker.reset(1e9)
    admitted(breaker, 1e9)
    call(breaker, "failed", 1e9)
    assert breaker.retry_after(1e9) == 10.0, "a reset forgets how often it opened"


# -- settings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: BreakerPolicy(failures=0), "failures must be a whole number"),
        (lambda: BreakerPolicy(failures=None), "never opens"),
        (lambda: BreakerPolicy(probes=0), "probes"),
        (lambda: BreakerPolicy(lease=0), "lease"),
        (lambda: BreakerPolicy(lease=math.inf), "lease"),
        (lambda: BreakerPolicy(wait=Backoff(first=0)), r"wait\.first"),
        (lambda: BreakerPolicy(wait=Backoff(cap=math.inf)), r"wait\.cap"),
        (lambda: FailureRate(share=0), "share"),
        (lambda: FailureRate(share=1.1), "share"),
        (lambda: FailureRate(share=math.nan), "share"),
        (lambda: FailureRate(within=math.nan), "within"),
        (lambda: FailureRate(minimum=0), "minimum"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_name(
    make: Callable[[], object], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        make()


# -- all of it at once -----------------------------------------------------------------

LEGAL: set[tuple[State, State]] = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "open"),
    ("half_open", "closed"),
    ("forced_open", "half_open"),
}
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(
    ["ok", "failed", "failed", "no verdict"]
)


@attrs.frozen(eq=False)
class Out:
    """A permit that was given out, and what we know about it ourselves."""

    permit: Permit
    era: int
    expires: float


def fingerprint(breaker: Breaker) -> tuple[object, ...]:
    return (
        breaker.state,
        breaker.failures,
        breaker.last_change,
        breaker.leases,
        breaker.last_failure,
        breaker._successes,
        breaker._window.calls,
        breaker._window.failed,
    )


class Breaking(RuleBasedStateMachine):
    """Calls that end in any order, twice, late or never; and hands on the levers."""

    @initialize(
        failures=st.integers(1, 3) | st.none(),
        share=st.sampled_from([None, 0.5, 1.0]),
        probes=st.integers(1, 3),
        lease=st.sampled_from([1.0, 3.0, 50.0]),
    )
    def begin(
        self, failures: int | None, share: float | None, probes: int, lease: float
    ) -> None:
        if failures is None and share is None:
            failures = 2
        rate = None if share is None else FailureRate(share=share, within=8, minimum=3)
        self.policy = BreakerPolicy(
            failures=failures,
            rate=rate,
            probes=probes,
            lease=lease,
            wait=Backoff(first=2, factor=2, cap=8, healthy=10),
        )
        self.breaker = Breaker(self.policy)
        self.now = 0.0
        self.era = 0  # transitions seen from outside
        self.state: State = "closed"
        self.streak = 0  # failures in a row, counted by ourselves
        self.good = 0  # probes that succeeded, likewise
        self.out: list[Out] = []
        self.settled: list[Out] = []

    def look(self, *allowed_by_hand: tuple[State, State]) -> None:
        """Whatever was just done led to no illegal transition."""
        if self.breaker.state != self.state:
            step = (self.state, self.breaker.state)
            assert step in LEGAL or step in allowed_by_hand, step
            self.state = self.breaker.state
            self.begin_era()

    def begin_era(self) -> None:
        self.era += 1
        self.good = 0
        if self.state == "closed":
            self.streak = 0

    @rule(seconds=st.sampled_from([0.0, 0.25, 1.0, 2.5, 7.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.state in ("open", "half_open"))
    @rule()
    def the_wait_ends(self) -> None:
        self.now += self.breaker.retry_after(self.now)

    @rule(outcome=OUTCOMES, jitter=st.sampled_from([0.5, 1.0]))
    def a_short_call(self, outcome: Outcome, jitter: float) -> None:
        out = len(self.out)
        self.a_call_begins(0.0)
        if len(self.out) > out:
            self.settle(self.out.pop(), outcome, jitter)

    @rule(lease=st.sampled_from([0.0, 4.0, 100.0]))
    def a_call_begins(self, lease: float) -> None:
        after = self.breaker.retry_after(self.now)
        answer = self.breaker.admit(self.now, lease)
        self.look()
        assert isinstance(answer, Permit) == (after == 0)
        if isinstance(answer, Permit):
            expires = self.now + max(lease, self.policy.lease)
            self.out.append(Out(answer, self.era, expires))
        else:
            assert answer.retry_after == after > 0

    def settle(self, out: Out, outcome: Outcome, jitter: float) -> None:
        before = fingerprint(self.breaker)
        self.breaker.settle(out.permit, outcome, self.now, jitter, "down")
        late = out.era != self.era or out.expires <= self.now or out in self.settled
        if late:
            # Leases that ended meanwhile may be swept on this occasion.
            same = fingerprint(self.breaker)
            assert (same[:3], same[4:]) == (before[:3], before[4:])
        elif outcome != "no verdict":
            self.count(outcome)
        self.look()
        self.settled.append(out)

    def count(self, outcome: Outcome) -> None:
        """A verdict in time, of which we know ourselves what it must lead to."""
        self.streak = self.streak + 1 if outcome == "failed" else 0
        if self.state == "half_open":
            self.good += outcome == "ok"
            closes = self.good >= self.policy.probes
            still: State = "closed" if closes else "half_open"
            assert self.breaker.state == ("open" if outcome == "failed" else still)
            return
        limit = self.policy.failures
        if limit is not None and self.streak >= limit:
            assert self.breaker.state == "open"
        elif self.policy.rate is None or outcome == "ok":
            assert self.breaker.state == "closed"

    @precondition(lambda self: self.out)
    @rule(
        data=st.data(),
        outcome=OUTCOMES,
        jitter=st.sampled_from([0.0, 0.5, 1.0]),
    )
    def a_call_ends(self, data: st.DataObject, outcome: Outcome, jitter: float) -> None:
        out = data.draw(st.sampled_from(self.out))
        self.settle(out, outcome, jitter)
        after = fingerprint(self.breaker)
        self.breaker.settle(out.permit, "failed", self.now, jitter)
        assert fingerprint(self.breaker) == after, "settled twice"
        if data.draw(st.booleans()):  # else it will be settled again later on
            self.out.remove(out)

    @precondition(lambda self: self.out)
    @rule()
    def a_caller_vanishes(self) -> None:
        self.out.pop()

    @rule(seconds=st.sampled_from([None, 3.0, math.inf]))
    def an_operator_acts(self, seconds: float | None) -> None:
        if seconds is None:
            self.breaker.reset(self.now)
        else:
            self.breaker.force_open(self.now, seconds)
        if self.breaker.state == self.state:
            self.begin_era()
        self.look((self.state, self.breaker.state))

    @invariant()
    def probes_are_bounded(self) -> None:
        if self.breaker.state == "half_open":
            assert self.breaker.leases <= self.policy.probes

    @invariant()
    def it_is_never_wedged(self) -> None:
        """Even if nobody who is out there ever comes back."""
        breaker, now = copy.deepcopy(self.breaker), self.now
        if breaker.retry_after(now) == math.inf:
            assert breaker.state == "forced_open"
            breaker.reset(now)
        for _ in range(3):
            answer = breaker.admit(now)
            if isinstance(answer, Permit):
                return
            assert 0 < answer.retry_after <= 100.0
            now += answer.retry_after
        pytest.fail("wedged")


TestBreaking = Breaking.TestCase
TestBreaking.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None
)
