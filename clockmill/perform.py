"""The job's side of an attempt: context, function, and the transaction that ends the run."""

import errno
import time
import traceback
from functools import partial

from clockmill.bell import ring
from clockmill.context import Context
from clockmill.errors import ClockmillError
from clockmill.executors import Order, Tell
from clockmill.mill import Mill
from clockmill.sizes import format_size
from clockmill.slots import micros
from db.errors import Fenced, LedgerAway, RedisUnavailable, StoreError
from db.lease_clock import LEASE_S
from db.publish import make_up
from db.run import Claim, Ending

#: Exit codes of a job's own process; the keeper's parent reads them beside the ledger.
FAILED = 1
FENCED = 3


def perform(mill: Mill, order: Order, tell: Tell, alone: bool = True) -> int:
    """Runs the job's function and commits what it published together with `succeeded`; the exit code.

    `alone`: the process was made for this order, and ends with it.
    """
    try:
        if order.claim["shard_of"] is not None:
            _perform_shard(mill, order, tell, alone)
        else:
            _perform(mill, order, tell)
    except Fenced as e:
        print(f"fenced: {e}", flush=True)
        return FENCED
    except LedgerAway as e:
        print(f"lost: {e}", flush=True)
        tell({"reason": str(e), "lost": True})
        return FAILED
    except (ClockmillError, StoreError) as e:
        # Foreseen by whoever raised it: the sentence says what to do, a traceback would hide it.
        print(f"error: {e}", flush=True)
        tell({"reason": str(e), "errors": names_of(e)})
        return FAILED
    except (Exception, SystemExit) as e:
        print(traceback.format_exc(), flush=True)
        tell({"reason": _over_limit(e, order) or f"{type(e).__name__}: {e}", "errors": names_of(e)})
        return FAILED
    return 0


def names_of(error: BaseException) -> list[str]:
    """The names under which `retry_on` knows this exception: its own and those of its base classes."""
    return [kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException)]


def _over_limit(error: BaseException, order: Order) -> str | None:
    """What the kernel refused because the job's limits say so."""
    if isinstance(error, MemoryError) and order.memory:
        return f"asked for more than memory = {format_size(order.memory)} allows"
    if isinstance(error, OSError) and error.errno == errno.EMFILE and order.open_files:
        return f"had open_files = {order.open_files} files open and wanted another one: {error}"
    return None


def _perform(mill: Mill, order: Order, tell: Tell) -> None:
    began = time.perf_counter()
    spec = mill.registry.get(order.job)
    claim = Claim(**order.claim)
    context = Context(mill, spec, claim, mill.now(), tell)
    assert spec.function is not None, "commands are the keeper's to run"
    spec.function(context)
    if not context.commits:
        # Nothing must stand or fall with the run: whoever watches the attempt ends it, with others in one commit.
        tell({"report": context.report(time.perf_counter() - began)})
        context.forget()
        return
    now = mill.now()
    ending = Ending("succeeded", exit_code=0, report=context.report(time.perf_counter() - began))
    with context.phase("write"):
        context.seal()
        # A database that restarts costs the run no attempt, as long as its lease is renewed.
        mill.ledger.finish(claim, ending, micros(now), lambda c: context.commit(c, now), patience_s=LEASE_S)
    context.forget()
    # Whoever relays events need not wait for its next look.
    ring(mill.config.var)
    if context.published:
        with context.phase("publish"):
            _mirror(mill, context)
    mill.ledger.annotate(claim, context.report(time.perf_counter() - began))


def _perform_shard(mill: Mill, order: Order, tell: Tell, alone: bool) -> None:
    """Works at a shard; its row tells the digest of what came of it."""
    from clockmill.shard_files import Files, work_at
    from clockmill.sharding import go_on

    began = time.perf_counter()
    spec, claim = mill.registry.get(order.job), Claim(**order.claim)
    assert claim.shard_of is not None
    digest = work_at(Files(mill, claim.shard_of), mill, spec, claim, tell)
    report = {"digest": digest, "seconds": {"compute": round(time.perf_counter() - began, 6)}}
    ending = Ending("succeeded", exit_code=0, report=report)
    mill.ledger.finish(claim, ending, micros(mill.now()), patience_s=LEASE_S)
    if alone:
        go_on(mill, spec, claim, partial(perform, mill, alone=False))


def _mirror(mill: Mill, context: Context) -> None:
    mirror, reason = mill.mirror_or_reason()
    if mirror is None:
        if mill.config.table("redis")["url"] != "none":
            context.log(f"Redis is not written: {reason}")
        return
    try:
        for name in make_up(mill.engine, mirror, context.published):
            if name not in context.published:
                context.log(f"Redis was owed {name} and has it now")
    except RedisUnavailable as e:
        # The run has succeeded: SQL holds the version, and whoever keeps house makes up for Redis.
        context.log(f"Redis is owed what was published: {e}")
