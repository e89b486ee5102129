"""What the executors of a process run: the jobs of its mill, whose code is loaded before anything is forked."""

from clockmill.executors import Body, Executors, Order, Seed, Tell
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill


def executors_of(mill: Mill, *, reloadable: bool = False, only: JobSpec | None = None) -> Executors:
    """This process's executors. The jobs' code is loaded first, so that every attempt inherits it by a fork.

    `reloadable`: a process without that code is kept, from which it can be loaded anew. `only`: nothing but this job
    will be run; for a command nobody's code is loaded.
    """
    seed = Seed(lambda file: body_of(Mill.open(file or None))) if reloadable else None
    return Executors(_no_body if only and only.command else body_of(mill), seed)


def body_of(mill: Mill) -> Body:
    """Runs orders of this mill's jobs, whose code is loaded now."""
    from clockmill.perform import perform

    assert mill.registry is not None
    return lambda order, tell: perform(mill, order, tell)


def _no_body(order: Order, tell: Tell) -> int:
    raise AssertionError("commands are the keeper's to run")
