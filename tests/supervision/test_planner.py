"""What otp_model cannot show: stops and starts take time, and meanwhile all goes on."""

from __future__ import annotations

from collections import deque
from random import Random

import attrs
import pytest
from hypothesis import given, settings, strategies as st

from supervision import AutoShutdown, Child, Intensity, Restart, Strategy
from supervision.plan import (
    Action,
    ChildAdded,
    ChildExited,
    ChildStarted,
    ChildStopped,
    ChildStuck,
    Dismiss,
    Event,
    GiveUp,
    RestartRequested,
    Shutdown,
    Start,
    StartFailed,
    Stop,
    StopRequested,
)
from supervision.planner import Planner


def planner_of(
    *children: str | Child[object],
    strategy: Strategy = "one_for_all",
    restarts: int = 10,
    auto_shutdown: AutoShutdown = "never",
) -> Planner:
    """A planner whose children are up since 0; a name is a permanent child."""
    made = [Child(c, object) if isinstance(c, str) else c for c in children]
    planner = Planner(
        made,
        strategy=strategy,
        auto_shutdown=auto_shutdown,
        intensity=Intensity(restarts, within=5),
        healthy=10,
    )
    for child in made:
        assert planner.handle(ChildStarted(child.name), 0) == []
    return planner


def after(planner: Planner, *events: Event, now: float = 0) -> list[Action]:
    """What the last of these events leads to."""
    return [planner.handle(event, now) for event in events][-1]


def crash(name: str) -> ChildExited:
    return ChildExited(name, failed=True)


def test_a_group_stops_in_reverse_and_starts_in_order_one_at_a_time() -> None:
    planner = planner_of("a", "b", "c")
    assert after(planner, crash("b")) == [Stop("c")]
    assert after(planner, ChildStopped("c")) == [Stop("a")]
    assert after(planner, ChildStopped("a")) == [Start("a", attempt=0)]
    assert after(planner, ChildStarted("a")) == [Start("b", None)]
    assert after(planner, ChildStarted("b")) == [Start("c", None)]
    assert after(planner, ChildStarted("c")) == []


def test_one_for_one_restarts_children_beside_one_another() -> None:
    planner = planner_of("a", "b", strategy="one_for_one")
    assert after(planner, crash("a")) == [Start("a", 0)]
    assert after(planner, crash("b")) == [Start("b", 0)]


def test_a_failure_of_an_elder_takes_back_what_had_begun() -> None:
    planner = planner_of("a", "b", "c", strategy="rest_for_one")
    assert after(planner, crash("b"), ChildStopped("c")) == [Start("b", 0)]
    assert after(planner, crash("a")) == [Stop("b")]
    assert after(planner, ChildStopped("b")) == [Start("a", 0)]
    assert after(planner, ChildStarted("a")) == [Start("b", None)]
    assert after(planner, ChildStarted("b")) == [Start("c", None)]


def test_a_child_that_would_be_stopped_anyway_may_crash_for_nothing() -> None:
    planner = planner_of("a", "b", "c", restarts=1)
    assert after(planner, crash("a")) == [Stop("c")]
    assert after(planner, crash("c"), crash("b")) == []
    assert after(planner, ChildStopped("c")) == [Start("a", 0)]


def test_a_failure_during_the_starts_costs_a_restart() -> None:
    planner = planner_of("a", "b", restarts=1)
    assert after(planner, crash("b"), ChildStopped("a")) == [Start("a", 0)]
    assert after(planner, StartFailed("a")) == [GiveUp("a")]
    assert after(planner, ChildStopped("a")) == []


def test_one_for_all_starts_all_again_when_one_does_not_start() -> None:
    planner = planner_of("a", "b")
    after(planner, crash("b"), ChildStopped("a"))
    assert after(planner, ChildStarted("a"), StartFailed("b")) == [Stop("a")]
    # The second failure of b in a row is what is backed off from.
    assert after(planner, ChildStopped("a")) == [Start("a", 1)]


def test_rest_for_one_goes_on_from_the_child_that_did_not_start() -> None:
    planner = planner_of("a", "b", strategy="rest_for_one")
    after(planner, crash("a"), ChildStopped("b"))
    assert after(planner, ChildStarted("a"), StartFailed("b")) == [Start("b", 0)]


