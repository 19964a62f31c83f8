"""A crash is reported once, with all there is to know about it."""

from __future__ import annotations

import pytest
import trio
from parts import AT_ONCE, Crash, Life, Part, parts
from trio.testing import wait_all_tasks_blocked

from actors import Exit
from actors.events import Cleaned, DeadLetter, Event, Failed
from supervision import (
    AutoShutdown,
    Child,
    Intensity,
    MaxRestarts,
    Restart,
    Strategy,
    Supervisor,
    System,
    SystemFailed,
)
from supervision.events import BackingOff, Crashed, Escalated, Restarted
from supervision.reports import Recorder


def reports(events: list[Event]) -> list[tuple[str, str]]:
    return [(e.path, e.decision) for e in events if isinstance(e, Crashed)]


async def test_a_report_names_cause_message_incarnation_cleanup_and_decision(
    events: list[Event],
) -> None:
    class Tidy(Part):
        async def started(self) -> None:
            self.ctx.cleanup("return the books", self.give_up)

        async def give_up(self) -> None:
            raise OSError("library closed")

    part = Child("a", Tidy)
    async with System(part, on_event=[events.append]) as system:
        system.ref(part).tell(Crash())
        assert await system.ref(part).ask(Life()) == 2
    (report,) = [e for e in events if isinstance(e, Crashed)]
    assert (report.path, report.incarnation, report.decision) == ("app/a", 1, "restart")
    assert isinstance(report.exit.failure, ValueError)
    assert report.exit.message == Crash()
    assert report.cleaned is not None
    assert report.cleaned.done == ["stopping"]
    assert [name for name, _ in report.cleaned.failed] == ["return the books"]


@pytest.mark.parametrize(
    ("restart", "strategy", "auto_shutdown", "decision"),
    [
        ("permanent", "one_for_one", "never", "restart"),
        ("permanent", "one_for_all", "never", "restart with its group"),
        ("temporary", "one_for_one", "never", "forget"),
        ("temporary", "one_for_one", "any_significant", "shut down"),
    ],
)
async def test_a_report_says_what_was_decided(
    restart: Restart,
    strategy: Strategy,
    auto_shutdown: AutoShutdown,
    decision: str,
    events: list[Event],
) -> None:
    significant = auto_shutdown != "never"
    (a,) = parts("a", restart=restart, significant=significant)
    (b,) = parts("b")
    async with System(
        a, b, strategy=strategy, auto_shutdown=auto_shutdown, on_event=[events.append]
    ) as system:
        system.ref(a).tell(Crash())
        await trio.sleep(1)
    assert reports(events) == [("app/a", decision)]


async def test_a_start_that_failed_is_a_crash_as_well(events: list[Event]) -> None:
    class Broken(Part):
        async def started(self) -> None:
            if self.ctx.incarnation == 2:
                raise OSError("away")

    part = Child("a", Broken)
    async with System(part, backoff=AT_ONCE, on_event=[events.append]) as system:
        system.ref(part).tell(Crash())
        assert await system.ref(part).ask(Life()) == 3
    crashes = [e for e in events if isinstance(e, Crashed)]
    assert [(e.incarnation, e.decision) for e in crashes] == [
        (1, "restart"),
        (2, "restart"),
    ]
    assert "did not start: OSError('away')" in str(crashes[1].exit.failure)


async def test_crashes_beside_an_escalation_and_during_a_stop_are_reported_too(
    events: list[Event],
) -> None:
    class Sore(Part):
        async def run(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("not like this")

    a, b = Child("a", Part), Child("b", Sore)
    with pytest.raises(SystemFailed):
        async with System(a, b, intensity=Intensity(0), on_event=[events.append]) as s:
            s.ref(a).tell(Crash())
            await trio.sleep_forever()
    assert ("app/a", "give up") in reports(events)
    failed = {(e.path, e.incarnation) for e in events if isinstance(e, Failed)}
    crashed = {(e.path, e.incarnation) for e in events if isinstance(e, Crashed)}
    assert crashed == failed - {("app", 1)}, "nobody is above the root"


async def test_an_escalation_is_one_exception_with_its_history_through_all_levels() -> (
    None
):
    part = Child("part", Part)
    once = Intensity(1, within=100)

    def level(*children: Child[Supervisor] | Child[Part]) -> Supervisor:
        return Supervisor(*children, intensity=once, backoff=AT_ONCE)

    low = Child("low", lambda: level(part))
    middle = Child("middle", lambda: level(low))
    with pytest.raises(SystemFailed) as caught:
        async with System(middle, intensity=once, backoff=AT_ONCE) as system:
            while True:
                system.ref(part).tell(Crash())
                await wait_all_tasks_blocked()
    causes: list[BaseException] = []
    error = caught.value.__cause__
    while error is not None:
        causes.append(error)
        error = error.__cause__
    *levels, crash = causes
    assert [type(e) for e in levels] == [MaxRestarts] * 3
    assert [str(e).partition(" ")[0] for e in levels] == [
        "app",
        "app/middle",
        "app/middle/low",
    ]
    assert isinstance(crash, ValueError)


async def test_the_last_events_of_those_below_come_with_an_escalation(
    events: list[Event],
) -> None:
    part, other = Child("part", Part), Child("other", Part)
    inner = Child(
        "inner",
        lambda: Supervisor(part, intensity=Intensity(1, within=9), backoff=AT_ONCE),
    )
    async with System(inner, other, on_event=[events.append]) as system:
        system.ref(other).tell(Crash())
        system.ref(part).tell(Crash())
        assert await system.ref(part).ask(Life()) == 2
        system.ref(part).tell(Crash())
        await wait_all_tasks_blocked()
    (escalated,) = [e for e in events if isinstance(e, Escalated)]
    kinds = [
        type(e)
        for e in escalated.events
        if e.path == "app/inner/part" and not isinstance(e, DeadLetter)
    ]
    lost = [Failed, Cleaned, Crashed]
    assert kinds[-8:] == [*lost[1:], BackingOff, kinds[-5], Restarted, *lost]
    assert all(e.path.startswith("app/inner") for e in escalated.events)


def test_a_recorder_keeps_the_last_events_and_no_more() -> None:
    recorder = Recorder(size=4)
    for number in range(10):
        recorder.sink(
            Failed("app/a" if number % 2 else "app/ab", number, Exit("failed"))
        )
    assert [e.incarnation for e in recorder.below("app/a")] == [7, 9]  # type: ignore[attr-defined]
    assert [e.incarnation for e in recorder.below("app", most=3)] == [7, 8, 9]  # type: ignore[attr-defined]
    assert recorder.below("nobody") == ()


async def test_delays_have_full_jitter_and_it_answers_meanwhile(
    events: list[Event],
) -> None:
    part, other = parts("ab")
    async with System(part, other, on_event=[events.append]) as system:
        for _ in range(3):
            system.ref(part).tell(Crash())
            await wait_all_tasks_blocked()
            assert await system.ref(other).ask(Life()) == 1
            await system.ref(part).ask(Life())
    delays = [e.delay for e in events if isinstance(e, BackingOff)]
    assert len(set(delays)) == 3
    assert all(0 <= d <= 0.1 * 2**n for n, d in enumerate(delays))
