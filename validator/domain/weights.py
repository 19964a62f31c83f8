"""From scores to weights on the chain, by the formula of Gaia v1.1.3 (6595bf6).

Three steps, each a function: what every miner has earned (``merits``), the spread that
rewards the best tenth far above the rest (``spread``), and the chain's 16-bit numbers
(``quantise``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from validator.domain.scoring import ScoreRow, Task

HALF_LIFE = timedelta(days=1)
WINDOW = timedelta(days=1)
"""Rows older than this count no more."""

_GEOMAGNETIC_SHARE = 0.40
_SOIL_SHARE = 0.60


def compute_weights(
    rows: Iterable[ScoreRow], *, now: datetime, uids: Collection[int]
) -> dict[int, float]:
    """Turn scored questions into weights.

    Args:
        rows: scored questions; those outside [``now`` - 1 day, ``now``] are ignored.
        now: the present data time, UTC.
        uids: the registered uids; scores of others are ignored.

    Returns:
        uid -> weight in order of uid, every weight positive, sum 1; empty when nobody
        has earned anything.
    """
    return spread(merits(rows, now=now, uids=uids))


def merits(
    rows: Iterable[ScoreRow], *, now: datetime, uids: Collection[int]
) -> dict[int, float]:
    """Tell what each uid has earned: both tasks' mean scores, combined.

    A row ages by ``at``, the hour it is about, so that being late with the scoring
    does not make it worth more. No answer counts as a score of 0 with the row's full
    weight, unless the miner is excused: to such a one it is as if there were no row.
    A mean of exactly 0 counts as not having taken part in the task.

    Returns:
        uid -> merit within (0, 1], in order of uid; those without any left out.
    """
    recent = [row for row in rows if timedelta(0) <= now - row.at <= WINDOW]
    geomagnetic = _means("geomagnetic", recent, now, uids)
    soil = _means("soil_moisture", recent, now, uids)
    return {
        uid: merit
        for uid in sorted(uids)
        if (merit := _combine(geomagnetic.get(uid, 0.0), soil.get(uid, 0.0))) > 0
    }


def _means(
    task: Task, rows: Sequence[ScoreRow], now: datetime, uids: Collection[int]
) -> dict[int, float]:
    mine = [
        (0.5 ** ((now - row.at) / HALF_LIFE), row) for row in rows if row.task == task
    ]
    means: dict[int, float] = {}
    for uid in uids:
        counting = [(decay, row) for decay, row in mine if uid not in row.excused]
        total = math.fsum(decay for decay, _ in counting)
        if total:
            earned = math.fsum(decay * _earned(row, uid) for decay, row in counting)
            means[uid] = earned / total
    return means


def _earned(row: ScoreRow, uid: int) -> float:
    score = row.scores.get(uid, 0.0)
    return 0.0 if math.isnan(score) else score


def _combine(geomagnetic: float, soil: float) -> float:
    merit = _SOIL_SHARE * soil
    if geomagnetic:
        # Centred high, because hourly forecasts of quiet days are all nearly right.
        # The mean is within [0, 1], so the exponent never exceeds 18.6.
        merit += _GEOMAGNETIC_SHARE / (1.0 + math.exp(-20.0 * (geomagnetic - 0.93)))
    return merit


def spread(merits: Mapping[int, float]) -> dict[int, float]:
    """Draw merits apart by a generalised logistic curve, and make their sum 1.

    With x the merit relative to the best one and M the 90th percentile of all x:
    y = 0.90 / (1 + 4 exp(-25 (x - M)))^(1 / 0.6) + 0.029 x.

    Args:
        merits: positive numbers only.
    """
    if not merits:
        return {}
    best = max(merits.values())
    relative = {uid: merit / best for uid, merit in merits.items()}
    middle = _percentile(sorted(relative.values()), 0.90)
    # x and M are within (0, 1], so the exponent stays below 25.
    curve = {
        uid: 0.90 / (1.0 + 4.0 * math.exp(-25.0 * (x - middle))) ** (1.0 / 0.6)
        + 0.029 * x
        for uid, x in relative.items()
    }
    total = math.fsum(curve.values())
    return {uid: y / total for uid, y in curve.items()}


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    """Interpolate linearly between the two values next to the rank."""
    rank = (len(ordered) - 1) * fraction
    below = math.floor(rank)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (rank - below) * (ordered[above] - ordered[below])


def quantise(weights: Mapping[int, float]) -> dict[int, int]:
    """Scale weights to the chain's 16 bits: the largest becomes 65535.

    A weight of at most 1/131070 of the largest rounds to 0 and is left out, as on the
    chain 0 and absent are the same.

    Raises:
        ValueError: a weight is negative, NaN or infinite.
    """
    for uid, weight in weights.items():
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f"weight of uid {uid} must be >= 0, got {weight!r}")
    largest = max(weights.values(), default=0.0)
    return {
        uid: value
        for uid, weight in weights.items()
        if weight > 0 and (value := round(weight / largest * 65535)) > 0
    }
