"""What came of a demonstration: counted from the events, written and drawn."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import TypeVar

import attrs
from rich import box
from rich.table import Table

from validator.events import HourScored, MinerResult, RoundEnded
from validator.simulation.behaviours import Behaviour

K = TypeVar("K", bound=str)


@attrs.frozen
class MinerReport:
    """How one miner did in the hours that were scored."""

    uid: int
    hotkey: str
    behaviour: Behaviour
    newcomer: bool
    asked: int
    answered: int
    failed: Mapping[str, int]
    """Kind of failure -> how often."""
    mean_score: float | None
    """Over its scored answers, within [0, 1]; None without any."""
    weight: float
    """Its share of what the chain accepted last; all shares sum to 1."""


@attrs.frozen
class Leaks:
    """What is left after everything was stopped; each is 0 or a bug."""

    tasks: int
    processing_rows: int
    temp_files: int
    server_processes: int


@attrs.frozen(kw_only=True)
class Report:
    """The outcome of one run; ``asked`` and so on count scored hours only."""

    cycles: int
    asked: int
    answered: int
    failed: Mapping[str, int]
    scored: int
    truth: Mapping[str, int]
    """Start of the hour, ISO 8601 UTC -> Dst in nT."""
    weights: Mapping[int, float]
    """uid -> share of what the chain accepted last; empty, or summing to 1."""
    restarts: int
    chaos: Mapping[str, Mapping[str, int]]
    """What chaos has done -> to which task, how often; empty without ``--chaos``."""
    leaks: Leaks
    miners: tuple[MinerReport, ...]
    seconds: float
    peak_rss: int
    """Bytes, of this process alone."""

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        text = json.dumps(attrs.asdict(self), indent=2)
        path.write_text(text + "\n", encoding="utf-8")


@attrs.frozen
class Candidate:
    """One miner of the demonstration, as it was set up."""

    uid: int
    hotkey: str
    behaviour: Behaviour
    newcomer: bool = attrs.field(kw_only=True)


def miner_reports(
    candidates: Iterable[Candidate],
    rounds: Mapping[datetime, RoundEnded],
    scored: Mapping[datetime, HourScored],
    weights: Mapping[int, float],
) -> tuple[MinerReport, ...]:
    """Put together what every miner did in the scored hours, by uid."""
    results: dict[str, list[MinerResult]] = {}
    scores: dict[str, list[float]] = {}
    for hour, event in scored.items():
        for score in event.outcome.scores:
            scores.setdefault(score.hotkey, []).append(score.score)
        for result in rounds[hour].results if hour in rounds else ():
            results.setdefault(result.hotkey, []).append(result)
    replaced = {c.uid for c in candidates if c.newcomer}
    reports = [
        MinerReport(
            uid=each.uid,
            hotkey=each.hotkey,
            behaviour=each.behaviour,
            newcomer=each.newcomer,
            asked=len(mine := results.get(each.hotkey, [])),
            answered=sum(result.failure is None for result in mine),
            failed=Counter(r.failure for r in mine if r.failure is not None),
            mean_score=mean(s) if (s := scores.get(each.hotkey)) else None,
            # A uid's weight belongs to whoever holds it at the end.
            weight=(
                0.0
                if each.uid in replaced and not each.newcomer
                else weights.get(each.uid, 0.0)
            ),
        )
        for each in candidates
    ]
    return tuple(sorted(reports, key=lambda report: (report.uid, report.newcomer)))


def table(report: Report) -> Table:
    """Draw the miners, heaviest first."""
    drawn = Table(title="Miners", caption=_caption(report), box=box.SIMPLE_HEAD)
    drawn.add_column("uid", justify="right")
    drawn.add_column("hotkey", no_wrap=True)
    drawn.add_column("behaviour")
    drawn.add_column("answered", justify="right")
    drawn.add_column("failed")
    drawn.add_column("score", justify="right")
    drawn.add_column("weight", justify="right")
    drawn.add_column("", no_wrap=True)
    replaced = {miner.uid for miner in report.miners if miner.newcomer}
    heaviest = max((miner.weight for miner in report.miners), default=0) or 1
    for miner in sorted(report.miners, key=lambda m: (-m.weight, m.uid)):
        fate = "left" if miner.uid in replaced else ""
        fate = "newcomer" if miner.newcomer else fate
        drawn.add_row(
            str(miner.uid),
            miner.hotkey[:8],
            f"{miner.behaviour}, {fate}" if fate else miner.behaviour,
            f"{miner.answered} of {miner.asked}",
            by_kind(miner.failed),
            "" if miner.mean_score is None else f"{miner.mean_score:.3f}",
            f"{miner.weight:.4f}",
            "█" * round(12 * miner.weight / heaviest),
        )
    return drawn


def by_kind(failed: Mapping[K, int]) -> str:
    """Say how often what failed: ``timeout 3, refused 1``."""
    ordered = sorted(failed.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {count}" for kind, count in ordered)


def _caption(report: Report) -> str:
    chaos = "; ".join(
        f"{kind}: {by_kind(tasks)}" for kind, tasks in sorted(report.chaos.items())
    )
    return (
        f"questions: {report.cycles}, asked: {report.asked}, "
        f"answered: {report.answered}, scored: {report.scored}, "
        f"restarts: {report.restarts}; "
        + (f"chaos: {chaos}; " if chaos else "")
        + f"{report.seconds:.0f} s, peak {report.peak_rss / 2**20:.0f} MiB"
    )
