"""Tasks in words: who it is, and where it waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import trio
from trio.lowlevel import Task

import actors
from actors._core.refs import owner
from actors.testing import _seams

_OURS = Path(actors.__file__).parent.parent
_TRIO = (str(Path(trio.__file__).parent), contextlib.__file__)
_LIBRARIES = (*_TRIO, str(_OURS / "actors"), str(_OURS / "supervision"))


def label(task: Task) -> str:
    """Who it is: the actor that it works for, and the function that it runs."""
    name = task.name.rpartition(".")[2]
    box = task.context.get(owner)
    return name if box is None else f"{box.path}: {name}"


def where(task: Task) -> str:
    """Where it waits: ``file:line function``, and what it has called there.

    The innermost frame that is not a library's counts; if there is none, the innermost
    that is not trio's.
    """
    frames = [(frame.f_code, line) for frame, line in task.iter_await_frames()]
    for libraries in (_LIBRARIES, _TRIO, ()):
        called = ""
        for code, line in reversed(frames):
            if not code.co_filename.startswith(libraries):
                place = f"{Path(code.co_filename).name}:{line} {code.co_name}"
                return f"{place}, in {called}()" if called else place
            called = code.co_name
    return "its first step"


def tree(task: Task, depth: int = 0) -> Iterator[str]:
    """A task and all below it, a line for each."""
    shielded = any(scope.shield for scope in _seams.scopes(task))
    yield (
        f"{'  ' * depth}{label(task)} waits at {where(task)}"
        f"{', shielded' if shielded else ''}"
    )
    for child in _seams.children(task):
        yield from tree(child, depth + 1)
