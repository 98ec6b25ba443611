"""Which names the server answers to."""

from __future__ import annotations

import socket

import pytest

from app import create_app
from app.api.security.origins import TrustedHosts, host_name

EVERYWHERE = "0.0.0.0"


def trusts(settings_in, tmp_path, header, **settings) -> bool:
    return TrustedHosts(settings_in(tmp_path, **settings)).trusts(header)


@pytest.mark.parametrize(
    "header", ["localhost", "LOCALHOST:5050", "127.0.0.1:5050", "[::1]:5050", "[::1]", "localhost."]
)
def test_loopback_always(settings_in, tmp_path, header):
    for settings in ({}, {"host": EVERYWHERE}, {"host": "192.168.1.5"}, {"trusted_hosts": "img.example.org"}):
        assert trusts(settings_in, tmp_path, header, **settings)


NAMES = ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:5050", "192.0.2.1"]
NONSENSE = ["", " ", "a b", "[::1", "localhost:99999999", "localhost/x", "user@localhost", "localhost\x00"]
STRANGE = [*NAMES, *NONSENSE, "[2001:db8::1]:5050"]


@pytest.mark.parametrize("header", STRANGE)
def test_nothing_else_by_default(settings_in, tmp_path, header):
    assert not trusts(settings_in, tmp_path, header)


def test_the_address_or_name_it_is_bound_to(settings_in, tmp_path):
    assert trusts(settings_in, tmp_path, "192.168.1.5:5050", host="192.168.1.5")
    assert trusts(settings_in, tmp_path, "gpu.lan", host="GPU.lan")
    assert not trusts(settings_in, tmp_path, "192.168.1.6:5050", host="192.168.1.5")


@pytest.mark.parametrize("host", [EVERYWHERE, "::"])
def test_bound_to_all_addresses_it_answers_to_each_and_to_its_own_name(settings_in, tmp_path, host):
    """A page can have its own name point here. It cannot have an address do so, nor the name of a neighbour."""
    own = socket.gethostname().lower()
    for header in (
        "192.168.1.5:5050",
        "[2001:db8::1]:5050",
        "10.0.0.1",
        own,
        "cyberimage:5050",
        f"{own.partition('.')[0]}.local:5050",
    ):
        assert trusts(settings_in, tmp_path, header, host=host)
    for header in ("evil.example", "10.0.0.1.evil.example", "1.2.3", "local.evil.example", "", "[::1"):
        assert not trusts(settings_in, tmp_path, header, host=host)


def test_names_that_are_configured(settings_in, tmp_path):
    names = {"trusted_hosts": "img.example.org, *.lan"}
    for header in ("img.example.org", "IMG.example.org:443", "gpu.lan", "a.b.lan"):
        assert trusts(settings_in, tmp_path, header, **names)
    for header in ("lan", "example.org", "img.example.org.evil.example", "evillan", "x.img.example.org"):
        assert not trusts(settings_in, tmp_path, header, **names)
    assert trusts(settings_in, tmp_path, "whatever.example", trusted_hosts="*")
    assert not trusts(settings_in, tmp_path, "no name", trusted_hosts="*")


def test_host_name():
    assert host_name("Example.org:80") == "example.org"
    assert host_name("[::1]:80") == "::1"
    assert host_name("a:b") is None


def test_everything_is_refused_under_another_name(client, problem):
    for path in ("/", "/livez", "/api/models", "/static/js/main.js", "/nowhere", "/openapi.json"):
        body = problem(client.get(path, headers={"Host": "evil.example"}), 400, "untrusted_host")
        assert "TRUSTED_HOSTS" in body["detail"]
    assert client.get("/api/models", headers={"Host": "localhost:5050"}).status_code == 200


def test_even_a_good_token_is_not_looked_at(settings_in, tmp_path):
    app = create_app(settings_in(tmp_path, auth_mode="keys"))
    answer = app.test_client().get("/api/models", headers={"Host": "evil.example", "Authorization": "Bearer x"})
    assert answer.status_code == 400
    metrics = app.test_client().get("/metrics", headers={"Host": "evil.example"})
    assert metrics.status_code == 400
    app.extensions["cyberimage"].close()
