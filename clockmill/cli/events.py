"""clockmill events: what happened, told and heard."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from clockmill.cli import exits
from clockmill.cli.show import json_option, mill, print_json, table
from clockmill.errors import UsageError


@click.group("events")
def events_command() -> None:
    """Publish events, watch them, and see to those that failed."""


@events_command.command("publish", epilog="""Example: clockmill events publish app.like.created -d '{"user_id": 3}'""")
@click.argument("type")
@click.option("-d", "--data", required=True, metavar="JSON", help="What the event says; @FILE reads it from a file.")
@click.option("--key", help="Events with the same key keep their order.")
@click.option("--id", "event_id", help="Its id; by default a new one. The same id again is the same event.")
@json_option
def publish(type: str, data: str, key: str | None, event_id: str | None, as_json: bool) -> None:
    """Publish one event of TYPE and wait until the broker has it; exit code 1 when nobody wants it."""
    from dataclasses import replace

    from clockmill.exchange.cloudevents import new_event
    from clockmill.exchange.outgoing import max_event
    from clockmill.exchange.plan import required_url
    from clockmill.exchange.publisher import Letter, Publisher
    from clockmill.exchange.topology import EVENTS

    held = mill()
    source = f"/clockmill/{held.config.namespace}"
    event = new_event(type, read_json(data), source, held.now(), key, max_event(held.config))
    event = replace(event, id=event_id or event.id)
    publisher = Publisher(required_url(held), "clockmill events publish")
    (problem,) = publisher.send([Letter(event.to_json(), EVENTS, event.type, event.id)])
    publisher.close()
    if as_json:
        print_json({"id": event.id, "type": event.type, "problem": problem or None})
    elif not problem:
        click.echo(event.id)
    if problem:
        click.echo(f"error: {problem}; declare a handler, or bind a queue, then publish again", err=True)
        sys.exit(exits.FAILED)


def read_json(text: str) -> Any:
    """The value of an option: JSON, or a file with JSON."""
    where = "-d"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"-d {text}: {e}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{where}: not JSON: {e}") from None


@events_command.command("tail", epilog="Example: clockmill events tail 'app.#' -n 10")
@click.argument("pattern", default="#")
@click.option("-n", "count", type=click.IntRange(1), help="End after so many.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="End after so many seconds.")
@json_option
def tail(pattern: str, count: int | None, seconds: float | None, as_json: bool) -> None:
    """Show events whose type matches PATTERN as they come, until Ctrl-C; nobody else misses them."""
    from clockmill.exchange.plan import required_url
    from clockmill.exchange.tail import watch
    from clockmill.handler_spec import check_patterns

    check_patterns([pattern], "PATTERN")
    for at, key, body in watch(required_url(mill()), pattern, count, seconds):
        text = body.decode("utf-8", "replace")
        if as_json:
            click.echo(text if _is_object(text) else json.dumps({"routing_key": key, "body": text}))
        else:
            click.echo(f"{at:%H:%M:%S}  {key}  {_short(text)}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict) and "\n" not in text
    except ValueError:
        return False


def _short(text: str) -> str:
    """What an event says, on one line."""
    try:
        found = json.loads(text)
        shown = json.dumps(found.get("data", found), ensure_ascii=False)
    except (ValueError, AttributeError):
        shown = " ".join(text.split())
    return shown if len(shown) < 200 else f"{shown[:197]}..."


@events_command.group("dead-letters")
def dead_letters() -> None:
    """Messages that were set aside: list them, send them once more."""


@dead_letters.command("list", epilog="Example: clockmill events dead-letters list --json")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The oldest so many.")
@json_option
def list_(limit: int, as_json: bool) -> None:
    """Each message that was set aside, with the reason."""
    from clockmill.exchange.dead_letters import listed
    from clockmill.exchange.plan import required_url

    found = listed(required_url(mill()), limit)
    if as_json:
        print_json({"dead_letters": [letter.as_object() for letter in found]})
        return
    rows = [(letter.id, letter.type, letter.queue, letter.attempts, letter.at, letter.reason) for letter in found]
    table(("id", "type", "queue", "attempts", "since", "reason"), rows, "no dead letters")


@dead_letters.command("retry", epilog="Example: clockmill events dead-letters retry --all")
@click.argument("ids", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every one of them.")
@json_option
def retry(ids: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Send the messages with these IDS to the queues they came from, as if they came for the first time."""
    from clockmill.exchange.dead_letters import send_again
    from clockmill.exchange.plan import required_url

    if bool(ids) == everything:
        raise UsageError("name the ids of dead letters, or --all; see: clockmill events dead-letters list")
    sent, unknown = send_again(required_url(mill()), None if everything else set(ids))
    if as_json:
        print_json({"sent": sent, "unknown": sorted(unknown)})
    else:
        click.echo(f"{sent} sent again", err=True)
    if unknown:
        raise UsageError(f"no dead letter has the id {sorted(unknown)[0]}; see: clockmill events dead-letters list")