def test_attempts_are_counted_until_the_child_was_healthy() -> None:
    planner = planner_of("a", strategy="one_for_one")
    assert after(planner, crash("a"), now=1) == [Start("a", 0)]
    assert after(planner, ChildStarted("a"), crash("a"), now=2) == [Start("a", 1)]
    assert after(planner, StartFailed("a"), now=3) == [Start("a", 2)]
    after(planner, ChildStarted("a"), now=4)
    assert after(planner, crash("a"), now=14) == [Start("a", 0)]


def test_a_child_that_is_asked_to_stop_while_it_backs_off_stays_down() -> None:
    planner = planner_of("a", "b", strategy="one_for_one")
    assert after(planner, crash("a"), StopRequested("a")) == [Stop("a")]
    # That it came up, or failed to, before it noticed changes nothing.
    assert after(planner, ChildStarted("a"), crash("a"), ChildStopped("a")) == []
    assert planner.phase("a") == "down"
    assert after(planner, RestartRequested("a")) == [Start("a", None)]


def test_a_group_revives_a_transient_child_that_had_ended_by_itself() -> None:
    planner = planner_of("a", Child("b", object, restart="transient"))
    assert after(planner, ChildExited("b", failed=False)) == []
    assert not planner.wants("b")
    assert after(planner, crash("a")) == [Start("a", 0)]
    assert after(planner, ChildStarted("a")) == [Start("b", None)]


def test_a_group_revives_what_was_stopped_by_a_request_unless_it_is_forgotten() -> None:
    planner = planner_of("a", "b", "c")
    assert after(planner, StopRequested("b")) == [Stop("b")]
    assert after(planner, StopRequested("c", forget=True)) == []  # its turn comes
    assert after(planner, crash("a")) == []
    assert after(planner, ChildStopped("b")) == [Stop("c", final=True)]
    assert after(planner, ChildStopped("c")) == [Dismiss("c"), Start("a", 0)]
    assert after(planner, ChildStarted("a")) == [Start("b", None)]


def test_a_new_child_waits_until_its_group_is_up() -> None:
    planner = planner_of("a", "b")
    assert after(planner, crash("a"), ChildAdded(Child("c", object))) == []
    assert after(planner, ChildStopped("b")) == [Start("a", 0)]
    assert after(planner, ChildStarted("a")) == [Start("b", None)]
    assert after(planner, ChildStarted("b")) == [Start("c", None)]
    assert after(planner, StartFailed("c")) == [Dismiss("c")]
    assert "c" not in planner


def test_a_new_child_that_still_waits_is_spared_by_a_failure() -> None:
    planner = planner_of("a")
    assert after(planner, crash("a")) == [Start("a", 0)]
    after(planner, ChildAdded(Child("b", object, restart="temporary")))
    assert after(planner, StartFailed("a")) == [Start("a", 1)]
    assert after(planner, ChildStarted("a")) == [Start("b", None)]


def test_a_request_to_start_what_is_restarted_anyway_changes_nothing() -> None:
    planner = planner_of("a", "b")
    assert after(planner, crash("b"), RestartRequested("b")) == []
    assert after(planner, ChildStopped("a"), ChildStarted("a")) == [Start("b", None)]
    assert after(planner, StartFailed("b")) == [Stop("a")]


def test_a_child_that_is_to_be_forgotten_is_not_remembered_by_a_second_request() -> (
    None
):
    planner = planner_of("a")
    assert after(planner, StopRequested("a", forget=True)) == [Stop("a", final=True)]
    assert after(planner, StopRequested("a"), ChildStopped("a")) == [Dismiss("a")]


def test_a_living_child_is_restarted_on_request_for_nothing() -> None:
    planner = planner_of("a", "b", strategy="one_for_one", restarts=0)
    assert after(planner, RestartRequested("a")) == [Stop("a")]
    assert after(planner, ChildStopped("a")) == [Start("a", None)]
    assert after(planner, RestartRequested("a")) == [Stop("a")], "the start as well"
    assert after(planner, ChildStopped("a"), ChildStarted("a")) == []
    assert planner.charged == 0
    # One that has been up is not given up because somebody asked.
    after(planner, RestartRequested("a"), ChildStopped("a"))
    assert after(planner, StartFailed("a")) == [GiveUp("a")]


def test_a_temporary_child_that_does_not_come_back_is_forgotten() -> None:
    child = Child("a", object, restart="temporary")
    planner = planner_of(child, strategy="one_for_one")
    after(planner, RestartRequested("a"), ChildStopped("a"))
    assert after(planner, StartFailed("a")) == [Dismiss("a")]


