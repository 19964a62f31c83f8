"""Operators grep for these texts; dashboards read the keys beside them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

from actors import Exit
from actors.events import (
    Cleaned,
    DeadLetter,
    Event,
    Failed,
    OperationEnded,
    OperationStarted,
)
from supervision.events import BackingOff, BreakerOpened
from validator.domain.dst import Nanotesla
from validator.domain.scoring import ScoredHour
from validator.events import (
    DatabaseTimedOut,
    HourScored,
    MinerTimedOut,
    NobodyAnswered,
    RoundEnded,
    RoundStarted,
    RowsReset,
    SlowMetagraphSync,
)
from validator.logs import LogFormat, event_log, make_logger

HOUR = datetime(2015, 3, 17, 22, tzinfo=UTC)
PATH = "validator/tasks/geomagnetic"
TRUTH = Nanotesla(-234)


def written(*events: Event, style: LogFormat = "json") -> list[str]:
    stream = io.StringIO()
    log = event_log(make_logger(style=style, level="info", stream=stream))
    for event in events:
        log(event)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("event", "text", "keys"),
    [
        (
            MinerTimedOut(PATH, "5Abc", "query", 180.0),
            "Timeout for miner 5Abc: query exceeded 180 s",
            {"hotkey": "5Abc", "phase": "query", "level": "warning"},
        ),
        (
            RoundStarted(PATH, HOUR, 64, 2027),
            "Querying miners with payload size: 2027 bytes",
            {"miners": 64, "hour": "2015-03-17T22:00:00+00:00"},
        ),
        (
            RoundEnded(PATH, HOUR, 64, 45, {"timeout": 19}, ()),
            "Successfully queried 45 miners",
            {"asked": 64, "answered": 45, "failed": {"timeout": 19}},
        ),
        (
            NobodyAnswered(PATH, HOUR, 1, 0, {"refused": 1}, ()),
            "No successful responses from any miners",
            {"level": "warning"},
        ),
        (
            DatabaseTimedOut("validator/database", "save_predictions", 30.0),
            "Database operation timed out: save_predictions",
            {"operation": "save_predictions", "seconds": 30.0},
        ),
        (RowsReset(PATH, 3), "Reset hanging database operations", {"rows": 3}),
        (SlowMetagraphSync(PATH, 31.25), "Slow metagraph sync: 31.25s", {}),
        (
            HourScored(PATH, HOUR, TRUTH, 45, ScoredHour(HOUR, TRUTH, ())),
            "hour.scored",
            {"truth": -234, "scored": 45},
        ),
        (
            DeadLetter(PATH, "m", "overflow"),
            "message.undelivered",
            {"reason": "overflow"},
        ),
        (
            BackingOff(PATH, Exit("failed", ValueError("two\nlines")), 1, 0.5),
            "actor.restarting",
            {"exit": "failed: ValueError: two", "delay": 0.5},
        ),
        (
            BreakerOpened(
                PATH, ("miner", 7), "consecutive failures", 5, 0, 0, 12.5, "timeout"
            ),
            "Circuit breaker triggered",
            {"key": ["miner", 7], "reason": "consecutive failures", "failures": 5},
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_an_event_is_one_line_with_its_values_as_keys(
    event: Event, text: str, keys: dict[str, object]
) -> None:
    (line,) = written(event)
    record = json.loads(line)
    assert record["event"] == text
    assert record["path"] == event.path
    assert record.items() >= keys.items()


def test_an_operation_says_how_much_memory_there_was() -> None:
    first, last = written(
        OperationStarted(PATH, "miner_query"),
        OperationEnded(PATH, "miner_query", 1.5, "completed"),
    )
    begun, ended = json.loads(first), json.loads(last)
    assert begun["event"].startswith(
        "Task geomagnetic started operation: miner_query | Initial Memory: "
    )
    assert ended["event"].startswith(
        "Task geomagnetic completed operation: miner_query | Memory Change: "
    )
    assert " | Peak Memory: " in ended["event"]
    assert begun["process_rss"] > 0


def test_a_crash_is_logged_once_and_with_its_traceback() -> None:
    with pytest.raises(ValueError, match="broken") as caught:
        raise ValueError("broken")
    (line,) = written(Failed(PATH, 2, Exit("failed", caught.value)))
    record = json.loads(line)
    assert record["event"] == "actor.failed"
    assert record["exit"] == "failed: ValueError: broken"
    assert "test_logs.py" in record["exception"]


def test_an_incomplete_cleanup_is_a_warning_and_a_complete_one_is_no_news() -> None:
    (line,) = written(
        Cleaned(PATH, 1, ["stopping"], [], []), Cleaned(PATH, 2, [], [], ["stopping"])
    )
    assert json.loads(line)["abandoned"] == ["stopping"]


def test_on_a_terminal_a_line_reads_as_a_line() -> None:
    (line,) = written(RowsReset(PATH, 3), style="console")
    assert "Reset hanging database operations" in line
    assert "rows=3" in line
