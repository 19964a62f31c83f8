"""The Dst index: hourly values in nT, and the WDC exchange format they come in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NewType

Nanotesla = NewType("Nanotesla", int)
"""Dst as published: whole nT."""

ScaledDst = NewType("ScaledDst", float)
"""Dst as it travels to and from miners: nT / 100."""

DstSeries = Mapping[datetime, Nanotesla]
"""Start of the hour (UTC) -> mean over that hour; in order of time, gaps left out."""
