"""Messages: frozen values that name their receiver and, when asked, their reply."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, overload

P_contra = TypeVar("P_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


class Deferred(Generic[R_co]):
    """What a handler returns to say: the answer comes later (see `Context.defer`)."""

    __slots__ = ()


class Message(Generic[P_contra]):
    """What actors of protocol ``P`` accept.

    Subclass `Tell` or `Ask`, with ``@attrs.frozen``. ``P`` is a nominal class: an
    actor, or a plain class that actors inherit from.
    """

    __slots__ = ()
    system: ClassVar[bool] = False
    """True: read before all user messages, and never refused for want of room."""


class Tell(Message[P_contra]):
    """A one-way message: ``ref.tell(m)`` or ``await ref.send(m)``."""

    __slots__ = ()

    @overload
    @classmethod
    def handled(
        cls, fn: Callable[[S, Self], Coroutine[Any, Any, None]], /
    ) -> Callable[[S, Self], Coroutine[Any, Any, None]]: ...
    @overload
    @classmethod
    def handled(cls, fn: Callable[[S, Self], None], /) -> Callable[[S, Self], None]: ...
    @classmethod
    def handled(cls, fn: Callable[[Any, Any], Any], /) -> Callable[[Any, Any], Any]:
        """Decorator: the method handles this message and its subclasses."""
        return _mark(cls, fn)


class Ask(Message[P_contra], Generic[P_contra, R_co]):
    """A question that is answered with an ``R``: ``await ref.ask(m)``."""

    __slots__ = ()
    abandon: ClassVar[Literal["finish", "cancel"]] = "finish"
    """What happens to a handler under way when its asker is gone.

    ``finish``: it runs to its end. ``cancel``: it is cancelled, and with it every
    question it asked in turn; its actor lives on.
    """

    @overload
    @classmethod
    def handled(
        cls, fn: Callable[[S, Self], Coroutine[Any, Any, R_co]], /
    ) -> Callable[[S, Self], Coroutine[Any, Any, R_co]]: ...
    @overload
    @classmethod
    def handled(
        cls, fn: Callable[[S, Self], Deferred[R_co]], /
    ) -> Callable[[S, Self], Deferred[R_co]]: ...
    @overload
    @classmethod
    def handled(cls, fn: Callable[[S, Self], R_co], /) -> Callable[[S, Self], R_co]: ...
    @classmethod
    def handled(cls, fn: Callable[[Any, Any], Any], /) -> Callable[[Any, Any], Any]:
        """Decorator: the method answers this message and its subclasses."""
        return _mark(cls, fn)


def _mark(
    message: type[Message[Any]], fn: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], Any]:
    # Registration happens when the class body is complete (Actor.__init_subclass__);
    # until then the function itself is the only place to note it.
    vars(fn)["__handles__"] = message
    return fn


def handled_message(member: object) -> type[Message[Any]] | None:
    """The message class a decorated method handles."""
    return getattr(member, "__handles__", None)
