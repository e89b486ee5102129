"""clockmill sources: the application's tables as the jobs see them."""

import sys

import click

from clockmill.cli import exits
from clockmill.cli.show import json_option, mill, print_json, table
from clockmill.mill import Mill
from db import sources
from db.errors import SourceError
from db.sources import CANONICAL, SourceSpec


@click.group("sources")
def sources_command() -> None:
    """Check and preview the mapped tables."""


def spec_of(held: Mill, name: str) -> SourceSpec:
    return held.sources.get(name) or SourceSpec(name)


@sources_command.command("check", epilog="Example: clockmill sources check")
@json_option
def check(as_json: bool) -> None:
    """Look whether every source can be read as it is mapped; exit code 1 when one cannot."""
    held = mill()
    found = []
    for name in [*CANONICAL, *(extra for extra in held.sources if extra not in CANONICAL)]:
        spec = spec_of(held, name)
        mapped = spec.table or ("a query" if spec.query else "clockmill's own table")
        try:
            sources.check(held.source_engine(spec.url, f"sources.{spec.name}"), spec)
            found.append({"source": name, "mapped_to": mapped, "problem": None})
        except SourceError as e:
            found.append({"source": name, "mapped_to": mapped, "problem": str(e)})
    if as_json:
        print_json({"sources": found})
    else:
        table(("source", "mapped_to", "problem"), [list(one.values()) for one in found], "")
    if any(one["problem"] for one in found):
        sys.exit(exits.FAILED)


@sources_command.command("preview", epilog="Example: clockmill sources preview ratings")
@click.argument("source")
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="So many rows.")
@json_option
def preview(source: str, count: int, as_json: bool) -> None:
    """The first rows of SOURCE in canonical columns."""
    held = mill()
    spec = spec_of(held, source)
    rows = sources.preview(held.source_engine(spec.url, f"sources.{spec.name}"), spec, count)
    if as_json:
        print_json({"source": source, "rows": [{key: _plain(value) for key, value in row.items()} for row in rows]})
        return
    table(list(rows[0]) if rows else (), [list(row.values()) for row in rows], f"{source} has no rows")


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | None) else str(value)
