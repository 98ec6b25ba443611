"""Which addresses count as one client where something is shared out by address."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network


def client_network(address: str) -> str:
    """An IPv6 client has a whole /64 of addresses to choose from: it counts as one."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)
