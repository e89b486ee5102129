"""From committed SQL to Redis: what the mirror holds of an output is made from the rows that readers of SQL see."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from db import outputs, replaced
from db.columns import Columns, length, take
from db.errors import Lost, Superseded
from db.failpoint import reach
from db.mirror import TURN_S, Mirror
from db.output_spec import OutputSpec
from db.pause import pause
from db.tables import Record

if TYPE_CHECKING:
    from db.entities import Block

#: Entities read and written at once: bounds memory, and how long an event waits whose lists come in between.
ENTITIES_AT_ONCE = 1_000
#: More changed keys than this are not asked for one by one: the whole output is read.
SELECTIVE = 50_000
#: Redis may be flushed while it is written to; after so many times the output stays owed.
TRIES = 3


def mirror_output(
    engine: Engine, mirror: Mirror, name: str, whole: bool = False, build: outputs.Build | None = None
) -> int:
    """Brings Redis to the current version of an output; how many entities were written.

    Only what changed since the version that Redis holds is written, everything after a flush or with `whole`. One
    process at a time does it: were each to give way to the next, an output that is published faster than it is written
    would never be whole. Whoever finds another at it leaves its version to that one, which looks again before it goes;
    with `whole` it waits. `build` is the committed build of a version by this process: what it has at hand is not read
    again. Raises RedisUnavailable.
    """
    spec, row = outputs.find(engine, name)
    if not spec.redis or not row.version:
        return 0
    until = time.monotonic() + (2 * TURN_S if whole else 0)
    done = 0
    for _ in range(TRIES):
        while not (written := _in_turn(engine, mirror, name, whole, build)):
            if time.monotonic() >= until:
                return done
            pause(0.1)
        done += sum(written)
        if mirror.version(name) == outputs.find(engine, name)[1].version:
            break
        whole = False
    return done


def _in_turn(engine: Engine, mirror: Mirror, name: str, whole: bool, build: outputs.Build | None) -> list[int]:
    """How many entities were written, if it was this process's turn."""
    with mirror.turn(name) as mine:
        return [_bring(engine, mirror, name, whole, build)] if mine else []


def _bring(engine: Engine, mirror: Mirror, name: str, whole: bool, build: outputs.Build | None) -> int:
    """When a newer version overtakes this one there is nothing left to do."""
    for _ in range(TRIES):
        spec, row = outputs.find(engine, name)
        try:
            return _mirror(engine, mirror, spec, row, whole, build)
        except Superseded:
            if not _was_set_back(engine, mirror, name):
                return 0
            mirror.forget(name)
        except Lost:
            continue
    return 0


def _was_set_back(engine: Engine, mirror: Mirror, name: str) -> bool:
    """Redis knows a version that the database never gave out: the output was reset, or the database restored."""
    # In this order: a version is given out before Redis hears of it.
    target = int(mirror.meta(name).get("target", 0))
    allocated: int = outputs.find(engine, name)[1].allocated
    return target > allocated


def make_up(engine: Engine, mirror: Mirror, builds: Mapping[str, outputs.Build] = MappingProxyType({})) -> list[str]:
    """Mirrors every output of which Redis does not hold the current version; their names. Raises RedisUnavailable.

    `builds` are those that this process has just committed, by output.
    """
    done = []
    for name, row in outputs.known(engine).items():
        if row.version and OutputSpec.from_json(row.spec_json).redis and mirror.version(name) != row.version:
            mirror_output(engine, mirror, name, build=builds.get(name))
            done.append(name)
    return done


def _mirror(
    engine: Engine, mirror: Mirror, spec: OutputSpec, row: Record, whole: bool, build: outputs.Build | None
) -> int:
    version = row.version
    held = mirror.begin(spec.name, version)
    done = 0
    if held != version or whole:
        own = build if build is not None and build.version == version else None
        changed = None if held is None or whole else _changed(engine, spec, held, version, own)
        if own is not None and own.rows is not None:
            done = _write_at_hand(engine, mirror, spec, own, changed)
        else:
            clean = changed is None or len(changed) > SELECTIVE
            keys = _keys(engine, spec, version, own) if changed is None or clean else changed
            version, done = _write(engine, mirror, spec, version, sorted(keys), clean)
    published = outputs.publication(engine, spec.name, version)
    if published is not None:
        fields = ("run_id", "fence", "rows", "built_at", "config_digest")
        mirror.finish(spec.name, version, {f: v for f in fields if (v := getattr(published, f)) is not None})
    reach("redis-written")
    outputs.mark_mirrored(engine, spec.name, version)
    return done


