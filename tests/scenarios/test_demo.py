"""`validator demo` as a user runs it: a process, real sockets, a real database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.real

DISHONEST = {"hanging", "refusing", "garbage", "nan", "wrong_shape"}
TIMEOUT = 120.0
"""Seconds after which a run is taken to hang; it does not depend on the speed."""


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Start a demonstration whose temporary files are in ``folder``."""
    command = [sys.executable, "-m", "validator", "demo", "--log-level", "error"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return
    pytest.fail(f"it ended without saying {text!r}:\n{''.join(said)}")


def relatives(folder: Path) -> list[psutil.Process]:
    """Processes that belong to demonstrations in ``folder``."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            belongs = any(
                str(folder) in word for word in process.cmdline()
            ) or process.environ().get("TMPDIR") == str(folder)
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if belongs and alive:
            found.append(process)
    return found


def leftovers(folder: Path) -> Sequence[object]:
    return [*relatives(folder), *folder.iterdir()]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: its path is too long for a unix socket, and for root it is
    # closed to the account that the server runs as.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="vt-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


def run(folder: Path, *options: str) -> dict[str, Any]:
    """Run a demonstration to its end and return its report."""
    report = folder.with_suffix(".json")
    with demo(folder, "--json", str(report), *options) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, output
    try:
        decoded: dict[str, Any] = json.loads(report.read_text())
    finally:
        report.unlink()
    return decoded


def check(report: dict[str, Any]) -> None:
    """What holds of every demonstration."""
    assert report["leaks"] == dict.fromkeys(
        ("tasks", "processing_rows", "temp_files", "server_processes"), 0
    )
    assert sum(report["weights"].values()) == pytest.approx(1)
    assert report["asked"] == report["answered"] + sum(report["failed"].values())
    assert len(report["truth"]) == report["cycles"]
    (newcomer,) = [miner for miner in report["miners"] if miner["newcomer"]]
    stayed = [miner for miner in report["miners"] if miner["uid"] != newcomer["uid"]]
    honest = [m["weight"] for m in stayed if m["behaviour"] not in DISHONEST]
    others = [m["weight"] for m in stayed if m["behaviour"] in DISHONEST]
    assert min(honest) > max(others) == 0
    assert newcomer["asked"] < max(miner["asked"] for miner in stayed)


def test_a_whole_run_ends_with_right_weights_and_leaves_nothing(folder: Path) -> None:
    report = run(folder, "--miners", "16", "--cycles", "2", "--hour", "3")

    assert report["cycles"] == 2
    assert report["restarts"] == 0
    check(report)
    kinds = {miner["behaviour"] for miner in report["miners"]}
    assert kinds >= DISHONEST
    assert set(report["failed"]) == {
        *("timeout", "refused", "malformed", "not_finite", "wrong_shape")
    }
    assert leftovers(folder) == []


def test_in_chaos_it_still_ends_with_right_weights_and_leaves_nothing(
    folder: Path,
) -> None:
    report = run(
        folder,
        *("--chaos", "5", "--miners", "8", "--cycles", "1", "--hour", "2"),
    )

    assert set(report["leaks"].values()) == {0}
    assert leftovers(folder) == []
    assert report["restarts"] > 0
    assert set(report["chaos"]) == {"crash", "freeze", "block"}
    earned = {m["hotkey"] for m in report["miners"] if m["weight"] > 0}
    assert earned
    for miner in report["miners"]:
        if miner["behaviour"] in DISHONEST:
            assert miner["weight"] == 0
        elif miner["mean_score"] is not None:  # what it has answered was scored
            assert miner["weight"] > 0


def test_real_data_are_replayed_and_scored_by_the_hour_asked_about(
    folder: Path, dst_data: Path
) -> None:
    report = run(
        folder,
        *("--dst", str(dst_data / "201503"), "--from", "2015-03-17T20"),
        *("--cycles", "2", "--hour", "2", "--miners", "16"),
    )

    assert report["truth"] == {"2015-03-17T21": -198, "2015-03-17T22": -234}
    check(report)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order(
    folder: Path, number: signal.Signals
) -> None:
    with demo(folder, "--miners", "4", "--hour", "5") as process:
        wait_for(process, "asking 4 miners")
        process.send_signal(number)
        output, _ = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 128 + number
    assert output.splitlines()[-1] == f"stopped by {number.name}"
    assert leftovers(folder) == []


def test_what_a_killed_run_left_is_gone_after_the_next(folder: Path) -> None:
    with demo(folder, "--miners", "4", "--hour", "5") as process:
        wait_for(process, "asking 4 miners")
        process.kill()
    psutil.wait_procs(relatives(folder), timeout=TIMEOUT)
    assert relatives(folder) == [], "they notice by themselves"

    report = run(folder, "--miners", "4", "--cycles", "1", "--hour", "2")

    assert report["cycles"] == 1
    assert leftovers(folder) == []


def test_two_runs_side_by_side_do_not_disturb_each_other(folder: Path) -> None:
    with demo(folder, "--miners", "4", "--cycles", "1", "--hour", "3") as first:
        wait_for(first, "asking 4 miners")
        report = run(folder, "--miners", "4", "--cycles", "1", "--hour", "2")
        first.communicate(timeout=TIMEOUT)

    assert first.returncode == 0
    assert report["cycles"] == 1
    assert leftovers(folder) == []


def test_a_killed_database_server_is_restarted_and_the_run_goes_on(
    folder: Path,
) -> None:
    report_file = folder.with_suffix(".json")
    options = ("--miners", "4", "--cycles", "2", "--hour", "3")
    with demo(folder, *options, "--json", str(report_file)) as process:
        wait_for(process, "answered")
        servers = [p for p in relatives(folder) if p.name() == "postgres"]
        min(servers, key=lambda server: server.create_time()).kill()
        output, _ = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 0, output
    report = json.loads(report_file.read_text())
    report_file.unlink()
    assert report["restarts"] >= 1, "the server"
    assert report["cycles"] == 2
    assert set(report["leaks"].values()) == {0}
    assert leftovers(folder) == []
