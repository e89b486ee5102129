"""Parts of a source by its increment column: how far its rows go, and those from one mark to another.

A mark is a value of that column as SQL writes it; whoever keeps one need not know its type. A source whose rows are
only ever added may be counted part by part, for a row stays in the part it was in.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine

from db import sources
from db.errors import SourceError
from db.sources import SourceSpec


@dataclass(frozen=True)
class Part:
    """The rows from `since` on, below `before`, or `at` a mark exactly. Rows without an increment lie before all."""

    since: str | None = None
    before: str | None = None
    at: str | None = None


def furthest(engine: Engine, spec: SourceSpec, since: str | None = None) -> str | None:
    """The mark of the last rows; None when there are none, or none from `since` on.

    Raises SourceError where the increment column is missing, or has values without a plain literal.
    """
    value = sources.largest(engine, narrowed(spec, Part(since)))
    return None if value is None else literal(spec, value)


def narrowed(spec: SourceSpec, part: Part) -> SourceSpec:
    """The source with the rows of that part alone."""
    column = sources.quoted(spec.increment or "")
    conditions = [f"(\n{spec.where}\n)"] if spec.where else []
    if part.since is not None:
        conditions.append(f"{column} >= {part.since}")
    if part.before is not None:
        below = f"{column} < {part.before}"
        conditions.append(below if part.since is not None else f"({below} OR {column} IS NULL)")
    if part.at is not None:
        conditions.append(f"{column} = {part.at}")
    return replace(spec, where=" AND ".join(conditions) or None)


def literal(spec: SourceSpec, value: Any) -> str:
    match value:
        case bool():
            pass
        case int() | Decimal():
            return str(value)
        case float() if abs(value) < float("inf"):
            return repr(value)
        case datetime():
            return f"'{value.isoformat(sep=' ')}'"
        case date():
            return f"'{value.isoformat()}'"
        # A backslash means itself on two of the databases, and something else on the third.
        case str() if "\\" not in value and "\0" not in value:
            return "'" + value.replace("'", "''") + "'"
    raise SourceError(f"{spec.called} increment: {value!r} is no mark; allowed: numbers, dates, times, plain texts")
