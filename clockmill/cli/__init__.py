"""The command line. One file a group of commands; each command: open, call, print. It is a face, not an API."""

from clockmill.cli.group import Lazy, main

__all__ = ["Lazy", "main"]
