"""Public data sets in their own formats, as CSV that `clockmill load` reads.

    python bench/convert.py gowalla train.txt ratings.csv && clockmill load ratings ratings.csv

What a set holds is kept: self-loops, both directions of an edge, an item that comes twice. Input may be gzipped.
"""

import argparse
import csv
import gzip
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

Row = Sequence[str]

EDGES = ("user_id", "friend_id")
PAIRS = ("user_id", "product_id", "value")
RATINGS = ("user_id", "product_id", "value", "at")

#: MovieLens' own names for what the canonical columns hold; its other columns are left out.
MOVIELENS = {"userId": "user_id", "movieId": "product_id", "rating": "value", "timestamp": "at", "title": "name"}

#: Value of a pair that says only "has been there" or "has bought".
SEEN = "1"


class BadLine(Exception):
    """A line that the format does not allow: its number, and what is wrong with it."""


def edge_list(lines: Iterable[str]) -> Iterator[Row]:
    """Two numbers a line, between blanks or a comma; comments (#, %) and a header of names are left out."""
    yield EDGES
    for number, line in enumerate(lines, 1):
        cells = line.replace(",", " ").split()
        if not cells or line[0] in "#%" or (number == 1 and not cells[0].isdecimal()):
            continue
        if len(cells) < 2 or not (cells[0].isdecimal() and cells[1].isdecimal()):
            raise BadLine(f"line {number}: {line.strip()!r} is not an edge")
        yield cells[0], cells[1]


def metis(lines: Iterable[str]) -> Iterator[Row]:
    """METIS: a header `nodes edges [format]`, then a line of neighbours for each node, which are numbered from 1."""
    yield EDGES
    rows = (line for line in lines if not line.startswith("%"))
    header = next(rows, "").split()
    if len(header) < 2 or not header[0].isdecimal() or any(cell.strip("0") for cell in header[2:]):
        raise BadLine(f"line 1: {' '.join(header)!r} is not the header of a graph without weights")
    nodes = int(header[0])
    for node, line in enumerate(rows, 1):
        neighbours = line.split()
        if node > nodes and neighbours:
            raise BadLine(f"there are more than the {nodes} nodes of the header")
        yield from ((str(node), neighbour) for neighbour in neighbours)


def item_lists(lines: Iterable[str]) -> Iterator[Row]:
    """A user and then the items, all in one line."""
    yield PAIRS
    for line in lines:
        user, *items = line.split() or [""]
        yield from ((user, item, SEEN) for item in items)


def baskets(lines: Iterable[str]) -> Iterator[Row]:
    """The items of one basket a line; baskets are numbered from 1."""
    yield PAIRS
    for number, line in enumerate(lines, 1):
        yield from ((str(number), item, SEEN) for item in line.split())


def tab_ratings(lines: Iterable[str]) -> Iterator[Row]:
    """User, item, rating and time between tabs."""
    yield RATINGS
    for number, line in enumerate(lines, 1):
        cells = line.split()
        if len(cells) != len(RATINGS):
            raise BadLine(f"line {number}: {len(cells)} cells instead of {len(RATINGS)}")
        yield cells


def movielens(lines: Iterable[str]) -> Iterator[Row]:
    """MovieLens' CSV files with a header: ratings.csv, movies.csv."""
    reader = csv.reader(lines)
    header = next(reader, [])
    kept = [i for i, name in enumerate(header) if name in MOVIELENS]
    if "movieId" not in header:
        raise BadLine(f"line 1: {','.join(header)!r} is not a header of MovieLens")
    yield [MOVIELENS[header[i]] for i in kept]
    yield from ([row[i] for i in kept] for row in reader)


def hetrec(lines: Iterable[str]) -> Iterator[Row]:
    """HetRec's Last.fm: user and friend, or user, artist and plays, between tabs, with or without a header."""
    rows = (line.split() for line in lines)
    first = next(rows, list(EDGES))
    yield EDGES if len(first) == 2 else PAIRS
    yield from chain([first] if first[0].isdecimal() else [], rows)


FORMATS: dict[str, Callable[[Iterable[str]], Iterator[Row]]] = {
    "amazon-beauty": item_lists,
    "ego-facebook": edge_list,
    "facebook100": edge_list,
    "fimi-retail": baskets,
    "gowalla": item_lists,
    "lastfm-hetrec": hetrec,
    "metis": metis,
    "ml-100k": tab_ratings,
    "ml-latest-small": movielens,
    "musae": edge_list,
    "snap": edge_list,
    "tsv": edge_list,
}

#: Formats that are not UTF-8.
ENCODINGS = {"lastfm-hetrec": "latin-1"}


def convert(kind: str, source: Path, target: Path) -> int:
    """Writes the CSV file and gives its number of rows; raises BadLine."""
    opened = gzip.open if source.suffix == ".gz" else open
    with (
        opened(source, "rt", encoding=ENCODINGS.get(kind, "utf-8-sig"), newline=None) as lines,
        target.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        rows = FORMATS[kind](lines)
        writer.writerow(next(rows))
        count = 0
        for count, row in enumerate(rows, 1):  # noqa: B007
            writer.writerow(row)
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=sorted(FORMATS))
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args(arguments)
    try:
        rows = convert(given.format, given.input, given.output)
    except (BadLine, OSError, UnicodeDecodeError, csv.Error) as e:
        print(f"{given.input}: {e}", file=sys.stderr)
        return 1
    print(f"{given.output}: {rows:,} rows", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
