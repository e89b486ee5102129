"""Events a second from a producer's transaction to a consumer's effect, and how long one takes, beside bare clients.

    python bench/messages.py [--events N] [--broker URL] [--database URL] [--check]

Every way ends in the same table: one row an event, written by the consumer. clockmill's ways do more than the others:
an outbox, confirms with returns, an inbox. Before a number is printed it is proved that each event had its effect once.
Processor time is that of producer, consumer and broker together; it drifts less with what else the machine does.
`--check`: few events, and only that proof.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import Engine, text

from clockmill.exchange.cloudevents import new_event
from clockmill.exchange.flows import depths_of
from clockmill.exchange.outgoing import outbox_row
from clockmill.exchange.publisher import Letter, Publisher
from clockmill.exchange.topology import EVENTS
from clockmill.mill import Mill
from clockmill.slots import micros
from db import engine as transactions
from db import outbox

TYPE = "bench.thing.moved"
WHOLE = "clockmill: outbox, broker, inbox"
#: Events that one transaction tells of, as a job that ends does.
TOLD_AT_ONCE = 100
HANDLER = """
from clockmill import EventContext, on


@on("bench.thing.*")
def bench(ctx: EventContext) -> None:
    ctx.execute("INSERT INTO effects (event) VALUES (:event)", event=ctx.event.data["n"])
"""
CELERY = """
import os
from celery import Celery
from kombu import Exchange, Queue
from sqlalchemy import create_engine, text

app = Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=100, task_ignore_result=True)
app.conf.task_queues = [Queue("bench", Exchange(""), "bench", queue_arguments={"x-queue-type": "quorum"})]
engine = create_engine(os.environ["BENCH_DATABASE"])


