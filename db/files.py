"""Files and arrays read as batches of columns, in bounded memory; each can be read more than once."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from db.canonical import CANONICAL, Shape
from db.errors import LoadError, did_you_mean

#: Rows converted and written at a time: a transaction of well under a second, and a few tens of MB.
BATCH = 50_000

Batch = Mapping[str, Sequence[Any]]


class Rows(Protocol):
    """Rows of a source: its canonical columns, and the rows in batches of them."""

    @property
    def columns(self) -> Sequence[str]: ...

    def batches(self) -> Iterator[Batch]: ...

    def where(self, row: int, column: str) -> str:
        """The place of a cell, as a person would look for it; the first row is 0."""
        ...


def open_rows(source: str, path: Path, columns: Mapping[str, str]) -> Rows:
    """The file's rows by canonical column, from the headers that `columns` (canonical to header) names.

    Raises LoadError for a file that cannot be read, or that lacks a column.
    """
    kinds: dict[str, type[CsvRows] | type[ParquetRows]] = {".csv": CsvRows, ".parquet": ParquetRows}
    if path.suffix.lower() not in kinds:
        raise LoadError(f'{path}: "{path.suffix}" is not a format that can be loaded; allowed: .csv, .parquet')
    return kinds[path.suffix.lower()](CANONICAL[source], path, columns)


class CsvRows:
    """A CSV file in UTF-8 with a header line."""

    def __init__(self, shape: Shape, path: Path, columns: Mapping[str, str]) -> None:
        self._path = path
        with self._reading() as reader:
            self._header: list[str] = next(reader, [])
        self._positions = {c: self._header.index(h) for c, h in _headers(shape, path, self._header, columns).items()}
        self.columns = list(self._positions)

    def batches(self) -> Iterator[Batch]:
        with self._reading() as reader:
            next(reader, None)
            full = filter(None, reader)  # a blank line is no row
            first = 0
            while rows := list(islice(full, BATCH)):
                cells = self._transposed(rows, first)
                yield {c: cells[i] for c, i in self._positions.items()}
                first += len(rows)

    def where(self, row: int, column: str) -> str:
        return f'{self._path}, line {self._line(row)}, column "{self._header[self._positions[column]]}"'

    def _transposed(self, rows: list[list[str]], first: int) -> list[tuple[str, ...]]:
        try:
            cells = list(zip(*rows, strict=True))
        except ValueError:
            cells = []
        if len(cells) == len(self._header):
            return cells
        row = next(i for i, cells in enumerate(rows) if len(cells) != len(self._header))
        where = f"{self._path}, line {self._line(first + row)}"
        raise LoadError(f"{where}: {len(rows[row])} cells under a header of {len(self._header)}")

    def _line(self, row: int) -> int:
        """Found by reading again: a quoted cell may span lines, so nothing cheaper knows."""
        with self._reading() as reader:
            next(reader, None)
            next(islice(filter(None, reader), row, None), None)
            return int(reader.line_num)

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, strict=True)
                yield reader
        except OSError as e:
            raise LoadError(f"{self._path}: {e.strerror}") from None
        except UnicodeDecodeError:
            raise LoadError(
                f"{self._path}, after line {reader.line_num}: not UTF-8; convert it first (iconv)"
            ) from None
        except csv.Error as e:
            raise LoadError(f"{self._path}, line {reader.line_num}: not CSV: {e}") from None


class ParquetRows:
    """A Parquet file, read by pyarrow."""

    def __init__(self, shape: Shape, path: Path, columns: Mapping[str, str]) -> None:
        self._path = path
        with self._reading() as file:
            self._headers = _headers(shape, path, file.schema_arrow.names, columns)
        self.columns = list(self._headers)

    def batches(self) -> Iterator[Batch]:
        with self._reading() as file:
            for part in file.iter_batches(BATCH, columns=list(self._headers.values())):
                yield {c: part.column(h).to_pylist() for c, h in self._headers.items()}

    def where(self, row: int, column: str) -> str:
        return f'{self._path}, row {row + 1}, column "{self._headers[column]}"'

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ModuleNotFoundError:
            raise LoadError(f"{self._path}: Parquet needs pyarrow; install clockmill[parquet]") from None
        try:
            with ParquetFile(self._path) as file:
                yield file
        except (OSError, ArrowException) as e:
            raise LoadError(f"{self._path}: not a Parquet file that can be read: {e}") from None


class ArrayRows:
    """Arrays or lists of one length, by canonical column."""

    def __init__(self, source: str, arrays: Mapping[str, Any]) -> None:
        self._source = source
        headers = _headers(CANONICAL[source], Path(source), list(arrays), {})
        self._arrays = {c: arrays[c] for c in headers}
        self.columns = list(self._arrays)
        if len({len(array) for array in arrays.values()}) > 1:
            raise LoadError(f"{source}: the arrays differ in length")

    def batches(self) -> Iterator[Batch]:
        length = len(self._arrays[self.columns[0]])
        for start in range(0, length, BATCH):
            yield {c: _plain(array[start : start + BATCH]) for c, array in self._arrays.items()}

    def where(self, row: int, column: str) -> str:
        return f'{self._source}, row {row + 1}, column "{column}"'


def _plain(values: Any) -> Sequence[Any]:
    """numpy's values as Python's own, which is what database drivers take."""
    if hasattr(values, "dtype") and values.dtype.kind == "M":
        values = values.astype("datetime64[us]")  # finer ones become bare integers
    return values.tolist() if hasattr(values, "tolist") else list(values)


def _headers(shape: Shape, path: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Which header each canonical column is read from; optional columns that the file lacks are left out."""
    for name in columns:
        if name not in shape.columns:
            hint = did_you_mean(name, shape.columns)
            raise LoadError(f'"{name}" is not a canonical column{hint}; allowed: {", ".join(shape.columns)}')
    wanted = {c: columns.get(c, c) for c in shape.columns}
    for canonical, name in wanted.items():
        if name not in header and (canonical in shape.required or canonical in columns):
            seen = ", ".join(header) or "nothing"
            raise LoadError(
                f'{path}: there is no column "{name}"{did_you_mean(name, header)}; the header has {seen}; '
                f"name the right one with -c {canonical}=HEADER"
            )
        if header.count(name) > 1:
            raise LoadError(f'{path}: the header has "{name}" more than once')
    return {c: name for c, name in wanted.items() if name in header}
