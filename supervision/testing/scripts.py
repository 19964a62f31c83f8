"""What happens to a tree from outside, and when: frozen values.

Times are seconds of virtual time from the moment when the tree is up.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, Literal, TypeAlias, get_args

import attrs

from actors import Ask, Message

Verb = Literal["stop", "restart", "suspend", "resume"]


def _time(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(
            f"{attribute.name} must be finite and not negative, got {value!r}"
        )


def _known(_instance: object, _attribute: object, value: str) -> None:
    if value not in get_args(Verb):
        raise ValueError(
            f"verb must be one of {', '.join(get_args(Verb))}, got {value!r}"
        )


def _told(_instance: object, _attribute: object, message: object) -> None:
    if isinstance(message, Ask) or not isinstance(message, Message):
        raise TypeError(f"{message!r} cannot be told; a question is for AskAt")


def _asked(_instance: object, _attribute: object, message: object) -> None:
    if not isinstance(message, Ask):
        raise TypeError(f"{message!r} is no question; what is told is for TellAt")


@attrs.frozen
class TellAt:
    """Tell an actor something."""

    at: float = attrs.field(validator=_time)
    path: str
    message: Message[Any] = attrs.field(validator=_told)

    def __str__(self) -> str:
        return f"t={self.at:g}  tell {self.path} {self.message}"


@attrs.frozen
class AskAt:
    """Ask an actor something, and wait for the answer; nobody else waits for that."""

    at: float = attrs.field(validator=_time)
    path: str
    message: Message[Any] = attrs.field(validator=_asked)
    timeout: float | None = 10.0

    def __str__(self) -> str:
        limit = "" if self.timeout is None else f", for {self.timeout:g} s at most"
        return f"t={self.at:g}  ask {self.path} {self.message}{limit}"


@attrs.frozen
class BurstAt:
    """Tell an actor the same thing more often than its mailbox has room for."""

    at: float = attrs.field(validator=_time)
    path: str
    message: Message[Any] = attrs.field(validator=_told)

    def __str__(self) -> str:
        return f"t={self.at:g}  overflow {self.path} with {self.message}"


@attrs.frozen
class RequestAt:
    """Ask the supervisor of an actor, or the actor itself, to stop it and the like.

    A child that is stopped is kept, and comes back with its group, or by a restart.
    """

    at: float = attrs.field(validator=_time)
    path: str
    verb: Verb = attrs.field(validator=_known)

    def __str__(self) -> str:
        return f"t={self.at:g}  {self.verb} {self.path}"


@attrs.frozen
class JumpAt:
    """The clock goes on by so much, while nobody runs: a machine that was suspended."""

    at: float = attrs.field(validator=_time)
    seconds: float = attrs.field(validator=_time)

    def __str__(self) -> str:
        return f"t={self.at:g}  the clock jumps by {self.seconds:g} s"


@attrs.frozen
class StopAt:
    """Leave the block of the system."""

    at: float = attrs.field(validator=_time)

    def __str__(self) -> str:
        return f"t={self.at:g}  stop the system"


Op: TypeAlias = TellAt | AskAt | BurstAt | RequestAt | JumpAt | StopAt
"""Something that happens from outside."""

Script: TypeAlias = tuple[Op, ...]
"""All of it, in any order, as each knows its time."""

OPS: Collection[type[Op]] = (TellAt, AskAt, BurstAt, RequestAt, JumpAt, StopAt)
