"""The mirror: what committed SQL says, in Redis, for readers that need it in under a millisecond.

The keys, each under `cm:{ns}:` with the namespace in place of {ns}, without braces:

    <prefix>:<key>      string   one entity of an output as JSON, see db.entities      write_json, write_blocks
    friends:<user_id>   set      the ids of one entity (any prefix)                    write_sets
    counter:<name>      hash     key -> value (any prefix)                             write_hash
    meta:<output>       hash     what Redis holds of an output:
        version, run_id, fence, rows, built_at, config_digest    the last version that is here completely, see finish
        target                                                   the newest version that has begun to be written
        lineage                                                  drawn when the hash was made; gone with a flush
        batches                                                  grows with each batch; smaller after a restart
                                                                 from an old snapshot or a failover to a late replica
    tmp:<output>:<id>   values on their way, a set or hash while it grows: gone in a moment, after an hour at most
    tmp:<output>:turn   whose turn it is to write: kept for TURN_S after the last batch

No current key has a time to live, none is deleted to be written again: an entity changes from one whole value to the
next. Every batch is one run of mirror.lua, which compares target, lineage and batches in the same breath as it writes.
So an older version never overwrites a newer one, and a writer never calls complete what a flush has emptied.

Ids are text of at most 512 bytes without control characters; whatever else Redis would take, people paste these keys
into a shell. One server (with replicas, if you like), not Redis Cluster: a batch touches keys of many slots.
"""

import hashlib
import json
import re
import secrets
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from db.errors import Lost, OutputError, Superseded
from db.redis_server import translated, unavailable

if TYPE_CHECKING:
    from redis import Redis

    from db.entities import Block

#: Keys of one batch. Redis serves nobody else meanwhile: 500 lists of 20 take it 2 ms.
BATCH_KEYS = 500
#: Bytes, or members and fields, after which a batch ends early, for the same reason.
BATCH_BYTES = 4_000_000
BATCH_MEMBERS = 10_000
#: Batches sent in one go, while the next ones are made.
PIPELINED = 4
#: What is put down for the script to take up is gone after so many seconds, if the script may not.
PASSED_S = 60
LONGEST_ID = 512
#: A writer that is silent for so long has lost its turn: it died, or it reads very much at once.
TURN_S = 5.0

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
#: Prefixes that are not an output's to use.
RESERVED = ("meta", "tmp")

#: Keeps a turn for so many milliseconds, or ends it, if it is still that of this token.
TURN = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"
SCRIPT = Path(__file__).with_suffix(".lua").read_text(encoding="utf-8")
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

T = TypeVar("T")
Item = TypeVar("Item", bound="tuple[str, bytes] | tuple[str, Sequence[str | int]]")
Words = Sequence[bytes | str | int]


class Batch(NamedTuple):
    """One run of the script: what to do, to which keys, with what; how many entities are in place after it."""

    act: str
    keys: Sequence[bytes]
    words: Words
    entities: int
    #: What the first key shall hold before, in passing.
    passed: bytes | memoryview = b""


def check_ids(ids: Iterable[str | int]) -> None:
    """Raises OutputError for an id that cannot be part of a key, or a member of a set."""
    for id in map(str, ids):
        if CONTROL.search(id):
            raise OutputError(f"the id {id[:40]!r} has control characters; Redis keys are made of ids without them")
        try:
            size = len(id.encode())
        except UnicodeEncodeError:
            raise OutputError(f"the id {id[:40]!r} is not valid text; Redis keys are UTF-8") from None
        if size > LONGEST_ID:
            raise OutputError(f"the id {id[:40]!r}... has {size} bytes; at most {LONGEST_ID} are allowed")


