from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from validator.adapters.fiber import wire


def test_a_nonce_is_the_time_and_ten_characters() -> None:
    nonce = wire.nonce(1_700_000_000_123_456_789, "abcDEF0189")

    assert nonce == "1700000000123456789_abcDEF0189"
    assert wire.nonce_time(nonce) == 1_700_000_000_123_456_789


@pytest.mark.parametrize("chars", ["short", "elevenchars", "abc_EF0189"])
def test_other_than_ten_alphanumeric_characters_make_no_nonce(chars: str) -> None:
    with pytest.raises(ValueError, match="ten alphanumeric"):
        wire.nonce(0, chars)


@pytest.mark.parametrize("nonce", ["", "_", "now_abc", f"{10**20 + 1}_a", "9" * 5000])
def test_a_nonce_without_a_plausible_time_is_refused(nonce: str) -> None:
    with pytest.raises(wire.WireError):
        wire.nonce_time(nonce)


def test_the_signed_text_is_nonce_miner_and_key_joined_by_colons() -> None:
    assert wire.signed_text("1_a", "5Miner", "ff00") == b"1_a:5Miner:ff00"


def test_a_signature_travels_as_0x_and_lower_case_hex() -> None:
    signature = bytes(range(64))

    text = wire.signature_text(signature)

    assert text.startswith("0x000102")
    assert len(text) == 130
    assert wire.parse_signature(text) == signature


def test_handshake_bodies_survive_the_journey() -> None:
    assert wire.parse_public_key(wire.public_key_body("PEM", 1.5)) == "PEM"
    assert len(wire.parse_exchange(wire.exchange_body(b"\0" * 256))) == 344


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_bare_nan_is_no_json_and_named(word: str) -> None:
    with pytest.raises(wire.NotFinite, match=word):
        wire.decode_json(b'{"predicted_values": %s}' % word.encode())


def test_json_may_be_nested_so_deep_and_no_deeper() -> None:
    deep = wire.MAX_DEPTH

    assert wire.decode_json(b"[" * deep + b"]" * deep)
    assert wire.decode_json(b'["[[[[", "\\"[["]') == ["[[[[", '"[[']
    with pytest.raises(wire.WireError, match="more than 32 deep"):
        wire.decode_json(b'{"a": ' * (deep + 1) + b"1" + b"}" * (deep + 1))


def test_a_date_is_read_as_unix_time() -> None:
    assert wire.parse_date("Tue, 14 Nov 2023 22:13:20 GMT") == 1_700_000_000


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    with suppress(wire.WireError):
        wire.parse_date(text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{} {}",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b"9" * 5000,
        b"{'a': 1}",
    ],
    ids=["nothing", "two texts", "UTF-16", "deep", "endless number", "single quotes"],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.decode_json(body)


@given(st.binary())
def test_any_bytes_are_either_read_or_refused(body: bytes) -> None:
    for parse in (wire.decode_json, wire.parse_public_key, wire.parse_exchange):
        try:
            parse(body)
        except wire.WireError:
            continue


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"public_key": 1}', b"null"])
def test_a_body_without_the_public_key_is_refused(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.parse_public_key(body)
