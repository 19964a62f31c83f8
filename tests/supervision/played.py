"""Scenarios of otp_model, played on a real system in virtual time."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import Actor, Ask, Exit, Ref, Rejected, Stop, Tell
from actors.events import Event
from supervision import (
    Backoff,
    Child,
    GetTree,
    Intensity,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    System,
)
from supervision.events import Escalated
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


@attrs.frozen
class End(Tell["ScriptedWorker"]):
    how: How


@attrs.frozen
class Hold(Ask["ScriptedBranch", None]):
    """Handle nothing until ``go``."""

    go: trio.Event


class ScriptedWorker(Actor):
    def __init__(self, stage: Stage, spec: Worker) -> None:
        self._stage = stage
        self._spec = spec

    async def started(self) -> None:
        self._stage.refs[self._spec.name] = self.ctx.me
        self._stage.worker_starts(self._spec)

    async def stopping(self, exit_: Exit) -> None:
        if self._spec.name in self._stage.alive:
            self._stage.alive.remove(self._spec.name)
            if exit_.kind == "shutdown":
                self._stage.marks.append("-" + self._spec.name)

    @End.handled
    def end(self, m: End) -> None:
        if m.how == "boom":
            raise ValueError(m.how)
        raise Stop


class ScriptedBranch(Supervisor):
    def __init__(self, stage: Stage, spec: Branch) -> None:
        super().__init__(
            *map(stage.child, spec.children),
            strategy=spec.strategy,
            auto_shutdown=spec.auto_shutdown,
            intensity=Intensity(spec.intensity, stage.period),
            backoff=Backoff(first=0, cap=0),
        )
        self._stage = stage
        self._spec = spec

    async def started(self) -> None:
        self._stage.refs[self._spec.name] = self.ctx.me
        self._stage.marks.append("+" + self._spec.name)
        await super().started()
        self._stage.alive.add(self._spec.name)

    async def stopping(self, exit_: Exit) -> None:
        self._stage.alive.discard(self._spec.name)

    @Hold.handled
    async def hold(self, m: Hold) -> None:
        await m.go.wait()


class StartRefused(Exception):
    pass


class Stage:
    """Plays one scenario, and notes what can be seen."""

    def __init__(self, scenario: OtpScenario) -> None:
        self.period = scenario.period
        self.alive: set[str] = set()
        self.marks: list[str] = []
        self.refs: dict[str, Ref[Any]] = {}
        self._scenario = scenario
        self._starts: dict[str, int] = {}
        self._children: dict[int, Child[Any]] = {}

    def child(self, spec: Spec) -> Child[Any]:
        """The child that plays a spec: the same for every incarnation of its parent."""
        known = self._children.get(id(spec))
        if known is not None:
            return known
        make = ScriptedWorker if isinstance(spec, Worker) else ScriptedBranch
        child = self._children[id(spec)] = Child(
            spec.name,
            partial(make, self, spec),  # type: ignore[arg-type]
            restart=spec.restart,
            significant=spec.significant,
            handler_timeout=None,
        )
        return child

    def worker_starts(self, spec: Worker) -> None:
        number = self._starts[spec.name] = self._starts.get(spec.name, 0) + 1
        if number in spec.fails:
            self.marks.append("!" + spec.name)
            raise StartRefused
        self.alive.add(spec.name)
        self.marks.append("+" + spec.name)

    def _note(self, event: Event) -> None:
        if isinstance(event, Escalated):
            self.marks.append("^" + event.path.rpartition("/")[2])

    # -- playing ----------------------------------------------------------------------

    def play(self) -> list[str]:
        return trio.run(self._play, clock=MockClock(autojump_threshold=0))

    async def _play(self) -> list[str]:
        root = attrs.evolve(self._scenario.root, restart="temporary", significant=False)
        self.spec = root
        async with System(on_event=[self._note]) as system:
            self._system = system
            try:
                await system.start(self.child(root))
            except Rejected:
                return [self._step("")]
            steps = [self._step("")]
            for operation in self._scenario.operations:
                reply = await self._perform(operation)
                await wait_all_tasks_blocked()
                steps.append(self._step(reply))
                if root.name not in self.alive:
                    return steps
        return [*steps, self._step("")]

    def _step(self, reply: str) -> str:
        marks, self.marks = self.marks, []
        return f"{' '.join(marks)}|{' '.join(sorted(self.alive))}|{reply}"

    async def _perform(self, operation: Operation) -> str:
        if isinstance(operation, Pause):
            await trio.sleep(2.1)
            return ""
        if operation.supervisor not in self.alive:
            return "nobody"
        supervisor = self.refs[operation.supervisor]
        match operation:
            case Exits(_, exits):
                await self._exit(supervisor, exits)
                return ""
            case Request():
                return await self._request(supervisor, operation)
            case Add(_, worker):
                return await self._add(supervisor, worker)

    async def _exit(self, supervisor: Ref[Any], exits: Any) -> None:
        go = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.ask, Hold(go))
            await wait_all_tasks_blocked()
            for name, how in exits:
                if name in self.alive:
                    self.refs[name].tell(End(how))
                    await wait_all_tasks_blocked()
            go.set()

    async def _request(self, supervisor: Ref[Any], request: Request) -> str:
        name = request.name
        children = (await supervisor.ask(GetTree())).children
        states = {child.path.rpartition("/")[2]: child.state for child in children}
        if name in states and states[name] != "stopped" and request.verb != "terminate":
            return "running"
        ask: Ask[Supervisor, object] = (
            RestartChild(name)
            if request.verb == "restart"
            else StopChild(name, forget=request.verb == "delete")
        )
        try:
            await supervisor.ask(ask)
        except Rejected as error:
            return "not_found" if "no child" in str(error) else "failed"
        return "ok"

    async def _add(self, supervisor: Ref[Any], worker: Worker) -> str:
        try:
            await supervisor.ask(StartChild(self.child(worker)))
        except Rejected as error:
            for hint, reply in (
                ("is significant", "invalid"),
                ("it is down", "down"),
                ("already", "running"),
            ):
                if hint in str(error):
                    return reply
            return "failed"
        return "ok"
