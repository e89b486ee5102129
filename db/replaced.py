"""Which lists of an output events have replaced: kept beside each such version (db.output_state), so that nobody has to
search the table for them.

    replaced.keys       the lists that the version put in the place of others
    replaced.undone     two numbers, if a build was under way: how many of its rows were deleted, and how many reopened
    overtaken.keys      of a build's version: lists that it left as events had made them meanwhile
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, select

from db import engine as transactions
from db import output_state
from db.columns import as_column
from db.tables import output_state as table
from db.tables import publications

REPLACED, OVERTAKEN = "replaced.", "overtaken."

#: What events did after one version, up to another.
SINCE = (
    select(table.c.version, table.c.name, table.c.kind, table.c.content)
    .where(
        table.c.output == bindparam("of"),
        table.c.version > bindparam("after"),
        table.c.version <= bindparam("upto"),
        table.c.name.startswith(REPLACED),
    )
    .order_by(table.c.version, table.c.name, table.c.part)
)
#: The versions that changed something.
CHANGING = select(publications.c.version).where(
    publications.c.output == bindparam("of"),
    publications.c.version > bindparam("after"),
    publications.c.version <= bindparam("upto"),
    publications.c.changed > 0,
)


@dataclass
class Replaced:
    """What events did between two versions: `keys` whose lists they replaced, by which versions, and how many rows of
    a build they deleted or reopened."""

    keys: set[Any] = field(default_factory=set)
    versions: set[int] = field(default_factory=set)
    deleted: int = 0
    reopened: int = 0


def note(connection: Connection, output: str, version: int, keys: Sequence[Any], undone: tuple[int, int]) -> None:
    """Keeps what a version replaced, in the transaction that makes it current."""
    import numpy as np

    arrays = {f"{REPLACED}keys": as_column(list(keys), "id")}
    if any(undone):
        arrays[f"{REPLACED}undone"] = np.array(undone, np.int64)
    output_state.put(connection, output, version, arrays)


def since(connection: Connection, output: str, after: int, upto: int) -> Replaced:
    """What events did after one version, up to another."""
    found = Replaced()
    parts: dict[tuple[int, str], list[tuple[str, bytes]]] = {}
    for row in connection.execute(SINCE, {"of": output, "after": after, "upto": upto}):
        parts.setdefault((row.version, row.name), []).append((row.kind, row.content))
    for (version, name), contents in parts.items():
        values = output_state.whole(contents).tolist()
        if name.endswith("undone"):
            found.deleted += values[0]
            found.reopened += values[1]
        else:
            found.keys.update(values)
            found.versions.add(version)
    return found


def between(engine: Engine, output: str, after: int, upto: int) -> list[Any] | None:
    """The keys of the lists that were replaced; None when others than events changed the output meanwhile."""
    with transactions.read(engine) as connection:
        changing = set(connection.execute(CHANGING, {"of": output, "after": after, "upto": upto}).scalars())
        found = since(connection, output, after, upto)
    return list(found.keys) if changing <= found.versions else None


def overtaken(engine: Engine, output: str, version: int) -> list[Any]:
    """The keys whose lists in that version are not those of its build."""
    kept = output_state.load(engine, output, version, OVERTAKEN)
    return kept["keys"].tolist() if kept else []


def note_overtaken(connection: Connection, output: str, version: int, keys: Sequence[Any]) -> None:
    """The same, written in the transaction that makes the build current."""
    if keys:
        output_state.put(connection, output, version, {f"{OVERTAKEN}keys": as_column(list(keys), "id")})
