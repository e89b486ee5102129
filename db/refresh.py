"""Single lists of an output, replaced by an event in the one transaction that ends its handling.

Nothing of it is visible or held before that transaction, so it may come while a run builds a version of the output:

    outputs.version  <  versions of events  <  outputs.building  <=  outputs.allocated

Of the lists it replaces, what the build has written already is undone, and the build leaves them alone from then on:
what the event knows is newer than what the build has read.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, select, update

from db import replaced
from db.bulk import Bulk
from db.columns import Columns, changed_rows, length, sort_rows, take
from db.errors import OutputError, Overtaken
from db.output_spec import OutputSpec, settle, table_of
from db.outputs import KEYS_AT_ONCE, OPEN, Build, Published, find

#: A transaction with more rows would hold the lock for too long.
MOST_ROWS = 20_000


class Refresh(Build):
    """Some lists of one output, as a version of their own."""

    @staticmethod
    def of(engine: Engine, spec: OutputSpec, rows: int) -> "Refresh | None":
        """None where only a build will do: nothing is published yet, the table was made otherwise, there are too many
        rows, or a build is under way that leaves no room."""
        try:
            made, row = find(engine, spec.name)
        except OutputError:
            return None
        spec = settle(spec, made.columns)
        same = (dict(made.columns), made.row_key) == (dict(spec.columns), spec.row_key)
        if not same or not row.version or rows > MOST_ROWS or row.building == row.version + 1:
            return None
        return Refresh(engine, spec, None, None, base=row.version, build="partial")

    def __post_init__(self) -> None:
        self._closed: list[Columns] = []
        self._inserted: list[Columns] = []

    def begin(self) -> None:
        """Nothing is there before `publish`."""

    def write(self, columns: Columns, only: Sequence[Any] | None = None) -> None:
        """Compares the lists of `only` with the current ones."""
        assert only is not None
        columns = sort_rows(self._checked(columns, only), self.spec.row_key)
        for current, new in self._key_lists(columns, only):
            inserted, closed = changed_rows(current, new, self.spec.row_key, self.spec.compared)
            self._note_keys(current, closed, new, inserted)
            self._closed.append(take({name: current[name] for name in self.spec.row_key}, closed))
            self._inserted.append(take(new, inserted))
            self.closed += len(closed)
            self.inserted += len(inserted)

    def seal(self) -> None:
        """Digests and basis stay beside the version that has them; what was replaced since is known."""

    def publish(self, connection: Connection, built_at: str, config_digest: str) -> Published:
        """Everything at once. Raises Overtaken when the output has another version than when it was compared with."""
        row = self._lock(connection)
        if row.version != self.base:
            raise Overtaken(f"output {self.spec.name}: version {row.version} came before this one; it is made again")
        undone, values = (0, 0), {}
        if row.building is None:
            self.version = values["allocated"] = row.allocated + 1
        elif row.version + 1 < row.building:
            self.version = row.version + 1
            undone = self._undo(connection, row.building)
        else:
            raise Overtaken(f"output {self.spec.name}: version {row.building} is being built and leaves no room")
        for rows in filter(length, self._closed):
            Bulk(self.engine, table_of(self.spec), {}).change(connection, rows, "until", OPEN, self.version)
        for rows in filter(length, self._inserted):
            constants = {"since": self.version, "until": OPEN}
            Bulk(self.engine, table_of(self.spec), constants).insert(connection, rows)
        replaced.note(connection, self.spec.name, self.version, sorted(self.written), undone)
        return self._point(connection, self.base, built_at, config_digest, **values)

    def _undo(self, connection: Connection, building: int) -> tuple[int, int]:
        """What a build has written of these lists: how many rows were deleted, and how many are open again."""
        table, deleted, reopened = table_of(self.spec), 0, 0
        keys = sorted(self.written)
        for begin in range(0, len(keys), KEYS_AT_ONCE):
            ours = table.c[self.spec.key].in_(keys[begin : begin + KEYS_AT_ONCE])
            theirs, shut = and_(ours, table.c.since == building), and_(ours, table.c.until == building)
            # Counted before: what a driver says of rows it changed is not the same everywhere.
            deleted += connection.execute(select(func.count()).select_from(table).where(theirs)).scalar_one()
            reopened += connection.execute(select(func.count()).select_from(table).where(shut)).scalar_one()
            connection.execute(table.delete().where(theirs))
            connection.execute(update(table).where(shut).values(until=OPEN))
        return deleted, reopened
