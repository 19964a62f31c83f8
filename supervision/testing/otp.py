"""What a real Erlang/OTP does: recorded cases, for whoever has a supervisor to compare.

Each case is a tree, what befell it, and what could be observed step by step. The steps
are texts in three parts, separated by bars: what happened (``+a`` a started, ``!a`` its
start failed, ``-a`` it was told to stop, ``^a`` the supervisor a gave up), who lives
then, and what a request was answered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal, TypeAlias, cast

import attrs

from supervision.specs import AutoShutdown, Restart, Strategy

How = Literal["boom", "normal", "shutdown"]
Verb = Literal["terminate", "restart", "delete"]


@attrs.frozen
class Worker:
    """``fails``: which of its starts fail, counted from 1 for the whole scenario."""

    name: str
    restart: Restart = "permanent"
    significant: bool = False
    fails: Sequence[int] = ()


@attrs.frozen
class Branch:
    """A supervisor with its children."""

    name: str
    children: Sequence[Worker | Branch]
    strategy: Strategy = "one_for_one"
    auto_shutdown: AutoShutdown = "never"
    intensity: int = 1
    restart: Restart = "permanent"
    significant: bool = False


Spec: TypeAlias = Worker | Branch


@attrs.frozen
class Exits:
    """Children of one supervisor end by themselves, before it notices the first."""

    supervisor: str
    exits: Sequence[tuple[str, How]]


@attrs.frozen
class Request:
    """``terminate_child``, ``restart_child`` or ``delete_child``."""

    verb: Verb
    supervisor: str
    name: str


@attrs.frozen
class Add:
    """``start_child``."""

    supervisor: str
    child: Worker


@attrs.frozen
class Pause:
    """Longer than the period of all supervisors, which is one second then."""


Operation: TypeAlias = Exits | Request | Add | Pause


@attrs.frozen
class OtpScenario:
    """A tree, and what befalls it."""

    root: Branch
    operations: Sequence[Operation]

    @property
    def period(self) -> int:
        """Seconds; without a pause all that happens is within the period."""
        return 1 if Pause() in self.operations else 1000


@attrs.frozen
class OtpCase:
    """A scenario, and what OTP did: the start, each operation, and the stop."""

    scenario: OtpScenario
    steps: Sequence[str]


def otp_cases() -> list[OtpCase]:
    """Cases recorded with Erlang/OTP 25, several hundreds."""
    text = (files("supervision.testing") / "otp_cases.json").read_text("utf-8")
    return [OtpCase(from_json(scenario), steps) for scenario, steps in json.loads(text)]


_TAGS: dict[Any, str] = {
    OtpScenario: "@S",
    Worker: "@W",
    Branch: "@B",
    Exits: "@E",
    Request: "@R",
    Add: "@A",
    Pause: "@P",
}
_CLASSES = {tag: cls for cls, tag in _TAGS.items()}


def to_json(scenario: OtpScenario) -> Any:
    """Compact: a tag for each class, and its fields in order."""
    return json.loads(json.dumps(_plain(scenario)))


def _plain(value: Any) -> Any:
    kind = cast("Any", type(value))
    if kind in _TAGS:
        fields = [_plain(getattr(value, field.name)) for field in attrs.fields(kind)]
        return [_TAGS[kind], *fields]
    return [*map(_plain, value)] if kind in (list, tuple) else value


def from_json(value: Any) -> Any:
    """Read what `to_json` wrote."""
    if type(value) is not list:
        return value
    items: list[Any] = [*value]
    tag, fields = items[0] if items else None, items[1:]
    if isinstance(tag, str) and tag in _CLASSES:
        return _CLASSES[tag](*map(from_json, fields))
    return tuple(map(from_json, items))
