"""Random scenarios, run in a real Erlang/OTP and recorded as data.

``PYTHONPATH=.:tests/supervision python tests/supervision/otp/record.py [seed]`` writes
supervision/testing/otp_cases.json anew. It needs Erlang (``apt-get install
--no-install-recommends erlang-base``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from supervision import AutoShutdown, Restart, Strategy
from supervision.testing.otp import (
    Add,
    Branch,
    Exits,
    How,
    Operation,
    OtpScenario,
    Pause,
    Request,
    Spec,
    Verb,
    Worker,
    to_json,
)

HERE = Path(__file__).resolve().parent
CASES = HERE.parents[2] / "supervision" / "testing" / "otp_cases.json"
RECORDED, PAUSING = 800, 100

STRATEGIES: Sequence[Strategy] = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS: Sequence[Restart] = ("permanent", "transient", "temporary")
AUTO: Sequence[AutoShutdown] = ("never", "any_significant", "all_significant")
VERBS: Sequence[Verb] = ("terminate", "terminate", "restart", "restart", "delete")
HOWS: Sequence[How] = ("boom", "boom", "boom", "normal", "shutdown")


def scenario(random: Random) -> OtpScenario:
    """Draw a tree of up to three levels, and what befalls it."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = (prefix + letter for prefix in ("", *letters) for letter in letters)
    root = _branch(random, names, "root", 2, "never")
    branches = list(_branches(root))
    known = {b.name: [c.name for c in b.children] for b in branches}
    operations = [
        _operation(random, branches, known, names) for _ in range(random.randint(1, 8))
    ]
    return OtpScenario(root, operations)


def pausing_scenario(random: Random) -> OtpScenario:
    """Draw one in which it matters that the window of restarts slides."""
    workers = [Worker(name) for name in "abc"[: random.randint(1, 3)]]
    intensity, strategy = random.randint(1, 3), random.choice(STRATEGIES)
    root = Branch("root", workers, strategy, intensity=intensity)
    operations: list[Operation] = [
        Exits("root", [(random.choice(workers).name, random.choice(HOWS))])
        for _ in range(random.randint(intensity + 1, intensity + 4))
    ]
    for _ in range(random.randint(1, 2)):
        operations.insert(random.randint(1, len(operations)), Pause())
    return OtpScenario(root, operations)


def _branch(
    random: Random, names: Iterator[str], name: str, depth: int, above: AutoShutdown
) -> Branch:
    auto = random.choice(AUTO)
    restart, significant = _policy(random, above)
    children: list[Spec] = []
    for _ in range(random.randint(1, 4)):
        if depth and random.random() < 0.25:
            sub = next(names).upper()
            children.append(_branch(random, names, sub, depth - 1, auto))
        else:
            children.append(_worker(random, next(names), auto))
    return Branch(
        name,
        children,
        random.choice(STRATEGIES),
        auto,
        random.choice((0, 1, 1, 2, 2, 3, 4)),
        restart,
        significant,
    )


def _worker(random: Random, name: str, above: AutoShutdown) -> Worker:
    restart, significant = _policy(random, above)
    fails: list[int] = []
    if random.random() < 0.4:
        # The first start rarely: a tree that does not start shows little.
        lowest = 1 if random.random() < 0.05 else 2
        fails = sorted({random.randint(lowest, 5) for _ in range(random.randint(1, 3))})
    return Worker(name, restart, significant, fails)


def _policy(random: Random, above: AutoShutdown) -> tuple[Restart, bool]:
    restart = random.choice(RESTARTS)
    may = above != "never" and restart != "permanent"
    return restart, may and random.random() < 0.6


def _branches(branch: Branch) -> Iterator[Branch]:
    yield branch
    for child in branch.children:
        if isinstance(child, Branch):
            yield from _branches(child)


def _operation(
    random: Random,
    branches: Sequence[Branch],
    known: dict[str, list[str]],
    names: Iterator[str],
) -> Operation:
    branch = random.choice(branches)
    children, kind = known[branch.name], random.random()
    workers = [name for name in children if name.islower()]
    if workers and kind < 0.6:
        several = random.randint(2, 3) if random.random() < 0.3 else 1
        some = random.sample(workers, min(several, len(workers)))
        return Exits(branch.name, [(name, random.choice(HOWS)) for name in some])
    if kind < 0.9:
        return Request(random.choice(VERBS), branch.name, random.choice(children))
    if random.random() < 0.3:
        old = random.choice(children)
        return Add(branch.name, _worker(random, old.lower(), branch.auto_shutdown))
    worker = _worker(random, next(names), random.choice(AUTO))
    children.append(worker.name)
    return Add(branch.name, worker)


# -- running them ---------------------------------------------------------------------


def missing() -> str | None:
    """Say what keeps this machine from asking OTP."""
    if shutil.which("erl") and shutil.which("escript"):
        return None
    return "no Erlang; apt-get install --no-install-recommends erlang-base"


def ask_otp(scenarios: Iterable[OtpScenario]) -> list[list[str]]:
    """Run scenarios in Erlang/OTP; the steps of each, as `World.play` gives them."""
    lines = [
        f"{{{n},{s.period},{_term(s.root)},{_term(s.operations)}}}.\n"
        for n, s in enumerate(scenarios)
    ]
    done = subprocess.run(
        ["escript", str(HERE / "record.escript")],  # noqa: S607 - wherever it is
        input="".join(lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={**os.environ, "ERL_CRASH_DUMP_SECONDS": "0"},
    )
    answers = (line.split("\t") for line in done.stdout.splitlines())
    by_index = {int(index): steps for index, *steps in answers}
    return [by_index[n] for n in range(len(lines))]


def _term(value: Any) -> str:
    """Write a value as record.escript reads it; names are atoms."""
    match value:
        case Worker(name, restart, significant, fails):
            fields = ["worker", name, restart, significant, fails]
        case Branch(name):
            options = (value.strategy, value.auto_shutdown, value.intensity)
            fields = ["supervisor", name, value.restart, value.significant, options]
            fields.append(value.children)
        case Exits(supervisor, exits):
            fields = ["exits", supervisor, exits]
        case Request(verb, supervisor, name):
            fields = [verb, supervisor, name]
        case Add(supervisor, child):
            fields = ["add", supervisor, child]
        case Pause():
            return "pause"
        case tuple() if not value or not isinstance(value[0], str):
            return _term(list(value))
        case tuple():
            fields = list(value)
        case list():
            return f"[{','.join(map(_term, value))}]"
        case bool() | int():
            return str(value).lower()
        case _:
            return f"'{value}'"
    return f"{{{','.join(map(_term, fields))}}}"


def main() -> None:
    random = Random(int(sys.argv[1]) if sys.argv[1:] else 1)
    scenarios = [pausing_scenario(random) for _ in range(PAUSING)]
    scenarios += [scenario(random) for _ in range(RECORDED)]
    cases = zip(scenarios, ask_otp(scenarios), strict=True)
    lines = [
        json.dumps([to_json(s), steps], separators=(",", ":")) for s, steps in cases
    ]
    CASES.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"{len(lines)} cases, {CASES.stat().st_size / 1000:.0f} kB: {CASES}")


if __name__ == "__main__":
    main()
