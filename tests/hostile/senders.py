"""Many who send to one: drawn as a plan, run, and judged by what was seen."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import attrs
import trio
from hypothesis import strategies as st

from actors import (
    Actor,
    ActorCrashed,
    ActorGone,
    Ask,
    AskTimeout,
    Deferred,
    Exit,
    MailboxFull,
    Overflow,
    Ref,
    Rejected,
    Tell,
)
from actors.events import DeadLetter, Event
from actors.testing import Trace, World
from supervision import BreakerOpen

How = Literal["tell", "send", "ask"]
Work = Literal["quick", "slow", "later", "rejects", "crashes"]


@attrs.frozen
class Op:
    """One message of one sender."""

    how: How
    work: Work
    pause: int
    """How often the sender lets others run before."""
    patience: float | None
    """Seconds after which the sender is cancelled, or an ask times out."""
    gives_up: bool
    """Whether it is cancelled then; else the ask times out."""


@attrs.frozen
class Plan:
    capacity: int
    overflow: Overflow
    senders: tuple[tuple[Op, ...], ...]


PATIENCE = st.sampled_from([None, 0.0, 0.05, 0.1, 0.15])

OPS = st.builds(
    Op,
    how=st.sampled_from(["tell", "send", "ask"]),
    work=st.sampled_from(["quick", "slow", "later", "rejects", "crashes"]),
    pause=st.integers(0, 3),
    patience=PATIENCE,
    gives_up=st.booleans(),
)
PLANS = st.builds(
    Plan,
    capacity=st.integers(1, 3),
    overflow=st.sampled_from(["wait", "drop_oldest"]),
    senders=st.lists(
        st.lists(OPS, min_size=1, max_size=4).map(tuple), min_size=1, max_size=5
    ).map(tuple),
)

# -- what is seen ---------------------------------------------------------------------


@attrs.frozen
class Handled(Event):
    number: int
    finished: bool = False


@attrs.frozen
class Sent(Event):
    """A message to which there is no answer: whether it was accepted."""

    number: int
    accepted: bool


@attrs.frozen
class Ended(Event):
    """An ask: whether it has been executed, for all that the asker knows."""

    number: int
    executed: Literal["once", "never", "perhaps"]


# -- who is in it ---------------------------------------------------------------------


@attrs.frozen
class Note(Tell["Target"]):
    number: int
    work: Work


@attrs.frozen
class SlowNote(Note):
    pass


@attrs.frozen
class Question(Ask["Target", int]):
    number: int
    work: Work


@attrs.frozen
class SlowQuestion(Question):
    pass


@attrs.frozen
class LaterQuestion(Question):
    pass


QUESTIONS: dict[Work, type[Question]] = {"slow": SlowQuestion, "later": LaterQuestion}


class Target(Actor):
    """Handles each message as that says."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _see(self, number: int, *, finished: bool = False) -> None:
        self._world.trace(Handled(self.ctx.me.path, number, finished))

    def _do(self, m: Note | Question) -> None:
        self._see(m.number)
        if m.work == "crashes":
            raise LookupError("on purpose")
        if m.work == "rejects" and isinstance(m, Question):
            raise Rejected("on purpose")

    @Note.handled
    def note(self, m: Note) -> None:
        self._do(m)
        self._see(m.number, finished=True)

    @SlowNote.handled
    async def slow_note(self, m: SlowNote) -> None:
        self._do(m)
        await trio.sleep(0.1)
        self._see(m.number, finished=True)

    @Question.handled
    def question(self, m: Question) -> int:
        self._do(m)
        return m.number

    @LaterQuestion.handled
    def later_question(self, m: LaterQuestion) -> Deferred[int]:
        self._do(m)

        async def answer() -> int:
            await trio.sleep(0.1)
            return m.number

        return self.ctx.defer(answer)

    @SlowQuestion.handled
    async def slow_question(self, m: SlowQuestion) -> int:
        self._do(m)
        await trio.sleep(0.1)
        return m.number

    async def stopping(self, exit_: Exit) -> None:
        await trio.lowlevel.checkpoint()


# -- running --------------------------------------------------------------------------


async def play(world: World, ref: Ref[Target], plan: Plan, in_hand: int = 0) -> None:
    """Let all send at once, and wait until nothing can be under way.

    ``in_hand``: how many messages its mailbox may hold beyond its capacity.
    """
    most = plan.capacity + in_hand
    async with trio.open_nursery() as nursery:
        for number, ops in enumerate(plan.senders):
            nursery.start_soon(_send_all, world, ref, number, ops, most)
    await trio.sleep(10)


async def _send_all(
    world: World, ref: Ref[Target], sender: int, ops: tuple[Op, ...], most: int
) -> None:
    for turn, op in enumerate(ops):
        for _ in range(op.pause):
            await trio.lowlevel.checkpoint()
        await send(world, ref, 100 * sender + turn, op)
        assert ref.snapshot().mailbox <= most


async def send(world: World, ref: Ref[Target], number: int, op: Op) -> None:
    """Send one message, and note what came of it."""
    limit = op.patience if op.gives_up or op.how != "ask" else None
    with trio.move_on_after(float("inf") if limit is None else limit):
        if op.how == "ask":
            question = QUESTIONS.get(op.work, Question)(number, op.work)
            timeout = None if op.gives_up else op.patience
            await _ask(world, ref, question, timeout)
            return
        note = (SlowNote if op.work == "slow" else Note)(number, op.work)
        accepted = False
        try:
            if op.how == "tell":
                accepted = ref.tell(note)
            else:
                await ref.send(note)
                accepted = True
        except ActorGone:
            pass
        finally:
            world.trace(Sent(ref.path, number, accepted))


async def _ask(
    world: World, ref: Ref[Target], question: Question, timeout: float | None
) -> None:
    executed: Literal["once", "never", "perhaps"] = "perhaps"
    try:
        assert await ref.ask(question, timeout=timeout) == question.number
        executed = "once"
    except Rejected:
        executed = "once"
    except (ActorGone, MailboxFull, BreakerOpen):
        executed = "never"
    except AskTimeout as error:
        executed = "perhaps" if error.started else "never"
    except ActorCrashed:
        pass
    finally:
        world.trace(Ended(ref.path, question.number, executed))


# -- judging --------------------------------------------------------------------------


def judge(trace: Trace, plan: Plan, *, in_order: bool = True) -> None:
    """What is promised about messages, whatever happens to their receiver."""
    begun = [e.number for e in trace.events(Handled) if not e.finished]
    times = Counter(begun)
    assert max(times.values(), default=1) == 1, "a message was handled twice"
    for sender in range(len(plan.senders) if in_order else 0):
        own = [number for number in begun if number // 100 == sender]
        assert own == sorted(own), f"messages of one sender out of order: {own}"
    for end in trace.events(Ended):
        allowed = {"once": [1], "never": [0], "perhaps": [0, 1]}[end.executed]
        assert times[end.number] in allowed, f"{end}, handled {times[end.number]} times"
    _judge_tells(trace, times)


def _judge_tells(trace: Trace, times: Counter[int]) -> None:
    finished = {e.number for e in trace.events(Handled) if e.finished}
    letters = Counter(_number(e.message) for e in trace.events(DeadLetter))
    for sent in trace.events(Sent):
        number = sent.number
        if not sent.accepted:
            assert number not in times, f"{number} was refused and handled"
            continue
        ends = (number in finished) + letters[number]
        assert ends == 1, f"{number} was accepted; it came to {ends} ends"


def _number(message: Any) -> int:
    number: int = message.number
    return number
