"""Reading outputs back from SQL: one entity as applications, commands and pages see it."""

import json
from typing import Any

from sqlalchemy import Engine

from clockmill.errors import UsageError
from db import outputs
from db.columns import Columns, length
from db.output_spec import OutputSpec
from db.publish import listed

#: The output that holds friends in both directions, and its columns.
FRIENDS = "friends"


def entity(engine: Engine, output: str, id: str | int) -> dict[str, Any]:
    """`{"id", "version", "at", "items"}`: items are [id, score, why], or bare ids of an output that is a set.

    An id without rows has no items. Raises OutputError for an unknown output, UsageError for an id of the wrong type.
    """
    spec, row = outputs.find(engine, output)
    key = read_id(spec, str(id))
    rows = listed(spec, outputs.read_rows(engine, spec, row.version, keys=[key]))
    published = outputs.publication(engine, output, row.version)
    return {
        "id": key,
        "version": row.version,
        "at": published.built_at if published else None,
        "items": items(spec, rows),
    }


def read_id(spec: OutputSpec, text: str) -> Any:
    """The id as the output's key column holds it."""
    if spec.columns[spec.key] != "int":
        return text
    try:
        return int(text)
    except ValueError:
        raise UsageError(f'{spec.name}: "{text}" is not a whole number, as its {spec.key} are') from None


def items(spec: OutputSpec, rows: Columns) -> list[Any]:
    """The entity's list, in order."""
    item = spec.item or spec.row_key[-1]
    ids: list[Any] = rows[item].tolist()
    if spec.redis == "set":
        return ids
    scores = rows[spec.score].tolist() if spec.score else [None] * length(rows)
    hidden = {spec.key, item, spec.score, "rank"}
    why = {name: _values(rows, name, kind) for name, kind in spec.columns.items() if name not in hidden}
    return [
        [ids[i], None if scores[i] != scores[i] else scores[i], {name: values[i] for name, values in why.items()}]
        for i in range(length(rows))
    ]


def _values(rows: Columns, name: str, kind: str) -> list[Any]:
    values = rows[name].tolist()
    if kind == "json":
        return [None if value is None else json.loads(value) for value in values]
    return [None if value != value else value for value in values]


def mutual_friends(engine: Engine, a: str | int, b: str | int) -> list[Any]:
    """The ids of the friends that two users have in common, ascending."""
    spec, row = outputs.find(engine, FRIENDS)
    keys = [read_id(spec, str(a)), read_id(spec, str(b))]
    rows = outputs.read_rows(engine, spec, row.version, keys=keys)
    of: dict[Any, set[Any]] = {key: set() for key in keys}
    for user, friend in zip(rows["user_id"].tolist(), rows["friend_id"].tolist(), strict=True):
        of[user].add(friend)
    return sorted(of[keys[0]] & of[keys[1]])
