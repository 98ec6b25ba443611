"""`cyberimage keys`: the token is printed once and kept nowhere."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from standardwebhooks import Webhook

from app.cli.main import main
from app.config import ROOT
from app.errors import InvalidSignature
from app.services.auth.api_keys import ApiKeyAuthority
from app.services.context import open_context
from app.services.webhooks.signing import signing_secrets
from app.store.ops.api_keys import ApiKeyStore


@pytest.fixture
def command(settings_in_folder, monkeypatch, capsys):
    """Runs the command in this process; gives its exit status, output and errors."""
    monkeypatch.setattr("app.cli.installation.load_settings", lambda: settings_in_folder)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["keys", *arguments])
        return (status, *capsys.readouterr())

    return run


@pytest.fixture
def settings_in_folder(tmp_path):
    from app.config import load_settings

    places = {"database_url": f"sqlite:///{tmp_path}/db.sqlite", "images_dir": tmp_path / "images"}
    return load_settings({}, None, auth_mode="keys", **places)


def test_a_key_from_birth_to_end(command, settings_in_folder, tmp_path):
    status, out, err = command("create", "alice", "--limit", "5 per hour", "--limit-read", "")
    token = out.strip()
    assert status == 0
    assert re.fullmatch(r"ci_[A-Za-z0-9_-]{43}", token)
    assert "Key 1 for alice (user)" in err
    assert command("create", "root", "--admin")[0] == 0
    context = open_context(settings_in_folder)
    identity = ApiKeyAuthority(context).identify(token)
    assert (identity.client_id, identity.rate_limit_generate, identity.rate_limit_read) == ("key:1", "5 per hour", "")
    status, out, _ = command("list")
    heading, alice, root = out.splitlines()
    assert heading.split()[:3] == ["ID", "NAME", "ROLE"]
    assert "alice" in alice
    assert "generate: 5 per hour, read: none" in alice
    assert "admin" in root
    assert token not in out
    status, out, _ = command("revoke", "1")
    assert (status, "revoked" in out) == (0, True)
    assert ApiKeyStore(context.database).by_id(1) is None
    context.close()
    assert token.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("db.sqlite*"))


def test_no_two_tokens_are_the_same(command):
    assert len({command("create", f"k{number}")[1] for number in range(20)}) == 20


def test_mistakes(command):
    status, _, err = command("revoke", "7")
    assert (status, err.strip()) == (1, "There is no key 7.")
    for wrong in (["create", ""], ["create", "x" * 101], ["create", "a\nb"], ["create", "x", "--limit", "lots"], []):
        status, _, err = command(*wrong)
        assert status == 2, wrong
        assert "Usage: cyberimage keys" in err or "Make, list" in err
    assert "10 per minute" in command("create", "x", "--limit", "lots")[2]


def test_it_runs_as_a_program(tmp_path):
    environment = {
        "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite",
        "IMAGES_DIR": str(tmp_path / "images"),
        "PATH": "/",
    }
    program = [sys.executable, "-m", "app.cli", "keys", "create", "alice"]
    done = subprocess.run(program, cwd=Path(ROOT), env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ci_")
    assert "AUTH_MODE=keys" in done.stderr


def test_all_signed_urls_are_revoked(command, settings_in_folder):
    context = open_context(settings_in_folder)
    query = parse_qs(urlsplit(context.signed_urls.signing()("0" * 32).url).query)
    sent = ("file", "0" * 32, query["expires"][0], query["signature"][0])
    assert context.signed_urls.check(*sent) > 3000
    status, out, _ = command("revoke-urls")
    assert (status, "revoked" in out) == (0, True)
    with pytest.raises(InvalidSignature):
        context.signed_urls.check(*sent)
    context.close()


def test_the_secret_of_webhooks_is_the_one_that_signs_them(command, settings_in_folder):
    status, out, _ = command("webhook")
    assert (status, command("webhook")[1]) == (0, out)
    signed = Webhook(out.strip()).sign("1", datetime.now(UTC), "{}")
    context = open_context(settings_in_folder)
    assert signing_secrets(context) == [out.strip()]
    assert signed.startswith("v1,")
