"""Divided runs with the installed command: several workers, killed ones, lost and repeated messages, RabbitMQ."""

import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import pytest

from clockmill.exchange.publisher import Publisher
from clockmill.exchange.run_messages import letter_of
from clockmill.mill import Mill

JOBS = """
import os
import time
from pathlib import Path

import numpy as np

from clockmill import Context, Output, Shard, job

DOUBLED = Output("doubled", key="n", columns={"n": "id", "twice": "int"})
HOME = Path(os.environ["CLOCKMILL_HOME"])


def twice(shard: Shard):
    with (HOME / "begun").open("a") as file:
        file.write(f"{shard.number} {os.getpid()}\\n")
    while (HOME / f"hold.{shard.number}").exists():
        time.sleep(0.02)
    return {"twice": 2 * shard.arrays["n"][shard.first : shard.last]}


@job(outputs=[DOUBLED], shard=twice, params={"shards": 4}, executor="%s", timeout="5m")
def doubled(ctx: Context) -> None:
    n = np.arange(1000)
    with (HOME / "read").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    parts = ctx.shards(ctx.params["shards"], {"n": n}, np.ones(1000, np.int64))
    ctx.publish("doubled", {"n": n, "twice": np.concatenate([part["twice"] for part in parts])})
"""
SETTINGS = """
[scheduler]
job_folders = ["jobs"]
workers = 2
[broker]
url = "{}"
"""


class Divided:
    """A home with the job, and what is known of its one run."""

    def __init__(self, home, broker_url=""):
        self.home = home
        home.write("jobs/divided.py", JOBS % ("celery" if broker_url else "process"))
        home.configure(SETTINGS.format(broker_url))

    def hold(self, *numbers):
        """Shards that do not end before they are let go."""
        for number in numbers:
            self.home.write(f"hold.{number}", "")

    def let_go(self, *numbers):
        for number in numbers:
            (self.home.folder / f"hold.{number}").unlink()

    def send(self):
        words = "from clockmill import client; client.send('doubled')"
        self.home.execute(self.home.binaries / "python", "-c", words).end()

    def workers(self, *options):
        one = self.home.start("worker", *options)
        self.home.wait_until(lambda: "working f" in one.err.read_text() or one.process.poll() is not None)
        assert one.process.poll() is None, one.err.read_text()
        return one

    @property
    def begun(self):
        """(shard, pid) of whoever began to work at one."""
        path = self.home.folder / "begun"
        return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def times(self):
        """How often each shard was begun."""
        counts = Counter(number for number, _ in self.begun)
        return [counts[number] for number in sorted(counts)]

    @property
    def parent(self):
        return self.home.query("SELECT * FROM runs WHERE job = 'doubled' AND shard_of IS NULL")[0]

    def shard(self, number):
        """The latest row of a shard; None before there is one."""
        of_number = "SELECT * FROM runs WHERE slot_key LIKE ? ORDER BY run_id DESC"
        return next(iter(self.home.query(of_number, f"s:%:{number}:%")), None)

    def state(self, number):
        row = self.shard(number)
        return row and row["state"]

    def pid(self, number):
        """Who works at a shard, as soon as somebody does."""
        return self.home.wait_until(lambda: dict(self.begun).get(number))

    def attempts(self, run_id):
        rows = self.home.query("SELECT state FROM attempts WHERE run_id = ? ORDER BY attempt", run_id)
        return [row["state"] for row in rows]

    def succeed(self):
        """Waits for the run's end; what it published is whole."""
        self.home.wait_until(lambda: self.parent["state"] not in ("queued", "running", "retry_wait"))
        assert (self.parent["state"], self.parent["reason"]) == ("succeeded", None)
        assert self.home.query("SELECT sum(twice), count(*) FROM doubled_current")[0][:] == (999_000, 1000)
        self.home.wait_until(lambda: not list((self.home.folder / "var" / "shards" / "app").iterdir()))

    def end_lease(self, run_id):
        """As when half a minute has passed since the owner's last sign of life."""
        with closing(sqlite3.connect(self.home.database, timeout=15)) as connection, connection:
            connection.execute("UPDATE runs SET lease_us = 1 WHERE run_id = ?", (run_id,))


def alive(pid):
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def shop(clockmill):
    return Divided(clockmill)


@pytest.fixture
def carried(clockmill, broker_url):
    """The same with a broker that carries, and a clock that has no hands."""
    made = Divided(clockmill, broker_url)
    clockmill.daemon("--workers", 0)
    return made


def test_one_command_alone_works_at_all_shards_and_they_are_shown_with_their_run(shop):
    shop.home("run", "doubled")
    shop.succeed()
    assert (shop.times, len({pid for _, pid in shop.begun})) == ([1, 1, 1, 1], 1)
    (listed,) = shop.home("runs", "list", "--json").json["runs"]
    whole = shop.home("runs", "show", listed["run_id"], "--json").json
    assert [(one["number"], one["rows"], one["state"]) for one in whole["shards"]] == [
        (1, "0-248", "succeeded"),
        (2, "249-498", "succeeded"),
        (3, "499-748", "succeeded"),
        (4, "749-999", "succeeded"),
    ]
    part = whole["shards"][0]["run_id"]
    assert "749-999" in shop.home("runs", "show", listed["run_id"]).out
    refused = shop.home("runs", "retry", part, code=2)
    assert refused.err == f"error: run {part} is a shard of run {listed['run_id']}: retry that one\n"


