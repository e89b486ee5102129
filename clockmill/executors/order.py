"""What is asked of an executor, and what it answers. Plain data: it crosses process borders as JSON."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

#: Messages of a running attempt: {"progress", "note"}, {"reason", "errors"}, {"report"}, {"pid", "pid_start"}.
Tell = Callable[[Mapping[str, Any]], None]

#: Runs one order in the job's own process; the exit code. `tell` reaches whoever ordered it.
Body = Callable[["Order", Tell], int]

Cause = Literal["exit", "timeout", "cancel", "orphaned", "memory"]


@dataclass(frozen=True)
class Order:
    """One attempt to be run. `command` empty: the job's function, which is told its claim."""

    run_id: int
    job: str
    attempt: int
    fence: int
    log: str
    timeout_s: float
    claim: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    shell: bool = False
    environment: Mapping[str, str] | None = None
    #: Where a command starts.
    folder: str = "."
    #: What a command reads.
    stdin: str = ""
    #: The log's lines are also written to standard error: a person is watching.
    echo: bool = False
    #: Bytes that it may hold, and files that it may have open.
    memory: int | None = None
    open_files: int | None = None

    @property
    def key(self) -> str:
        return f"{self.run_id}.{self.fence}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Order":
        fields = json.loads(text)
        return Order(**{**fields, "command": tuple(fields["command"])})


@dataclass(frozen=True)
class Exit:
    """How an attempt's process ended. `code` is None when a signal or a broken executor ended it."""

    cause: Cause
    code: int | None = None
    signal: int | None = None
    peak_rss_mb: float = 0.0
