"""A server with AUTH_MODE=keys and three people with keys to it."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.core.access import Role
from app.services.auth.api_keys import create_key
from app.services.context import AppContext


class Keyed:
    """`alice`, `bob` and `root` are clients that send their token; `nobody` sends none."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.context: AppContext = app.extensions["cyberimage"].context
        self.nobody = app.test_client(use_cookies=False)
        self.ids: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        self.alice = self.person("alice")
        self.bob = self.person("bob")
        self.root = self.person("root", Role.ADMIN)

    def person(self, name: str, role: Role = Role.USER, **limits: str) -> FlaskClient:
        key, token = create_key(self.context, name, role, **limits)
        self.ids[name], self.tokens[name] = key.identity.client_id, token
        return self.client(token)

    def client(self, token: str) -> FlaskClient:
        client = self.app.test_client(use_cookies=False)
        client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        return client


def submit(client: FlaskClient, prompt: str = "a red fox", **more: Any) -> str:
    answer = client.post("/api/generate", json={"prompt": prompt, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json["job_id"])


def ids(answer: TestResponse, listed: str, name: str) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one[name] for one in answer.json[listed]]
