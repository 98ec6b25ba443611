"""The scheme that a trusted proxy reports is taken only when it is one."""

from __future__ import annotations

import pytest

from app import create_app


@pytest.mark.parametrize(
    ("reported", "taken"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http", "http"),
        ("https://evil/?", "http"),
        ("javascript", "http"),
        ("", "http"),
        ("https://evil/?, https", "https"),  # the last one is the proxy's own
    ],
)
def test_a_redirect_keeps_to_a_real_scheme(settings_in, tmp_path, reported: str, taken: str) -> None:
    app = create_app(settings_in(tmp_path, trusted_proxies=1))
    try:
        answer = app.test_client().get("/api//models", headers={"X-Forwarded-Proto": reported})
    finally:
        app.extensions["cyberimage"].close()
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"{taken}://localhost/api/models"
