"""Which IP addresses lie on the public internet, and so may be connected to because a stranger asked for it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Python's own `is_global` follows the IANA registry, but not the same edition in every version.
_GLOBAL_UNICAST = ip_network("2000::/3")
_REFUSED = tuple(
    ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments; some clouds keep their metadata there
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # answers only inside Azure, about the machine
        "3fff::/20",  # documentation
    )
)
_TRANSLATED = ip_network("64:ff9b::/96")  # NAT64: the last 32 bits are an IPv4 address


def is_public(address: str) -> bool:
    """Whether `address` is of one machine on the public internet, whatever form it hides in."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        inner = _inside(found)
        if inner is not None:
            return is_public(str(inner))
        if found not in _GLOBAL_UNICAST:
            return False
    return found.is_global and not found.is_multicast and not any(found in block for block in _REFUSED)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to `address` end up at, if it is one of the forms that carry one."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None
