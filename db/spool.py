"""Rows on their way into a table: kept as they were converted, on disk when they are many, read back in key order."""

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from db.cell_arrays import objects, ready

Array = NDArray[Any]
Columns = dict[str, Array]

#: Bytes kept in memory before they go to a temporary file.
IN_MEMORY = 64_000_000
#: Rows sorted at once; more are divided by their first key column, into as many files as it takes.
SORTED_AT_ONCE = 2_000_000
#: Values of which the division is guessed.
SAMPLE = 100_000


class Spool:
    """Batches of rows in one temporary file, which goes with the process."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - close() closes it
        self._batches: list[dict[str, tuple[str, int, int]]] = []
        self.rows = 0

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, batch: Columns) -> None:
        """Adds rows: arrays of one length of int64, float64, datetime64 or objects (text, truth values, None)."""
        places = {}
        self._file.seek(0, 2)
        for name, values in batch.items():
            data = json.dumps(values.tolist()).encode() if values.dtype == object else values.tobytes()
            places[name] = (values.dtype.str, self._file.tell(), len(data))
            self._file.write(data)
        self._batches.append(places)
        self.rows += len(next(iter(batch.values())))

    def has_objects(self, name: str) -> bool:
        """True when some values of a column were converted to something else than numbers."""
        return any(name in places and places[name][0] == "|O" for places in self._batches)

    def column(self, batch: int, name: str) -> Array:
        kind, begin, size = self._batches[batch][name]
        self._file.seek(begin)
        data = self._file.read(size)
        return objects(json.loads(data)) if kind == "|O" else np.frombuffer(data, kind)

    def read(self, batch: int) -> Columns:
        return {name: self.column(batch, name) for name in self._batches[batch]}

    def as_text(self, batch: int, names: Sequence[str]) -> Columns:
        """A batch in which these columns are text: a number gives its decimal, an instant what tables keep of it."""
        columns = self.read(batch)
        for name in names:
            values = ready(columns[name])
            columns[name] = values if values.dtype == object else objects(list(map(str, values.tolist())))
        return columns


def in_key_order(spool: Spool, key: Sequence[str], text: Sequence[str]) -> Iterator[Columns]:
    """All rows by ascending key, texts by their bytes; of the rows of one key the last that was added.

    `text` are columns to be read as text.
    """
    if not len(spool):
        return
    if not text and _ascending(spool, key):
        yield from (spool.read(i) for i in range(len(spool)))
        return
    batches = (spool.as_text(i, text) for i in range(len(spool)))
    if spool.rows <= SORTED_AT_ONCE:
        yield _sorted(list(batches), key)
        return
    parts = _divided(spool, batches, key[0], _cuts(spool, key[0], text))
    try:
        for part in parts:
            if len(part):
                yield _sorted([part.read(i) for i in range(len(part))], key)
            part.close()
    finally:
        for part in parts:
            part.close()


def _ascending(spool: Spool, key: Sequence[str]) -> bool:
    """True when every row's key is greater than that of the row before it."""
    before: list[Any] | None = None
    for batch in range(len(spool)):
        columns = [spool.column(batch, name) for name in key]
        if before is not None:
            columns = [np.concatenate([[last], values]) for last, values in zip(before, columns, strict=True)]
        if any(values.dtype.kind != "i" for values in columns):
            return False
        greater, equal = np.zeros(len(columns[0]) - 1, np.bool_), np.ones(len(columns[0]) - 1, np.bool_)
        for values in columns:
            greater |= equal & (values[1:] > values[:-1])
            equal &= values[1:] == values[:-1]
        if not bool(greater.all()):
            return False
        before = [values[-1] for values in columns]
    return True


def _cuts(spool: Spool, column: str, text: Sequence[str]) -> Array:
    """Values that divide the rows into parts of less than SORTED_AT_ONCE, as far as a sample tells."""
    step = max(1, spool.rows // SAMPLE)
    as_text = [name for name in text if name == column]
    sample = np.concatenate([spool.as_text(i, as_text)[column][::step] for i in range(len(spool))])
    sample.sort()
    parts = 1 + int(spool.rows // (SORTED_AT_ONCE * 0.8))
    return np.unique(sample[np.linspace(0, len(sample) - 1, parts + 1).astype(np.int64)[1:-1]])


def _divided(spool: Spool, batches: Iterator[Columns], column: str, cuts: Array) -> list[Spool]:
    parts = [Spool() for _ in range(len(cuts) + 1)]
    for batch in batches:
        place = np.searchsorted(cuts, batch[column], side="right").astype(np.uint16)
        order = np.argsort(place, kind="stable")
        ends = np.searchsorted(place[order], np.arange(len(parts) + 1))
        for part, (begin, end) in zip(parts, pairwise(ends.tolist()), strict=True):
            if begin < end:
                part.add({name: values[order[begin:end]] for name, values in batch.items()})
    return parts


def _sorted(batches: list[Columns], key: Sequence[str]) -> Columns:
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    codes = _codes([columns[name] for name in key])
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    last = np.ones(len(codes), np.bool_)
    last[:-1] = codes[1:] != codes[:-1]
    order = order[last]
    return {name: values[order] for name, values in columns.items()}


def _codes(keys: Sequence[Array]) -> Array:
    """One whole number a row, equal and ordered as the rows' keys are."""
    codes = np.zeros(len(keys[0]), np.int64)
    for values in keys:
        if values.dtype == object or int(values.max()) - int(values.min()) >= 2**62:
            places = np.unique(values, return_inverse=True)[1].astype(np.int64)
        else:
            places = values - values.min()
        width = int(places.max()) + 1
        if int(codes.max()) >= 2**62 // width:
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
        if int(codes.max()) >= 2**62 // width:
            places = np.unique(places, return_inverse=True)[1].astype(np.int64)
            width = int(places.max()) + 1
        codes = codes * width + places
    return codes
