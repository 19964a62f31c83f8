"""Which ref belongs to which role, and which roles to which supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from actors._core.mailbox import Mailbox
from actors._core.refs import Ref

if TYPE_CHECKING:
    from actors._core.exits import Exit
    from actors._core.runtime import Runtime


class Registry:
    """The roles of one system. The key of a role is the object that declares it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Weak: a system that starts and stops children for months forgets them as
        # soon as nobody can ask for their ref any more.
        self._refs: WeakKeyDictionary[object, Ref[Any]] = WeakKeyDictionary()
        self._adopted: dict[Ref[Any], dict[object, Ref[Any]]] = {}

    def ref(self, role: object, name: str, capacity: int) -> Ref[Any]:
        """The one ref of the role, made on first use and closed at the end."""
        ref = self._refs.get(role)
        if ref is None:
            ref = self._refs[role] = Ref(Mailbox(name, capacity, self._runtime))
        return ref

    def adopt(self, parent: Ref[Any], role: object, ref: Ref[Any]) -> None:
        """Note that ``role`` belongs to ``parent``.

        Raises:
            ValueError: it belongs to somebody else already.
        """
        for other, roles in self._adopted.items():
            if role in roles and other is not parent:
                raise ValueError(f"{ref.path} is already a child of {other.path}")
        self._adopted.setdefault(parent, {})[role] = ref

    def below(self, parent: Ref[Any]) -> list[Ref[Any]]:
        """The roles that belong to ``parent``."""
        return list(self._adopted.get(parent, {}).values())

    def release(self, parent: Ref[Any]) -> dict[object, Ref[Any]]:
        """Take all roles from ``parent`` and return them."""
        return self._adopted.pop(parent, {})

    def dismiss(self, parent: Ref[Any], role: object) -> None:
        """Take one role from ``parent``."""
        self._adopted.get(parent, {}).pop(role, None)

    def close(self, ref: Ref[Any], exit_: Exit) -> None:
        """Close the ref, and those of all roles below it, for good."""
        ref._mailbox.close(exit_)
        for below in self.release(ref).values():
            self.close(below, exit_)

    def close_all(self, exit_: Exit) -> None:
        """Close every ref there is, also of roles that nobody ever adopted."""
        for ref in list(self._refs.values()):
            ref._mailbox.close(exit_)
        self._adopted.clear()
