"""Events to log lines: the one place where what happened is put into words."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from typing import Any, Literal, TextIO, cast

import attrs
import structlog
from structlog.typing import FilteringBoundLogger, Processor

from actors import Exit, events as actor_events
from actors.events import Event, Sink
from supervision import events as tree_events
from supervision.resources import MemoryUse, Meter, OperationMemory
from validator.events import Level, ValidatorEvent

LogFormat = Literal["console", "json"]

_WORDS: dict[type[Event], tuple[Level, str]] = {
    actor_events.Started: ("debug", "actor.started"),
    actor_events.Stopped: ("debug", "actor.stopped"),
    actor_events.DeadLetter: ("warning", "message.undelivered"),
    actor_events.LateReply: ("debug", "reply.late"),
    actor_events.MailboxHigh: ("warning", "mailbox.high"),
    actor_events.MailboxNormal: ("info", "mailbox.normal"),
    tree_events.BackingOff: ("warning", "actor.restarting"),
    tree_events.Restarted: ("info", "actor.restarted"),
    tree_events.StartTimedOut: ("error", "actor.start_timed_out"),
    tree_events.Escalated: ("error", "supervisor.gave_up"),
    tree_events.Stuck: ("error", "actor.stuck"),
    tree_events.BreakerOpened: ("error", "Circuit breaker triggered"),
    tree_events.BreakerHalfOpen: ("info", "breaker.half_open"),
    tree_events.BreakerClosed: ("info", "breaker.closed"),
    tree_events.BreakerRefused: ("info", "breaker.refused"),
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
    memory, measure = OperationMemory(), Meter()

    def write(event: Event) -> None:
        match event:
            case ValidatorEvent():
                keys = _keys(event)
                logger.log(_LEVELS[event.level], event.text.format(**keys), **keys)
            case actor_events.Failed():
                keys = _keys(event)
                logger.error("actor.failed", exc_info=event.exit.failure, **keys)
            case actor_events.Cleaned():
                _write_cleaned(logger, event)
            case actor_events.OperationStarted():
                use = memory.begin(event.path, event.operation, measure().rss)
                text, keys = _started(event, use)
                logger.info(text, **keys)
            case actor_events.OperationEnded():
                use = memory.end(event.path, event.operation, measure().rss)
                text, keys = _ended(event, use)
                logger.info(text, **keys)
            case _:
                if type(event) in _WORDS:
                    level, text = _WORDS[type(event)]
                    logger.log(_LEVELS[level], text, **_keys(event))

    return write


_LEVELS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def _keys(event: Event) -> dict[str, Any]:
    """The fields of an event, but for those too large for a line."""
    return {
        field.name: _plain(getattr(event, field.name))
        for field in attrs.fields(type(event))
        if field.repr
    }


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


def _started(
    event: actor_events.OperationStarted, use: MemoryUse
) -> tuple[str, dict[str, Any]]:
    text = (
        f"Task {_task(event)} started operation: {event.operation} | "
        f"Initial Memory: {use.start / 2**20:.2f}MB"
    )
    return text, {**_keys(event), "process_rss": use.current}


def _ended(
    event: actor_events.OperationEnded, use: MemoryUse
) -> tuple[str, dict[str, Any]]:
    text = (
        f"Task {_task(event)} {event.outcome} operation: {event.operation} | "
        f"Memory Change: {(use.current - use.start) / 2**20:.2f}MB | "
        f"Peak Memory: {use.peak / 2**20:.2f}MB"
    )
    keys = {"process_rss": use.current, "process_rss_peak": use.peak}
    return text, {**_keys(event), **keys}


def _task(event: Event) -> str:
    """The name that operators know: the last part of the path."""
    return event.path.rpartition("/")[2]
