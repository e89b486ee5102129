"""Files into clockmill's own canonical tables. Every value is looked at before the first row is written.

file -> batches of columns -> converted, kept in a spool -> key order -> the table (db.load_tables)
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from db import engine as engines
from db.canonical import CANONICAL, USERS, IdKind, Shape, is_foreign, own_kinds
from db.cell_arrays import convert, missing, ready, take
from db.cells import ALLOWED, BadCell
from db.columns import Columns
from db.errors import LoadError, did_you_mean
from db.files import ArrayRows, Rows, open_rows
from db.load_tables import count, put
from db.spool import Spool, in_key_order

#: The share of the whole that reading and converting is shown as.
READING = 0.4

Kinds = Mapping[str, IdKind]
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Loaded:
    """What became of a load: rows read, rows written, rows without a key, seconds."""

    rows: int
    inserted_or_updated: int
    skipped: int
    seconds: float


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
    `progress` is told the share done, 0 to 1. Raises LoadError, with line and column, before anything is written.
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
    tell = progress or (lambda share: None)
    with engines.read(engine) as connection:
        fixed = _fixed_kinds(connection, source)
    with Spool() as spool:
        seen = _gather(source, rows, {} if replace else fixed, spool, lambda share: tell(READING * share))
        kinds = (not replace and fixed) or _kinds(source, rows, spool)
        batches = _told(
            _in_order(source, kinds, spool), spool.rows, lambda share: tell(READING + (1 - READING) * share)
        )
        put(engine, source, rows.columns, kinds, batches, afresh=replace or not fixed, replace=replace)
        tell(1.0)
        return Loaded(seen, spool.rows, seen - spool.rows, time.perf_counter() - started)


def _fixed_kinds(connection: Connection, source: str) -> Kinds:
    """The kinds that the rows already there hold a new row to: none where there are no rows."""
    if is_foreign(connection, source):
        raise LoadError(
            f'clockmill did not make the table "{source}" and never writes to it; map it: [sources.{source}] table'
        )
    kinds = own_kinds(connection, source)
    return kinds if kinds and count(connection, source, most=1) else {}


def _gather(source: str, rows: Rows, fixed: Kinds, spool: Spool, tell: Progress) -> int:
    """Converts every value into the spool; how many rows there were. Raises LoadError at the first that cannot be."""
    shape = CANONICAL[source]
    seen = 0
    for batch in rows.batches():
        length = len(next(iter(batch.values())))
        whole, places = batch, np.arange(seen, seen + length)
        if (wanting := _wanting(shape, batch)) is not None:
            kept = np.flatnonzero(~wanting)
            whole, places = {c: take(values, kept) for c, values in batch.items()}, places[kept]
        if len(places):
            spool.add({c: _converted(source, rows, fixed, c, values, places) for c, values in whole.items()})
        seen += length
        tell(min(1.0, rows.share()))
    return seen


def _wanting(shape: Shape, batch: Mapping[str, Any]) -> Any:
    """Which rows lack a required value; None when none does."""
    found = [none for c in shape.required if (none := missing(batch[c])) is not None]
    return np.logical_or.reduce(found) if found else None


def _converted(source: str, rows: Rows, fixed: Kinds, name: str, values: Any, places: Any) -> Any:
    shape = CANONICAL[source]
    try:
        return convert(shape.columns[name], fixed.get(name), name in shape.key, values)
    except BadCell as e:
        where = rows.where(int(places[e.index]), name)
        raise LoadError(f"{where}: {_refusal(source, shape, name, fixed, e.value)}") from None


def _refusal(source: str, shape: Shape, name: str, kinds: Kinds, value: object) -> str:
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
    if kinds.get(name) == "int":
        return f"{shown} is not an integer, but {source}.{name} holds integers; load the whole again with --replace"
    return f"{shown} is not {ALLOWED[shape.columns[name]]}"


def _kinds(source: str, rows: Rows, spool: Spool) -> Kinds:
    """Kinds of the id columns; those that name users are all text as soon as one is."""
    ids = [c for c in CANONICAL[source].ids if c in rows.columns]
    text = {c for c in ids if spool.has_objects(c)}
    if text & USERS:
        text |= USERS
    return {c: "text" if c in text else "int" for c in ids}


def _in_order(source: str, kinds: Kinds, spool: Spool) -> Iterator[Columns]:
    kept = CANONICAL[source].columns
    text = [c for c, kind in kinds.items() if kind == "text"]
    # Instants of one column may be told in several ways.
    text += [c for c, kind in kept.items() if kind == "time" and spool.has_objects(c)]
    for columns in in_key_order(spool, CANONICAL[source].key, text):
        yield {name: ready(values) for name, values in columns.items()}


def _told(batches: Iterator[Columns], rows: int, tell: Progress) -> Iterator[Columns]:
    """The same batches; tells of each when the next is asked for."""
    done = 0
    for batch in batches:
        yield batch
        done += len(next(iter(batch.values())))
        tell(min(1.0, done / rows))
