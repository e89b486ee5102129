"""clockmill evaluate: which weighting is the best for the tables at hand."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from clockmill.cli.show import Progress, json_option, mill, print_json, table
from clockmill.cli.sources import spec_of
from clockmill.errors import UsageError
from clockmill.mill import Mill

if TYPE_CHECKING:
    from clockmill.evaluate import Split, Trial

#: Job -> its source and the columns that are read of it.
READ = {
    "recommendations": ("friendships", ["user_id", "friend_id"]),
    "similarity": ("ratings", ["user_id", "product_id", "value"]),
}
#: Parameters that the computation takes beside the weighting.
PARAMS = {
    "recommendations": (),
    "similarity": ("k", "min_support", "shrink", "damp_user", "damp_seed", "damp_target"),
}
BAR = 40


@click.command("evaluate", epilog="Example: clockmill evaluate similarity --split time -w cosine -w damped --write")
@click.argument("job", type=click.Choice(list(READ)))
@click.option(
    "--split", type=click.Choice(["random", "time"]), default="random", show_default=True, help="Which rows are hidden."
)
@click.option("--share", type=click.FloatRange(0.01, 0.9), default=0.2, show_default=True, help="So many of them.")
@click.option("-w", "--weighting", "names", multiple=True, help="Only this weighting; may be repeated.")
@click.option(
    "-n", "places", type=click.IntRange(1, 1000), default=10, show_default=True, help="Places in which to look."
)
@click.option("--users", type=click.IntRange(1), default=5000, show_default=True, help="At most so many, by chance.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another one hides other rows.")
@click.option("--write", is_flag=True, help="Put the best setting into clockmill.toml.")
@json_option
def evaluate_command(
    job: str,
    split: str,
    share: float,
    names: tuple[str, ...],
    places: int,
    users: int,
    seed: int,
    write: bool,
    as_json: bool,
) -> None:
    """Hide a part of what people did, compute the lists of JOB from the rest, and see which find it again.

    The tables are only read. --split time hides the latest rows (the source needs its column "at").
    """
    held = mill()
    spec = held.registry.get(job)
    if unknown := [name for name in names if name not in spec.choices["weighting"]]:
        raise UsageError(f'--weighting "{unknown[0]}"; allowed: {", ".join(spec.choices["weighting"])}')
    from clockmill.evaluate import Split, best_of

    asked = Split(share, split == "time", seed, users, places)
    found = carried_out(held, job, names, asked)
    best = best_of(found)
    if write:
        from clockmill.config_edit import set_params

        path = set_params(held.config, job, best.settings)
        click.echo(f"written to {path}: [jobs.{job}] params {words(best.settings)}", err=True)
    if as_json:
        print_json({"job": job, "split": split, "share": share, "seed": seed, "places": places, "best": best.settings,
                    "trials": [{"settings": t.settings, **t.quality._asdict()} for t in found]})  # fmt: skip
        return
    show(found, best, asked)


def carried_out(held: Mill, job: str, names: Sequence[str], asked: "Split") -> "list[Trial]":
    """Reads the source and tries every setting; the configured one, where it is not among them, as well."""
    from clockmill import evaluate as work
    from clockmill.compute import compile_kernels
    from db.sources import read

    source, columns = READ[job]
    spec = spec_of(held, source)
    wanted = [*columns, "at"] if asked.by_time else columns
    rows = read(held.source_engine(spec.url, f"sources.{source}"), spec, wanted)
    if not rows.rows:
        raise UsageError(f"the source {source} has no rows; see clockmill load and [sources.{source}]")
    if asked.by_time and bool((rows["at"] != rows["at"]).all()):
        raise UsageError(f'{source}: --split time needs the time of every row; map the column "at"')
    configured = held.registry.get(job).params
    params = {name: configured[name] for name in PARAMS[job]}
    trials = list(work.RECOMMENDATIONS if job == "recommendations" else work.SIMILARITY)
    own = {key: configured[key] for key in configured if key == "weighting" or key.startswith("damp_")}
    if own["weighting"] != "damped":
        own = {"weighting": own["weighting"]}
    trials = [trial for trial in [*trials, *([] if own in trials else [own])]
              if not names or trial["weighting"] in names]  # fmt: skip
    kernels = "people" if job == "recommendations" else "products"
    compile_kernels(held.config.var / "cache", lambda text: click.echo(text, err=True), [kernels])
    bar = Progress(f"evaluate {job}")
    try:
        run = work.evaluate_recommendations if job == "recommendations" else work.evaluate_similarity
        return run(rows, trials, params, asked, bar)
    except ValueError as e:
        raise UsageError(f"evaluate {job}: {e}") from None
    finally:
        bar.done()


def words(settings: Any) -> str:
    """ "damped 0.5 0.7 0.3": the weighting, and how it damps."""
    return " ".join(f"{value}" for value in settings.values())


def show(found: "Sequence[Trial]", best: "Trial", asked: "Split") -> None:
    """The table, best first, then the same as a picture."""
    ranked = sorted(found, key=lambda trial: -trial.quality.ndcg)
    n = asked.places
    headers = ("setting", f"nDCG@{n}", f"recall@{n}", f"precision@{n}", "hit rate", "coverage", "popularity")
    table(headers, [(words(t.settings), *_numbers(t)) for t in ranked], "nothing was tried")
    width = max(len(words(trial.settings)) for trial in ranked)
    top = max(best.quality.ndcg, 1e-9)
    click.echo(f"\nnDCG@{n}")
    for trial in ranked:
        filled = round(BAR * trial.quality.ndcg / top)
        mark = "  <- best" if trial is best else ""
        click.echo(f"{words(trial.settings):<{width}}  {'#' * filled:<{BAR}}  {trial.quality.ndcg:.4f}{mark}")
    click.echo(
        f"\n{best.quality.users:,} users of whom something was hidden; popularity: how popular the listed are as a "
        "multiple of the hidden",
        err=True,
    )
    if sys.stdout.isatty():
        click.echo("--write puts the best setting into clockmill.toml", err=True)


def _numbers(trial: "Trial") -> list[str]:
    q = trial.quality
    parts = (q.ndcg, q.recall, q.precision, q.hit_rate, q.coverage)
    return [*(f"{part:.4f}" for part in parts), f"{q.popularity:.2f}x"]
