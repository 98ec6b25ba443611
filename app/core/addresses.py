"""IP addresses: whether one is public, for connections that clients ask for, and which client one belongs to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Python's `is_global` follows the IANA registry, but its edition differs between versions.
_GLOBAL_UNICAST = ip_network("2000::/3")
_REFUSED = tuple(
    ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments; some clouds keep their metadata there
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's metadata service
        "3fff::/20",  # documentation
    )
)
_TRANSLATED = ip_network("64:ff9b::/96")  # NAT64: the last 32 bits are an IPv4 address


def is_public(address: str) -> bool:
    """True if `address` is a unicast address on the public internet, also when embedded in IPv6."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        inner = _inside(found)
        if inner is not None:
            return is_public(str(inner))
        if found not in _GLOBAL_UNICAST:
            return False
    return found.is_global and not found.is_multicast and not any(found in block for block in _REFUSED)


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address embedded in `address` (mapped, 6to4 or NAT64), if any."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def network_of_client(client_id: str) -> str:
    """`client_id`, with the network of the address in place of an address: what counts as one client in limits."""
    kind, _, text = client_id.partition(":")
    return f"{kind}:{client_network(text)}" if kind == "ip" else client_id


def client_network(address: str) -> str:
    """The address itself; of an IPv6 address its /64, since one client may use all of it."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)
