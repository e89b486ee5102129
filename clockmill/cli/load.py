"""clockmill load: files into clockmill's own canonical tables."""

from pathlib import Path

import click

from clockmill.cli.show import Progress, mill
from clockmill.errors import UsageError
from db.load import load
from db.sources import CANONICAL


@click.command(
    "load", epilog="Example: clockmill load ratings ratings.csv -c user_id=userId -c product_id=movieId -c value=rating"
)
@click.argument("source", type=click.Choice(list(CANONICAL)))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-c", "--column", "pairs", multiple=True, metavar="CANONICAL=HEADER", help="Where the header differs.")
@click.option("--replace", is_flag=True, help="Put the file's rows in the place of all that is there.")
def load_command(source: str, file: Path, pairs: tuple[str, ...], replace: bool) -> None:
    """Load FILE (.csv or .parquet) into the canonical table SOURCE; rows that are there already are updated."""
    held = mill()
    if source in held.sources:
        raise UsageError(
            f"[sources.{source}] is mapped to the application's own table, which clockmill never writes; "
            "load into that table with the application's own means"
        )
    columns = {}
    for pair in pairs:
        canonical, equals, header = pair.partition("=")
        if not equals:
            raise UsageError(f'-c "{pair}": expected CANONICAL=HEADER')
        columns[canonical] = header
    bar = Progress(f"load {source}")
    done = load(held.engine, source, file, columns=columns, replace=replace, progress=bar)
    bar.done()
    rate = done.rows / done.seconds if done.seconds else 0
    click.echo(f"{source}: {done.rows:,} rows in {done.seconds:.1f} s ({rate:,.0f} rows/s)", err=True)
