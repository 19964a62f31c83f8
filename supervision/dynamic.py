"""Children that come and go while the program runs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from actors import Rejected
from supervision.plan import StopRequested
from supervision.role import Role
from supervision.specs import Backoff, Child, Intensity
from supervision.tree import Supervisor


class DynamicSupervisor(Supervisor):
    """A supervisor whose children are started by `StartChild`, each on its own.

    It begins with none, also after a restart. What has ended and is not restarted is
    forgotten; so is what was stopped. At the end all are stopped at once, in no order.

    Args:
        max_children: how many there may be, those that back off included; a further
            one is rejected. None: no limit.
        intensity: see `Supervisor`.
        backoff: see `Supervisor`.

    Raises:
        ValueError: ``max_children`` is less than 1, or the intensity could never be
            exceeded.
    """

    def __init__(
        self,
        *,
        max_children: int | None = None,
        intensity: Intensity | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(intensity=intensity, backoff=backoff)
        if max_children is not None and max_children < 1:
            raise ValueError(f"max_children must be at least 1, got {max_children!r}")
        self._max_children = max_children

    def _check_new(self, child: Child[Any]) -> None:
        super()._check_new(child)
        if self._max_children is not None and len(self._roles) >= self._max_children:
            raise Rejected(
                f"{self.ctx.me.path} has {len(self._roles)} children, and may have no "
                "more; stop one, or raise max_children"
            )

    def _is_down(self, role: Role) -> None:
        super()._is_down(role)
        if role.name in self._planner and not self._planner.wants(role.name):
            forget = StopRequested(role.name, forget=True)
            self._handle(forget)

    def _stop_all(self) -> Awaitable[None]:
        return self._roles.stop_at_once(final=self.final)
