"""What is seen of each run of a program, and what has to hold of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import attrs

from actors import (
    ActorCrashed,
    ActorError,
    ActorGone,
    AskTimeout,
    MailboxFull,
    Ref,
    Rejected,
)
from actors.events import Cleaned, Event, Started
from actors.testing import Trace, World
from supervision import (
    BreakerOpen,
    Child,
    System,
    SystemFailed,
)


class Crashing(Exception):
    """On purpose."""


@attrs.frozen
class Asked(Event):
    number: int


@attrs.frozen
class Handled(Event):
    """A handler has begun with a question."""

    number: int


@attrs.frozen
class Outcome(Event):
    """How a question has ended for whoever asked it."""

    number: int
    executed: Literal["once", "never", "perhaps"]


@attrs.frozen
class Made(Event):
    """Something was made that has to be put away."""

    what: str


@attrs.frozen
class PutAway(Event):
    what: str


def check(trace: Trace) -> None:
    """What holds however a program is cancelled."""
    _every_question_has_one_outcome(trace)
    _every_life_is_cleaned_up_once_and_alone(trace)
    made = Counter((e.path, e.what) for e in trace.events(Made))
    away = Counter((e.path, e.what) for e in trace.events(PutAway))
    assert made == away, "what was made has to be put away, once"


def _every_question_has_one_outcome(trace: Trace) -> None:
    handled = Counter(e.number for e in trace.events(Handled))
    outcomes = trace.events(Outcome)
    asked = [e.number for e in trace.events(Asked)]
    assert sorted(e.number for e in outcomes) == sorted(asked)
    for outcome in outcomes:
        times = handled[outcome.number]
        allowed = {"once": [1], "never": [0], "perhaps": [0, 1]}[outcome.executed]
        assert times in allowed, f"{outcome}, and was handled {times} times"


def _every_life_is_cleaned_up_once_and_alone(trace: Trace) -> None:
    lives: dict[str, int] = {}
    cleaned: Counter[tuple[str, int]] = Counter()
    started: set[tuple[str, int]] = set()
    for entry in trace:
        match entry.event:
            case Started(path, number):
                assert path not in lives, f"{path} lives twice"
                lives[path] = number
                started.add((path, number))
            case Cleaned(path, number):
                cleaned[path, number] += 1
                lives.pop(path, None)
            case _:
                pass
    assert not lives, f"{lives} were never cleaned up"
    assert max(cleaned.values(), default=1) == 1
    assert started <= set(cleaned)


async def ask(
    world: World, ref: Ref[Any], question: Any, timeout: float | None = None
) -> None:
    """Ask, and note how it ends."""
    number = question.number
    world.trace(Asked(ref.path, number))
    executed: Literal["once", "never", "perhaps"] = "perhaps"
    try:
        reply = await ref.ask(question, timeout=timeout)
        assert reply == number
        executed = "once"
    except (ActorGone, MailboxFull, BreakerOpen):
        executed = "never"
    except AskTimeout as error:
        executed = "perhaps" if error.started else "never"
    except (ActorCrashed, Rejected):
        pass
    finally:
        world.trace(Outcome(ref.path, number, executed))


@attrs.frozen
class Completed(Event):
    """A scene has come to its end: undisturbed, all of them do."""


@asynccontextmanager
async def scene(world: World) -> AsyncGenerator[None]:
    """An actor that is gone, or a system that was told to hurry, is no surprise."""
    try:
        yield
        world.trace(Completed(""))
    except* (ActorError, Rejected, SystemFailed, Crashing):
        pass


def make_system(world: World, *children: Child[Any], **kwargs: Any) -> System:
    """A system that is part of the world."""
    return System(*children, on_event=[world.trace], random=world.random, **kwargs)
