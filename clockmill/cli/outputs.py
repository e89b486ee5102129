"""clockmill outputs: what was published, read from SQL as an application would."""

import json
import sys
from typing import Any

import click

from clockmill.cli import exits
from clockmill.cli.show import json_option, mill, print_json, table
from clockmill.errors import UsageError
from clockmill.reading import entity, mutual_friends
from clockmill.slots import iso
from db import outputs, publish


@click.group("outputs")
def outputs_command() -> None:
    """What was published, and one entity of it."""


@outputs_command.command("list", epilog="Example: clockmill outputs list")
@json_option
def list_outputs(as_json: bool) -> None:
    """Every output: version, rows, age, and what Redis holds of it."""
    held = mill()
    found = []
    for name, row in outputs.known(held.engine).items():
        published = outputs.publication(held.engine, name, row.version)
        spec, _ = outputs.find(held.engine, name)
        found.append(
            {
                "output": name,
                "version": row.version,
                "rows": published.rows if published else 0,
                "built_at": published.built_at if published else None,
                "run_id": published.run_id if published else None,
                "table": f"{name}_current",
                "redis": f"cm:{held.config.namespace}:{spec.prefix}:<{spec.key}>" if spec.redis else None,
                "mirrored": row.mirrored,
            }
        )
    if as_json:
        print_json({"outputs": found})
        return
    headers = ("output", "version", "rows", "built_at", "run_id", "table", "redis", "mirrored")
    table(headers, [[one[h] for h in headers] for one in found], "nothing was published yet; try: clockmill run JOB")


@outputs_command.command("get", epilog="Example: clockmill outputs get recommendations 42")
@click.argument("output")
@click.argument("id")
@json_option
def get(output: str, id: str, as_json: bool) -> None:
    """One entity of OUTPUT: its list, as readers get it."""
    found = entity(mill().engine, output, id)
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        click.echo(f"{output} has nothing for {id} (version {found['version']}, built {found['at']})", err=True)
        return
    click.echo(f"{output} {id}: version {found['version']}, built {found['at']}", err=True)
    if not isinstance(found["items"][0], list):
        click.echo(" ".join(map(str, found["items"])))
        return
    reasons = list(found["items"][0][2])
    rows = [(item, score, *(_short(why[r]) for r in reasons)) for item, score, why in found["items"]]
    table(("item", "score", *reasons), rows, "")


def _short(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
    return text if not isinstance(text, str) or len(text) <= 60 else text[:57] + "..."


@outputs_command.command("mutual", epilog="Example: clockmill outputs mutual 3 17")
@click.argument("a")
@click.argument("b")
@json_option
def mutual(a: str, b: str, as_json: bool) -> None:
    """The friends that users A and B have in common."""
    ids = mutual_friends(mill().engine, a, b)
    if as_json:
        print_json({"count": len(ids), "ids": ids})
        return
    click.echo(f"{len(ids)} in common", err=True)
    click.echo(" ".join(map(str, ids)))


@outputs_command.command("republish", epilog="Example: clockmill outputs republish recommendations")
@click.argument("output", required=False)
def republish(output: str | None) -> None:
    """Write OUTPUT, or all outputs, to Redis again from SQL."""
    held = mill()
    mirror, reason = held.mirror_or_reason()
    if mirror is None:
        raise UsageError(f"Redis is not there to be written: {reason}")
    for name in [output] if output else list(outputs.known(held.engine)):
        outputs.find(held.engine, name)
        click.echo(
            f"{name}: {publish.mirror_output(held.engine, mirror, name, whole=True):,} entities written", err=True
        )


@outputs_command.command("verify", epilog="Example: clockmill outputs verify")
@click.argument("output", required=False)
@json_option
def verify(output: str | None, as_json: bool) -> None:
    """Compare Redis with SQL, entity by entity; exit code 1 when they differ."""
    held = mill()
    mirror, reason = held.mirror_or_reason()
    if mirror is None:
        raise UsageError(f"Redis is not there to be compared: {reason}")
    names = [output] if output else list(outputs.known(held.engine))
    found = {name: publish.verify(held.engine, mirror, name) for name in names}
    if as_json:
        print_json({"differences": found})
    else:
        rows = [(name, len(all), "; ".join(all[:3]) or "same as SQL") for name, all in found.items()]
        table(("output", "differences", "first"), rows, "nothing was published yet")
    if any(found.values()):
        sys.exit(exits.FAILED)


@outputs_command.command("rollback", epilog="Example: clockmill outputs rollback recommendations")
@click.argument("output")
def rollback(output: str) -> None:
    """Publish OUTPUT as it was at its last full build before the current one, as a new version."""
    held = mill()
    published = outputs.rollback(held.engine, output, iso(held.now()))
    click.echo(
        f"{output}: version {published.version}, {published.rows:,} rows, {published.changed:,} changed", err=True
    )
    mirror, reason = held.mirror_or_reason()
    if mirror is None:
        click.echo(f"Redis is not written: {reason}", err=True)
    else:
        publish.mirror_output(held.engine, mirror, output)


@outputs_command.command("reset", epilog="Example: clockmill outputs reset recommendations --yes")
@click.argument("output")
@click.confirmation_option("--yes", prompt="Its table and all versions go; the next run publishes version 1. Go on?")
def reset(output: str) -> None:
    """Forget OUTPUT: its table, its versions and what Redis holds of it."""
    held = mill()
    mirror, _ = held.mirror_or_reason()
    if mirror is not None:
        mirror.forget(output)
    outputs.reset(held.engine, output)
    click.echo(f"{output} is forgotten", err=True)
