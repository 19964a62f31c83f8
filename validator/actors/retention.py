"""What nobody needs any more leaves the database, so that the disk does not fill up."""

from __future__ import annotations

from actors import Actor, ActorError, Rejected
from validator.actors.asking import DatabaseClient
from validator.actors.questions import Prune
from validator.events import Pruned, PruningPostponed
from validator.ports import Calendar
from validator.settings import Settings


class Retention(Actor):
    """Deletes what is older than is kept: at its start, and then every hour.

    In small pieces, so that nobody has to wait for it.
    """

    def __init__(
        self, *, database: DatabaseClient, calendar: Calendar, settings: Settings
    ) -> None:
        self._database = database
        self._calendar = calendar
        self._settings = settings

    async def run(self) -> None:
        while True:
            try:
                await self._prune()
            except (ActorError, Rejected) as error:
                self.ctx.emit(PruningPostponed(self.ctx.me.path, str(error)))
            when = self._calendar.now() + self._settings.prune_interval
            await self._calendar.sleep_until(when)

    async def _prune(self) -> None:
        before, rows = self._calendar.now() - self._settings.keep, 0
        question, limit = Prune(before), self._settings.database_timeout
        while pruned := await self._database.ask(question, timeout=limit):
            rows += pruned
        if rows:
            self.ctx.emit(Pruned(self.ctx.me.path, rows, before))
