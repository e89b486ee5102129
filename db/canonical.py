"""The canonical shapes of the sources, and the tables of those shapes that clockmill itself has made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    MetaData,
    String,
    Table,
    Text,
    delete,
    inspect,
    select,
)
from sqlalchemy.types import TypeEngine

from db.bytewise import Bytewise
from db.errors import SchemaError
from db.tables import canonical as registry

Kind = Literal["id", "int", "float", "text", "time", "bool"]
IdKind = Literal["int", "text"]

#: Characters of a text id. MySQL bounds an index to 3,072 bytes: one id and one address of URL_LENGTH still fit.
ID_LENGTH = 255
#: Characters of a text that is part of a key (the address of a feed).
URL_LENGTH = 500

#: These columns name the same people, so within one table they are all integers or all text.
USERS = frozenset({"user_id", "friend_id", "sender_id", "recipient_id"})


@dataclass(frozen=True)
class Shape:
    """The columns of a source: their kinds, those no row can be without, and those that tell rows apart."""

    columns: Mapping[str, Kind]
    key: tuple[str, ...]
    required: frozenset[str]

    @property
    def ids(self) -> list[str]:
        return [name for name, kind in self.columns.items() if kind == "id"]


def _shape(key: str, optional: str = "", /, **columns: Kind) -> Shape:
    return Shape(columns, tuple(key.split()), frozenset(columns) - set(optional.split()))


CANONICAL: Mapping[str, Shape] = {
    "users": _shape("user_id", "at", user_id="id", at="time"),
    "posts": _shape("post_id", "at", post_id="id", user_id="id", at="time"),
    "messages": _shape(
        "message_id", "read at", message_id="id", sender_id="id", recipient_id="id", read="bool", at="time"
    ),
    "likes": _shape("user_id post_id", "at", user_id="id", post_id="id", at="time"),
    "friendships": _shape("user_id friend_id", "at", user_id="id", friend_id="id", at="time"),
    "products": _shape("product_id", "name", product_id="id", name="text"),
    "ratings": _shape("user_id product_id", "at", user_id="id", product_id="id", value="float", at="time"),
    "places": _shape("place", place="id", lat="float", lon="float"),
    "feeds": _shape("topic url", topic="id", url="text"),
}


def own_kinds(connection: Connection, source: str) -> dict[str, IdKind] | None:
    """The kinds of the id columns of clockmill's own table, as they stand in the database; None when it has none."""
    if not _registered(connection, source) or not inspect(connection).has_table(source):
        return None
    ids = set(CANONICAL[source].ids)
    columns = inspect(connection).get_columns(source)
    return {c["name"]: "text" if isinstance(c["type"], String) else "int" for c in columns if c["name"] in ids}


def is_foreign(connection: Connection, source: str) -> bool:
    """True when a table of that name exists which clockmill did not make, or which somebody made in its place."""
    if not inspect(connection).has_table(source):
        return False
    names = {column["name"] for column in inspect(connection).get_columns(source)}
    return not _registered(connection, source) or not names.issuperset(CANONICAL[source].columns)


def row_counts(connection: Connection) -> dict[str, int]:
    """What each canonical table held after its last load; raises SchemaError before `db upgrade`."""
    _need_registry(connection)
    rows = connection.execute(select(registry.c.name, registry.c.row_count))
    return {row.name: row.row_count for row in rows}


def register(connection: Connection, source: str, kinds: Mapping[str, IdKind], rows: int) -> None:
    """Records the table as clockmill's own. The row comes first: it also holds back another load of that source."""
    connection.execute(delete(registry).where(registry.c.name == source))
    row = {"name": source, "kinds_json": json.dumps(dict(kinds), sort_keys=True), "row_count": rows}
    connection.execute(registry.insert().values(row))


def canonical_table(source: str, kinds: Mapping[str, IdKind], name: str = "", temporary: bool = False) -> Table:
    """The definition of a source's own table, or of another table of the same columns."""
    shape = CANONICAL[source]
    columns = [
        Column(c, _type(kind, kinds.get(c), c in shape.key), primary_key=c in shape.key, autoincrement=False,
               nullable=c not in shape.required)
        for c, kind in shape.columns.items()
    ]  # fmt: skip
    prefixes = ["TEMPORARY"] if temporary else []
    return Table(name or source, MetaData(), *columns, prefixes=prefixes, sqlite_with_rowid=False)


def _registered(connection: Connection, source: str) -> bool:
    _need_registry(connection)
    return connection.execute(select(registry.c.name).where(registry.c.name == source)).first() is not None


def _need_registry(connection: Connection) -> None:
    if not inspect(connection).has_table(registry.name):
        raise SchemaError(f'the table "{registry.name}" is missing; run `clockmill db upgrade`')


def _type(kind: Kind, ids: IdKind | None, in_key: bool) -> TypeEngine[Any]:
    match kind:
        case "id" if ids == "text":
            return Bytewise(ID_LENGTH)
        case "id" | "int":
            return BigInteger()
        case "float":
            return Double()
        case "bool":
            return Boolean()
        case "time":
            return String(32)
        case "text":
            return Bytewise(URL_LENGTH) if in_key else Text()
