"""Outputs: datasets published whole, version by version, into tables that readers join.

A row carries [since, until): it belongs to version v when since <= v < until. A new version's rows are written with a
`since` that no reader sees yet, in batches; moving the pointer (outputs.version) makes all of them visible at once.
Only rows that changed are written, so an unchanged list costs nothing and history is kept by the same ranges.

    allocate version, set `building`  ->  batches: close old rows, insert new ones  ->  pointer, as the run ends

A version that was abandoned half-way is undone before the next one begins, and its writer, should it still live, finds
`building` changed and is fenced off. Events replace single lists while a version is being built (db.refresh): the
build leaves numbers free for that, and lists that an event has replaced since its source was read as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Connection, Engine, Select, and_, insert, select, update

from db import engine as transactions
from db import output_state, replaced
from db import statements as sql
from db.bulk import Bulk, plain
from db.columns import Columns, as_column, changed_rows, length, sort_rows, take, to_columns
from db.errors import Fenced, OutputError, did_you_mean
from db.failpoint import reach
from db.output_spec import KEY_CHARACTERS, OutputSpec, create, drop, refuse_foreign, settle, table_of
from db.pace import Pace
from db.sweeping import sweep
from db.tables import Record, outputs, publications

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from db.digests import Lists

#: `until` of a row that is still current.
OPEN = 2**63 - 1
#: Rows compared at once: bounds memory, not time.
CHUNK_ROWS = 200_000
#: Keys in one `IN (...)`.
KEYS_AT_ONCE = 500
#: From so many rows on digests are kept: fewer are compared sooner than that.
DIGESTED_ROWS = 2_000
#: Above this part of changed lists, reading by ranges beats asking for single keys.
SELECTIVE = 0.25
#: The names of what is kept beside a version begin with one of these (db.output_state).
DIGESTS, BASIS = "digests.", "basis."
#: So many versions of events find room before a build's, where handlers of events publish to the output.
ROOM = 10_000


@dataclass(frozen=True)
class Published:
    """What one publication came to."""

    output: str
    version: int
    rows: int
    changed: int


def known(engine: Engine) -> dict[str, Record]:
    """Every output that was ever published, by name."""
    with transactions.read(engine) as connection:
        return {row.name: row for row in connection.execute(select(outputs).order_by(outputs.c.name))}


def versions(engine: Engine) -> dict[str, int]:
    """The current version of each."""
    return {name: row.version for name, row in known(engine).items()}


def find(engine: Engine, name: str) -> tuple[OutputSpec, Record]:
    """The output as its table was made, and its row. Raises OutputError for one that was never published."""
    rows = known(engine)
    if name not in rows:
        raise OutputError(
            f'output "{name}" was never published{did_you_mean(name, rows)}; published: {", ".join(rows) or "none"}'
        )
    return OutputSpec.from_json(rows[name].spec_json), rows[name]


def publication(engine: Engine, name: str, version: int) -> Record | None:
    with transactions.read(engine) as connection:
        where = (publications.c.output == name, publications.c.version == version)
        return connection.execute(select(publications).where(*where)).first()


# -- writing ----------------------------------------------------------------------------------------------------------


@dataclass
class Build:
    """One version of one output while it is written, by one attempt of one run."""

    engine: Engine
    spec: OutputSpec
    run_id: int | None
    fence: int | None
    #: How many versions events may make while this one is built.
    room: int = 0
    #: The version that was current when the source was read; None: when the build begins.
    seen: int | None = None
    version: int = 0
    base: int = 0
    build: str = "full"
    restores: int | None = None
    inserted: int = 0
    closed: int = 0
    #: The keys of the lists that differ from the version before, and all rows of this one where they are at hand.
    touched: list[Any] = field(default_factory=list)
    rows: Columns | None = None
    #: What has been written: everything, or these keys.
    whole: bool = False
    written: set[Any] = field(default_factory=set)
    #: The digests of this version's lists as far as they are written, and what else is kept beside the version.
    lists: "Lists | None" = None
    state: dict[str, "NDArray[Any]"] = field(default_factory=dict)
    #: The lists that events replaced since `seen`, up to the version `heard`: theirs are newer.
    overtaken: set[Any] = field(default_factory=set)
    heard: int = 0

    def __post_init__(self) -> None:
        self.pace = Pace(self.engine)

    # -- beginning

    def begin(self) -> None:
        """Takes the next version number; from here on every older writer of this output is fenced off."""
        self._ensure_table()

        def work(connection: Connection) -> bool:
            row = self._lock(connection)
            self.base, self.version = row.version, row.allocated + 1 + self.room
            values = {"allocated": self.version, "building": self.version}
            connection.execute(update(outputs).where(outputs.c.name == self.spec.name).values(**values))
            return row.building is not None

        abandoned, self.heard = transactions.in_write(self.engine, work), self.base
        if self.seen is not None and self.seen < self.base:
            with transactions.read(self.engine) as connection:
                self.overtaken = replaced.since(connection, self.spec.name, self.seen, self.base).keys
        if abandoned:
            self._undo_abandoned()
        self._sweep_state()

    def _sweep_state(self) -> None:
        """Throws away what neither this version, nor the next one, nor Redis asks for."""
        name = self.spec.name
        newest = [output_state.newest(self.engine, name, self.base, prefix) for prefix in (BASIS, DIGESTS)]
        kept = [self.base, *(version for version in newest if version)]
        asked = (find(self.engine, name)[1].mirrored or self.base, self.base if self.seen is None else self.seen)
        known = min(*kept, *asked)
        output_state.sweep(self.engine, name, kept, replaced.REPLACED, known)

    def _ensure_table(self) -> None:
        def work(connection: Connection) -> None:
            row = connection.execute(select(outputs).where(outputs.c.name == self.spec.name).with_for_update()).first()
            made = OutputSpec.from_json(row.spec_json) if row is not None else None
            self.spec = settle(self.spec, made.columns if made else {})
            if row is None or made is None:
                first = {"name": self.spec.name, "spec_json": self.spec.as_json(self.spec.columns)}
                refuse_foreign(connection, self.spec.name)
                connection.execute(sql.insert_ignore(connection, outputs), {**first, **NOTHING_PUBLISHED})
                create(connection, self.spec)
                return
            if row.version == 0:
                # MySQL commits at every DDL: whoever died in between left the row without its table.
                create(connection, made)
            if (dict(made.columns), made.row_key) != (dict(self.spec.columns), self.spec.row_key):
                self._remake(connection, made)
            kept = self.spec.as_json(self.spec.columns)
            if kept != row.spec_json:
                where = outputs.c.name == self.spec.name
                connection.execute(update(outputs).where(where).values(spec_json=kept))

        transactions.in_write(self.engine, work)

    def _remake(self, connection: Connection, made: OutputSpec) -> None:
        """An empty table gives way to the new declaration; one with rows is never dropped unasked."""
        if connection.execute(select(table_of(made).c.since).limit(1)).first() is None:
            drop(connection, made)
            create(connection, self.spec)
            return
        differ = [
            f"{name} was {made.columns.get(name, 'absent')}, is {kind}"
            for name, kind in self.spec.columns.items()
            if made.columns.get(name) != kind
        ]
        raise OutputError(
            f"output {self.spec.name}: its table was made otherwise ({'; '.join(differ) or 'other key or columns'}); "
            f"to start it afresh run: clockmill outputs reset {self.spec.name}"
        )

    def _lock(self, connection: Connection) -> Record:
        where = outputs.c.name == self.spec.name
        return connection.execute(select(outputs).where(where).with_for_update()).one()

    def _hold(self, connection: Connection) -> None:
        row = self._lock(connection)
        if row.building != self.version:
            raise Fenced(f"output {self.spec.name}: version {self.version} gave way to a newer writer; nothing is lost")
        self._hear(connection, row.version)

    def _hear(self, connection: Connection, upto: int) -> None:
        """What events have replaced meanwhile is left as it is; of what was written here they have undone some."""
        if upto == self.heard:
            return
        found = replaced.since(connection, self.spec.name, self.heard, upto)
        self.overtaken |= found.keys
        self.inserted -= found.deleted
        self.closed -= found.reopened
        self.heard = upto

    def _undo_abandoned(self) -> None:
        """Deletes rows that no version shows and reopens those that an abandoned version closed."""
        table = table_of(self.spec)
        dead = and_(table.c.since > self.base, table.c.since < self.version)
        shut = and_(table.c.until > self.base, table.c.until < self.version)
        sweep(self.engine, table, dead, table.delete(), self._hold)
        sweep(self.engine, table, shut, update(table).values(until=OPEN), self._hold)

    # -- rows

    def write(self, columns: Columns, only: Sequence[Any] | None = None) -> None:
        """Writes what differs from the current version. `only`: these keys alone are replaced."""
        columns = sort_rows(self._checked(columns, only), self.spec.row_key)
        self.build = self.build if only is None else "partial"
        # A row that differs in a stamp alone stays as it is: what is read then is not what was written here.
        self.rows = columns if only is None and not self.spec.stamp else None
        for current, new in self._parts(columns, only):
            inserted, closed = changed_rows(current, new, self.spec.row_key, self.spec.compared)
            self._note_keys(current, closed, new, inserted)
            self._close(take(current, closed))
            self._insert(take(new, inserted))

    def _checked(self, columns: Columns, only: Sequence[Any] | None) -> Columns:
        absent = [name for name in self.spec.columns if name not in columns]
        extra = [name for name in columns if name not in self.spec.columns]
        if absent or extra:
            raise OutputError(f"output {self.spec.name}: missing columns {absent}, undeclared columns {extra}")
        if len({len(values) for values in columns.values()}) > 1:
            raise OutputError(f"output {self.spec.name}: its columns have different lengths")
        for name in self.spec.row_key:
            if self.spec.columns[name] == "text" and any(len(value) > KEY_CHARACTERS for value in columns[name]):
                raise OutputError(f"output {self.spec.name}: a {name} has over {KEY_CHARACTERS} characters")
        if only is not None:
            strangers = set(columns[self.spec.key].tolist()) - set(only)
            if strangers:
                raise OutputError(f"output {self.spec.name}: key {min(strangers)!r} is not among `only`")
        self._once(only)
        if not length(columns):
            return {name: as_column([], kind) for name, kind in self.spec.columns.items()}
        return {name: columns[name] for name in self.spec.columns}

    def _once(self, only: Sequence[Any] | None) -> None:
        """What this version holds already is not compared again: only the version before it is."""
        again = self.whole or (self.written if only is None else self.written & set(only))
        if again:
            raise OutputError(
                f"output {self.spec.name}: the same rows are published twice in one run; publish them once"
            )
        self.whole = only is None
        self.written |= set(only or ())

    def _parts(self, columns: Columns, only: Sequence[Any] | None) -> Iterator[tuple[Columns, Columns]]:
        """(current, new) rows of the lists that may differ: those whose digest does, where digests are kept."""
        from db import digests

        before, new = self._digests(), digests.digest_lists(self.spec, columns)
        if only is not None:
            whole = self.lists or before
            self.lists = digests.merged(whole, new, only) if whole else None
            if before is None:
                return self._key_lists(columns, only)
            before = digests.chosen(before, only)
        elif before is not None or length(columns) >= DIGESTED_ROWS:
            self.lists = new
        if before is None:
            return self._ranges(columns)
        changed, gone = digests.differing(before, new)
        if only is None and len(changed) + len(gone) > len(new.keys) * SELECTIVE:
            return self._ranges(columns)
        kept = digests.places(changed, columns[self.spec.key]) >= 0
        return self._key_lists(take(columns, kept), [*changed.tolist(), *gone.tolist()])

    def _digests(self) -> "Lists | None":
        """The digests of the lists of the version before this one; None where none are kept."""
        from db.digests import Lists, unsettled

        name = self.spec.name
        version = output_state.newest(self.engine, name, self.base, DIGESTS)
        others = None if version is None else replaced.between(self.engine, name, version, self.base)
        if version is None or others is None:
            return None
        kept = output_state.load(self.engine, name, version, DIGESTS)
        renewed = [*others, *replaced.overtaken(self.engine, name, version)]
        return unsettled(Lists(kept["keys"], kept["values"]), renewed)

    def _ranges(self, columns: Columns) -> Iterator[tuple[Columns, Columns]]:
        """(current, new) by ranges of keys that together cover everything; a key is never torn."""
        keys, n = columns[self.spec.key], length(columns)
        low: Any = None
        begin = 0
        while True:
            end = min(begin + CHUNK_ROWS, n)
            while 0 < end < n and keys[end] == keys[end - 1]:
                end += 1
            high = None if end >= n else keys[end].item() if hasattr(keys[end], "item") else keys[end]
            yield self._current(low, high), {name: values[begin:end] for name, values in columns.items()}
            if high is None:
                return
            low, begin = high, end

    def _key_lists(self, columns: Columns, only: Sequence[Any]) -> Iterator[tuple[Columns, Columns]]:
        """(current, new) by lists of keys; `columns` has no others."""
        import numpy as np

        wanted = sorted(set(only))
        for begin in range(0, len(wanted), KEYS_AT_ONCE):
            keys = wanted[begin : begin + KEYS_AT_ONCE]
            first = np.searchsorted(columns[self.spec.key], keys[0], "left")
            last = np.searchsorted(columns[self.spec.key], keys[-1], "right")
            new = {name: values[first:last] for name, values in columns.items()}
            yield read_rows(self.engine, self.spec, self.base, keys=keys), new

    def _current(self, low: Any, high: Any) -> Columns:
        return read_rows(self.engine, self.spec, self.base, low=low, high=high)

    def _note_keys(self, current: Columns, closed: "NDArray[Any]", new: Columns, inserted: "NDArray[Any]") -> None:
        self.touched.extend(dict.fromkeys(current[self.spec.key][closed].tolist()))
        self.touched.extend(dict.fromkeys(new[self.spec.key][inserted].tolist()))

    def _close(self, rows: Columns) -> None:
        keys = {name: rows[name] for name in self.spec.row_key}
        bulk = Bulk(self.engine, table_of(self.spec), {})
        self.closed += self._in_batches(keys, lambda c, some: bulk.change(c, some, "until", OPEN, self.version))

    def _insert(self, rows: Columns) -> None:
        bulk = Bulk(self.engine, table_of(self.spec), {"since": self.version, "until": OPEN})
        self.inserted += self._in_batches(rows, bulk.insert, self._landed)

    def _in_batches(
        self,
        rows: Columns,
        put: Callable[[Connection, Columns], None],
        landed: Callable[[Connection, Columns], bool] = lambda connection, batch: False,
    ) -> int:
        done, written, n = 0, 0, length(rows)
        while done < n:
            batch = {name: values[done : done + self.pace.rows] for name, values in rows.items()}
            with self.pace.transaction():
                written += transactions.in_write(self.engine, self._batch(batch, put, landed))
            reach("effect-batch")
            done += length(batch)
        return written

    def _batch(
        self, batch: Columns, put: Callable[[Connection, Columns], None], landed: Callable[[Connection, Columns], bool]
    ) -> Callable[[Connection], int]:
        """The batch as a transaction that can be tried again, even if it was committed; how many rows it writes."""
        sent: list[bool] = []

        def work(connection: Connection) -> int:
            self._hold(connection)
            own = self._not_overtaken(batch)
            if length(own) and not (sent and landed(connection, own)):
                sent.append(True)
                put(connection, own)
            return length(own)

        return work

    def _not_overtaken(self, batch: Columns) -> Columns:
        import numpy as np

        if not self.overtaken:
            return batch
        keys = batch[self.spec.key]
        return take(batch, ~np.isin(keys, np.array(list(self.overtaken), dtype=keys.dtype)))

    def _landed(self, connection: Connection, batch: Columns) -> bool:
        """True when the last row of a batch of new ones is there; rows that are only closed can be closed twice."""
        table = table_of(self.spec)
        at = [table.c[name] == plain(batch[name][-1:])[0] for name in self.spec.row_key]
        query = select(table.c.since).where(*at, table.c.since == self.version)
        return connection.execute(query).first() is not None

    # -- ending

    def seal(self) -> None:
        """Keeps beside the version what spares the next one work. The version is whole without it."""
        kept = dict(self.state)
        if self.lists is not None:
            kept |= {f"{DIGESTS}keys": self.lists.keys, f"{DIGESTS}values": self.lists.values}
        if kept:
            output_state.save(self.engine, self.spec.name, self.version, kept, self._hold)

    def publish(self, connection: Connection, built_at: str, config_digest: str) -> Published:
        """Moves the pointer, in the transaction that also ends the run."""
        self._hold(connection)
        replaced.note_overtaken(connection, self.spec.name, self.version, list(self.overtaken))
        if self.overtaken:
            self.rows = None
        return self._point(connection, self.heard, built_at, config_digest, building=None)

    def _point(
        self, connection: Connection, before: int, built_at: str, config_digest: str, **values: Any
    ) -> Published:
        """Makes the version the current one, after that of the number `before`."""
        of_before = (publications.c.output == self.spec.name, publications.c.version == before)
        rows = connection.execute(select(publications.c.rows).where(*of_before)).scalar() or 0
        rows += self.inserted - self.closed
        values["version"] = self.version
        connection.execute(update(outputs).where(outputs.c.name == self.spec.name).values(**values))
        connection.execute(
            insert(publications),
            {
                "output": self.spec.name,
                "version": self.version,
                "run_id": self.run_id,
                "fence": self.fence,
                "build": self.build,
                "restores": self.restores,
                "rows": rows,
                "changed": self.inserted + self.closed,
                "built_at": built_at,
                "config_digest": config_digest,
            },
        )
        return Published(self.spec.name, self.version, rows, self.inserted + self.closed)


NOTHING_PUBLISHED = {"version": 0, "allocated": 0, "mirrored": 0, "kept_from": 0}


def rollback(engine: Engine, name: str, built_at: str) -> Published:
    """Publishes a new version with the content of the last full one before the current, or before the one restored.

    Raises OutputError when there is none whose rows are still kept.
    """
    spec, row = find(engine, name)
    current = publication(engine, name, row.version)
    before = row.version if current is None or current.restores is None else current.restores
    with transactions.read(engine) as connection:
        full = (publications.c.output == name, publications.c.build == "full", publications.c.version < before)
        query = select(publications).where(*full).order_by(publications.c.version.desc())
        target = connection.execute(query).first()
    if target is None or target.version < row.kept_from:
        raise OutputError(f"output {name}: there is no full version before {before} whose rows are still kept")
    build = Build(engine, spec, None, None, build="rollback", restores=target.version)
    build.begin()
    build.write(read_rows(engine, spec, target.version))
    build.seal()
    with transactions.write(engine) as connection:
        return build.publish(connection, built_at, target.config_digest)


def reset(engine: Engine, name: str) -> None:
    """Forgets an output: its table, view and versions. The next publication starts at version 1."""
    spec, _ = find(engine, name)
    with transactions.write(engine) as connection:
        drop(connection, spec)
        output_state.forget(connection, name)
        connection.execute(outputs.delete().where(outputs.c.name == name))
        connection.execute(publications.delete().where(publications.c.output == name))


def oldest_kept(engine: Engine, name: str, current: int, cutoff: str | None) -> int:
    """The oldest version whose rows must stay: the last full one before the current, or the first since `cutoff`."""
    with transactions.read(engine) as connection:
        where = (publications.c.output == name, publications.c.version < current)
        past = connection.execute(select(publications).where(*where).order_by(publications.c.version.desc())).all()
    full = next((row.version for row in past if row.build == "full"), current)
    recent = [row.version for row in past if cutoff and row.built_at >= cutoff]
    return int(min([full, *recent]))


def prune(engine: Engine, spec: OutputSpec, oldest: int) -> int:
    """Deletes rows that no version from `oldest` on shows, in short batches; returns how many."""
    with transactions.write(engine) as connection:
        where = (outputs.c.name == spec.name, outputs.c.kept_from < oldest)
        connection.execute(update(outputs).where(*where).values(kept_from=oldest))
    table = table_of(spec)
    return sweep(engine, table, table.c.until <= oldest, table.delete())


# -- reading ----------------------------------------------------------------------------------------------------------


def _of_kinds(spec: OutputSpec, columns: Sequence[Column[Any]]) -> Select[Any]:
    """A query for some columns whose text tells their types.

    PostgreSQL refuses a prepared statement whose result changed its types, as after a reset of the output; psycopg
    knows it by its text.
    """
    kinds = ", ".join(f"{column.name} {spec.columns[column.name]}" for column in columns)
    return select(*columns).prefix_with(f"/* {kinds} */")


def read_rows(
    engine: Engine,
    spec: OutputSpec,
    version: int,
    *,
    keys: Sequence[Any] | None = None,
    low: Any = None,
    high: Any = None,
) -> Columns:
    """The rows of one version, sorted by row key: all, those of some keys, or those with low <= key < high."""
    table = table_of(spec)
    key = table.c[spec.key]
    query = _of_kinds(spec, [table.c[name] for name in spec.columns])
    query = query.where(table.c.since <= version, table.c.until > version)
    if keys is not None:
        query = query.where(key.in_(keys))
    if low is not None:
        query = query.where(key >= low)
    if high is not None:
        query = query.where(key < high)
    query = query.order_by(*(table.c[name] for name in spec.row_key))
    with transactions.read(engine) as connection:
        # The driver's own tuples: SQLAlchemy's rows would double the time, and nothing here needs their names.
        rows = connection.execute(query).cursor.fetchall() if version else []
    return to_columns(rows, spec.columns)


def changed_keys(engine: Engine, spec: OutputSpec, after: int, upto: int) -> list[Any]:
    """The keys of which something changed after one version, up to and including another."""
    single = replaced.between(engine, spec.name, after, upto)
    if single is not None:
        return single
    table = table_of(spec)
    key = table.c[spec.key]
    began = _of_kinds(spec, [key]).where(table.c.since > after, table.c.since <= upto)
    ended = select(key).where(table.c.until > after, table.c.until <= upto)
    with transactions.read(engine) as connection:
        return [row[0] for row in connection.execute(began.union(ended))]


def all_keys(engine: Engine, spec: OutputSpec, version: int) -> list[Any]:
    table = table_of(spec)
    where = (table.c.since <= version, table.c.until > version)
    with transactions.read(engine) as connection:
        query = _of_kinds(spec, [table.c[spec.key]]).where(*where).distinct().order_by(table.c[spec.key])
        return [row[0] for row in connection.execute(query)]


def mark_mirrored(engine: Engine, name: str, version: int) -> None:
    """Notes that Redis holds this version whole; never takes it back to an older one."""
    with transactions.write(engine) as connection:
        where = (outputs.c.name == name, outputs.c.mirrored < version)
        connection.execute(update(outputs).where(*where).values(mirrored=version))