def _changed(engine: Engine, spec: OutputSpec, held: int, version: int, build: outputs.Build | None) -> list[Any]:
    """The keys of the entities that are others in `version` than in the one that Redis holds."""
    if build is not None and build.base <= held:
        return list(dict.fromkeys([*build.touched, *build.overtaken]))
    return outputs.changed_keys(engine, spec, held, version)


def _keys(engine: Engine, spec: OutputSpec, version: int, build: outputs.Build | None) -> list[Any]:
    """The keys of all entities, and perhaps of some that are gone."""
    if build is None or build.lists is None:
        return outputs.all_keys(engine, spec, version)
    return list({*build.lists.keys.tolist(), *build.overtaken})


def _write_at_hand(
    engine: Engine, mirror: Mirror, spec: OutputSpec, build: outputs.Build, changed: list[Any] | None
) -> int:
    """Writes from the rows that were committed a moment ago: all, or those of the changed keys."""
    import numpy as np

    rows = build.rows or {}
    published = outputs.publication(engine, spec.name, build.version)
    if changed is not None:
        keys = rows[spec.key]
        rows = take(rows, np.isin(keys, np.array(changed, dtype=keys.dtype)))
    done = _write_entities(mirror, spec, build.version, published.built_at if published else "", rows)
    present = {str(key) for key in dict.fromkeys(rows[spec.key].tolist())}
    stale = (mirror.keys_of(spec.prefix) if changed is None else set(map(str, changed))) - present
    mirror.remove(spec.name, build.version, spec.prefix, sorted(stale))
    return done


def _write(
    engine: Engine, mirror: Mirror, spec: OutputSpec, version: int, keys: Sequence[Any], clean: bool
) -> tuple[int, int]:
    """The version that is written in the end, and how many entities were.

    What events replace meanwhile is not kept waiting until all keys are done.
    """
    done, known = 0, {str(key) for key in keys}
    for some, following in _parts(keys):
        newer, urgent = _replaced_since(engine, spec, version)
        if urgent:
            version = newer
            mirror.begin(spec.name, version)
            known |= {str(key) for key in urgent}
            done += _write_part(engine, mirror, spec, version, urgent, {"keys": urgent})
        # When everything is read, a range of keys comes faster than thousands of single ones.
        wanted = {"low": some[0], "high": following} if clean else {"keys": some}
        done += _write_part(engine, mirror, spec, version, some, wanted)
    if clean:
        stale = mirror.keys_of(spec.prefix) - known
        mirror.remove(spec.name, version, spec.prefix, sorted(stale))
    return version, done


def _replaced_since(engine: Engine, spec: OutputSpec, version: int) -> tuple[int, list[Any]]:
    """The current version, and the lists that differ from the given one, if nothing but events replaced them."""
    current = outputs.find(engine, spec.name)[1].version
    if current == version:
        return version, []
    keys = replaced.between(engine, spec.name, version, current)
    return current, sorted(keys) if keys and len(keys) <= SELECTIVE else []


def _write_part(
    engine: Engine, mirror: Mirror, spec: OutputSpec, version: int, keys: Sequence[Any], wanted: Mapping[str, Any]
) -> int:
    """Writes these entities, and removes those that have no rows."""
    published = outputs.publication(engine, spec.name, version)
    rows = outputs.read_rows(engine, spec, version, **wanted)
    done = _write_entities(mirror, spec, version, published.built_at if published else "", rows)
    present = set(rows[spec.key].tolist())
    gone = [key for key in keys if key not in present]
    if gone:
        mirror.remove(spec.name, version, spec.prefix, gone)
    return done


def _parts(keys: Sequence[Any]) -> Iterator[tuple[Sequence[Any], Any]]:
    """Sorted keys in parts, each with the first key after it (None: there is none)."""
    for begin in range(0, len(keys), ENTITIES_AT_ONCE):
        end = begin + ENTITIES_AT_ONCE
        yield keys[begin:end], keys[end] if end < len(keys) else None


