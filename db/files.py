"""Files and arrays read as batches of columns, in bounded memory."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from db.canonical import CANONICAL, Shape
from db.errors import LoadError, did_you_mean

#: Rows read and converted at a time: a few tens of MB.
BATCH = 50_000
TRANSPOSED = 500

#: Lists or tuples of any values, or numpy arrays of numbers or instants.
Batch = Mapping[str, Any]


class Rows(Protocol):
    """Rows of a source: its canonical columns, and the rows in batches of them."""

    @property
    def columns(self) -> Sequence[str]: ...

    def batches(self) -> Iterator[Batch]: ...

    def share(self) -> float:
        """How much of it the batches so far were, 0 to 1."""
        ...

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
        self._read = 0.0
        self._place: Callable[[], int] = int
        with self._reading() as reader:
            self._header: list[str] = next(reader, [])
        self._positions = {c: self._header.index(h) for c, h in _headers(shape, path, self._header, columns).items()}
        self.columns = list(self._positions)

    def batches(self) -> Iterator[Batch]:
        with self._reading() as reader:
            next(reader, None)
            full = filter(None, reader)  # a blank line is no row
            size = max(1, self._path.stat().st_size)
            first = 0
            while rows := self._columns(full, first):
                self._read = self._place() / size
                yield {c: rows[i] for c, i in self._positions.items()}
                first += len(rows[0])

    def share(self) -> float:
        return self._read

    def where(self, row: int, column: str) -> str:
        return f'{self._path}, line {self._line(row)}, column "{self._header[self._positions[column]]}"'

    def _columns(self, full: Iterator[list[str]], first: int) -> list[list[str]]:
        """The next BATCH rows by column, none at the end. Few rows at a time stay in the processor's cache."""
        columns: list[list[str]] = []
        while (begun := len(columns[0]) if columns else 0) < BATCH:
            rows = list(islice(full, min(TRANSPOSED, BATCH - begun)))
            if not rows:
                break
            columns = columns or [[] for _ in self._header]
            for column, cells in zip(columns, self._transposed(rows, first + begun), strict=True):
                column.extend(cells)
        return columns

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
                self._place = file.buffer.raw.tell  # type: ignore[attr-defined]
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
            self._rows = file.metadata.num_rows
        self._read = 0
        self.columns = list(self._headers)

    def batches(self) -> Iterator[Batch]:
        with self._reading() as file:
            for part in file.iter_batches(BATCH, columns=list(self._headers.values())):
                self._read += part.num_rows
                yield {c: _from_arrow(part.column(h)) for c, h in self._headers.items()}

    def share(self) -> float:
        return float(self._read / max(1, self._rows))

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
        self._read = 0
        if len({len(array) for array in arrays.values()}) > 1:
            raise LoadError(f"{source}: the arrays differ in length")

    def batches(self) -> Iterator[Batch]:
        length = len(self._arrays[self.columns[0]])
        for start in range(0, length, BATCH):
            self._read = min(start + BATCH, length)
            yield {c: _plain(array[start : start + BATCH]) for c, array in self._arrays.items()}

    def share(self) -> float:
        return self._read / max(1, len(self._arrays[self.columns[0]]))

    def where(self, row: int, column: str) -> str:
        return f'{self._source}, row {row + 1}, column "{column}"'


def _plain(values: Any) -> Any:
    """Numbers and instants as arrays, others as Python's own values."""
    if hasattr(values, "dtype"):
        return values if values.dtype.kind in "ifM" and values.dtype.itemsize <= 8 else values.tolist()
    return list(values)


def _from_arrow(column: Any) -> Any:
    """The same of a column of pyarrow's."""
    from pyarrow import types

    kind = column.type
    if types.is_timestamp(kind):
        return column.to_numpy(zero_copy_only=False)  # in UTC, with a zone or without
    if types.is_signed_integer(kind) and not column.null_count:
        return column.to_numpy()
    if types.is_floating(kind) and kind.bit_width > 16:
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()


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
