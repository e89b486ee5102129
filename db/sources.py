"""The application's own tables, read through a mapping to canonical shapes. Nothing here ever writes to them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.engine.default import DefaultDialect

from db import engine as engines
from db.canonical import CANONICAL, Shape
from db.errors import DatabaseUnavailable, LedgerAway, SourceError, did_you_mean
from db.source_state import state_of

if TYPE_CHECKING:
    from db.arrays import Columns
    from db.source_snapshots import Kept

__all__ = [
    "CANONICAL", "Shape", "SourceSpec", "check", "expand", "largest", "preview", "quoted", "read", "read_only",
    "select", "single_rows", "single_select", "used",
]  # fmt: skip

#: Rows fetched at a time: enough to hide the round trip, few enough to stay in the processor's cache.
BATCH = 10_000

READ_ONLY = {
    "sqlite": "PRAGMA query_only = 1",
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "mysql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY",
}

#: Fewer rows are read faster than asked for their state.
FEWEST_KEPT = 50_000
#: PostgreSQL's numbers of bool, int8, int2, int4, text, float4, float8, bpchar, varchar, date, timestamp, timestamptz,
#: numeric, uuid.
BINARY = frozenset({16, 20, 21, 23, 25, 700, 701, 1042, 1043, 1082, 1114, 1184, 1700, 2950})

#: Comments and blanks before the first word of a query.
_LEAD = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
#: What follows a placeholder when the query names it itself: AS x, or a word that is no keyword of a FROM clause.
_ALIASED = re.compile(
    r"\s+(?:AS\b|(?!(?:WHERE|GROUP|ORDER|LIMIT|OFFSET|FETCH|HAVING|WINDOW|JOIN|INNER|LEFT|RIGHT|FULL|CROSS|NATURAL"
    r"|STRAIGHT_JOIN|ON|USING|UNION|EXCEPT|INTERSECT|FOR)\b)[\w\"`])",
    re.IGNORECASE,
)
# Double quotes serve all three databases: clockmill's MySQL sessions set ANSI_QUOTES.
quoted = _quote = DefaultDialect().identifier_preparer.quote_identifier


@dataclass(frozen=True)
class SourceSpec:
    """The mapping of one source. Neither `table` nor `query`: clockmill's own canonical table of that name.

    `columns` maps canonical names to the application's; a column that is not in it has the same name in both. `where`
    is one SQL expression. `url` names another database than clockmill's; its engine is the caller's to open.
    """

    name: str
    table: str | None = None
    query: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    increment: str | None = None
    #: Rows are only ever added, never changed nor removed, and the increment column never goes back.
    append_only: bool = False
    url: str | None = None
    #: How messages call it; by default the configuration's `[sources.NAME]`.
    label: str = ""

    @property
    def called(self) -> str:
        return self.label or f"[sources.{self.name}]"

    @property
    def is_mapped(self) -> bool:
        return bool(self.table or self.query)

    @property
    def shape(self) -> Shape:
        """The canonical shape; of a source of the user's own naming nothing is known."""
        return CANONICAL.get(self.name, Shape({}, (), frozenset()))


def read(
    engine: Engine,
    spec: SourceSpec,
    columns: Sequence[str],
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
    folder: Path | None = None,
) -> "Columns":
    """The wanted columns of every row, streamed into arrays; a row with a NULL in a required one is dropped, counted.

    Ids are int64 when every one is an integer, else str objects; float is float64, int is int64, bool is bool, time is
    datetime64[us] in UTC, text is str objects or None. `progress` is told the rows so far. An unmapped source without a
    table is empty. `folder` holds what was read before, which stands for the rows while nothing has changed. Raises
    SourceError for a mapping that does not fit the database.
    """
    # numpy costs more to import than most commands that know of sources take.
    from db.arrays import Gathering

    gathering = Gathering(spec.name, spec.shape, columns)
    _validate(spec)
    with read_only(engine) as connection:
        if not _is_there(connection, spec):
            return gathering.finish()
        _require(spec, columns, _available(connection, spec), _origin_name(spec))
        kept = _kept(engine, spec, columns, folder) if folder else None
        state = _state(connection, spec, columns) if kept and kept.state else None
        if kept and state and kept.state == state:
            return kept.columns()
        for rows in _stream(connection, spec, _projection(spec, columns), batch):
            gathering.add(rows)
            if progress:
                progress(gathering.seen)
        found = gathering.finish()
        # All in one transaction: the state is that of what was read.
        if kept and found.rows >= FEWEST_KEPT and (state := state or _state(connection, spec, columns)):
            kept.keep(found, state)
        return found


