"""Operators grep for these texts; dashboards read the keys beside them."""

from __future__ import annotations

import inspect
import io
import json
from datetime import UTC, datetime
from types import ModuleType

import pytest

from actors import Exit, events as actor_events
from actors.events import (
    Cleaned,
    DeadLetter,
    Event,
    Failed,
    Frozen,
    LateReply,
    MailboxHigh,
    MailboxNormal,
    OperationEnded,
    OperationSlow,
    OperationStarted,
    Started,
    Stopped,
    TempFilesRemoved,
)
from supervision import events as tree_events
from supervision.events import (
    BackingOff,
    BreakerClosed,
    BreakerHalfOpen,
    BreakerOpened,
    BreakerRefused,
    CleanupCompleted,
    CleanupStarted,
    Contended,
    Crashed,
    Escalated,
    GarbageCollected,
    HighMemory,
    LeftOver,
    LoopBlocked,
    Restarted,
    ShutdownStuck,
    StartTimedOut,
    Stuck,
    Summary,
    Waited,
)
from supervision.resources import Resources
from validator.domain.dst import Nanotesla
from validator.domain.scoring import ScoredHour
from validator.events import (
    DatabaseTimedOut,
    HealthCheckFailed,
    HourScored,
    Level,
    ManyDatabaseFailures,
    MinerTimedOut,
    NobodyAnswered,
    PoolReset,
    ResettingPool,
    RoundEnded,
    RoundStarted,
    RowsReset,
    SlowDatabase,
    SlowHealthCheck,
    SlowMetagraphSync,
)
from validator.logs import LogFormat, event_log, make_logger

HOUR = datetime(2015, 3, 17, 22, tzinfo=UTC)
PATH = "validator/tasks/geomagnetic"
TRUTH = Nanotesla(-234)
CRASH = Exit("failed", ValueError("broken"))


