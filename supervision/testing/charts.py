"""A run as a message sequence chart: a column for each actor, time runs downwards."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from actors.events import Cleaned, Event, Stopped
from supervision.testing.history import Run
from supervision.testing.marks import LEGEND, Mark, marks
from supervision.testing.points import Made

WIDTH = 92
"""Columns of a report; pytest puts eight more in front of every line."""

CLOCK = 10
"""Columns for the time."""

LANES = 6
"""As many actors as can be told apart in that width."""

FOLD = 1.0
"""Longer waits, in seconds, are told on a line of their own."""

HEAD, TAIL = 30, 50
"""Lines kept of a chart that is too long: how it began, and how it ended."""


def chart(run: Run, violations: Sequence[str] = ()) -> str:
    """Draw what happened to those who had a part in it.

    A column belongs to a role, with a bar while somebody plays it. What happens in one
    step of the scheduler stands on one line, as far as there is room.

    Args:
        run: what to draw.
        violations: what was wrong; whoever is named there comes first.
    """
    paths = involved(run, violations)
    width = min(24, (WIDTH - CLOCK) // len(paths))
    names = [_fit(path.removeprefix(f"{run.tree.name}/"), width) for path in paths]
    drawing = _Drawing(paths, width)
    for mark in marks(run):
        if mark.path in paths:
            drawing.put(mark)
        else:
            drawing.lives(mark.entry.event)
    lines = [f"{'t (s)':>{CLOCK - 2}}  {''.join(names)}".rstrip()]
    lines += _folded(drawing.finish())
    if others := len(run.nodes) - len(paths):
        lines.append(f"{'':{CLOCK}}({others} more had no part in it)")
    return "\n".join([*lines, f"{'':{CLOCK}}{LEGEND}"])


def _fit(text: str, width: int) -> str:
    """Exactly so wide, with a blank at the end."""
    cut = text if len(text) < width else f"{text[: width - 2]}…"
    return f"{cut:<{width}}"


def _folded(lines: list[str]) -> list[str]:
    hidden = len(lines) - HEAD - TAIL
    if hidden <= 1:
        return lines
    gap = f"{'⋮':>{CLOCK - 2}}  {hidden} lines are left out"
    return [*lines[:HEAD], gap, *lines[-TAIL:]]


def involved(run: Run, violations: Sequence[str] = ()) -> Sequence[str]:
    """The paths of those who had most to do with it, in the order of the tree."""
    told = {path for path in run.nodes if any(_names(v, path) for v in violations)}
    struck = {fault.path for fault in run.scenario.faults}
    asked = {getattr(op, "path", "") for op in run.scenario.script}
    busy = {path for path in run.nodes if _has_handled(run, path)}
    ranks: list[Collection[str]] = [told, struck, asked, busy]
    ranks.append(
        {run.nodes[p].parent for rank in ranks for p in rank if p in run.nodes}
    )
    ranked = [path for rank in ranks for path in run.nodes if path in rank]
    most = [*dict.fromkeys(ranked or run.nodes)][:LANES]
    return [path for path in run.nodes if path in most]


def _names(text: str, path: str) -> bool:
    return re.search(rf"(?<![\w/]){re.escape(path)}(?![\w/])", text) is not None


def _has_handled(run: Run, path: str) -> bool:
    return any(life.at("handle") for life in run.lives.get(path, ()))


class _Drawing:
    """Puts one mark after the other into the columns."""

    def __init__(self, paths: Sequence[str], width: int) -> None:
        self._paths = paths
        self._width = width
        self._lines: list[str] = []
        self._row: dict[str, str] = {}
        """The line that is being written, by path."""
        self._alive: set[str] = set()
        self._bars: set[str] = set()
        """Who was alive when that line began."""
        self._moment: tuple[float, int] = (0.0, 0)
        """Its time, and its step."""
        self._shown: float | None = None
        """The last time that was written down."""

    def put(self, mark: Mark) -> None:
        """Write it beside what happened in the same step, or below."""
        entry = mark.entry
        moment = entry.at, entry.step
        if moment != self._moment:
            self._new_line()
            if entry.at - self._moment[0] > FOLD:
                gap = entry.at - self._moment[0]
                self._lines.append(f"{'⋮':>{CLOCK - 2}}  {gap:.4g} s")
            self._moment = moment
        before = self._row.get(mark.path)
        text = mark.text if before is None else f"{before} {mark.text}"
        if before is not None and len(text) >= self._width:
            self._new_line()
            text = mark.text
        self._row[mark.path] = text
        self.lives(entry.event)

    def lives(self, event: Event) -> None:
        """Take note of who lives."""
        if isinstance(event, Made):
            self._alive.add(event.path)
        elif isinstance(event, Cleaned | Stopped):
            self._alive.discard(event.path)

    def finish(self) -> list[str]:
        """All lines."""
        self._new_line()
        return self._lines

    def _new_line(self) -> None:
        if self._row:
            bars = self._bars | self._alive
            cells = [
                _fit(self._row.get(path, "│" if path in bars else ""), self._width)
                for path in self._paths
            ]
            at = self._moment[0]
            clock = "" if at == self._shown else f"{at:.3f}"
            self._shown = at
            line = f"{clock:>{CLOCK - 2}}  {''.join(cells)}"
            self._lines.append(line.rstrip())
        self._row = {}
        self._bars = set(self._alive)