def _kept(engine: Engine, spec: SourceSpec, columns: Sequence[str], folder: Path) -> "Kept":
    from db.source_snapshots import Kept

    return Kept(folder, spec.name, columns, f"{engines.masked(engine.url)} {_projection(spec, columns)}")


def _state(connection: Connection, spec: SourceSpec, columns: Sequence[str]) -> str | None:
    with _foreign(connection, spec):
        return state_of(connection, None if spec.is_mapped else spec.name, _projection(spec, columns), columns)


def check(engine: Engine, spec: SourceSpec) -> None:
    """Raises SourceError unless every required and every mapped column can be read; reads no row."""
    _validate(spec)
    with read_only(engine) as connection:
        if _is_there(connection, spec):
            wanted = [*spec.shape.required, *spec.columns]
            _require(spec, wanted, _available(connection, spec), _origin_name(spec))
            _execute(connection, spec, f"SELECT count(*) FROM ({select(spec)}) AS clockmill_check WHERE 1 = 0")


def preview(engine: Engine, spec: SourceSpec, n: int = 10) -> list[dict[str, Any]]:
    """The first rows as the jobs would see them, by canonical column; at most `n`."""
    check(engine, spec)
    with read_only(engine) as connection:
        if not _is_there(connection, spec):
            return []
        names = _shown(spec, _available(connection, spec))
        rows = _execute(connection, spec, f"{_projection(spec, names)} LIMIT {int(n)}")
        return [dict(zip(names, row, strict=True)) for row in rows]


def single_rows(
    connection: Connection, spec: SourceSpec, columns: Sequence[str], where: str, values: Sequence[Any]
) -> list[tuple[Any, ...]]:
    """These columns of the rows that a condition on canonical names holds for; `values` stand for its marks."""
    _validate(spec)
    if not _is_there(connection, spec):
        return []
    _require(spec, columns, _available(connection, spec), _origin_name(spec))
    projection = _projection(spec, columns)
    if connection.dialect.name != "sqlite":
        # Where values are handed over, a percent sign of the mapping's own would stand for one.
        projection = projection.replace("%", "%%")
    return _execute(connection, spec, f"SELECT * FROM ({projection}) AS clockmill_rows WHERE {where}", values)


def largest(engine: Engine, spec: SourceSpec) -> Any:
    """The largest value of the increment column, as the driver gives it; None without rows."""
    _validate(spec)
    with read_only(engine) as connection:
        if not _is_there(connection, spec):
            return None
        _require_own(spec, spec.increment or "", _available(connection, spec))
        where = f" WHERE {spec.where}" if spec.where else ""
        column = _quote(spec.increment or "")
        return _execute(connection, spec, f"SELECT max({column}) FROM {_origin(spec)}{where}")[0][0]


def used(query: str) -> list[str]:
    """The sources that a query names in braces, as often as it does."""
    return _PLACEHOLDER.findall(query)


def select(spec: SourceSpec) -> str:
    """The SQL of the mapped source: its required and its mapped columns under canonical names.

    Without a `columns` mapping it has whatever columns the table or query has.
    """
    _validate(spec)
    if not spec.columns:
        return _projection(spec, ())
    known = [c for c in spec.shape.columns if c in spec.shape.required or c in spec.columns]
    return _projection(spec, known or list(spec.columns))


def expand(query: str, specs: Mapping[str, SourceSpec], engine: Engine | None = None) -> str:
    """The query with each {source} replaced by "(SELECT ...)" of that source, named after it unless the query names it.

    With an engine, an unmapped source without a table reads as an empty one; without, its table must exist. Raises
    SourceError for a placeholder that is no source, and for a query that is not a single SELECT.
    """
    single_select(query, "query")
    known = {name: SourceSpec(name) for name in CANONICAL} | dict(specs)

    def derived(match: re.Match[str]) -> str:
        spec = _known(known, match[1])
        inner = select(spec) if engine is None or _exists(engine, spec) else _empty(spec)
        return f"({inner})" if _ALIASED.match(query, match.end()) else f"({inner}) AS {_quote(spec.name)}"

    if engine is not None and engine.dialect.name in ("mysql", "mariadb"):
        # KEY is a reserved word there, and `AS key` is how a counter's query names its first column.
        query = re.sub(r"\bAS\s+key\b", 'AS "key"', query, flags=re.IGNORECASE)
    return _PLACEHOLDER.sub(derived, query)


