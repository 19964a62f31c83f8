"""Everything that reads a miner's bytes: it reads them or refuses them, no more.

Hypothesis looks for counterexamples here; ``python tests/validator/adapters/fiber/
test_fuzz.py`` lets atheris do so where that is installed, until it is interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings, strategies as st
from trio.testing import MockClock

from actors.testing import Network, NetworkStream
from tests.validator.dialling import dialling
from validator.adapters.fiber import wire
from validator.adapters.fiber.crypto import (
    CryptoError,
    Hotkey,
    RsaKey,
    SymmetricKey,
    encrypt_for,
    signed_by,
)
from validator.adapters.fiber.session import Session
from validator.adapters.fiber.transport import connect
from validator.adapters.fiber.wire import Response
from validator.domain.answers import AnswerRefused
from validator.domain.metagraph import Miner
from validator.domain.soil import Region, SoilForecast
from validator.domain.tasks import geomagnetic, soil_moisture
from validator.ports import MinerError

PEM = RsaKey.generate().public_pem
VALIDATOR = Hotkey.from_seed(b"\x22" * 32)
MINER = Miner(0, Hotkey.from_seed(b"\x11" * 32).address, "8.8.8.8", 443)
REGION = Region(
    datetime(2025, 1, 7, tzinfo=UTC), 0, (0, 0, 1, 1), (0, 0, 1000, 1000), 32633
)
NONCE = "1700000000000000000_abcdefghij"


def _wire(data: bytes) -> None:
    for parse in (wire.decode_json, wire.parse_public_key, wire.parse_exchange):
        with suppress(wire.WireError):
            parse(data)
    text = data.decode("latin-1")
    for read in (wire.parse_date, wire.nonce_time, wire.parse_signature):
        with suppress(wire.WireError):
            read(text)


def _crypto(data: bytes) -> None:
    with suppress(CryptoError):
        encrypt_for(data.decode("utf-8", "replace"), b"\0" * 32)
    with suppress(CryptoError):
        SymmetricKey("uuid", b"\0" * 32).decrypt(data)
    assert not signed_by(data[:60].decode("latin-1"), b"text", data[:64])


def _session(data: bytes) -> None:
    status = 100 + int.from_bytes(data[:2], "big") % 500
    response = Response(status, data[2:])
    session = Session(VALIDATOR, MINER.hotkey)
    session.begin()
    key = SymmetricKey("uuid", b"\0" * 32)
    with suppress(MinerError):
        session.offer(response, key, NONCE)
    good = Response(200, wire.public_key_body(PEM, 0.0))
    session.offer(good, key, NONCE)
    with suppress(MinerError):
        session.agree(response)
    with suppress(MinerError):
        session.answer(response)


def _answers(data: bytes) -> None:
    try:
        decoded = wire.decode_json(data)
    except wire.WireError:
        return
    forecast = geomagnetic.parse_answer(decoded)
    assert isinstance(forecast, float | AnswerRefused)
    grid = soil_moisture.parse_answer(decoded, REGION, MINER.hotkey)
    assert isinstance(grid, SoilForecast | AnswerRefused)


READERS: Mapping[str, Callable[[bytes], None]] = {
    "wire": _wire,
    "crypto": _crypto,
    "session": _session,
    "answers": _answers,
}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.just(PEM),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["public_key", "predicted_values", "surface_sm", "x"]),
            inner,
        )
    ),
    max_leaves=12,
)
BODIES = (
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda body, at, byte: body[: at % (len(body) + 1)] + byte + body[at:],
        JSON.map(lambda value: json.dumps(value).encode()),
        st.integers(0, 100),
        st.binary(max_size=3),
    )
)


@pytest.mark.parametrize("reader", READERS)
@given(data=BODIES)
@example(data=b"\xff")
@example(data=b"-----BEGIN PUBLIC KEY-----\n\n-----END PUBLIC KEY-----")
@example(data=b"[" * 50_000)
@example(data=b'{"predicted_values": 1e999}')
@example(data=b'"\\ud800"')
def test_whatever_the_bytes_they_are_read_or_refused(reader: str, data: bytes) -> None:
    READERS[reader](data)


# -- on the wire ----------------------------------------------------------------------

_HEADERS = st.sampled_from(
    [
        b"Content-Length: 5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Content-Encoding: gzip",
        b"Connection: close",
        b"Date: Thu, 32 Foo 0000 99:99:99 GMT",
        b"Location: https://127.0.0.1/",
        b"Set-Cookie: a=b",
        b"\xff\xfe: \x00",
        b"no colon",
    ]
)
_HEADS = st.builds(
    lambda status, headers: b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", b""]),
    st.sampled_from([b"200 OK", b"204 No", b"100 Go on", b"307 There", b"999 ?", b""]),
    st.lists(_HEADERS, max_size=4),
)
_SAID = st.lists(
    _HEADS | st.binary(max_size=60) | st.just(b"5\r\nhello\r\n"), max_size=4
)


@settings(max_examples=60)
@given(said=_SAID, hangs=st.booleans())
def test_whatever_a_server_says_the_exchange_ends_as_the_miners_failure(
    said: list[bytes], *, hangs: bool
) -> None:
    async def speak(stream: NetworkStream) -> None:
        while await stream.receive_some():
            for piece in said:
                await stream.send_all(piece)
            if not hangs:
                return

    async def ask() -> None:
        async with Network() as network:
            network.listen(MINER.ip, MINER.port, speak)
            reach = connect(VALIDATOR, dial=dialling(network))
            async with reach(MINER) as connection:
                with trio.move_on_after(30):
                    with pytest.raises(MinerError):
                        await connection.handshake()
                assert not connection.has_key

    trio.run(ask, clock=MockClock(autojump_threshold=0))


def _with_atheris() -> None:
    import inspect
    import sys

    import atheris

    fuzzer: Any = atheris

    def everything(data: bytes) -> None:
        for read in READERS.values():
            read(data)

    for module in (wire, geomagnetic, soil_moisture):
        for function in vars(module).values():
            if inspect.isfunction(function):
                fuzzer.instrument_func(function)
    fuzzer.Setup(sys.argv, everything)
    fuzzer.Fuzz()


if __name__ == "__main__":
    _with_atheris()
