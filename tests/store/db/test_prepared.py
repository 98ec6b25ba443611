"""Prepared statements return and write what SQLAlchemy's do, within the same transaction."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, select, update

from app.store.db.prepared import Prepared
from app.store.db.schema import jobs, speeds

ROW = {"model_id": "m", "bucket": "load", "seconds": 1.5, "samples": 1}
_INSERT = Prepared(insert(speeds))
_ALL = Prepared(select(speeds).order_by(speeds.c.model_id))
_SLOWER = Prepared(
    update(speeds)
    .where(speeds.c.model_id == bindparam("which"))
    .values(samples=speeds.c.samples + 1)
    .returning(speeds.c.model_id, speeds.c.seconds, speeds.c.samples)
)


def test_rows_have_their_columns_as_attributes_and_in_order(database):
    with database.write() as connection:
        _INSERT.many(connection, [ROW, {**ROW, "model_id": "n", "seconds": 2.0}])
        found = _ALL.rows(connection, {})
        plain = connection.execute(select(speeds).order_by(speeds.c.model_id)).all()
    assert [(row.model_id, row.seconds) for row in found] == [("m", 1.5), ("n", 2.0)]
    assert [tuple(row) for row in found] == [tuple(row) for row in plain]


def test_names_of_columns_among_the_parameters_are_written(database):
    with database.write() as connection:
        _INSERT.many(connection, [ROW])
        assert tuple(_SLOWER.first(connection, {"which": "m", "seconds": 9.0})) == ("m", 9.0, 2)
        assert tuple(_SLOWER.first(connection, {"which": "m"})) == ("m", 9.0, 3)
        assert _SLOWER.first(connection, {"which": "none"}) is None


def test_an_error_rolls_back_what_came_before(database):
    def work():
        with database.write() as connection:
            _INSERT.many(connection, [ROW])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with database.read() as connection:
        assert _ALL.rows(connection, {}) == []


def test_a_list_of_values_cannot_be_prepared(database):
    several = Prepared(select(jobs.c.id).where(jobs.c.id.in_(bindparam("ids", expanding=True))))
    if not database.is_sqlite:
        pytest.skip("there SQLAlchemy runs it")
    with database.read() as connection, pytest.raises(ValueError, match="lists cannot be prepared"):
        several.rows(connection, {"ids": ["a"]})
