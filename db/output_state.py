"""What is kept beside a version of an output for the next one: named arrays, in force once the pointer is there.

    digests.keys, digests.values    a digest of every list (db.digests), so that unchanged ones are not read back
    basis.NAME                      what the publishing job wants to find again (clockmill.context)
    replaced.NAME, overtaken.NAME   what events did meanwhile (db.replaced)

A version that is abandoned leaves arrays that nothing refers to; `sweep` throws them away, with those of old versions.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, bindparam, func, insert, select

from db import engine as transactions
from db.tables import output_state

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays = Mapping[str, "NDArray[Any]"]

#: MySQL refuses a packet over 16 MB, older ones over 4 MB.
PART_BYTES = 2**20
#: So many parts are written, or thrown away, in one transaction: a few tens of milliseconds.
PARTS_AT_ONCE = 3
TEXT = "text"

_OF_VERSION = (output_state.c.output == bindparam("of"), output_state.c.version == bindparam("at"))
#: The arrays whose names begin so, part by part.
PARTS = (
    select(output_state.c.name, output_state.c.kind, output_state.c.content)
    .where(*_OF_VERSION, output_state.c.name.startswith(bindparam("prefix")))
    .order_by(output_state.c.name, output_state.c.part)
)
#: The last version up to one that has such arrays.
NEWEST = select(func.max(output_state.c.version)).where(
    output_state.c.output == bindparam("of"),
    output_state.c.version <= bindparam("upto"),
    output_state.c.name.startswith(bindparam("prefix")),
)
#: A version that was tried before has parts of the same names.
DROP_PART = output_state.delete().where(
    output_state.c.output == bindparam("of"),
    output_state.c.version == bindparam("at"),
    output_state.c.name == bindparam("called"),
    output_state.c.part == bindparam("number"),
)
#: What no version from the kept ones on needs.
STALE = select(output_state.c.version, output_state.c.name, output_state.c.part).where(
    output_state.c.output == bindparam("of"),
    output_state.c.version.not_in(bindparam("kept", expanding=True)),
    (output_state.c.version <= bindparam("upto")) | ~output_state.c.name.startswith(bindparam("prefix")),
)


def save(engine: Engine, output: str, version: int, arrays: Arrays, hold: Callable[[Connection], None]) -> None:
    """Writes the arrays in short transactions. Each calls `hold` first, which raises when another writer took over.

    Arrays are of a fixed-width dtype, or of str objects.
    """
    for some in _some(_rows(output, version, arrays)):
        gone = [{"of": output, "at": version, "called": part["name"], "number": part["part"]} for part in some]

        def work(connection: Connection, some: Any = some, gone: Any = gone) -> None:
            hold(connection)
            connection.execute(DROP_PART, gone)
            connection.execute(insert(output_state), list(some))

        transactions.in_write(engine, work)


def put(connection: Connection, output: str, version: int, arrays: Arrays) -> None:
    """Writes a few small arrays in the caller's transaction."""
    connection.execute(insert(output_state), _rows(output, version, arrays))


def load(engine: Engine, output: str, version: int, prefix: str) -> "dict[str, NDArray[Any]]":
    """The arrays of a version whose names begin so, by the rest of their names."""
    found: dict[str, list[tuple[str, bytes]]] = {}
    with transactions.read(engine) as connection:
        for name, kind, content in connection.execute(PARTS, {"of": output, "at": version, "prefix": prefix}):
            found.setdefault(name.removeprefix(prefix), []).append((kind, content))
    return {name: whole(parts) for name, parts in found.items()}


def newest(engine: Engine, output: str, upto: int, prefix: str) -> int | None:
    """The last version, `upto` at most, of which there are such arrays."""
    with transactions.read(engine) as connection:
        found: int | None = connection.execute(NEWEST, {"of": output, "upto": upto, "prefix": prefix}).scalar()
        return found


def sweep(engine: Engine, output: str, kept: list[int], prefix: str, upto: int) -> None:
    """Throws away the arrays of all versions but these, a few parts a transaction; those that begin with `prefix` stay
    beside every version after `upto`."""
    with transactions.read(engine) as connection:
        stale = connection.execute(STALE, {"of": output, "kept": kept, "prefix": prefix, "upto": upto}).all()
    for some in _some(stale):
        gone = [{"of": output, "at": row.version, "called": row.name, "number": row.part} for row in some]

        def work(connection: Connection, gone: Any = gone) -> None:
            connection.execute(DROP_PART, gone)

        transactions.in_write(engine, work)


def forget(connection: Connection, output: str) -> None:
    """Throws away all that is kept of an output."""
    connection.execute(output_state.delete().where(output_state.c.output == output))


def _some(parts: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (parts[at : at + PARTS_AT_ONCE] for at in range(0, len(parts), PARTS_AT_ONCE))


def _rows(output: str, version: int, arrays: Arrays) -> list[dict[str, Any]]:
    return [
        {"output": output, "version": version, "name": name, "part": number, "kind": kind, "content": content}
        for name, values in arrays.items()
        for number, (kind, content) in enumerate(_parts(values))
    ]


def _parts(values: "NDArray[Any]") -> Iterator[tuple[str, bytes]]:
    if values.dtype == object:
        kind, content = TEXT, json.dumps(values.tolist(), ensure_ascii=False).encode()
    else:
        kind, content = values.dtype.str, values.tobytes()
    for at in range(0, max(len(content), 1), PART_BYTES):
        yield kind, content[at : at + PART_BYTES]


def whole(parts: Sequence[tuple[str, bytes]]) -> "NDArray[Any]":
    """An array of its parts, each with how its bytes are read."""
    import numpy as np

    kind, content = parts[0][0], b"".join(content for _, content in parts)
    if kind != TEXT:
        return np.frombuffer(content, dtype=kind)
    texts = json.loads(content)
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
