"""The lease: of several validators with one hotkey, only one sets weights."""

from __future__ import annotations

from contextlib import suppress

import attrs
import trio

from actors import Actor, ActorError, Ask, Rejected
from validator.actors.asking import DatabaseClient
from validator.actors.questions import ReleaseClaims
from validator.events import LeaseElsewhere, LeaseTaken, LeaseUncertain
from validator.ports import Lease, OpenLease, StoreUnavailable
from validator.settings import Settings


@attrs.frozen
class MaySetWeights(Ask["LeaseHolder", bool]):
    """Whether the lease is ours, as of now. False as well if it cannot be known."""

    abandon = "cancel"


class LeaseHolder(Actor):
    """Takes the lease as soon as nobody else has it, and tells when that changes.

    Whoever takes it resets what dead owners have left in work: nobody else is there.
    """

    def __init__(
        self, open_lease: OpenLease, *, database: DatabaseClient, settings: Settings
    ) -> None:
        self._open = open_lease
        self._database = database
        self._settings = settings
        self._lease: Lease | None = None
        """The connection it is held by; None: there is none."""
        self._ours: bool | None = None
        """What was told last."""
        self._reset_due = False

    async def run(self) -> None:
        while True:
            try:
                async with self._open() as self._lease:
                    await self._hold(self._lease)
            except (StoreUnavailable, TimeoutError) as error:
                self._ours = None
                self.ctx.emit(LeaseUncertain(self.ctx.me.path, str(error)))
            finally:
                self._lease = None
            await trio.sleep(self._settings.lease_interval)

    @MaySetWeights.handled
    async def may_set_weights(self, m: MaySetWeights) -> bool:
        if self._lease is None:
            return False
        try:
            return await self._look(self._lease)
        except (StoreUnavailable, TimeoutError):
            return False  # `run` will find out as well, and connect anew

    async def _hold(self, lease: Lease) -> None:
        while True:
            if await self._look(lease) and self._reset_due:
                await self._reset_hanging_rows()
            await trio.sleep(self._settings.lease_interval)

    async def _look(self, lease: Lease) -> bool:
        ours = await lease.take()
        if ours != self._ours:
            self._ours = self._reset_due = ours
            event = LeaseTaken if ours else LeaseElsewhere
            self.ctx.emit(event(self.ctx.me.path))
        return ours

    async def _reset_hanging_rows(self) -> None:
        limit = self._settings.database_timeout
        with suppress(ActorError, Rejected):  # then it is tried again at the next look
            await self._database.ask(ReleaseClaims(None), timeout=limit)
            self._reset_due = False