class Mirror:
    """Writes versions of outputs to one Redis and reads them back. Not for several threads at once.

    A version is written by begin, any number of writes and removes, finish. All of them raise Superseded when a newer
    version has begun, Lost when Redis no longer has what this one builds on (the caller begins again and writes
    everything), and RedisUnavailable when Redis fails. After any of the three what is in Redis is older or partly
    newer, entity by entity, and `version` still says the last complete one; writing the same again does no harm.
    """

    def __init__(self, client: "Redis", namespace: str) -> None:
        self._client = client
        self._root = f"cm:{_checked(namespace, 'the namespace')}:"
        self._begun: dict[str, tuple[str, int]] = {}
        self._turns: dict[str, str] = {}

    @contextmanager
    def turn(self, output: str) -> Iterator[bool]:
        """Within it other writers stand back; False while one of them has it. A courtesy: nothing's safety needs it."""
        key, token = self._turn(output), secrets.token_hex(8)
        with translated(self._client):
            mine = bool(self._client.set(key, token, nx=True, px=int(TURN_S * 1000)))
        if not mine:
            yield False
            return
        self._turns[output] = token
        try:
            yield True
        finally:
            del self._turns[output]
            with translated(self._client):
                self._client.eval(TURN, 1, key, token, 0)

    def begin(self, output: str, version: int) -> int | None:
        """Raises the output's target to `version`; what Redis holds completely, None when everything must be written.

        The changes to write are those since the version that is returned here, not since one asked for earlier:
        Redis may have been emptied in between.
        """
        self._begun[output] = (secrets.token_hex(8), 0)
        answer = self._exchange(output, version, [Batch("begin", [], [], 0)])
        self._begun[output] = (_text(answer[1]), int(answer[0]))
        return int(answer[2]) if answer[2] else None

    def write_json(self, output: str, version: int, prefix: str, items: Iterable[tuple[str, bytes]]) -> int:
        """Sets `<prefix>:<key>` to each value; the number of keys."""
        stem = self._stem(prefix)
        batches = _by_weight(items, BATCH_BYTES)
        return self._send(output, version, (self._string_run(output, stem, batch) for batch in batches))

    def write_blocks(self, output: str, version: int, prefix: str, blocks: "Iterable[Block]") -> int:
        """The same from values that lie one after another, which are never taken apart."""
        stem = self._stem(prefix)
        return self._send(output, version, (run for block in blocks for run in self._block_runs(output, stem, block)))

    def write_sets(
        self, output: str, version: int, prefix: str, items: Iterable[tuple[str, Sequence[str | int]]]
    ) -> int:
        """Replaces the members of each set `<prefix>:<key>`; one without members goes. The number of keys."""
        stem = self._stem(prefix)
        batches = _by_weight(items, BATCH_MEMBERS)
        return self._send(output, version, (run for batch in batches for run in self._set_runs(output, stem, batch)))

    def write_hash(
        self, output: str, version: int, key: str, changed: Mapping[str, str], removed: Sequence[str], whole: bool
    ) -> int:
        """Changes the hash `key` (`counter:<name>`) at once, by fields or as a whole; the number of fields.

        `whole`: afterwards it has the fields of `changed` and no other.
        """
        prefix, _, name = key.partition(":")
        (place,) = _names(self._stem(prefix), [name])
        words = [word for pair in zip(_names("", changed), changed.values(), strict=True) for word in pair]
        gone = [] if whole else _names("", removed)
        self._send(output, version, self._hash_runs(output, place, words, gone, whole))
        return len(changed) + len(gone)

    def remove(self, output: str, version: int, prefix: str, keys: Iterable[str | int]) -> int:
        """Removes `<prefix>:<key>` of each key; the number of keys, there or not."""
        stem = self._stem(prefix)
        batches = (_names(stem, batch) for batch in _by_count(keys, BATCH_KEYS))
        return self._send(output, version, (Batch("remove", names, [], len(names)) for names in batches))

    def finish(self, output: str, version: int, meta: Mapping[str, str | int]) -> None:
        """Declares that `version` is here completely, with the fields of `meta`: run_id, fence, rows, built_at, ..."""
        words: list[str | int] = [word for pair in meta.items() for word in pair]
        self._send(output, version, [Batch("finish", [], words, 0)])

    def forget(self, output: str) -> None:
        """Takes the output for never mirrored: for a database that starts again at lower versions."""
        with translated(self._client):
            self._client.unlink(self._meta(output))

    def version(self, output: str) -> int | None:
        """The last version that Redis holds completely; None when there is none, as after FLUSHALL."""
        held = self.meta(output).get("version")
        return int(held) if held else None

    def meta(self, output: str) -> dict[str, str]:
        """The fields of `meta:<output>`, empty when it was never mirrored."""
        return self._hash(self._meta(output))

    def read_json(self, prefix: str, key: str | int) -> Any:
        """The JSON value of one entity, None when there is none."""
        with translated(self._client):
            value: Any = self._client.get(f"{self._stem(prefix)}{key}")
        return None if value is None else json.loads(value)

    def read_set(self, prefix: str, key: str | int) -> set[str]:
        """The members of one set, ids as text."""
        with translated(self._client):
            members: Any = self._client.smembers(f"{self._stem(prefix)}{key}")
        return {_text(member) for member in members}

    def read_hash(self, key: str) -> dict[str, str]:
        """The fields of one hash (`counter:<name>`)."""
        return self._hash(f"{self._root}{key}")

    def read_field(self, key: str, field: str | int) -> str | None:
        """One field of one hash."""
        with translated(self._client):
            value: Any = self._client.hget(f"{self._root}{key}", str(field))
        return None if value is None else _text(value)

    def read_many(self, shape: str, prefix: str, keys: Sequence[str | int]) -> list[Any]:
        """Many entities of one shape (json, set, hash) in one exchange, as the readers of one give them."""
        stem = self._stem(prefix)
        with translated(self._client):
            pipe = self._client.pipeline(transaction=False)
            ask = {"json": pipe.get, "set": pipe.smembers, "hash": pipe.hgetall}[shape]
            for key in keys:
                ask(f"{stem}{key}")
            answers: list[Any] = pipe.execute()
        return [READ[shape](answer) for answer in answers]

    def evictions(self) -> tuple[int, str]:
        """How many keys the server has thrown away for want of memory since it started, and its policy for that."""
        with translated(self._client):
            pipe = self._client.pipeline(transaction=False)
            pipe.info("stats")
            pipe.info("memory")
            stats, memory = pipe.execute()
        return int(stats.get("evicted_keys", 0)), str(memory.get("maxmemory_policy", "noeviction"))

    def keys_of(self, prefix: str) -> set[str]:
        """The keys of all entities under a prefix."""
        stem = self._stem(prefix)
        with translated(self._client):
            return {_text(key)[len(stem) :] for key in self._client.scan_iter(match=f"{stem}*", count=1000)}

    def _string_run(self, output: str, stem: str, items: Sequence[tuple[str, bytes]]) -> Batch:
        keys, values = zip(*items, strict=True)
        words: Words = [",".join(map(str, map(len, values))), _lines(stem, keys)]
        return Batch("strings", [self._growing(output)], words, len(keys), b"".join(values))

    def _block_runs(self, output: str, stem: str, block: "Block") -> Iterator[Batch]:
        begun = 0
        for first, last in _cuts(block.ends):
            sizes = ",".join(str(b - a) for a, b in pairwise([begun, *block.ends[first:last]]))
            passed = block.data[begun : block.ends[last - 1]]
            words: Words = [sizes, _lines(stem, block.keys[first:last])]
            yield Batch("strings", [self._growing(output)], words, last - first, passed)
            begun = block.ends[last - 1]

    def _set_runs(self, output: str, stem: str, items: Sequence[tuple[str, Sequence[str | int]]]) -> Iterator[Batch]:
        names = _names(stem, [key for key, _ in items])
        if len(items) == 1 and len(items[0][1]) > BATCH_MEMBERS:
            yield from self._staged(output, names[0], [("SADD", _names("", items[0][1]))])
            return
        filled = [(name, _names("", members)) for name, (_, members) in zip(names, items, strict=True) if members]
        empty = [name for name, (_, members) in zip(names, items, strict=True) if not members]
        if filled:
            words = [word for _, members in filled for word in (b"%d" % len(members), *members)]
            yield Batch("sets", [self._growing(output), *(name for name, _ in filled)], words, len(filled))
        if empty:
            yield Batch("remove", empty, [], len(empty))

    def _hash_runs(self, output: str, place: bytes, words: Words, gone: Words, whole: bool) -> Iterable[Batch]:
        if whole and not words:
            return [Batch("remove", [place], [], 1)]
        if whole:
            return self._staged(output, place, [("HSET", words)])
        if len(words) + len(gone) <= BATCH_MEMBERS:
            return [Batch("fields", [place], [len(gone), *gone, *words], 1)]
        return self._staged(output, place, [("HDEL", gone), ("HSET", words)], copied=True)

    def _staged(
        self, output: str, place: bytes, steps: Iterable[tuple[str, Words]], copied: bool = False
    ) -> Iterator[Batch]:
        """An entity too large for one batch grows under a name of its own, then takes its place."""
        growing = self._growing(output)
        if copied:
            yield Batch("copy", [place, growing], [], 0)
        for command, words in steps:
            for part in _by_count(words, BATCH_MEMBERS):
                yield Batch("stage", [growing], [command, *part], 0)
        yield Batch("place", [growing, place], [], 1)

    def _send(self, output: str, version: int, batches: Iterable[Batch]) -> int:
        """Runs the batches in order, the next ones being made while the last ones are on their way."""
        entities = 0
        with ThreadPoolExecutor(1) as sender:
            sent: Future[Any] | None = None
            for group in _by_count(batches, PIPELINED):
                if sent:
                    sent.result()
                sent = sender.submit(self._exchange, output, version, group)
                entities += sum(batch.entities for batch in group)
            if sent:
                sent.result()
        return entities

    def _exchange(self, output: str, version: int, batches: Sequence[Batch]) -> list[Any]:
        """Runs the batches in one round trip; the answer to the last."""
        lineage, seen = self._begun.get(output, ("", 0))  # without a begin: lost
        meta = self._meta(output)
        with translated(self._client):
            pipe = self._client.pipeline(transaction=False)
            pipe.script_load(SCRIPT)  # a server that restarted has forgotten it
            if output in self._turns:
                pipe.eval(TURN, 1, self._turn(output), self._turns[output], int(TURN_S * 1000))
            for act, keys, words, _, passed in batches:
                if passed:
                    pipe.set(keys[0], passed, ex=PASSED_S)
                pipe.evalsha(SCRIPT_SHA, 1 + len(keys), meta, *keys, act, version, lineage, seen, *words)
            answers = pipe.execute(raise_on_error=False)
        for answer in answers:
            self._judge(output, version, answer)
        self._begun[output] = (lineage, int(answers[-1][0]))
        return list(answers[-1])

    def _judge(self, output: str, version: int, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise unavailable(self._client, answer)
        if not isinstance(answer, list):
            return  # SCRIPT LOAD or SET has worked
        if answer[0] == -1:
            raise Superseded(f'output "{output}": version {version} gives way to {answer[1]}, which has begun')
        if answer[0] == -2:
            raise Lost(f'output "{output}": Redis lost what version {version} builds on; it must be written whole')

    def _hash(self, name: str) -> dict[str, str]:
        with translated(self._client):
            fields: Any = self._client.hgetall(name)
        return {_text(field): _text(value) for field, value in fields.items()}

    def _meta(self, output: str) -> str:
        return f"{self._root}meta:{_checked(output, 'the output')}"

    def _turn(self, output: str) -> str:
        return f"{self._root}tmp:{_checked(output, 'the output')}:turn"

    def _growing(self, output: str) -> bytes:
        return f"{self._root}tmp:{output}:{secrets.token_hex(8)}".encode()

    def _stem(self, prefix: str) -> str:
        if prefix in RESERVED:
            raise OutputError(f'the Redis key "{prefix}" is kept by clockmill for itself; take another')
        return f"{self._root}{_checked(prefix, 'the Redis key')}:"


def _checked(name: str, what: str) -> str:
    if not NAME.fullmatch(name):
        raise OutputError(
            f'{what} "{name[:80]}" cannot be part of a Redis key; allowed: letters, digits, "_", ".", "-"'
        )
    return name


def _names(stem: str, ids: Iterable[str | int]) -> list[bytes]:
    """`<stem><id>` of each id; raises OutputError for an id that is not allowed."""
    texts = list(map(str, ids))
    return _lines(stem, texts).split(b"\n") if texts else []


def _lines(stem: str, ids: Sequence[str]) -> bytes:
    """The same line by line, for no id has a line end."""
    # Ids are looked at all together, for the sake of a million of them, and one by one only if something is found.
    if CONTROL.search("".join(ids)) or max(map(len, ids)) > LONGEST_ID // 4:
        check_ids(ids)
    try:
        return (stem + f"\n{stem}".join(ids)).encode()
    except UnicodeEncodeError:
        check_ids(ids)
        raise


READ: dict[str, Callable[[Any], Any]] = {
    "json": lambda value: None if value is None else json.loads(value),
    "set": lambda members: {_text(member) for member in members},
    "hash": lambda fields: {_text(field): _text(value) for field, value in fields.items()},
}


def _by_weight(items: Iterable[Item], limit: int) -> Iterator[list[Item]]:
    """Batches of at most BATCH_KEYS items with `limit` bytes or members in all; one that has more is alone."""
    batch: list[Item] = []
    weight = 0
    for item in items:
        added = len(item[1])
        if batch and (len(batch) == BATCH_KEYS or weight + added > limit):
            yield batch
            batch, weight = [], 0
        batch.append(item)
        weight += added
    if batch:
        yield batch


def _cuts(ends: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of at most BATCH_KEYS values with BATCH_BYTES in all; one that has more is alone."""
    first, begun = 0, 0
    while first < len(ends):
        last = bisect_right(ends, begun + BATCH_BYTES, first, min(len(ends), first + BATCH_KEYS))
        last = max(last, first + 1)
        yield first, last
        first, begun = last, ends[last - 1]


def _by_count(items: Iterable[T], count: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, count)):
        yield batch


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
