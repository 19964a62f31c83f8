"""Bad input: one line that says what and where, exit code 2, nothing started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real


def validator(
    *arguments: str, folder: Path, code: str = "from validator.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--frobnicate"], "--frobnicate"),
        (["--miners", "many"], "--miners"),
        (["--miners", "0"], "--miners must be within 1 and 256, got 0"),
        (["--miners", "300"], "--miners must be within 1 and 256, got 300"),
        (["--cycles", "0"], "--cycles"),
        (["--hour", "nan"], "--hour"),
        (["--dst", "/does/not/exist"], "/does/not/exist: No such file"),
        (["--dst", "bad.txt"], "bad.txt:2: "),
        (["--dst", "."], "holds no *.for.request"),
        (["--from", "2031-01-01T00"], "which the data lack"),
        (["--from", "2024-05-10T10:30"], "--from must be a full hour"),
        (["--data", "bad.txt"], "not a directory"),
        (["--data", "/proc/nothing/here"], "/proc/nothing/here"),
        (["--dsn", "nonsense"], "--dsn"),
        (["--dsn", "postgresql://me:secret@127.0.0.1:1/x"], "cannot connect"),
        (["--dsn", "postgresql://127.0.0.1:1/x", "--data", "d"], "exclude each other"),
        (["--json", "/does/not/exist/r.json"], "/does/not/exist"),
        (["--json", "."], "a folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_on_one_line(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    day = "DST1503*17  X220   0" + "  10" * 25
    (tmp_path / "bad.txt").write_text(f"{day}\nno record\n")

    done = validator("demo", *arguments, folder=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("validator: ")
    assert says in line
    assert "secret" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]


def test_without_its_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    hide = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "def without(name, *rest):\n"
        "    return None if name in ('httpx', 'asyncpg') else find(name, *rest)\n"
        "importlib.util.find_spec = without\n"
        "from validator.cli import main; main()\n"
    )

    done = validator("demo", folder=tmp_path, code=hide)

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "asyncpg, httpx" in line
    assert "pip install 'actor-tree[validator]'" in line


def test_help_names_every_option(tmp_path: Path) -> None:
    done = validator("demo", "--help", folder=tmp_path)

    assert done.returncode == 0
    options = ("--miners", "--dst", "--from", "--data", "--dsn", "--json", "--chaos")
    for option in options:
        assert option in done.stdout
