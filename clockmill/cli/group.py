"""The root command: knows every command's name and sentence without importing any of them."""

import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from clockmill.errors import ClockmillError, did_you_mean
from clockmill.version import VERSION
from db.errors import StoreError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

#: Command -> (module, what it does). Shown by --help, which must not import anything heavy.
COMMANDS = {
    "demo": ("demo", "Make a small application and turn the mill on it."),
    "init": ("init", "Write a commented clockmill.toml to start from."),
    "up": ("up", "Scheduler and embedded Redis together, in the foreground."),
    "scheduler": ("scheduler", "The daemon: time becomes runs."),
    "worker": ("worker", "Hands alone: runs what Celery or the ledger brings."),
    "run": ("run", "Run a job now, or one of its slots."),
    "next": ("next", "When a crontab expression fires."),
    "explain": ("next", "What a crontab expression or a job's schedule means."),
    "simulate": ("simulate", "What the scheduler would do between two times."),
    "jobs": ("jobs", "List, show, check, pause and resume jobs."),
    "runs": ("runs", "What ran, what did not, and why."),
    "backfill": ("backfill", "Run a job's slots of the past."),
    "outputs": ("outputs", "What was published, and one entity of it."),
    "sources": ("sources", "Check and preview the mapped tables."),
    "evaluate": ("evaluate", "Which weighting of lists is best for the tables at hand."),
    "load": ("load", "Load a CSV or Parquet file into a canonical table."),
    "events": ("events", "Publish events, watch them, and see to those that failed."),
    "queues": ("queues", "Whether consumers keep up with producers, queue by queue."),
    "broker": ("broker", "Declare and check the exchanges and queues of messages."),
    "crontab": ("crontab", "To and from the lines of system cron."),
    "export": ("export", "The schedule as systemd timers."),
    "config": ("config", "Show and check the configuration."),
    "db": ("db", "Upgrade and check the database."),
    "doctor": ("doctor", "Look for whatever keeps the mill from turning."),
    "fetch": ("fetch", "Fetch one address as the jobs would."),
}


class Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        # What is imported stays: looking through it for garbage, over and over, takes a tenth of a cron line's time.
        gc.disable()
        module = importlib.import_module(f"clockmill.cli.{COMMANDS[name][0]}")
        gc.freeze()
        gc.enable()
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            raise click.UsageError(e.message.rstrip(".") + did_you_mean(args[0], COMMANDS), ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Names of commands without importing these; what follows a name is asked of its module."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=says) for name, (_, says) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """The one funnel: whatever a user can cause becomes one sentence and an exit code."""
        try:
            return super().invoke(ctx)
        except (ClockmillError, StoreError) as e:
            fail(str(e), getattr(e, "exit_code", 1))
        except BrokenPipeError:
            # `clockmill runs list | head`: whoever read has seen enough.
            sys.stderr.close()
            sys.exit(0)


def fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"error: {sentence}", err=True)
    sys.exit(code)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]}, epilog="Example: clockmill demo")
@click.option(
    "--config", "config_file", metavar="FILE", help="The configuration; by default $CLOCKMILL_HOME/clockmill.toml."
)
@click.version_option(VERSION, prog_name="clockmill")
@click.pass_context
def main(ctx: click.Context, config_file: str | None) -> None:
    """Batch jobs on a clock: derived data, ready before the request comes."""
    ctx.obj = config_file
    # click heeds neither on a terminal.
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        ctx.color = False