@app.task(name="bench.move")
def move(n):
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO effects (event) VALUES (:event)"), {"event": n})
"""


class Table:
    """Where every way's effects end."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def empty(self) -> None:
        with transactions.write(self.engine) as connection:
            connection.execute(text("DROP TABLE IF EXISTS effects"))
            connection.execute(text("CREATE TABLE effects (event INTEGER)"))

    def count(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM effects")).scalar_one())

    def wait(self, count: int, seconds: float = 300) -> None:
        until = time.monotonic() + seconds
        while self.count() < count:
            assert time.monotonic() < until, f"{self.count()} of {count} effects after {seconds:.0f} s"
            time.sleep(0.01)

    def prove(self, count: int) -> None:
        with self.engine.connect() as connection:
            found = sorted(connection.execute(text("SELECT event FROM effects")).scalars())
        assert found == list(range(count)), f"{len(found)} effects of {count} events, {len(set(found))} different"


def events(count: int, at: Any) -> list[Any]:
    return [new_event(TYPE, {"n": n, "filler": "x" * 100}, "/bench", at) for n in range(count)]


# -- ways to produce


def through_the_outbox(mill: Mill, count: int) -> None:
    rows = [outbox_row(event) for event in events(count, mill.now())]
    for begin in range(0, count, TOLD_AT_ONCE):
        part, now = rows[begin : begin + TOLD_AT_ONCE], micros(mill.now())
        transactions.in_write(mill.engine, lambda connection, part=part, now=now: outbox.put(connection, part, now))


def with_confirms(mill: Mill, count: int) -> None:
    publisher = Publisher(mill.config.table("broker")["url"], "bench")
    letters = [Letter(event.to_json(), EVENTS, TYPE, event.id) for event in events(count, mill.now())]
    for begin in range(0, count, 500):
        assert not any(publisher.send(letters[begin : begin + 500]))
    publisher.close()


def pika_produces(url: str, count: int) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.confirm_delivery()
    for n in range(count):
        body = json.dumps({"n": n, "filler": "x" * 300})
        channel.basic_publish("", "bench", body, pika.BasicProperties(delivery_mode=2), mandatory=True)
    connection.close()


def kombu_produces(url: str, count: int) -> None:
    from kombu import Connection, Producer

    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        producer = Producer(connection)
        for n in range(count):
            producer.publish({"n": n, "filler": "x" * 300}, routing_key="bench", mandatory=True, delivery_mode=2)


def celery_produces(url: str, count: int) -> None:
    from celery import Celery
    from kombu import Exchange, Queue

    app = Celery("bench", broker=url)
    app.conf.update(broker_transport_options={"confirm_publish": True})
    app.conf.task_queues = [Queue("bench", Exchange(""), "bench", queue_arguments={"x-queue-type": "quorum"})]
    for n in range(count):
        app.send_task("bench.move", (n,), queue="bench")


# -- ways to consume: one transaction an event, as their tutorials do


def pika_consumes(url: str, table: Table, count: int) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.basic_qos(prefetch_count=200)
    for seen, (method, _, body) in enumerate(channel.consume("bench"), 1):
        _insert(table, json.loads(body)["n"])
        channel.basic_ack(method.delivery_tag)
        if seen == count:
            break
    connection.close()


def kombu_consumes(url: str, table: Table, count: int) -> None:
    from kombu import Connection, Consumer, Queue

    seen = 0

    def take(body: Any, message: Any) -> None:
        nonlocal seen
        _insert(table, body["n"])
        message.ack()
        seen += 1

    with Connection(url) as connection:
        queue = Queue("bench", queue_arguments={"x-queue-type": "quorum"}, no_declare=True)
        with Consumer(connection, queues=[queue], callbacks=[take], prefetch_count=200, accept=["json"]):
            while seen < count:
                connection.drain_events(timeout=60)


def _insert(table: Table, n: int) -> None:
    with table.engine.begin() as connection:
        connection.execute(text("INSERT INTO effects (event) VALUES (:event)"), {"event": n})


# -- consumers that are processes


@contextmanager
def office(home: Path, url: str) -> Iterator[int]:
    words = [sys.executable, "-m", "clockmill.exchange.office", str(home / "clockmill.toml")]
    environment = {**os.environ, "CLOCKMILL_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
    with (home / "office.log").open("wb") as log:
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, env=environment, cwd=home
        )
    try:
        _until(lambda: depths_of(url, ["clockmill.on.bench"]))
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def celery_worker(home: Path, url: str, database: str) -> Iterator[int]:
    (home / "bench_tasks.py").write_text(CELERY)
    environment = {**os.environ, "BENCH_BROKER": url, "BENCH_DATABASE": database, "PYTHONPATH": str(home)}
    words = [sys.executable, "-m", "celery", "-A", "bench_tasks", "worker", "-P", "solo", "-Q", "bench", "-l", "error"]
    with (home / "celery.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, cwd=home)
    try:
        _until(lambda: consumers(url))
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def consumers(url: str) -> int:
    from clockmill.exchange.broker import opened

    with opened(url, "bench") as made:
        return int(made.default_channel.queue_declare("bench", passive=True).consumer_count)


def _until(fact: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < until, "it did not start"
        time.sleep(0.05)


# -- the measurement


def rate(table: Table, count: int, produce: Callable[[], None], *consumers: int) -> dict[str, float]:
    """Events a second, from the first that is produced to the last effect, and milliseconds of processor time each."""
    table.empty()
    began, used = time.perf_counter(), processor_s(consumers)
    produce()
    table.wait(count)
    spent, used = time.perf_counter() - began, processor_s(consumers) - used
    table.prove(count)
    return {"rate": count / spent, "cpu_ms": used / count * 1e3}


def processor_s(consumers: tuple[int, ...]) -> float:
    """Seconds of processor time of this process, of consumers in processes of their own, and of the broker."""
    brokers = (pid for pid, name in processes() if name == "beam.smp")
    return time.process_time() + sum(map(processor_of, (*consumers, *brokers)))


def processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield int(entry.name), (entry / "comm").read_text().strip()


def processor_of(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def latencies(table: Table, count: int, tell: Callable[[int], None]) -> list[float]:
    """Milliseconds from the telling of one event to its effect, one after the other, sorted."""
    table.empty()
    found = []
    for n in range(count):
        began = time.perf_counter()
        tell(n)
        while table.count() <= n:
            time.sleep(0.0005)
        found.append((time.perf_counter() - began) * 1e3)
    table.prove(count)
    return sorted(found)


def beside(consume: Callable[[], None], produce: Callable[[], None]) -> None:
    """A consumer of this process, in a thread, beside its producer."""
    consuming = threading.Thread(target=consume)
    consuming.start()
    produce()
    consuming.join()


@contextmanager
def virtual_host(url: str) -> Iterator[str]:
    """A virtual host of the benchmark's own where rabbitmqctl is at hand, else the one of the URL."""
    name, program = f"clockmill_bench_{uuid.uuid4().hex[:8]}", shutil.which("rabbitmqctl")
    if program and subprocess.run([program, "add_vhost", name], capture_output=True, check=False).returncode == 0:
        permit = [program, "set_permissions", "-p", name, "guest", ".*", ".*", ".*"]
        subprocess.run(permit, capture_output=True, check=True)
        try:
            yield f"{url}/{name}"
        finally:
            subprocess.run([program, "delete_vhost", name], capture_output=True, check=True)
    else:
        yield url


def measure(url: str, database: str, count: int, single: int, celery: bool) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="cmb") as folder:
        home = Path(folder)
        database = database or f"sqlite:///{home / 'bench.db'}"
        mill = prepare(home, url, database)
        table = Table(mill.engine)
        table.empty()
        with office(home, url) as pid:
            found[WHOLE] = rate(table, count, lambda: through_the_outbox(mill, count), pid)
            found["clockmill: broker, inbox"] = rate(table, count, lambda: with_confirms(mill, count), pid)
            found["clockmill: broker, inbox"] |= shares(latencies(table, single, teller(url)))
        declare_bench(url)
        for name, produce, consume in (
            ("pika, an insert each", pika_produces, pika_consumes),
            ("kombu, an insert each", kombu_produces, kombu_consumes),
        ):
            both = lambda p=produce, c=consume: beside(lambda: c(url, table, count), lambda: p(url, count))  # noqa: E731
            found[name] = rate(table, count, both)
        if celery and shutil.which("celery", path=str(Path(sys.executable).parent)):
            with celery_worker(home, url, mill.engine.url.render_as_string(hide_password=False)) as pid:
                found["Celery, an insert each"] = rate(table, count, lambda: celery_produces(url, count), pid)
        mill.engine.dispose()
    return found


def shares(sorted_ms: list[float]) -> dict[str, float]:
    return {
        "p50_ms": statistics.median(sorted_ms),
        "p99_ms": sorted_ms[min(len(sorted_ms) - 1, int(len(sorted_ms) * 0.99))],
    }


def teller(url: str) -> Callable[[int], None]:
    publisher = Publisher(url, "bench")

    def tell(n: int) -> None:
        event = new_event(TYPE, {"n": n}, "/bench", Mill.now())
        assert publisher.send([Letter(event.to_json(), EVENTS, TYPE, event.id)]) == [""]

    return tell


def declare_bench(url: str) -> None:
    from clockmill.exchange.broker import opened

    with opened(url, "bench") as made:
        arguments = {"x-queue-type": "quorum"}
        made.default_channel.queue_declare("bench", durable=True, auto_delete=False, arguments=arguments)


def prepare(home: Path, url: str, database: str) -> Mill:
    (home / "jobs").mkdir()
    (home / "jobs" / "listeners.py").write_text(HANDLER)
    (home / "clockmill.toml").write_text(
        f'[database]\nurl = "{database}"\n[broker]\nurl = "{url}"\n[redis]\nurl = "none"\n'
        '[scheduler]\njob_folders = ["jobs"]\n'
    )
    from db import migrate
    from db.engine import open_engine

    migrate.upgrade(open_engine(database))
    return Mill.open(str(home / "clockmill.toml"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument(
        "--broker", default=os.environ.get("CLOCKMILL_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672")
    )
    parser.add_argument("--database", default="", help="an empty database of its own; by default SQLite in a folder")
    parser.add_argument("--check", action="store_true", help="few events; prove that each had its effect once")
    asked = parser.parse_args()
    count, single = (100, 5) if asked.check else (asked.events, 300)
    with virtual_host(asked.broker) as url:
        found = measure(url, asked.database, count, single, celery=not asked.check)
    best = found[WHOLE]
    print(f"{count} events, one consumer process; times: how much faster the first row is")
    for name, numbers in found.items():
        told = f"   p50 {numbers['p50_ms']:.1f} ms, p99 {numbers['p99_ms']:.1f} ms" if "p50_ms" in numbers else ""
        print(
            f"{name:<34} {numbers['rate']:6.0f} events/s {best['rate'] / numbers['rate']:5.2f}x   "
            f"{numbers['cpu_ms']:5.2f} ms cpu {numbers['cpu_ms'] / best['cpu_ms']:5.2f}x{told}"
        )


if __name__ == "__main__":
    main()
