"""Both sides back to back: the protocol without a socket and without a clock."""

from __future__ import annotations

import itertools

import attrs
import pytest

from validator.adapters.fiber import server, wire
from validator.adapters.fiber.crypto import Hotkey, RsaKey, SymmetricKey
from validator.adapters.fiber.server import Asked, Server
from validator.adapters.fiber.session import Session
from validator.adapters.fiber.wire import Request, Response
from validator.domain.payload import Payload
from validator.ports import KeyUnknown, MinerError

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
PATH = "/geomagnetic-request"
MINER = Hotkey.from_seed(b"\x11" * 32).address
HOTKEY = Hotkey.from_seed(b"\x22" * 32)
POOR = Hotkey.from_seed(b"\x33" * 32)
STRANGER = Hotkey.from_seed(b"\x44" * 32)

_serial = itertools.count()


def fresh(time_ns: int = NOW) -> str:
    return wire.nonce(time_ns, f"{next(_serial):010}")


@pytest.fixture(scope="module")
def rsa() -> RsaKey:
    return RsaKey.generate()


@pytest.fixture
def miner(rsa: RsaKey) -> Server:
    return Server(rsa, {HOTKEY.address: 5000.0, POOR.address: 10.0}, frozenset({PATH}))


def answered(outcome: Response | Asked) -> Response:
    assert isinstance(outcome, Response)
    return outcome


def offered(
    miner: Server,
    session: Session,
    *,
    key: SymmetricKey | None = None,
    nonce: str | None = None,
) -> Request:
    hello = answered(miner.receive(session.begin(), NOW))
    return session.offer(hello, key or SymmetricKey.generate(), nonce or fresh())


def shaken(miner: Server, hotkey: Hotkey = HOTKEY) -> Session:
    session = Session(hotkey, MINER)
    session.agree(answered(miner.receive(offered(miner, session), NOW)))
    return session


def asked(session: Session, nonce: str | None = None) -> Request:
    return session.question(
        PATH, Payload.of({"data": 1}), nonce=nonce or fresh(), payload_nonce=fresh()
    )


def without(request: Request, header: str) -> Request:
    headers = {k: v for k, v in request.headers.items() if k != header}
    return attrs.evolve(request, headers=headers)


def changed(request: Request, header: str, value: str) -> Request:
    return attrs.evolve(request, headers={**request.headers, header: value})


def badly_signed(request: Request) -> Request:
    return changed(request, wire.SIGNATURE, "0x" + "00" * 64)


def status(outcome: Response | Asked) -> int:
    return outcome.status if isinstance(outcome, Response) else 200


def test_a_handshake_and_a_question_pass_and_the_miner_reads_the_question(
    miner: Server,
) -> None:
    session = shaken(miner)

    outcome = miner.receive(asked(session, nonce := fresh()), NOW)

    assert session.has_key
    assert isinstance(outcome, Asked)
    assert outcome.path == PATH
    assert outcome.payload["data"] == 1
    assert outcome.payload["nonce"] != nonce
    assert session.answer(Response(200, b'{"predicted_values": 1.5}')) == {
        "predicted_values": 1.5
    }


@pytest.mark.parametrize("hotkey", [STRANGER, POOR], ids=["unknown", "poor"])
def test_an_unknown_or_poor_validator_is_refused_before_its_signature_is_seen(
    miner: Server, hotkey: Hotkey
) -> None:
    session = Session(hotkey, MINER)
    offer = offered(miner, session)

    assert status(miner.receive(offer, NOW)) == 403
    assert status(miner.receive(badly_signed(offer), NOW)) == 403
    with pytest.raises(MinerError, match="HTTP 403"):
        session.agree(answered(miner.receive(offer, NOW)))


def test_an_unknown_validator_without_a_nonce_is_unknown_in_the_first_place(
    miner: Server,
) -> None:
    offer = offered(miner, Session(STRANGER, MINER))

    assert miner.receive(without(offer, wire.NONCE), NOW) == server.UNKNOWN_HOTKEY


@pytest.mark.parametrize("signature", ["0x" + "00" * 64, "0x00", "no hex", ""], ids=str)
def test_a_bad_signature_is_refused(miner: Server, signature: str) -> None:
    request = changed(asked(shaken(miner)), wire.SIGNATURE, signature)

    assert miner.receive(request, NOW) == server.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-121, 401), (-118, 200), (118, 200), (121, 401)]
)
def test_a_nonce_holds_for_two_minutes_either_way(
    miner: Server, seconds: int, expected: int
) -> None:
    request = asked(shaken(miner), fresh(NOW + seconds * SECOND))

    assert status(miner.receive(request, NOW)) == expected


