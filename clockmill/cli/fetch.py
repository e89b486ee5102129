"""clockmill fetch: one address, as the jobs would fetch it."""

from typing import Any

import click

from clockmill.cli.show import json_option, mill, print_json
from clockmill.fetch import preview


@click.command("fetch", epilog="Example: clockmill fetch https://example.com/feed.xml")
@click.argument("url")
@json_option
def fetch_command(url: str, as_json: bool) -> None:
    """Fetch URL under the jobs' rules (deadline, size, no private address) and say what came."""
    held = mill()
    found: dict[str, Any] = preview(url, held.config.table("fetch"), held.config.var / "cache" / "fetch")
    if as_json:
        print_json(found)
        return
    for key, value in found.items():
        click.echo(f"{key:<14} {value}")
