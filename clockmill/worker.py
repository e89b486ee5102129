"""Hands without a clock: with a broker Celery brings them runs, without one they look in the ledger."""

import logging
import os
import queue
import signal
import threading
from collections.abc import Collection, Sequence

from clockmill.bodies import executors_of
from clockmill.errors import BrokerUnavailable, ClockmillError, ConfigError, did_you_mean
from clockmill.exchange.broadcast import LOOK, shout
from clockmill.exchange.plan import broker_url, labels, topology_of
from clockmill.exchange.topology import DEFAULT_POOL, UNROUTABLE
from clockmill.executors import Executors
from clockmill.job_spec import JobSpec
from clockmill.mill import Mill
from clockmill.runner import Runner
from clockmill.workers import Workers
from db.pause import pause

#: How long running jobs may go on after SIGTERM; then they are ended and handed back to the ledger.
DRAIN_S = 30
#: How often it is looked whether jobs can be started at all.
LOOK_S = 1.0
#: A broker that is away at the start is asked again so often.
AGAIN_S = 2.0
STOPPED = "the worker stopped"
#: Its name in Celery's lists.
NAME = "clockmill"

log = logging.getLogger("clockmill.worker")


def pools_of(mill: Mill, asked: Sequence[str]) -> list[str]:
    """The pools to work for; all of them where none was asked for. Raises ConfigError for an unknown one."""
    known = list(dict.fromkeys((DEFAULT_POOL, *mill.config.table("pools"))))
    for pool in asked:
        if pool not in known:
            raise ConfigError(f'--pool: no pool "{pool}"{did_you_mean(pool, known)}; known: {", ".join(known)}')
    return list(dict.fromkeys(asked)) or known


def offers_of(mill: Mill, asked: Sequence[str]) -> list[str]:
    """The labels that are offered: "gpu", "gpu=1". Raises ConfigError for an unknown one or another number."""
    known, found = labels(mill), []
    for word in asked:
        label, _, count = word.partition("=")
        if label not in known:
            listed = ", ".join(known) or "none; see [broker] labels"
            raise ConfigError(f'--offers: no label "{label}"{did_you_mean(label, known)}; known: {listed}')
        if count not in ("", "0", "1"):
            raise ConfigError(f"--offers {word}: a worker offers it or not (1 or 0); start one for each {label}")
        if count != "0":
            found.append(label)
    return sorted(set(found))


def main(mill: Mill, pools: Sequence[str], concurrency: int, offers: Sequence[str]) -> None:
    """Works until SIGTERM or Ctrl-C; runs in progress may end within DRAIN_S."""
    pools, offers = pools_of(mill, pools), offers_of(mill, offers)
    url = broker_url(mill)
    # Forked before anything is opened; see clockmill.executors.
    executors = executors_of(mill)
    if url:
        carried_by_celery(mill, url, executors, pools, concurrency, offers)
    else:
        from_the_ledger(mill, executors, pools, concurrency, offers)


# -- without a broker


def from_the_ledger(
    mill: Mill, executors: Executors, pools: Collection[str], size: int, offers: Collection[str]
) -> None:
    """Takes due runs of these pools' jobs as the hands of a scheduler do."""

    def takes(spec: JobSpec) -> bool:
        return (spec.pool or DEFAULT_POOL) in pools and set(spec.needs) <= set(offers)

    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.put(number))
    workers = Workers(Runner(mill, executors), size, takes)
    workers.look()
    log.info("working from the ledger: pools %s, %d runs at once", ", ".join(pools), size)
    while executors.alive():
        try:
            signals.get(timeout=LOOK_S)
            break
        except queue.Empty:
            continue
    alive = executors.alive()
    log.info("stopping: %d runs in progress", workers.busy)
    patience = threading.Timer(DRAIN_S, workers.runner.leases.stop_all, (STOPPED, True))
    patience.start()
    workers.close()
    patience.cancel()
    executors.close()
    if not alive:
        raise ClockmillError("the process that starts jobs was killed; start the worker again")


# -- with one


def carried_by_celery(
    mill: Mill, url: str, executors: Executors, pools: Sequence[str], size: int, offers: Sequence[str]
) -> None:
    """Is a Celery worker until it is stopped."""
    from importlib.util import find_spec

    if find_spec("celery") is None:
        raise ConfigError(f"{mill.config.where('broker.url')}: workers of a broker need clockmill[celery]; install it")
    from celery.worker import state

    from clockmill.exchange.celery_app import celery_app, queues_of
    from clockmill.exchange.celery_consumer import wake
    from clockmill.exchange.celery_runs import Runs

    def stop_because_dead() -> None:
        state.should_stop = 1

    version = _declared(mill, url, offers)
    app = celery_app(mill, url, queues_of(mill, pools, offers), version)
    runner = Runner(mill, executors)
    Runs(mill, runner, stop_because_dead, wake).register(app)
    worker = app.Worker(
        hostname=f"{NAME}-{os.getpid()}@{mill.host}",
        pool="threads",
        concurrency=size,
        loglevel="INFO",
        without_mingle=True,
        without_gossip=True,
        quiet=True,
    )
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        # What it says of each message is said of each run.
        logging.getLogger(chatty).setLevel(logging.WARNING)
    _stop_by_signals(runner)
    # Whoever carries runs sends again what nobody offered.
    shout(mill, LOOK)
    log.info("working for the broker: pools %s, offers %s, %d at once", ", ".join(pools), ", ".join(offers), size)
    worker.start()
    executors.close()
    if not worker.exitcode and state.should_stop == 1:
        raise ClockmillError("the process that starts jobs was killed; start the worker again")


def _declared(mill: Mill, url: str, offers: Sequence[str]) -> tuple[int, ...]:
    """Declares what is missing, as soon as the broker is there; the broker's version."""
    from clockmill.exchange.broker import opened, server_version, translated
    from clockmill.exchange.declaring import declare

    problem = ""
    while True:
        try:
            with opened(url, "clockmill worker") as made, translated(url):
                for finding in declare(made, topology_of(mill, [offers] if offers else [])):
                    log.error("%s %s: %s", finding.what, finding.state, finding.says)
                if offers:
                    # Copies of what nobody offered: what is still due is sent again, and comes here or there.
                    made.default_channel.queue_purge(UNROUTABLE)
                return server_version(made)
        except BrokerUnavailable as e:
            if str(e) != problem:
                problem = str(e)
                log.warning("%s; it is tried again", e)
            pause(AGAIN_S)


def _stop_by_signals(runner: Runner) -> None:
    """Celery's own handlers wait for what runs; after DRAIN_S that is ended and handed back."""
    from celery.signals import worker_shutting_down

    def drain(**_: object) -> None:
        patience = threading.Timer(DRAIN_S, runner.leases.stop_all, (STOPPED, True))
        patience.daemon = True
        patience.start()

    worker_shutting_down.connect(drain, weak=False)
