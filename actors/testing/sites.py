"""Await sites: where the source of a package waits, and where that was cancelled."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
from trio.lowlevel import Task

from actors.testing import _seams


@attrs.frozen(order=True)
class Site:
    """An ``await``, ``async with`` or ``async for`` in the source."""

    file: str
    line: int
    last_line: int = attrs.field(eq=False, repr=False)
    function: str = attrs.field(eq=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"


def sites_of(*packages: str, without: tuple[str, ...] = ()) -> set[Site]:
    """All sites in the modules of these packages, but for those in ``without``.

    Raises:
        ModuleNotFoundError: there is no such package.
    """
    left_out = [_place(name) for name in without]
    return {
        site
        for name in packages
        for file in _files(_place(name))
        if not any(file.is_relative_to(place) for place in left_out)
        for site in _sites_in(str(file))
    }


def _place(package: str) -> Path:
    module = importlib.import_module(package)
    if module.__file__ is None:
        raise ModuleNotFoundError(f"{package} has no source file")
    file = Path(module.__file__)
    return file.parent if file.name == "__init__.py" else file


def _files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


@cache
def _sites_in(file: str) -> tuple[Site, ...]:
    tree = ast.parse(Path(file).read_text())
    return tuple(_walk(tree, file, "<module>"))


def _walk(node: ast.AST, file: str, function: str) -> Iterator[Site]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _walk(child, file, child.name)
            continue
        if isinstance(child, ast.Await):
            yield Site(file, child.lineno, child.end_lineno or child.lineno, function)
        elif isinstance(child, ast.AsyncWith | ast.AsyncFor):
            # Not its body, which has sites of its own.
            yield Site(file, child.lineno, child.body[0].lineno - 1, function)
        yield from _walk(child, file, function)


class Cancellations:
    """Notes at which lines tasks were waiting when they were cancelled there."""

    def __init__(self) -> None:
        self.lines: set[tuple[str, int]] = set()

    def look(self, task: Task) -> None:
        """Before a step: is it that the task finds itself cancelled?"""
        if _seams.finds_itself_cancelled(task):
            for frame, line in task.iter_await_frames():
                self.lines.add((frame.f_code.co_filename, line))


def never_in(sites: set[Site], lines: set[tuple[str, int]]) -> list[Site]:
    """The sites that none of the lines belongs to, in order."""
    hit = {
        min(around, key=lambda site: site.last_line - site.line)
        for file, line in lines
        if (around := [s for s in sites if _covers(s, file, line)])
    }
    return sorted(sites - hit)


def _covers(site: Site, file: str, line: int) -> bool:
    return site.file == file and site.line <= line <= site.last_line
