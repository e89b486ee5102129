"""Single rows of a source: those that an event names, read again where they are the application's, and kept where the
table is clockmill's own. By the key of the canonical shape; a mapped table answers fast if it has an index on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine

from db.canonical import CANONICAL, IdKind, canonical_table, own_kinds, register
from db.errors import SourceError
from db.source_state import watch
from db.sources import SourceSpec, quoted, read_only, single_rows

__all__ = ["apply", "find", "make"]

Key = tuple[Any, ...]
Row = Mapping[str, Any]
#: Keys in one query: SQLite's expressions nest no deeper than 1,000.
KEYS_AT_ONCE = 100


def find(engine: Engine, spec: SourceSpec, keys: Sequence[Key]) -> dict[Key, Row]:
    """The rows of these keys that are there, by key. Raises SourceError for a mapping that does not fit."""
    shape = CANONICAL[spec.name]
    columns = [name for name in shape.columns if name in shape.required]
    mark = "?" if engine.dialect.name == "sqlite" else "%s"
    one = " AND ".join(f"{quoted(name)} = {mark}" for name in shape.key)
    found: dict[Key, Row] = {}
    with read_only(engine) as connection:
        for begin in range(0, len(keys), KEYS_AT_ONCE):
            some = keys[begin : begin + KEYS_AT_ONCE]
            where = " OR ".join([f"({one})"] * len(some))
            for values in single_rows(connection, spec, columns, where, [part for key in some for part in key]):
                row = dict(zip(columns, values, strict=True))
                found[tuple(row[name] for name in shape.key)] = row
    return found


def make(connection: Connection, source: str, row: Row) -> Mapping[str, IdKind]:
    """Clockmill's own table of a source, for ids as those of this row; the kinds of its ids."""
    kinds: dict[str, IdKind] = {name: "text" if isinstance(row[name], str) else "int" for name in CANONICAL[source].ids}
    register(connection, source, kinds, 0)
    canonical_table(source, kinds).create(connection)
    watch(connection, source)
    return kinds


def apply(connection: Connection, source: str, put: Sequence[Row], gone: Sequence[Key]) -> None:
    """Puts rows into clockmill's own table of a source, in the place of those with their key, and removes others.

    First what goes. Columns that a row does not name are left empty.
    """
    shape = CANONICAL[source]
    table = canonical_table(source, own_kinds(connection, source) or {})
    at = [table.c[name] for name in shape.key]
    keys = [*gone, *(tuple(row[name] for name in shape.key) for row in put)]
    for key in keys:
        connection.execute(table.delete().where(*(column == part for column, part in zip(at, key, strict=True))))
    if put:
        rows = [{name: row.get(name) for name in shape.columns} for row in put]
        if any(row[name] is None for row in rows for name in shape.required):
            raise SourceError(f"{source}: a row to be put needs {', '.join(sorted(shape.required))}")
        connection.execute(table.insert(), rows)
