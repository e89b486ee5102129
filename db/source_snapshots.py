"""The columns of a source kept on disk, for the next one who wants them while nothing has changed.

Integers, floats, instants and truth values lie as they were read. A column of text ids is kept as its distinct ids
(their bytes and where each ends) and the number of each row's.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from db import snapshots
from db.arrays import Columns
from db.snapshots import KINDS
from db.values import Array, objects


class Kept:
    """One source's columns in one folder: found while `state` is what it was."""

    def __init__(self, folder: Path, source: str, columns: Sequence[str], identity: str) -> None:
        """`identity`: all that the rows depend on beside the database's content: mapping, condition, database."""
        self._path = folder / f"{source}.{'.'.join(columns)}"[:200]
        self._columns = list(columns)
        self._identity = hashlib.sha256(json.dumps([identity, self._columns]).encode()).hexdigest()
        self._found = snapshots.find(self._path, self._identity)

    @property
    def state(self) -> str | None:
        """Of which content there is something; None: of none."""
        return self._found.state if self._found else None

    def columns(self) -> Columns:
        """What was kept."""
        assert self._found is not None
        held, facts = self._found.arrays, self._found.facts
        distinct = {n: _texts(held[f"bytes.{n}"], held[f"ends.{n}"]) for n in set(facts["texts"].values())}
        coded = {name: (distinct[n], held[name]) for name, n in facts["texts"].items()}
        arrays = {c: coded[c][0][coded[c][1]] if c in coded else held[c] for c in self._columns}
        return Columns(arrays, facts["rows"], facts["skipped"], coded)

    def keep(self, columns: Columns, state: str) -> None:
        """Keeps them, unless some are texts that are no ids; a disk that does not take them is no error."""
        if any(values.dtype.kind not in KINDS and name not in columns.coded for name, values in columns.items()):
            return
        tables = {id(ids): str(n) for n, (ids, _) in enumerate(columns.coded.values())}
        arrays: dict[str, Array] = {}
        for name in self._columns:
            ids, codes = columns.coded.get(name, (None, columns[name]))
            arrays[name] = codes
            if ids is not None and f"ends.{tables[id(ids)]}" not in arrays:
                arrays |= _bytes(ids, tables[id(ids)])
        texts = {name: tables[id(ids)] for name, (ids, _) in columns.coded.items()}
        facts = {"rows": columns.rows, "skipped": columns.skipped_null, "texts": texts}
        with contextlib.suppress(OSError):
            snapshots.save(self._path, self._identity, state, facts, arrays)


def _bytes(ids: Array, number: str) -> dict[str, Array]:
    encoded = [text.encode("utf-8", "surrogatepass") for text in ids.tolist()]
    ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
    return {f"bytes.{number}": np.frombuffer(b"".join(encoded), np.uint8), f"ends.{number}": ends}


def _texts(data: Array, ends: Array) -> Array:
    whole = data.tobytes()
    return objects([whole[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise([0, *ends.tolist()])])
