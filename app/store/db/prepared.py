"""Statements that run for every job, compiled once.

Half of the processor's time of a job in SQLite was SQLAlchemy's: making a context, a cursor and a result for each
statement. Here the compiled text, the processors of its parameters and those of its columns are kept, and the driver
runs it within the same transaction. On PostgreSQL, where a round trip costs more than that, SQLAlchemy runs it as ever.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Executable
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

Parameters = Mapping[str, Any]
_Processor = Callable[[Any], Any] | None


class Prepared:
    """One statement without expanding parameters (`IN`). It is compiled again for other names of parameters, which of
    an INSERT or UPDATE name its columns."""

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def first(self, connection: Connection, parameters: Parameters) -> Any:
        """The first row, with its columns as attributes; None if there is none."""
        rows = self.rows(connection, parameters)
        return rows[0] if rows else None

    def rows(self, connection: Connection, parameters: Parameters) -> Sequence[Any]:
        """All rows that the statement returns."""
        if connection.dialect.name != "sqlite":
            return connection.execute(self._statement, parameters).all()
        compiled = self._for(connection.dialect, parameters)
        with _cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.values(parameters))
            return [compiled.row(row) for row in cursor.fetchall()]

    def many(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Run it for each of `rows`, which have the same names."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, rows)
            return
        compiled = self._for(connection.dialect, rows[0])
        with _cursor(connection, compiled.text) as cursor:
            cursor.executemany(compiled.text, [compiled.values(row) for row in rows])

    def _for(self, dialect: Dialect, parameters: Parameters) -> _Compiled:
        names = tuple(parameters)
        found = self._compiled.get(names)
        if found is None:
            found = self._compiled[names] = _Compiled(self._statement, dialect, names)
        return found


class _Compiled:
    def __init__(self, statement: Any, dialect: Dialect, names: Collection[str]) -> None:
        made = statement.compile(dialect=dialect, column_keys=list(names))
        if made.prefetch or made.post_compile_params:
            raise ValueError(f"a statement with defaults of Python or lists cannot be prepared: {made}")
        self.text = str(made)
        fixed = made.construct_params(_check=False)
        self._places: list[tuple[str, Any, _Processor]] = [
            (name, fixed.get(name), made._bind_processors.get(name)) for name in made.positiontup or ()
        ]
        columns = made._result_columns
        self._row = _row_class([column.keyname for column in columns])
        processors = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        self._processors = [(index, process) for index, process in enumerate(processors) if process is not None]

    def values(self, parameters: Parameters) -> list[Any]:
        found = []
        for name, fixed, process in self._places:
            value = parameters.get(name, fixed)
            found.append(value if process is None else process(value))
        return found

    def row(self, row: Sequence[Any]) -> Any:
        values = list(row)
        for index, process in self._processors:
            values[index] = process(values[index])
        return self._row(*values)


def _row_class(names: Sequence[str]) -> Any:
    return namedtuple("Row", names, rename=True)


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    """A cursor of the driver, whose errors are raised as SQLAlchemy's. An open one would keep the lock."""
    cursor = connection.connection.cursor()
    dialect = connection.dialect
    try:
        yield cursor
    except dialect.dbapi.Error as error:  # type: ignore[union-attr]
        base = dialect.dbapi.Error  # type: ignore[union-attr]
        raise DBAPIError.instance(text, None, error, base, hide_parameters=True, dialect=dialect) from error
    finally:
        cursor.close()
