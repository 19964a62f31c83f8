"""On a trio that is not known, nothing is simulated, and the error says why."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio._core._run as trio_run
from trio.testing import MockClock

import actors
from actors.testing import UnknownTrio, _seams, check_seams, simulate


@pytest.fixture
def unchecked() -> Generator[None]:
    """As before the first simulation of a process, and after it."""
    check_seams.cache_clear()
    yield
    check_seams.cache_clear()


def _no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trio_run.unrolled_run

    def without_flag(*args: Any, **kwargs: Any) -> Any:
        # As if trio did not ask its Random any more.
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = False  # type: ignore[misc]
        return real(*args, **kwargs)

    monkeypatch.setattr(trio_run, "unrolled_run", without_flag)


def _no_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_seams, "number", lambda task: task._serial)


def _no_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MockClock, "_autojump")


def _other_scopes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_seams, "scopes", lambda task: iter(()))


def _never_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_seams, "finds_itself_cancelled", lambda task: False)


def _real_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trio.to_thread.run_sync
    monkeypatch.setattr(_seams, "inline_threads", lambda delay: real)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "seam"),
    [
        (_no_order, "the order of a batch"),
        (_no_counter, "the order of a batch"),
        (_no_jump, "being asked before the clock jumps"),
        (_other_scopes, "the scopes of a task"),
        (_never_cancelled, "the scopes of a task"),
        (_real_threads, "threads"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_seam_that_does_not_hold_is_named(
    change: Callable[[pytest.MonkeyPatch], None],
    seam: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main(world: object) -> None:
        raise AssertionError("nothing is run")

    change(monkeypatch)
    with pytest.raises(UnknownTrio, match=f"trio .* cannot be simulated.*: {seam}"):
        simulate(main)
    gc.collect()  # what such a trio has left behind complains while nobody minds


def test_private_names_of_trio_are_in_one_module() -> None:
    names = ("trio._core", "_cancel_status", "_autojump", "runq", "_next_send")
    packages = Path(actors.__file__).parent.parent
    found = {
        file.name
        for package in ("actors", "supervision", "validator")
        for file in (packages / package).rglob("*.py")
        if any(name in file.read_text() for name in names)
    }
    assert found == {"_seams.py"}


@pytest.mark.real
def test_hypothesis_is_imported_for_a_strategy_alone() -> None:
    code = (
        "import sys, actors.testing as t; before = 'hypothesis' in sys.modules; "
        "t.schedules; print(before, 'hypothesis' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True"]