def test_a_killed_hand_of_the_local_pool_costs_one_shard(shop):
    shop.hold(0, 1)
    shop.home.daemon()
    shop.send()
    # The run's own process has one of the two, a hand the other; which has which is nobody's business.
    pids = {number: shop.pid(number) for number in (0, 1)}
    own = int((shop.home.folder / "read").read_text())
    (victim,) = (number for number, pid in pids.items() if pid != own)
    os.kill(parent_of(pids[victim]), signal.SIGKILL)
    shop.home.wait_until(lambda: shop.times[victim] == 2)
    shop.let_go(0, 1)
    shop.succeed()
    assert (sorted(shop.times), shop.times[victim]) == ([1, 1, 1, 2], 2)
    assert shop.attempts(shop.shard(victim)["run_id"]) == ["lost", "succeeded"]
    assert shop.attempts(shop.parent["run_id"]) == ["succeeded"]


def test_a_killed_worker_costs_one_shard_and_a_late_one_takes_over(shop):
    shop.hold(0, 1)
    shop.home.daemon("--workers", 1)
    shop.send()
    shop.pid(0)
    worker = shop.workers("--concurrency", 1)
    doomed = shop.pid(1)
    worker.send(signal.SIGKILL)
    shop.home.wait_until(lambda: not alive(doomed))
    shop.let_go(0)
    shop.home.wait_until(lambda: [shop.state(n) for n in (0, 2, 3)] == ["succeeded"] * 3)
    shop.let_go(1)
    shop.end_lease(shop.shard(1)["run_id"])
    shop.succeed()
    assert (shop.times, shop.attempts(shop.parent["run_id"])) == ([1, 2, 1, 1], ["succeeded"])


def test_when_the_run_s_own_worker_is_killed_what_was_done_stays_done(shop):
    shop.hold(0, 3)
    shop.home.daemon("--workers", 0)
    first = shop.workers("--concurrency", 1)
    shop.send()
    shop.pid(0)
    second = shop.workers("--concurrency", 1)
    shop.pid(3)
    first.send(signal.SIGKILL)
    shop.home.wait_until(lambda: not alive(shop.pid(0)))
    shop.let_go(0, 3)
    shop.home.wait_until(lambda: shop.state(3) == "succeeded")
    for run in (shop.parent, shop.shard(0)):
        shop.end_lease(run["run_id"])
    shop.succeed()
    assert (shop.times, shop.attempts(shop.parent["run_id"])) == ([2, 1, 1, 1], ["lost", "succeeded"])
    second.send(signal.SIGTERM)
    second.end()


def test_shards_whose_files_were_cut_or_altered_are_alone_done_again(shop):
    shop.hold(0)
    shop.home.daemon()
    shop.send()
    shop.home.wait_until(lambda: [shop.state(n) for n in (1, 2, 3)] == ["succeeded"] * 3)
    folder = shop.home.folder / "var" / "shards" / "app" / str(shop.parent["run_id"])
    cut, altered = (folder / f"{row['run_id']}.{row['fence']}" for row in map(shop.shard, (1, 2)))
    os.truncate(cut, cut.stat().st_size // 2)
    content = bytearray(altered.read_bytes())
    content[-100] ^= 1
    altered.write_bytes(content)
    shop.let_go(0)
    shop.succeed()
    assert shop.times == [1, 2, 2, 1]


def test_a_cancelled_run_takes_its_shards_with_it(shop):
    shop.hold(0, 1)
    shop.home.daemon()
    shop.send()
    pids = [shop.pid(0), shop.pid(1)]
    shop.home("runs", "cancel", shop.parent["run_id"])
    shop.home.wait_until(lambda: shop.parent["state"] == "cancelled" and not any(map(alive, pids)))
    assert [shop.state(number) for number in range(4)] == ["cancelled"] * 4
    assert shop.times == [1, 1]


# -- with RabbitMQ


def test_shards_are_carried_to_celery_workers_each_once_however_often_its_message_comes(
    carried, broker_url, monkeypatch
):
    carried.hold(0, 1)
    workers = [carried.workers("--concurrency", 1) for _ in range(2)]
    carried.send()
    pids = {carried.pid(0), carried.pid(1)}
    assert len(pids) == 2
    send_again(carried.home, broker_url, [carried.shard(n)["run_id"] for n in (0, 1, 2)], monkeypatch)
    carried.let_go(0, 1)
    carried.succeed()
    assert carried.times == [1, 1, 1, 1]
    stop(workers)


def test_lost_messages_and_a_killed_celery_worker_cost_no_more_than_one_shard(carried, broker_url):
    from clockmill.exchange.broker import opened

    carried.hold(0, 1)
    first = carried.workers("--concurrency", 1)
    carried.send()
    carried.pid(0)
    doomed = carried.workers("--concurrency", 1)
    victim = carried.pid(1)
    with opened(broker_url, "tests") as made:
        made.default_channel.queue_purge("clockmill.pool.default")
    doomed.send(signal.SIGKILL)
    carried.home.wait_until(lambda: not alive(victim))
    carried.end_lease(carried.shard(1)["run_id"])
    second = carried.workers("--concurrency", 1)
    carried.home.wait_until(lambda: [carried.state(n) for n in (2, 3)] == ["succeeded"] * 2 or carried.times[1] == 2)
    carried.let_go(0, 1)
    carried.succeed()
    assert carried.times == [1, 2, 1, 1]
    stop([first, second])


def send_again(home, broker_url, runs, monkeypatch):
    """Messages that ask for these runs once more."""
    monkeypatch.setenv("CLOCKMILL_HOME", str(home.folder))
    mill = Mill.open()
    letters = [letter_of(mill, mill.registry.get("doubled"), run) for run in runs]
    publisher = Publisher(broker_url, "tests")
    assert set(publisher.send(letters)) == {""}
    publisher.close()


def stop(workers):
    for one in workers:
        one.send(signal.SIGTERM)
    for one in workers:
        one.end()


def parent_of(pid):
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
