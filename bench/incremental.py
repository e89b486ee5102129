"""What a change costs beside building everything: changes that alter 0.1, 1 and 10 % of the lists, and 1 % of all rows.

    python bench/incremental.py            100,000 people, 1 M ratings, and whole runs on SQLite: some minutes
    python bench/incremental.py --check    a small size: only that all lists are those of a full build

Rows are changed at random, added as often as removed, until enough lists differ. Before a time is printed the lists of
the incremental build are compared with those of a full one, every column of every row. Both begin with the rows in
memory and end with the lists and what the next build needs; times are of the processor, on all threads together.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from recommendations import people
from similarity import feedback
from sqlalchemy import insert

from clockmill import compute, config
from clockmill.compute.changes import Change
from clockmill.context import Context
from clockmill.mill import Mill
from db import outputs
from db.bases import Basis
from db.canonical import canonical_table
from db.digests import digest_rows
from db.engine import write
from db.load import load_columns
from db.run import Claim
from jobs.recommendations import recommendations

K = 20
SEED = 5
Array = npt.NDArray[Any]
Columns = dict[str, Array]
Rows = tuple[Array, ...]
Built = tuple[Columns, Change, Columns]


@dataclass
class Subject:
    """Rows that can be edited and built from, whole or on the basis of an earlier build."""

    name: str
    rows: Rows
    key: str
    edited: Callable[[Rows, int, np.random.Generator], Rows]
    build: Callable[[Rows, Basis | None], Built]
    ids: Callable[[Rows], Array]


# -- people -----------------------------------------------------------------------------------------------------------


def build_people(weighting: str) -> Callable[[Rows, Basis | None], Built]:
    def build(rows: Rows, before: Basis | None) -> Built:
        graph = compute.friendship_graph(*rows)
        known = compute.know_graph(graph, weighting)
        change = compute.changed_people(graph, known, before) if before else compute.everything("asked for")
        lists = compute.recommend(graph, weighting, K, only=change.rows)
        return lists, change, dict(compute.people_basis(graph, known, K, before or Basis(), change, lists))

    return build


def edited_friendships(rows: Rows, edits: int, random: np.random.Generator) -> Rows:
    user, friend = rows
    gone = random.choice(len(user), edits // 2, replace=False)
    new = random.choice(np.unique(user), (edits - edits // 2, 2))
    return np.append(np.delete(user, gone), new[:, 0]), np.append(np.delete(friend, gone), new[:, 1])


# -- products ---------------------------------------------------------------------------------------------------------


def build_products(rows: Rows, before: Basis | None) -> Built:
    ratings = compute.ratings_matrix(*rows)
    prepared = compute.compared(ratings, "cosine")
    known = compute.know_ratings(ratings, *prepared)
    change = compute.changed_products(ratings, known, 2, before) if before else compute.everything("asked for")
    lists = compute.similar_products(ratings, "cosine", K, 2, only=change.rows, prepared=prepared)
    return lists, change, dict(compute.products_basis(ratings, known, K, before or Basis(), change, lists))


def edited_ratings(rows: Rows, edits: int, random: np.random.Generator) -> Rows:
    user, product, _ = rows
    gone = random.choice(len(user), edits // 2, replace=False)
    added = edits - edits // 2
    new = (random.choice(user, added), random.choice(product, added), random.integers(1, 11, added) / 2)
    return tuple(np.append(np.delete(old, gone), more) for old, more in zip(rows, new, strict=True))


def ratings_rows(users: int, products: int, ratings: int) -> Rows:
    made = feedback(users, products, ratings)
    product = np.repeat(made.product_ids, np.diff(made.indptr))
    return made.user_ids[made.users], product, made.values


# -- measuring --------------------------------------------------------------------------------------------------------


def lists_of(key: str, columns: Columns) -> dict[int, int]:
    """A digest of each owner's list."""
    owners, digests = columns[key], digest_rows(list(columns.values()))
    starts = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])) if len(owners) else np.empty(0, int)
    return (
        dict(zip(owners[starts].tolist(), np.add.reduceat(digests, starts).tolist(), strict=True))
        if len(starts)
        else {}
    )


def altered(key: str, before: dict[int, int], columns: Columns, replaced: list[int] | None) -> int:
    """How many lists are others than before."""
    now = lists_of(key, columns)
    asked = set(before) | set(now) if replaced is None else replaced
    return sum(before.get(owner) != now.get(owner) for owner in asked)


def spliced(key: str, before: Columns, columns: Columns, replaced: list[int] | None) -> Columns:
    """The rows that readers see once these keys were replaced."""
    if replaced is None:
        return columns
    stay = ~np.isin(before[key], replaced)
    whole = {name: np.concatenate([before[name][stay], columns[name]]) for name in columns}
    order = np.lexsort((whole["rank"], whole[key]))
    return {name: values[order] for name, values in whole.items()}


def same(name: str, ours: Columns, full: Columns) -> None:
    for column, values in full.items():
        assert np.array_equal(ours[column], values), f"{name}: {column} differs from a full build"


def timed(what: Callable[[], Any]) -> tuple[Any, float]:
    """The answer, and the processor's seconds: the better of two."""
    seconds = []
    for _ in range(2):
        began = time.process_time()
        answer = what()
        seconds.append(time.process_time() - began)
    return answer, min(seconds)


