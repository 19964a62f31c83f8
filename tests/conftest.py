"""What every test gets: virtual time, a word on which copy is tested, real data."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import trio
from trio.testing import MockClock

import actors
from actors.events import Event

CHECKOUT = Path(__file__).resolve().parent.parent


def copy_under_test() -> str:
    """``checkout`` or ``installed``: where the packages were imported from."""
    inside = Path(actors.__file__).resolve().is_relative_to(CHECKOUT)
    return "checkout" if inside else "installed"


def pytest_report_header() -> str:
    return f"actor-tree: testing the {copy_under_test()} copy"


def pytest_configure(config: pytest.Config) -> None:
    # How long an example takes says something of the machine alone.
    hypothesis.settings.register_profile("ci", deadline=None)
    hypothesis.settings.register_profile("soak", deadline=None, max_examples=5_000)
    hypothesis.settings.load_profile(config.getoption("--hypothesis-profile") or "ci")
    wanted = os.environ.get("ACTOR_TREE_COPY")
    if wanted is not None and wanted != copy_under_test():
        pytest.exit(f"these are to test the {wanted} copy, not {actors.__file__}", 3)


def _virtual_run(
    fn: Callable[..., Awaitable[Any]],
    *args: Any,
    clock: trio.abc.Clock | None = None,
    **kwargs: Any,
) -> Any:
    clock = clock or MockClock(autojump_threshold=0)
    return trio.run(fn, *args, clock=clock, **kwargs)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Async tests run in virtual time, unless they are marked as ``real``."""
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and inspect.iscoroutinefunction(item.obj)
            and item.get_closest_marker("real") is None
        ):
            item.add_marker(pytest.mark.trio(run=_virtual_run))


@pytest.fixture
def events() -> list[Event]:
    """A list to pass as ``on_event=[events.append]``."""
    return []


@pytest.fixture(scope="session")
def dst_data() -> Path:
    """The folder of real Dst files; skips where it is absent."""
    folder = CHECKOUT.parent / "shared" / "data" / "dst"
    if not folder.is_dir():
        pytest.skip(f"no real Dst files at {folder}")
    return folder


@pytest.fixture(scope="session")
def dsn() -> Generator[str]:
    """A PostgreSQL server of this session's own; tests choose schemas of their own."""
    # Here and not above: the tests of the runtime do without the validator's extra.
    from validator.adapters.embedded import (
        ClaimedDirectory,
        private_directory,
        serve,
    )

    started: Future[tuple[str, trio.lowlevel.TrioToken, trio.Event]] = Future()

    async def serve_until_stopped(directory: ClaimedDirectory) -> None:
        stopped = trio.Event()
        async with serve(directory) as dsn:
            started.set_result((dsn, trio.lowlevel.current_trio_token(), stopped))
            await stopped.wait()

    with private_directory() as directory, ThreadPoolExecutor(1) as thread:
        running: Future[Any] = thread.submit(trio.run, serve_until_stopped, directory)
        futures: list[Future[Any]] = [running, started]
        wait(futures, return_when=FIRST_COMPLETED)
        if running.done():
            running.result()
        dsn, token, stopped = started.result()
        yield dsn
        token.run_sync_soon(stopped.set)
        running.result()
