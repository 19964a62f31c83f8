"""The rules about messages, and about how it all ends. All of them: `RULES`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from actors._core.reader import BATCH
from actors.functions import FunctionActor
from actors.testing import Entry
from supervision.events import Escalated, ShutdownStuck
from supervision.testing.history import EPSILON, Passage, Run, Sending
from supervision.testing.oracle import Rule
from supervision.testing.points import Ended, Entered, Idle
from supervision.testing.rules_lives import LIVES
from supervision.testing.rules_trees import TREES

NEVER_BEGUN = ("ActorGone", "MailboxFull", "AskCycle", "Unhandled")
"""Outcomes that promise that no handler has begun, nor ever will."""


def every_ask_ends_once_and_truly(run: Run) -> Iterator[str]:
    """An ask has one outcome, in time, and what it says is what has happened.

    If whoever was asked has died, or answered, the asker is told at that moment.
    """
    if run.hung is not None:
        return
    for sending in run.sendings.values():
        if sending.event.kind == "tell":
            continue
        name = _name(sending)
        if len(sending.answers) != 1:
            yield f"{name} has {len(sending.answers)} outcomes"
            continue
        yield from (f"{name} {problem}" for problem in _in_time(run, sending))
        if sending.event.kind == "ask":
            yield from (f"{name} {problem}" for problem in _true(run, sending))


def _name(sending: Sending) -> str:
    event = sending.event
    verb = "told" if event.kind == "tell" else "asked"
    return f"{event.what} ({verb} {event.path} as number {event.number})"


def _in_time(run: Run, sending: Sending) -> Iterator[str]:
    (answer,), sent = sending.answers, sending.sent
    took = answer.at - sent.at
    timeout = sending.event.timeout
    slack = run.blocked(sent.at, answer.at) + EPSILON
    if timeout is not None and took > timeout + slack:
        yield f"ended after {took:g} s, and was to within {timeout:g} s"
    ended = run.ended
    if ended is not None and answer.at > max(ended.at, sent.at) + slack:
        yield f"was answered {answer.at - ended.at:g} s after all had ended"


def _true(run: Run, sending: Sending) -> Iterator[str]:
    (entry,), answer = sending.answers, sending.answer
    node = run.nodes.get(sending.event.path)
    if answer is None or node is None or node.path in run.tree.unreliable:
        return
    endings = [passage.ending for passage in sending.handled]
    outcome = answer.outcome
    if outcome in NEVER_BEGUN or (outcome == "AskTimeout" and not answer.started):
        if endings:
            yield f"ended in {outcome}, and yet a handler has begun"
        return
    if not endings:
        yield f"ended in {outcome}, and yet no handler has begun"
        return
    if issubclass(node.actor, FunctionActor):
        return  # when a function is done with a message is known to it alone
    yield from _told(run, sending, entry, outcome, endings[-1])


def _told(
    run: Run, sending: Sending, entry: Entry, outcome: str, ending: str
) -> Iterator[str]:
    """Whether the asker was told what came of its handler, at that moment."""
    left = sending.handled[-1].left
    # Both may have been due while nobody could run.
    late = left is not None and left.at < entry.at - EPSILON - run.blocked(
        left.at, entry.at
    )
    match outcome, ending:
        case ("reply", "done") | ("Rejected", "rejected") | (_, "deferred"):
            pass
        case ("AskTimeout", _) if left is not None and late:
            yield (
                f"timed out at {entry.at:g} s, although its handler was left at "
                f"{left.at:g} s ({ending}): nobody told the asker"
            )
        case ("reply" | "Rejected", _):
            yield f"ended in {outcome}, and its handler in {ending or 'nothing'}"
        case ("ActorCrashed", "done" | "rejected") if (
            # What is stuck may finish after all, but nobody waits for it any more.
            sending.event.path not in run.stuck
        ):
            yield f"ended in ActorCrashed, although its handler was {ending}"
        case ("ActorCrashed", _) if left is not None and late:
            yield f"was told at {entry.at:g} s of a crash that was at {left.at:g} s"
        case _:
            pass


def a_message_is_handled_once_and_in_turn(run: Run) -> Iterator[str]:
    """No message is handled twice, and those to one actor in the order they came."""
    for sending in run.sendings.values():
        path = sending.event.path
        if path not in run.tree.unreliable and len(sending.handled) > 1:
            yield f"{_name(sending)} was handled {len(sending.handled)} times"
    latest: dict[str, int] = defaultdict(int)
    for entry in run.of(Entered):
        event = entry.event
        if not isinstance(event, Entered) or event.point != "handle":
            continue
        if event.number is None or not _comes_in_turn(run, event):
            continue
        if event.number < latest[event.path]:
            yield (
                f"{event.path} handles number {event.number} after number "
                f"{latest[event.path]}, which was sent later"
            )
        latest[event.path] = event.number


def _comes_in_turn(run: Run, event: Entered) -> bool:
    node = run.nodes[event.path]
    # A function may receive what it likes first.
    return event.path not in run.tree.unreliable and not (
        issubclass(node.actor, FunctionActor)
        or any(kind.system for kind in node.takes.values())
    )


def who_idles_has_nothing_to_do(run: Run) -> Iterator[str]:
    """What was accepted is handled: nobody sleeps beside a message."""
    for entry in run.of(Idle):
        event = entry.event
        if not isinstance(event, Idle) or run.nodes[event.path].kind == "pool":
            continue
        if event.state == "running" and event.waiting and not event.busy:
            yield f"{event.path} idles, and {event.waiting} messages wait for it"


def a_mailbox_is_bounded(run: Run) -> Iterator[str]:
    """No more messages wait than there is room for."""
    for sending in run.sendings.values():
        event, node = sending.event, run.nodes.get(sending.event.path)
        if node is None or event.kind == "request" or node.path == run.tree.name:
            continue
        if event.waiting > node.child.mailbox and node.path not in run.tree.unreliable:
            yield (
                f"{event.waiting} messages wait for {event.path}, which has room for "
                f"{node.child.mailbox}"
            )


def others_get_their_turn(run: Run) -> Iterator[str]:
    """An actor goes on to its next message, but lets others run in between."""
    steps = Counter(
        (event.path, entry.step)
        for entry in run.of(Entered)
        if isinstance(event := entry.event, Entered) and event.point == "handle"
    )
    for (path, step), number in steps.items():
        if number > BATCH:
            yield f"{path} began {number} messages within step {step}"
    for life in run.all_lives():
        blocked: Passage | None = None
        for passage in life.at("handle"):
            if blocked is not None and passage.entered.step == blocked.entered.step:
                yield (
                    f"{life.path} had blocked everybody, and went on in the same step "
                    f"{passage.entered.step}"
                )
            fault = passage.event.fault
            blocks = fault is not None and fault.kind == "no_checkpoint"
            blocked = passage if blocks else None


# -- the end ------------------------------------------------------------------------


def it_comes_to_an_end(run: Run) -> Iterator[str]:
    """Nothing waits for ever, and nothing runs on the spot."""
    if run.hung is not None:
        yield f"{type(run.hung).__name__}: {run.hung}"


def the_end_says_what_happened(run: Run) -> Iterator[str]:
    """Whoever runs the system is told how it ended, and of nothing else."""
    ended = run.ended
    if ended is None or not isinstance(ended.event, Ended):
        return
    outcome, root = ended.event.outcome, run.tree.name
    gave_up = any(entry.event.path == root for entry in run.of(Escalated))
    cancelled = run.scenario.cut is not None and run.scenario.cut.what == "cancel"
    interrupted = run.interrupted
    if outcome not in ("stopped", "cancelled", "Interrupted", *FAILURES):
        yield f"{outcome} escaped from the system"
    if outcome == "Interrupted" and not interrupted:
        yield "it was interrupted, although no fault did that"
    if interrupted and outcome != "Interrupted":
        yield f"an interrupt was swallowed: it ended as {outcome}"
    if outcome == "cancelled" and not cancelled:
        yield "it was cancelled, although nobody did that"
    if gave_up and outcome not in (*FAILURES, "cancelled", "Interrupted"):
        yield f"the root gave up, and yet it ended as {outcome}"
    stuck = bool(run.of(ShutdownStuck))
    if stuck and outcome not in ("ShutdownStuck", "cancelled", "Interrupted"):
        yield f"it did not end within its time, and yet ended as {outcome}"
    if outcome == "SystemFailed" and not gave_up and not run.root_failed:
        yield "it failed, and nothing in it had"


FAILURES = ("SystemFailed", "ShutdownStuck")

RULES = (
    Rule("I14", it_comes_to_an_end),
    Rule("I1", every_ask_ends_once_and_truly),
    Rule("I7", a_message_is_handled_once_and_in_turn),
    Rule("I10", who_idles_has_nothing_to_do),
    Rule("I11", a_mailbox_is_bounded),
    Rule("I15", the_end_says_what_happened),
    Rule("I16", others_get_their_turn),
    *LIVES,
    *TREES,
)
"""In this order they are asked; the first that was broken is the one that is raised."""
