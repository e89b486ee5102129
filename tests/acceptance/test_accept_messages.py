"""Messages with the installed command and a real RabbitMQ: strangers publish and listen, things die."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

STRANGERS = Path(__file__).parent / "strangers"
AMQPLIB = "amqplib@2.3.1"
JOBS = """
from clockmill import Context, EventContext, job, on


@job(on="app.order.placed", params={"order_id": 0})
def bill(ctx: Context) -> None:
    ctx.emit("app.order.billed", {"order_id": ctx.params["order_id"]}, key=ctx.params["order_id"])


@job(schedule="* * * * * *", timezone="UTC")
def tick(ctx: Context) -> None:
    pass


@on("app.note.*", retries=0)
def note(ctx: EventContext) -> None:
    if "poison" in ctx.event.data:
        raise ValueError("indigestible")
    ctx.log(f"noted {ctx.event.data['n']}")
"""


@pytest.fixture
def shop(clockmill, broker_url):
    """A home with a broker; its daemon has declared and consumes."""
    prepare(clockmill, broker_url)
    clockmill.shop = clockmill.daemon()
    clockmill.wait_until(lambda: clockmill("broker", "check", code=(0, 1)).code == 0)
    return clockmill


def prepare(home, url):
    home.write("jobs/shop.py", JOBS)
    home.configure(f'[broker]\nurl = "{url}"\n[scheduler]\njob_folders = ["jobs"]\n')


def offices(home):
    """The processes for messages of this home."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            is_one = entry.name.isdigit() and b"clockmill.exchange.office" in (entry / "cmdline").read_bytes()
            if is_one and str(home.folder).encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def stranger(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def is_billed(event, order_id):
    assert (event["specversion"], event["type"]) == ("1.0", "app.order.billed")
    assert event["data"] == {"order_id": order_id}
    assert re.fullmatch(r"[0-9a-f-]{36}", event["id"])
    return True


def test_a_stranger_with_pika_orders_and_hears_the_bill(shop, broker_url):
    assert is_billed(stranger(sys.executable, STRANGERS / "order.py", broker_url, 41), 41)
    (run,) = shop.runs("bill")
    assert (run["state"], run["trigger"]) == ("succeeded", "event")


def test_a_stranger_with_node_orders_and_hears_the_bill(shop, broker_url, tmp_path, node):
    shutil.copy(STRANGERS / "order.mjs", tmp_path)
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(tmp_path), AMQPLIB]
    installed = subprocess.run(npm, capture_output=True, text=True, check=False, timeout=120)
    assert installed.returncode == 0, installed.stdout + installed.stderr
    assert is_billed(stranger(node, tmp_path / "order.mjs", broker_url, 42), 42)


def test_events_are_published_watched_set_aside_and_sent_again(shop):
    watching = shop.start("events", "tail", "app.note.#", "-n", "2", "--json")
    shop.wait_until(lambda: published(shop) and watching.out.read_text())
    shop("events", "publish", "app.note.made", "-d", '{"poison": 1}', "--id", "p-1")
    tailed = [json.loads(line) for line in watching.end().out.splitlines()]
    assert tailed[0]["type"] == "app.note.made"
    (letter,) = shop.wait_until(lambda: shop("events", "dead-letters", "list", "--json").json["dead_letters"])
    assert (letter["id"], letter["reason"], letter["queue"]) == ("p-1", "ValueError: indigestible", "clockmill.on.note")
    assert "indigestible" in shop("events", "dead-letters", "list").out
    assert shop("events", "dead-letters", "retry", "p-1", "--json").json == {"sent": 1, "unknown": []}
    assert "no dead letter has the id x" in shop("events", "dead-letters", "retry", "x", code=2).err
    assert shop.wait_until(lambda: shop("events", "dead-letters", "list", "--json").json["dead_letters"])
    queues = {one["queue"] for one in shop("queues", "--json").json["queues"]}
    assert {"clockmill.on.note", "clockmill.job.bill", "clockmill.dead", "outbox"} <= queues


def published(home):
    return home("events", "publish", "app.note.made", "-d", '{"n": 1}').out


def test_what_nobody_wants_is_said_so(shop):
    told = shop("events", "publish", "nobody.wants", "-d", "{}", code=1).err
    assert "no queue is bound to clockmill.events for nobody.wants" in told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("publish", "app x", "-d", "{}"), "is not words between dots"),
        (("publish", "app.x", "-d", "{"), "-d: not JSON"),
        (("publish", "app.x", "-d", "[1]"), "data is a list"),
        (("publish", "app.x", "-d", "@nowhere"), "No such file"),
        (("tail", "a..b"), "is no pattern"),
        (("dead-letters", "retry"), "name the ids of dead letters, or --all"),
    ],
)
def test_what_is_wrong_about_an_event_is_said_in_a_sentence(clockmill, words, says):
    clockmill.configure('[broker]\nurl = "amqp://guest:s3cret@127.0.0.1:9"\n')
    assert says in clockmill("events", *words, code=(1, 2)).err


def test_a_process_for_messages_that_is_killed_is_begun_again(shop, broker_url):
    (pid,) = offices(shop)
    os.kill(pid, signal.SIGKILL)
    shop.wait_until(lambda: offices(shop) not in ([], [pid]))
    assert is_billed(stranger(sys.executable, STRANGERS / "order.py", broker_url, 43), 43)


def test_a_reload_brings_new_handlers(shop):
    (pid,) = offices(shop)
    added = "\n\n@on('app.added.*')\ndef added(ctx: EventContext) -> None:\n    ctx.log('added ' + ctx.event.id)\n"
    shop.write("jobs/shop.py", JOBS + added)
    shop.shop.send(signal.SIGHUP)
    shop.wait_until(lambda: offices(shop) not in ([], [pid]))
    shop.wait_until(lambda: shop("events", "publish", "app.added.x", "-d", "{}", "--id", "a-1", code=(0, 1)).code == 0)
    shop.wait_until(lambda: "added: added a-1" in shop.shop.err.read_text())


def test_a_killed_scheduler_leaves_no_process_for_messages_behind(shop):
    shop.shop.send(signal.SIGKILL)
    shop.wait_until(lambda: not offices(shop))


def test_a_scheduler_that_ends_takes_its_process_for_messages_along(shop):
    shop.shop.send(signal.SIGTERM)
    shop.shop.end()
    assert offices(shop) == []


def test_a_broker_that_is_away_is_told_and_everything_else_goes_on(clockmill):
    prepare(clockmill, "amqp://guest:s3cret@127.0.0.1:9")
    daemon = clockmill.daemon()
    clockmill.wait_for_run("tick", "succeeded")

    def status():
        files = (clockmill.folder / "var" / "status").glob("*.json")
        return next((json.loads(path.read_text())["problem"] for path in files), None)

    told = clockmill.wait_until(status)
    assert "amqp://guest:***@127.0.0.1:9" in told
    assert "broker" in clockmill("doctor", code=1).out
    assert "127.0.0.1:9" in clockmill("broker", "check", code=1).err
    before = len(clockmill.runs("tick"))
    clockmill.wait_until(lambda: len(clockmill.runs("tick")) > before)
    daemon.send(signal.SIGTERM)
    assert "s3cret" not in daemon.end().err


def test_a_url_that_is_no_brokers_is_refused(clockmill):
    clockmill.configure('[broker]\nurl = "redis://:s3cret@localhost"\n')
    told = clockmill("config", "check", code=2).err
    assert "Redis is never the broker" in told
    assert "s3cret" not in told
    assert "[broker] url is not set" in clockmill("broker", "check", CLOCKMILL_BROKER__URL="", code=2).err
