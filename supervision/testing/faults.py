"""Faults as values: who is struck, where, when and how.

A plan is data, drawn before the run, so that it can be shrunk, shown and replayed.
What a fault does to the actor that it strikes is here as well; how it gets there is
the business of `planting`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias, assert_never, get_args

import attrs
import trio

Point = Literal["start", "run", "handle", "stopping", "cleanup", "deliver"]
"""start: in ``started()``; run: in ``run()``; handle: before a handler; stopping: in
``stopping()``; cleanup: in a step of the cleanup, the last; deliver: on the way to the
mailbox of an actor that was declared unreliable."""

Kind = Literal[
    "crash",
    "group",
    "base_exception",
    "slow",
    "hang",
    "shielded_hang",
    "no_checkpoint",
    "drop",
    "duplicate",
    "delay",
]
"""crash: raises `Injected`; group: an exception group of two; base_exception: raises
`Interrupted`, which is no ``Exception`` and so ends the program; slow: takes its time,
then goes on; hang: for ever, until it is cancelled; shielded_hang: cannot be cancelled,
but ends; no_checkpoint: computes, and lets nobody else run meanwhile, then goes on;
drop, duplicate, delay: of a message."""

DELIVERIES: Collection[Kind] = ("drop", "duplicate", "delay")

SECONDS: Mapping[Kind, float] = {
    "slow": 1.0,
    "shielded_hang": 30.0,
    "no_checkpoint": 0.5,
    "delay": 1.0,
}
"""How long those take that take time, unless the fault says otherwise."""


class Injected(Exception):
    """What a ``crash`` raises; the fault is its argument."""


class Interrupted(BaseException):
    """What a ``base_exception`` raises: like an interrupt, it ends the program."""


def _from_one(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value < 1 or value != int(value):
        raise ValueError(
            f"{attribute.name} is counted from 1, over all incarnations; got {value!r}"
        )


def _usual(fault: Fault) -> float:
    return SECONDS.get(fault.kind, 0.0)


@attrs.frozen
class Fault:
    """Strike the actor at ``path`` the ``nth`` time that it comes to ``point``.

    Raises:
        ValueError: an unknown point or kind, a kind that the point does not have, or
            a number that cannot be meant.
    """

    path: str
    point: Point = attrs.field()
    nth: int = attrs.field(validator=_from_one)
    """Counted from 1, over all incarnations of the role."""
    kind: Kind = attrs.field()
    repeat: int = attrs.field(default=1, validator=_from_one)
    """So many times in a row."""
    seconds: float = attrs.field(
        default=attrs.Factory(_usual, takes_self=True), kw_only=True
    )
    """For how long; ``crash`` and ``group``: after how long. Virtual time."""

    def __attrs_post_init__(self) -> None:
        for name, choices in (("point", Point), ("kind", Kind)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(choices))}, got "
                    f"{getattr(self, name)!r}"
                )
        if (self.point == "deliver") != (self.kind in DELIVERIES):
            raise ValueError(
                f"{self.kind!r} does not happen at {self.point!r}: "
                f"{', '.join(DELIVERIES)} happen at 'deliver', and nothing else does"
            )
        if not 0 <= self.seconds < math.inf:
            raise ValueError(
                f"seconds must be finite and not negative, got {self.seconds!r}; "
                "what never ends is a 'hang'"
            )

    def strikes(self, nth: int) -> bool:
        """Tell whether it is this time."""
        return self.nth <= nth < self.nth + self.repeat

    def __str__(self) -> str:
        times = f"{self.nth}" if self.repeat == 1 else f"{self.nth}..{self.last}"
        after = f" ({self.seconds:g} s)" if self.seconds else ""
        return f"{self.path}: {self.kind} at {self.point} {times}{after}"

    @property
    def last(self) -> int:
        """The last time that it strikes."""
        return self.nth + self.repeat - 1


FaultPlan: TypeAlias = tuple[Fault, ...]
"""All that strikes in one scenario."""


def crash_loop(path: str, *, nth: int = 1, starts: int = 3) -> FaultPlan:
    """A crash in the ``nth`` handler, and then so many starts that fail as well.

    As one unit, since chance alone would hardly ever draw such a coincidence.
    """
    return (
        Fault(path, "handle", nth, "crash"),
        Fault(path, "start", 2, "crash", starts),
    )


async def strike(fault: Fault) -> None:
    """Do to the running task what the fault says, for those that befall a task."""
    match fault.kind:
        case "crash" | "group" | "base_exception":
            if fault.seconds:
                await trio.sleep(fault.seconds)
            raise _error(fault)
        case "slow":
            await trio.sleep(fault.seconds)
        case "hang":
            await trio.sleep_forever()
        case "shielded_hang":
            with trio.CancelScope(shield=True):
                await trio.sleep(fault.seconds)
        case "no_checkpoint" | "drop" | "duplicate" | "delay":
            raise ValueError(f"{fault} does not befall a task")
        case _:
            assert_never(fault.kind)


def _error(fault: Fault) -> BaseException:
    if fault.kind == "group":
        return ExceptionGroup(str(fault), [Injected(fault), Injected(fault)])
    return Interrupted(fault) if fault.kind == "base_exception" else Injected(fault)
