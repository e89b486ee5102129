"""Rows and columns: what a job reads and publishes is columns, what is merged here is rows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]


def rows_of(columns: Mapping[str, Any]) -> list[Row]:
    """Arrays or lists of one length as rows of plain Python values; NaN becomes None."""
    listed = [values.tolist() if hasattr(values, "tolist") else list(values) for values in columns.values()]
    return [
        {name: _plain(value) for name, value in zip(columns, row, strict=True)} for row in zip(*listed, strict=True)
    ]


def columns_of(rows: Sequence[Row], names: Iterable[str]) -> dict[str, list[Any]]:
    """The named columns of the rows, each a list."""
    return {name: [row[name] for row in rows] for name in names}


def same(rows: Sequence[Row], others: Sequence[Row], stamp: str) -> bool:
    """Whether both are the same rows in any order, whatever the column `stamp` holds."""
    return len(rows) == len(others) and _bare(rows, stamp) == _bare(others, stamp)


def iso(instant: datetime) -> str:
    """`2026-03-08T07:00:00Z`."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bare(rows: Sequence[Row], stamp: str) -> set[tuple[tuple[str, Any], ...]]:
    return {tuple(sorted((name, value) for name, value in row.items() if name != stamp)) for row in rows}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
