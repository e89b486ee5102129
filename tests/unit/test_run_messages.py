"""Runs on their way to workers: what a message says, when it is sent, and when it is sent again."""

import json
from types import SimpleNamespace

import pytest

from clockmill import config, doors
from clockmill.errors import ConfigError
from clockmill.exchange import carrier as carrying
from clockmill.exchange.carrier import EACH, Carrier
from clockmill.exchange.celery_app import backend_of
from clockmill.exchange.run_messages import LONG_TASK, TASK, letter_of, queue_of, task_of
from clockmill.mill import Mill
from clockmill.worker import offers_of, pools_of
from db.run import Ending

JOBS = """
from clockmill import Context, job


@job(executor="celery", overlap="allow", timeout="5m")
def small(ctx: Context) -> None:
    pass


@job(executor="celery", pool="heavy", priority=12, timeout="31m")
def large(ctx: Context) -> None:
    pass


@job(executor="celery", needs=["gpu"])
def drawn(ctx: Context) -> None:
    pass


@job(executor="celery", overlap="queue_all")
def turns(ctx: Context) -> None:
    pass


@job(overlap="allow")
def local(ctx: Context) -> None:
    pass
"""


class Broker:
    """Takes letters as a publisher does."""

    url = "memory://"

    def __init__(self):
        self.letters, self.answer = [], ""

    def send(self, letters):
        self.letters += letters
        return [self.answer] * len(letters)

    def take(self):
        """The numbers of the runs sent since the last look."""
        taken, self.letters = self.letters, []
        return [json.loads(letter.body)[0][0] for letter in taken]


def made(tmp_path, **tables):
    (tmp_path / "jobs").mkdir(exist_ok=True)
    (tmp_path / "jobs" / "shop.py").write_text(JOBS)
    standing = {
        "redis": {"url": "none"},
        "scheduler": {"job_folders": ["jobs"]},
        "broker": {"labels": ["gpu", "licence"]},
        "pools": {"heavy": 2},
    }
    return Mill(config.merge(tmp_path, None, {**standing, **tables}, {}))


@pytest.fixture
def mill(tmp_path):
    held = made(tmp_path)
    yield held
    held.engine.dispose()


@pytest.fixture
def empty(monkeypatch):
    """How many messages wait in each queue."""
    depths = {}
    monkeypatch.setattr(carrying, "depths_of", lambda url, queues: {name: depths.get(name, 0) for name in queues})
    return depths


def ask(mill, job="small"):
    return doors.manual_run(mill, mill.registry.get(job), {}, forced=False, now=mill.now(), reserved=False)


def test_a_message_holds_the_number_of_the_run_and_nothing_else_of_it(mill):
    letter = letter_of(mill, mill.registry.get("small"), 17)
    assert json.loads(letter.body)[:2] == [[17], {}]
    assert (letter.headers["id"], letter.headers["shadow"]) == ("clockmill-app-17", "small")
    assert (letter.exchange, letter.key, letter.priority) == ("clockmill.commands", "clockmill.pool.default", None)


def test_an_urgent_run_goes_to_the_queue_with_priorities_with_what_that_knows(mill):
    letter = letter_of(mill, mill.registry.get("large"), 17)
    assert (letter.key, letter.priority) == ("clockmill.pool.heavy.priority", 9)


def test_a_run_that_needs_something_says_so_of_every_label(mill):
    spec = mill.registry.get("drawn")
    letter = letter_of(mill, spec, 17)
    assert (letter.exchange, letter.headers["gpu"], letter.headers["licence"]) == ("clockmill.resources", "yes", "no")
    assert queue_of(spec) == ""


@pytest.mark.parametrize(
    ("job", "consumer_timeout", "task"),
    [("small", "30m", TASK), ("large", "30m", LONG_TASK), ("large", "33m", TASK), ("small", "6m", LONG_TASK)],
)
def test_a_run_that_may_outlast_the_brokers_patience_is_answered_for_at_its_start(
    tmp_path, job, consumer_timeout, task
):
    held = made(tmp_path, broker={"labels": ["gpu"], "consumer_timeout": consumer_timeout})
    assert task_of(held.registry.get(job), held.config) == task


def test_a_label_that_no_worker_can_offer_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='job drawn: needs: no label "gpu"'):
        made(tmp_path, broker={"labels": ["gqu"]}).registry  # noqa: B018


