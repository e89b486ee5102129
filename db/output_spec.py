"""What an output is declared to be, and the table and view that clockmill makes for it."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Double, MetaData, String, Table, inspect
from sqlalchemy.schema import CreateTable
from sqlalchemy.types import TypeEngine

from db.bytewise import Bytewise
from db.columns import Columns, length
from db.errors import OutputError
from db.tables import Long
from db.tables import metadata as ledger_tables

KINDS = ("id", "int", "float", "text", "time", "json")
REDIS_SHAPES = ("json", "set", "hash", None)
NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")

#: Texts in a primary key end here: three of them must fit MySQL's 3,072-byte keys.
KEY_CHARACTERS = 255


@dataclass(frozen=True)
class OutputSpec:
    """A declared output.

    `key` names the column of the entity that a reader asks for; `item` what its list holds; `score` the number beside
    each item, the other columns are the reason. `order` sorts a list. Raises OutputError for a contradiction.
    """

    name: str
    key: str
    columns: Mapping[str, str]
    item: str | None = None
    score: str | None = None
    order: str | None = None
    descending: bool = False
    #: Columns that tell the rows of one entity apart; by default `order` or `item`.
    identity: tuple[str, ...] = ()
    #: Columns that do not count as a change: a row that differs only there is left as it is.
    stamp: tuple[str, ...] = ()
    #: json: one value an entity; set: its items; hash: item -> score in one hash an entity; None: SQL only.
    redis: str | None = "json"
    #: The word between `cm:{ns}:` and the entity; by default the output's name.
    redis_key: str = ""
    #: Redis holds at most so many items of an entity; SQL holds all.
    newest: int | None = None
    #: Days that rows stay after they ceased to be current; None: until the version before the last full one.
    history_days: int | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.columns):
            if not NAME.fullmatch(name):
                raise OutputError(f'output {self.name}: "{name}" is not a name; allowed: {NAME.pattern}')
        if self.name in ledger_tables.tables:
            raise OutputError(f'output "{self.name}": clockmill has a table of that name; choose another')
        for column, kind in self.columns.items():
            if kind not in KINDS:
                raise OutputError(f'output {self.name}: {column} = "{kind}"; allowed: {", ".join(KINDS)}')
        if self.redis not in REDIS_SHAPES:
            raise OutputError(f'output {self.name}: redis = "{self.redis}"; allowed: json, set, hash, None')
        used = (self.key, *filter(None, (self.item, self.score, self.order)), *self.identity, *self.stamp)
        for column in used:
            if column not in self.columns:
                raise OutputError(f'output {self.name}: "{column}" is not among its columns {list(self.columns)}')
        if not self.row_key[1:] and self.item is None and self.redis in ("set", "hash"):
            raise OutputError(f"output {self.name}: a {self.redis} needs an item column")

    @property
    def row_key(self) -> tuple[str, ...]:
        """The columns that no two rows of one version share."""
        own = self.identity or tuple(filter(None, (self.order or self.item,)))
        return (self.key, *(column for column in own if column != self.key))

    @property
    def prefix(self) -> str:
        return self.redis_key or self.name

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns whose difference makes a row a changed one."""
        return tuple(column for column in self.columns if column not in (*self.row_key, *self.stamp))

    def as_json(self, kinds: Mapping[str, str]) -> str:
        return json.dumps({**asdict(self), "columns": dict(kinds)})

    @staticmethod
    def from_json(text_: str) -> "OutputSpec":
        """What was kept of the output when its table was made: kinds are resolved (an id is int or text there)."""
        kept = json.loads(text_)
        return OutputSpec(**{**kept, "identity": tuple(kept["identity"]), "stamp": tuple(kept["stamp"])})


def _type(kind: str, in_key: bool) -> TypeEngine[Any]:
    if kind == "int":
        return BigInteger()
    if kind == "float":
        return Double()
    if kind == "text" and in_key:
        return Bytewise(KEY_CHARACTERS)
    if kind == "time":
        return String(32)
    return Long()


def table_of(spec: OutputSpec) -> Table:
    """The output's table; `spec` with its kinds resolved."""
    own = [
        Column(name, _type(kind, name in spec.row_key), primary_key=name in spec.row_key, autoincrement=False)
        for name, kind in sorted(spec.columns.items(), key=lambda c: _position(spec, c[0]))
    ]
    ranges = [
        Column("since", BigInteger, primary_key=True, autoincrement=False),
        Column("until", BigInteger, nullable=False),
    ]
    return Table(spec.name, MetaData(), *own, *ranges, sqlite_with_rowid=False)


def _position(spec: OutputSpec, column: str) -> tuple[int, int]:
    """The row key first and in its own order: it becomes the primary key."""
    if column in spec.row_key:
        return 0, spec.row_key.index(column)
    return 1, list(spec.columns).index(column)


def create(connection: Connection, spec: OutputSpec) -> None:
    quote = connection.dialect.identifier_preparer.quote
    connection.execute(CreateTable(table_of(spec), if_not_exists=True))
    listed = ", ".join(f"t.{quote(column)}" for column in spec.columns)
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quote(spec.name + '_current')}")
    connection.exec_driver_sql(
        f"CREATE VIEW {quote(spec.name + '_current')} AS SELECT {listed} FROM {quote(spec.name)} t "
        f"JOIN outputs o ON o.name = '{spec.name}' AND t.since <= o.version AND t.{quote('until')} > o.version"
    )


def drop(connection: Connection, spec: OutputSpec) -> None:
    quote = connection.dialect.identifier_preparer.quote
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {quote(spec.name + '_current')}")
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quote(spec.name)}")


def resolve(spec: OutputSpec, columns: Columns) -> OutputSpec:
    """The declaration with every `id` made int or text, as these columns are. Without rows they say nothing."""
    if not length(columns):
        return spec
    return settle(spec, {name: "int" if values.dtype.kind in "iu" else "text" for name, values in columns.items()})


def settle(spec: OutputSpec, kinds: Mapping[str, str]) -> OutputSpec:
    """The declaration with every `id` of the kind given for it, int where none is."""
    settled = {name: kinds.get(name, "int") if kind == "id" else kind for name, kind in spec.columns.items()}
    return OutputSpec(**{**asdict(spec), "columns": settled})


def refuse_foreign(connection: Connection, name: str) -> None:
    """Raises OutputError when a table or view of that name is there and clockmill did not make it."""
    inspector = inspect(connection)
    for taken in (name, f"{name}_current"):
        if inspector.has_table(taken):
            raise OutputError(
                f'output {name}: the database already has "{taken}", which clockmill did not make; '
                "rename the output, or give clockmill a database (or schema) of its own"
            )
