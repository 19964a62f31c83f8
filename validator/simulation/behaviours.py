"""How simulated miners behave, and every number they answer.

Pure. What a miner answers depends on the run's seed, its uid and the hour in question
only, never on the order of arrival or the clock, so that a run can be repeated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import repeat
from random import Random
from typing import Any, Literal, cast, get_args

import attrs

from validator.adapters.fiber.server import UNKNOWN_HOTKEY
from validator.adapters.fiber.wire import Response

Honest = Literal[
    "honest",  # a forecast, at once
    "slow",  # a forecast, after 15 to 25 % of an hour
    "expired_key",  # a forecast, but forgets our key once per hour before it
]
Dishonest = Literal[
    "hanging",  # takes the question and never answers
    "refusing",  # 403 to every question
    "garbage",  # no JSON, or no HTTP either
    "nan",  # NaN as the forecast
    "wrong_shape",  # JSON that is no answer to the question
]
Behaviour = Honest | Dishonest

HONEST: tuple[Honest, ...] = get_args(Honest)
DISHONEST: tuple[Dishonest, ...] = get_args(Dishonest)
BEHAVIOURS: tuple[Behaviour, ...] = HONEST + DISHONEST

AHEAD = timedelta(hours=2)
"""From the latest value in a question to the hour in question."""


class NotAQuestion(Exception):
    """A decrypted payload is not a question that miners take."""


@attrs.frozen
class Question:
    """A geomagnetic question as a miner reads it; values in nT / 100."""

    hour: datetime
    latest: float


@attrs.frozen
class Reaction:
    """What a miner does about a question.

    ``response`` is bytes if it steps outside HTTP, None if it never answers; ``delay``
    is a share of an hour.
    """

    response: Response | bytes | None
    delay: float = 0.0


def assign(seed: int, count: int, honest_share: float = 0.7) -> tuple[Behaviour, ...]:
    """Draw the behaviours of the uids 0 to ``count`` - 1.

    ``honest_share`` of them, rounded, are honest, slow or expire keys; a quarter of
    those is not plainly honest. Each dishonest behaviour occurs before one occurs
    again, so with 16 miners at the default share there is one of each.
    """
    honest = round(count * honest_share)
    drawn: list[Behaviour] = []
    drawn.extend(HONEST[1:] * (honest // 8))
    drawn.extend(repeat(HONEST[0], honest - len(drawn)))
    drawn.extend(DISHONEST[i % len(DISHONEST)] for i in range(count - honest))
    Random(f"behaviours:{seed}").shuffle(drawn)
    return tuple(drawn)


def parse_question(payload: Mapping[str, object]) -> Question:
    """Read a decrypted question; ``historical_values`` may be missing or null.

    Raises:
        NotAQuestion: it is not what miners take.
    """
    data = cast("Any", payload.get("data"))
    try:
        return Question(
            hour=datetime.fromisoformat(data["timestamp"]) + AHEAD,
            latest=float(data["value"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NotAQuestion(f"{type(error).__name__}: {error}") from None


def react(
    behaviour: Behaviour,
    question: Question,
    *,
    truth: float | None,
    seed: int,
    uid: int,
    hotkey: str,
) -> Reaction:
    """Decide what the miner at ``uid`` does about ``question``.

    ``truth`` (nT / 100) is what the value will be, where that is known: an honest
    miner has a model that sees a part of what is to come.
    """
    random = Random(f"reaction:{seed}:{uid}:{question.hour.isoformat()}")
    delay = 0.0
    response: Response | bytes | None
    match behaviour:
        case "honest" | "slow" | "expired_key":
            forecast = _forecast(question, truth, seed, uid)
            response = _answer(forecast, question, hotkey)
            if behaviour == "slow":
                delay = random.uniform(0.15, 0.25)
        case "hanging":
            response = None
        case "refusing":
            response = UNKNOWN_HOTKEY
        case "garbage":
            noise = b"\x00" + random.randbytes(63)  # no beginning of HTTP nor of JSON
            response = noise if random.random() < 0.5 else Response(200, noise)
        case "nan":
            response = _answer(math.nan, question, hotkey)
        case "wrong_shape":
            response = Response(200, b'{"forecast": [[0.1], [0.2]]}')
    return Reaction(response, delay)


def _forecast(question: Question, truth: float | None, seed: int, uid: int) -> float:
    """Persistence, corrected by as much of the change as the miner foresees.

    Persistence alone is worthless in the main phase of a storm, for all alike.
    """
    insight = Random(f"insight:{seed}:{uid}").uniform(0.6, 0.95)
    noise = Random(f"noise:{seed}:{uid}:{question.hour.isoformat()}").gauss(0.0, 0.02)
    change = 0.0 if truth is None else truth - question.latest
    return question.latest + insight * change + noise


def _answer(value: float, question: Question, hotkey: str) -> Response:
    answer = {
        "predicted_values": value,
        "timestamp": question.hour.isoformat(),
        "miner_hotkey": hotkey,
    }
    return Response(200, json.dumps(answer).encode())
