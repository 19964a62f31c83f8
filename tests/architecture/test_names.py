"""What is public is called by where users import it from."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

import actors
import supervision
from actors import ActorGone, AskTimeout, Exit
from supervision import Backoff, SystemFailed

PUBLIC = [
    pytest.param(package, name, id=f"{package.__name__}.{name}")
    for package in (actors, supervision)
    for name in package.__all__
    if isinstance(getattr(package, name), type)
]


def pickled(value: object) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_a_public_class_belongs_to_its_package_and_can_be_pickled(
    package: Any, name: str
) -> None:
    value = getattr(package, name)
    assert (value.__module__, value.__qualname__) == (package.__name__, name)
    assert pickled(value) is value


@pytest.mark.parametrize(
    "error",
    [
        ActorGone("app/a", "m", "stopped for good"),
        AskTimeout("app/a", "m", "no reply in time", started=True),
    ],
)
def test_errors_survive_pickling_with_all_they_say(error: Exception) -> None:
    copy = pickled(error)
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("value", [Exit("normal"), Backoff(first=1)])
def test_values_survive_pickling(value: object) -> None:
    assert pickled(value) == value


def test_tracebacks_show_the_public_name() -> None:
    error = ActorGone("app/a", "m", "stopped for good")
    (line,) = traceback.format_exception_only(error)
    assert line.startswith("actors.ActorGone: app/a: ")
    (line, *_) = traceback.format_exception_only(SystemFailed("app has failed"))
    assert line.startswith("supervision.SystemFailed: ")
