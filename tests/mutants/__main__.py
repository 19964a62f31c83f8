"""Plant mistakes into copies of our code and see which test notices them first.

``python -m tests.mutants [NAME ...]``: the mistakes written down in `planted`.
``python -m tests.mutants --generated 300 --seed 1``: a sample of mechanical ones.

Exits with 1 if any survives.
"""

from __future__ import annotations

import argparse
import queue
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import attrs

from tests.mutants.generated import report, try_sample
from tests.mutants.mutant import Mutant
from tests.mutants.planted import PLANTED
from tests.mutants.trial import SUITES, Bench, Verdict, bench

LIMIT = 60.0
"""Seconds within which a planted mistake is to be noticed."""


def main() -> int:
    """Try the mutants that the command line names; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME", help="planted mutants")
    parser.add_argument("--jobs", type=int, choices=(1, 2), default=1)
    parser.add_argument("--generated", type=int, metavar="N", help="a sample of N")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--results", type=Path, help="go on from here: JSON lines")
    options = parser.parse_args()
    if options.generated is not None:
        return report(try_sample(options.generated, options.seed, options.results))
    return _planted(options.names, options.jobs)


def _planted(names: Sequence[str], jobs: int) -> int:
    known = {mutant.name: mutant for mutant in PLANTED}
    if unknown := [name for name in names if name not in known]:
        print(f"no such mutant: {', '.join(unknown)}; there are: {', '.join(known)}")
        return 2
    chosen = [known[name] for name in names] or PLANTED
    survivors = [
        mutant.name
        for mutant, verdict in zip(chosen, _verdicts(chosen, jobs), strict=True)
        if verdict.result != "killed"
    ]
    if survivors:
        print(f"not noticed within {LIMIT:g} s: {', '.join(survivors)}")
    return 1 if survivors else 0


def _verdicts(mutants: Sequence[Mutant], jobs: int) -> list[Verdict]:
    width = max(len(mutant.name) for mutant in mutants)
    free: queue.SimpleQueue[Bench] = queue.SimpleQueue()
    with ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        for _ in range(jobs):
            free.put(stack.enter_context(bench()))

        def attempt(mutant: Mutant) -> Verdict:
            mine = free.get()
            try:
                verdict = _verdict(mine, mutant)
            finally:
                free.put(mine)
            by = verdict.by or verdict.result
            print(f"{mutant.name:{width}}  {verdict.seconds:5.1f} s  {by}")
            print(f"{'':{width}}           {mutant.rule}", flush=True)
            return verdict

        return list(pool.map(attempt, mutants))


def _verdict(bench: Bench, mutant: Mutant) -> Verdict:
    """That of the likeliest tests, or else of all."""
    first = bench.try_out(mutant, mutant.first, seconds=LIMIT, patience=15)
    if first.result != "survived":
        return first
    left = LIMIT - first.seconds
    then = bench.try_out(mutant, SUITES, seconds=left, patience=15)
    return attrs.evolve(then, seconds=first.seconds + then.seconds)


if __name__ == "__main__":
    sys.exit(main())
