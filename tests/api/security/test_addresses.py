"""HOST, CORS_ORIGINS, TRUSTED_HOSTS and paths: every way to write one of them works, or is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from app import create_app
from app.config import ROOT, load_settings, read_settings
from app.errors import ConfigurationError


@pytest.mark.parametrize(
    ("written", "host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", "http://127.0.0.1:5050"),
        (" LocalHost ", "localhost", "http://localhost:5050"),
        ("GPU.lan.", "gpu.lan", "http://gpu.lan:5050"),
        ("::1", "::1", "http://[::1]:5050"),
        ("[::1]", "::1", "http://[::1]:5050"),
        ("[0:0:0:0:0:0:0:0]", "::", "http://[::]:5050"),
        ("bücher.example", "xn--bcher-kva.example", "http://xn--bcher-kva.example:5050"),
        ("unix:/run/cyberimage/api.sock", "unix:/run/cyberimage/api.sock", "unix:/run/cyberimage/api.sock"),
        ("unix:///run/x.sock", "unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:db/x.sock", f"unix:{ROOT}/db/x.sock", f"unix:{ROOT}/db/x.sock"),
    ],
)
def test_host(written: str, host: str, shown: str) -> None:
    settings = load_settings({"HOST": written}, None)
    assert (settings.host, settings.listens_on) == (host, shown)


@pytest.mark.parametrize(
    "written",
    [
        "http://127.0.0.1",
        "127.0.0.1:5050",
        "[::1]:5050",
        "*",
        "a b",
        "[::1",
        "300.1.1.1",
        "unix:",
        "unix:/" + "a" * 200,
    ],
)
def test_a_host_that_cannot_work(written: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST: "):
        load_settings({"HOST": written}, None)


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://app.example/", "https://app.example"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://app.example:80/", "http://app.example"),
        ("http://app.example:8080", "http://app.example:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://LOCALHOST:3000", "http://localhost:3000"),
    ],
)
def test_an_origin_is_found_again_however_it_is_written(settings_in, tmp_path: Path, written: str, origin: str) -> None:
    app = create_app(settings_in(tmp_path, cors_origins=f"https://other.example,{written}"))
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = app.test_client().options("/api/generate", headers=asked)
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    sent = app.test_client().post("/api/generate", json={"prompt": "x"}, headers={"Origin": origin})
    assert sent.status_code == 202
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize(
    "written",
    ["app.example", "ftp://a.example", "https://a.example/app", "https://*.example", "https://", "null", "https://a:x"],
)
def test_an_origin_that_no_browser_sends(written: str) -> None:
    with pytest.raises(ConfigurationError, match="CORS_ORIGINS: "):
        load_settings({"CORS_ORIGINS": written}, None)


@pytest.mark.parametrize(
    ("written", "header"),
    [
        ("https://img.example", "img.example"),
        ("img2.example:443", "img2.example:443"),
        ("IMG.example./", "img.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[2001:db8::1]", "[2001:DB8::1]:5050"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ("*.Example", "a.example"),
        ("192.0.2.1", "192.0.2.1:5050"),
    ],
)
def test_a_trusted_host_is_found_again_however_it_is_written(settings_in, tmp_path: Path, written, header) -> None:
    app = create_app(settings_in(tmp_path, trusted_hosts=f"other.example, {written}"))
    assert app.test_client().get("/livez", headers={"Host": header}).status_code == 200
    assert app.test_client().get("/livez", headers={"Host": "evil.test"}).status_code == 400
    app.extensions["cyberimage"].close()


@pytest.mark.parametrize(
    "written", ["https://a.example/app", "a*.example", "*.", "a b", "user@a.example", "a.example:x"]
)
def test_a_trusted_host_that_is_none(written: str) -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_HOSTS: "):
        load_settings({"TRUSTED_HOSTS": written}, None)


FOLDERS = [
    "IMAGES_DIR",
    "VIDEOS_DIR",
    "LOG_DIR",
    "MODEL_CACHE_DIR",
    "LORAS_DIR",
    "UPGRADE_BACKUP_DIR",
    "HF_HOME",
    "TORCH_HOME",
]


@pytest.mark.parametrize("name", FOLDERS)
def test_home_and_variables_in_paths(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("PLACE", "/srv/place")
    for written, path in (("~/x", "/home/me/x"), ("$PLACE/x", "/srv/place/x"), ("${PLACE}/x", "/srv/place/x")):
        settings = load_settings({name: written}, None)
        assert str(getattr(settings, name.lower())) == path
    for written in ("$NOWHERE_AT_ALL/x", "~nobody-of-this-name/x", "C:\new\\images"):
        with pytest.raises(ConfigurationError, match=f"{name}: "):
            load_settings({name: written}, None)


def test_home_in_the_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert load_settings({"DATABASE_URL": "sqlite:///~/x.db"}, None).database_url == "sqlite:////home/me/x.db"
    assert load_settings({"DATABASE_URL": "sqlite:////a/~/x.db"}, None).database_url == "sqlite:////a/~/x.db"


def test_what_the_file_says_and_is_read_as_something_else(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        'DEFAULT_MODEL_ID="C:\\new"\n'
        "MODEL_A=a;/a;the # one;local;false\n"
        "MODEL_B='b;/b;the # one;local;false'\n"
        'MODEL_C="c;/c;C;local;false;{\\"fixed_steps\\": 4}"\n'
        "PORT=5050 # usual\n"
        'LOG_LEVEL="INFO" # "quoted\\n"\n'
    )
    read = read_settings({}, file)
    told = {sentence.partition(" in ")[0]: sentence for sentence in read.warnings}
    assert set(told) == {"DEFAULT_MODEL_ID", "MODEL_A"}
    assert "\\n in double quotes" in told["DEFAULT_MODEL_ID"]
    assert "text after #" in told["MODEL_A"]
    assert read_settings({"DEFAULT_MODEL_ID": "demo", "MODEL_A": "x"}, file).warnings == ()  # the environment wins
