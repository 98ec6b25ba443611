"""Validation of addresses in settings: HOST, CORS_ORIGINS and TRUSTED_HOSTS are converted to the normal form that is
compared."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import idna

from app.config.kinds import expanded_path

UNIX = "unix:"
LONGEST_SOCKET_PATH = 100  # bytes; systems take 104 to 108
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def listening_host(text: str) -> str:
    """HOST: an IPv4 or IPv6 address (without brackets), a name, or `unix:` and an absolute path. Raises ValueError."""
    text = text.strip()
    if text.startswith(UNIX):
        return UNIX + str(_socket_path(text.removeprefix(UNIX)))
    if "://" in text:
        raise ValueError("use an address or a name without http://")
    if re.fullmatch(r"[^:]+:\d+|\[.*\]:\d+", text):
        raise ValueError("use an address or a name only; set the port with PORT")
    if text == "*":
        raise ValueError("use 0.0.0.0 for all IPv4 addresses, or :: for all addresses")
    return host_name(text)


def origins(text: str) -> str:
    """CORS_ORIGINS in the form of the `Origin` header. Raises ValueError."""
    return ",".join(dict.fromkeys(_origin(one) for one in _parts(text)))


def trusted_hosts(text: str) -> str:
    """TRUSTED_HOSTS without schemes and ports, which are not compared. Raises ValueError."""
    return ",".join(dict.fromkeys(_trusted_host(one) for one in _parts(text)))


def host_name(text: str) -> str:
    """An address or a name in normal form: lower case, punycode, no brackets. Raises ValueError."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address, _, zone = bare.partition("%")
    try:
        return str(ip_address(address)) + (f"%{zone}" if zone else "")
    except ValueError:
        name = _punycode(text.rstrip("."))
    if not _NAME.fullmatch(name) or name.rpartition(".")[2].isdigit():
        raise ValueError(f"{text[:80]!r} is neither a host name nor an address")
    return name


def _socket_path(text: str) -> Path:
    path = expanded_path(Path(re.sub(r"^//(?=/)", "", text)))
    if not text or len(str(path).encode()) > LONGEST_SOCKET_PATH:
        raise ValueError(f"use unix: and a path of at most {LONGEST_SOCKET_PATH} bytes")
    return path


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _origin(text: str) -> str:
    if text == "*":
        return text
    url = _split(text)
    if url.scheme not in _DEFAULT_PORTS or not url.hostname:
        raise ValueError(f"write {text[:80]!r} with its scheme, such as https://app.example")
    if url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
        raise ValueError(f"an origin has only scheme, host and port: {text[:80]!r} has more")
    if "*" in text:
        raise ValueError(f"list each origin, or allow all with a single *: {text[:80]!r} is a pattern")
    host, port = host_name(url.hostname), _port(url)
    shown = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS[url.scheme]) else f":{port}")


def _trusted_host(text: str) -> str:
    if text == "*":
        return text
    if text.startswith("*."):
        return "*." + host_name(text[2:])
    try:
        return host_name(text)  # an IPv6 address without brackets has colons too
    except ValueError:
        url = _split(text if "://" in text else f"//{text}")
    if not url.hostname or url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
        raise ValueError(f"use names such as img.example.org or *.example.org, not {text[:80]!r}")
    _port(url)
    return host_name(url.hostname)


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} cannot be parsed: {error}") from None


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        raise ValueError(f"{url.netloc[:80]!r} has an invalid port") from None


def _punycode(name: str) -> str:
    if name.isascii():
        return name.lower()
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except idna.IDNAError as error:
        raise ValueError(f"{name[:80]!r} is not a host name: {error}") from None
