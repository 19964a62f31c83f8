"""Which addresses a miner may be asked at.

The address comes out of the metagraph, where anybody can register any: without this a
miner could send us to the machines next door.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
"""To be allowed where miners are simulated on this machine."""

EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
"""For whoever names a single miner by hand."""


def refusal(address: str, allowed: Collection[Network] = ()) -> str | None:
    """Say why nobody is asked at ``address``; None: it is public, or allowed."""
    try:
        found = _embedded(ip_address(address))
    except ValueError:
        return f"{ascii(address)[:50]} is no IP address"
    if any(found in network for network in allowed):
        return None
    for word in ("loopback", "link_local", "multicast", "private"):
        if getattr(found, f"is_{word}"):
            return f"{address} is a {word.replace('_', '-')} address"
    return None if found.is_global else f"{address} is no public address"


def _embedded(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one leads to, or itself."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address.sixtofour or _translated(address)
    return address


_NAT64 = ip_network("64:ff9b::/96")


def _translated(address: IPv6Address) -> IPv4Address | IPv6Address:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address
