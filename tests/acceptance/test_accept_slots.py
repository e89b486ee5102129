"""One slot, many doors: a daemon, a cron line and ten hands reach for it at once, and it runs once."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

HANDS = 10
#: tests/chaos plays very many more, of the checkout; here it is the installed command.
ROUNDS = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
JOB = """
[jobs.mark]
command = ["sh", "-c", "echo $CLOCKMILL_SLOT >> marks; sleep 0.2"]
schedule = "* * * * *"
overlap = "allow"
catch_up = "all"
catch_up_window = "3h"
"""


class Rounds:
    """Slots that the host slept through, the latest first, each reached for by every door at once."""

    def __init__(self, clockmill, url):
        self.clockmill = clockmill
        self.engine = create_engine(url)
        self.slot = datetime.now(UTC).replace(second=0, microsecond=0)
        self.slots = []

    def play(self, hands):
        """The next round: the exit codes and sentences of everyone who came by hand or by cron."""
        self.slot -= timedelta(minutes=1)
        at = self.slot.isoformat().replace("+00:00", "Z")
        self.slots.append(at)
        self.sleep()
        line = f"{self.clockmill.command} run mark --slot {at}"
        started = [self.clockmill.execute("sh", "-c", line)]
        started += [self.clockmill.start("run", "mark", "--slot", at) for _ in range(hands)]
        return [one.end((0, 75)) for one in started]

    def sleep(self):
        """Sets the job back to before the slot, as when the host slept: the daemon finds it due at its next look."""
        before = (self.slot - EPOCH) // timedelta(microseconds=1) - 1
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE jobs SET cursor_us = :before WHERE name = 'mark'"), {"before": before})

    def ended(self):
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT slot_key, state, attempt FROM runs WHERE slot_us IS NOT NULL")).all()
        mine = {f"c:{at}" for at in self.slots}
        found = sorted(tuple(row) for row in rows if row.slot_key in mine)
        return found if all(state == "succeeded" for _, state, _ in found) else None


def marks(clockmill, slots):
    written = Path(clockmill.folder, "marks").read_text().split()
    return [written.count(at) for at in slots]


def said(answer):
    """What each of them may say: that it ran the slot, that somebody has, that somebody does."""
    words = ("succeeded already", "is running elsewhere", "succeeded")
    return next((word for word in words if word in answer.err), answer.err)


def play(clockmill, url, rounds, hands):
    clockmill("run", "mark")
    clockmill.daemon("--workers", 1)
    game = Rounds(clockmill, url)
    answers = [answer for _ in range(rounds) for answer in game.play(hands)]
    rows = clockmill.wait_until(game.ended)
    assert rows == sorted((f"c:{at}", "succeeded", 1) for at in game.slots)
    assert marks(clockmill, game.slots) == [1] * rounds
    game.engine.dispose()
    return answers


def test_a_slot_runs_once_whoever_reaches_for_it(clockmill):
    clockmill.configure(JOB)
    answers = play(clockmill, f"sqlite:///{clockmill.database}", ROUNDS, HANDS)
    assert len(answers) == ROUNDS * (HANDS + 1)
    assert {(answer.code, said(answer)) for answer in answers} <= {
        (0, "succeeded"),
        (0, "succeeded already"),
        (75, "is running elsewhere"),
    }


@pytest.mark.parametrize("upgraded", ["mariadb"], indirect=True)
def test_a_slot_runs_once_on_a_server_too(clockmill, database_url):
    clockmill.configure(f'{JOB}[database]\nurl = "{database_url}"')
    play(clockmill, database_url, ROUNDS, 5)