def single_select(query: str, where: str) -> None:
    """Raises SourceError, naming the key `where`, unless the text is one statement that begins with SELECT or WITH."""
    if ";" in query:
        raise SourceError(f"{where}: has a semicolon; allowed: one SELECT without one")
    lead = _LEAD.match(query)
    word = re.match(r"\w*", query[lead.end() if lead else 0 :])
    if word is None or word[0].upper() not in ("SELECT", "WITH"):
        raise SourceError(f'{where}: begins with "{word[0] if word else ""}"; allowed: one SELECT (or WITH ... SELECT)')


@contextmanager
def read_only(engine: Engine) -> Iterator[Connection]:
    """One transaction in which the database itself refuses to write, and all that is read is of one instant."""
    with engines.read(engine) as connection:
        for statement in READ_ONLY[engine.dialect.name].split("; "):
            connection.exec_driver_sql(statement)
        try:
            yield connection
        finally:
            if engine.dialect.name == "sqlite":
                # The pragma outlives the transaction, and the connection goes back to the pool.
                connection.exec_driver_sql("PRAGMA query_only = 0")


def _validate(spec: SourceSpec) -> None:
    key = spec.called
    if spec.table and spec.query:
        raise SourceError(f"{key}: has both table and query; keep one")
    if spec.name not in CANONICAL and not spec.is_mapped:
        hint = did_you_mean(spec.name, CANONICAL)
        raise SourceError(f"{key}: no such source{hint}; known: {', '.join(CANONICAL)}; or set table")
    if spec.append_only and not spec.increment:
        raise SourceError(f"{key}: append_only needs increment, the column that grows with every row")
    if spec.query:
        single_select(spec.query, f"{key} query")
    if spec.where and ";" in spec.where:
        raise SourceError(f"{key} where: has a semicolon; allowed: one SQL expression")
    if spec.table and spec.table.count(".") > 1:
        raise SourceError(f'{key} table: "{spec.table}" has too many dots; allowed: table or schema.table')
    for name in spec.columns:
        if spec.shape.columns and name not in spec.shape.columns:
            hint = did_you_mean(name, spec.shape.columns)
            raise SourceError(f"{key} columns.{name}: no such column{hint}; allowed: {', '.join(spec.shape.columns)}")


def _known(specs: Mapping[str, SourceSpec], name: str) -> SourceSpec:
    if name not in specs:
        raise SourceError(f"{{{name}}}: no such source{did_you_mean(name, specs)}; known: {', '.join(sorted(specs))}")
    return specs[name]


def _exists(engine: Engine, spec: SourceSpec) -> bool:
    if spec.is_mapped:
        return True
    with engines.read(engine) as connection:
        return _is_there(connection, spec)


def _is_there(connection: Connection, spec: SourceSpec) -> bool:
    """False only for a canonical table that nothing was loaded into yet; a mapped table must exist."""
    if spec.query:
        return True
    schema, name = _table(spec)
    if inspect(connection).has_table(name, schema=schema):
        return True
    if not spec.is_mapped:
        return False
    names = inspect(connection).get_table_names(schema=schema) if _has_schema(connection, schema) else []
    hint = did_you_mean(name, names)
    raise SourceError(f'{spec.called} table: there is no table "{spec.table}"{hint}; it has {_listed(names)}')


def _has_schema(connection: Connection, schema: str | None) -> bool:
    return schema is None or schema in inspect(connection).get_schema_names()


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    return (", ".join(names[:most]) + (", ..." if len(names) > most else "")) or "none"


def _table(spec: SourceSpec) -> tuple[str | None, str]:
    schema, _, name = (spec.table or spec.name).rpartition(".")
    return schema or None, name


def _origin(spec: SourceSpec) -> str:
    if spec.query:
        # The line break ends a comment on the query's last line.
        return f"({spec.query}\n) AS clockmill_source"
    return ".".join(_quote(part) for part in (spec.table or spec.name).split("."))


def _origin_name(spec: SourceSpec) -> str:
    return "the query" if spec.query else f'the table "{spec.table or spec.name}"'


