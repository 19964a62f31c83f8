"""Interleaved cases, CPU time, medians of per-round ratios."""

from __future__ import annotations

import gc
import json
import os
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import attrs
import trio

Case = Callable[[int], Awaitable[object]]
"""Does the given number of operations."""


@attrs.frozen
class Measure:
    """How many times cheaper one case is than another, and what is demanded."""

    name: str
    case: str
    against: str
    at_least: float
    aim: float


def pin() -> None:
    """Stay on one core: a second one would hide the cost of every wake-up."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})


def cpu_per_operation(case: Case, operations: int) -> float:
    """CPU seconds per operation of one run, without the start of the run."""

    async def main() -> float:
        begin = time.process_time()
        await case(operations)
        return (time.process_time() - begin) / operations

    gc.collect()
    return trio.run(main)


def measure(
    cases: Mapping[str, Case], *, operations: int, rounds: int
) -> Mapping[str, list[float]]:
    """Run all cases in turn, round after round; the order rotates."""
    names = list(cases)
    for name in names:
        cpu_per_operation(cases[name], operations // 10)
    spent: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            spent[name].append(cpu_per_operation(cases[name], operations))
    return spent


def report(
    measures: Sequence[Measure], spent: Mapping[str, list[float]], path: Path | None
) -> int:
    """Print the table and the summing-up line; return the exit code."""
    print("| measure | us per operation | times cheaper | at least | aim |")
    print("|---|---|---|---|---|")
    missed: list[str] = []
    numbers: dict[str, float] = {}
    for each in measures:
        pairs = zip(spent[each.against], spent[each.case], strict=True)
        ratio = statistics.median(against / case for against, case in pairs)
        cost = statistics.median(spent[each.case]) * 1e6
        print(
            f"| {each.name} | {cost:.2f} | {ratio:.2f} | {each.at_least} | {each.aim} |"
        )
        numbers[each.name] = ratio
        if ratio < each.at_least:
            missed.append(f"{each.name} ({ratio:.2f} < {each.at_least})")
    if path is not None:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    summary = f"{len(measures) - len(missed)} of {len(measures)} reach their floor"
    print(summary + (f"; missed: {', '.join(missed)}" if missed else ""))
    return 1 if missed else 0


def json_option() -> Path | None:
    """Read ``--json FILE`` from the command line."""
    parser = ArgumentParser()
    parser.add_argument("--json", type=Path)
    path: Path | None = parser.parse_args().json
    return path
