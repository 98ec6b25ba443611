"""The guarded client: no access to private addresses by name, notation, rebinding or redirect."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.providers.ssrf_guard import AddressRefused, guarded_client, url_problem
from tests.services.webhooks.receiver import Receiver, unused_url

Answers = list[list[str]]


class Names:
    """A fake DNS: each name's `answers` in turn, the last one repeatedly. Addresses are returned as they are."""

    def __init__(self) -> None:
        self.answers: dict[str, Answers] = {}
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, port: int, *args: object, **kwargs: object) -> list[tuple[object, ...]]:
        if host not in self.answers:
            numeric = {**kwargs, "flags": socket.AI_NUMERICHOST}
            return self._real(host, port, *args, **numeric)  # type: ignore[arg-type]
        self.asked.append(host)
        answers = self.answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    fake = Names()
    monkeypatch.setattr(socket, "getaddrinfo", fake)
    return fake


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that connections were opened to. Connections to public ones fail."""
    opened: list[str] = []
    real = socket.create_connection

    def connect(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
        opened.append(address[0])
        if not address[0].startswith("127."):
            raise ConnectionRefusedError("a test must not leave this machine")
        return real(address, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "create_connection", connect)
    return opened


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with guarded_client(allow_private=False, total_seconds=2) as one:
        yield one


@pytest.fixture
def open_client() -> Iterator[httpx.Client]:
    with guarded_client(allow_private=True, total_seconds=2) as one:
        yield one


# --- what is refused


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "10.0.0.5",
        "169.254.169.254",
        "0.0.0.0",
        "127。0。0。1",
    ],
)
def test_no_spelling_of_a_private_address_gets_through(
    client: httpx.Client, names: Names, connected: list[str], host: str
) -> None:
    url = f"http://{host}/latest/meta-data"
    with pytest.raises(AddressRefused):
        client.get(url)
    assert connected == []
    assert url_problem(url, allow_private=False) == "leads to a private address, which is not allowed"


def test_a_name_that_leads_to_a_private_address_is_refused(
    client: httpx.Client, names: Names, connected: list[str]
) -> None:
    names.answers["innocent.example"] = [["192.168.0.10"]]
    with pytest.raises(AddressRefused, match=r"innocent\.example"):
        client.get("http://innocent.example/")
    assert connected == []


@pytest.mark.parametrize("answer", [["93.184.215.14", "127.0.0.1"], ["127.0.0.1", "93.184.215.14"]])
def test_an_answer_that_mixes_public_and_private_is_refused_as_a_whole(
    client: httpx.Client, names: Names, connected: list[str], answer: list[str]
) -> None:
    names.answers["mixed.example"] = [answer]
    with pytest.raises(AddressRefused):
        client.get("http://mixed.example/")
    assert connected == []


def test_a_name_that_changes_its_mind_after_the_check_gains_nothing(
    client: httpx.Client, names: Names, connected: list[str], receiver: Receiver
) -> None:
    """DNS rebinding: public when checked, loopback if resolved again for the connection."""
    names.answers["rebind.example"] = [["93.184.215.14"], ["127.0.0.1"]]
    with pytest.raises(httpx.ConnectError):
        client.get(f"http://rebind.example:{receiver.server_port}/")
    assert names.asked == ["rebind.example"]
    assert connected == ["93.184.215.14"]
    assert receiver.calls == []


def test_a_redirect_to_a_private_address_is_refused(
    names: Names, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For callers that follow redirects: each hop is checked like the first request."""
    receiver.answers["/start"] = [302]  # to 127.0.0.1
    names.answers["public.example"] = [["93.184.215.14"]]
    real = socket.create_connection
    local = ("127.0.0.1", receiver.server_port)
    monkeypatch.setattr(socket, "create_connection", lambda address, *args, **kwargs: real(local, *args, **kwargs))
    with guarded_client(allow_private=False, total_seconds=2) as client:
        answer = client.get("http://public.example/start")
        assert answer.status_code == 302  # not followed unless asked
        with pytest.raises(AddressRefused):
            client.get("http://public.example/start", follow_redirects=True)
    assert receiver.paths() == ["/start", "/start"]


