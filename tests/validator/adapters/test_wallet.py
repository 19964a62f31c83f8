"""Hotkeys out of the files of a wallet."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import bittensor_core
import pytest

from validator.adapters.fiber.crypto import signed_by
from validator.adapters.wallet import WalletError, hotkey_file, load_hotkey

SEED = "22" * 32
ADDRESS = "5Fpfx4iDtrrY99VGkQnLXASytC2y9Z3o8KUyTtD4w7o5SZcA"
PASSWORD = "the password"  # noqa: S105 - of a test

ENCRYPTED = (
    "JE5BQ0w9quNzmzOW+FhfuinYRsIwtPMA9qyRJ6xsKYaLQqbj2mxjp2vM6gjEk7K/GtWHHtYp7qWo"
    "7bHQJVB32FNVc5T9rbTXtq9dCxWo7h4A36gagd4ujYQPg66adb28gc/buvAlgq4Q2LmGIRGSOyiM"
    "n2gCb3+arPS44jVFcQ3a"
)  # as the tools do it: the password becomes a key in seconds


def not_asked() -> str:
    pytest.fail("a file in clear needs no password")


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = hotkey_file("my wallet", "default", wallets=tmp_path)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        return path

    return write


def test_a_file_in_clear_is_read_as_it_is(file: Callable[[bytes], Path]) -> None:
    hotkey = load_hotkey(
        file(json.dumps({"secretSeed": f"0x{SEED}"}).encode()), not_asked
    )
    assert hotkey.address == ADDRESS
    assert signed_by(ADDRESS, b"a text", hotkey.sign(b"a text"))


def test_what_the_tools_write_is_read(file: Callable[[bytes], Path]) -> None:
    keypair = bittensor_core.Keypair.create_from_seed(bytes.fromhex(SEED))
    data = bittensor_core.serialized_keypair_to_keyfile_data(keypair)
    assert load_hotkey(file(data), not_asked).address == ADDRESS


def test_an_encrypted_file_asks_for_its_password(file: Callable[[bytes], Path]) -> None:
    path = file(base64.b64decode(ENCRYPTED))
    assert load_hotkey(path, lambda: PASSWORD).address == ADDRESS
    with pytest.raises(WalletError, match="wrong password") as caught:
        load_hotkey(path, lambda: "another password")
    assert "another" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"nonsense",
        b"\xff\xfe",
        b'["secretSeed"]',
        b'{"secretSeed": 5}',
        b'{"secretSeed": "0x12"}',
        b'{"secretSeed": "hush hush"}',
        b'{"secretPhrase": "hush hush"}',
        json.dumps({"ss58Address": ADDRESS}).encode(),
        json.dumps({"secretSeed": SEED, "ss58Address": "5" + "D" * 47}).encode(),
        b"x" * 100_000,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_holds_no_key_is_refused_and_not_quoted(
    file: Callable[[bytes], Path], data: bytes
) -> None:
    path = file(data)
    with pytest.raises(WalletError, match=str(path)) as caught:
        load_hotkey(path, lambda: PASSWORD)
    for secret in "hush", SEED, PASSWORD:
        assert secret not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_of_another_kind_is_refused(file: Callable[[bytes], Path]) -> None:
    keypair = bittensor_core.Keypair.create_from_seed(
        bytes.fromhex(SEED), crypto_type=bittensor_core.CRYPTO_ED25519
    )
    data = bittensor_core.serialized_keypair_to_keyfile_data(keypair)
    with pytest.raises(WalletError, match="another kind than sr25519"):
        load_hotkey(file(data), not_asked)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path, why in (tmp_path / "none", "No such file"), (tmp_path, "Is a directory"):
        with pytest.raises(WalletError, match=f"{path}: {why}"):
            load_hotkey(path, not_asked)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_name_leads_out_of_no_folder(name: str) -> None:
    for names in (name, "default"), ("default", name):
        with pytest.raises(WalletError, match="no name of a wallet"):
            hotkey_file(*names)


def test_wallets_are_in_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    found = hotkey_file("w", "h")
    assert found == Path("/home/somebody/.bittensor/wallets/w/hotkeys/h")
