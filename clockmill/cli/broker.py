"""clockmill broker: the topology of messages."""

import sys

import click

from clockmill.cli import exits
from clockmill.cli.show import json_option, mill, print_json
from clockmill.errors import ClockmillError


@click.group("broker")
def broker_command() -> None:
    """Declare and check exchanges and queues."""


@broker_command.command("declare", epilog="Example: clockmill broker declare")
def declare_() -> None:
    """Make every exchange and queue that is missing; what is there stays."""
    from clockmill.exchange.broker import masked, opened, translated
    from clockmill.exchange.declaring import declare
    from clockmill.exchange.plan import required_url, topology_of

    held = mill()
    url, wanted = required_url(held), topology_of(held)
    with opened(url, "clockmill broker declare") as connection, translated(url):
        wrong = declare(connection, wanted)
    for finding in wrong:
        click.echo(f"{finding.state}: {finding.what}: {finding.says}", err=True)
    counts = f"{len(wanted.exchanges)} exchanges, {len(wanted.queues)} queues, {len(wrong)} not as they should be"
    click.echo(f"{masked(url)}: {counts}", err=True)
    if any(finding.state != "unsupported" for finding in wrong):
        sys.exit(exits.FAILED)


@broker_command.command("broadcast", epilog="Example: clockmill broker broadcast reload")
@click.argument("word", type=click.Choice(("reload", "look")))
def broadcast(word: str) -> None:
    """Tell every daemon on every host: reload its configuration, or look for due runs at once."""
    from clockmill.exchange.broadcast import shout
    from clockmill.exchange.broker import masked
    from clockmill.exchange.plan import required_url

    held = mill()
    url = required_url(held)
    if not shout(held, word):
        raise ClockmillError(f"nobody heard it at {masked(url)}; is a scheduler running?")


@broker_command.command("check", epilog="Example: clockmill broker check --json")
@json_option
def check_(as_json: bool) -> None:
    """Compare the broker with the topology; exit code 1 when something is missing or differs."""
    from clockmill.exchange.broker import opened, translated
    from clockmill.exchange.declaring import check
    from clockmill.exchange.plan import required_url, topology_of

    held = mill()
    url = required_url(held)
    with opened(url, "clockmill broker check") as connection, translated(url):
        findings = check(connection, topology_of(held))
    if as_json:
        print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        for finding in findings:
            click.echo(f"{finding.state:<11} {finding.what}{': ' * bool(finding.says)}{finding.says}")
    if any(finding.state in ("missing", "differs") for finding in findings):
        sys.exit(exits.FAILED)
