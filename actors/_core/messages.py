"""Messages: frozen values that name their receiver and, when asked, their reply."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import (
    Any,
    ClassVar,
    ForwardRef,
    Generic,
    Literal,
    Self,
    TypeVar,
    get_args,
    overload,
)

P_contra = TypeVar("P_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")


def _check_receiver(message: type) -> None:
    for base in getattr(message, "__orig_bases__", ()):
        for protocol in get_args(base)[:1]:
            if isinstance(protocol, ForwardRef):  # found once it stands in its module
                module = sys.modules.get(message.__module__)
                name = protocol.__forward_arg__
                _refuse_empty_protocol(message, getattr(module, name, None))
            else:
                _refuse_empty_protocol(message, protocol)


def _refuse_empty_protocol(message: type, protocol: Any) -> None:
    if not getattr(protocol, "_is_protocol", False):
        return
    members: set[str] = set()
    bases: Sequence[type] = protocol.__mro__
    for base in bases:
        if getattr(base, "_is_protocol", False):
            members.update(vars(base), inspect.get_annotations(base))
    if all(name.startswith("_") for name in members):
        raise TypeError(
            f"{where(message)}: {protocol} is an empty Protocol, which every class "
            "matches, so any actor would seem to accept the message; use a plain class"
        )


def where(what: type | Callable[..., object]) -> str:
    """Name a class or function and where it stands, for an error."""
    code = getattr(what, "__code__", None)
    if code is not None:
        return f"{what.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
    try:
        line = inspect.getsourcelines(what)[1]
    except (OSError, TypeError):
        return f"{what.__module__}.{what.__qualname__}"
    return f"{what.__qualname__} ({inspect.getsourcefile(what)}:{line})"


class Deferred(Generic[R_co]):
    """What a handler returns to say: the answer comes later (see `Context.defer`)."""

    __slots__ = ("_call",)

    def __init__(self, call: object) -> None:
        self._call = call

    def answers(self, call: object) -> bool:
        """Whether it is the answer to this ask."""
        return self._call is call


class Message(Generic[P_contra]):
    """What actors of protocol ``P`` accept.

    Subclass `Tell` or `Ask`, with ``@attrs.frozen``. ``P`` is a nominal class: an
    actor, or a plain class that actors inherit from.

    Options are set in the class body without an annotation: ``volatile = True``.
    """

    __slots__ = ()
    system: ClassVar[bool] = False
    """True: read before all user messages, and never refused for want of room."""
    volatile: ClassVar[bool] = False
    """True: meant for the incarnation it was sent to. If that ends first, the message
    is not handled by the next: an ask ends in `ActorGone`, a tell is a dead letter."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for option in ("system", "volatile", "abandon"):
            note = str(inspect.get_annotations(cls).get(option, "ClassVar"))
            if "ClassVar" not in note:
                raise TypeError(
                    f"{where(cls)}: {option} is an option of the class, but an "
                    f"annotation makes it a field; write `{option} = ...` without one"
                )
        if getattr(cls, "abandon", "finish") not in ("finish", "cancel"):
            raise TypeError(f"{where(cls)}: abandon must be 'finish' or 'cancel'")
        _check_receiver(cls)


class Posted:
    """On the system lane: what becomes a message only when it is read."""

    __slots__ = ()

    def look(self, life: object) -> Message[Any] | None:
        """The message for this incarnation; None: it is not wanted any more."""
        raise NotImplementedError

    def take(self, life: object) -> Message[Any] | None:
        """The same, as it is read now: there will be no second time."""
        return self.look(life)


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
        """Decorator: the method handles this message and its subclasses.

        Raises:
            TypeError: the message class is not frozen, or the method is no handler
                of it.
        """
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
        """Decorator: the method answers this message and its subclasses.

        Raises:
            TypeError: the message class is not frozen, or the method is no handler
                of it.
        """
        return _mark(cls, fn)


def _mark(
    message: type[Message[Any]], fn: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], Any]:
    check_frozen(message)
    _check_receiver(message)
    parameters = [*inspect.signature(fn).parameters.values()]
    wanted = f"def {fn.__name__}(self, m: {message.__name__}) -> ..."
    if len(parameters) != 2:
        raise TypeError(
            f"{where(fn)}: a handler takes its message and nothing else: {wanted}"
        )
    notes = (parameters[1].annotation, fn.__annotations__.get("return", _MISSING))
    if inspect.Parameter.empty in notes or _MISSING in notes:
        raise TypeError(
            f"{where(fn)}: the parameter and the reply of a handler are annotated, so "
            f"that type checkers see them: {wanted}"
        )
    # Registration happens when the class body is complete (Actor.__init_subclass__);
    # until then the function itself is the only place to note it.
    vars(fn)["__handles__"] = message
    return fn


_MISSING = object()


def handled_message(member: object) -> type[Message[Any]] | None:
    """The message class a decorated method handles."""
    return getattr(member, "__handles__", None)


def check_kind(path: str, message: object, *, asked: bool) -> None:
    """Refuse to ask what can be told, and to tell what can be asked.

    Raises:
        TypeError: naming the receiver, the message and the way to send it.
    """
    if isinstance(message, Ask if asked else Tell):
        return
    what = f"{path}: {message!r} cannot be {'asked' if asked else 'told'}"
    if isinstance(message, Tell):
        raise TypeError(f"{what}, as it has no answer; use tell or send")
    if isinstance(message, Ask):
        raise TypeError(f"{what}, as it is a question; use ask")
    raise TypeError(f"{what}: it is no message")


def check_frozen(message: type[Message[Any]]) -> None:
    """Refuse a message class whose instances can change after they were sent.

    Raises:
        TypeError: naming the class and where it stands.
    """
    parameters = getattr(message, "__dataclass_params__", None)
    frozen = message.__setattr__.__name__ == "_frozen_setattrs" or (
        parameters is not None and parameters.frozen
    )
    if not frozen:
        raise TypeError(
            f"{where(message)} is a message but not frozen, so sender and receiver "
            "could change it under each other; decorate it with @attrs.frozen"
        )
