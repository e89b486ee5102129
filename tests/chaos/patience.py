"""Runs that last longer than the broker waits for an answer, its patience lowered from 30 minutes to seconds.

The broker comes last: scheduler and worker are there before it.

A job whose timeout foretells it is answered for when it begins: the broker has no reason to complain. One that takes
the broker by surprise loses its channel; the run goes on, ends once, and the worker goes on with the next.
"""

import json
import subprocess
import sys
import time
from typing import Any

from rabbit import Rabbit
from world import HERE, World, wait_until, world

#: The broker's patience, and how often it looks (both are minutes in stock settings).
WAITS_S, LOOKS_S = 2, 0.5
#: How long the runs last.
LASTS_S = 3 * WAITS_S
ENDED_S = 60
#: What the broker writes when it closes a channel for that.
COMPLAINT = "timed out waiting for delivery acknowledgement"

SEND = "import sys, json; from clockmill import client; client.send(sys.argv[1], seconds=float(sys.argv[2]))"


def outlasted(kind: str) -> dict[str, Any]:
    """`foreseen`, `unforeseen`, and a short run after them, by one worker."""
    settings = [f"consumer_timeout = {WAITS_S * 1000}"]
    rabbit = Rabbit(settings, arguments=f"-rabbit channel_tick_interval {round(LOOKS_S * 1000)}")
    try:
        told = {"CLOCKMILL_BROKER__URL": rabbit.url}
        with world(kind, workers=0, jobs=HERE / "long", environment=told) as made:
            rabbit.kill()
            daemons = made.start() + made.start(words=("worker", "--concurrency", "2"), wait=False)
            wait_until(lambda: all("is tried again" in one.log.read_text() for one in daemons), "word of it", ENDED_S)
            rabbit.start()
            complaints = {}
            for job in ("foreseen", "unforeseen"):
                before = rabbit.told().count(COMPLAINT)
                _carry_out(made, job, LASTS_S)
                complaints[job] = rabbit.told().count(COMPLAINT) - before
            began = time.monotonic()
            _carry_out(made, "unforeseen", 0)
            return {
                "violations": _judge(made, complaints),
                "broker_waits_s": WAITS_S,
                "runs_last_s": LASTS_S,
                "channels_closed": complaints["unforeseen"],
                "next_run_s": round(time.monotonic() - began, 1),
            }
    finally:
        rabbit.close()


def _carry_out(made: World, job: str, seconds: float) -> None:
    words = [sys.executable, "-c", SEND, job, str(seconds)]
    before = made.rows("SELECT count(*) FROM runs")[0][0]
    subprocess.run(words, env=made.environment, cwd=made.folder, check=True, timeout=ENDED_S)
    ended = "SELECT count(*) FROM runs WHERE ended_us IS NOT NULL"
    wait_until(lambda: made.query(ended) == [(before + 1,)], f"the end of {job}", ENDED_S)


def _judge(made: World, complaints: dict[str, int]) -> list[str]:
    violations = []
    if complaints["foreseen"]:
        violations.append("a run that was answered for when it began had its channel closed")
    if not complaints["unforeseen"]:
        violations.append("the broker never closed a channel: nothing was shown")
    runs = made.rows("SELECT run_id, job, state, attempt FROM runs ORDER BY run_id")
    violations += [
        f"run {run}, {job}: {state}, attempt {attempt}"
        for run, job, state, attempt in runs
        if (state, attempt) != ("succeeded", 1)
    ]
    told = [json.loads(body)["data"]["run"] for (body,) in made.rows("SELECT body FROM outbox ORDER BY seq")]
    if told != [run for run, *_ in runs]:
        violations.append(f"runs that told of their end: {told}")
    return violations
