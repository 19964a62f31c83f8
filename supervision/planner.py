"""What a supervisor does about its children, as a state machine.

The supervisor reports what happened to which child; `Planner.handle` answers what to
do now. Nothing here waits: a stop or a start is an action, and its completion is a
later event. In between anything may happen, and changes the plan that is under way.

Events of one child must come in the order in which they happened: `ChildStarted`
before the exit of that incarnation, and `ChildStopped` after all that the stopped
incarnation had to report.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal, assert_never, get_args

import attrs

from supervision.decisions import RestartWindow
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
from supervision.specs import AutoShutdown, Child, Intensity, Strategy, check_choice

Phase = Literal["down", "starting", "up", "stopping", "stuck"]

Goal = Literal["up", "again", "down", "gone"]
"""up: it is, or is to be started; again: to be stopped, then started; down: to be
stopped, or it is; gone: to be stopped and forgotten."""


@attrs.define(eq=False)
class Member:
    """One child, as far as the planner is concerned."""

    child: Child[Any]
    phase: Phase
    goal: Goal = "up"
    if_start_fails: Literal["again", "down", "gone"] = "again"
    """Only a start that nobody asked for is tried again, and costs intensity."""
    attempt: int = 0
    """Restarts on its own account since it was last healthy."""
    up_since: float = math.inf

    def is_doomed(self) -> bool:
        """Whether it has to be stopped."""
        return self.phase in ("starting", "up") and self.goal != "up"

    def waits(self) -> bool:
        """Whether it has to be started."""
        return self.phase == "down" and self.goal == "up"


class Planner:
    """Decides for the children of one incarnation of a supervisor, as OTP does.

    The children given are being started by the supervisor itself, in order; it
    reports each as `ChildStarted`. After `GiveUp` or `Shutdown` nothing follows.

    Under one_for_one every child is on its own. Under the other strategies one child
    moves at a time: first those that have to be stopped, in the reverse order of
    their start, then those that have to be started, in order.

    Raises:
        ValueError: a child is significant, and ``auto_shutdown`` is never; or an
            option is none of those there are.
    """

    def __init__(
        self,
        children: Iterable[Child[Any]],
        *,
        strategy: Strategy = "one_for_one",
        auto_shutdown: AutoShutdown = "never",
        intensity: Intensity,
        healthy: float,
    ) -> None:
        check_choice("strategy", strategy, get_args(Strategy))
        check_choice("auto_shutdown", auto_shutdown, get_args(AutoShutdown))
        self._strategy: Strategy = strategy
        self._alone = strategy == "one_for_one"
        self._auto_shutdown: AutoShutdown = auto_shutdown
        self._window = RestartWindow(intensity)
        self._healthy = healthy
        self._members = {child.name: Member(child, "starting") for child in children}
        for member in self._members.values():
            member.child.check_significance(auto_shutdown)
        self._over = False
        self._actions: list[Action] = []
        """What is to be done about the event in hand."""
        self.charged = 0
        """How many failures have cost a restart."""
        # The plan, but for one_for_one: who has to be stopped, from the right, and
        # then started, from the left. Some may meanwhile not have to any more.
        self._stops: list[str] = []
        self._starts: deque[str] = deque()
        self._stopping = self._starting = ""
        self._attempt: int | None = None
        """For the next start: what the failure that led to it has to wait for."""

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def phase(self, name: str) -> Phase:
        """Tell where a child is on its way."""
        return self._members[name].phase

    def is_up(self, name: str) -> bool:
        """Tell whether a child is up, and is to stay so."""
        return self.phase(name) == "up" and self._members[name].goal == "up"

    def is_going(self, name: str) -> bool:
        """Tell whether a child will not come back."""
        return self._members[name].goal == "gone"

    def wants(self, name: str) -> bool:
        """Tell whether a child is up, or is to be."""
        return name in self._members and self._members[name].goal in ("up", "again")

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take notice of an event, and say what to do now, in this order.

        Raises:
            KeyError: the event is about no child of this supervisor.
            ValueError: a child to be added has the name of another, or is significant
                to no purpose.
        """
        actions = self._actions = []
        if not self._over:
            self._take(event, now)
        if not self._over:
            if not self._alone:
                self._next()
            elif (member := self._members.get(event.name)) is not None:
                self._move(member)
        return actions

    def _take(self, event: Event, now: float) -> None:
        if isinstance(event, (ChildExited, StartFailed)):
            # The usual ones, before a match, which makes a set for every class.
            self._lost(event, self._members[event.name], now)
            return
        match event:
            case ChildStarted(name):
                self.started(name, now)
            case ChildStopped(name):
                self._landed(name)
            case ChildStuck(name):
                self._stuck(self._members[name])
            case StopRequested(name, forget):
                self._stop(name, forget=forget)
            case RestartRequested(name):
                self._restart(self._members[name])
            case ChildAdded(child):
                if child.name in self._members:
                    raise ValueError(f"there is a child {child.name!r} already")
                child.check_significance(self._auto_shutdown)
                self._members[child.name] = Member(child, "down", if_start_fails="gone")
                self._plan()
            case _:
                assert_never(event)

    def started(self, name: str, now: float) -> bool:
        """Take notice that a child is up; tell whether it is to stay so."""
        member = self._members[name]
        if member.phase == "starting":  # else it is being stopped meanwhile
            member.phase, member.up_since = "up", now
        return member.phase == "up" and member.goal == "up"

    # -- the end of an incarnation --------------------------------------------------

    def _lost(
        self, event: ChildExited | StartFailed, member: Member, now: float
    ) -> None:
        """An incarnation is over, and it was not us who ended it."""
        if member.phase == "stopping":
            return  # ChildStopped follows
        if member.is_doomed():
            # As it would have been stopped anyway, a group that crashes as one
            # costs one restart.
            self._landed(event.name)
        elif isinstance(event, StartFailed):
            if member.if_start_fails == "again":
                self._failed(member, now)
            else:
                member.goal = member.if_start_fails
                self._landed(event.name)
        else:
            match member.child.restart:
                case "permanent":
                    self._failed(member, now)
                case "transient" if event.failed:
                    self._failed(member, now)
                case "transient" | "temporary":
                    self._ended(member)
                case _:
                    assert_never(member.child.restart)

    def _landed(self, name: str) -> None:
        """Nothing of the child is left; it may be wanted again."""
        member = self._members[name]
        was_stuck = member.phase == "stuck"
        if member.goal == "gone":
            del self._members[name]
            self._actions.append(Dismiss(name))
        else:
            member.phase = "down"
            if member.goal == "again":
                member.goal = "up"
        if was_stuck:
            self._plan()  # it has gone on without this one

    def _ended(self, member: Member) -> None:
        """A child ended by itself, and is not restarted."""
        name = member.child.name
        member.goal = "gone" if member.child.restart == "temporary" else "down"
        self._landed(name)
        if member.child.significant and self._shuts_down():
            self._end(Shutdown(name))

    def _shuts_down(self) -> bool:
        match self._auto_shutdown:
            case "never":
                return False
            case "any_significant":
                return True
            case "all_significant":
                return not any(
                    member.child.significant and member.goal in ("up", "again")
                    for member in self._members.values()
                )
            case _:
                assert_never(self._auto_shutdown)

    def _failed(self, member: Member, now: float) -> None:
        """A child is to be restarted, and its group with it."""
        name, attempt = member.child.name, member.attempt
        if now - member.up_since >= self._healthy:
            attempt = 0
        member.phase, member.goal, member.if_start_fails = "down", "up", "again"
        member.attempt = attempt + 1
        self.charged += 1
        if not self._window.charge(now):
            self._end(GiveUp(name))
            return
        if self._attempt is None or attempt > self._attempt:
            self._attempt = attempt
        if not self._alone:
            for other in self._group(name):
                self._involve(self._members[other])
            self._plan()

    def _group(self, name: str) -> list[str]:
        names = list(self._members)
        return names[names.index(name) :] if self._strategy == "rest_for_one" else names

    def _involve(self, member: Member) -> None:
        """Another of its group has failed."""
        if member.goal == "gone" or member.waits():
            return
        if member.child.restart == "temporary":
            member.goal = "gone"
        else:
            # Also what has ended by itself, or was stopped by a request.
            member.goal = "up" if member.phase == "down" else "again"
            member.if_start_fails = "again"

    def _stuck(self, member: Member) -> None:
        """It cannot be ended. If it had been up, its end is reported when it comes."""
        if member.phase == "starting":
            member.phase = "stuck"
            if member.goal == "up":
                member.goal = member.if_start_fails
        elif member.phase == "stopping":
            member.phase = "stuck"

    # -- requests, and the next step ------------------------------------------------

    def _stop(self, name: str, *, forget: bool) -> None:
        member = self._members[name]
        forget = forget or member.goal == "gone" or member.child.restart == "temporary"
        member.goal = "gone" if forget else "down"
        if member.phase == "down":
            self._landed(name)
        self._plan()

    def _restart(self, member: Member) -> None:
        if member.goal == "gone" or member.waits():
            return
        if member.phase == "down":
            member.goal, member.if_start_fails = "up", "down"
        else:
            temporary = member.child.restart == "temporary"
            member.goal = "again"
            member.if_start_fails = "gone" if temporary else "again"
        self._plan()

    def _plan(self) -> None:
        if not self._alone:
            members = self._members.items()
            self._stops = [name for name, m in members if m.is_doomed()]
            self._starts = deque(name for name, m in members if m.goal != "down")

    def _next(self) -> None:
        """Go on with the plan, if whoever moved last has got there."""
        if self._is(self._stopping, "stopping"):
            return
        while self._stops:
            member = self._members.get(self._stops.pop())
            if member is not None and member.is_doomed():
                self._move(member)
                return
        if self._is(self._starting, "starting"):
            return
        while self._starts:
            member = self._members.get(self._starts.popleft())
            if member is not None and member.waits():
                self._move(member)
                return
        self._attempt = None  # whoever it was for is not wanted any more

    def _move(self, member: Member) -> None:
        """Stop it or start it, if it has to be."""
        name = member.child.name
        if member.waits():
            self._starting = name
            member.phase, member.up_since = "starting", math.inf
            self._actions.append(Start(name, self._attempt))
            self._attempt = None
        elif member.is_doomed():
            self._stopping = name
            member.phase = "stopping"
            self._actions.append(Stop(name, final=member.goal == "gone"))

    def _end(self, action: GiveUp | Shutdown) -> None:
        self._over = True
        self._actions.append(action)

    def _is(self, name: str, phase: Phase) -> bool:
        return name in self._members and self._members[name].phase == phase
