"""The process that a scheduler keeps beside it for messages: it relays the outbox and handles what comes.

A handler that hangs or takes its process with it, a broker that blocks: neither is felt by the clock. What is wrong is
told to the scheduler on standard output, one JSON object a line; when standard input closes, the scheduler is gone.
"""

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from clockmill.bell import Bell
from clockmill.durations import parse_duration
from clockmill.errors import BrokerUnavailable, ClockmillError
from clockmill.exchange.carrier import Carrying
from clockmill.exchange.consumer import Consumer, Overdue
from clockmill.exchange.desk import Desk, Post
from clockmill.exchange.flows import Flows
from clockmill.exchange.handling import Group
from clockmill.exchange.outgoing import max_event
from clockmill.exchange.plan import hands, posts_of, required_url, topology_of
from clockmill.exchange.publisher import Publisher
from clockmill.exchange.relay import LEASE, LEASE_S, Relay
from clockmill.exchange.run_messages import carried
from clockmill.exchange.topology import wanted
from clockmill.mill import Mill
from clockmill.slots import micros
from db import bindings, inbox, outbox
from db.errors import StoreError

#: The outbox is looked at so often where no bell rings.
LOOK_S = 0.25
#: The relay's lease is renewed so often.
RENEW_S = 3.0
#: What goes wrong is tried again after so long.
AGAIN_S = 1.0
#: What was sent is kept so long, for whoever wonders.
SENT = timedelta(days=1)
PRUNE_S = 600.0
#: The exit code that asks for a new process in place of this one.
REPLACE = 75

log = logging.getLogger("clockmill.messages")


