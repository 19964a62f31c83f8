"""The types catch mistakes before anything runs, in both checkers."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

pytestmark = pytest.mark.real


def _marked(file: Path) -> set[int]:
    lines = file.read_text().splitlines()
    return {n for n, line in enumerate(lines, 1) if line.endswith("# E")}


def _errors_of_mypy(file: Path) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--cache-dir", "/dev/null", str(file)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    found = re.findall(
        rf"^tests/typing/{file.name}:(\d+): error:", done.stdout, re.MULTILINE
    )
    assert "error:" not in done.stdout or found, done.stdout
    return {int(number) for number in found}


def _errors_of_pyright(file: Path) -> set[int]:
    command = ["basedpyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        each["range"]["start"]["line"] + 1
        for each in found
        if each["severity"] == "error"
    }


CHECKERS = {"mypy": _errors_of_mypy, "basedpyright": _errors_of_pyright}


@pytest.fixture(params=CHECKERS)
def checker(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; it comes with the extra [lint]")
    return name


def test_correct_programs_are_accepted(checker: str) -> None:
    assert CHECKERS[checker](HERE / "accepted.py") == set()


def test_every_mistake_is_refused_where_it_stands(checker: str) -> None:
    file = HERE / "rejected.py"
    assert CHECKERS[checker](file) == _marked(file)
