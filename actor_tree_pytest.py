"""The pytest plugin: a failure of the fault-injection kit, played once more.

A module of its own, and next to nothing in it: pytest imports its plugins before
anything else in every run. So this one imports trio, Hypothesis and the packages only
when one of its options is used.

``pytest NODEID --fault-replay TOKEN`` runs a test with the scenario of the token, and
no other, wherever it draws from ``scenarios(tree)``.

``--hypothesis-profile soak`` draws 10,000 examples, unless you have registered a
profile of that name yourself. (``ci`` is one of Hypothesis' own.)
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

SOAK = 10_000
"""Examples of a test in the profile ``soak``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the option."""
    parser.getgroup("faults", "fault injection (actor-tree)").addoption(
        "--fault-replay",
        metavar="TOKEN",
        help="run a test with the scenario of this token, from a failure's report, "
        "instead of those that scenarios(tree) would draw",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the profile that was asked for, before Hypothesis loads it."""
    if config.getoption("--hypothesis-profile", None) != "soak":
        return
    from hypothesis import settings  # noqa: PLC0415 - now it is used
    from hypothesis.errors import InvalidArgument  # noqa: PLC0415

    try:
        settings.get_profile("soak")
    except InvalidArgument:
        settings.register_profile("soak", deadline=None, max_examples=SOAK)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let the test draw what is to be replayed."""
    token = item.config.getoption("--fault-replay")
    if token is None:
        return (yield)
    from supervision.testing.tokens import instead  # noqa: PLC0415 - now it is used

    with instead(token) as replayed:
        result = yield
    if not replayed.drawn:
        pytest.fail(
            f"{item.nodeid} has not replayed anything: --fault-replay is for tests "
            "that draw from scenarios(tree) of supervision.testing",
            pytrace=False,
        )
    return result
