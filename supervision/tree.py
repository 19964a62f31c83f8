"""The supervisor: child failures are messages, restarts are decisions.

A child is a task in its supervisor's own nursery that never raises: whatever happens
to it is posted to the supervisor's mailbox. A raw exception in that nursery would
cancel the siblings. Only the supervisor's own failure leaves it.

What to do is decided by the planner; here it is carried out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, assert_never, cast

import attrs
import trio
from outcome import Error

from actors import Deferred, Exit, Ref, Rejected, Snapshot, Stop, Tell
from actors._core.reply import Call
from supervision.events import (
    BackingOff,
    CleanupStarted,
    Escalated,
    Stuck,
)
from supervision.garbage import Collector
from supervision.moments import Occasion
from supervision.parent import Parent, StartFailed
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
    StartFailed as StartHasFailed,
    Stop as StopIt,
    StopRequested,
)
from supervision.planner import Planner
from supervision.reports import REMEMBERED, MaxRestarts, decision
from supervision.requests import (
    CleanUp,
    GetChildren,
    GetTree,
    RestartChild,
    StartChild,
    StopChild,
)
from supervision.role import Role
from supervision.roles import Roles
from supervision.specs import (
    AutoShutdown,
    Backoff,
    Child,
    Intensity,
    Strategy,
    check_children,
)

R = TypeVar("R")


@attrs.frozen
class End(Tell["Supervisor"]):
    """It is over, as was decided in whatever task."""

    system: ClassVar[bool] = True
    action: GiveUp | Shutdown


@attrs.frozen
class Report(Tell["Supervisor"]):
    """Something happened to a child."""

    system: ClassVar[bool] = True
    role: Role
    event: Event
    at: float
    """In trio time."""


class Supervisor(Parent):
    """Starts its children in order, restarts them by rule, stops them in reverse.

    A child that ends without having been asked is restarted as its `Restart` type
    and the `Strategy` say, after a jittered backoff during which the supervisor goes
    on answering. Beyond the intensity the supervisor itself fails with `MaxRestarts`,
    and its own supervisor decides. If a significant child ends, so may the supervisor
    (`AutoShutdown`), normally. Mailboxes of children outlive their restarts.

    Suspended, it goes on to restart its children, to give up and to stop; requests wait
    until it is resumed, `GetTree` too (`Ref.snapshot` does not). `GetState` shows the
    states of its children.

    A child that cannot be ended, because it shields itself, is stuck: it is reported,
    and everything else goes on without it (see `supervision.events.Stuck`).

    Raises:
        ValueError: two children have one name, one is significant to no purpose, or
            the intensity could never be exceeded.
    """

    def __init__(
        self,
        *children: Child[Any],
        strategy: Strategy = "one_for_one",
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
        auto_shutdown: AutoShutdown = "never",
    ) -> None:
        self.collector = Collector()  # until its own supervisor says otherwise
        intensity = intensity or Intensity()
        self._backoff = backoff or Backoff()
        intensity.check_reachable(self._backoff)
        check_children(children)
        self._children = children
        self._strategy = strategy
        self._auto_shutdown: AutoShutdown = auto_shutdown
        self._planner = Planner(
            children,
            strategy=strategy,
            auto_shutdown=auto_shutdown,
            intensity=intensity,
            healthy=self._backoff.healthy,
        )
        # Until they are started there are none, for `leave` and whoever looks.
        self._roles = cast("Roles", ())
        self._too_many = intensity.restarts + 1
        self._charged: deque[Exit] = deque(maxlen=min(self._too_many, REMEMBERED))
        self._blame = Exit("failed")
        """What the next backoff is for."""

    async def started(self) -> None:
        alone = self._strategy == "one_for_one"
        self._roles = Roles(
            self.ctx,
            self._is_up if alone else self._report_up,
            self._decide if alone else self._report,
            self.recorder,
            self.collector,
        )
        try:
            for child in self._children:
                self._roles.adopt(child)
        finally:
            self._roles.forget_orphans()
        await self._roles.start_in_turn()

    # -- requests -------------------------------------------------------------------

    @StartChild[Any].handled
    def start_child(self, m: StartChild[Any]) -> Deferred[Ref[Any]]:
        child = m.child
        self._check_new(child)
        try:
            role = self._roles.adopt(child)
        except ValueError as error:
            raise Rejected(str(error)) from error
        answer = self._answer_when(role.comes_up, lambda: role.ref)
        self._handle(ChildAdded(child))
        return answer

    def _check_new(self, child: Child[Any]) -> None:
        if not isinstance(cast("object", child), Child):
            raise Rejected(f"StartChild takes a Child, got {child!r}")
        if child.name in self._planner:
            hint = ""
            if self._planner.phase(child.name) == "down":
                hint = "; it is down: RestartChild starts it, StopChild forgets it"
            raise Rejected(
                f"{self.ctx.me.path} has a child {child.name!r} already{hint}"
            )
        if self._roles.ref(child).gone is not None:
            raise Rejected(
                f"{child.name!r} has stopped for good; make a new Child to start it"
            )
        try:
            child.check_significance(self._auto_shutdown)
        except ValueError as error:
            raise Rejected(str(error)) from error

    @StopChild.handled
    def stop_child(self, m: StopChild) -> Deferred[Exit]:
        role = self._child(m.name)
        if self._planner.phase(m.name) == "stuck":
            raise Rejected(f"{role.ref.path} is stuck: it will not stop")
        answer = self._answer_when(
            role.goes_down, lambda: role.last or Exit("shutdown")
        )
        self._handle(StopRequested(m.name, m.forget))
        if m.name not in self._planner or self._planner.phase(m.name) == "down":
            self._is_down(role)  # already
        return answer

    @RestartChild.handled
    def restart_child(self, m: RestartChild) -> Deferred[None]:
        return self._restart(self._child_that_stays(m.name))

    @CleanUp.handled
    def clean_up(self, m: CleanUp) -> Deferred[None]:
        role = self._child_that_stays(m.name)
        if not role.cleaning:
            role.cleaning = True
            self._roles.emit(CleanupStarted(role.ref.path))
        if self._planner.phase(m.name) == "down":
            self._complete_cleanup(role)  # nothing of it is left already
        return self._restart(role)

    def _complete_cleanup(self, role: Role) -> None:
        role.cleaning = False
        self.collector.complete(role.ref.path, self._roles.emit)

    def _restart(self, role: Role) -> Deferred[None]:
        answer = self._answer_when(role.comes_up, lambda: None)
        self._handle(RestartRequested(role.name))
        if self._planner.phase(role.name) == "stuck":
            self._is_stuck(role)
        return answer

    def _child_that_stays(self, name: str) -> Role:
        role = self._child(name)
        if self._planner.is_going(name):
            raise Rejected(f"{role.ref.path} is being stopped for good")
        return role

    def _child(self, name: str) -> Role:
        role = self._roles.get(name)
        if role is None:
            raise Rejected(f"{self.ctx.me.path} has no child {name!r}")
        return role

    def _answer_when(self, occasion: Occasion, answer: Callable[[], R]) -> Deferred[R]:
        """Answer the ask in hand when that comes; nobody waits for us until then."""
        life = self.ctx._life
        call: Call = life.current
        call.release()
        life.hold(call)

        def tell(error: Exception | None) -> None:
            if not life.release(call):
                return  # we have ended, and it was told so
            if error is None:
                call.answer(answer())
                return
            rejected = Rejected(str(error))
            rejected.__cause__ = error
            life.mailbox.rejected += 1
            call.settle(Error(rejected))

        occasion.then(tell)
        return Deferred(call)

    @GetChildren.handled
    def get_children(self, m: GetChildren) -> tuple[str, ...]:
        return tuple(role.name for role in self._roles)

    @GetTree.handled
    def get_tree(self, m: GetTree) -> Snapshot:
        return self.ctx.me.snapshot()

    # -- what happens -----------------------------------------------------------------

    def _report_up(self, role: Role) -> None:
        self._report(role, ChildStarted(role.name))

    def _report(self, role: Role, event: Event) -> None:
        life = self.ctx._life
        life.mailbox.post(Report(role, event, life.runtime.now()))

    def _is_up(self, role: Role) -> None:
        """One that is on its own has come up: nothing follows from it for anybody."""
        now = self.ctx._life.runtime.now()
        if self._planner.started(role.name, now):
            role.comes_up.comes()

    def _decide(self, role: Role, event: Event) -> None:
        """Do at once what follows, in the task of a child but as we would.

        What happens to one child concerns no other: nothing has to wait its turn.
        """
        life: Any = self.ctx._life
        if life.mailbox.state in ("running", "suspended"):
            context = life.task.context.copy()
            context.run(self._note, role, event, life.runtime.now())
        else:
            self._report(role, event)

    @Report.handled
    def reported(self, m: Report) -> None:
        if self._roles.get(m.role.name) is m.role:  # else of a former incarnation
            self._note(m.role, m.event, m.at)

    def _note(self, role: Role, event: Event, now: float) -> None:
        if role.cleaning and not isinstance(event, (ChildStarted, ChildStuck)):
            self._complete_cleanup(role)
        planner = self._planner
        charged = planner.charged
        actions = planner.handle(event, now)
        if planner.charged > charged:
            self._blame = role.last or Exit("failed")
            self._charged.append(self._blame)
        if role.crash is not None:
            stopped = isinstance(event, ChildStopped)
            word = "stop" if stopped else decision(planner, role.name, actions)
            role.report_crash(word)
        for action in actions:
            self._do(action)
        self._tell(role, event)

    def _tell(self, role: Role, event: Event) -> None:
        """Tell those who asked for it that a child is up, or down, or will not be."""
        if isinstance(event, (ChildExited, ChildStopped)):
            self._is_down(role)
        elif isinstance(event, ChildStarted):
            if self._planner.is_up(role.name):
                role.comes_up.comes()
        elif isinstance(event, ChildStuck):
            self._is_stuck(role)
        elif isinstance(event, StartHasFailed):
            role.comes_up.comes(role.last.failure if role.last else None)
            self._is_down(role)

    def _is_stuck(self, role: Role) -> None:
        stuck = StartFailed(f"{role.ref.path} is stuck: it will not stop")
        role.goes_down.comes(stuck)
        role.comes_up.comes(stuck)

    def _is_down(self, role: Role) -> None:
        if not self._planner.wants(role.name):
            role.comes_up.comes(StartFailed(f"{role.ref.path} was stopped"))
            # Nobody may wait for what will not be restarted unless somebody asks.
            self._roles.refuse(role.ref, role.last or Exit("shutdown"))
        role.goes_down.comes()

    def _handle(self, event: Event) -> None:
        """Do what the planner says about a request."""
        for action in self._planner.handle(event, trio.current_time()):
            self._do(action)

    def _do(self, action: Action) -> None:
        if isinstance(action, Start):  # the usual one: a match would cost more
            self._start(self._roles[action.name], action.attempt)
            return
        match action:
            case StopIt(name, final):
                role = self._roles[name]
                role.stop(final=final)
                self._roles.spawn(role.see_off)
            case Dismiss(name):
                self._roles.dismiss(self._roles[name])
            case GiveUp() | Shutdown():
                box = self.ctx.me._mailbox
                box.state = "stopping"
                box.post(End(action))
            case _:
                assert_never(action)

    def _start(self, role: Role, attempt: int | None) -> None:
        delay = 0.0
        if attempt is not None:
            longest = self._backoff.longest(attempt)
            delay = self.ctx._life.runtime.random.uniform(0, longest)
            path = role.ref._mailbox.path
            self._roles.emit(BackingOff(path, self._blame, attempt + 1, delay))
        role.start(delay)

    # -- the end ----------------------------------------------------------------------

    @End.handled
    def end(self, m: End) -> None:
        if isinstance(m.action, Shutdown):
            raise Stop
        name = m.action.name
        path, history = self.ctx.me.path, tuple(self._charged)
        events: Sequence[Any] = self.recorder.below(path) if self.recorder else ()
        self._roles.emit(Escalated(path, name, history, events))
        why = MaxRestarts(path, name, self._too_many, history)
        raise why from history[-1].failure

    async def leave(self, exit_: Exit) -> None:
        box = self.ctx.me._mailbox
        if self.final:
            # A child that asks us now must not wait for us: nobody serves any more.
            box.close(exit_)
        box.waits_for.extend(role.ref._mailbox for role in self._roles)
        for role in self._roles:
            role.call_off()  # or its delay may be over while others stop
        if self._roles:
            await self._stop_all()
        if any(role.state == "stuck" for role in self._roles) and self.on_held_up:
            self.on_held_up()

    def _stop_all(self) -> Awaitable[None]:
        return self._roles.stop_in_turn(final=self.final)

    def kill_all(self, reason: str) -> None:
        """Cancel all children at once, as its own ``shutdown`` is over."""
        for role in self._roles:
            role.kill(reason)

    # -- looking ----------------------------------------------------------------------

    def stuck(self) -> Sequence[Stuck]:
        """Those below it that cannot be ended, and where they hang."""
        return [one for role in self._roles for one in role.stuck()]

    async def over(self) -> None:
        """Wait until no task of any child lives."""
        for role in self._roles:
            await role.over()

    def spawn(self, fn: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run a task in the supervisor's own nursery."""
        self._roles.spawn(fn, *args)

    def inspect(self) -> Mapping[str, object]:
        """The states of its children, and how many restarts they have cost it."""
        return {
            "children": {role.name: role.state for role in self._roles},
            "restarts": self._planner.charged,
        }

    def below(self) -> Sequence[Ref[Any]]:
        return [role.ref for role in self._roles]
