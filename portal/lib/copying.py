"""Rows into PostgreSQL by COPY, with ids taken from their sequence in one go. Model instances in, no signals, no loop
of queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection, models
from psycopg import Copy

Told = Callable[[int], None]
"""Hears how many more rows are written."""
CHUNK = 2000


@contextmanager
def copying(statement: str) -> Iterator[Copy]:
    """A COPY on Django's connection. Django does not translate what COPY raises; here it becomes an error of
    ``django.db``, as it is to whoever waits for one."""
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


def ids_take(model: type[models.Model], count: int) -> list[int]:
    """So many fresh ids of a table, ascending."""
    if not count:
        return []
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, count])
        return sorted(row[0] for row in cursor.fetchall())


def copy_models(rows: Sequence[models.Model], told: Told | None = None) -> int:
    """Writes instances of one model, all of its columns; those without an id get one. Returns how many."""
    if not rows:
        return 0
    model = type(rows[0])
    missing = [row for row in rows if row.pk is None]
    for row, identity in zip(missing, ids_take(model, len(missing)), strict=True):
        row.pk = identity
    columns = [field for field in model._meta.concrete_fields if field.column is not None]
    prepare = [(field.attname, field.get_db_prep_save) for field in columns]
    values = ([prep(getattr(row, name), connection) for name, prep in prepare] for row in rows)
    return copy_rows(model._meta.db_table, [str(field.column) for field in columns], values, told)


def copy_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], told: Told | None = None) -> int:
    """Writes plain rows. ``told`` hears of them by the thousand."""
    quote, done, since = connection.ops.quote_name, 0, 0
    text = f"COPY {quote(table)} ({', '.join(quote(name) for name in columns)}) FROM STDIN"
    with copying(text) as copy:
        for row in rows:
            copy.write_row(row)
            done += 1
            if told is not None and done - since >= CHUNK:
                told(done - since)
                since = done
    if told is not None and done > since:
        told(done - since)
    return done
