"""Wherever it is cancelled, a program on these packages keeps their promises."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from scenes import SCENES, Scene, a_comprehensive_cleanup, a_process
from seen import Completed, check

import actors
from actors.testing import CancelReport, explore_cancellation, simulate

PACKAGES = Path(actors.__file__).parent.parent

NEVER_CANCELLED = {
    "actors/_core/incarnation.py _end_tasks": "shielded: what ends has limits",
    "actors/host.py __aenter__": "entering a nursery never waits",
    "actors/host.py _main": "shielded: what all actors rely on outlives them",
    "supervision/role.py _play": "shielded: who is restarted at once begins first",
    "supervision/system.py _tell_overdue": "shielded: the block is being cancelled",
    "supervision/roles.py stop_at_once": "shielded: each child has limits of its own",
}
"""Where nothing can ever be cancelled, and why; one site of each."""


KITS = ("actors.testing", "supervision.testing")

COLLECTING = (a_comprehensive_cleanup, a_process)


@cache
def explored(scene: Scene) -> CancelReport:
    # Some scenes collect garbage, and are to look at their own alone: it is done
    # hundreds of times, and all that was ever imported is many times as much.
    gc.freeze()
    try:
        return explore_cancellation(scene, check=check, max_runs=250)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_undisturbed_a_scene_comes_to_its_end(scene: Scene) -> None:
    # How much garbage there is, and how long it takes, is no matter of the schedule.
    trace = simulate(scene, check=0 if scene in COLLECTING else 1).trace
    check(trace)
    assert trace.events(Completed)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_cancelled_at_any_step_promises_are_kept(scene: Scene) -> None:
    assert explored(scene).runs > 10


def test_nothing_waits_where_it_was_never_cancelled() -> None:
    reports: Iterable[CancelReport] = map(explored, SCENES)
    first, *others = reports
    together = sum(others, first)
    uncovered = together.uncovered("actors", "supervision", without=KITS)
    sites = [
        f"{Path(site.file).relative_to(PACKAGES)} {site.function}" for site in uncovered
    ]
    assert sorted(sites) == sorted(NEVER_CANCELLED)