def test_proxies_of_the_environment_are_ignored(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect without the guard."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, unused_url())
    with guarded_client(allow_private=True, total_seconds=2) as client:
        assert client.get(receiver.url()).status_code == 200


# --- what is kept


def test_the_name_stays_in_the_host_header_and_the_next_address_is_tried(
    open_client: httpx.Client, names: Names, receiver: Receiver
) -> None:
    names.answers["hooks.example"] = [["127.0.0.9", "127.0.0.1"]]  # nothing listens at the first
    answer = open_client.get(f"http://hooks.example:{receiver.server_port}/x")
    assert answer.status_code == 200
    assert receiver.calls[0].headers["host"] == f"hooks.example:{receiver.server_port}"


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext, list[str | None]]]:
    """A TLS server for hooks.example. Returns its port, a context that trusts it, and the requested server names."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here to make a certificate")
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=hooks.example"
    subprocess.run(
        [openssl, *options.split(), "-addext", "subjectAltName=DNS:hooks.example", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    wanted: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _socket, name, _context: wanted.append(name)
    server = Receiver()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.server_port, ssl.create_default_context(cafile=str(certificate)), wanted
    server.shutdown()
    server.server_close()
    thread.join()


def test_tls_asks_for_the_name_and_checks_it(
    names: Names, tls_server: tuple[int, ssl.SSLContext, list[str | None]]
) -> None:
    port, trusting, wanted = tls_server
    names.answers |= {"hooks.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
    with guarded_client(allow_private=True, total_seconds=2, ssl_context=trusting) as client:
        assert client.get(f"https://hooks.example:{port}/").status_code == 200
        assert wanted == ["hooks.example"]
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            client.get(f"https://other.example:{port}/")
    with guarded_client(allow_private=True, total_seconds=2) as client, pytest.raises(httpx.ConnectError, match="CERT"):
        client.get(f"https://hooks.example:{port}/")  # an untrusted certificate


# --- time, and errors as users of httpx know them


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_the_whole_request_has_one_deadline(receiver: Receiver, path: str) -> None:
    started = time.monotonic()
    with guarded_client(allow_private=True, total_seconds=0.3) as client, pytest.raises(httpx.ReadTimeout):
        client.get(receiver.url(path))
    assert time.monotonic() - started < 10


def _hangs_up() -> str:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.close()
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (unused_url, httpx.ConnectError),
        (_hangs_up, httpx.RemoteProtocolError),
        (lambda: "http://no-such-name.invalid/", httpx.ConnectError),
        (lambda: f"http://{'a' * 64}.example/", httpx.ConnectError),
        (lambda: "ftp://127.0.0.1/", httpx.UnsupportedProtocol),
    ],
)
def test_errors_are_those_of_httpx(
    open_client: httpx.Client, names: Names, url: Callable[[], str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        open_client.get(url())


# --- URLs, before anything is asked


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "must begin"),
        ("hooks.example/x", "must begin"),
        ("ftp://hooks.example/", "must begin"),
        ("file:///etc/passwd", "must begin"),
        ("javascript:alert(1)", "must begin"),
        ("http://", "no valid host"),
        ("http:///x", "no valid host"),
        ("http://hooks example/", "no valid host"),
        ("http://[fe80::1%25eth0]/", "no valid host"),
        ("http://hooks.example:0/", "no valid port"),
        ("http://hooks.example:65536/", "no valid port"),
        ("http://hooks.example:x/", "not a URL"),
        ("http://hooks.example/\r\nHost: x", "not a URL"),
        ("http://0177.0.0.1/", "not a URL"),
        ("http://public.example@127.0.0.1/", "user name"),
        ("http://127.0.0.1\\@public.example/", "user name"),
        ("http://user:secret@public.example/", "user name"),
        ("http://localhost/", "private"),
        ("http://LOCALHOST./", "private"),
        ("http://a.localhost:8080/", "private"),
    ],
)
def test_urls_that_are_refused_at_once(names: Names, url: str, problem: str) -> None:
    assert problem in (url_problem(url, allow_private=False) or "fine")


@pytest.mark.parametrize(
    "url", ["http://hooks.example", "HTTPS://Hooks.Example:8443/a?b=c#d", "http://8.8.8.8/", "http://bücher.example/ü"]
)
def test_urls_that_may_be_tried(names: Names, url: str) -> None:
    assert url_problem(url, allow_private=False) is None
    assert names.asked == []


def test_with_private_addresses_allowed_only_the_form_counts() -> None:
    assert url_problem("http://localhost:9/x", allow_private=True) is None
    assert url_problem("http://me@localhost:9/x", allow_private=True) is not None
