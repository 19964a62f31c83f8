"""A plugin of pytest for trials: which test noticed first, hung, or runs which lines.

It is loaded with ``-p tests.mutants.watch`` and told by the environment what to do.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis
import pytest

VERDICT = "MUTANTS_VERDICT"
"""The file into which goes the first test that fails, and how."""

PATIENCE = "MUTANTS_PATIENCE"
"""Seconds after which a test is said to hang."""

TIMES = "MUTANTS_TIMES"
"""The file into which goes how long each test took; coverage is told who runs."""

WANTED = "MUTANTS_WANTED"
"""A file that says which tests to run, in which order, and how long each takes."""

HANGS = 77
"""How the process exits when a test hangs."""

_times: dict[str, float] = {}
_usual: dict[str, float] = {}


def _write(name: str, value: object) -> None:
    if (file := os.environ.get(name)) is not None:
        Path(file).write_text(json.dumps(value))


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """The same examples in every trial, and no memory of what failed in others."""
    hypothesis.settings.register_profile(
        "mutants", deadline=None, database=None, derandomize=True
    )
    hypothesis.settings.load_profile("mutants")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Only those that are wanted, in the order in which they are."""
    if (file := os.environ.get(WANTED)) is not None:
        _usual.update(json.loads(Path(file).read_text()))
        order = {test: n for n, test in enumerate(_usual)}
        items[:] = [item for item in items if item.nodeid in order]
        items.sort(key=lambda item: order[item.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run one test, within its time."""

    def hangs(_signal: int, _frame: FrameType | None) -> None:
        _write(VERDICT, [item.nodeid, "hangs"])
        # Whatever hangs may swallow exceptions.
        os._exit(HANGS)

    if os.environ.get(TIMES) is not None:
        import coverage

        current = coverage.Coverage.current()
        assert current is not None
        current.switch_context(item.nodeid)
    faulthandler.cancel_dump_traceback_later()
    signal.signal(signal.SIGALRM, hangs)
    patience = float(os.environ.get(PATIENCE, "600"))
    patience = max(patience, 5 * _usual.get(item.nodeid, 0))
    signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the first that fails, and how long each takes."""
    _times[report.nodeid] = _times.get(report.nodeid, 0) + report.duration
    if report.failed:
        _write(VERDICT, [report.nodeid, "fails"])


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """What cannot even be imported is noticed too."""
    if report.failed:
        _write(VERDICT, [report.nodeid, "cannot be collected"])


def pytest_sessionfinish() -> None:
    """The times of all."""
    _write(TIMES, _times)
