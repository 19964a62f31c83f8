from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, strategies as st

from validator.domain.payload import Payload


def joined(payload: Payload, nonce: str) -> object:
    return json.loads(b"".join(payload.with_nonce(nonce)))


def test_each_miner_gets_a_nonce_of_its_own_and_the_same_text() -> None:
    payload = Payload.of({"nonce": "of the task", "data": {"value": 1.5}})

    assert joined(payload, "7_a") == {"nonce": "7_a", "data": {"value": 1.5}}
    assert joined(payload, "8_b") == {"nonce": "8_b", "data": {"value": 1.5}}
    head, _ = payload.with_nonce("7_a")
    assert head.obj is payload.text, "not copied"


@given(
    question=st.dictionaries(
        st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False)
    ),
    nonce=st.text(),
)
def test_whatever_is_asked_the_nonce_stands_in_it(
    question: dict[str, object], nonce: str
) -> None:
    assert joined(Payload.of(question), nonce) == {**question, "nonce": nonce}


def test_what_json_has_no_word_for_is_not_asked() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Payload.of({"value": math.nan})
    with pytest.raises(ValueError, match="text of a JSON object"):
        Payload(b"[]")
