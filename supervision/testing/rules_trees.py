"""The rules about supervisors: what they decide, in which order, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from actors.events import Failed, Started
from actors.testing import Entry
from supervision import plan
from supervision.events import BackingOff, Crashed, Escalated
from supervision.role import UNWIND
from supervision.testing.history import EPSILON, Life, Run
from supervision.testing.oracle import Rule
from supervision.testing.points import (
    Decided,
    Entered,
    Idle,
    Leaving,
    Left,
    Made,
    Stopping,
)
from supervision.testing.reference import ReferenceSupervisor
from supervision.testing.scripts import RequestAt
from supervision.testing.trees import Node


def restarts_are_limited(run: Run) -> Iterator[str]:
    """Within the window of a supervisor there are no more restarts than it allows."""
    for node in run.nodes.values():
        if node.policy is None:
            continue
        limit = node.policy.intensity
        for charged in _charges(run, node):
            for n, at in enumerate(charged):
                # What is just as far away as the window is long may count or not.
                end = at + limit.within - EPSILON
                within = [other for other in charged[n:] if other < end]
                if len(within) > limit.restarts:
                    yield (
                        f"{node.path} restarted {len(within)} times within "
                        f"{within[-1] - at:g} s, and may {limit.restarts} times within "
                        f"{limit.within:g} s"
                    )


def _charges(run: Run, node: Node) -> list[list[float]]:
    """When the failures happened for which a supervisor restarted somebody.

    Not when it took notice, which may be later. For each incarnation of it, as each
    counts anew.
    """
    overs = {(life.path, life.number): life.over for life in run.all_lives()}
    ends: dict[int, float] = {}
    charged: list[list[float]] = [[]]
    for entry in run.of(Made, Crashed, BackingOff):
        event = entry.event
        if isinstance(event, Made) and event.path == node.path:
            charged.append([])
        if isinstance(event, Crashed):
            over = overs.get((event.path, event.incarnation))
            ends[id(event.exit)] = (over or entry).at
        if isinstance(event, BackingOff) and _parent(event.path) == node.path:
            # A group is stopped between the failure and the delay of its restart.
            charged[-1].append(ends.get(id(event.exit), entry.at))
    return charged


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def a_stop_wastes_no_time(run: Run) -> Iterator[str]:
    """While a system stops, time passes only for somebody who is at work."""
    if run.ended is None or run.interrupted:
        return
    begin: Entry | None = None
    working: dict[tuple[object, ...], Entry] = {}
    alive: set[str] = set()
    for before, entry in pairwise(run.entries):
        _note_work(run, before, working, alive)
        event = before.event
        if isinstance(event, Stopping | Leaving) and event.path == run.tree.name:
            begin = begin or before
        if before is run.ended:
            break
        if begin is None or working or entry.at == before.at:
            continue
        gap = entry.at - before.at - run.blocked(before.at, entry.at)
        if gap > EPSILON and not any(run.nodes[path].tasks for path in alive):
            yield (
                f"from {before.at:g} s to {entry.at:g} s nobody was at work, and the "
                "system did not go on to stop"
            )
    if begin is not None:
        yield from _bounded(run, begin.at, run.ended.at)


def _note_work(
    run: Run, entry: Entry, working: dict[tuple[object, ...], Entry], alive: set[str]
) -> None:
    event = entry.event
    match event:
        case Made() if not run.nodes[event.path].is_supervisor:
            alive.add(event.path)
        case Entered(point="deliver"):
            pass
        case Entered() if event.fault or not run.nodes[event.path].is_supervisor:
            working[event.path, event.point, event.nth] = entry
        case Left():
            working.pop((event.path, event.point, event.nth), None)
        case _:
            pass


def _bounded(run: Run, begin: float, end: float) -> Iterator[str]:
    """All has to end in ``shutdown`` seconds, and the cleanups down one path."""
    levels: dict[int, float] = {}
    for node in run.nodes.values():
        depth = node.path.count("/")
        cleanup = max(node.child.cleanup, levels.get(depth, 0.0))
        levels[depth] = cleanup
    most = run.tree.shutdown + sum(levels.values()) + UNWIND * len(levels)
    slack = run.blocked(begin, end) + run.shielded() + EPSILON
    if end - begin > most + slack:
        yield f"it took {end - begin:g} s to stop, and may take {most:g} s"


def nothing_begins_after_the_end(run: Run) -> Iterator[str]:
    """A supervisor that has begun to stop its children starts no more."""
    leaving: dict[str, Entry] = {}
    for entry in run.of(Made, Leaving):
        event = entry.event
        if isinstance(event, Leaving):
            leaving[event.path] = entry
        elif isinstance(event, Made):
            leaving.pop(event.path, None)
            if _parent(event.path) in leaving:
                yield (
                    f"{event.path}#{event.incarnation} begins at step {entry.step}, "
                    f"and its supervisor was leaving since step "
                    f"{leaving[_parent(event.path)].step}"
                )


def restarts_wait_as_long_as_they_should(run: Run) -> Iterator[str]:
    """A restart waits for its delay, which is within the limits of its backoff."""
    waiting: dict[str, Entry] = {}
    for entry in run.of(Made, BackingOff, Decided, Leaving):
        event = entry.event
        if isinstance(event, BackingOff):
            waiting[event.path] = entry
            yield from _within_limits(run, event)
        elif isinstance(event, Decided) and not isinstance(
            event.event, plan.ChildStarted
        ):
            # Whatever else happens may cut a delay short, or make it another's.
            if not isinstance(event.event, plan.ChildAdded):
                waiting.pop(f"{event.path}/{event.event.name}", None)
        elif isinstance(event, Made) and event.path in waiting:
            began = waiting.pop(event.path)
            if isinstance(began.event, BackingOff):
                yield from _in_time(run, began, began.event, entry)
        elif isinstance(event, Leaving):
            waiting = {p: e for p, e in waiting.items() if _parent(p) != event.path}


def _within_limits(run: Run, event: BackingOff) -> Iterator[str]:
    node = run.nodes.get(_parent(event.path))
    if node is None or node.policy is None:
        return
    longest = node.policy.backoff.longest(event.attempt - 1)
    if not 0 <= event.delay <= longest + EPSILON:
        yield (
            f"attempt {event.attempt} of {event.path} waits for {event.delay:g} s, and "
            f"may for {longest:g} s"
        )


def _in_time(run: Run, began: Entry, event: BackingOff, made: Entry) -> Iterator[str]:
    took = made.at - began.at
    if took < event.delay - EPSILON:
        yield f"{event.path} was to wait {event.delay:g} s, and began after {took:g} s"
    late = took - event.delay - run.blocked(began.at, made.at)
    if late > EPSILON:
        yield f"{event.path} was to wait {event.delay:g} s, and took {took:g} s"


# -- the reference -------------------------------------------------------------------


def supervisors_decide_as_otp_does(run: Run) -> Iterator[str]:
    """Every decision is one that the reference supervisor accepts."""
    references: dict[str, ReferenceSupervisor] = {}
    for entry in run.of(Decided, Leaving):
        event = entry.event
        if isinstance(event, Leaving):
            references.pop(event.path, None)
        if not isinstance(event, Decided):
            continue
        node = run.nodes[event.path]
        if node.policy is None:
            continue
        if event.path not in references:
            references[event.path] = ReferenceSupervisor(
                node.children,
                strategy=node.policy.strategy,
                intensity=node.policy.intensity,
                auto_shutdown=node.policy.auto_shutdown,
            )
        reference = references[event.path]
        for problem in reference.accept(event.event, event.actions, event.happened):
            yield f"{event.path} at step {entry.step}, on {event.event}: {problem}"


def decisions_are_about_facts(run: Run) -> Iterator[str]:
    """What a supervisor takes notice of has happened to its child."""
    lives: dict[str, Life] = {}
    index = {id(life.made): life for life in run.all_lives()}
    for entry in run.of(Made, Failed, Decided):
        event = entry.event
        if isinstance(event, Made):
            lives[event.path] = index[id(entry)]
        elif (
            isinstance(event, Failed)
            and event.path in lives
            and lives[event.path].number != event.incarnation
        ):
            del lives[event.path]  # the factory failed, so that there was none
        if not isinstance(event, Decided) or isinstance(event.event, plan.ChildAdded):
            continue
        life = lives.get(f"{event.path}/{event.event.name}")
        if life is None:
            continue
        problem = _contradiction(event.event, life, entry)
        if problem is not None:
            yield f"{event.path} took {event.event} for a fact, and {problem}"


def _contradiction(event: plan.Event, life: Life, entry: Entry) -> str | None:
    name = f"{life.path}#{life.number}"
    over = life.interrupted or (life.over is not None and life.over.step <= entry.step)
    match event:
        case plan.ChildStarted() if life.up is None or life.up.step > entry.step:
            return f"{name} is not up"
        case plan.ChildExited() | plan.StartFailed() | plan.ChildStopped() if not over:
            return f"{name} is alive"
        case plan.ChildExited(failed=False) if life.failed is not None:
            return f"{name} has failed"
        case plan.StartFailed() if life.up is not None:
            return f"{name} was up"
        case _:
            return None


def children_start_and_stop_in_order(run: Run) -> Iterator[str]:
    """Each starts when its elders are up, and is stopped when its juniors are down."""
    for node in run.nodes.values():
        if node.kind != "dynamic" and node.policy is not None:
            yield from _first_starts(run, node)
            # The workers of a pool do not need each other, and stop at once.
            if node.kind != "pool" and not run.interrupted:
                yield from _last_stops(run, node)


def _first_starts(run: Run, node: Node) -> Iterator[str]:
    names = [f"{node.path}/{child.name}" for child in node.children]
    up: set[str] = set()
    starting = False
    for entry in run.of(Made, Started, Failed):
        event = entry.event
        if isinstance(event, Made) and event.path == node.path:
            up.clear()
            starting = True
        elif isinstance(event, Started):
            up.add(event.path)
            starting = starting and event.path != node.path
        elif isinstance(event, Failed) and event.path == node.path:
            starting = False
        elif starting and isinstance(event, Made) and event.path in names:
            elders = names[: names.index(event.path)]
            if missing := [elder for elder in elders if elder not in up]:
                yield f"M1: {event.path} starts before {', '.join(missing)} is up"


def _last_stops(run: Run, node: Node) -> Iterator[str]:
    """From when it leaves: who begins to stop before a younger sibling is over."""
    names = [f"{node.path}/{child.name}" for child in node.children]
    alive: dict[str, Life] = {}
    told: set[str] = set()
    """Those that were told to stop before that."""
    index = {id(life.made): life for life in run.all_lives()}
    leaving = False
    for entry in run.of(Made, Decided, Leaving, Entered):
        event = entry.event
        if isinstance(event, Made):
            leaving = leaving and event.path != node.path
            alive[event.path] = index[id(entry)]
            told.discard(event.path)
        elif isinstance(event, Decided) and event.path == node.path:
            stops = [a for a in event.actions if isinstance(a, plan.Stop)]
            told.update(f"{node.path}/{stop.name}" for stop in stops)
        elif isinstance(event, Leaving) and event.path == node.path:
            leaving = True
        elif (
            leaving
            and isinstance(event, Entered)
            and event.point == "stopping"
            and event.path in names
            and event.path not in told
            and not _failed_itself(alive[event.path])
        ):
            for younger in names[names.index(event.path) + 1 :]:
                life = alive.get(younger)
                if life is not None and not _down_by(run, life, entry):
                    yield f"M2: {event.path} is stopped while {younger} is not down"


def _failed_itself(life: Life) -> bool:
    """Or ended for another reason than having been told to."""
    stopped = None if life.stopped is None else life.stopped.event
    kind = getattr(getattr(stopped, "exit", None), "kind", None)
    return life.failed is not None or kind != "shutdown"


def _down_by(run: Run, life: Life, entry: Entry) -> bool:
    if life.path in run.stuck:
        return True  # nobody waits for what will not end
    if life.over is None:
        return False
    return (life.over.at, life.over.step) <= (entry.at, entry.step)


def who_is_wanted_is_up(run: Run) -> Iterator[str]:
    """When all has been left alone, every permanent child is up."""
    if run.interrupted:
        return
    states = {entry.event.path: entry.event for entry in run.of(Idle)}
    stopped = {
        op.path
        for op in run.scenario.script
        if isinstance(op, RequestAt) and op.verb == "stop"
    }
    for node in run.nodes.values():
        above = states.get(node.path)
        if not isinstance(above, Idle) or above.state not in ("running", "suspended"):
            continue
        for child in node.children:
            path = f"{node.path}/{child.name}"
            idle = states.get(path)
            down = isinstance(idle, Idle) and idle.state == "stopped"
            if down and child.restart == "permanent" and path not in stopped:
                yield f"{path} is permanent and down, and its supervisor idles"


def giving_up_fails(run: Run) -> Iterator[str]:
    """A supervisor that gives up has failed, and nobody else has for it."""
    for entry in run.of(Escalated):
        path = entry.event.path
        failed = any(
            life.failed is not None and life.failed.step == entry.step
            for life in run.lives.get(path, ())
        )
        if not failed:
            yield f"{path} gave up at step {entry.step}, and goes on"


TREES = (
    Rule("I9", nothing_begins_after_the_end),
    Rule("I3", restarts_are_limited),
    Rule("I12", restarts_wait_as_long_as_they_should),
    Rule("I8", a_stop_wastes_no_time),
    Rule("M-order", children_start_and_stop_in_order),
    Rule("M-facts", decisions_are_about_facts),
    Rule("M-decisions", supervisors_decide_as_otp_does),
    Rule("M-wanted", who_is_wanted_is_up),
    Rule("M-escalation", giving_up_fails),
)
