"""One story: a script, the faults, who runs when, and a point at which all is cut off.

A scenario is a frozen value, drawn before anything runs. Everything that a run depends
on is in it, but for the tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast, get_args

import attrs

from actors import Message
from actors.testing import FIFO, OneAtATime, Schedule, Tape
from supervision.testing.faults import Fault, FaultPlan
from supervision.testing.scripts import (
    OPS,
    AskAt,
    BurstAt,
    Op,
    RequestAt,
    Script,
    TellAt,
)
from supervision.testing.trees import Node, Tree, check_tree

CutKind = Literal["cancel", "stop"]

Json: TypeAlias = Any


class WrongTree(ValueError):
    """A scenario was made for another tree, or names somebody that is not there."""


@attrs.frozen
class Cut:
    """Something that happens at one step of the scheduler, counted from the begin."""

    step: int = attrs.field()
    what: CutKind = attrs.field()
    """cancel: the code round the system is cancelled; stop: it leaves its block."""
    after: bool = False
    """Right after that step, not before it."""

    def __attrs_post_init__(self) -> None:
        if self.step < 1 or self.what not in get_args(CutKind):
            raise ValueError(
                f"a cut is 'cancel' or 'stop', at a step from 1 up; got {self!r}"
            )

    def __str__(self) -> str:
        verb = "cancelled" if self.what == "cancel" else "stopped"
        return f"{verb} {'after' if self.after else 'before'} step {self.step}"


def _ops(ops: Iterable[Op]) -> Script:
    script = tuple(ops)
    for op in script:
        if type(op) not in OPS:
            raise TypeError(f"a script is [TellAt(...), AskAt(...), ...]; got {op!r}")
    return script


def _faults(faults: Iterable[Fault]) -> FaultPlan:
    plan = tuple(faults)
    for fault in plan:
        if not isinstance(cast("object", fault), Fault):
            raise TypeError(
                f"faults are [Fault(...), *crash_loop(...), ...]; got {fault!r}"
            )
    return plan


@attrs.frozen
class Scenario:
    """What is to happen to a tree."""

    script: Script = attrs.field(default=(), converter=_ops)
    faults: FaultPlan = attrs.field(default=(), converter=_faults)
    schedule: Schedule = FIFO
    cut: Cut | None = attrs.field(
        default=None, validator=attrs.validators.instance_of((Cut, type(None)))
    )
    seed: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))
    """For the jitter of restarts, and whatever else is left to chance."""
    shape: str = ""
    """`Tree.shape` of the tree that it was made for; empty: for any that will do."""

    @property
    def held_up(self) -> float:
        """Seconds for which its faults may hold somebody up, all together."""
        return sum(fault.seconds * fault.repeat for fault in self.faults)

    def check(self, tree: Tree) -> None:
        """Refuse to be played on another tree.

        Raises:
            WrongTree: naming the difference, and what to do.
        """
        check_tree(tree)
        _ = tree.nodes  # so that a tree that is none says so first
        if self.shape and self.shape != tree.shape:
            raise WrongTree(
                f"the scenario was made for a tree of shape {self.shape}, and this one "
                f"is {tree.shape}: names, strategies, restart types, actors or "
                "messages have changed; find a new one, or give the tree its shape back"
            )
        for op in self.script:
            if isinstance(op, TellAt | AskAt | BurstAt | RequestAt):
                _somebody(tree, op.path, op)
                if isinstance(op, RequestAt) and op.path == tree.name:
                    raise WrongTree(f"{op!r}: nobody is above the root; use StopAt")
        for fault in self.faults:
            _strikes(tree, fault)


def check_scenario(scenario: object, tree: Tree) -> None:
    """Refuse what cannot be played.

    Raises:
        TypeError: that is no scenario, or no tree.
        WrongTree: as `Scenario.check`.
    """
    if not isinstance(scenario, Scenario):
        raise TypeError(f"a scenario is Scenario([TellAt(...), ...]), got {scenario!r}")
    scenario.check(tree)


def _somebody(tree: Tree, path: str, what: object) -> Node | None:
    node = tree.nodes.get(path)
    if node is None:
        above = tree.nodes.get(path.rpartition("/")[0])
        if above is None or above.kind != "dynamic":
            raise WrongTree(
                f"{what!r}: there is no {path!r} in the tree; there are "
                f"{', '.join(tree.nodes)}"
            )
    return node


def _strikes(tree: Tree, fault: Fault) -> None:
    node = _somebody(tree, fault.path, fault)
    if node is not None and node.is_supervisor and fault.point in ("run", "handle"):
        raise WrongTree(
            f"{fault!r}: {fault.path} is a supervisor: strike its children, or its "
            "'start', 'stopping' or 'cleanup'"
        )
    if fault.point == "deliver" and fault.path not in tree.unreliable:
        raise WrongTree(
            f"{fault!r}: messages to {fault.path} are never lost, doubled or late; "
            f"declare it: Tree(..., unreliable=[{fault.path!r}])"
        )


# -- as JSON --------------------------------------------------------------------------


def to_json(scenario: Scenario, tree: Tree) -> Json:
    """Write a scenario as what JSON knows. `from_json` reads it, with the same tree.

    Raises:
        TypeError: a message holds something else than numbers, texts and the like.
    """
    schedule, cut = scenario.schedule, scenario.cut
    return {
        "shape": tree.shape,
        "script": [_op_to_json(op, tree) for op in scenario.script],
        "faults": [list(attrs.astuple(fault)) for fault in scenario.faults],
        "schedule": schedule.choices.hex() if isinstance(schedule, Tape) else None,
        "one_at_a_time": schedule.seed if isinstance(schedule, OneAtATime) else None,
        "cut": None if cut is None else list(attrs.astuple(cut)),
        "seed": scenario.seed,
    }


def from_json(data: Json, tree: Tree) -> Scenario:
    """Read what `to_json` wrote.

    Raises:
        WrongTree: it was made for another tree.
        ValueError: it is no such thing.
    """
    if data.get("shape") != tree.shape:
        Scenario(shape=data.get("shape") or "unknown").check(tree)
    schedule: Schedule = (
        Tape(bytes.fromhex(data["schedule"]))
        if data["one_at_a_time"] is None
        else OneAtATime(data["one_at_a_time"])
    )
    return Scenario(
        tuple(_op_from_json(op, tree) for op in data["script"]),
        tuple(_fault_from_json(fields) for fields in data["faults"]),
        schedule,
        None if data["cut"] is None else Cut(*data["cut"]),
        data["seed"],
        tree.shape,
    )


def _fault_from_json(fields: Json) -> Fault:
    *where_and_what, seconds = fields
    return Fault(*where_and_what, seconds=seconds)


_OPS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in OPS}


def _op_to_json(op: Any, tree: Tree) -> Json:
    kind = cast("Any", type(op))
    fields: list[Any] = [getattr(op, field.name) for field in attrs.fields(kind)]
    messages = tree.messages.get(getattr(op, "path", ""))
    return [
        kind.__name__,
        *(_message_to_json(f, messages) if _sent(f) else f for f in fields),
    ]


def _sent(field: object) -> bool:
    return isinstance(field, Message)


def _op_from_json(data: Json, tree: Tree) -> Any:
    kind = _OPS[data[0]]
    fields = {
        field.name: value
        for field, value in zip(attrs.fields(kind), data[1:], strict=True)
    }
    if "message" in fields:
        path = fields["path"]
        fields["message"] = _message_from_json(fields["message"], path, tree)
    return kind(**fields)


def _message_to_json(message: Message[Any], messages: object) -> Json:
    """The place of a message in the tree's own list, or its class and its fields."""
    if isinstance(messages, Sequence) and message in messages:
        return messages.index(message)
    kind: Any = type(message)
    if not attrs.has(kind):
        raise TypeError(f"{message!r} cannot be written down: make it an attrs class")
    fields = {f.name: getattr(message, f.name) for f in attrs.fields(kind) if f.init}
    if json.loads(json.dumps(fields, default=repr)) != fields:
        raise TypeError(
            f"{message!r} cannot be written down: its fields have to be numbers, texts "
            "and lists of them. Give the tree a list of messages instead of a strategy"
        )
    return {kind.__qualname__: fields}


def _message_from_json(data: Json, path: str, tree: Tree) -> Message[Any]:
    if isinstance(data, int):
        messages: Any = tree.messages[path]
        return cast("Message[Any]", messages[data])
    ((name, fields),) = data.items()
    kind: Any = tree.nodes[path].takes[name]
    # What attrs calls an argument has no underscore in front.
    return cast(
        "Message[Any]", kind(**{key.lstrip("_"): v for key, v in fields.items()})
    )
