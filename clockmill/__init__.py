"""Batch jobs on a clock. What a user's own job imports: `from clockmill import Context, Output, job`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import clockmill.client as client
    from clockmill.context import Context
    from clockmill.errors import JobError
    from clockmill.exchange.context import EventContext
    from clockmill.handler_spec import on
    from clockmill.job_spec import Output, job
    from clockmill.shard import Shard

__all__ = ["Context", "EventContext", "JobError", "Output", "Shard", "client", "job", "on"]

_HOME = {
    "Context": "context",
    "EventContext": "exchange.context",
    "JobError": "errors",
    "Output": "job_spec",
    "Shard": "shard",
    "job": "job_spec",
    "on": "handler_spec",
}


def __getattr__(name: str) -> Any:
    # Loaded at first use: `clockmill --help` and completion must not wait for SQLAlchemy.
    import importlib

    if name == "client":
        return importlib.import_module("clockmill.client")
    if name in _HOME:
        return getattr(importlib.import_module(f"clockmill.{_HOME[name]}"), name)
    raise AttributeError(f"module 'clockmill' has no attribute {name!r}")
