"""Which lists can differ from those made before: the others need not be computed again.

A run leaves a digest of what each list was made from, and what the next run must know of the lists themselves; the next
one compares. What is left out is proven equal, not likely equal: the lists are those of a full build, to the last bit.
`changed_people` and `changed_products` say why.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from clockmill.compute.ids import Ids
from clockmill.compute.ragged import entries_of, pointers, row_of_each
from db.digests import places

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Arrays = Mapping[str, npt.NDArray[Any]]


class Change(NamedTuple):
    """Numbers of the owners whose lists are to be computed, ascending (None: all of them), and why.

    `gone` are the ids that are no more.
    """

    rows: Ints | None
    why: str
    gone: Ids | None = None

    def keys(self, ids: Ids) -> list[Any] | None:
        """The ids whose lists give way to what is computed for them, or to nothing; None: all."""
        if self.rows is None or self.gone is None:
            return None
        return [*ids[self.rows].tolist(), *self.gone.tolist()]


def everything(why: str) -> Change:
    return Change(None, why)


class Basis(Protocol):
    """What `people_basis` gave for the lists there are now, and the ids whose lists were replaced since."""

    @property
    def arrays(self) -> Arrays: ...
    @property
    def renewed(self) -> Sequence[Any]: ...


class Compared(NamedTuple):
    """Owners now and then: each one's place then (-1: new), who changed or is new, and who of then is gone."""

    place: Ints
    changed: Bools
    gone: Bools


def compare(ids: Ids, digests: npt.NDArray[np.uint64], before: Arrays) -> Compared:
    """By a digest of what each owner's list is made from; `before` has "ids" and "digests"."""
    place = places(before["ids"], ids)
    there = place >= 0
    changed = ~there
    changed[there] = before["digests"][place[there]] != digests[there]
    gone = np.ones(len(before["ids"]), np.bool_)
    gone[place[there]] = False
    return Compared(place, changed, gone)


def listing(before: Arrays, compared: Compared) -> Bools:
    """Whose list had an item that changed or is gone."""
    there = compared.place >= 0
    touched = compared.gone.copy()
    touched[compared.place[there]] = compared.changed[there]
    owners = np.zeros(len(touched), np.bool_)
    owners[row_of_each(pointers(before["found"]))[touched[before["items"]]]] = True
    return as_now(owners, compared)


def as_now(values: npt.NDArray[Any], compared: Compared) -> npt.NDArray[Any]:
    """What each owner had then; 0 for who is new."""
    there = compared.place >= 0
    now = np.zeros(len(there), values.dtype)
    now[there] = values[compared.place[there]]
    return now


def asked_anew(ids: Ids, before: Basis, compared: Compared) -> Bools:
    """Whose lists are computed whatever happened: replaced by others since, or empty.

    An empty one costs next to nothing, and what stands in its place need not hang on its owner alone.
    """
    marks: Bools = as_now(before.arrays["found"], compared) == 0
    again = places(ids, np.array(list(before.renewed), ids.dtype))
    marks[again[again >= 0]] = True
    return marks


def share_of(marks: Bools, costs: Ints) -> float:
    return float(costs[marks].sum()) / max(float(costs.sum()), 1.0)


def decide(ids: Ids, marks: Bools, costs: Ints, compared: Compared, before: Arrays, worth: float) -> Change:
    """The marked lists alone, unless they are more than a part `worth` leaving the others out."""
    rows, share = np.flatnonzero(marks), share_of(marks, costs)
    changes = int(compared.changed.sum()) + int(compared.gone.sum())
    if share > worth:
        return Change(None, f"{changes:,} changes reach {share:.0%} of the work")
    why = f"{changes:,} changes reach {len(rows):,} of {len(ids):,} lists"
    return Change(rows, why, before["ids"][compared.gone])


def list_ends(ids: Ids, k: int, owners: Ids, items: Ids, scores: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Of each owner's list: its length, its items as numbers, and its last score, 0 where there is room for more."""
    found = np.bincount(places(ids, owners), minlength=len(ids))
    ends = np.cumsum(found)
    worst = np.zeros(len(ids))
    worst[found == k] = scores[ends[found == k] - 1]
    return {"found": found, "items": places(ids, items).astype(np.uint32), "worst": worst}


def spliced(ids: Ids, before: Arrays, rows: Ints, new: Arrays) -> Arrays:
    """The lists as they were, those of `rows` as they are now."""
    place = places(before["ids"], ids)
    stay = place >= 0
    stay[rows] = False
    found = new["found"].copy()
    found[stay] = before["found"][place[stay]]
    if "worst" not in before:
        return {"found": found}
    worst = new["worst"].copy()
    worst[stay] = before["worst"][place[stay]]
    entries, at = entries_of(pointers(before["found"]), place[stay]), pointers(found)
    old = {**before, "items": places(ids, before["ids"])[before["items"]]}
    lists: dict[str, Any] = {"found": found, "worst": worst}
    for name in set(new) - set(lists):
        lists[name] = np.empty(int(found.sum()), new[name].dtype)
        lists[name][entries_of(at, np.flatnonzero(stay))] = old[name][entries]
        lists[name][entries_of(at, rows)] = new[name]
    return lists
