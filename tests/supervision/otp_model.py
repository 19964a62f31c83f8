"""A supervisor as OTP's documentation describes it, and scripted children for it.

The model is blocking, as OTP is: it handles one message at a time, and while it stops
and starts children nothing else happens. `World` plays an `OtpScenario` on supervisors
of any make and writes down what could be observed, in the notation of `OtpCase`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Literal, Protocol

import attrs

from supervision.testing.otp import (
    Add,
    Branch,
    Exits,
    How,
    Operation,
    OtpScenario,
    Pause,
    Request,
    Spec,
    Worker,
)


class Node(Protocol):
    """A child, as its supervisor sees it."""

    @property
    def alive(self) -> bool: ...
    def start(self) -> bool: ...
    def stop(self) -> None: ...


class SupervisorNode(Node, Protocol):
    """A supervisor, as the world sees it."""

    def exited(self, name: str, how: How) -> None: ...
    def request(self, request: Request) -> str: ...
    def add(self, child: Worker) -> str: ...
    def handle_one(self) -> bool: ...


class World:
    """Where a scenario takes place."""

    def __init__(
        self,
        scenario: OtpScenario,
        make: Callable[[World, Branch, Parent | None], SupervisorNode],
    ) -> None:
        self.scenario = scenario
        self.now = 0.0
        self._nodes: dict[str, WorkerNode | SupervisorNode] = {}
        self._starts: dict[str, int] = {}
        self._events: list[str] = []
        self._make = make

    def emit(self, mark: str, name: str) -> None:
        self._events.append(mark + name)

    def make(self, spec: Spec, parent: Parent | None) -> WorkerNode | SupervisorNode:
        """Make a child that is not started yet."""
        if isinstance(spec, Worker):
            return WorkerNode(self, spec)
        return self._make(self, spec, parent)

    def up(self, name: str, node: WorkerNode | SupervisorNode) -> None:
        """A node starts, and the name is its from now on."""
        self._nodes[name] = node
        self.emit("+", name)

    def counted_start(self, name: str) -> int:
        self._starts[name] = self._starts.get(name, 0) + 1
        return self._starts[name]

    def play(self) -> list[str]:
        """Say for each step what happened, who lived then, and what the reply was."""
        root = self.make(self.scenario.root, None)
        if not root.start():
            return [self._step("")]
        steps = [self._step("")]
        for operation in self.scenario.operations:
            reply = self._perform(operation)
            self._settle()
            steps.append(self._step(reply))
            if not root.alive:
                return steps
        root.stop()
        return [*steps, self._step("")]

    def _perform(self, operation: Operation) -> str:
        if isinstance(operation, Pause):
            self.now += 2.1
            return ""
        supervisor = self._nodes.get(operation.supervisor)
        if (
            supervisor is None
            or isinstance(supervisor, WorkerNode)
            or not supervisor.alive
        ):
            return "nobody"
        match operation:
            case Exits(_, exits):
                for name, how in exits:
                    node = self._nodes.get(name)
                    if isinstance(node, WorkerNode) and node.alive:
                        node.alive = False
                        supervisor.exited(name, how)
                return ""
            case Request():
                return supervisor.request(operation)
            case Add(_, child):
                return supervisor.add(child)

    def _settle(self) -> None:
        busy = True
        while busy:
            busy = any(
                node.handle_one()
                for node in tuple(self._nodes.values())
                if not isinstance(node, WorkerNode) and node.alive
            )

    def _step(self, reply: str) -> str:
        events, self._events = self._events, []
        living = sorted(name for name, node in self._nodes.items() if node.alive)
        return f"{' '.join(events)}|{' '.join(living)}|{reply}"


class WorkerNode:
    """A child that does as its script says."""

    def __init__(self, world: World, spec: Worker) -> None:
        self.alive = False
        self._world = world
        self._spec = spec

    def start(self) -> bool:
        name = self._spec.name
        if self._world.counted_start(name) in self._spec.fails:
            self._world.emit("!", name)
            return False
        self.alive = True
        self._world.up(name, self)
        return True

    def stop(self) -> None:
        if self.alive:
            self.alive = False
            self._world.emit("-", self._spec.name)


class Parent(Protocol):
    """Whoever is told that a supervisor has ended."""

    def exited(self, name: str, how: How) -> None: ...


# -- the model ------------------------------------------------------------------------


@attrs.define
class Slot:
    """A child specification, and what has become of its process.

    ``restarting``: its restart has failed, and will be tried again.
    """

    spec: Spec
    node: Node
    state: Literal["process", "undefined", "restarting"] = "undefined"


class OtpSupervisor:
    """One incarnation of a supervisor."""

    gives_up: ClassVar[How] = "shutdown"
    """How it ends if it has restarted too often, as its own supervisor sees it."""
    behind: ClassVar[Literal["undefined", "restarting"]] = "undefined"
    """What those of a group are whose turn does not come, as a start has failed."""

    def __init__(self, world: World, spec: Branch, parent: Parent | None) -> None:
        self.alive = False
        self._world = world
        self._spec = spec
        self._parent = parent
        self._slots: list[Slot] = []
        self._mailbox: list[tuple[str, How | Literal["try again"]]] = []
        self._restarts: list[float] = []

    def start(self) -> bool:
        self._world.up(self._spec.name, self)
        self._slots = [Slot(c, self._world.make(c, self)) for c in self._spec.children]
        self.alive = self._start_all(self._slots) is None
        if not self.alive:
            self._stop_all(self._slots)
        return self.alive

    def stop(self) -> None:
        if self.alive:
            self.alive = False
            self._stop_all(self._slots)

    # Messages.

    def exited(self, name: str, how: How) -> None:
        self._mailbox.append((name, how))

    def handle_one(self) -> bool:
        if not self._mailbox:
            return False
        name, how = self._mailbox.pop(0)
        slot = self._find(name)
        if slot is None:
            return True
        if how == "try again":
            if slot.state == "restarting":
                self._restart(slot)
        else:
            self._ended(slot, how)
        return True

    def request(self, request: Request) -> str:
        slot = self._find(request.name)
        if slot is None:
            return "not_found"
        match request.verb:
            case "terminate":
                slot.node.stop()
                slot.state = "undefined"
                if slot.spec.restart == "temporary":
                    self._slots.remove(slot)
                return "ok"
            case "restart":
                if slot.state != "undefined":
                    return "running"
                return "ok" if self._start(slot) else "failed"
            case "delete":
                if slot.state != "undefined":
                    return "running"
                self._slots.remove(slot)
                return "ok"

    def add(self, child: Worker) -> str:
        if child.significant and self._spec.auto_shutdown == "never":
            return "invalid"
        if slot := self._find(child.name):
            return "down" if slot.state == "undefined" else "running"
        slot = Slot(child, self._world.make(child, self))
        if not self._start(slot):
            return "failed"
        self._slots.append(slot)
        return "ok"

    # Decisions.

    def _ended(self, slot: Slot, how: How) -> None:
        spec = slot.spec
        if spec.restart == "permanent" or (
            spec.restart == "transient" and how == "boom"
        ):
            self._restart(slot)
            return
        slot.state = "undefined"
        if spec.restart == "temporary":
            self._slots.remove(slot)
        if spec.significant and (
            self._spec.auto_shutdown == "any_significant"
            or (
                self._spec.auto_shutdown == "all_significant"
                and all(
                    other.state == "undefined"
                    for other in self._slots
                    if other.spec.significant
                )
            )
        ):
            self._end()

    def _restart(self, slot: Slot) -> None:
        now, world = self._world.now, self._world
        self._restarts.append(now)
        recent = [at for at in self._restarts if now - at <= world.scenario.period]
        if len(recent) > self._spec.intensity:
            slot.state = "undefined"
            world.emit("^", self._spec.name)
            self._end(self.gives_up)
            return
        slot.state = "undefined"
        place = self._slots.index(slot)
        group = {
            "one_for_one": [slot],
            "one_for_all": self._slots,
            "rest_for_one": self._slots[place:],
        }[self._spec.strategy]
        self._stop_all(group)
        gone = [s for s in group if s.spec.restart == "temporary"]
        self._slots = [s for s in self._slots if s not in gone]
        group = [s for s in group if s not in gone]
        failed = self._start_all(group)
        if failed is not None:
            for other in group[group.index(failed) + 1 :]:
                other.state = self.behind
            failed.state = "restarting"
            self._mailbox.append((failed.spec.name, "try again"))

    def _end(self, how: How = "shutdown") -> None:
        self.stop()
        if self._parent is not None:
            self._parent.exited(self._spec.name, how)

    # Mechanics.

    def _find(self, name: str) -> Slot | None:
        return next((s for s in self._slots if s.spec.name == name), None)

    def _start(self, slot: Slot) -> bool:
        slot.node = self._world.make(slot.spec, self)
        started = slot.node.start()
        slot.state = "process" if started else "undefined"
        return started

    def _start_all(self, slots: Iterable[Slot]) -> Slot | None:
        """Return the first that does not start; those behind it are left alone."""
        return next((slot for slot in slots if not self._start(slot)), None)

    def _stop_all(self, slots: Sequence[Slot]) -> None:
        for slot in reversed(slots):
            slot.node.stop()
            slot.state = "undefined"
            name = slot.spec.name
            # It is a stopped child now, whatever it had ended of.
            self._mailbox = [m for m in self._mailbox if m[0] != name]
