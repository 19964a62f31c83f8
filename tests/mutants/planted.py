"""Twenty mistakes that somebody could make in the runtime or in supervision.

Each breaks one promise, and is to be noticed by a test within a minute. A change
names the code as it stands: when that code is written anew, so is the mistake.
"""

from __future__ import annotations

from tests.mutants.mutant import Change, Mutant

ASKS = ("tests/actors/test_outcome_table.py", "tests/actors/test_ask.py")
RESTARTS = ("tests/supervision/test_restarts.py", "tests/supervision/test_stuck.py")
PLANS = (
    "tests/supervision/test_decisions.py",
    "tests/supervision/test_planner.py",
    "tests/supervision/test_otp.py",
)
CLEANUPS = ("tests/actors/test_lifecycle.py", "tests/actors/test_cleanup.py")

INCARNATION = "actors/_core/incarnation.py"
MAILBOX = "actors/_core/mailbox.py"
PLANNER = "supervision/planner.py"
ROLE = "supervision/role.py"

SETTLED = """\
            self.settle(exit_)
        self.current = None
"""

PLANTED = [
    # -- asks ---------------------------------------------------------------------
    Mutant(
        "crash_ask_hangs",
        "an ask in hand when its actor fails is told so",
        (
            Change(
                INCARNATION, SETTLED, f"            if not exit_.failed:\n    {SETTLED}"
            ),
        ),
        ASKS,
    ),
    Mutant(
        "stop_ask_hangs",
        "an ask in hand when its actor is cancelled is told so",
        (Change(INCARNATION, SETTLED, f"            if exit_.failed:\n    {SETTLED}"),),
        ASKS,
    ),
    Mutant(
        "no_drain",
        "asks that wait when their actor ends for good are told so",
        (
            Change(
                MAILBOX,
                "        for item in items:\n            self._refuse(item)\n",
                "",
            ),
        ),
        ASKS,
    ),
    Mutant(
        "double_reply",
        "an ask ends once",
        (
            Change(
                "actors/_core/reply.py",
                '''gone meanwhile, that is reported."""
        task, self.task = self.task, None
''',
                '''gone meanwhile, that is reported."""
        task = self.task
''',
            ),
        ),
        ASKS,
    ),
    Mutant(
        "ask_no_timeout",
        "an ask ends in time",
        (
            Change(
                "actors/_core/refs.py",
                "    alarms.arm(call.deadline, call)\n",
                "",
            ),
        ),
        ASKS,
    ),
    # -- the mailbox --------------------------------------------------------------
    Mutant(
        "lost_wakeup",
        "who waits for a message is woken by it",
        (
            Change(
                "actors/_core/reader.py",
                "                box.parked = task\n",
                "                await trio.lowlevel.checkpoint()\n"
                "                box.parked = task\n",
            ),
        ),
        ("tests/actors/test_mailbox.py", *ASKS),
    ),
    Mutant(
        "mailbox_unbounded",
        "a mailbox holds no more than its capacity",
        (Change(MAILBOX, "return len(self.user) < self.room", "return True"),),
        ("tests/actors/test_mailbox.py",),
    ),
    Mutant(
        "redeliver_on_crash",
        "the message in hand at a crash is not handled again",
        (
            Change(
                INCARNATION,
                SETTLED,
                f"""\
            if exit_.failed and self.current is not None:
                box.user.appendleft((self.current, box.clock()))
            else:
    {SETTLED}""",
            ),
        ),
        (*RESTARTS, *ASKS),
    ),
    # -- restarts -----------------------------------------------------------------
    Mutant(
        "intensity_off_by_one",
        "restarts within the window are as many as allowed",
        (
            Change(
                "supervision/decisions.py",
                "return len(at) <= limit.restarts",
                "return len(at) <= limit.restarts + 1",
            ),
        ),
        PLANS,
    ),
    Mutant(
        "intensity_never_expires",
        "restarts leave the window in time",
        (
            Change(
                "supervision/decisions.py",
                """\
        while at[0] < now - limit.within:
            at.popleft()
""",
                "",
            ),
        ),
        PLANS,
    ),
    Mutant(
        "failed_start_not_counted",
        "a restart that fails counts",
        (
            Change(
                PLANNER,
                """\
            if member.if_start_fails == "again":
                self._failed(member, now)
""",
                """\
            if member.if_start_fails == "again":
                member.phase, self._attempt = "down", member.attempt
                self._plan()
""",
            ),
        ),
        PLANS,
    ),
    Mutant(
        "instant_death_is_failed_start",
        "who was up and ended at that instant has started",
        (
            Change(
                ROLE,
                "                exit_ = KILLED\n",
                "                exit_, self._born = KILLED, trio.current_time()\n",
            ),
            Change(
                ROLE,
                '        "_course",\n',
                '        "_born",\n        "_course",\n',
            ),
            Change(
                ROLE,
                """\
        if self.is_up:
            failed = exit_.kind""",
                """\
        if self.is_up and trio.current_time() > self._born:
            failed = exit_.kind""",
            ),
        ),
        RESTARTS,
    ),
    Mutant(
        "stale_exit_restarts",
        "the end of what is being stopped is no failure",
        (
            Change(
                PLANNER,
                """\
        if member.phase == "stopping":
            return  # ChildStopped follows
""",
                "",
            ),
        ),
        PLANS,
    ),
    Mutant(
        "retry_from_origin",
        "rest_for_one goes on from the child that did not start",
        (
            Change(
                PLANNER,
                "        name, attempt = member.child.name, member.attempt\n",
                """\
        name, attempt = member.child.name, member.attempt
        if member.phase != "starting" or not hasattr(self, "origin"):
            self.origin = name
        origin = self.origin if self.origin in self._members else name
""",
            ),
            Change(
                PLANNER,
                "        for other in self._group(name):\n",
                "        for other in self._group(origin):\n",
            ),
        ),
        PLANS,
    ),
    Mutant(
        "transient_not_revived",
        "its group brings back a transient child that had ended normally",
        (
            Change(
                PLANNER,
                """            member.goal = "gone"
        else:
            # Also""",
                """            member.goal = "gone"
        elif member.phase != "down" or member.child.restart != "transient":
            # Also""",
            ),
        ),
        PLANS,
    ),
    Mutant(
        "group_stop_order",
        "a group is stopped in the reverse order of its start",
        (Change(PLANNER, "get(self._stops.pop())", "get(self._stops.pop(0))"),),
        PLANS,
    ),
    # -- the end of an incarnation --------------------------------------------------
    Mutant(
        "done_before_cleanup",
        "the next incarnation begins when the last is cleaned up",
        (
            Change(
                INCARNATION,
                "done, errors, cut = await self._clean_up(exit_)  # noqa: ASYNC102",
                "self.home.start_soon(self._clean_up, exit_)",
            ),
        ),
        (*CLEANUPS, *RESTARTS),
    ),
    Mutant(
        "cleanup_unshielded",
        "a cleanup is not cut off by whoever cancels the host",
        (
            Change(
                "actors/_core/cleanup.py",
                "trio.CancelScope(shield=True, deadline=deadline)",
                "trio.CancelScope(deadline=deadline)",
            ),
        ),
        CLEANUPS,
    ),
    Mutant(
        "cleanup_no_deadline",
        "a cleanup that hangs is cut off when its budget is spent",
        (
            Change(
                "actors/_core/cleanup.py",
                "trio.CancelScope(shield=True, deadline=deadline)",
                "trio.CancelScope(shield=True)",
            ),
        ),
        CLEANUPS,
    ),
    Mutant(
        "stop_waits_backoff",
        "a stop does not wait for a restart that was put off",
        (
            Change(
                ROLE,
                """\
        if self._backoff is not None and self._backoff.pending:
            self._backoff.cancel()
            self._is_over()
""",
                "",
            ),
            Change(
                ROLE,
                "        child, free = self.child, self._free\n",
                """\
        if self._asked:
            self._is_over()
            return
        child, free = self.child, self._free
""",
            ),
            Change(
                ROLE,
                """\
    def _patience(self) -> float:
""",
                """\
    def _patience(self) -> float:
        if self._life is None:
            return math.inf
""",
            ),
        ),
        ("tests/supervision/test_starting.py", *RESTARTS),
    ),
]