def test_a_due_run_is_sent_once_and_a_run_of_local_hands_never(mill, empty):
    broker = Broker()
    carrier = Carrier(mill, broker)
    ask(mill, "local")
    run = ask(mill)
    assert (carrier.turn(0.0), broker.take()) == (1, [run])
    assert (carrier.turn(1.0), broker.take()) == (0, [])


def test_a_run_that_nobody_claims_is_sent_again_when_its_queue_is_empty(mill, empty):
    broker = Broker()
    carrier = Carrier(mill, broker)
    run = ask(mill)
    carrier.turn(0.0)
    broker.take()
    empty["clockmill.pool.default"] = 1
    assert carrier.turn(60.0) == 0
    empty["clockmill.pool.default"] = 0
    assert (carrier.turn(60.0), broker.take()) == (1, [run])
    assert carrier.turn(61.0) == 0


def test_a_run_that_was_claimed_is_sent_no_more(mill, empty):
    broker = Broker()
    carrier = Carrier(mill, broker)
    run = ask(mill)
    carrier.turn(0.0)
    spec = SimpleNamespace(overlap="allow", on_lost="rerun", after=None, pool=None, places=0)
    mill.ledger.claim(run, spec, 1 << 60)
    broker.take()
    assert (carrier.turn(60.0), broker.take(), carrier.sent) == (0, [], {})


def test_of_one_job_only_so_many_are_under_way(mill, empty):
    broker = Broker()
    for _ in range(EACH + 5):
        ask(mill)
    urgent = ask(mill, "large")
    assert Carrier(mill, broker).turn(0.0) == EACH + 1
    assert urgent in broker.take()


def test_runs_that_wait_for_each_other_are_sent_one_by_one_and_looked_for_soon(mill, empty):
    broker = Broker()
    carrier = Carrier(mill, broker)
    first, second = ask(mill, "turns"), ask(mill, "turns")
    ask(mill)
    carrier.turn(0.0)
    assert (first in broker.take(), carrier.look_s(1.0), carrier.look_s(6.0)) == (True, 0.1, 0.5)
    spec = SimpleNamespace(overlap="queue_all", on_lost="rerun", after=None, pool=None, places=0)
    claim = mill.ledger.claim(first, spec, 1 << 60)
    assert (carrier.turn(1.0), broker.take()) == (0, [])
    mill.ledger.finish(claim, Ending("succeeded"), 1 << 60)
    assert (carrier.turn(1.5), broker.take()) == (1, [second])


def test_what_a_broker_would_not_have_is_sent_again(mill, empty):
    broker = Broker()
    carrier = Carrier(mill, broker)
    run = ask(mill)
    broker.answer = "no queue is bound"
    carrier.turn(0.0)
    broker.answer = ""
    carrier.turn(5.0)
    assert broker.take() == [run, run]


def test_a_worker_that_comes_gets_what_nobody_offered(mill, empty):
    broker = Broker()
    carrier = Carrier(mill, broker)
    run = ask(mill, "drawn")
    carrier.turn(0.0)
    assert carrier.turn(5.0) == 0
    carrier.forget()
    carrier.turn(6.0)
    assert broker.take() == [run, run]


@pytest.mark.parametrize(
    ("url", "backend"),
    [
        ("redis://10.0.0.5/1", "redis://10.0.0.5/1"),
        ("rediss://10.0.0.5/1", "rediss://10.0.0.5/1?ssl_cert_reqs=required"),
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
        ("embedded", "disabled://"),
        ("none", "disabled://"),
    ],
)
def test_progress_is_told_where_redis_is_a_server(tmp_path, url, backend):
    assert backend_of(made(tmp_path, redis={"url": url})) == backend


def test_a_worker_without_pools_works_for_all_of_them(mill):
    assert pools_of(mill, []) == ["default", "heavy"]
    assert pools_of(mill, ["heavy"]) == ["heavy"]
    with pytest.raises(ConfigError, match='no pool "hevy"'):
        pools_of(mill, ["hevy"])


def test_a_worker_offers_a_label_or_not(mill):
    assert offers_of(mill, ["licence", "gpu=1"]) == ["gpu", "licence"]
    assert offers_of(mill, ["gpu=0"]) == []
    with pytest.raises(ConfigError, match='no label "cpu"'):
        offers_of(mill, ["cpu"])
    with pytest.raises(ConfigError, match="start one for each gpu"):
        offers_of(mill, ["gpu=2"])
