"""What SQL needs of us on every database: aware times, many rows as one parameter."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from typing import cast as cast_type

from sqlalchemy import (
    CTE,
    BigInteger,
    BindParameter,
    CursorResult,
    DateTime,
    Dialect,
    Executable,
    Insert,
    Integer,
    Row,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine

from core.slots import EPOCH


# We send no time as a literal, so nothing here writes one.
class UtcDateTime(TypeDecorator[datetime]):  # pylint: disable=abstract-method
    """Aware UTC times, also from SQLite, which keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times, which would mean whatever the server's zone is; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Functions of SQL have names as SQL has them.
# pylint: disable=invalid-name


class json_rows(GenericFunction[str]):
    """A table function: one row for each element of a JSON array, in the column `value`.

    Every database has it under a name of its own; infra/postgres.py and infra/sqlite.py know them.
    Many rows then travel as one parameter, and one statement serves all databases.
    """

    inherit_cache = True


class json_item(GenericFunction[str]):
    """The element at that place of a JSON array, as text or number; NULL for JSON's null."""

    inherit_cache = True


class epoch_minute(GenericFunction[int]):
    """A time as whole minutes since 1970. infra/postgres.py and infra/sqlite.py say it.

    Times cross the border as numbers where there are many of them: they are read far faster.
    """

    inherit_cache = True
    type = Integer()


class by_code_point(GenericFunction[str]):
    """A text that sorts by its characters' numbers, wherever the database was made.

    infra/postgres.py and infra/sqlite.py say it.
    """

    inherit_cache = True
    type = String()


class time_at(GenericFunction[datetime]):
    """The time so many microseconds after 1970 began, as the columns hold it.

    The way in for many times in one parameter: JSON has none.
    """

    inherit_cache = True
    type = UtcDateTime()


class turn(GenericFunction[int]):
    """Waits until no other transaction has the turn of this number, and has it to its end.

    What several rows' locks can't bring into one order is done one after the other. Where there is
    one writer at a time it has nothing to do.
    """

    inherit_cache = True
    type = Integer()


NOW: BindParameter[datetime] = bindparam("now", type_=UtcDateTime())


def incoming(fields: Mapping[str, TypeEngine[Any]], *wanted: str) -> CTE:
    """Return the rows of the parameter `rows`, a JSON array of arrays, with these columns.

    Only those `wanted`, if any are named: several statements can share one parameter.
    """
    value = func.json_rows(bindparam("rows", type_=String())).table_valued("value", name="element")
    # Their numbers are no parameters: pg8000 reads a statement letter by letter, each time.
    columns = [
        cast(func.json_item(value.c.value, literal_column(str(number))), kind).label(field)
        for number, (field, kind) in enumerate(fields.items())
        if not wanted or field in wanted
    ]
    return select(*columns).select_from(value).cte("incoming")


def given_ids() -> Select[int]:
    """Select the ids of the parameter `rows`, one a row: for a statement about these alone."""
    return select(incoming({"id": BigInteger()}).c.id)


def as_rows(rows: Iterable[Sequence[object]]) -> str:
    """Write the parameter that `incoming` reads; times are microseconds.

    Letters stay as they are: a database in SQL_ASCII doesn't know what \\u00fc would be.
    """
    return json.dumps(list(rows), ensure_ascii=False, default=microseconds)


def written(
    session: Session, statement: Executable, parameters: Mapping[str, object] | None = None
) -> int:
    """Execute, and return how many rows were inserted, changed or deleted."""
    done = session.execute(statement, parameters)
    return cast_type(CursorResult[Any], done).rowcount


def inserted(
    session: Session,
    statement: Insert,
    known: Select[*tuple[Any, ...]],
    parameters: Mapping[str, object],
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Insert, and return of each row that is new what `known` selects of those that may be there.

    SQLite has RETURNING since 3.35 only. It has one writer, too: what wasn't there before is ours.
    """
    if session.get_bind().dialect.insert_returning:
        returning = statement.returning(*known.selected_columns)
        return session.execute(returning, parameters).all()
    before = set(session.execute(known, parameters))
    session.execute(statement, parameters)
    return [row for row in session.execute(known, parameters) if row not in before]


def microseconds(moment: datetime) -> int:
    """Return a time as JSON carries it; `time_at` reads it."""
    return (moment - EPOCH) // timedelta(microseconds=1)
