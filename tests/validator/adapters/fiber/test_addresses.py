from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given, strategies as st

from validator.adapters.fiber.addresses import LOOPBACK, refusal


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("fd00::1", "private"),
        ("0.0.0.1", "private"),
        ("255.255.255.255", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("224.0.0.1", "multicast"),
        ("ff0e::1", "multicast"),
        ("100.64.0.1", "no public"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("64:ff9b::a9fe:a9fe", "link-local"),
        ("localhost", "no IP"),
        ("127.1", "no IP"),
        ("", "no IP"),
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str, word: str) -> None:
    assert word in (refusal(address) or "asked")


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888"])
def test_a_public_address_is_asked(address: str) -> None:
    assert refusal(address) is None


def test_what_is_allowed_is_asked_and_its_neighbour_is_not() -> None:
    assert refusal("127.0.0.1", LOOPBACK) is None
    assert refusal("10.0.0.1", LOOPBACK) is not None
    assert refusal("10.0.0.1", [ip_network("10.0.0.0/8")]) is None


@given(st.text() | st.ip_addresses().map(str))
def test_any_text_is_refused_or_not_and_never_an_error(address: str) -> None:
    refused = refusal(address)

    assert refused is None or "\n" not in refused
