"""The geomagnetic task: forecast the Dst of the next hour, as of Gaia v1.1.3.

At the full hour H the mean over [H-1, H) is the latest known value. The question that
goes out then is about the hour H+1, the mean over [H+1, H+2), and is scored against
the value of that hour and no other. Questions and answers are in nT / 100.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast

import attrs

from validator.domain.answers import AnswerRefused
from validator.domain.dst import DstSeries, Nanotesla, ScaledDst, scaled
from validator.domain.schedule import HOUR, floor_hour, next_hour

PATH = "/geomagnetic-request"

HISTORY = timedelta(days=30)
"""How far before its latest value a question reaches back.

Not "since the first of the month": that left miners without any history whenever a
month began.
"""

_FORECAST = ("predicted_values", "predicted_value")
_SCALE = 5.0


@attrs.frozen
class Question:
    """One question to all miners: the hour it is about, and what to send."""

    hour: datetime
    payload: Mapping[str, object]


@attrs.frozen
class NotAskable:
    """No question can be asked this hour; ``detail`` says what is missing."""

    detail: str


def target(asked_at: datetime) -> datetime:
    """Return the hour that a question going out at ``asked_at`` is about."""
    return next_hour(asked_at)


def question(series: DstSeries, asked_at: datetime) -> Question | NotAskable:
    """Build the question for the hour that ``asked_at`` lies in.

    A question whose latest value is not that of the hour just ended is not asked: the
    miners would forecast from a place other than the one they are scored for. Values
    of later hours in ``series`` are never disclosed.
    """
    latest = floor_hour(asked_at) - HOUR
    value = series.get(latest)
    if value is None:
        earlier = [hour for hour in series if hour < latest]
        known = (
            f"the latest is {max(earlier):%Y-%m-%dT%H}" if earlier else "nor any before"
        )
        return NotAskable(f"no Dst of {latest:%Y-%m-%dT%H} yet, {known}")
    history = [
        {"timestamp": hour.isoformat(), "Dst": scaled(known)}
        for hour, known in series.items()
        if latest - HISTORY < hour <= latest
    ]
    data = {
        "name": "Geomagnetic Data",
        "timestamp": latest.isoformat(),
        "value": scaled(value),
        "historical_values": history,
    }
    return Question(target(asked_at), {"data": data})


def parse_answer(answer: object) -> ScaledDst | AnswerRefused:
    """Take the forecast out of a decoded JSON answer.

    It stands at ``predicted_values``, in some miners at ``predicted_value``. Who
    answered and for which time the answer claims to be is ignored: the validator
    knows whom it asked, and what. Any finite number is an answer, however unlikely;
    what lies beyond the scale is worth 0, and ``score`` sees to that.
    """
    if not isinstance(answer, dict):
        return AnswerRefused("wrong_shape", f"no object but {type(answer).__name__}")
    fields = cast("dict[object, object]", answer)
    name = next((key for key in _FORECAST if key in fields), None)
    if name is None:
        return AnswerRefused("wrong_shape", f"no {_FORECAST[0]}")
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return AnswerRefused("wrong_shape", f"{name} is {type(value).__name__}")
    try:
        forecast = float(value)
    except OverflowError:  # JSON integers have no limit
        return AnswerRefused("out_of_range", f"{name} is beyond any float")
    if not math.isfinite(forecast):
        return AnswerRefused("not_finite", f"{name} is {forecast}")
    return ScaledDst(forecast)


def score(predicted: ScaledDst, truth: Nanotesla) -> float:
    """Tell what a forecast is worth, within [0, 1].

    1 - |p - a| with both in nT / 100, and 0 if they are 100 nT or more apart or if
    the forecast is outside [-5, 5] (Gaia v1.1.3).
    """
    if not -_SCALE <= predicted <= _SCALE:  # NaN too
        return 0.0
    return max(0.0, 1.0 - abs(predicted - scaled(truth)))
