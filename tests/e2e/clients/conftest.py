"""Fixtures: the address of the shared service, and its OpenAPI document in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.service import Service


@pytest.fixture
def url(demo_service: Service) -> str:
    return str(demo_service.client.base_url).rstrip("/")


@pytest.fixture
def folder(demo_service: Service, tmp_path: Path) -> Path:
    """With `openapi.json`, as a user of a generator has it."""
    (tmp_path / "openapi.json").write_text(demo_service.client.get("/openapi.json").text)
    return tmp_path
