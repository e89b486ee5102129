"""One shard of a run's work: a range of rows of a file that every worker maps, and a file of what came of them.

    <shard folder>/<namespace>/<run>/data.<digest>    what the run's own process wrote: arrays and facts
    <shard folder>/<namespace>/<run>/<shard>.<fence>  what an attempt at one shard made of its rows

A shard is done when its row says `succeeded` and its file has the digest that the row tells. A file is written aside
and renamed; its name has the attempt's fence, so that no late attempt writes over another one's.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clockmill.errors import JobError
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.report import report_of
from clockmill.shard import Shard
from db import snapshots
from db.run import Claim
from db.tables import Record

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


class Files:
    """The files of one run's shards."""

    def __init__(self, mill: Mill, run_id: int) -> None:
        self.folder = mill.shard_folder / str(run_id)
        self._host = mill.host
        self._identity = f"clockmill run {run_id}"
        self._data: dict[str, snapshots.Snapshot] = {}

    def keep_data(self, facts: Mapping[str, Any], arrays: Arrays) -> str:
        """Writes the file that the shards are ranges of, unless it is there; its digest."""
        digest = digest_of(facts, arrays)
        path = self.folder / f"data.{digest}"
        found = snapshots.find(path, self._identity)
        if found is None or found.state != digest:
            self._save(path, digest, facts, arrays)
        return digest

    def data(self, digest: str) -> snapshots.Snapshot:
        """Raises JobError where it cannot be seen."""
        path = self.folder / f"data.{digest}"
        if digest not in self._data:
            found = snapshots.find(path, self._identity)
            if found is None:
                seen = "is damaged" if path.exists() else "is not there"
                raise JobError(
                    f"{path} {seen} on host {self._host}: shards are ranges of a file that the run's own worker "
                    "wrote; where workers are on several hosts, let [scheduler] shard_folder name one folder for all"
                )
            self._data = {digest: found}
        return self._data[digest]

    def keep(self, claim: Claim, arrays: Arrays) -> str:
        """Writes what came of a shard; its digest."""
        digest = digest_of({}, arrays)
        self._save(self._path(claim.run_id, claim.fence), digest, {}, arrays)
        return digest

    def found(self, row: Record) -> Arrays | None:
        """What came of a shard that has succeeded; None where file and row do not agree."""
        found = snapshots.find(self._path(row.run_id, row.fence), self._identity)
        agrees = found is not None and found.state == report_of(row).get("digest")
        return found.arrays if found is not None and agrees else None

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, run_id: int, fence: int) -> Path:
        return self.folder / f"{run_id}.{fence}"

    def _save(self, path: Path, digest: str, facts: Mapping[str, Any], arrays: Arrays) -> None:
        try:
            snapshots.save(path, self._identity, digest, facts, arrays)
        except OSError as e:
            raise JobError(f"{path} cannot be written: {e.strerror or e}; see [scheduler] shard_folder") from None


def digest_of(facts: Mapping[str, Any], arrays: Arrays) -> str:
    """Of the arrays' names, types and bytes, and of the facts."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    return digest.hexdigest()


def work_at(files: Files, mill: Mill, spec: JobSpec, claim: Claim, tell: Callable[[Mapping[str, Any]], None]) -> str:
    """Carries out the shard that was claimed; the digest of what came of it."""
    if spec.shard is None:
        raise JobError(f"job {spec.name} declares no function for shards on host {mill.host}: @job(shard=...)")
    part = claim.params
    data = files.data(part["data"])
    numbers = {name: int(part[name]) for name in ("number", "count", "first", "last")}
    shard = Shard(data.arrays, data.facts, cache_dir=mill.config.var / "cache", _tell=tell, **numbers)
    return files.keep(claim, {name: np.asarray(values) for name, values in spec.shard(shard).items()})
