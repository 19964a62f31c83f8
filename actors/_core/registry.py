"""Which ref belongs to which role, and which roles to which supervisor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from actors._core.mailbox import Mailbox, Overflow
from actors._core.refs import Ref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors._core.exits import Exit
    from actors._core.runtime import Runtime


class Registry:
    """The roles of one system. The key of a role is the object that declares it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Weak: a system that starts and stops children for months forgets them as
        # soon as nobody can ask for their ref any more.
        self._refs: WeakKeyDictionary[object, Ref[Any]] = WeakKeyDictionary()
        # Invariant: a role is in `_adopted` of its parent iff it is in `_parents`,
        # in `_paths`, and in each of its groups.
        self._adopted: dict[Ref[Any], dict[object, Ref[Any]]] = {}
        self._parents: dict[Ref[Any], Ref[Any]] = {}
        self._paths: dict[str, Ref[Any]] = {}
        self._groups: dict[str, dict[Ref[Any], None]] = {}
        self._tags: dict[Ref[Any], tuple[str, ...]] = {}

    def ref(
        self, role: object, name: str, capacity: int, overflow: Overflow = "wait"
    ) -> Ref[Any]:
        """The one ref of the role, made on first use and closed at the end."""
        ref = self._refs.get(role)
        if ref is None:
            mailbox = Mailbox(name, capacity, self._runtime, overflow)
            ref = self._refs[role] = Ref(mailbox)
        return ref

    def root(self, ref: Ref[Any]) -> None:
        """Note the role at the top."""
        self._paths[ref.path] = ref

    def adopt(
        self,
        parent: Ref[Any],
        role: object,
        ref: Ref[Any],
        path: str,
        groups: Iterable[str] = (),
    ) -> None:
        """Note that ``role`` belongs to ``parent``, under ``path``.

        Raises:
            ValueError: it belongs to somebody else already.
        """
        owner = self._parents.setdefault(ref, parent)
        if owner is not parent:
            raise ValueError(f"{ref.path} is already a child of {owner.path}")
        self._adopted.setdefault(parent, {})[role] = ref
        ref._mailbox.path = path
        self._paths[path] = ref
        if tags := tuple(dict.fromkeys(groups)):
            self._tags[ref] = tags
            for group in tags:
                self._groups.setdefault(group, {})[ref] = None

    def below(self, parent: Ref[Any]) -> list[Ref[Any]]:
        """The roles that belong to ``parent``."""
        return list(self._adopted.get(parent, {}).values())

    def release(self, parent: Ref[Any]) -> dict[object, Ref[Any]]:
        """Take all roles from ``parent`` and return them."""
        released = self._adopted.pop(parent, {})
        for ref in released.values():
            self._forget(ref)
        return released

    def dismiss(self, parent: Ref[Any], role: object) -> None:
        """Take one role from ``parent``."""
        ref = self._adopted.get(parent, {}).pop(role, None)
        if ref is not None:
            self._forget(ref)

    def _forget(self, ref: Ref[Any]) -> None:
        del self._parents[ref]
        del self._paths[ref.path]
        for group in self._tags.pop(ref, ()):
            members = self._groups[group]
            del members[ref]
            if not members:
                del self._groups[group]

    # -- looking up -------------------------------------------------------------------

    def find(self, path: str) -> Ref[Any]:
        """The role at a path.

        Raises:
            LookupError: there is none.
        """
        ref = self._paths.get(path)
        if ref is None:
            known = ", ".join(sorted(self._paths)[:10])
            raise LookupError(f"there is no actor at {path!r}; there are: {known}")
        return ref

    def members(self, group: str) -> tuple[Ref[Any], ...]:
        """The roles of a group, in the order in which they joined."""
        return tuple(self._groups.get(group, ()))

    # -- the end ----------------------------------------------------------------------

    def close(self, ref: Ref[Any], exit_: Exit) -> None:
        """Close the ref, and those of all roles below it, for good."""
        ref._mailbox.close(exit_)
        for below in self.release(ref).values():
            self.close(below, exit_)

    def close_all(self, exit_: Exit) -> None:
        """Close every ref there is, also of roles that nobody ever adopted."""
        for ref in list(self._refs.values()):
            ref._mailbox.close(exit_)
        self._paths.clear()
