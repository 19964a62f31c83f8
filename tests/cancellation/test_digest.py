"""The same schedule and seed do the same in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from scenes import SCENES, a_comprehensive_cleanup, a_process
from actors.testing import FIFO, OneAtATime, simulate

for scene in SCENES:
    if scene not in (a_comprehensive_cleanup, a_process):  # tell how long it took
        for schedule in (FIFO, *map(OneAtATime, range(5))):
            result = simulate(scene, schedule=schedule)
            print(scene.__name__, schedule, result.digest)
"""


@pytest.mark.real
def test_digests_are_the_same_in_four_processes_that_hash_differently() -> None:
    here = Path(__file__).parent
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(seed),
                "PYTHONPATH": f"{here}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(4)
    ]
    first, *others = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(first.splitlines())) > 80
    assert others == [first] * 3
