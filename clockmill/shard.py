"""What works at one shard of a run is given this."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shard:
    """What the function that a job declares as `shard` is given. It returns arrays by name, and does nothing else:
    it may be run twice, here and on another host, and must give the same both times.

    arrays, facts: what the run gave to `ctx.shards`; rows [first, last) are this shard's, `number` of `count`.
    """

    arrays: Mapping[str, Any]
    facts: Mapping[str, Any]
    number: int
    count: int
    first: int
    last: int
    #: A folder for what can be fetched or computed again.
    cache_dir: Path
    _tell: Callable[[Mapping[str, Any]], None]

    def log(self, text: str) -> None:
        """One line in the attempt's log."""
        print(text, flush=True)

    def progress(self, share: float, note: str = "") -> None:
        """How far this shard is, 0..1, with a few words."""
        self._tell({"progress": min(max(float(share), 0.0), 1.0), "note": note})