class Office:
    """Everything of one process, its parts in threads of their own."""

    def __init__(
        self, mill: Mill, careful: bool = False, say: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> None:
        self.mill = mill
        self.say = say
        self.url = required_url(mill)
        self.problems: dict[str, str] = {}
        self.stopping = threading.Event()
        self.bell = Bell(mill.config.var, f"relay-{mill.owner}")
        self.relay = Relay(mill, Publisher(self.url, "clockmill relay", lambda why: self.told("relay", why)))
        self.desk = Desk(hands(mill), self.work, self.wake)
        self.consumer = Consumer(
            self.url,
            topology_of(mill),
            self.posts,
            self.desk,
            max_event(mill.config),
            lambda why: self.told("consumer", why),
            self.hear,
            careful,
            self.tidy,
        )
        self.carrying = Carrying(mill, self.url) if carried(mill) else None
        self.flows = Flows(mill, self.desk, self.url)

    def posts(self) -> list[Post]:
        return posts_of(self.mill)

    def tidy(self, unbind: Callable[[str, str], None]) -> None:
        """Queues of handlers and jobs of this mill hear no more what these no longer name."""
        try:
            stale = bindings.note(self.mill.engine, wanted(self.consumer.topology))
            for queue, pattern in stale:
                unbind(queue, pattern)
            bindings.forget(self.mill.engine, stale)
        except StoreError as e:
            # Until the database is back, some events more are heard.
            log.warning("bindings: %s", e)

    def hear(self, word: str) -> None:
        """What is broadcast."""
        if word == "look" and self.carrying:
            self.carrying.carrier.forget()
        self.say({"broadcast": word})

    def wake(self) -> None:
        self.consumer.wake()

    def work(self, post: Post, group: Any, begins: Any) -> Any:
        return Group(self.mill, post.spec, [delivery.event for delivery in group], begins).handle()

    def told(self, part: str, problem: str) -> None:
        """What is wrong with a part, "" for nothing; said when it changes."""
        if self.problems.get(part, "") != problem:
            self.problems[part] = problem
            self.say({"problem": "; ".join(dict.fromkeys(filter(None, self.problems.values())))})

    # -- the parts

    def run(self) -> int:
        """Until it is stopped; the exit code."""
        threads = [
            threading.Thread(target=self._relay, name="relay", daemon=True),
            threading.Thread(target=self._report, name="flows", daemon=True),
        ]
        for thread in (*threads, *([self.carrying] if self.carrying else [])):
            thread.start()
        code = 0
        try:
            self.consumer.run()
        except Overdue as e:
            log.error("%s; its process is replaced", e)
            code = REPLACE
        self.stop()
        for thread in threads:
            thread.join(5)
        if self.carrying:
            self.carrying.stop()
        return code

    def stop(self) -> None:
        self.stopping.set()
        self.bell.ring()
        self.consumer.stop()

    def _relay(self) -> None:
        held_until = 0.0
        while not self.stopping.is_set():
            try:
                held_until = self._hold(held_until)
                sent = self.relay.turn() if held_until else 0
                self.told("relay", "")
            except (ClockmillError, StoreError) as e:
                self.told("relay", str(e))
                self.stopping.wait(AGAIN_S)
                continue
            except Exception:
                log.exception("relay")
                self.stopping.wait(AGAIN_S)
                continue
            if not sent:
                self.relay.publisher.beat()
                self.bell.wait(LOOK_S)
        self.relay.publisher.close()
        self._release()

    def _hold(self, held_until: float) -> float:
        """Until when the relay's lease need not be renewed; 0 while another process has it."""
        if time.monotonic() < held_until:
            return held_until
        return time.monotonic() + RENEW_S if self.mill.ledger.lease(LEASE, LEASE_S) else 0.0

    def _release(self) -> None:
        try:
            self.mill.ledger.release(LEASE)
        except StoreError as e:
            log.warning("the relay's lease: %s", e)

    def _report(self) -> None:
        pruned_s = PRUNE_S
        while not self.stopping.wait(self.flows.PERIOD_S):
            pruned_s += self.flows.PERIOD_S
            try:
                self.told("carrier", self.carrying.problem if self.carrying else "")
                self.told("flows", self.flows.note())
                if pruned_s >= PRUNE_S:
                    pruned_s = 0.0
                    self._prune()
                self.told("database", self.desk.away)
            except (StoreError, BrokerUnavailable) as e:
                # The other parts tell of it.
                log.debug("flows: %s", e)
            except Exception:
                log.exception("flows")
        self.flows.close()

    def _prune(self) -> None:
        now = self.mill.now()
        keep = parse_duration(self.mill.config.table("broker")["keep_events"])
        while outbox.prune(self.mill.engine, micros(now - SENT)) or inbox.prune(self.mill.engine, micros(now - keep)):
            pass
        self.flows.prune()


def main(words: list[str]) -> None:
    """`python -m clockmill.exchange.office [FILE] [--owner=UUID] [--careful]`: begun by a scheduler, ended with it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    for quiet in ("amqp", "kombu", "alembic"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    files = [word for word in words if not word.startswith("--")]
    owners = [word.partition("=")[2] for word in words if word.startswith("--owner=")]
    try:
        mill = Mill.open(files[0] if files else None)
        mill.owner = owners[0] if owners else mill.owner
        office = Office(mill, "--careful" in words, _say)
    except (ClockmillError, StoreError) as e:
        _say({"problem": str(e)})
        sys.exit(1)
    # A handler of signals may take no lock: it writes, and a thread that reads it stops the office.
    asked, ask = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(ask, b".") and None)
    threading.Thread(target=_wait_for_end, args=(office, asked), daemon=True).start()
    code = office.run()
    sys.stdout.flush()
    # A function that does not come back must not keep the process.
    os._exit(code)


def _say(what: dict[str, Any]) -> None:
    try:
        print(json.dumps(what), flush=True)
    except OSError:
        # Whoever listened is gone; standard input says so too.
        return


def _wait_for_end(office: Office, asked: int) -> None:
    """SIGTERM, or the end of the scheduler: it alone holds the other end of standard input."""
    select.select([asked, sys.stdin.fileno()], [], [])
    office.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
