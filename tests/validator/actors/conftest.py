"""Shared by the tests of the validator's actors."""

from __future__ import annotations

import pytest

from actors.events import Event


@pytest.fixture
def events() -> list[Event]:
    """A list to pass as ``on_event=[events.append]``."""
    return []