def _write_entities(mirror: Mirror, spec: OutputSpec, version: int, at: str, rows: Columns) -> int:
    if not length(rows):
        return 0
    if spec.redis == "set":
        return mirror.write_sets(spec.name, version, spec.prefix, sets(spec, rows))
    if spec.redis == "hash":
        return sum(
            mirror.write_hash(spec.name, version, f"{spec.prefix}:{key}", fields, [], whole=True) and 1
            for key, fields in hashes(spec, rows)
        )
    return mirror.write_blocks(spec.name, version, spec.prefix, json_entities(spec, version, at, rows))


def sets(spec: OutputSpec, rows: Columns) -> Iterator[tuple[str, list[Any]]]:
    """(key, members) of each entity."""
    items = rows[spec.item or spec.key].tolist()
    for key, begin, end in groups(rows, spec.key):
        yield str(key), items[begin:end]


def hashes(spec: OutputSpec, rows: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    """(key, field -> value) of each entity; a whole number is written without a fraction."""
    items = rows[spec.item or spec.key].tolist()
    values = rows[spec.score or spec.key].tolist()
    for key, begin, end in groups(rows, spec.key):
        yield str(key), {str(items[i]): _number(values[i]) for i in range(begin, end)}


def _number(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def groups(rows: Columns, key: str) -> Iterator[tuple[Any, int, int]]:
    """(key, begin, end) of each run of rows with one key."""
    import numpy as np

    keys = rows[key]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.array([], dtype=int)
    ends = np.r_[starts[1:], len(keys)]
    for begin, end in zip(starts.tolist(), ends.tolist(), strict=True):
        value = keys[begin]
        yield value.item() if hasattr(value, "item") else value, begin, end


def json_entities(spec: OutputSpec, version: int, at: str, rows: Columns) -> "Iterator[Block]":
    """The JSON of each entity, its items in the output's order, the newest ones only where it says so."""
    from db.entities import Shape, json_blocks

    item = spec.item or spec.row_key[-1]
    known = {spec.key, item, spec.score, spec.order if spec.order == "rank" else None}
    why = {name: kind for name, kind in spec.columns.items() if name not in known}
    shape = Shape(key=spec.key, item=item, score=spec.score, why=why)
    return json_blocks(version, at, listed(spec, rows), shape)


def listed(spec: OutputSpec, rows: Columns) -> Columns:
    """The rows as a reader wants them: by key, then in the declared order, `newest` of each entity at most."""
    import numpy as np

    if spec.order and (spec.order != spec.row_key[1] or spec.descending):
        keys = np.unique(rows[spec.key], return_inverse=True)[1]
        order = np.unique(rows[spec.order], return_inverse=True)[1]
        rows = take(rows, np.lexsort((-order if spec.descending else order, keys)))
    if spec.newest is None:
        return rows
    kept = [np.arange(begin, min(end, begin + spec.newest)) for _, begin, end in groups(rows, spec.key)]
    return take(rows, np.concatenate(kept)) if kept else rows


def verify(engine: Engine, mirror: Mirror, name: str) -> list[str]:
    """Compares what Redis holds of an output with its current version in SQL; a sentence for each difference.

    Versions and times beside the items are not compared: an unchanged entity keeps those it was written with.
    """
    spec, row = outputs.find(engine, name)
    if not spec.redis:
        return []
    keys = sorted(outputs.all_keys(engine, spec, row.version))
    differences = [] if mirror.version(name) == row.version else [f"Redis does not hold version {row.version} whole"]
    for some, following in _parts(keys):
        rows = outputs.read_rows(engine, spec, row.version, low=some[0], high=following)
        wanted = list(_wanted(spec, row.version, rows))
        held = mirror.read_many(spec.redis, spec.prefix, [key for key, _ in wanted])
        for (key, value), found in zip(wanted, held, strict=True):
            if value != (found["items"] if found and spec.redis == "json" else found):
                differences.append(f"{spec.prefix}:{key} {'differs from SQL' if found else 'is missing'}")
    stale = mirror.keys_of(spec.prefix) - {str(key) for key in keys}
    return differences + [f"{spec.prefix}:{key} is in Redis only" for key in sorted(stale)]


def _wanted(spec: OutputSpec, version: int, rows: Columns) -> Iterator[tuple[str, Any]]:
    """(key, what a reader of Redis should find)."""
    if not length(rows):
        return
    if spec.redis == "set":
        yield from ((key, {str(member) for member in members}) for key, members in sets(spec, rows))
    elif spec.redis == "hash":
        yield from hashes(spec, rows)
    else:
        for block in json_entities(spec, version, "", rows):
            yield from ((key, json.loads(value)["items"]) for key, value in block.values())
