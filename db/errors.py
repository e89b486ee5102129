"""What goes wrong at the stores. The faces above print the sentence; none of these carries a secret."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?` when one of the known words is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


class StoreError(Exception):
    """The root of every error that this package raises."""


class DatabaseUnavailable(StoreError):
    """The database does not answer, or refuses us."""


class LedgerAway(DatabaseUnavailable):
    """clockmill's own database was there and left: restarted, cut off, full. Nobody who asked for something is to
    blame, and the same may go well later."""


class SchemaError(StoreError):
    """The database is there, but its tables are not the ones this version needs."""


class SourceError(StoreError):
    """A source cannot be read as its mapping says."""


class LoadError(StoreError):
    """A file cannot be loaded into a canonical table."""


class OutputError(StoreError):
    """An output cannot be written or read as it is declared."""


class Fenced(StoreError):
    """Another attempt has taken over; nothing of this one is committed."""


class Overtaken(StoreError):
    """The output has a newer version than what is to be published was compared with; nothing was committed."""


class RedisUnavailable(StoreError):
    """Redis does not answer. Publication is owed, the run is not lost."""


class Superseded(StoreError):
    """A newer version of the output has begun to be mirrored; this one gives way."""


class Lost(StoreError):
    """Redis lost what was written before (flush, restart); the output must be mirrored whole."""