def enough_edits(subject: Subject, basis: Basis, lists: dict[int, int], part: float) -> int:
    """So many random edits alter about this part of the lists."""
    edits, reached = 4, 0.0
    while (reached := share(subject, basis, lists, edits)) < part and edits < len(subject.rows[0]):
        edits *= 4
    # Nearly as many lists as edits, up to there.
    return max(1, round(edits * part / max(reached, part)))


def share(subject: Subject, basis: Basis, lists: dict[int, int], edits: int) -> float:
    rows = subject.edited(subject.rows, edits, np.random.default_rng(SEED))
    columns, change, _ = subject.build(rows, basis)
    return altered(subject.key, lists, columns, change.keys(subject.ids(rows))) / max(len(lists), 1)


def measure(subject: Subject, parts: tuple[float, ...], quiet: bool) -> None:
    columns, _, kept = subject.build(subject.rows, None)
    basis, lists = Basis(kept), lists_of(subject.key, columns)
    wanted = [(f"{part:.1%} of the lists", enough_edits(subject, basis, lists, part)) for part in parts]
    for what, edits in [*wanted, ("1% of all rows", len(subject.rows[0]) // 100)]:
        rows = subject.edited(subject.rows, edits, np.random.default_rng(SEED))
        (full, _, _), whole = timed(lambda rows=rows: subject.build(rows, None))
        (some, change, _), incremental = timed(lambda rows=rows: subject.build(rows, basis))
        replaced = change.keys(subject.ids(rows))
        same(subject.name, spliced(subject.key, columns, some, replaced), full)
        part = altered(subject.key, lists, full, None) / max(len(lists), 1)
        if not quiet:
            print(
                f"{subject.name:<34}{what:<20}{edits:>7,} edits{part:>8.2%} altered"
                f"{whole:8.2f} s full{incremental:8.2f} s{incremental / whole:7.1%}   {change.why}"
            )


# -- whole runs -------------------------------------------------------------------------------------------------------


def measure_runs(rows: Rows, edits: int, quiet: bool) -> None:
    """The job, reading from and publishing to SQLite: what a run costs beside the first one."""
    with tempfile.TemporaryDirectory() as folder:
        mill = Mill(config.merge(Path(folder), None, {"redis": {"url": "none"}}, {}))
        load_columns(mill.engine, "friendships", {"user_id": rows[0], "friend_id": rows[1]})
        first = run(mill, 1, {})
        full = run(mill, 2, {"full": True})
        table = canonical_table("friendships", {"user_id": "int", "friend_id": "int"})
        pairs = np.random.default_rng(SEED).choice(np.unique(rows[0]), (edits, 2)).tolist()
        with write(mill.engine) as connection:
            connection.execute(
                insert(table).prefix_with("OR IGNORE"), [{"user_id": a, "friend_id": b} for a, b in pairs]
            )
        some = run(mill, 3, {})
        spec, row = outputs.find(mill.engine, "recommendations")
        held = outputs.read_rows(mill.engine, spec, row.version)
        graph = compute.friendship_graph(*(np.append(old, [p[i] for p in pairs]) for i, old in enumerate(rows)))
        same("a whole run", held, compute.or_popular_people(graph, compute.recommend(graph, "adamic_adar", K), K, None))
        if not quiet:
            for what, (cpu, phases) in {
                "first": first,
                "full=true, nothing changed": full,
                f"{edits} new rows": some,
            }.items():
                shown = ", ".join(f"{name} {phases[name]:.2f}" for name in ("read", "compute", "write"))
                print(f"run, {what:<28}{cpu:8.2f} s of the processor{cpu / first[0]:8.1%}   wall: {shown}")
        mill.engine.dispose()


def run(mill: Mill, number: int, params: dict[str, Any]) -> tuple[float, dict[str, float]]:
    """One attempt of the job, published as a run's last transaction does it."""
    claim = Claim(number, "recommendations", None, f"m:{number}", "manual", 1, 0, 1, mill.owner, params)
    context = Context(mill, mill.registry.get("recommendations"), claim, mill.now(), lambda told: None)
    context.log = lambda text: None  # type: ignore[method-assign]
    began = time.process_time()
    recommendations(context)
    with context.phase("write"):
        context.seal()
        with write(mill.engine) as connection:
            context.commit(connection, mill.now())
    return time.process_time() - began, context.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="a small size, and no times")
    check = parser.parse_args().check
    size, feed = ((2_000, 30_000), (300, 200, 6_000)) if check else ((100_000, 2_030_000), (6_040, 3_700, 1_000_000))
    parts = (0.01,) if check else (0.001, 0.01, 0.1)

    compute.compile_kernels()
    friendships = people(*size)
    for weighting in ("adamic_adar", "common_neighbours", "jaccard"):
        build = build_people(weighting)
        ids = lambda rows: compute.friendship_graph(*rows).ids  # noqa: E731
        name = f"recommendations, {weighting}"
        measure(Subject(name, friendships, "user_id", edited_friendships, build, ids), parts, check)
    rated = ratings_rows(*feed)
    subject = Subject(
        "similarity, cosine", rated, "product_id", edited_ratings, build_products, lambda r: np.unique(r[1])
    )
    measure(subject, parts, check)
    measure_runs(friendships, 10, check)
    if check:
        print(f"{size[0]} people, {feed[1]} products: the lists are those of a full build")


if __name__ == "__main__":
    main()
