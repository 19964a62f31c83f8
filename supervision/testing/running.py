"""Playing a scenario on a tree, in virtual time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import trio

from actors import ActorError, Message, Ref, Rejected, Resume, Suspend
from actors._core.messages import Ask
from actors.events import Event
from actors.testing import SimResult, SimulationError, World, simulate
from supervision.requests import RestartChild, StopChild
from supervision.specs import Child
from supervision.system import System
from supervision.testing.faults import Interrupted
from supervision.testing.history import Run
from supervision.testing.oracle import Oracle, usual
from supervision.testing.planting import Planting
from supervision.testing.points import (
    Answered,
    Ended,
    Idle,
    Sent,
    Stopping,
)
from supervision.testing.reports import explained
from supervision.testing.scenario import Cut, Scenario, check_scenario
from supervision.testing.scripts import (
    AskAt,
    BurstAt,
    JumpAt,
    Op,
    RequestAt,
    StopAt,
    TellAt,
    Verb,
)
from supervision.testing.trees import Node, Tree, node_of

PATIENCE = 100.0
"""Seconds for which the script waits for the answer of a supervisor."""

MORE = 3
"""Messages beyond the capacity in a burst."""


SLACK = 3600.0
"""Seconds of virtual time beyond all that a scenario and its tree give a name to."""

A_DAY = 86_400.0


class TreeDoesNotStart(Exception):
    """The tree does not come up, although nothing was done to it; see the cause."""


def run_scenario(
    scenario: Scenario, tree: Tree, *, oracle: Oracle | None = None
) -> Run:
    """Play a scenario on a fresh tree in virtual time, and judge what happened.

    Synchronous, and much faster than real time: call it in a plain test function. The
    same scenario and tree lead to the same run, in every process.

    Args:
        scenario: what is to happen.
        tree: how to make the tree.
        oracle: the rules to judge by; by default all that come with the kit.

    Raises:
        InvariantBroken: a rule was broken; a class of its own for each rule, with the
            report as a note.
        RuleFailed: a rule could not judge, as it raised something itself.
        TreeDoesNotStart: not even without faults.
        TypeError: an argument is something else.
        WrongTree: the scenario was made for another tree.
    """
    check_scenario(scenario, tree)
    oracle = usual(oracle)
    run = play(scenario, tree)
    broken = oracle.verdict(run)
    if broken is not None:
        # Always from this line: by that Hypothesis tells failures apart.
        raise explained(broken, lambda again: oracle.verdict(play(again, tree)))
    return run


def play(scenario: Scenario, tree: Tree) -> Run:
    """Play a scenario, and say what happened; nobody judges it."""
    stages: list[Stage] = []

    async def main(world: World) -> None:
        stages[:] = [Stage(world, tree, scenario)]
        await stages[0].play()

    hung: SimulationError | None = None
    result: SimResult[None] | None = None
    try:
        result = simulate(
            main,
            schedule=scenario.schedule,
            seed=scenario.seed,
            max_virtual=_longest(scenario, tree),
        )
        trace = result.trace
    except SimulationError as error:
        hung, trace = error, error.trace
    finally:
        for stage in stages:
            stage.planting.uproot()
    return Run(scenario, tree, trace, stages[0].nodes(), hung, result)


def _longest(scenario: Scenario, tree: Tree) -> float:
    """When it has come to no end by then, in virtual time, it comes to none.

    A day would always do, but supervisors tell twice a minute of what is stuck, and
    Hypothesis plays a failure hundreds of times.
    """
    script, faults = scenario.script, scenario.faults
    jumps = [op.seconds for op in script if isinstance(op, JumpAt)]
    blocks = sum(fault.repeat for fault in faults if fault.kind == "no_checkpoint")
    rests = (1 + len(jumps) + blocks) * (tree.settle + scenario.held_up)
    children = [node.child for node in tree.nodes.values()]
    budgets = tree.shutdown + sum(c.start_timeout + c.cleanup for c in children)
    last = max((op.at for op in script), default=0.0)
    return min(last + sum(jumps) + rests + budgets + SLACK, A_DAY)


def survey(tree: Tree) -> Mapping[str, Node]:
    """Start and stop a tree to see what it consists of.

    Raises:
        TreeDoesNotStart: with what it raised as its cause.
    """
    stages: list[Stage] = []

    async def main(world: World) -> None:
        stages[:] = [Stage(world, tree, Scenario())]
        async with stages[0].system:
            pass

    try:
        simulate(main)
    except Exception as error:
        raise TreeDoesNotStart(
            f"the tree {tree.name!r} does not start and stop even without a fault: "
            f"{error}"
        ) from error
    finally:
        for stage in stages:
            stage.planting.uproot()
    return stages[0].nodes()


class Stage:
    """One run of one scenario."""

    def __init__(self, world: World, tree: Tree, scenario: Scenario) -> None:
        self.planting = Planting(scenario.faults, world.trace, tree.classes)
        children = tree.children()
        self.system = System(
            *children,
            name=tree.name,
            strategy=tree.strategy,
            intensity=tree.intensity,
            backoff=tree.backoff,
            auto_shutdown=tree.auto_shutdown,
            shutdown=tree.shutdown,
            on_event=[world.trace],
            random=world.random,
        )
        root = self.system._root
        self.planting.plant_root(root, tree.name, Child(tree.name, lambda: root))
        self._world = world
        self._tree = tree
        self._scenario = scenario
        self._number = 0
        self._kept: list[object] = []
        """What was sent, so that no other message gets the same ``id``."""
        self._refs: dict[str, Ref[Any]] = {}
        self._leave = trio.Event()
        self._why: Any = "the script is over"

    def nodes(self) -> Mapping[str, Node]:
        """Whoever was there at some time, as it was the last time that it was made."""
        return {path: node_of(site) for path, site in self.planting.sites.items()}

    def _emit(self, event: Event) -> None:
        self._world.trace(event)

    async def play(self) -> None:
        """From the start of the system until nobody waits for anything any more."""
        # Those who ask are other parts of the program, and outlive the system.
        async with trio.open_nursery() as others:
            outcome, cause = "cancelled", ""
            with trio.CancelScope() as scope:
                self._cut(scope)
                try:
                    outcome, cause = await self._play_until_the_end(others)
                except* Interrupted:
                    outcome = Interrupted.__name__
            self._emit(Ended(self._tree.name, outcome, cause))

    async def _play_until_the_end(self, others: trio.Nursery) -> tuple[str, str]:
        try:
            async with self.system:
                others.start_soon(self._follow_the_script, others)
                await self._until_it_is_left()
        except Exception as error:
            cause = error.__cause__
            return type(error).__name__, "" if cause is None else type(cause).__name__
        return "stopped", ""

    def _cut(self, scope: trio.CancelScope) -> None:
        cut: Cut | None = self._scenario.cut
        if cut is None:
            return

        def happens() -> None:
            if cut.what == "stop":
                self._stop("stop")
            else:
                self._emit(Stopping(self._tree.name, "cancelled"))
                scope.cancel()

        self._world.at_step(self._world.step + cut.step, happens, after=cut.after)

    def _stop(self, why: str) -> None:
        self._why = why
        self._leave.set()

    async def _until_it_is_left(self) -> None:
        try:
            await self._leave.wait()
        finally:
            self._leave.set()
        self._emit(Stopping(self._tree.name, self._why))

    def _look_at_all(self) -> None:
        for path in self.planting.sites:
            ref = self._find(path)
            if ref is not None:
                box = ref._mailbox
                life = box.life
                busy = life is not None and life.current is not None
                self._emit(Idle(path, box.state, busy, box.length))

    # -- the script -------------------------------------------------------------------

    async def _follow_the_script(self, others: trio.Nursery) -> None:
        begin = trio.current_time()
        for op in sorted(self._scenario.script, key=lambda op: op.at):
            await trio.sleep_until(begin + op.at)
            self._do(op, others)
        # What faults hold up comes on top, or all might be looked at the very moment
        # when somebody who was stuck ends after all.
        while not self._leave.is_set():
            blocked = self.planting.blocked
            with trio.move_on_after(
                self._tree.settle + self._scenario.held_up
            ) as scope:
                await self._leave.wait()
            if scope.cancelled_caught and blocked == self.planting.blocked:
                self._look_at_all()
                self._stop("the script is over")

    def _do(self, op: Op, others: trio.Nursery) -> None:
        match op:
            case TellAt():
                self._tell(op.path, op.message)
            case BurstAt():
                node = self._tree.nodes.get(op.path)
                for _ in range(MORE + (node.child.mailbox if node else 0)):
                    self._tell(op.path, op.message)
            case AskAt():
                others.start_soon(self._ask, op.path, op.message, op.timeout)
            case RequestAt():
                others.start_soon(self._request, op)
            case JumpAt():
                self.planting.block(self._tree.name, op.seconds)
            case StopAt():
                self._stop("stop")

    def _find(self, path: str) -> Ref[Any] | None:
        """The ref of whoever is there, or was there last."""
        with suppress(LookupError):
            self._refs[path] = self.system.find(path, object)
        return self._refs.get(path)

    def _numbered(self, message: Message[Any]) -> Any:
        self._number += 1
        mine = copy.copy(message)
        self._kept.append(mine)
        self.planting.numbers[id(mine)] = self._number
        return mine

    def _sent(
        self,
        ref: Ref[Any],
        number: int,
        what: object,
        kind: Literal["tell", "ask", "request"],
        *,
        timeout: float | None = None,
        accepted: bool = True,
    ) -> None:
        waiting = ref._mailbox.length
        self._emit(Sent(ref.path, number, str(what), kind, timeout, accepted, waiting))

    def _tell(self, path: str, message: Message[Any]) -> None:
        ref = self._find(path)
        if ref is None:
            return
        mine = self._numbered(message)
        accepted = ref.tell(mine)
        self._sent(ref, self._number, message, "tell", accepted=accepted)

    async def _ask(
        self, path: str, message: Message[Any], timeout: float | None
    ) -> None:
        ref = self._find(path)
        if ref is None:
            return
        mine = self._numbered(message)
        self._sent(ref, self._number, message, "ask", timeout=timeout)
        await self._answer(ref, mine, self._number, timeout)

    async def _request(self, op: RequestAt) -> None:
        above, name = op.path.rpartition("/")[::2]
        to_itself = op.verb in ("suspend", "resume")
        ref = self._find(op.path if to_itself else above)
        if ref is None:
            return
        ask: dict[Verb, Ask[Any, Any]] = {
            "stop": StopChild(name, forget=False),
            "restart": RestartChild(name),
            "suspend": Suspend(),
            "resume": Resume(),
        }
        self._number += 1
        what = f"{op.verb} {name}"
        self._sent(ref, self._number, what, "request", timeout=PATIENCE)
        await self._answer(ref, ask[op.verb], self._number, PATIENCE)

    async def _answer(
        self, ref: Ref[Any], ask: Any, number: int, timeout: float | None
    ) -> None:
        outcome, started = "reply", False
        try:
            await ref.ask(ask, timeout=timeout)
        except (ActorError, Rejected) as error:
            outcome, started = type(error).__name__, getattr(error, "started", False)
        self._emit(Answered(ref.path, number, outcome, started))
