"""What the documentation shows is what happens."""

from __future__ import annotations

import ast
import asyncio  # noqa: TID251
import contextlib
import io
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Coroutine, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock

import actors

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))

# Virtual time, where nothing outside the program is waited for.
RUNNER = """
import functools, runpy, sys, trio, trio.testing
clock = trio.testing.MockClock(autojump_threshold=0)
trio.run = functools.partial(trio.run, clock=clock)
runpy.run_path(sys.argv[1], run_name="__main__")
"""
REAL = {"echo_server"}


@attrs.frozen
class Fence:
    """A fenced block of a page, and the comment above it."""

    line: int
    mark: str
    kind: str
    text: str


def fences(page: Path) -> Iterator[Fence]:
    pattern = r"(?:<!-- (.*?) -->\n)?^```(\S+)(?: (\S+))?\n(.*?)^```$"
    text = page.read_text()
    for found in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        mark, kind, argument, body = found.groups()
        line = text.count("\n", 0, found.start(4))
        yield Fence(line, mark or "", kind, argument or body)


def expected_output(page: Path, kind: str) -> dict[Fence, str]:
    """What the page shows below each block of the kind; empty where it does not."""
    shown: dict[Fence, str] = {}
    last: Fence | None = None
    for fence in fences(page):
        if fence.kind in {"python", "{literalinclude}"}:
            shown[last := fence] = ""
        elif fence.kind == "output":
            assert last is not None, f"{page.name}:{fence.line}: output of nothing"
            shown[last], last = fence.text, None
    return {fence: output for fence, output in shown.items() if fence.kind == kind}


# -- the blocks of the pages ----------------------------------------------------------


def run_tests(block: Fence, folder: Path) -> None:
    """Run a block as a file of tests, with the plugins that its reader has."""
    file = folder / "test_block.py"
    file.write_text(block.text)
    options = ["-q", "-o", "trio_mode=true", "-p", "no:cacheprovider", "-p", "no:anyio"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={folder}", str(file)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(actors.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def run_block(page: Path, block: Fence, module: ModuleType) -> str:
    """What it prints; if it raises, with the traceback's first and last line."""
    code = compile("\n" * block.line + block.text, str(page), "exec")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(code, vars(module))  # noqa: S102
        except Exception as error:
            if "raises" not in block.mark:
                raise
            out.write("Traceback (most recent call last):\n  ...\n")
            out.writelines(traceback.format_exception_only(error))
    return out.getvalue()


def run_on_plain_asyncio(main: Coroutine[Any, Any, T]) -> T:
    """Do as ``asyncio.run`` does, unless a test has imported trio-asyncio before."""
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main)


@pytest.mark.real  # owns its clocks
@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_of_a_page_does_what_the_page_says(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The blocks of a page are one program. Marked by a comment above them:
    # fragment (valid, not run), raises, real time, pytest (a file of its own).
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    # trio-asyncio, once imported by any test, has replaced it for the whole process.
    monkeypatch.setattr("asyncio.run", run_on_plain_asyncio)
    # Nor is a page read within pytest: reports of failures would name the test.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    run = trio.run
    for block, output in expected_output(page, "python").items():
        if block.mark == "fragment":
            compile(block.text, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            continue
        if block.mark == "pytest":
            run_tests(block, tmp_path)
            continue
        clock = MockClock(autojump_threshold=0)
        virtual = None if "real time" in block.mark else clock
        monkeypatch.setattr(trio, "run", partial(run, clock=virtual))
        assert run_block(page, block, module) == output, f"{page}:{block.line}"


# -- the examples ---------------------------------------------------------------------


def test_every_example_is_shown() -> None:
    shown = expected_output(DOCS / "examples.md", "{literalinclude}")
    assert sorted(DOCS / fence.text for fence in shown) == EXAMPLES


@pytest.mark.real
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.stem)
def test_every_example_prints_what_its_page_says(example: Path) -> None:
    shown = expected_output(DOCS / "examples.md", "{literalinclude}")
    (expected,) = [
        output for fence, output in shown.items() if DOCS / fence.text == example
    ]
    how = [] if example.stem in REAL else ["-c", RUNNER]
    done = subprocess.run(
        [sys.executable, *how, str(example)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr) == (expected, "")