def written(
    *events: Event, style: LogFormat = "json", level: Level = "info"
) -> list[str]:
    stream = io.StringIO()
    log = event_log(make_logger(style=style, level=level, stream=stream))
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
        (
            SlowDatabase(PATH, "score_rows", 7.1),
            "Slow database operation: score_rows took 7.10s",
            {"level": "warning"},
        ),
        (
            ManyDatabaseFailures(PATH, 3, "lost"),
            "Multiple consecutive database failures",
            {"failures": 3, "last": "lost", "level": "error"},
        ),
        (ResettingPool(PATH), "Resetting database connection pool", {}),
        (PoolReset(PATH, 8.5), "Reset database connection pool", {"seconds": 8.5}),
        (SlowHealthCheck(PATH, 6.2), "Slow DB health check: 6.20s", {}),
        (
            HealthCheckFailed(PATH, "no answer"),
            "Database health check failed: no answer",
            {"level": "error"},
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
        (
            Contended(PATH, "room", 2.5),
            "actor.contended",
            {"what": "room", "waiting": 2.5, "level": "warning"},
        ),
        (
            LeftOver(PATH, "hanging rows", 3),
            "cleanup.left_over",
            {"what": "hanging rows", "count": 3},
        ),
        (
            CleanupStarted(PATH),
            "Starting comprehensive resource cleanup",
            {"level": "info"},
        ),
        (
            TempFilesRemoved(PATH, 2, 3, ("a.h5", "b.tif", "c.tmp")),
            "Cleaned up temp file",
            {"incarnation": 2, "count": 3, "names": ["a.h5", "b.tif", "c.tmp"]},
        ),
        (
            GarbageCollected(PATH, 1234, 0.25),
            "Forced garbage collection",
            {"objects": 1234, "seconds": 0.25},
        ),
        (CleanupCompleted(PATH), "Completed resource cleanup", {"level": "info"}),
        (
            Crashed(PATH, 2, CRASH, None, "forget"),
            "actor.not_restarted",
            {"incarnation": 2, "decision": "forget", "level": "warning"},
        ),
        (
            LoopBlocked(PATH, "run", 1.5, "a.py:1 f", ("a.py:1 f",)),
            "loop.blocked",
            {"where": "a.py:1 f", "seconds": 1.5, "level": "error"},
        ),
        (
            ShutdownStuck("validator", ()),
            "system.shutdown_stuck",
            {"level": "error"},
        ),
        (
            Summary("validator/watchdog", 9, {}, 1, {}, Resources(5, 6, 0.5, 2, 7)),
            "system.summary",
            {"actors": 9, "restarts": 1, "process_rss": 5, "process_threads": 2},
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


def reading(mib: float) -> Resources:
    return Resources(
        rss=round(mib * 2**20),
        vms=round(2 * mib * 2**20),
        cpu=1.5,
        threads=2,
        descriptors=7,
    )


def test_an_operation_says_how_much_memory_there_was() -> None:
    records = [
        json.loads(line)
        for line in written(
            OperationStarted(PATH, "miner_query", reading(100)),
            OperationEnded(PATH, "miner_query", 1.5, "completed", reading(150.25)),
            OperationStarted(PATH, "miner_query", reading(120)),
            OperationEnded(PATH, "miner_query", 9.0, "timed out", reading(110)),
        )
    ]
    assert [record["event"] for record in records] == [
        "Task geomagnetic started operation: miner_query | Initial Memory: 100.00MB",
        (
            "Task geomagnetic completed operation: miner_query | Memory Change: 50.25MB"
            " | Peak Memory: 150.25MB"
        ),
        "Task geomagnetic started operation: miner_query | Initial Memory: 120.00MB",
        (
            "Task geomagnetic timed out operation: miner_query | "
            "Memory Change: -10.00MB | Peak Memory: 150.25MB"
        ),
    ]
    assert records[0]["process_rss"] == 100 * 2**20
    assert records[0]["process_descriptors"] == 7
    assert records[3]["process_rss_peak"] == 150.25 * 2**20
    assert records[3]["path"] == PATH


def test_an_operation_that_nobody_measured_has_a_line_all_the_same() -> None:
    (line,) = written(OperationStarted(PATH, "scoring"))
    assert json.loads(line)["event"] == "Task geomagnetic started operation: scoring"


def test_memory_that_is_high_is_a_warning_with_what_it_was_before() -> None:
    (line,) = written(HighMemory(PATH, "scoring", 300 * 2**20, 199 * 2**20))
    record = json.loads(line)
    assert record["event"] == (
        "High memory usage in task geomagnetic | "
        "Current: 300.00MB | Previous Peak: 199.00MB"
    )
    assert (record["level"], record["operation"]) == ("warning", "scoring")


def test_a_soft_limit_is_an_alert_with_the_memory_and_the_errors_so_far() -> None:
    slow = OperationSlow(
        PATH, "data_fetch", 30.25, 30, "hour 7", ("a.py:1 f",), reading(64)
    )
    failed = Failed(PATH, 1, Exit("failed", ValueError("broken")))
    elsewhere = Failed("validator/database", 1, Exit("failed", ValueError("broken")))
    *_, alert, memory = written(failed, elsewhere, failed, slow)
    record = json.loads(alert)
    assert record["event"] == (
        "TIMEOUT_ALERT - Task: geomagnetic | Operation: data_fetch | "
        "Duration: 30.25s | Timeout: 30s | Status: hour 7 | Errors: 2"
    )
    assert (record["level"], record["stack"]) == ("warning", ["a.py:1 f"])
    assert json.loads(memory)["event"] == (
        "Memory Usage at Timeout - RSS: 64.00MB | VMS: 128.00MB"
    )


@pytest.mark.parametrize(
    ("event", "operation"),
    [
        (Frozen(PATH, 3, "miner_query", 95.0, ("a.py:1 f",)), "miner_query"),
        (Stuck(PATH, 3, ("a.py:1 f",)), "stopping"),
    ],
)
def test_what_is_frozen_is_an_error_with_its_stack(
    event: Event, operation: str
) -> None:
    (line,) = written(event)
    record = json.loads(line)
    assert record["event"] == (
        "FREEZE_DETECTED - Task geomagnetic appears frozen - "
        f"Last Operation: {operation} - Recovery waits for its task to end"
    )
    assert (record["level"], record["stack"]) == ("error", ["a.py:1 f"])
    assert record["incarnation"] == 3


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


# -- the whole vocabulary -----------------------------------------------------------

WRITTEN = [
    Started(PATH, 1),
    Failed(PATH, 1, CRASH),
    Stopped(PATH, 1, Exit("shutdown")),
    Cleaned(PATH, 1, ["stopping"], [], []),
    TempFilesRemoved(PATH, 1, 1, ("a.h5",)),
    DeadLetter(PATH, "m", "gone"),
    LateReply(PATH, "m"),
    MailboxHigh(PATH, 64, 64),
    MailboxNormal(PATH, 32, 64),
    OperationStarted(PATH, "scoring"),
    OperationSlow(PATH, "scoring", 31.0, 30.0, "", ()),
    OperationEnded(PATH, "scoring", 1.0, "completed"),
    Frozen(PATH, 1, "scoring", 95.0, ()),
    Crashed(PATH, 1, CRASH, None, "leave down"),
    BackingOff(PATH, CRASH, 1, 0.5),
    Restarted(PATH, 2),
    StartTimedOut(PATH, 1, 10.0),
    Escalated(PATH, "a", (CRASH,)),
    Stuck(PATH, 1, ()),
    ShutdownStuck(PATH, ()),
    BreakerOpened(PATH, "k", "consecutive failures", 5, 0, 0, 1.0, "timeout"),
    BreakerHalfOpen(PATH, "k"),
    BreakerClosed(PATH, "k", "probes succeeded"),
    BreakerRefused(PATH, "k", 3),
    Contended(PATH, "room", 2.5),
    LeftOver(PATH, "temp_dir", 1),
    CleanupStarted(PATH),
    GarbageCollected(PATH, 5, 0.1),
    CleanupCompleted(PATH),
    HighMemory(PATH, "scoring", 3, 1),
    LoopBlocked(PATH, "run", 1.5, "a.py:1 f", ()),
    Summary(PATH, 9, {}, 1, {}, Resources(5, 6, 0.5, 2, 7)),
]
"""Events of the runtime and of the tree, and each has a line."""

SILENT = [
    # Each wait for a connection or a permit; what is too much is `Contended`.
    Waited(PATH, "connection", 1.0),
    # `Failed` has the traceback, `Cleaned` what was cleaned up, `BackingOff` and
    # `Escalated` what came of it.
    *(
        Crashed(PATH, 1, CRASH, None, decision)
        for decision in ("restart", "restart with its group", "stop", "give up")
    ),
]


def _vocabulary(module: ModuleType) -> set[type[Event]]:
    return {
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Event) and kind.__module__ == module.__name__
    } - {Event}


VOCABULARY = _vocabulary(actor_events) | _vocabulary(tree_events)


def test_no_event_is_forgotten() -> None:
    assert {type(event) for event in (*WRITTEN, *SILENT)} == VOCABULARY


@pytest.mark.parametrize("event", WRITTEN, ids=lambda e: type(e).__name__)
def test_an_event_has_a_line_or_two(event: Event) -> None:
    lines = written(event, level="debug")
    assert 1 <= len(lines) <= 2
    assert all(json.loads(line)["path"] == PATH for line in lines)


@pytest.mark.parametrize("event", SILENT, ids=lambda e: type(e).__name__)
def test_what_another_event_says_better_has_no_line(event: Event) -> None:
    assert written(event, level="debug") == []


@pytest.mark.parametrize("kind", sorted(VOCABULARY, key=str), ids=lambda k: k.__name__)
def test_an_event_says_what_it_reports(kind: type[Event]) -> None:
    own = vars(kind).get("__doc__")
    assert own
    assert own.splitlines()[0].endswith(".")
