"""A sample of mechanical mistakes: how many of them do our tests notice?"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import attrs

from tests.mutants.mutant import Mutant, Rewritten
from tests.mutants.operators import Edit, edits
from tests.mutants.reach import Reach, reach_of
from tests.mutants.trial import ROOT, Bench, Verdict, bench

FILES = (
    *sorted(str(file.relative_to(ROOT)) for file in ROOT.glob("actors/_core/*.py")),
    *(
        f"supervision/{name}.py"
        for name in ("planner", "tree", "role", "roles", "breaker", "breakers")
    ),
)

ENOUGH = 0.85
"""The share of the sample that has to be noticed."""


@attrs.frozen
class Mistake:
    """An edit of a file, as it stands."""

    file: str
    edit: Edit
    text: str
    """The whole file with it."""

    @property
    def key(self) -> str:
        """The same for the same mistake in the same code."""
        return hashlib.sha256(f"{self.file}\0{self.text}".encode()).hexdigest()[:16]

    @property
    def lines(self) -> range:
        """Where it stands."""
        return range(self.edit.line, self.edit.line + self.edit.old.count("\n") + 1)

    def __str__(self) -> str:
        old, new = (" ".join(each.split()) for each in (self.edit.old, self.edit.new))
        return f"{self.file}:{self.edit.line} {self.edit.operator}: {old} -> {new}"

    def mutant(self) -> Mutant:
        """As what can be planted."""
        change = Rewritten(self.file, self.text)
        return Mutant(str(self), self.edit.operator, (change,))


def mistakes() -> Iterator[Mistake]:
    """All there are."""
    for file in FILES:
        source = (ROOT / file).read_bytes()
        for edit in edits(source):
            yield Mistake(file, edit, edit.applied(source).decode())


def sample(size: int, seed: int) -> list[Mistake]:
    """So many of them, the same for the same code and seed."""
    everything = list(mistakes())
    return Random(seed).sample(everything, min(size, len(everything)))


Outcome = tuple[Mistake, Verdict]


def try_sample(size: int, seed: int, results: Path | None) -> list[Outcome]:
    """Try each of a sample.

    Args:
        size: how many.
        seed: of the choice.
        results: where verdicts are kept, a JSON line each; those that are there
            already are taken from there.
    """
    chosen = sample(size, seed)
    known = _known(results)
    todo = [mistake for mistake in chosen if mistake.key not in known]
    print(f"{len(chosen)} mistakes, {len(chosen) - len(todo)} of them tried before")
    if todo:
        reached = None if results is None else results.with_suffix(".reach")
        with bench() as copy:
            reach = reach_of(copy, reached)
            for n, mistake in enumerate(todo, 1):
                verdict = known[mistake.key] = _verdict(copy, reach, mistake)
                _keep(results, mistake, verdict)
                by = verdict.by or verdict.result.upper()
                print(f"{n}/{len(todo)} {mistake}\n    {verdict.seconds:.1f} s {by}")
    return [(mistake, known[mistake.key]) for mistake in chosen]


def _verdict(bench: Bench, reach: Reach, mistake: Mistake) -> Verdict:
    tests = reach.of(mistake.file, mistake.lines)
    if not tests:
        return Verdict("survived", "", 0.0)
    # Nothing is measured any more, but the machine may be busy.
    limit = 60 + 3 * sum(tests.values())
    return bench.try_out(mistake.mutant(), tests, seconds=limit, patience=15)


def _known(results: Path | None) -> dict[str, Verdict]:
    if results is None or not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    return {row["key"]: Verdict(**row["verdict"]) for row in rows}


def _keep(results: Path | None, mistake: Mistake, verdict: Verdict) -> None:
    if results is not None:
        row = {
            "key": mistake.key,
            "what": str(mistake),
            "verdict": attrs.asdict(verdict),
        }
        with results.open("a") as file:
            file.write(json.dumps(row) + os.linesep)


def report(outcomes: Sequence[Outcome]) -> int:
    """Print the survivors by line, and the share that was noticed; the exit code."""
    left = [outcome for outcome in outcomes if outcome[1].result != "killed"]
    for mistake, verdict in sorted(left, key=lambda o: (o[0].file, o[0].edit.line)):
        print(f"{verdict.result}: {mistake}")
    tried, noticed = (Counter[str]() for _ in range(2))
    for mistake, verdict in outcomes:
        tried[mistake.file] += 1
        noticed[mistake.file] += verdict.result == "killed"
    for file in sorted(tried):
        print(f"{file}: {noticed[file]} of {tried[file]}")
    share = noticed.total() / max(1, tried.total())
    print(f"noticed: {noticed.total()} of {tried.total()}, {share:.1%}")
    return 0 if share >= ENOUGH else 1
