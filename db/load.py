"""Files into clockmill's own canonical tables. Every value is looked at before the first row is written."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from db import engine as engines
from db.canonical import CANONICAL, USERS, IdKind, Shape, canonical_table, is_foreign, own_kinds, register
from db.cells import ALLOWED, BadCell, column, have_missing, integers, is_missing
from db.errors import LoadError, did_you_mean
from db.files import ArrayRows, Batch, Rows, open_rows
from db.upsert import upsert

Kinds = Mapping[str, IdKind]
#: Rows ready to be written, in the order of the file's columns.
Written = Iterable[list[tuple[Any, ...]]]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Loaded:
    """What became of a load: rows read, rows written, rows without a key, seconds."""

    rows: int
    inserted_or_updated: int
    skipped: int
    seconds: float


@dataclass(frozen=True)
class _Scan:
    """What the first reading found: which id columns are whole numbers, and how many rows there are."""

    kinds: Kinds
    rows: int
    skipped: int


def load(
    engine: Engine,
    source: str,
    path: Path,
    columns: Mapping[str, str] | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> Loaded:
    """Upserts a CSV or Parquet file into the source's own table, made by the first load; the later of two rows wins.

    `columns` maps canonical names to headers. `replace` swaps the whole content at once and keeps the old on any error.
    `progress` is told the fraction written. Raises LoadError, with line and column, before anything is written.
    """
    _known(source)
    return _load(engine, source, open_rows(source, Path(path), columns or {}), replace, progress)


def load_columns(
    engine: Engine,
    source: str,
    columns: Mapping[str, Any],
    replace: bool = False,
    progress: Progress | None = None,
) -> Loaded:
    """The same from arrays or lists of one length, by canonical name."""
    _known(source)
    return _load(engine, source, ArrayRows(source, columns), replace, progress)


def _known(source: str) -> None:
    if source not in CANONICAL:
        hint = did_you_mean(source, CANONICAL)
        raise LoadError(f'"{source}" is not a source that can be loaded{hint}; allowed: {", ".join(CANONICAL)}')


def _load(engine: Engine, source: str, rows: Rows, replace: bool, progress: Progress | None) -> Loaded:
    started = time.perf_counter()
    with engines.read(engine) as connection:
        fixed = _fixed_kinds(connection, source)
    scan = _scan(source, rows, {} if replace else fixed)
    with _session(engine, source) as connection:
        put = _merge if not replace else _swap_by_rename if _is_mysql(connection) else _swap_in_transaction
        put(connection, source, rows.columns, scan, _written(source, rows, scan, progress))
    return Loaded(scan.rows, scan.rows - scan.skipped, scan.skipped, time.perf_counter() - started)


def _fixed_kinds(connection: Connection, source: str) -> Kinds:
    """The kinds that the rows already there hold a new row to: none where there are no rows."""
    if is_foreign(connection, source):
        raise LoadError(
            f'clockmill did not make the table "{source}" and never writes to it; map it: [sources.{source}] table'
        )
    kinds = own_kinds(connection, source)
    return kinds if kinds and _count(connection, source, most=1) else {}


def _scan(source: str, rows: Rows, fixed: Kinds) -> _Scan:
    """Looks at every value; raises LoadError at the first that cannot be taken."""
    shape = CANONICAL[source]
    text: set[str] = set()
    seen = skipped = 0
    for batch in rows.batches():
        whole, places = _whole(shape, batch, seen)
        numbers = {c for c in shape.ids if integers(whole[c]) is not None}
        text |= set(shape.ids) - numbers
        unsure = {c: values for c, values in whole.items() if c not in numbers}
        _convert(source, rows, fixed, unsure, places)
        seen += _length(batch)
        skipped += _length(batch) - len(places)
    return _Scan(fixed or _alike(shape, text), seen, skipped)


def _alike(shape: Shape, text: set[str]) -> Kinds:
    """Kinds of the id columns; those that name users are all text as soon as one is."""
    if text & USERS:
        text = text | USERS
    return {c: "text" if c in text else "int" for c in shape.ids}


def _written(source: str, rows: Rows, scan: _Scan, progress: Progress | None) -> Written:
    done = 0
    for batch in rows.batches():
        whole, places = _whole(CANONICAL[source], batch, done)
        yield list(zip(*_convert(source, rows, scan.kinds, whole, places), strict=True))
        done += _length(batch)
        if progress:
            progress(min(done / scan.rows, 1.0))


def _length(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def _whole(shape: Shape, batch: Batch, first: int) -> tuple[Batch, Sequence[int]]:
    """The rows that have every required value, and which rows of the file they are."""
    length = _length(batch)
    wanting = [c for c in shape.required if have_missing(batch[c])]
    if not wanting:
        return batch, range(first, first + length)
    kept = [i for i in range(length) if not any(is_missing(batch[c][i]) for c in wanting)]
    return {c: [values[i] for i in kept] for c, values in batch.items()}, [first + i for i in kept]


def _convert(source: str, rows: Rows, kinds: Kinds, batch: Batch, places: Sequence[int]) -> list[Sequence[Any]]:
    shape = CANONICAL[source]
    cells = []
    for name, values in batch.items():
        try:
            cells.append(column(shape.columns[name], kinds.get(name), name in shape.key, values))
        except BadCell as e:
            where = rows.where(places[e.index], name)
            raise LoadError(f"{where}: {_refusal(source, shape, name, kinds, e.value)}") from None
    return cells


def _refusal(source: str, shape: Shape, name: str, kinds: Kinds, value: object) -> str:
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
    if kinds.get(name) == "int":
        return f"{shown} is not an integer, but {source}.{name} holds integers; load the whole again with --replace"
    return f"{shown} is not {ALLOWED[shape.columns[name]]}"


def _merge(connection: Connection, source: str, columns: Sequence[str], scan: _Scan, batches: Written) -> None:
    with connection.begin():
        if own_kinds(connection, source) != scan.kinds:
            register(connection, source, scan.kinds, 0)
            _make_anew(connection, source, scan.kinds)
    for rows in batches:
        with connection.begin():
            upsert(connection, source, columns, CANONICAL[source].key, rows)
    with connection.begin():
        register(connection, source, scan.kinds, _count(connection, source))


def _swap_in_transaction(
    connection: Connection, source: str, columns: Sequence[str], scan: _Scan, batches: Written
) -> None:
    """Fills a temporary table, which holds no lock that others wait for, then swaps the content in one transaction."""
    stage = canonical_table(source, scan.kinds, f"clockmill_stage_{source}", temporary=True)
    connection.execution_options(writing=False)
    try:
        with connection.begin():
            stage.create(connection)
            for rows in batches:
                upsert(connection, stage.name, columns, CANONICAL[source].key, rows)
        connection.execution_options(writing=True)
        with connection.begin():
            _take_over(connection, source, scan.kinds, stage.name)
    finally:
        with connection.begin():
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {stage.name}")


def _take_over(connection: Connection, source: str, kinds: Kinds, stage: str) -> None:
    register(connection, source, kinds, _count(connection, stage))
    if own_kinds(connection, source) == kinds:
        connection.exec_driver_sql(f"DELETE FROM {source}")
    else:
        _make_anew(connection, source, kinds)
    listed = ", ".join(f'"{name}"' for name in CANONICAL[source].columns)
    connection.exec_driver_sql(f"INSERT INTO {source} ({listed}) SELECT {listed} FROM {stage}")


def _swap_by_rename(connection: Connection, source: str, columns: Sequence[str], scan: _Scan, batches: Written) -> None:
    """MySQL commits at every definition of a table: a new one is filled aside and takes the name in one step."""
    new, old = f"clockmill_new_{source}", f"clockmill_old_{source}"
    with _lock(connection, source):
        try:
            _make_aside(connection, source, scan.kinds, new, old)
            for rows in batches:
                with connection.begin():
                    upsert(connection, new, columns, CANONICAL[source].key, rows)
            with connection.begin():
                register(connection, source, scan.kinds, _count(connection, new))
                first = own_kinds(connection, source) is None
                away = "" if first else f"{source} TO {old}, "
                connection.exec_driver_sql(f"RENAME TABLE {away}{new} TO {source}")
        finally:
            with connection.begin():
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {new}, {old}")


def _make_aside(connection: Connection, source: str, kinds: Kinds, new: str, old: str) -> None:
    with connection.begin():
        # What a killed load left behind; the lock says that no other is under way.
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {new}, {old}")
        if own_kinds(connection, source) == kinds:
            connection.exec_driver_sql(f"CREATE TABLE {new} LIKE {source}")
        else:
            canonical_table(source, kinds, new).create(connection)


@contextmanager
def _lock(connection: Connection, source: str) -> Iterator[None]:
    name = f"concat(database(), '.load.{source}')"
    with connection.begin():
        if connection.exec_driver_sql(f"SELECT get_lock({name}, 0)").scalar() != 1:
            raise LoadError(f"{source} is being replaced by another load; wait for it")
    try:
        yield
    finally:
        with connection.begin():
            connection.exec_driver_sql(f"SELECT release_lock({name})")


def _make_anew(connection: Connection, source: str, kinds: Kinds) -> None:
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {source}")
    canonical_table(source, kinds).create(connection)


def _count(connection: Connection, table: str, most: int | None = None) -> int:
    limit = f" LIMIT {most}" if most else ""
    return int(
        connection.exec_driver_sql(f"SELECT count(*) FROM (SELECT 1 FROM {table}{limit}) AS counted").scalar_one()
    )


def _is_mysql(connection: Connection) -> bool:
    return connection.dialect.name in ("mysql", "mariadb")


@contextmanager
def _session(engine: Engine, source: str) -> Iterator[Connection]:
    """One connection for several write transactions; what the database refuses is a LoadError."""
    try:
        with engine.connect() as connection:
            yield connection.execution_options(writing=True)
    except (DBAPIError, engine.dialect.loaded_dbapi.Error) as e:
        sentence = (str(getattr(e, "orig", e)).strip().splitlines() or [type(e).__name__])[0]
        raise LoadError(f"{source}: the database refuses the load: {sentence}") from e
