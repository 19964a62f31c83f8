"""Rows, the table of them, and what it comes to."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import attrs

Better = Literal["higher", "lower"]


@attrs.frozen
class Row:
    """One measure, and what is demanded of it."""

    name: str
    floor: float
    """At least that, or for a bound at most that; missing it fails the run."""
    aim: float
    unit: str = "x"
    better: Better = "higher"
    """``lower`` makes the measure a bound."""
    value: float | None = None
    """None: not measured, and `note` says why."""
    note: str = ""
    """What the value was made of."""

    @property
    def demand(self) -> str:
        """The floor in words."""
        word = "at least" if self.better == "higher" else "at most"
        return f"{word} {self.floor:g} {self.unit}"

    @property
    def missed(self) -> bool:
        """Whether it was measured and found wanting."""
        return self.value is not None and not self._within(self.floor, self.value)

    @property
    def verdict(self) -> str:
        """What the table says about it."""
        if self.value is None:
            return "not measured"
        if self.missed:
            return "MISSED"
        return "aim" if self._within(self.aim, self.value) else "ok"

    def _within(self, goal: float, value: float) -> bool:
        return value >= goal if self.better == "higher" else value <= goal

    def found(self, value: float, note: str = "") -> Row:
        """The same row with its value."""
        return attrs.evolve(self, value=value, note=note)

    def unmeasured(self, why: str) -> Row:
        """The same row without one."""
        return attrs.evolve(self, note=why)


def at_most(name: str, floor: float, aim: float, unit: str) -> Row:
    """Make a row whose value is to stay below a bound."""
    return Row(name, floor, aim, unit, "lower")


def options(name: str) -> ArgumentParser:
    """Make the command line that every benchmark has."""
    parser = ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write it there")
    return parser


def report(rows: Iterable[Row], path: Path | None) -> int:
    """Print each row as it comes, then the summing-up; return the exit code."""
    begin = time.perf_counter()
    print("| measure | measured | demanded | aim | | made of |")
    print("|---|---|---|---|---|---|")
    done: list[Row] = []
    for row in rows:
        value = "-" if row.value is None else f"{row.value:.2f} {row.unit}"
        cells = [row.name, value, row.demand, f"{row.aim:g}", row.verdict, row.note]
        print(f"| {' | '.join(cells)} |", flush=True)
        done.append(row)
    if path is not None:
        path.write_text(json.dumps([_plain(row) for row in done], indent=2) + "\n")
    print(f"\n{_summary(done)} ({time.perf_counter() - begin:.0f} s)")
    return 1 if any(row.missed for row in done) else 0


def _plain(row: Row) -> dict[str, object]:
    return {**attrs.asdict(row), "verdict": row.verdict}


def _summary(rows: list[Row]) -> str:
    measured = [row for row in rows if row.value is not None]
    missed = [row for row in measured if row.missed]
    aims = sum(row.verdict == "aim" for row in measured)
    kept = len(measured) - len(missed)
    text = f"{kept} of {len(measured)} measured keep what is demanded, {aims} the aim"
    if missed:
        text += f"; missed: {', '.join(row.name for row in missed)}"
    if unmeasured := [row.name for row in rows if row.value is None]:
        text += f"; not measured: {', '.join(unmeasured)}"
    return text
