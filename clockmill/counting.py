"""Counts kept up to date by a watermark: of a source whose rows are only ever added, only the new ones are counted.

    before the mark: closed           at the mark: open
    ----------------------------------|----------|-----------------> increment
    what was published, but for the open part     what comes next

A row with the mark's own increment may still come, so that part is counted again by the next run. What is published is
closed + open, and beside it stands the open part alone: closed is the difference. A row that comes with a smaller
increment than the mark, after the next run has passed it, is missed until the recount, which reports it as drift.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from db.columns import as_column
from db.watermarks import Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

Counts = dict[str, float]
#: Counts the rows of a part.
Count = Callable[[Part], Counts]
#: The mark of the last rows, from a mark on if one is given; None when there are none.
Furthest = Callable[[str | None], str | None]

#: Sums of fractions differ in their last bits by the order of adding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Standing:
    """How far a counter has come: its mark, what the rows at the mark count, and when all rows were last counted."""

    mark: str
    open: Counts
    recounted: str
    #: Of what it was counted: another query or mapping starts afresh.
    digest: str


@dataclass(frozen=True)
class Counted:
    """A counter's values now; `drift` says by key what was published of closed rows, and what a recount found."""

    values: Counts
    standing: Standing | None = None
    drift: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: counted (everything), new rows, recount, going back (of the increment: everything)
    how: str = "counted"


def keep_count(
    count: Count,
    furthest: Furthest,
    published: Counts | None,
    standing: Standing | None,
    digest: str,
    now: datetime,
    recount: timedelta,
) -> Counted:
    """Counts the new rows, or, without a standing of this digest and the values it belongs to, everything."""
    mark = furthest(None)
    if mark is None:
        return Counted(count(Part()))
    if standing is None or published is None or standing.digest != digest:
        opened = count(Part(at=mark))
        closed = count(Part(before=mark))
        return Counted(_sum(closed, opened), Standing(mark, opened, now.isoformat(), digest))
    if furthest(standing.mark) is None:
        fresh = keep_count(count, furthest, None, None, digest, now, recount)
        return Counted(fresh.values, fresh.standing, how="an increment that went back")
    closed, drift, counted = _difference(published, standing.open), {}, standing.recounted
    due = now - datetime.fromisoformat(counted) >= recount
    if due:
        closed, before, counted = count(Part(before=standing.mark)), closed, now.isoformat()
        drift = _drift(before, closed)
    opened = count(Part(since=standing.mark, at=mark))
    values = _sum(_sum(closed, count(Part(since=standing.mark, before=mark))), opened)
    return Counted(values, Standing(mark, opened, counted, digest), drift, "recount" if due else "new rows")


def _sum(a: Counts, b: Counts) -> Counts:
    return a | {key: a.get(key, 0.0) + value for key, value in b.items()}


def _difference(whole: Counts, part: Counts) -> Counts:
    """A key that had nothing but its part is gone, as if its rows had not come yet."""
    rest = {key: value - part.get(key, 0.0) for key, value in whole.items()}
    return {key: value for key, value in rest.items() if value or key not in part}


def _drift(was: Counts, found: Counts) -> dict[str, tuple[float, float]]:
    pairs = {key: (was.get(key, 0.0), found.get(key, 0.0)) for key in was | found}
    return {key: (a, b) for key, (a, b) in pairs.items() if abs(a - b) > ROUNDING * max(abs(a), abs(b))}


def told(name: str, drift: Mapping[str, tuple[float, float]]) -> str:
    """A sentence about what a recount found."""
    key, (was, found) = max(drift.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    return f"{name}: the recount found {len(drift)} values off, the most {key!r}: {found:g}, not {was:g}; repaired"


def summary(found: Mapping[str, Counted]) -> str:
    """How the counters came to their values."""
    ways = Counter(one.how for one in found.values())
    drift = [name for name, one in found.items() if one.drift]
    said = ", ".join(f"{number} by {how}" if how != "counted" else f"{number} counted" for how, number in ways.items())
    return said + (f"; drift repaired: {', '.join(drift)}" if drift else "")


def digest_of(what: Any) -> str:
    """Tells apart what is counted."""
    return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]


def kept(standings: Mapping[str, Standing]) -> "NDArray[Any]":
    """The standings as an array that can be left to the next run."""
    return as_column([json.dumps({name: asdict(standing) for name, standing in standings.items()})], "text")


def from_json(text: str) -> dict[str, Standing]:
    return {name: Standing(**fields) for name, fields in json.loads(text).items()}


def values_of(keys: Sequence[Any], values: Sequence[Any]) -> Counts:
    """The rows of a count; the sum of no rows is NULL, and counts nothing."""
    pairs = zip(keys, values, strict=True)
    return {str(key): float(value) for key, value in pairs if value is not None and value == value}
