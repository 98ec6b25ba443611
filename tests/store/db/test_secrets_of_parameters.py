"""Database errors are logged; statement parameters are not."""

from __future__ import annotations

import traceback

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError

from app.store.db.database import Database
from app.store.db.schema import secrets

SECRET = "words of a prompt"


def complaint(database: Database, name: str | None) -> str:
    """The error as it would be logged."""
    with pytest.raises((SQLAlchemyError, UnicodeEncodeError)) as raised:
        store_twice(database, name)
    return "".join(traceback.format_exception(raised.value))


def store_twice(database: Database, name: str | None) -> None:
    with database.write() as connection:
        for _ in range(2):
            connection.execute(insert(secrets).values(name=name, value=SECRET))


@pytest.mark.parametrize("name", [SECRET, SECRET + "\ud800", SECRET + "\0", SECRET * 50, None], ids=ascii)
def test_an_error_shows_neither_parameters_nor_rows(database: Database, name: str | None) -> None:
    logged = complaint(database, name)
    assert SECRET not in logged
    assert "Error" in logged
