"""Trials: our code in a copy, with a mistake in it, before our tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import attrs
import pytest

from tests.mutants.mutant import Mutant
from tests.mutants.watch import PATIENCE, VERDICT, WANTED

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("actors", "supervision", "tests", "pyproject.toml")

WRITES = "PYTHONDONTWRITEBYTECODE"
"""Set, so that nothing is kept that was compiled from a mutant."""

PYTEST = (
    *("-m", "pytest", "-q", "-x", "-m", "not real"),
    *("-p", "no:cacheprovider", "-p", "tests.mutants.watch"),
)

FAST = ("tests/actors", "tests/supervision")
SUITES = (*FAST, "tests/hostile", "tests/cancellation")
"""All that a mistake in the runtime or in supervision may be noticed by."""

Result = Literal["killed", "survived", "undecided"]


@attrs.frozen
class Verdict:
    """What became of a mutant. ``undecided``: there was no time for all tests."""

    result: Result
    by: str
    """The first test that noticed, and how."""
    seconds: float


@attrs.frozen
class Bench:
    """A copy of our code, in which one mutant at a time is tried."""

    root: Path

    def run(
        self,
        tests: Sequence[str],
        seconds: float,
        more: Mapping[str, str],
        before: Sequence[str] = (),
    ) -> tuple[int | None, str]:
        """Run tests up to the first that fails; exit code, and the end of what it said.

        The code is None if they took longer than ``seconds``. ``more`` is for their
        environment, ``before`` for the interpreter.
        """
        environment = {
            **os.environ,
            "PYTHONPATH": ".",
            WRITES: "1",
            **more,
        }
        environment.pop("ACTOR_TREE_COPY", None)
        try:
            done = subprocess.run(
                [sys.executable, *before, *PYTEST, *tests],
                cwd=self.root,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, ""
        return done.returncode, done.stdout[-2000:]

    def try_out(
        self,
        mutant: Mutant,
        tests: Sequence[str] | Mapping[str, float],
        *,
        seconds: float,
        patience: float,
    ) -> Verdict:
        """Plant the mutant, and run tests until one notices.

        Args:
            mutant: what to plant.
            tests: files and folders; or single tests, and how long they take without
                a mistake, which are run in this order.
            seconds: for all together.
            patience: seconds after which a test is said to hang, which is to notice.

        Raises:
            RuntimeError: there is no such test.
        """
        told = self.root / "verdict"
        told.unlink(missing_ok=True)
        begin = time.perf_counter()
        more = {VERDICT: str(told), PATIENCE: str(patience)}
        if isinstance(tests, Mapping):
            more[WANTED] = str(self.root / "wanted")
            (self.root / "wanted").write_text(json.dumps(dict(tests)))
            tests = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        with mutant.planted(self.root):
            code, output = self.run(tests, seconds, more)
        took = time.perf_counter() - begin
        if told.exists():
            test, how = json.loads(told.read_text())
            return Verdict("killed", test if how == "fails" else f"{test} {how}", took)
        match code:
            case 0:
                return Verdict("survived", "", took)
            case None:
                return Verdict("undecided", "", took)
            case pytest.ExitCode.NO_TESTS_COLLECTED:
                raise RuntimeError(f"there is no test to run:\n{output}")
            case _:
                return Verdict("killed", "it does not even begin", took)


@contextmanager
def bench() -> Generator[Bench]:
    """A fresh copy of our code, compiled; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
                shutil.copytree(ROOT / name, root / name, ignore=ignored)
            else:
                shutil.copy2(ROOT / name, root / name)
        made = Bench(root)
        # Compiles everything, tests in the way of pytest, and keeps that.
        code, output = made.run(["--collect-only", *SUITES], 600, {WRITES: ""})
        if code != 0:
            raise RuntimeError(f"tests cannot be collected:\n{output}")
        yield made
