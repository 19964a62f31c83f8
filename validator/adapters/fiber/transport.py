"""Moves the bytes between a session and a miner's server, by httpx."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Callable,
    Collection,
)
from contextlib import asynccontextmanager
from typing import cast

import attrs
import httpx
import trio

from validator.adapters.fiber import addresses, wire
from validator.adapters.fiber.crypto import Hotkey, SymmetricKey
from validator.adapters.fiber.session import Session
from validator.adapters.fiber.streams import Dial, Pieces, Transport, Whole, dial_tls
from validator.adapters.fiber.wire import Request, Response
from validator.domain.answers import FailureKind
from validator.domain.metagraph import Miner
from validator.domain.payload import Payload
from validator.ports import Connect, MinerConnection, MinerError, Seen

HANDSHAKE_LIMIT = 16_000
"""Bytes of a response in a handshake that are read; a public key has some 500."""

MAX_PIECES = 1_000
"""Pieces that an answer may come in: each costs us far more than the miner."""

PIECES_AT_ONCE = 16
"""Pieces that are read without letting others run."""

ENCRYPTING = 2
"""Threads that encrypt large questions: more would keep the event loop waiting."""

HEADS_LIMIT = 64_000
"""Bytes before the body of a response: its headers, and responses that go before it."""


def connect(
    hotkey: Hotkey,
    *,
    allowed: Collection[addresses.Network] = (),
    time_ns: Callable[[], int] = time.time_ns,
    dial: Dial | None = None,
) -> Connect:
    """Return the port through which ``hotkey`` talks to miners.

    Each connection has a pool of its own, because one shared by hundreds of hosts is
    walked through at every request. No request is sent twice, since the miner would
    refuse its nonce the second time. One that a connection kept from before took with
    it to its grave is made anew, once.

    A miner cannot send us elsewhere, nor have anything remembered: there are no
    redirects, proxies, netrc or cookies where there is a transport and no client.

    Args:
        hotkey: signs the requests.
        allowed: networks that are not public and in which miners are asked all the
            same, such as ``addresses.LOOPBACK``.
        time_ns: Unix time in ns, for the nonces; miners refuse a clock 120 s off.
        dial: connects to an address, by TLS if there is none; for simulated networks.
    """
    if dial is None:
        dial = dial_tls(_trust_anybody())
    encrypting = trio.CapacityLimiter(ENCRYPTING)

    @asynccontextmanager
    async def connection(miner: Miner) -> AsyncGenerator[MinerConnection]:
        refusal = addresses.refusal(miner.ip, allowed)
        transport = Transport(dial)
        session = Session(hotkey, miner.hotkey)
        try:
            yield _Connection(transport, session, miner, refusal, time_ns, encrypting)
        finally:
            await transport.aclose()

    return connection


class _Stale(MinerError):
    """A connection that was kept has ended before there was a response."""


@attrs.define
class _Connection:
    """A session and what carries it."""

    _transport: Transport
    _session: Session
    _miner: Miner
    _refusal: str | None
    """Why nothing is sent there."""
    _time_ns: Callable[[], int]
    _encrypting: trio.CapacityLimiter
    seen: Seen = attrs.field(factory=Seen)
    # Whether the exchange before ended well, so that its connection may be used again.
    _kept: bool = False
    _urls: dict[str, httpx.URL] = attrs.field(factory=dict[str, httpx.URL])

    @property
    def has_key(self) -> bool:
        return self._session.has_key

    async def handshake(self) -> None:
        session = self._session
        hello = await self._exchange(session.begin, HANDSHAKE_LIMIT)

        def offer() -> Request:
            return session.offer(hello, SymmetricKey.generate(), self._nonce())

        session.agree(await self._exchange(offer, HANDSHAKE_LIMIT))

    async def ask(self, path: str, payload: Payload, *, limit: int) -> object:
        def question() -> Request:
            return self._session.question(
                path, payload, nonce=self._nonce(), payload_nonce=self._nonce()
            )

        return self._session.answer(await self._exchange(question, limit))

    def _nonce(self) -> str:
        return wire.nonce(self._time_ns(), secrets.token_hex(5))

    async def _exchange(self, make: Callable[[], Request], limit: int) -> Response:
        try:
            return await self._send(make(), limit)
        except _Stale:
            # A server may close a connection that it kept just when we write into it.
            # The second time it is a new one.
            return await self._send(make(), limit)

    async def _send(self, request: Request, limit: int) -> Response:
        if self._refusal is not None:
            raise MinerError("forbidden_address", self._refusal)
        kept, self._kept = self._kept, False
        self._transport.allowance.left = HEADS_LIMIT
        try:
            response = await self._transport.handle_async_request(self._http(request))
        except httpx.TransportError as error:
            kind, detail = _failure(error)
            stale = kept and kind == "unreachable"
            raise (_Stale if stale else MinerError)(kind, detail) from error
        try:
            self._look_at(response)
            # Twice: chunks have heads.
            self._transport.allowance.left = HEADS_LIMIT + 2 * limit
            body = await _read(response, limit)
        except httpx.TransportError as error:
            raise MinerError(*_failure(error)) from error
        finally:
            await response.aclose()
        self._kept = True
        return Response(response.status_code, body)

    def _http(self, request: Request) -> httpx.Request:
        miner, large = self._miner, request.large
        host = f"[{miner.ip}]" if ":" in miner.ip else miner.ip
        size = len(request.body) if large is None else large.size
        return httpx.Request(
            request.method,
            self._url(f"https://{host}:{miner.port}{request.path}"),
            headers={
                "host": f"{host}:{miner.port}",
                "accept-encoding": "identity",  # so that no bomb is unpacked
                **request.headers,
                **({"content-length": str(size)} if size else {}),
            },
            stream=Whole(request.body)
            if large is None
            else Pieces(large, self._encrypting),
        )

    def _url(self, text: str) -> httpx.URL:
        if text not in self._urls:  # few, and parsing one takes 50 us
            self._urls[text] = httpx.URL(text)
        return self._urls[text]

    def _look_at(self, response: httpx.Response) -> None:
        """Remember what the response shows of its server; it cannot go wrong."""
        shown = self._transport.certificate
        if shown != self.seen.certificate:
            self.seen = attrs.evolve(self.seen, certificate=shown)
        try:
            theirs = wire.parse_date(response.headers.get("date", ""))
        except wire.WireError:
            return
        offset = theirs - self._time_ns() / 1e9
        self.seen = attrs.evolve(self.seen, clock_offset=offset)


async def _read(response: httpx.Response, limit: int) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise MinerError("malformed", "the answer is compressed, unasked")
    body = bytearray()
    pieces = 0
    async for chunk in cast("AsyncIterable[bytes]", response.stream):
        body += chunk
        pieces += 1
        if len(body) > limit:
            raise MinerError("malformed", f"an answer of more than {limit} bytes")
        if pieces > MAX_PIECES:
            raise MinerError("malformed", f"an answer in more than {MAX_PIECES} pieces")
        if pieces % PIECES_AT_ONCE == 0:
            # Thousands that have arrived at once must not keep everybody else waiting.
            await trio.lowlevel.checkpoint()
    return bytes(body)


def _failure(error: httpx.TransportError) -> tuple[FailureKind, str]:
    detail = f"{type(error).__name__} {ascii(str(error))[1:-1][:100]}".rstrip()
    if isinstance(error, httpx.ProtocolError):
        return "malformed", detail
    return "unreachable", detail


def _trust_anybody() -> ssl.SSLContext:
    """Make the context all connections share: one costs memory and time to make.

    Miners use self-signed certificates that nothing vouches for, so there is nothing
    to verify: who a miner is rests on the address in the metagraph. TLS hides the
    exchange from onlookers and proves nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