def test_a_group_goes_on_without_what_is_stuck_and_takes_it_back() -> None:
    planner = planner_of("a", "b", "c")
    assert after(planner, crash("c")) == [Stop("b")]
    assert after(planner, ChildStuck("b")) == [Stop("a")]
    assert after(planner, ChildStopped("a")) == [Start("a", 0)]
    assert after(planner, ChildStarted("a")) == [Start("c", None)]
    assert after(planner, ChildStarted("c")) == []
    assert after(planner, ChildStopped("b")) == [Start("b", None)]


def test_what_is_stuck_can_be_told_what_to_do_when_it_ends() -> None:
    planner = planner_of("a", "b", strategy="one_for_one")
    after(planner, RestartRequested("a"), RestartRequested("b"))
    assert after(planner, ChildStuck("a"), StopRequested("a")) == []
    assert after(planner, ChildStopped("a")) == []
    assert after(planner, ChildStuck("b"), StopRequested("b", forget=True)) == []
    assert after(planner, ChildStopped("b")) == [Dismiss("b")]


def test_a_start_that_is_stuck_is_repeated_once_it_has_ended() -> None:
    planner = planner_of("a", strategy="one_for_one")
    assert after(planner, crash("a"), ChildStuck("a")) == []
    assert after(planner, ChildStopped("a")) == [Start("a", None)]


def test_failures_that_merge_wait_for_the_longer_backoff() -> None:
    planner = planner_of("a", "b", "c", strategy="rest_for_one")
    after(planner, crash("b"), ChildStopped("c"), ChildStarted("b"), ChildStarted("c"))
    assert after(planner, crash("b")) == [Stop("c")]
    assert after(planner, crash("a")) == []
    assert after(planner, ChildStopped("c")) == [Start("a", 1)]


def test_a_backoff_nobody_waits_for_is_over() -> None:
    planner = planner_of("a", "b", strategy="rest_for_one")
    assert after(planner, crash("a")) == [Stop("b")]
    assert after(planner, StopRequested("a"), StopRequested("b")) == []
    assert after(planner, ChildStopped("b")) == []
    assert after(planner, RestartRequested("a")) == [Start("a", None)]


def test_a_pending_restart_keeps_a_supervisor_from_shutting_down() -> None:
    children = [
        Child(name, object, restart="transient", significant=True) for name in "ab"
    ]
    planner = planner_of(
        *children, strategy="one_for_one", auto_shutdown="all_significant"
    )
    assert after(planner, crash("a")) == [Start("a", 0)]
    assert after(planner, ChildExited("b", failed=False)) == []
    after(planner, ChildStarted("a"))
    assert after(planner, ChildExited("a", failed=False)) == [Shutdown("a")]


def test_a_significant_child_that_nobody_would_notice_is_refused() -> None:
    child = Child("x", object, restart="temporary", significant=True)
    with pytest.raises(ValueError, match="'x' is significant, but"):
        planner_of(child)
    planner = planner_of("a")
    with pytest.raises(ValueError, match="'x' is significant, but"):
        after(planner, ChildAdded(child))
    assert "x" not in planner


def test_a_second_child_of_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="a child 'a' already"):
        after(planner_of("a"), ChildAdded(Child("a", object)))


# -- any interleaving -----------------------------------------------------------------


RESTARTS: list[Restart] = ["permanent", "transient", "temporary"]


@attrs.define
class Actual:
    """What is really the case with a child, whatever the planner has heard of it."""

    child: Child[object]
    alive: bool = True
    order: str = ""
    """The action that is being carried out."""
    started: int = 0
    stuck: bool = False
    """Its stop has no end yet."""


