"""How simulated miners behave, and every number they answer.

Pure. What a miner answers depends on the run's seed, its uid and the hour in question
only, never on the order of arrival or the clock, so that a run can be repeated.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import repeat
from random import Random
from typing import Any, Literal, cast, get_args

import attrs

from validator.adapters.fiber.server import BAD_NONCE, UNKNOWN_HOTKEY
from validator.adapters.fiber.wire import Response
from validator.domain.answers import FailureKind

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
Hostile = Literal[
    "reset",  # takes the question and resets the connection
    "half_open",  # takes connections and then nothing more
    "slow_loris",  # answers a byte at a time
    "truncated",  # hangs up in the middle of its answer
    "never_ending",  # answers without an end
    "oversize",  # an answer of many megabytes, announced
    "bomb",  # a small answer that unpacks to a large one
    "crumbs",  # an answer in pieces of one byte
    "chatter",  # one preliminary response after the other, without an end
    "deep",  # JSON nested without need
    "wrong_key",  # a public key that it does not hold the other half of
    "replayed_nonce",  # says that our nonce has been used
    "clock_119",  # a forecast, but its clock is 119 s ahead: just tolerable
    "clock_121",  # its clock is 121 s ahead: it refuses all that is asked
    "new_certificate",  # a forecast, under another certificate each time
    "redirect",  # sends us to an address that is none of its business
]
Behaviour = Honest | Dishonest | Hostile

HONEST: tuple[Honest, ...] = get_args(Honest)
DISHONEST: tuple[Dishonest, ...] = get_args(Dishonest)
HOSTILE: tuple[Hostile, ...] = get_args(Hostile)
BEHAVIOURS: tuple[Behaviour, ...] = (*HONEST, *DISHONEST, *HOSTILE)

FAILS_WITH: Mapping[Behaviour, FailureKind | None] = {
    **dict.fromkeys(HONEST),
    "hanging": "timeout",
    "refusing": "refused",
    "garbage": "malformed",
    "nan": "not_finite",
    "wrong_shape": "wrong_shape",
    "reset": "unreachable",
    "half_open": "timeout",
    "slow_loris": "timeout",
    "truncated": "malformed",
    "never_ending": "malformed",
    "oversize": "malformed",
    "bomb": "malformed",
    "crumbs": "malformed",
    "chatter": "malformed",
    "deep": "malformed",
    "wrong_key": "refused",
    "replayed_nonce": "refused",
    "clock_119": None,
    "clock_121": "refused",
    "new_certificate": None,
    "redirect": "refused",
}
"""What a validator is to make of each; None: it takes the answer."""

Stunt = Literal["hang", "reset", "drip", "flood", "huge", "chatter"]
"""What a miner does instead of sending a response."""

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

    ``response`` is bytes if it sends those and hangs up; ``delay`` is a share of an
    hour.
    """

    response: Response | bytes | Stunt
    delay: float = 0.0


def assign(seed: int, count: int, honest_share: float = 0.7) -> tuple[Behaviour, ...]:
    """Draw the behaviours of the uids 0 to ``count`` - 1.

    ``honest_share`` of them, rounded, are honest, slow or expire keys; a quarter of
    those is not plainly honest. Each other behaviour occurs before one occurs again,
    the hostile ones last, so with 16 miners at the default share there is one of each
    dishonest one, and with 70 one of all.
    """
    honest = round(count * honest_share)
    drawn: list[Behaviour] = []
    drawn.extend(HONEST[1:] * (honest // 8))
    drawn.extend(repeat(HONEST[0], honest - len(drawn)))
    others: tuple[Behaviour, ...] = (*DISHONEST, *HOSTILE)
    drawn.extend(others[i % len(others)] for i in range(count - honest))
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
    if behaviour in _ALWAYS:
        return Reaction(_ALWAYS[behaviour])
    random = Random(f"reaction:{seed}:{uid}:{question.hour.isoformat()}")
    if behaviour == "garbage":
        noise = b"\x00" + random.randbytes(63)  # no beginning of HTTP nor of JSON
        return Reaction(noise if random.random() < 0.5 else Response(200, noise))
    if behaviour == "nan":
        return Reaction(_answer(math.nan, question, hotkey))
    forecast = _forecast(question, truth, seed, uid)
    delay = random.uniform(0.15, 0.25) if behaviour == "slow" else 0.0
    return Reaction(_answer(forecast, question, hotkey), delay)


_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_ALWAYS: Mapping[Behaviour, Response | bytes | Stunt] = {
    "hanging": "hang",
    "half_open": "hang",
    "refusing": UNKNOWN_HOTKEY,
    "wrong_key": UNKNOWN_HOTKEY,
    "wrong_shape": Response(200, b'{"forecast": [[0.1], [0.2]]}'),
    "reset": "reset",
    "slow_loris": "drip",
    "never_ending": "flood",
    "oversize": "huge",
    "chatter": "chatter",
    "truncated": _OK + b'Content-Length: 1000\r\n\r\n{"predicted_values": ',
    "bomb": _OK
    + b"Content-Encoding: gzip\r\n\r\n"
    + gzip.compress(b" " * 10_000_000, mtime=0),
    "crumbs": _OK
    + b"Transfer-Encoding: chunked\r\n\r\n"
    + b"1\r\n \r\n" * 20_000
    + b"0\r\n\r\n",
    "deep": Response(200, b"[" * 10_000 + b"]" * 10_000),
    "replayed_nonce": BAD_NONCE,
    "clock_121": BAD_NONCE,
    "redirect": b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\n"
    b"Location: http://169.254.169.254/latest/meta-data/\r\n\r\n",
}


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
