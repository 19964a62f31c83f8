"""``validator probe``: what it says of a miner, and with which code it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from served import MINER, SEED, VALIDATOR, serving

from validator.simulation.command import run

pytestmark = pytest.mark.real


@pytest.fixture
def wallets(tmp_path: Path) -> Path:
    file = tmp_path / "ours" / "hotkeys" / "default"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"secretSeed": f"0x{SEED}"}))
    return tmp_path


async def probe(port: int, *options: str) -> int:
    arguments = ["probe", f"https://127.0.0.1:{port}", "--hotkey", MINER, *options]
    return await trio.to_thread.run_sync(lambda: run(arguments, version="test"))


async def test_a_miner_that_answers_is_told_step_by_step(
    wallets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = "--wallet", "ours", "--wallet-path", str(wallets), "--allow-private"
    async with serving() as port:
        code = await probe(port, *ours)

    said = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split()[0] for line in said if line[0] != " "] == [
        "key",
        "address",
        "handshake",
        "question",
        "answer",
    ]
    assert VALIDATOR in said[0]
    assert "nobody vouches for it" in said[3]
    assert " nT for " in said[-1]
    assert SEED not in "".join(said)


async def test_a_stranger_is_refused_and_told_why(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serving() as port:
        code = await probe(port, "--allow-private")

    said = capsys.readouterr().out
    assert code == 1
    assert "a stranger asks" in said
    assert "handshake  failed" in said
    assert "HTTP 403" in said
    assert "not registered on its subnet" in said


async def test_who_does_not_come_to_an_end_is_given_up(
    wallets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = "--wallet", "ours", "--wallet-path", str(wallets), "--allow-private"
    async with serving("hanging") as port:
        code = await probe(port, *ours, "--timeout", "0.3")

    said = capsys.readouterr().out
    assert code == 1
    assert "not over after 0.3 s" in said
    assert "timeout: it is there" in said


async def test_nobody_there_is_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with trio.socket.socket() as unused:
        await unused.bind(("127.0.0.1", 0))
        code = await probe(unused.getsockname()[1], "--allow-private")
    assert code == 1
    assert "unreachable: check address" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["https://127.0.0.1:1"], "127.0.0.1 is a loopback address; to ask there"),
        (["https://10.0.0.1:1"], "10.0.0.1 is a private address"),
        (["http://203.0.113.7:1"], "give it as https://HOST:PORT"),
        (["https://203.0.113.7"], "give it as https://HOST:PORT"),
        (["https://203.0.113.7:99999"], "give it as https://HOST:PORT"),
        (["https://[1:2"], "give it as https://HOST:PORT"),
        (["https://a.b:1/path"], "give it as https://HOST:PORT"),
        (["nonsense"], "give it as https://HOST:PORT"),
        (["https://no.such.host.invalid:1"], "no.such.host.invalid: "),
        (["https://127.0.0.1:1", "--hotkey", "5nonsense"], "no ss58 address"),
        (["https://127.0.0.1:1", "--timeout", "0"], "--timeout must be positive"),
        (["https://127.0.0.1:1", "--wallet", "none"], "none/hotkeys/default: No such"),
        (["https://127.0.0.1:1", "--wallet", "../x"], "no name of a wallet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_refused_on_one_line_and_nothing_sent(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["probe", *arguments, "--wallet-path", str(tmp_path)]
    if "--hotkey" not in given:
        given += ["--hotkey", MINER]

    assert run(given, version="test") == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("validator: ")
    assert says in line