def test_a_nonce_is_refused_the_second_time(miner: Server) -> None:
    request = asked(shaken(miner))

    assert status(miner.receive(request, NOW)) == 200
    assert miner.receive(request, NOW + 119 * SECOND) == server.BAD_NONCE


def test_a_nonce_is_burnt_by_a_bad_signature_too(miner: Server) -> None:
    request = asked(shaken(miner))

    assert miner.receive(badly_signed(request), NOW) == server.BAD_SIGNATURE
    assert miner.receive(request, NOW) == server.BAD_NONCE


def test_a_nonce_from_the_future_can_be_replayed_once_it_is_forgotten(
    miner: Server,
) -> None:
    request = asked(shaken(miner), fresh(NOW + 100 * SECOND))

    assert status(miner.receive(request, NOW)) == 200
    assert status(miner.receive(request, NOW + 121 * SECOND)) == 200


@pytest.mark.parametrize("header", wire.SIGNED_HEADERS)
def test_a_missing_header_is_named(miner: Server, header: str) -> None:
    response = miner.receive(without(asked(shaken(miner)), header), NOW)

    assert isinstance(response, Response)
    assert response.status == 422
    assert header.encode() in response.body


@pytest.mark.parametrize("hotkey", [HOTKEY, STRANGER], ids=["known", "unknown"])
def test_an_exchange_that_is_no_json_is_refused_before_anything_else(
    miner: Server, hotkey: Hotkey
) -> None:
    offer = attrs.evolve(offered(miner, Session(hotkey, MINER)), body=b"{")

    assert status(miner.receive(offer, NOW)) == 422


def test_an_exchange_of_the_wrong_shape_is_refused(miner: Server) -> None:
    session = Session(HOTKEY, MINER)
    as_text = changed(offered(miner, session), wire.CONTENT_TYPE, "text/plain")
    empty = attrs.evolve(offered(miner, session), body=b"{}")

    assert status(miner.receive(as_text, NOW)) == 422
    assert status(miner.receive(empty, NOW)) == 422


def test_a_key_the_miner_does_not_know_is_known_to_neither_side(miner: Server) -> None:
    session = shaken(miner)
    miner.forget_keys()

    response = answered(miner.receive(asked(session), NOW))

    assert response == server.KEY_UNKNOWN
    with pytest.raises(KeyUnknown, match="HTTP 400"):
        session.answer(response)
    assert not session.has_key
    with pytest.raises(KeyUnknown):
        asked(session)


def test_a_key_lives_five_hours(miner: Server) -> None:
    session = shaken(miner)
    minute = 60 * SECOND
    before, after = NOW + 299 * minute, NOW + 301 * minute

    assert status(miner.receive(asked(session, fresh(before)), before)) == 200
    assert miner.receive(asked(session, fresh(after)), after) == server.KEY_UNKNOWN


@pytest.mark.parametrize(
    "plain", [None, b"no JSON", b"[]"], ids=["no token", "no JSON", "no object"]
)
def test_a_question_that_cannot_be_read_fails_inside_the_miner(
    miner: Server, plain: bytes | None
) -> None:
    session = Session(HOTKEY, MINER)
    key = SymmetricKey.generate()
    session.agree(answered(miner.receive(offered(miner, session, key=key), NOW)))
    body = b"no token" if plain is None else key.encrypt(plain)

    response = miner.receive(attrs.evolve(asked(session), body=body), NOW)

    assert response == server.FAILED
    assert server.FAILED.body == b"Internal Server Error"


def test_an_exchanged_key_the_miner_cannot_decrypt_is_refused(miner: Server) -> None:
    offer = offered(Server(RsaKey.generate(), {}, frozenset()), Session(HOTKEY, MINER))

    assert miner.receive(offer, NOW) == server.UNDECRYPTABLE


@pytest.mark.parametrize("encoded", [b"A", "ä".encode()], ids=["cut", "not base64"])
def test_an_exchanged_key_that_is_no_base64_fails_inside_the_miner(
    miner: Server, encoded: bytes
) -> None:
    body = b'{"encrypted_symmetric_key": "' + encoded + b'"}'
    offer = attrs.evolve(offered(miner, Session(HOTKEY, MINER)), body=body)

    assert miner.receive(offer, NOW) == server.FAILED


