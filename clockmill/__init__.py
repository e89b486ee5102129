"""Batch jobs on a clock. What a user's own job imports: `from clockmill import Context, Output, job`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import clockmill.client as client
    from clockmill.context import Context
    from clockmill.errors import JobError
    from clockmill.job_spec import Output, job

__all__ = ["Context", "JobError", "Output", "client", "job"]

_HOME = {"Context": "context", "Output": "job_spec", "job": "job_spec", "JobError": "errors"}


def __getattr__(name: str) -> Any:
    # Loaded at first use: `clockmill --help` and completion must not wait for SQLAlchemy.
    import importlib

    if name == "client":
        return importlib.import_module("clockmill.client")
    if name in _HOME:
        return getattr(importlib.import_module(f"clockmill.{_HOME[name]}"), name)
    raise AttributeError(f"module 'clockmill' has no attribute {name!r}")
