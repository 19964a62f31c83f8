"""Events to log lines: the one place where what happened is put into words."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from datetime import datetime
from typing import Any, Literal, TextIO, cast

import attrs
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from actors import Exit, events as actor_events
from actors.events import Event, Sink
from supervision import events as tree_events
from supervision.resources import OperationMemory, Resources
from validator.events import Level, ValidatorEvent

LogFormat = Literal["console", "json"]

_WORDS: dict[type[Event], tuple[Level, str]] = {
    actor_events.Started: ("debug", "actor.started"),
    actor_events.Stopped: ("debug", "actor.stopped"),
    actor_events.TempFilesRemoved: ("info", "Cleaned up temp file"),
    actor_events.DeadLetter: ("warning", "message.undelivered"),
    actor_events.LateReply: ("debug", "reply.late"),
    actor_events.MailboxHigh: ("warning", "mailbox.high"),
    actor_events.MailboxNormal: ("info", "mailbox.normal"),
    tree_events.BackingOff: ("warning", "actor.restarting"),
    tree_events.Restarted: ("info", "actor.restarted"),
    tree_events.StartTimedOut: ("error", "actor.start_timed_out"),
    tree_events.Escalated: ("error", "supervisor.gave_up"),
    tree_events.BreakerOpened: ("error", "Circuit breaker triggered"),
    tree_events.BreakerHalfOpen: ("info", "breaker.half_open"),
    tree_events.BreakerClosed: ("info", "breaker.closed"),
    tree_events.BreakerRefused: ("info", "breaker.refused"),
    tree_events.Contended: ("warning", "actor.contended"),
    tree_events.LeftOver: ("warning", "cleanup.left_over"),
    tree_events.CleanupStarted: ("info", "Starting comprehensive resource cleanup"),
    tree_events.GarbageCollected: ("info", "Forced garbage collection"),
    tree_events.CleanupCompleted: ("info", "Completed resource cleanup"),
    tree_events.LoopBlocked: ("error", "loop.blocked"),
    tree_events.ShutdownStuck: ("error", "system.shutdown_stuck"),
    tree_events.Summary: ("info", "system.summary"),
}


def make_logger(
    *, style: LogFormat | None, level: Level, stream: TextIO | None = None
) -> FilteringBoundLogger:
    """Make a logger that writes lines to ``stream``, by default stderr.

    ``style`` None: readable on a terminal, JSON otherwise. Nothing global is set.
    """
    stream = stream or cast("TextIO", sys.stderr)
    if style is None:
        style = "console" if stream.isatty() else "json"
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            # Not rich's, which prints local variables: they may hold secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if style == "console"
        else structlog.processors.JSONRenderer(default=str)
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_exceptions(style),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
    )
    return logger


def _exceptions(style: LogFormat) -> list[Processor]:
    # The console renderer draws tracebacks itself.
    return [] if style == "console" else [structlog.processors.format_exc_info]


def event_log(logger: FilteringBoundLogger) -> Sink:
    """Return a sink that writes every event worth a line, once."""
    tasks = _TaskLog(logger)

    def write(event: Event) -> None:
        match event:
            case ValidatorEvent():
                keys = _keys(event)
                logger.log(_LEVELS[event.level], event.text.format(**keys), **keys)
            case actor_events.Failed():
                keys = _keys(event)
                logger.error("actor.failed", exc_info=event.exit.failure, **keys)
                tasks.failed(event)
            case actor_events.Cleaned():
                _write_cleaned(logger, event)
            case tree_events.Crashed(decision="leave down" | "forget" | "shut down"):
                # The other decisions have events of their own.
                logger.warning("actor.not_restarted", **_keys(event))
            case _ if type(event) in _WORDS:
                level, text = _WORDS[type(event)]
                logger.log(_LEVELS[level], text, **_keys(event))
            case _:
                tasks.write(event)

    return write


_LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def _keys(event: Event) -> dict[str, Any]:
    """The fields of an event, but for those too large for a line."""
    keys: dict[str, Any] = {}
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if isinstance(value, Resources):
            # So named because that is whose they are, not the actor's.
            keys |= {f"process_{name}": n for name, n in attrs.asdict(value).items()}
        elif field.repr and field.name != "resources":
            keys[field.name] = _plain(value)
    return keys


def _plain(value: object) -> object:
    """Make a value readable on one line."""
    match value:
        case datetime():
            return value.isoformat()
        case Exit(kind=kind, failure=None):
            return kind
        case Exit(kind=kind, failure=failure):
            first_line, *_ = [*str(failure).splitlines(), ""]
            return f"{kind}: {type(failure).__name__}: {first_line}"
        case _:
            return value


def _write_cleaned(logger: FilteringBoundLogger, event: actor_events.Cleaned) -> None:
    if event.failed or event.abandoned:
        logger.warning("cleanup.incomplete", **_keys(event))
    else:
        logger.debug("cleanup.done", **_keys(event))


class _TaskLog:
    """What operators grep for: how operations of tasks go, with the words they know.

    A task is an actor, and its name the last part of the path. Memory is that of the
    whole process.
    """

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._logger = logger
        self._memory = OperationMemory()
        self._errors: Counter[str] = Counter()

    def failed(self, event: actor_events.Failed) -> None:
        """Count it: an alert says how many errors its task has had."""
        self._errors[event.path] += 1

    def write(self, event: Event) -> None:
        """Write the event, if it is one of these."""
        match event:
            case actor_events.OperationStarted() | actor_events.OperationEnded():
                self._operation(event)
            case actor_events.OperationSlow():
                self._slow(event)
            case actor_events.Frozen(operation=operation):
                self._frozen(event, operation)
            case tree_events.Stuck():
                self._frozen(event, "stopping")
            case tree_events.HighMemory():
                text = (
                    f"High memory usage in task {_task(event)} | "
                    f"Current: {_mib(event.current)} | "
                    f"Previous Peak: {_mib(event.previous_peak)}"
                )
                self._logger.warning(text, **_keys(event))
            case _:
                pass

    def _operation(
        self, event: actor_events.OperationStarted | actor_events.OperationEnded
    ) -> None:
        path, operation, keys = event.path, event.operation, _keys(event)
        verb = "started"
        if isinstance(event, actor_events.OperationEnded):
            verb = event.outcome
        text = f"Task {_task(event)} {verb} operation: {operation}"
        if isinstance(event.resources, Resources):
            rss = event.resources.rss
            if isinstance(event, actor_events.OperationStarted):
                self._memory.begin(path, operation, rss)
                text = f"{text} | Initial Memory: {_mib(rss)}"
            else:
                use = self._memory.end(path, operation, rss)
                change = f"Memory Change: {_mib(rss - use.start)}"
                text = f"{text} | {change} | Peak Memory: {_mib(use.peak)}"
                keys["process_rss_peak"] = use.peak
        self._logger.info(text, **keys)

    def _slow(self, event: actor_events.OperationSlow) -> None:
        text = (
            f"TIMEOUT_ALERT - Task: {_task(event)} | Operation: {event.operation} | "
            f"Duration: {event.seconds:.2f}s | Timeout: {event.soft:g}s | "
            f"Status: {event.progress or 'processing'} | "
            f"Errors: {self._errors[event.path]}"
        )
        self._logger.warning(text, **_keys(event))
        if isinstance(used := event.resources, Resources):
            text = (
                f"Memory Usage at Timeout - RSS: {_mib(used.rss)} | "
                f"VMS: {_mib(used.vms)}"
            )
            self._logger.warning(text, **_keys(event))

    def _frozen(
        self, event: actor_events.Frozen | tree_events.Stuck, operation: str
    ) -> None:
        text = (
            f"FREEZE_DETECTED - Task {_task(event)} appears frozen - "
            f"Last Operation: {operation} - Recovery waits for its task to end"
        )
        self._logger.error(text, **_keys(event))


def _task(event: Event) -> str:
    return event.path.rpartition("/")[2]


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}MB"