def _projection(spec: SourceSpec, columns: Iterable[str]) -> str:
    listed = ", ".join(f"{_quote(spec.columns.get(c, c))} AS {_quote(c)}" for c in columns) or "*"
    where = f" WHERE (\n{spec.where}\n)" if spec.where else ""
    return f"SELECT {listed} FROM {_origin(spec)}{where}"


def _empty(spec: SourceSpec) -> str:
    literals = {"id": "1", "int": "1", "float": "1.0", "bool": "(1 = 0)", "text": "''", "time": "''"}
    listed = ", ".join(f"{literals[kind]} AS {_quote(c)}" for c, kind in spec.shape.columns.items())
    return f"SELECT {listed} FROM (SELECT 1 AS one) AS no_rows WHERE 1 = 0"


def _available(connection: Connection, spec: SourceSpec) -> list[str]:
    """The columns that the table or query of the source has, by their own names; reads no row."""
    cursor = connection.connection.cursor()
    with _foreign(connection, spec), closing(cursor):
        cursor.execute(f"SELECT * FROM {_origin(spec)} WHERE 1 = 0")
        return [str(column[0]) for column in cursor.description or ()]


def _shown(spec: SourceSpec, present: Iterable[str]) -> list[str]:
    if not spec.shape.columns:
        return list(spec.columns) or list(present)
    there = {name.casefold() for name in present}
    return [c for c in spec.shape.columns if spec.columns.get(c, c).casefold() in there]


def _require(spec: SourceSpec, wanted: Iterable[str], present: Sequence[str], origin: str) -> None:
    there = {name.casefold() for name in present}
    for column in wanted:
        own = spec.columns.get(column, column)
        # SQLite would read a quoted name that is no column as a string, so this cannot be left to the database.
        if own.casefold() not in there:
            raise SourceError(
                f'{spec.called} columns.{column}: {origin} has no column "{own}"{did_you_mean(own, present)}; '
                f"it has {_listed(present)}; set columns.{column} to the one that is meant"
            )


def _require_own(spec: SourceSpec, column: str, present: Sequence[str]) -> None:
    if column.casefold() not in {name.casefold() for name in present}:
        raise SourceError(
            f'{spec.called} increment: {_origin_name(spec)} has no column "{column}"{did_you_mean(column, present)}; '
            f"it has {_listed(present)}"
        )


def _execute(connection: Connection, spec: SourceSpec, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    cursor = connection.connection.cursor()
    with _foreign(connection, spec), closing(cursor):
        cursor.execute(sql, tuple(values)) if values else cursor.execute(sql)
        return list(cursor.fetchall())


def _stream(connection: Connection, spec: SourceSpec, sql: str, batch: int) -> Iterator[Sequence[tuple[Any, ...]]]:
    with _foreign(connection, spec), closing(_cursor(connection, sql)) as cursor:
        cursor.execute(sql)
        while rows := cursor.fetchmany(batch):
            yield rows


def _cursor(connection: Connection, sql: str) -> Any:
    """A cursor of the driver that does not gather the whole answer first."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql":
        # Binary COPY takes five times as long here: libpq hands it out row by row.
        return driver.cursor(name="clockmill_source", binary=_all_binary(driver, sql))
    if connection.dialect.name in ("mysql", "mariadb"):
        from pymysql.cursors import SSCursor

        return driver.cursor(SSCursor)
    return driver.cursor()


def _all_binary(driver: Any, sql: str) -> bool:
    """True when psycopg understands the binary form of every column; of an unknown type it would give bare bytes."""
    with driver.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({sql}\n) AS clockmill_types WHERE 1 = 0")
        return all(column.type_code in BINARY for column in cursor.description)


@contextmanager
def _foreign(connection: Connection, spec: SourceSpec) -> Iterator[None]:
    try:
        yield
    except connection.dialect.loaded_dbapi.Error as e:
        if connection.dialect.is_disconnect(e, connection.connection.driver_connection, None):
            kind = DatabaseUnavailable if spec.url else LedgerAway
            raise kind(f"{spec.called}: the database went away: {e}") from e
        sentence = (str(e).strip().splitlines() or [type(e).__name__])[0]
        key = "query" if spec.query else "where" if spec.where else "table"
        raise SourceError(f"{spec.called} {key}: the database refuses it: {sentence}") from e