class Chaos:
    """Carries out what the planner says, at its leisure, and tells it late."""

    def __init__(
        self, random: Random, strategy: Strategy, *, sticky: bool = False
    ) -> None:
        self.random = random
        self.sticky = sticky
        self.group = strategy != "one_for_one"
        children = [
            Child(name, object, restart=random.choice(RESTARTS))
            for name in "abcde"[: random.randint(1, 5)]
        ]
        self.children = {child.name: Actual(child) for child in children}
        self.planner = planner_of(*children, strategy=strategy, restarts=1000)
        self.inbox: deque[Event] = deque()
        self.clock = 0
        self.failures: list[tuple[str, int]] = []

    def run(self, steps: int, *, requests: bool) -> None:
        moves = [self.deliver, self.complete, self.end_one, self.end_stuck]
        for _ in range(steps):
            self.random.choice([*moves, self.ask] if requests else moves)()
        while self.inbox or any(c.order or c.stuck for c in self.children.values()):
            self.random.choice([self.deliver, self.complete, self.end_stuck])()

    def deliver(self) -> None:
        if self.inbox:
            self.clock += 1
            for action in self.planner.handle(self.inbox.popleft(), 0):
                self.obey(action)

    def obey(self, action: Action) -> None:
        assert not isinstance(action, GiveUp | Shutdown)
        actual = self.children[action.name]
        match action:
            case Start(name):
                assert not actual.alive
                assert not actual.order
                orders = [c.order for c in self.children.values()]
                assert not self.group or not any(orders), "one at a time"
                actual.order = "start"
            case Stop(name):
                assert actual.order != "stop"
                assert not self.group or "stop" not in {
                    c.order for c in self.children.values()
                }
                actual.order = "stop"
            case Dismiss(name):
                assert not actual.alive
                assert not actual.order
                del self.children[name]

    def complete(self) -> None:
        """Finish one of the starts and stops that are under way."""
        under_way = [n for n, c in self.children.items() if c.order]
        if not under_way:
            return
        self.clock += 1
        name = self.random.choice(under_way)
        actual = self.children[name]
        order, actual.order = actual.order, ""
        if order == "stop" and self.sticky and self.random.random() < 0.2:
            actual.stuck = True
            self.inbox.append(ChildStuck(name))
        elif order == "stop":
            actual.alive = False
            self.inbox.append(ChildStopped(name))
        elif self.random.random() < 0.2:
            self.failures.append((name, self.clock))
            self.inbox.append(StartFailed(name))
        else:
            actual.alive, actual.started = True, self.clock
            self.inbox.append(ChildStarted(name))

    def end_stuck(self) -> None:
        stuck = [n for n, c in self.children.items() if c.stuck]
        if stuck:
            self.clock += 1
            name = self.random.choice(stuck)
            self.children[name].alive = self.children[name].stuck = False
            self.inbox.append(ChildStopped(name))

    def end_one(self) -> None:
        alive = [
            n
            for n, c in self.children.items()
            if c.alive and not c.order and not c.stuck
        ]
        if alive:
            name = self.random.choice(alive)
            self.children[name].alive = False
            self.inbox.append(ChildExited(name, failed=self.random.random() < 0.7))

    def ask(self) -> None:
        name = self.random.choice("abcde")
        if name in self.planner:
            # A request is handled when it is made: its name is known then.
            stop = StopRequested(name, forget=self.random.random() < 0.3)
            events: list[Event] = [stop, RestartRequested(name)]
            event = self.random.choice(events)
            for action in self.planner.handle(event, 0):
                self.obey(action)
        else:
            child = Child(name, object, restart=self.random.choice(RESTARTS))
            self.children[name] = Actual(child, alive=False)
            for action in self.planner.handle(ChildAdded(child), 0):
                self.obey(action)


STRATEGIES = st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])


@given(st.randoms(use_true_random=False), STRATEGIES, st.booleans())
@settings(max_examples=500)
def test_whatever_happens_when_the_planner_ends_knowing_what_is_the_case(
    random: Random, strategy: Strategy, requests: bool
) -> None:
    chaos = Chaos(random, strategy, sticky=True)
    chaos.run(60, requests=requests)
    for name, actual in chaos.children.items():
        assert chaos.planner.phase(name) == ("up" if actual.alive else "down")
        if not requests and actual.child.restart == "permanent":
            assert actual.alive


@given(
    st.randoms(use_true_random=False), st.sampled_from(["one_for_all", "rest_for_one"])
)
@settings(max_examples=500)
def test_whatever_happens_when_nobody_outlives_an_elder(
    random: Random, strategy: Strategy
) -> None:
    chaos = Chaos(random, strategy)
    chaos.run(60, requests=False)
    started = [c.started for c in chaos.children.values() if c.alive]
    assert started == sorted(started)
    if strategy == "one_for_all" and chaos.children:
        # All that live have been started after the last start that failed.
        last = max((at for _, at in chaos.failures), default=0)
        assert all(at > last or last == 0 for at in started)
