"""A supervisor in the world of otp_model that does as its planner says, at once."""

from __future__ import annotations

from collections import deque

from otp_model import Node, Parent, World

from supervision import Child, Intensity
from supervision.plan import (
    Action,
    ChildAdded,
    ChildExited,
    ChildStarted,
    ChildStopped,
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
from supervision.testing.otp import Branch, How, Request, Spec, Worker


def child(spec: Spec) -> Child[object]:
    """The child spec of a scripted child."""
    return Child(spec.name, object, restart=spec.restart, significant=spec.significant)


class PlannedSupervisor:
    """Reports every failure as a message of its own, as a mailbox would."""

    def __init__(self, world: World, spec: Branch, parent: Parent | None) -> None:
        self.alive = False
        self._world = world
        self._spec = spec
        self._parent = parent
        self._specs = {c.name: c for c in spec.children}
        self._nodes: dict[str, Node] = {}
        self._mailbox: deque[Event] = deque()
        self._planner = Planner(
            [child(c) for c in spec.children],
            strategy=spec.strategy,
            auto_shutdown=spec.auto_shutdown,
            intensity=Intensity(spec.intensity, world.scenario.period),
            healthy=10,
        )

    def start(self) -> bool:
        self._world.up(self._spec.name, self)
        self.alive = True
        for name in self._specs:
            if not self._start(name):
                self.stop()
                return False
            self._handle(ChildStarted(name))
        return True

    def stop(self) -> None:
        if self.alive:
            self.alive = False
            # New children are the last of the planner's, and were started last.
            for name in reversed([n for n in self._nodes if n in self._planner]):
                self._nodes[name].stop()

    def exited(self, name: str, how: How) -> None:
        self._mailbox.append(ChildExited(name, failed=how == "boom"))

    def handle_one(self) -> bool:
        if not self._mailbox:
            return False
        self._handle(self._mailbox.popleft())
        return True

    def request(self, request: Request) -> str:
        name = request.name
        if name not in self._planner:
            return "not_found"
        if request.verb != "terminate" and self._planner.phase(name) != "down":
            return "running"
        match request.verb:
            case "terminate":
                self._handle(StopRequested(name))
            case "delete":
                self._handle(StopRequested(name, forget=True))
            case "restart":
                self._handle(RestartRequested(name))
                return "ok" if self._nodes[name].alive else "failed"
        return "ok"

    def add(self, child_: Worker) -> str:
        name = child_.name
        if name in self._planner:
            return "down" if self._planner.phase(name) == "down" else "running"
        self._specs[name] = child_
        self._nodes.pop(name, None)
        try:
            self._handle(ChildAdded(child(child_)))
        except ValueError:
            return "invalid"
        return "ok" if self._nodes[name].alive else "failed"

    def _start(self, name: str) -> bool:
        self._nodes[name] = self._world.make(self._specs[name], self)
        return self._nodes[name].start()

    def _handle(self, event: Event) -> None:
        for action in self._planner.handle(event, self._world.now):
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Stop(name):
                self._nodes[name].stop()
                left = [e for e in self._mailbox if _name(e) != name]
                self._mailbox = deque(left)
                self._handle(ChildStopped(name))
            case Start(name):
                if self._start(name):
                    self._handle(ChildStarted(name))
                else:
                    self._mailbox.append(StartFailed(name))
            case Dismiss(name):
                del self._nodes[name]
            case GiveUp():
                self._world.emit("^", self._spec.name)
                self._end()
            case Shutdown():
                self._end()

    def _end(self) -> None:
        self.stop()
        if self._parent is not None:
            self._parent.exited(self._spec.name, "shutdown")


def _name(event: Event) -> str:
    return event.child.name if isinstance(event, ChildAdded) else event.name