def test_an_exchanged_key_of_16_bytes_fails_inside_the_miner(miner: Server) -> None:
    short = SymmetricKey.generate()
    object.__setattr__(short, "secret", b"\0" * 16)

    offer = offered(miner, Session(HOTKEY, MINER), key=short)

    assert miner.receive(offer, NOW) == server.FAILED


def test_a_request_signed_for_another_miner_is_taken_all_the_same(
    miner: Server,
) -> None:
    session = Session(HOTKEY, STRANGER.address)

    session.agree(answered(miner.receive(offered(miner, session), NOW)))

    assert status(miner.receive(asked(session), NOW)) == 200


def test_an_unknown_path_and_a_wrong_method_have_their_statuses(miner: Server) -> None:
    request = asked(shaken(miner))

    assert status(miner.receive(attrs.evolve(request, path="/none"), NOW)) == 404
    for path in (PATH, wire.EXCHANGE_PATH):
        wrong = attrs.evolve(request, path=path, method="GET")
        assert status(miner.receive(wrong, NOW)) == 405
    post = Request("POST", wire.PUBLIC_KEY_PATH)
    assert status(miner.receive(post, NOW)) == 405


def test_a_handshake_that_fails_leaves_the_key_of_the_one_before(
    miner: Server,
) -> None:
    session = shaken(miner)
    offered(miner, session)

    with pytest.raises(MinerError):
        session.agree(Response(503, b"down"))

    assert session.has_key
    assert status(miner.receive(asked(session), NOW)) == 200


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"public_key": "no PEM"}'], ids=ascii
)
def test_a_public_key_that_is_none_is_malformed(body: bytes) -> None:
    session = Session(HOTKEY, MINER)
    session.begin()

    with pytest.raises(MinerError) as caught:
        session.offer(Response(200, body), SymmetricKey.generate(), fresh())

    assert caught.value.kind == "malformed"


@pytest.mark.parametrize("code", [302, 401, 403, 404, 422, 500, 503])
def test_any_status_but_success_is_a_refusal_and_keeps_the_key(
    miner: Server, code: int
) -> None:
    session = shaken(miner)

    with pytest.raises(MinerError) as caught:
        session.answer(Response(code, b'{"predicted_values": 1.0}'))

    assert caught.value.kind == "refused"
    assert not isinstance(caught.value, KeyUnknown)
    assert session.has_key


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"predicted_values": NaN}', "not_finite"),
        (b'{"predicted_values": [-Infinity]}', "not_finite"),
        (b"nan", "malformed"),
        (b'{"predicted_values": 1', "malformed"),
    ],
    ids=ascii,
)
def test_what_is_no_json_is_an_answer_of_no_use(
    miner: Server, body: bytes, kind: str
) -> None:
    session = shaken(miner)

    with pytest.raises(MinerError) as caught:
        session.answer(Response(200, body))

    assert caught.value.kind == kind


@pytest.mark.parametrize("size", [0, 1, 47_000, 48_000, 48_001, 96_010, 150_001])
def test_a_question_of_any_size_is_read_by_the_miner(miner: Server, size: int) -> None:
    session = shaken(miner)
    payload = Payload.of({"data": "x" * size})
    request = session.question(PATH, payload, nonce=fresh(), payload_nonce=fresh())
    if request.large is not None:
        pieces = [*request.large.pieces()]
        assert max(map(len, pieces)) <= 65_000
        assert sum(map(len, pieces)) == request.large.size
        request = attrs.evolve(request, body=b"".join(pieces), large=None)

    outcome = miner.receive(request, NOW)

    assert isinstance(outcome, Asked)
    assert outcome.payload["data"] == "x" * size


def test_a_refusal_quotes_the_miner_briefly_and_without_control_characters(
    miner: Server,
) -> None:
    session = shaken(miner)

    with pytest.raises(MinerError) as caught:
        session.answer(Response(403, b"\x1b[2J\n" + b"x" * 10_000))

    assert "\x1b" not in caught.value.detail
    assert "\n" not in caught.value.detail
    assert len(caught.value.detail) < 200


def test_neither_session_nor_request_shows_the_key(miner: Server) -> None:
    session = Session(HOTKEY, MINER)
    key = SymmetricKey("name", b"the key that nobody must see....")
    offer = offered(miner, session, key=key)
    session.agree(answered(miner.receive(offer, NOW)))

    assert (
        "nobody must see" not in f"{session!r} {offer!r} {asked(session)!r} {miner!r}"
    )
