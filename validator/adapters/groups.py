"""Errors out of a nursery that only an implementation detail opened."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast


@contextmanager
def ungrouped() -> Generator[None]:
    """Let an exception group of one leave the block as that one exception.

    Put it round a nursery the caller does not know of, so that the caller can
    catch by class. Groups of several leave unchanged.
    """
    alone: BaseException | None = None
    try:
        yield
    except BaseExceptionGroup as group:
        alone = _lone(group)
        if alone is group:
            raise
    # Raised out here, so that it keeps the cause and context it was raised with.
    if alone is not None:
        raise alone


def _lone(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _lone(group.exceptions[0]) if len(group.exceptions) == 1 else group
