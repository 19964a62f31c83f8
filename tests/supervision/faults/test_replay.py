"""Tokens: a failure travels as one word."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from broken import CRASH, TREE, Add, broken, children, crashes
from hypothesis import given

from actors.testing import OneAtATime
from supervision.testing import (
    Fault,
    Scenario,
    TellAt,
    Tree,
    WrongToken,
    WrongTree,
    replay,
    run_scenario,
    scenarios,
    token,
)
from supervision.testing.tokens import read_token

STORY = Scenario([TellAt(1, "app/pair/left", Add(3))], [CRASH], OneAtATime(5), seed=9)


@given(scenarios(TREE))
def test_a_token_holds_all_of_a_scenario(scenario: Scenario) -> None:
    assert read_token(token(scenario, TREE), TREE) == scenario


def test_a_replay_does_the_same_again() -> None:
    word = token(STORY, TREE)
    assert replay(word, TREE).trace.digest() == run_scenario(STORY, TREE).trace.digest()
    error = broken(STORY)
    with pytest.raises(AssertionError, match="never-fails") as caught:
        replay(word, TREE, oracle=crashes())
    assert str(caught.value) == str(error)


def test_another_tree_is_refused() -> None:
    other = Tree(children, messages=TREE.messages, strategy="rest_for_one")
    with pytest.raises(WrongTree, match="made for a tree of shape"):
        replay(token(STORY, TREE), other)
    with pytest.raises(WrongTree, match="no 'app/nobody' in the tree"):
        token(Scenario(faults=[Fault("app/nobody", "start", 1, "crash")]), TREE)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda word: "", "no token of a scenario"),
        (lambda word: "hello", "no token of a scenario"),
        (lambda word: word[2:], "no token of a scenario"),
        (lambda word: f"2.{word[2:]}", "has version 2, and this package reads .* 1"),
        (lambda word: word[:-9], "cannot be read .* a part of it is missing"),
        (lambda word: f"{word[:30]}x{word[30:]}", "cannot be read"),
        (lambda word: "1.eJwDAAAAAAE", "cannot be read"),
    ],
)
def test_what_is_no_token_is_refused(spoil: Callable[[str], str], why: str) -> None:
    with pytest.raises(WrongToken, match=why):
        replay(spoil(token(STORY, TREE)), TREE)


# -- the plugin ------------------------------------------------------------------------

TEST_FILE = """
import sys; sys.path.insert(0, {folder!r})
from hypothesis import given, settings
from supervision.testing import Tree, run_scenario, scenarios
from broken import TREE, crashes

@settings(database=None)
@given(scenarios(TREE))
def test_never_fails(scenario):
    print("played", scenario.seed)
    run_scenario(scenario, TREE, oracle=crashes())

def test_of_something_else():
    pass
"""


def run_pytest(
    folder: Path, *options: str, name: str | None = None, text: str = ""
) -> str:
    test = folder / "test_it.py"
    test.write_text(text or TEST_FILE.format(folder=str(Path(__file__).parents[1])))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "actor_tree_pytest"]
    command += ["-p", "no:cacheprovider", f"--rootdir={folder}", *options]
    command.append(str(test) if name is None else f"{test}::{name}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.real
def test_pytest_runs_the_scenario_of_a_token_and_no_other(tmp_path: Path) -> None:
    replayed = ["--fault-replay", token(STORY, TREE)]
    shown = run_pytest(tmp_path, *replayed, name="test_never_fails")
    assert "never-fails: app/pair/left #1 has failed" in shown
    assert {line for line in shown.splitlines() if line.startswith("played")} == {
        "played 9"
    }
    assert "1 failed" in shown


@pytest.mark.real
def test_a_replay_that_replays_nothing_does_not_pass(tmp_path: Path) -> None:
    replayed = ["--fault-replay", token(STORY, TREE)]
    shown = run_pytest(tmp_path, *replayed, name="test_of_something_else")
    assert "has not replayed anything" in shown
    shown = run_pytest(tmp_path, "--fault-replay", "hello")
    assert "WrongToken: 'hello' is no token" in shown


LIGHT = """
import sys

def test_what_is_imported():
    heavy = {"trio", "actors", "supervision", "hypothesis"} & set(sys.modules)
    assert "actor_tree_pytest" in sys.modules
    assert heavy == set()
"""


@pytest.mark.real
def test_the_plugin_imports_nothing_until_it_is_used(tmp_path: Path) -> None:
    others = ["-p", "no:hypothesispytest", "-p", "no:trio", "-p", "no:anyio"]
    assert "1 passed" in run_pytest(tmp_path, *others, text=LIGHT)


SOAK = """
from hypothesis import settings

def test_the_profile():
    assert settings().max_examples == {examples}
    assert settings().deadline is None
"""


@pytest.mark.real
def test_it_offers_a_profile_for_long_runs_and_respects_ones_own(
    tmp_path: Path,
) -> None:
    soak = "--hypothesis-profile=soak"
    shown = run_pytest(tmp_path, soak, text=SOAK.format(examples=10_000))
    assert "1 passed" in shown
    own = "settings.register_profile('soak', max_examples=7, deadline=None)"
    (tmp_path / "conftest.py").write_text(f"from hypothesis import settings\n{own}\n")
    shown = run_pytest(tmp_path, soak, text=SOAK.format(examples=7))
    assert "1 passed" in shown
